"""The hot-word automaton: what it earns on a text is the weight of the phrases in it."""

import numpy as np
import pytest

from asr.decoding.hotwords import Hotword, HotwordArrays, build_hotwords
from asr.decoding.lexicon import Alphabet
from asr.errors import UsageError

TOKENS = ("<blank>", " ", *"abcdefghijklmnopqrstuvwxyz")
ALPHABET = Alphabet.from_tokens(TOKENS)


def ids(text: str) -> tuple[int, ...]:
    return tuple(TOKENS.index(char) for char in text)


def earned(hot: HotwordArrays, text: str) -> tuple[float, float]:
    """(gains after the whole text, loan in the last state before its end)."""
    state, gain, boundary = hot.next_states[0, -1], 0.0, len(TOKENS)
    loan = 0.0
    for symbol in [boundary if char == " " else TOKENS.index(char) for char in text] + [boundary]:
        loan = float(hot.states["loan"][state])
        state = hot.next_states[state, symbol]
        gain += float(hot.states["gain"][state])
    return gain, loan


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("new york", 5.0 + 2.0),  # phrases within phrases count too
        ("in new york today", 5.0 + 2.0),
        ("york", 2.0),
        ("new york city", 5.0 + 2.0 + 7.0),
        ("york new york", 2.0 + 5.0 + 2.0),
        ("new yorks", 0.0),  # no part of a longer word
        ("renew york", 2.0),
        ("new new york", 5.0 + 2.0),
        ("york york", 2.0 + 2.0),
        ("bad", -3.0),
        ("", 0.0),
    ],
)
def test_phrases_count_at_word_boundaries(text: str, weight: float) -> None:
    words = {"new york": 5.0, "york": 2.0, "new york city": 7.0, "bad": -3.0}
    hot = build_hotwords([Hotword(ids(word), w) for word, w in words.items()], ALPHABET)
    assert earned(hot, text)[0] == pytest.approx(weight)


def test_loans_grow_with_the_spelling() -> None:
    hot = build_hotwords([Hotword(ids("abc"), 4.0)], ALPHABET)
    assert [earned(hot, text)[1] for text in ("", "a", "ab", "abc", "abd")] == [0, 1, 2, 3, 0]


def test_subword_phrases_begin_and_end_at_word_marks() -> None:
    alphabet = Alphabet.from_tokens(("<blank>", "▁he", "llo", "▁wor", "ld", "s"))
    hot = build_hotwords([Hotword((1, 2, 3, 4), 6.0)], alphabet)
    boundary = 6

    def gain(*symbols: int) -> float:
        state, total = hot.next_states[0, boundary], 0.0
        for symbol in symbols:
            state = hot.next_states[state, symbol]
            total += float(hot.states["gain"][state])
        return total

    assert gain(1, 2, boundary, 3, 4, boundary) == 6.0
    assert gain(1, 2, boundary, 3, 4, 5, boundary) == 0.0


def test_hundreds_of_words_make_one_automaton() -> None:
    rng = np.random.default_rng(0)
    words = {"".join(rng.choice(list("abcdefgh"), 6)) for _ in range(500)}
    hot = build_hotwords([Hotword(ids(word), 1.0) for word in sorted(words)], ALPHABET)
    assert all(earned(hot, word)[0] == 1.0 for word in words)
    assert hot.next_states.shape[1] == len(TOKENS) + 1


@pytest.mark.parametrize(
    ("hotwords", "message"),
    [
        ([], "list of hot words is empty"),
        ([Hotword((), 1.0)], "a hot word is empty"),
        ([Hotword(ids(" "), 1.0)], "a hot word is empty"),
        ([Hotword((99,), 1.0)], "token 99"),
        ([Hotword((0,), 1.0)], "token 0"),
        ([Hotword(ids("a"), float("nan"))], "finite"),
    ],
)
def test_bad_lists_are_explained(hotwords: list[Hotword], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_hotwords(hotwords, ALPHABET)
    with pytest.raises(UsageError):
        build_hotwords([Hotword((1,), 1.0)], Alphabet(3))
