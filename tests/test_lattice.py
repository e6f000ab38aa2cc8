"""Recombination and the second pass over lattices, against all hypotheses ranked one by one."""

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_ngram import TOKENS, encode, read_small_ngram, text_of

from asr.decoding import beam as beam_module
from asr.decoding.beam import BeamDecoder
from asr.decoding.beam_options import BeamOptions
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.language import LanguageModel, phone_language_model, word_language_model
from asr.decoding.lattice import NO_VERTEX, LatticePath, WordLattice
from asr.decoding.lexicon import Alphabet, spellings_of
from asr.decoding.ngram import NgramModel
from asr.errors import UsageError
from asr.rescoring import BoundRescorer, Rescoring
from asr.rnnlm import Rescorer, RnnLm, RnnLmConfig
from asr.tokenizer import BLANK, BpeTokenizer

ALPHABET = Alphabet.from_tokens(TOKENS)
EVERYTHING = BeamOptions(5000, -math.inf, 1e6, lm_weight=0.8, word_bonus=0.7)
SHARE = 0.7
SEEDS = range(12)


def log_probs_of(seed: int, num_frames: int = 11, vocab_size: int = 4) -> NDArray[np.float32]:
    """A frame of some token, a frame of blank, and so on; which token is the question.

    What a prefix is worth is known at once then. Where its probability is still flowing in from shorter
    ones when it is joined with another, recombination is an estimate.
    """
    logits = np.random.default_rng(seed).normal(size=(num_frames, vocab_size)) * 1.5
    logits[::2, 0] -= 16.0
    logits[1::2, 0] += 16.0
    found: NDArray[np.float32] = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return found.astype(np.float32)


@pytest.fixture(scope="module")
def ngram(tmp_path_factory: pytest.TempPathFactory) -> NgramModel:
    return read_small_ngram(tmp_path_factory.mktemp("lm"))


@pytest.fixture(scope="module")
def words(ngram: NgramModel) -> LanguageModel:
    return word_language_model(ngram, ALPHABET, encode)


@pytest.fixture(scope="module")
def neural() -> Rescorer:
    torch.manual_seed(3)
    network = RnnLm(RnnLmConfig(7, 4, 6)).eval()
    for parameter in network.parameters():
        torch.nn.init.uniform_(parameter, -1.5, 1.5)
    return Rescorer(network, BpeTokenizer((BLANK, "▁", "a", "b", "▁a", "ab", "▁ab")), "none")


@pytest.fixture(autouse=True)
def everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """No path is left out, as far as the options of a search go."""
    monkeypatch.setattr(beam_module, "LATTICE_MARGIN", 1e6)
    monkeypatch.setattr("asr.rescoring.NUM_HISTORIES", 10_000)


def written(hypothesis: Hypothesis) -> list[str]:
    if hypothesis.words is not None:
        return [word.text for word in hypothesis.words]
    return text_of(hypothesis.token_ids).split()


def second_pass(ngram: NgramModel, neural: Rescorer, lm_weight: float = 0.8) -> Rescoring:
    return Rescoring(BoundRescorer(neural, ngram, text_of), lm_weight, SHARE)


def by_hand(
    hypotheses: list[Hypothesis], ngram: NgramModel, neural: Rescorer, lm_weight: float = 0.8
) -> dict[tuple[str, ...], float]:
    """Scores of hypotheses with the share of the neural model."""
    sentences = [written(one) for one in hypotheses]
    return {
        tuple(sentence): one.score
        + lm_weight * SHARE * (log_prob - float(ngram.score_words(sentence).sum()))
        for one, sentence, log_prob in zip(
            hypotheses, sentences, neural.score(sentences), strict=True
        )
    }


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("unknown_penalty", [math.inf, 1.0])
def test_recombination_keeps_the_best(
    words: LanguageModel, seed: int, unknown_penalty: float
) -> None:
    """The best of all hypotheses, kept apart, is the one of a search that joins them."""
    options = BeamOptions(5000, -math.inf, 1e6, 0.8, 0.7, unknown_penalty)
    decoder = BeamDecoder(ALPHABET, options, words)
    log_probs = log_probs_of(seed)
    expected = decoder.decode_n_best(log_probs, 5000)[0]
    found = decoder.decode(log_probs)
    assert written(found) == written(expected)
    assert found.score == pytest.approx(expected.score, abs=1e-3)


def test_recombination_makes_room_in_a_beam(words: LanguageModel) -> None:
    """As many different futures fit into a beam as it has places: apart, prefixes crowd them out."""
    narrow = BeamDecoder(ALPHABET, BeamOptions(6, -math.inf, 1e6, 0.8, 0.7), words)
    wide = BeamDecoder(ALPHABET, EVERYTHING, words)
    utterances = [log_probs_of(seed, 24) for seed in SEEDS]
    best = [wide.decode(one).score for one in utterances]
    joined = [narrow.decode(one).score for one in utterances]
    apart = [narrow.decode_n_best(one, 2)[0].score for one in utterances]
    assert np.less_equal(joined, np.add(best, 0.1)).all()
    assert np.mean(joined) > np.mean(apart) + 0.1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lattice_holds_the_hypotheses_of_a_search(
    words: LanguageModel, ngram: NgramModel, seed: int
) -> None:
    """With the n-grams' own probabilities in it, and nearly the scores that the search has for them."""
    decoder = BeamDecoder(ALPHABET, EVERYTHING, words)
    log_probs = log_probs_of(seed)
    (lattice,) = decoder.lattices([log_probs])
    apart = decoder.decode_n_best(log_probs, 40)
    likely = [one for one in apart if one.score > apart[0].score - 6]
    assert len(likely) >= 5
    paths = all_paths(lattice)
    best: dict[tuple[str, ...], Hypothesis] = {}
    for path, _ in sorted(paths, key=lambda item: item[0].score):
        hypothesis = decoder.follow(lattice, path)
        best[tuple(written(hypothesis))] = hypothesis
    for path, log_prob in paths:
        sentence = written(decoder.follow(lattice, path))
        assert log_prob == pytest.approx(ngram.score(" ".join(sentence)), abs=1e-4)
    for one in likely:
        found = best[tuple(written(one))]
        assert found.score == pytest.approx(one.score, abs=1e-3)
    assert max(path.score for path, _ in paths) == pytest.approx(apart[0].score, abs=1e-3)


def all_paths(lattice: WordLattice) -> list[tuple[LatticePath, float]]:
    """Every path with its score, and ln P of its words by the n-grams."""
    ways: list[list[tuple[tuple[int, ...], float, float]]] = [[((), 0.0, 0.0)]]
    for number, vertex in enumerate(lattice.vertices[1:], start=1):
        before = ways[vertex["source"]]
        if vertex["other"] == NO_VERTEX:
            ngram = float(vertex["ngram"])
            ways.append(
                [((*passed, number), gap, log_prob + ngram) for passed, gap, log_prob in before]
            )
        else:
            gap = float(vertex["gap"])
            assert gap <= 0
            others = [(passed, g + gap, log_prob) for passed, g, log_prob in ways[vertex["other"]]]
            ways.append(before + others)
    return [
        (LatticePath(passed, end, float(last["score"]) + gap), log_prob + float(last["ngram"]))
        for end, last in enumerate(lattice.ends)
        for passed, gap, log_prob in ways[last["source"]]
    ]


def ranked(
    words: LanguageModel, ngram: NgramModel, neural: Rescorer, seed: int
) -> tuple[BeamDecoder, NDArray[np.float32], dict[tuple[str, ...], float]]:
    """A decoder, what it hears, and the scores of all that this may say."""
    decoder = BeamDecoder(ALPHABET, EVERYTHING, words)
    log_probs = log_probs_of(seed)
    return decoder, log_probs, by_hand(decoder.decode_n_best(log_probs, 5000), ngram, neural)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_second_pass_finds_what_ranking_all_hypotheses_finds(
    words: LanguageModel, ngram: NgramModel, neural: Rescorer, seed: int
) -> None:
    decoder, log_probs, scores = ranked(words, ngram, neural, seed)
    first = decoder.decode(log_probs)
    rescoring = second_pass(ngram, neural)
    lattices = decoder.lattices([log_probs_of(99, 5), log_probs, log_probs_of(98, 3)])
    path = rescoring.choose(lattices)[1]
    found = decoder.follow(lattices[1], path)
    assert found.score == path.score == pytest.approx(max(scores.values()), abs=1e-3)
    assert scores[tuple(written(found))] > max(scores.values()) - 1e-3
    assert scores[tuple(written(found))] >= scores[tuple(written(first))]
    alone = decoder.lattices([log_probs])
    assert rescoring.choose(alone)[0].vertices == path.vertices


@pytest.mark.parametrize("seed", SEEDS)
def test_the_best_paths_are_those_of_all_hypotheses(
    words: LanguageModel, ngram: NgramModel, neural: Rescorer, seed: int
) -> None:
    """The first of each sentence, in order; a path for each way through the search to say it."""
    decoder, log_probs, scores = ranked(words, ngram, neural, seed)
    lattices = decoder.lattices([log_probs, log_probs_of(98, 3)])
    paths, _ = second_pass(ngram, neural).best_paths(lattices, 1000)
    assert [path.score for path in paths] == sorted((p.score for p in paths), reverse=True)
    found: dict[tuple[str, ...], float] = {}
    for path in paths:
        found.setdefault(tuple(written(decoder.follow(lattices[0], path))), path.score)
    assert len(found) > 5
    for sentence in sorted(scores, key=lambda one: -scores[one])[:5]:
        assert found[sentence] == pytest.approx(scores[sentence], abs=1e-3)


def test_the_second_pass_is_not_the_first(
    words: LanguageModel, ngram: NgramModel, neural: Rescorer
) -> None:
    """The seeds of the test above are such that the neural model changes something."""
    decoder = BeamDecoder(ALPHABET, EVERYTHING, words)
    changed = 0
    for seed in SEEDS:
        lattices = decoder.lattices([log_probs_of(seed)])
        (path,) = second_pass(ngram, neural).choose(lattices)
        changed += written(decoder.follow(lattices[0], path)) != written(
            decoder.decode(log_probs_of(seed))
        )
    assert changed >= 3


def test_words_that_the_ngrams_lack_are_spelled(
    words: LanguageModel, ngram: NgramModel, neural: Rescorer
) -> None:
    options = BeamOptions(5000, -math.inf, 1e6, 0.3, 0.7, 0.1)
    decoder = BeamDecoder(ALPHABET, options, words)
    unknown = 0
    for seed in SEEDS:
        log_probs = log_probs_of(seed)
        scores = by_hand(decoder.decode_n_best(log_probs, 5000), ngram, neural, 0.3)
        lattices = decoder.lattices([log_probs])
        (path,) = second_pass(ngram, neural, 0.3).choose(lattices)
        found = tuple(written(decoder.follow(lattices[0], path)))
        assert scores[found] > max(scores.values()) - 1e-3
        unknown += any(word not in ngram.word_ids for word in found)
    assert unknown >= 3


def test_words_said_alike(ngram: NgramModel, neural: Rescorer) -> None:
    """Two words of one pronunciation are told apart by the language models alone, also at the end."""
    said = {"a": "a", "b": "b", "ab": "b", "bab": "ba"}
    model = phone_language_model(
        ngram, list(said), spellings_of(list(map(encode, said.values()))), 4
    )
    decoder = BeamDecoder(ALPHABET, EVERYTHING, model)
    for seed in SEEDS:
        log_probs = log_probs_of(seed)
        scores = by_hand(decoder.decode_n_best(log_probs, 5000), ngram, neural)
        lattices = decoder.lattices([log_probs])
        (path,) = second_pass(ngram, neural).choose(lattices)
        found = decoder.follow(lattices[0], path)
        assert found.words is not None
        assert scores[tuple(written(found))] > max(scores.values()) - 1e-3
        for word in found.words:
            said_with = [one for one in found.token_ids[word.first : word.last] if one != 1]
            assert text_of(said_with) == said[word.text]


def test_subwords(ngram: NgramModel, neural: Rescorer) -> None:
    """A token that begins a word belongs to it, and ends the one before."""
    tokens = ("<blank>", "▁a", "b", "▁b", "a")
    spellings = {"a": [1], "b": [3], "ab": [1, 2], "bab": [3, 4, 2]}
    alphabet = Alphabet.from_tokens(tokens)
    decoder = BeamDecoder(
        alphabet, EVERYTHING, word_language_model(ngram, alphabet, spellings.__getitem__)
    )
    word_of = {tuple(ids): word for word, ids in spellings.items()}
    rescoring = second_pass(ngram, neural)
    for seed in SEEDS:
        log_probs = log_probs_of(seed, 7, 5)
        (lattice,) = decoder.lattices([log_probs])
        for vertex in (*lattice.vertices[1:], *lattice.ends):
            own = lattice.tokens[vertex["first_token"] : vertex["last_token"]]
            if vertex["word"] >= 0:
                assert word_of[tuple(own.tolist())] == ngram.words[vertex["word"]]
            else:
                assert not len(own)
        (path,) = rescoring.choose([lattice])
        token_ids = decoder.follow(lattice, path).token_ids
        starts = [place for place, token in enumerate(token_ids) if token in (1, 3)]
        parts = [token_ids[a:b] for a, b in itertools.pairwise([*starts, len(token_ids)])]
        assert all(part in word_of for part in parts)


def test_nothing_said(words: LanguageModel, ngram: NgramModel, neural: Rescorer) -> None:
    decoder = BeamDecoder(ALPHABET, BeamOptions(), words)
    lattices = decoder.lattices([np.empty((0, 4), np.float32)], threads=1)
    (path,) = second_pass(ngram, neural).choose(lattices)
    assert decoder.follow(lattices[0], path).token_ids == ()
    assert second_pass(ngram, neural).choose([]) == []


def test_a_cut_off_word_where_nothing_else_is_left(
    words: LanguageModel, ngram: NgramModel, neural: Rescorer
) -> None:
    log_probs = np.full((3, 4), -80.0, np.float32)
    log_probs[[0, 1, 2], [3, 2, 0]] = 0.0
    decoder = BeamDecoder(ALPHABET, BeamOptions(beam_size=1), words)
    lattices = decoder.lattices([log_probs])
    (path,) = second_pass(ngram, neural).choose(lattices)
    assert text_of(decoder.follow(lattices[0], path).token_ids) == "ba"


def test_a_lattice_needs_words() -> None:
    with pytest.raises(UsageError, match="language model of words"):
        BeamDecoder(ALPHABET).lattices([log_probs_of(0)])
