"""Estimation of n-gram models: figures by hand, distributions that sum to one, pruning."""

import bz2
import gzip
import lzma
import random
from pathlib import Path

import numpy as np
import pytest

from asr.decoding.lookup import advance
from asr.decoding.ngram import NgramModel
from asr.errors import AsrError, UsageError
from asr.lm import LmOptions, measure_perplexity, train_language_model
from asr.lm_text import Corpus, TextSource, number_words, read_sentences


def text(seed: int, num_sentences: int) -> list[list[str]]:
    """Sentences of a small grammar with a long tail of rare words."""
    rng = random.Random(seed)
    names = [f"n{int(rng.paretovariate(0.7))}" for _ in range(2000)]
    verbs = ["sees", "hears", "likes", "finds", "calls"]
    return [
        ["the", rng.choice(names), rng.choice(verbs), rng.choice(["the", "a"]), rng.choice(names)]
        + (["and", rng.choice(names)] if rng.random() < 0.3 else [])
        for _ in range(num_sentences)
    ]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return number_words(text(0, 3000))


def distribution(model: NgramModel, context: list[str]) -> float:
    """Sum of P(word | <s> context) over all words that can follow."""
    state = model.begin_state
    for word_id in model.encode(context):
        state = advance(*model.arrays, state, word_id)[1]
    begin = model.word_ids["<s>"]
    ids = [np.int32(i) for i in range(len(model.words)) if i != begin]
    return float(sum(np.exp(advance(*model.arrays, state, i)[0]) for i in ids))


@pytest.mark.parametrize(
    "options",
    [LmOptions(order=n) for n in (1, 2, 3, 5)]
    + [LmOptions(3, (0, 0, 1)), LmOptions(4, (0, 1, 2)), LmOptions(3, (0,), 1e-5)],
    ids=str,
)
def test_probabilities_sum_to_one(corpus: Corpus, options: LmOptions) -> None:
    model = train_language_model(corpus, options)
    assert model.order == options.order
    for context in ([], ["the"], ["the", "n1"], ["the", "n1", "sees", "a"], ["unheard", "of"]):
        assert distribution(model, context) == pytest.approx(1.0, abs=1e-5)


def test_bigram_by_hand() -> None:
    """ "a b" twice and "a c" once.

    Unigrams: a, b and c follow one word each, </s> follows two. No count is 3, so the discounts are
    those of lmplz's fallback, D(1) = 0.5 and D(2) = 1: P(c) = (1 - 0.5) / 5 + (3 * 0.5 + 1) / 5 / 5.
    Bigrams: two occur once, two twice, one three times. Y = 2 / (2 + 2 * 2) = 1/3,
    D(1) = 1 - 2 Y 2/2 = 1/3, D(2) = 2 - 3 Y 1/2 = 3/2. After "a" there are "b" twice and "c" once.
    """
    model = train_language_model(number_words([["a", "b"], ["a", "b"], ["a", "c"]]), LmOptions(2))
    p_c = 0.5 / 5 + (3 * 0.5 + 1.0) / 5 / 5
    p_ac = (1 - 1 / 3) / 3 + (3 / 2 + 1 / 3) / 3 * p_c
    assert np.exp(model.score_words(["a", "c"])[1]) == pytest.approx(p_ac, rel=1e-5)


def test_higher_orders_predict_better(corpus: Corpus) -> None:
    held_out = text(1, 500)
    found = [
        measure_perplexity(train_language_model(corpus, LmOptions(order)), held_out).perplexity
        for order in (1, 2, 3)
    ]
    assert found[0] > 2 * found[1] > 2 * found[2]


def test_pruning_drops_what_matters_least(corpus: Corpus) -> None:
    held_out = text(1, 500)
    whole = train_language_model(corpus, LmOptions(3))
    perplexity = measure_perplexity(whole, held_out).perplexity
    last = whole
    for threshold in (1e-7, 1e-6, 1e-5):
        pruned = train_language_model(corpus, LmOptions(3, (0,), threshold))
        assert sum(pruned.counts) <= sum(last.counts)
        last = pruned
    assert sum(last.counts) < 0.8 * sum(whole.counts)
    assert measure_perplexity(last, held_out).perplexity < 1.1 * perplexity
    counted = train_language_model(corpus, LmOptions(3, (0, 0, 1)))
    assert counted.counts[:2] == whole.counts[:2]
    assert counted.counts[2] < whole.counts[2]


def test_limited_vocabulary_keeps_the_frequent_words() -> None:
    corpus = number_words([["a", "a", "b", "rare"], ["a", "b"]], max_words=2)
    assert corpus.words == ("<unk>", "<s>", "</s>", "a", "b")
    assert corpus.tokens.tolist() == [1, 3, 3, 4, 0, 2, 1, 3, 4, 2]


def test_listed_words_are_kept_or_come_last() -> None:
    corpus = number_words(
        [["a", "a", "b", "rare"], ["other", "a", "b"]], max_words=2, listed=("rare", "never", "a")
    )
    assert corpus.words == ("<unk>", "<s>", "</s>", "a", "b", "rare", "never")
    assert corpus.tokens.tolist() == [1, 3, 3, 4, 5, 2, 1, 0, 3, 4, 2]
    whole = number_words([["a", "b"]], listed=("never",))
    assert whole.words == ("<unk>", "<s>", "</s>", "a", "b", "never")


def test_a_listed_word_shares_what_smoothing_leaves_to_words_never_seen() -> None:
    sentences = text(0, 3000)
    without = train_language_model(number_words(sentences), LmOptions(3))
    model = train_language_model(
        number_words(sentences, listed=[f"new{i}" for i in range(200)]), LmOptions(3)
    )
    for context in ([], ["the"], ["the", "n1"], ["new7"]):
        assert distribution(model, context) == pytest.approx(1, abs=1e-5)
    new, unknown, before = (
        lm.score_words([word], end=False)[0]
        for lm, word in ((model, "new3"), (model, "xyzzy"), (without, "xyzzy"))
    )
    assert new == pytest.approx(unknown)
    words = len(without.words) - 1  # <s> is not predicted
    assert new - before == pytest.approx(np.log(words / (words + 200)), abs=1e-4)


def test_perplexity_counts_unknown_words(corpus: Corpus) -> None:
    model = train_language_model(corpus, LmOptions(2))
    found = measure_perplexity(model, [["the", "n1"], ["xyzzy"]])
    assert (found.num_sentences, found.num_words, found.num_unknown) == (2, 3, 1)
    assert found.unknown_rate == pytest.approx(1 / 3)
    assert found.perplexity == pytest.approx(
        np.exp(-(model.score("the n1") + model.score("xyzzy")) / 5)
    )
    assert found.known_perplexity < found.perplexity
    with pytest.raises(UsageError, match="no words"):
        measure_perplexity(model, [])


def test_text_files_of_every_kind(tmp_path: Path) -> None:
    content = "utt-1 HELLO, World!\nutt-2 ...\nutt-3\nutt-4 Mr. Brown\n"
    (tmp_path / "a.txt").write_text(content)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(content.encode()))
    (tmp_path / "c.txt.xz").write_bytes(lzma.compress(content.encode()))
    (tmp_path / "d.txt.bz2").write_bytes(bz2.compress(content.encode()))
    for name in ("a.txt", "b.txt.gz", "c.txt.xz", "d.txt.bz2"):
        source = TextSource((tmp_path / name,), skip_fields=1)
        assert list(read_sentences(source)) == [["hello", "world"], ["mr", "brown"]]
    entry = '{"audio_filepath": "x", "text": "utt-1 Hello world"}\n'
    for name in ("e.jsonl", "e.ndjson", "e.json"):
        (tmp_path / name).write_text(f"\n{entry} \n{entry}\n")
        source = TextSource((tmp_path / name,), skip_fields=1)
        assert list(read_sentences(source)) == [["hello", "world"]] * 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("latin.txt", "one\ncaf\u00e9\n".encode("latin-1"), "line 2: not UTF-8"),
        ("cut.txt.gz", gzip.compress(b"hello world\n" * 9)[:-9], "cannot read"),
        ("no.txt.xz", b"this is no xz file", "cannot read"),
        ("cut.txt.bz2", bz2.compress(b"hello world\n" * 9)[:-9], "cannot read"),
        ("no.txt.bz2", b"this is no bzip2 file", "cannot read"),
        ("m.jsonl", b'{"audio_filepath": "x"}\n', "line 1: no manifest entry"),
        ("null.jsonl", b'\n{"text": null}\n', "line 2: no manifest entry with a text"),
        ("number.jsonl", b'{"text": 7}\n', "line 1: no manifest entry with a text"),
        ("blank.txt", b"\n...\n", "has no words"),
    ],
)
def test_bad_text_is_explained(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AsrError, match=message):
        number_words(read_sentences(TextSource((tmp_path / name,))))


@pytest.mark.parametrize(
    "arguments", [(0,), (6,), (3, (1,)), (3, (0, 2, 1)), (2, (0, 0, 1)), (3, (-1,)), (3, (0,), 2.0)]
)
def test_impossible_options(arguments: tuple[object, ...]) -> None:
    with pytest.raises(UsageError):
        LmOptions(*arguments)  # type: ignore[arg-type]
