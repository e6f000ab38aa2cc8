import io
import sys

import numpy as np
import pytest
import sentencepiece

from asr.errors import AsrError, UsageError
from asr.tokenizer import (
    BLANK,
    BpeTokenizer,
    CharTokenizer,
    TokenizerConfig,
    UnknownCharacterError,
    tokenizer_from_texts,
)


def test_blank_is_zero_and_space_one() -> None:
    tokenizer = CharTokenizer.from_texts(["b a", "c'"])
    assert tokenizer.tokens == (BLANK, " ", "'", "a", "b", "c")
    assert tokenizer.vocab_size == 6


def test_round_trip() -> None:
    tokenizer = CharTokenizer.from_texts(["hello world"])
    assert tokenizer.decode(tokenizer.encode("low hold")) == "low hold"
    assert tokenizer.decode([0, *tokenizer.encode("he"), 0]) == "he"


def test_unknown_characters_are_named_and_counted_never_dropped() -> None:
    tokenizer = CharTokenizer.from_texts(["abc"])
    with pytest.raises(UnknownCharacterError, match="'xz'.*'axbz'"):
        tokenizer.encode("axbz")
    assert tokenizer.unknown_characters(["xx", "az"]) == {"x": 2, "z": 1}


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ((), "first token"),
        ((" ", BLANK), "first token"),
        ((BLANK, "a", "a"), "twice"),
        ((BLANK, "ab"), "one character"),
    ],
)
def test_bad_vocabularies_are_refused(tokens: tuple[str, ...], message: str) -> None:
    with pytest.raises(AsrError, match=message):
        CharTokenizer(tokens)


TEXTS = (
    "the quick brown fox jumps over the lazy dog's",
    "the thing that thinks is this, and the other thinks",
    "an  error or a mirror",
)


def test_pieces_are_those_of_sentencepiece() -> None:
    """Over words seen and not seen in training, with every length of vocabulary."""
    random = np.random.default_rng(0)
    words = " ".join(TEXTS).split()
    letters = sorted(set("".join(words)))
    words += ["".join(random.choice(letters, random.integers(1, 12))) for _ in range(300)]
    words += ["ththth", "thethe", "aaaa", "errerr"]
    for vocab_size in (32, 45, 70):
        tokenizer = BpeTokenizer.from_texts(TEXTS, vocab_size)
        assert tokenizer.vocab_size == vocab_size
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS), model_writer=model, model_type="bpe",
            vocab_size=vocab_size, character_coverage=1.0, normalization_rule_name="identity",
            bos_id=-1, eos_id=-1, minloglevel=2,
        )  # fmt: skip
        theirs = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        for first, second in zip(words, reversed(words), strict=True):
            text = f"{first} {second}"
            assert tokenizer.encode(text) == theirs.encode(text)
            assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_same_texts_make_the_same_pieces() -> None:
    assert BpeTokenizer.from_texts(TEXTS, 50) == BpeTokenizer.from_texts(iter(TEXTS), 50)
    pieces = tokenizer_from_texts(TEXTS, TokenizerConfig("bpe", 50))
    assert pieces == BpeTokenizer.from_texts(TEXTS, 50)
    assert tokenizer_from_texts(TEXTS, TokenizerConfig()) == CharTokenizer.from_texts(TEXTS)


def test_a_text_far_longer_than_sentencepieces_limit_is_learnt_from() -> None:
    """It leaves out lines of more than 4,192 bytes by default, and their characters."""
    assert "z" in BpeTokenizer.from_texts(["ab " * 2000 + "z", "a b"], 6).tokens


def test_pieces_of_repeated_words_merge_the_earliest_learnt_first() -> None:
    tokenizer = BpeTokenizer((BLANK, "th", "▁th", "he", "▁", "t", "h", "e"))
    assert [tokenizer.tokens[i] for i in tokenizer.encode("the  he thth")] == [
        "▁th", "e", "▁", "he", "▁th", "th",
    ]  # fmt: skip
    assert tokenizer.decode(tokenizer.encode("the  he thth")) == "the he thth"
    assert tokenizer.encode("") == []


def test_words_of_pieces_and_of_characters() -> None:
    pieces = BpeTokenizer((BLANK, "▁a", "b", "▁"))
    assert list(pieces.word_ranges([1, 2, 2, 3, 2, 1])) == [(0, 3), (4, 5), (5, 6)]
    assert list(pieces.word_ranges([2, 1, 3])) == [(0, 1), (1, 2)]
    assert list(pieces.word_ranges([3, 3])) == []
    characters = CharTokenizer((BLANK, " ", "a"))
    assert list(characters.word_ranges([1, 2, 2, 1, 1, 2])) == [(1, 3), (5, 6)]


def test_pieces_name_unknown_characters_too() -> None:
    tokenizer = BpeTokenizer.from_texts(TEXTS, 40)
    with pytest.raises(UnknownCharacterError, match="'É▁'.*'thÉ ▁'"):
        tokenizer.encode("thÉ ▁")
    assert tokenizer.unknown_characters(["É é", "the"]) == {"É": 1, "é": 1}


@pytest.mark.parametrize(
    ("texts", "vocab_size", "message"),
    [
        (TEXTS, 10, r"tokenizer.vocab_size must be at least 30 .*, not 10"),
        (TEXTS, 900, r"tokenizer.vocab_size=900: the training texts give \d+ tokens at most"),
        (["a▁b"], 10, "contain ▁"),
        ([], 10, "the training texts give no vocabulary"),
    ],
)
def test_a_vocabulary_that_the_texts_cannot_give(
    texts: list[str], vocab_size: int, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        BpeTokenizer.from_texts(texts, vocab_size)


def test_without_sentencepiece_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(AsrError, match=r"pip install 'asr\[bpe\]'"):
        BpeTokenizer.from_texts(TEXTS, 40)


@pytest.mark.parametrize("piece", ["a b", "a▁", "", "▁▁", " "])
def test_bad_pieces_are_refused(piece: str) -> None:
    with pytest.raises(AsrError, match="no piece of a word"):
        BpeTokenizer((BLANK, "▁", piece))
