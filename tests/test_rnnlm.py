"""The neural language model: scores against torch's own loss, training against what must be learnt."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processor import needs_bfloat16
from safetensors.torch import save_file

from asr.decoding.ngram import LanguageModelError
from asr.errors import AsrError, UsageError
from asr.rnnlm import (
    BOUNDARY_ID,
    Rescorer,
    RnnLm,
    RnnLmConfig,
    load_rescorer,
    save_rescorer,
    score_encoded,
)
from asr.rnnlm_training import (
    CHECKPOINT_FILE,
    MODEL_FILE,
    Progress,
    RnnLmOptions,
    batches,
    padded,
    train_rescorer,
)
from asr.tokenizer import BLANK, BpeTokenizer

# What ends a sentence is said by its first word, four words before.
TEXT = [
    sentence
    for middle in ("one two six", "six one two", "two six one", "one six two")
    for sentence in (f"a {middle} b", f"c {middle} d")
] * 8
WORDS = [sentence.split() for sentence in TEXT]
SMALL = RnnLmOptions(
    vocab_size=21, embedding_size=16, hidden_size=32, epochs=100, batch_pieces=128, lr=0.02,
    weights="float32",
)  # fmt: skip


def random_network(num_layers: int = 1) -> RnnLm:
    torch.manual_seed(5)
    network = RnnLm(RnnLmConfig(7, 4, 6, num_layers)).eval()
    for parameter in network.parameters():
        torch.nn.init.uniform_(parameter, -1.0, 1.0)
    return network


def rescorer() -> Rescorer:
    return Rescorer(
        random_network(), BpeTokenizer((BLANK, "▁", "a", "b", "▁a", "ab", "▁ab")), "none"
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rescorer, Path]:
    out = tmp_path_factory.mktemp("rnnlm")
    return train_rescorer(TEXT, "none", SMALL, out), out / MODEL_FILE


@pytest.mark.parametrize("num_layers", [1, 2])
def test_scores_are_those_of_each_sentence_alone(num_layers: int) -> None:
    """Beginnings are shared; torch's cross-entropy of one sentence at a time knows nothing of that."""
    network = random_network(num_layers)
    sentences = [[1, 2, 3], [1, 2], [], [1, 2, 3], [6], [1, 2, 4, 5, 5], [2, 1]]
    for pieces, found in zip(sentences, score_encoded(network, sentences), strict=True):
        with torch.no_grad():
            outputs, _ = network(torch.tensor([[BOUNDARY_ID], *([piece] for piece in pieces)]))
            loss = torch.nn.functional.cross_entropy(
                network.logits(outputs[:, 0]), torch.tensor([*pieces, BOUNDARY_ID]), reduction="sum"
            )
        assert found == pytest.approx(-float(loss), abs=1e-5)
    assert score_encoded(network, []) == []


def test_what_follows_a_beginning_has_probability_one() -> None:
    """All sentences of up to one piece, and those that begin with one: 1 - P(two pieces or more)."""
    network = random_network()
    ends = [math.exp(score) for score in score_encoded(network, [[], *([k] for k in range(1, 7))])]
    with torch.no_grad():
        first, state = network(torch.tensor([[BOUNDARY_ID]]))
        begins = network.logits(first[0, 0]).softmax(0)
        second, _ = network(
            torch.arange(1, 7)[None], tuple(part.expand(-1, 6, -1) for part in state)
        )
        longer = begins[1:] * (1 - network.logits(second[0]).softmax(1)[:, BOUNDARY_ID])
    assert sum(ends) + float(longer.sum()) == pytest.approx(1.0, abs=1e-6)


def test_perplexity_counts_words_and_ends() -> None:
    model = rescorer()
    sentences = [["ab", "a"], ["b"], ["ab"]]
    total = sum(model.score(sentences))
    assert model.perplexity(sentences) == pytest.approx(math.exp(-total / (4 + 3)))


def test_characters_that_it_cannot_write_are_left_out() -> None:
    model = rescorer()
    assert model.score([["aéb", "a"]]) == model.score([["ab", "a"]])
    assert dict(model.unknown_characters("a bé éc")) == {"é": 2, "c": 1}


def test_a_long_dependency_is_learnt(trained: tuple[Rescorer, Path]) -> None:
    """An n-gram of order 4 knows nothing of the first word when it comes to the last."""
    model, _ = trained
    for first, last, other in (("a", "b", "d"), ("c", "d", "b")):
        right, wrong = model.score([[first, "six", "one", "two", end] for end in (last, other)])
        assert right - wrong > 3
    # one bit for the first word, two for the three after it: 8 sentences, 6 events each
    assert model.perplexity(WORDS) < 1.1 * 8 ** (1 / 6)


def test_a_saved_model_is_the_same(trained: tuple[Rescorer, Path], tmp_path: Path) -> None:
    model, path = trained
    loaded = load_rescorer(path)
    assert (loaded.normalizer, loaded.tokenizer) == (model.normalizer, model.tokenizer)
    assert loaded.score(WORDS[:5]) == pytest.approx(model.score(WORDS[:5]), rel=1e-5)
    save_rescorer(model, tmp_path / "small.safetensors", "int8")
    rounded = load_rescorer(tmp_path / "small.safetensors")
    assert rounded.score(WORDS[:5]) == pytest.approx(model.score(WORDS[:5]), rel=0.1)
    assert (tmp_path / "small.safetensors").stat().st_size < path.stat().st_size / 2


def test_an_interrupted_training_goes_on(trained: tuple[Rescorer, Path], tmp_path: Path) -> None:
    """Step by step what a training without a stop does."""

    def interrupt(progress: Progress) -> None:
        if progress.step >= 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_rescorer(TEXT, "none", SMALL, tmp_path, interrupt, checkpoint_seconds=0.0)
    assert not (tmp_path / MODEL_FILE).exists()
    with pytest.raises(UsageError, match="other options or texts"):
        train_rescorer(TEXT, "none", replace(SMALL, lr=0.01), tmp_path)
    with pytest.raises(UsageError, match="other options or texts"):
        train_rescorer(TEXT[::-1], "none", SMALL, tmp_path)
    steps: list[Progress] = []
    again = train_rescorer(TEXT, "none", SMALL, tmp_path, steps.append)
    assert steps[0].step == 200  # 199 were kept
    assert steps[-1].step == steps[-1].num_steps
    assert steps[-1].left_s == 0
    whole = trained[0].network.state_dict()
    for name, tensor in again.network.state_dict().items():
        torch.testing.assert_close(tensor, whole[name])
    assert not (tmp_path / CHECKPOINT_FILE).exists()
    (tmp_path / CHECKPOINT_FILE).write_bytes(b"none")
    with pytest.raises(AsrError, match=r"checkpoint\.pt is damaged: remove it"):
        train_rescorer(TEXT, "none", SMALL, tmp_path)


def test_batches_hold_every_sentence_once_and_next_to_no_padding() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 5_000)
    options = replace(SMALL, batch_pieces=1_000)
    found = batches(lengths, options, epoch=0)
    assert sorted(np.concatenate(found).tolist()) == list(range(5_000))
    assert all(len(batch) * (lengths[batch].max() + 1) <= 1_000 for batch in found)
    padded_pieces = sum(len(batch) * (lengths[batch].max() + 1) for batch in found)
    assert padded_pieces < 1.1 * (lengths + 1).sum()
    assert np.concatenate(found).tolist() != np.concatenate(batches(lengths, options, 1)).tolist()
    too_long = batches(np.array([5, 2_000, 7]), options, epoch=0)  # a batch of its own
    assert sorted(map(len, too_long)) == [1, 2]


def test_a_padded_batch_has_no_targets_after_the_end() -> None:
    pieces, starts = np.array([3, 4, 5, 6], np.int32), np.array([0, 3, 4])
    inputs, targets = padded(pieces, starts, np.array([1, 0]))
    assert inputs.T.tolist() == [[0, 6, 0, 0], [0, 3, 4, 5]]
    assert targets.T.tolist() == [[6, 0, -100, -100], [3, 4, 5, 0]]


def test_a_long_sentence_is_learnt_in_parts(tmp_path: Path) -> None:
    sentence = " ".join(["ab"] * 50)
    options = replace(SMALL, vocab_size=5, max_pieces=8, epochs=1)
    model = train_rescorer([sentence] * 3, "none", options, tmp_path)
    assert math.isfinite(model.score([sentence.split()])[0])


@needs_bfloat16
def test_bfloat16_learns_too(tmp_path: Path) -> None:
    options = replace(SMALL, precision="bfloat16", epochs=30)
    model = train_rescorer(TEXT, "none", options, tmp_path)
    whole = train_rescorer(TEXT, "none", replace(SMALL, epochs=30), tmp_path)
    found = model.perplexity(WORDS)
    assert found != whole.perplexity(WORDS)
    assert found == pytest.approx(whole.perplexity(WORDS), rel=0.2)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"epochs": 0}, "above 0"), ({"lr": 0.0}, "above 0"), ({"lr": math.nan}, "above 0"),
        ({"max_pieces": 1}, "above 0"), ({"precision": "half"}, "float32 or bfloat16, not 'half'"),
        ({"weights": "int4"}, "float32, float16, int8, int7, not 'int4'"),
    ],
)  # fmt: skip
def test_options_that_cannot_be(option: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(SMALL, **option)


def test_files_that_are_no_models(trained: tuple[Rescorer, Path], tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(LanguageModelError, match="cannot read"):
        load_rescorer(path)
    with pytest.raises(LanguageModelError, match=r"holds 0 \.safetensors files"):
        load_rescorer(tmp_path)
    path.write_bytes(trained[1].read_bytes())
    assert load_rescorer(tmp_path).num_parameters == trained[0].num_parameters
    path.write_bytes(trained[1].read_bytes()[:-100])
    with pytest.raises(LanguageModelError, match="damaged"):
        load_rescorer(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(LanguageModelError, match="no neural language model"):
        load_rescorer(path)
    small = Rescorer(random_network(), BpeTokenizer((BLANK, "▁", "a")), "none")  # 3 pieces for 7
    save_rescorer(replace(small, network=random_network()), path)
    with pytest.raises(LanguageModelError, match="damaged"):
        load_rescorer(path)
