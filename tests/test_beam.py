"""Prefix beam search against brute force over all paths, and what it promises besides."""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_ngram import TOKENS, WORDS_ARPA, encode, read_small_ngram, text_of

from asr.decoding.alignment import AlignmentError, align_tokens
from asr.decoding.arpa import read_arpa
from asr.decoding.beam import BeamDecoder
from asr.decoding.beam_options import BeamOptions
from asr.decoding.hotwords import Hotword, build_hotwords
from asr.decoding.language import (
    LanguageModel,
    phone_language_model,
    token_language_model,
    word_language_model,
)
from asr.decoding.lexicon import Alphabet, Spellings, spellings_of
from asr.decoding.ngram import LanguageModelError, NgramModel
from asr.errors import AsrError, UsageError

ALPHABET = Alphabet.from_tokens(TOKENS)
TOKENS_ARPA = WORDS_ARPA.replace("bab", "<space>").replace("ab", "c")
EVERYTHING = {"beam_size": 5000, "token_min_logp": -math.inf, "beam_threshold": 1e6}


def random_log_probs(seed: int, num_frames: int, vocab_size: int = 4) -> NDArray[np.float32]:
    logits = np.random.default_rng(seed).normal(size=(num_frames, vocab_size)) * 2
    log_probs: NDArray[np.float32] = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return log_probs.astype(np.float32)


def spelled(text: str, num_frames: int, tokens: Sequence[str] = TOKENS) -> NDArray[np.float32]:
    """Log-probabilities that spell `text`, each token one frame with a blank after it."""
    log_probs = np.full((num_frames, len(tokens)), 0.02)
    log_probs[:, 0] = 0.9
    for position, char in enumerate(text):
        log_probs[2 * position, 0] = 0.1
        log_probs[2 * position, tokens.index(char)] = 0.8
    return np.log(log_probs / log_probs.sum(axis=1, keepdims=True)).astype(np.float32)


def brute_force(log_probs: NDArray[np.float32]) -> dict[tuple[int, ...], float]:
    """ln P of every token sequence: the sum over all V^T paths."""
    sums: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        prefix = tuple(token for token, _ in itertools.groupby(path) if token)
        sums[prefix] += math.exp(sum(float(log_probs[t, token]) for t, token in enumerate(path)))
    return {prefix: math.log(total) for prefix, total in sums.items()}


def ranked(
    log_probs: NDArray[np.float32], earns: Callable[[tuple[int, ...]], float]
) -> list[tuple[str, float]]:
    """Texts with the score of their best token sequence, best first; -inf left out."""
    best: dict[str, float] = {}
    for prefix, score in brute_force(log_probs).items():
        total = score + earns(prefix)
        text = " ".join(text_of(prefix).split())
        if total > best.get(text, -math.inf):
            best[text] = total
    return sorted(best.items(), key=lambda item: -item[1])


def assert_equal_to_brute_force(
    decoder: BeamDecoder, log_probs: NDArray[np.float32], earns: Callable[[tuple[int, ...]], float]
) -> None:
    expected = ranked(log_probs, earns)[:12]
    found = decoder.decode_n_best(log_probs, 12)
    assert [" ".join(text_of(h.token_ids).split()) for h in found] == [text for text, _ in expected]
    assert [h.score for h in found] == pytest.approx([score for _, score in expected], abs=1e-4)


@pytest.fixture(scope="module")
def ngram(tmp_path_factory: pytest.TempPathFactory) -> NgramModel:
    return read_small_ngram(tmp_path_factory.mktemp("lm"))


@pytest.fixture(scope="module")
def words(ngram: NgramModel) -> LanguageModel:
    return word_language_model(ngram, ALPHABET, encode)


@pytest.mark.parametrize("seed", range(4))
def test_no_language_model(seed: int) -> None:
    decoder = BeamDecoder(Alphabet(4), BeamOptions(**EVERYTHING))
    log_probs = random_log_probs(seed, 6)
    expected = sorted(brute_force(log_probs).items(), key=lambda item: -item[1])[:20]
    found = decoder.decode_n_best(log_probs, 20)
    assert [h.token_ids for h in found] == [prefix for prefix, _ in expected]
    assert [h.score for h in found] == pytest.approx([score for _, score in expected], abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("unknown_penalty", [math.inf, 1.0])
def test_word_language_model(
    ngram: NgramModel, words: LanguageModel, seed: int, unknown_penalty: float
) -> None:
    options = BeamOptions(
        lm_weight=0.8, word_bonus=0.7, unknown_penalty=unknown_penalty, **EVERYTHING
    )

    def earns(prefix: tuple[int, ...]) -> float:
        text = text_of(prefix).split()
        unknown = sum(word not in ("a", "b", "ab", "bab") for word in text)
        if unknown and math.isinf(unknown_penalty):
            return -math.inf
        penalty = unknown * unknown_penalty if unknown else 0.0
        return 0.8 * ngram.score(" ".join(text)) + 0.7 * len(text) - penalty

    decoder = BeamDecoder(ALPHABET, options, words)
    assert_equal_to_brute_force(decoder, random_log_probs(seed, 7), earns)


@pytest.mark.parametrize("seed", range(3))
def test_token_language_model(tmp_path: Path, seed: int) -> None:
    (tmp_path / "t.arpa").write_text(TOKENS_ARPA)
    ngram = read_arpa(tmp_path / "t.arpa")

    def score(prefix: tuple[int, ...]) -> float:
        names = ["<space>" if t == 1 else TOKENS[t] for t in prefix]
        return 0.6 * ngram.score(" ".join(names)) + 0.3 * len(prefix)

    options = BeamOptions(lm_weight=0.6, word_bonus=0.3, **EVERYTHING)
    decoder = BeamDecoder(ALPHABET, options, token_language_model(ngram, TOKENS))
    assert_equal_to_brute_force(decoder, random_log_probs(seed, 6), score)


@pytest.mark.parametrize("seed", range(3))
def test_hotwords(words: LanguageModel, ngram: NgramModel, seed: int) -> None:
    hotwords = build_hotwords(
        [Hotword((3, 2, 3), 4.0), Hotword((2, 1, 3), 2.5), Hotword((2,), -1.0)], ALPHABET
    )

    def weight(prefix: tuple[int, ...]) -> float:
        padded = f" {text_of(prefix)} "
        return (
            4.0 * padded.count(" bab ")
            + 2.5 * sum(padded[i:].startswith(" a b ") for i in range(len(padded)))
            - sum(padded[i:].startswith(" a ") for i in range(len(padded)))
        )

    log_probs = random_log_probs(seed, 7)
    alone = BeamDecoder(ALPHABET, BeamOptions(**EVERYTHING), hotwords=hotwords)
    assert_equal_to_brute_force(alone, log_probs, weight)

    def with_words(prefix: tuple[int, ...]) -> float:
        text = text_of(prefix).split()
        if any(word not in ("a", "b", "ab", "bab") for word in text):
            return -math.inf
        return weight(prefix) + ngram.score(" ".join(text)) + 0.5 * len(text)

    both = BeamDecoder(ALPHABET, BeamOptions(**EVERYTHING), words, hotwords)
    assert_equal_to_brute_force(both, log_probs, with_words)


def test_subwords_with_a_lexicon(tmp_path: Path) -> None:
    """Subwords ▁a b ▁b: words are a, b, ab, bab; a word ends where a marked token begins."""
    tokens = ("<blank>", "▁a", "b", "▁b", "a")
    spell = {"a": [1], "b": [3], "ab": [1, 2], "bab": [3, 4, 2]}
    ngram = read_small_ngram(tmp_path)
    alphabet = Alphabet.from_tokens(tokens)
    lm = word_language_model(ngram, alphabet, spell.__getitem__)
    decoder = BeamDecoder(alphabet, BeamOptions(**EVERYTHING), lm)
    log_probs = random_log_probs(5, 6, 5)
    scores = {}
    spellings = {tuple(ids): word for word, ids in spell.items()}
    for prefix, score in brute_force(log_probs).items():
        starts = [i for i, token in enumerate(prefix) if token in (1, 3)] + [len(prefix)]
        parts = [prefix[a:b] for a, b in itertools.pairwise(starts)]
        if (prefix and starts[0] != 0) or any(part not in spellings for part in parts):
            continue
        text = [spellings[part] for part in parts]
        scores[prefix] = score + ngram.score(" ".join(text)) + 0.5 * len(text)
    expected = sorted(scores.items(), key=lambda item: -item[1])[:10]
    found = decoder.decode_n_best(log_probs, 10)
    assert [h.token_ids for h in found] == [prefix for prefix, _ in expected]
    assert [h.score for h in found] == pytest.approx([s for _, s in expected], abs=1e-4)


def test_language_model_decides_between_words(words: LanguageModel) -> None:
    """The sounds say "ba", slightly; no such word is known, the nearest that is wins."""
    log_probs = spelled("ba", 6)
    assert text_of(BeamDecoder(ALPHABET).decode(log_probs).token_ids) == "ba"
    closed = BeamDecoder(ALPHABET, BeamOptions(), words).decode(log_probs)
    assert text_of(closed.token_ids) in ("bab", "b", "a", "b a", "ab")
    opened = BeamDecoder(ALPHABET, BeamOptions(unknown_penalty=0.5, lm_weight=0.2), words).decode(
        log_probs
    )
    assert text_of(opened.token_ids) == "ba"


def test_spans_cover_the_frames_of_each_token() -> None:
    hypothesis = BeamDecoder(ALPHABET).decode(spelled("ab a", 10))
    assert text_of(hypothesis.token_ids) == "ab a"
    assert hypothesis.spans == ((0, 1), (2, 3), (4, 5), (6, 7))
    assert all(0.7 < confidence < 1 for confidence in hypothesis.confidences)


def test_results_do_not_depend_on_threads(words: LanguageModel) -> None:
    decoder = BeamDecoder(ALPHABET, BeamOptions(beam_size=8), words)
    utterances = [random_log_probs(seed, 5 + seed) for seed in range(24)]
    alone = [decoder.decode(utterance) for utterance in utterances]
    assert decoder.decode_batch(utterances, threads=1) == alone
    assert decoder.decode_batch(utterances, threads=4) == alone
    assert decoder.decode_batch(utterances[::-1], threads=2) == alone[::-1]


def test_pruning_keeps_the_best_and_bounds_the_beam(words: LanguageModel) -> None:
    log_probs = random_log_probs(3, 40)
    wide = BeamDecoder(ALPHABET, BeamOptions(beam_size=500, beam_threshold=60.0), words)
    best = wide.decode(log_probs).score
    scores = [
        BeamDecoder(ALPHABET, BeamOptions(beam_size=size), words).decode(log_probs).score
        for size in (1, 8, 64)
    ]
    assert max(scores) <= best + 1e-6
    assert scores[-1] == pytest.approx(best, abs=0.5)
    narrow = BeamDecoder(ALPHABET, BeamOptions(beam_size=3))
    assert len(narrow.decode_n_best(log_probs, 50)) <= 3


def test_long_silence_does_not_underflow() -> None:
    log_probs = np.full((5000, 4), -60.0, np.float32)
    log_probs[:, 0] = -20.0
    hypothesis = BeamDecoder(ALPHABET).decode(log_probs)
    assert hypothesis.token_ids == ()
    assert hypothesis.score == pytest.approx(-100_000.0, rel=1e-6)


def test_impossible_frames_do_not_end_the_search(words: LanguageModel) -> None:
    log_probs = np.full((4, 4), -np.inf, np.float32)
    log_probs[:, 1] = 0.0
    assert BeamDecoder(ALPHABET, BeamOptions(), words).decode(log_probs).score < 0


def test_cut_off_word_is_kept_only_where_nothing_else_is_left(words: LanguageModel) -> None:
    log_probs = np.full((3, 4), -80.0, np.float32)
    log_probs[[0, 1, 2], [3, 2, 0]] = 0.0
    narrow = BeamOptions(beam_size=1)
    assert text_of(BeamDecoder(ALPHABET, narrow, words).decode(log_probs).token_ids) == "ba"


def test_empty_utterance() -> None:
    hypothesis = BeamDecoder(ALPHABET).decode(np.empty((0, 4), np.float32))
    assert (hypothesis.token_ids, hypothesis.spans, hypothesis.score) == ((), (), 0.0)


def test_bad_log_probs_are_explained() -> None:
    decoder = BeamDecoder(ALPHABET)
    damaged = random_log_probs(0, 5)
    damaged[2, 1] = np.nan
    with pytest.raises(AsrError, match="NaN"):
        decoder.decode(damaged)
    with pytest.raises(AsrError, match=r"\(T, 4\) are expected, not \(5, 7\)"):
        decoder.decode(random_log_probs(0, 5, 7))
    with pytest.raises(AsrError, match="logits"):
        decoder.decode(np.full((5, 4), 3.0, np.float32))
    with pytest.raises(UsageError, match="threads"):
        decoder.decode_batch([damaged], threads=0)
    with pytest.raises(UsageError, match="hypotheses"):
        decoder.decode_n_best(damaged, 0)


@pytest.mark.parametrize(
    "option",
    [
        {"beam_size": 0}, {"beam_threshold": 0.0}, {"lm_weight": -1.0}, {"word_bonus": math.inf},
        {"unknown_penalty": math.nan}, {"token_min_logp": math.nan}, {"acoustic_scale": 0.0},
        {"acoustic_scale": math.nan},
    ],
)  # fmt: skip
def test_bad_options_are_explained(option: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        BeamOptions(**option)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [0.6, 1.7])
def test_an_acoustic_scale_makes_the_network_surer_or_less_sure(
    ngram: NgramModel, scale: float
) -> None:
    """As a softmax of the logits times the scale; what has no probability keeps none."""
    log_probs = random_log_probs(3, 6)
    log_probs[2, 1] = -np.inf
    model = word_language_model(ngram, ALPHABET, encode)
    options = BeamOptions(**EVERYTHING, lm_weight=0.7, word_bonus=0.4)
    scaled = torch.from_numpy(scale * log_probs).log_softmax(-1).numpy()
    expected = BeamDecoder(ALPHABET, options, model).decode_n_best(scaled, 8)
    found = BeamDecoder(ALPHABET, replace(options, acoustic_scale=scale), model)
    assert np.allclose(np.exp(found.scaled(log_probs)).sum(1), 1)
    for one, other in zip(found.decode_n_best(log_probs, 8), expected, strict=True):
        assert one.token_ids == other.token_ids
        assert one.score == pytest.approx(other.score, abs=1e-4)
        assert one.confidences == pytest.approx(other.confidences, abs=1e-4)


def test_mismatch_of_model_and_language_model_is_said_at_once(ngram: NgramModel) -> None:
    upper = ("<blank>", " ", "A", "B")
    with pytest.raises(LanguageModelError, match=r"cannot spell.*'a', 'b'.*case"):
        word_language_model(
            ngram, Alphabet.from_tokens(upper), lambda word: [upper.index(char) for char in word]
            if set(word) <= set(upper) else [],
        )  # fmt: skip
    with pytest.raises(LanguageModelError, match="knows 0 of the model's 3 tokens"):
        token_language_model(ngram, ("<blank>", "x", "y", "z"))
    with pytest.raises(LanguageModelError, match="where words end"):
        word_language_model(ngram, Alphabet(4), encode)


def test_unspellable_words_are_left_out_and_counted(ngram: NgramModel) -> None:
    def spell(word: str) -> list[int]:
        if word == "bab":
            raise KeyError(word)
        return encode(word)

    model = word_language_model(ngram, ALPHABET, spell)
    assert model.num_unspelled == 1
    assert (model.lexicon.nodes["word"] >= 0).sum() == 3


SAID = {"a": ["a"], "b": ["a"], "ab": ["ab", "b"], "bab": ["b"]}  # alike: a and b, ab and bab


def rows(said: Mapping[str, Sequence[str]]) -> tuple[list[str], Spellings]:
    """Words with their pronunciations, as a lexicon has them."""
    words = [word for word, ways in said.items() for _ in ways]
    return words, spellings_of([encode(way) for ways in said.values() for way in ways])


def said_words(token_ids: Sequence[int]) -> list[tuple[str, ...]]:
    """Every reading of phones as words: of those said alike only the likeliest, which is the first of
    SAID here, may have an idle separator after it, for to the network all separators are one."""
    readings: list[tuple[str, ...]] = [()]
    parts = text_of(token_ids).split(" ")
    for position, part in enumerate(parts):
        if not part:
            continue
        words = [word for word, said in SAID.items() if part in said]
        idle_after = position + 1 < len(parts) - 1 and parts[position + 1] == ""
        readings = [(*r, w) for r in readings for w in (words[:1] if idle_after else words)]
    return readings


@pytest.mark.parametrize("seed", range(6))
def test_words_said_alike_are_told_apart_by_the_language_model(
    ngram: NgramModel, seed: int
) -> None:
    """Phones against brute force: every path, every reading of it."""
    log_probs = random_log_probs(seed, 6)
    model = phone_language_model(ngram, *rows(SAID), 4)
    options = BeamOptions(**EVERYTHING, lm_weight=0.7, word_bonus=0.4)
    best: dict[str, float] = {}
    for prefix, log_prob in brute_force(log_probs).items():
        for words in said_words(prefix):
            score = log_prob + 0.7 * ngram.score(" ".join(words)) + 0.4 * len(words)
            best[" ".join(words)] = max(score, best.get(" ".join(words), -math.inf))
    expected = sorted(best.items(), key=lambda item: -item[1])[:12]
    found = BeamDecoder(ALPHABET, options, model).decode_n_best(log_probs, 12)
    assert [" ".join(w.text for w in h.words or ()) for h in found] == [t for t, _ in expected]
    assert [h.score for h in found] == pytest.approx([score for _, score in expected], abs=1e-4)
    for hypothesis in found:
        assert all(token_id < 4 for token_id in hypothesis.token_ids)
        for text, first, last in hypothesis.words or ():
            assert text_of(hypothesis.token_ids[first:last]) in SAID[text]


@pytest.mark.parametrize("seed", range(4))
def test_hot_words_over_phones_are_words_and_not_what_sounds_like_them(
    ngram: NgramModel, seed: int
) -> None:
    """ "b" is hot and "a" is not, though both are said alike; so is "ab a" and not "bab a"."""
    log_probs = random_log_probs(10 + seed, 6)
    model = phone_language_model(ngram, *rows(SAID), 4)
    ids = ngram.word_ids
    hot = [Hotword(tuple(encode("a")), 1.5, (ids["b"],))]
    hot += [Hotword(tuple(encode(said)), 2.0, (ids["ab"], ids["a"])) for said in ("ab a", "b a")]

    def earns(words: tuple[str, ...]) -> float:
        phrases = sum(pair == ("ab", "a") for pair in itertools.pairwise(words))
        return ngram.score(" ".join(words)) + 1.5 * words.count("b") + 2.0 * phrases

    best: dict[str, float] = {}
    for prefix, log_prob in brute_force(log_probs).items():
        for words in said_words(prefix):
            score = log_prob + earns(words)
            best[" ".join(words)] = max(score, best.get(" ".join(words), -math.inf))
    expected = sorted(best.items(), key=lambda item: -item[1])[:12]
    options = BeamOptions(**EVERYTHING, lm_weight=1.0, word_bonus=0.0)
    decoder = BeamDecoder(ALPHABET, options, model, build_hotwords(hot, ALPHABET))
    found = decoder.decode_n_best(log_probs, 12)
    assert [" ".join(w.text for w in h.words or ()) for h in found] == [t for t, _ in expected]
    assert [h.score for h in found] == pytest.approx([score for _, score in expected], abs=1e-4)


def test_phones_of_nothing_and_of_unknown_words(ngram: NgramModel) -> None:
    model = phone_language_model(ngram, *rows(SAID), 4)
    empty = BeamDecoder(ALPHABET, BeamOptions(), model).decode(random_log_probs(0, 5)[:0])
    assert (empty.words, empty.token_ids) == ((), ())
    with pytest.raises(UsageError, match="no spelling"):
        BeamDecoder(ALPHABET, BeamOptions(unknown_penalty=1.0), model)


def test_alignment_is_the_best_path() -> None:
    """All paths of 7 frames that collapse to "a a b", by brute force."""
    log_probs = random_log_probs(1, 7)
    token_ids = (2, 2, 3)
    paths = [
        (sum(float(log_probs[t, token]) for t, token in enumerate(path)), path)
        for path in itertools.product(range(4), repeat=7)
        if tuple(token for token, _ in itertools.groupby(path) if token) == token_ids
    ]
    score, path = max(paths)
    alignment = align_tokens(log_probs, np.array(token_ids))
    assert alignment.score == pytest.approx(score, abs=1e-5)
    runs = [list(run) for token, run in itertools.groupby(range(7), lambda t: path[t]) if token]
    assert alignment.spans == tuple((run[0], run[-1] + 1) for run in runs)
    for confidence, run in zip(alignment.confidences, runs, strict=True):
        expected = np.mean([math.exp(log_probs[t, path[t]]) for t in run])
        assert confidence == pytest.approx(expected, abs=1e-6)
    assert align_tokens(log_probs[:4], np.array(token_ids)).spans == ((0, 1), (2, 3), (3, 4))
    with pytest.raises(AlignmentError, match="3 tokens need at least 4 frames, there are 3"):
        align_tokens(log_probs[:3], np.array(token_ids))
