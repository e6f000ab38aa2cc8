"""The packed form of language models: the same n-grams in less space, nearly the same scores."""

import json
import random
import zlib
from pathlib import Path

import numpy as np
import pytest

from asr.decoding.arpa import load_ngram
from asr.decoding.ngram import LanguageModelError, NgramModel
from asr.decoding.packed import load_packed, save_packed, suffixes_of
from asr.lm import LmOptions, train_language_model
from asr.lm_close import close_under_suffixes
from asr.lm_prune import prune_by_entropy
from asr.lm_text import number_words
from tests.language_bundle import write_language_model

VOCABULARY = [f"w{number}" for number in range(300)]


def sentences(count: int, seed: int) -> list[list[str]]:
    """Zipf's words in chains, so that n-grams of every order repeat."""
    draw = random.Random(seed)
    weights = [1 / (1 + rank) for rank in range(len(VOCABULARY))]
    chains = [draw.choices(VOCABULARY, weights, k=4) for _ in range(400)]
    return [
        [word for _ in range(draw.randint(1, 4)) for word in draw.choice(chains)][
            : draw.randint(1, 14)
        ]
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def pruned() -> NgramModel:
    """Of order 4, with n-grams whose suffix the pruning took."""
    model = train_language_model(number_words(sentences(3000, 0)), LmOptions(4))
    pruned = prune_by_entropy(model, 3e-5)
    assert (suffixes_of(pruned) < 0).any()
    return pruned


def test_closing_adds_what_is_missing_and_changes_no_score(pruned: NgramModel) -> None:
    closed = close_under_suffixes(pruned)
    suffixes = suffixes_of(closed)
    assert suffixes.min() == 0
    nodes = closed.arrays.nodes
    assert (nodes["word"][1:][suffixes[1:] > 0] == nodes["word"][suffixes[suffixes > 0]]).all()
    assert closed.counts[3] == pruned.counts[3]
    assert closed.counts[2] > pruned.counts[2]
    assert close_under_suffixes(closed) is closed
    for sentence in sentences(200, 1):
        text = " ".join([*sentence, "never-seen", *sentence[:2]])
        assert closed.score(text) == pytest.approx(pruned.score(text), abs=1e-4)


def test_packed_model_has_the_same_ngrams_and_nearly_the_same_scores(
    pruned: NgramModel, tmp_path: Path
) -> None:
    closed = close_under_suffixes(pruned)
    closed.save(tmp_path / "compiled.ngram")
    save_packed(closed, tmp_path / "packed.ngram")
    packed = load_ngram(tmp_path / "packed.ngram")
    assert (packed.words, packed.counts) == (closed.words, closed.counts)
    for field in ("word", "next_state"):
        np.testing.assert_array_equal(packed.arrays.nodes[field], closed.arrays.nodes[field])
    for field in ("first_child", "suffix"):
        np.testing.assert_array_equal(packed.arrays.contexts[field], closed.arrays.contexts[field])
    zero = closed.arrays.contexts["backoff"] == 0
    np.testing.assert_array_equal(packed.arrays.contexts["backoff"] == 0, zero)
    errors = [
        packed.score(" ".join(sentence)) - closed.score(" ".join(sentence))
        for sentence in sentences(200, 1)
    ]
    assert 1e-6 < np.abs(errors).mean() < 0.05
    sizes = [(tmp_path / f"{name}.ngram").stat().st_size for name in ("packed", "compiled")]
    assert sizes[0] < sizes[1] / 2.5


def test_packing_twice_loses_nothing_more(pruned: NgramModel, tmp_path: Path) -> None:
    save_packed(close_under_suffixes(pruned), tmp_path / "once.ngram")
    save_packed(load_packed(tmp_path / "once.ngram"), tmp_path / "twice.ngram")
    once, twice = (load_packed(tmp_path / f"{name}.ngram").arrays for name in ("once", "twice"))
    for first, second in zip(once, twice, strict=True):
        np.testing.assert_array_equal(first, second)


def test_models_of_one_word_and_of_unigrams_can_be_packed(tmp_path: Path) -> None:
    for order in (1, 2):
        model = train_language_model(number_words([["a"], ["a", "a"]]), LmOptions(order))
        save_packed(close_under_suffixes(model), tmp_path / "lm.ngram")
        assert load_packed(tmp_path / "lm.ngram").score("a b a") == pytest.approx(
            model.score("a b a"), abs=1e-5
        )


def test_damaged_packed_model_is_explained(pruned: NgramModel, tmp_path: Path) -> None:
    path = tmp_path / "lm.ngram"
    with pytest.raises(ValueError, match="suffix of an n-gram is missing"):
        save_packed(pruned, path)
    save_packed(close_under_suffixes(pruned), path)
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 200, 20):
        path.write_bytes(whole[:length])
        with pytest.raises(LanguageModelError, match=r"lm\.ngram is damaged or cut off"):
            load_ngram(path)
    path.write_bytes(whole.replace(b'"counts": [', b'"counts": [1', 1))
    with pytest.raises(LanguageModelError, match=r"lm\.ngram is damaged or cut off"):
        load_ngram(path)
    with pytest.raises(LanguageModelError, match="no packed language model"):
        load_packed(write_language_model(tmp_path / "compiled.ngram"))
    path.write_bytes(whole.replace(b"PACKED-2", b"PACKED-1", 1))
    with pytest.raises(LanguageModelError, match="of another asr: pack it again"):
        load_ngram(path)


@pytest.mark.parametrize("array", ["gaps 2", "gaps 3", "children 1"])
def test_a_packed_model_that_points_anywhere_is_refused(
    array: str, pruned: NgramModel, tmp_path: Path
) -> None:
    """A file that was made to harm, whole by its checksum."""
    path = tmp_path / "lm.ngram"
    save_packed(close_under_suffixes(pruned), path)
    magic, header, content = path.read_bytes().split(b"\n", 2)
    arrays = bytearray(zlib.decompress(content))
    first = 0
    for name, (dtype, shape) in json.loads(header)["arrays"].items():
        size = np.dtype(dtype).itemsize * int(np.prod(shape))
        if name == array:
            arrays[first : first + size] = b"\xff" * size
        first += size
    path.write_bytes(b"\n".join((magic, header, zlib.compress(bytes(arrays)))))
    with pytest.raises(LanguageModelError, match=r"lm\.ngram is damaged or cut off"):
        load_ngram(path)
