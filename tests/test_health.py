"""Bad steps are skipped, counted, named; many in a row end the run; an all-blank model gets a hint."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tone_corpus import overrides, write_corpus, write_recipe
from torch import Tensor

from asr.encoder import EncoderConfig
from asr.errors import AsrError
from asr.manifest import read_manifest, write_manifest
from asr.model import ModelConfig
from asr.training.config import RunConfig
from asr.training.dataset import Batch
from asr.training.health import BlankPlateau, without_path
from asr.training.lit_module import AsrLitModule
from asr.training.train import train

ONE_EPOCH = ["trainer.max_epochs=1", "logger=csv", "callbacks.checkpoint_every_steps=1"]
NAN = float("nan")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tones")
    write_corpus(folder, train=24, dev=4)
    write_recipe(folder)
    return folder


def poison(
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[[AsrLitModule, Batch, Tensor], Tensor]
) -> None:
    """Let `spoil` change the loss of each training step."""
    training_step = AsrLitModule.training_step

    def spoilt(self: AsrLitModule, batch: Batch, batch_idx: int) -> Tensor:
        return spoil(self, batch, training_step(self, batch, batch_idx))

    monkeypatch.setattr(AsrLitModule, "training_step", spoilt)


def weights(run_dir: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(run_dir / "checkpoints/last.ckpt", weights_only=True)[
        "state_dict"
    ]
    return found


def test_a_step_without_a_finite_loss_or_gradient_is_skipped_and_named(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Step 0 has no loss, step 1 a loss without a finite gradient; step 2 is made. Neither weights nor
    the optimizer see anything of the first two."""
    run_dir = corpus / "runs/skipping"
    seen: list[list[int]] = []
    before: list[dict[str, Tensor]] = []

    def spoil(module: AsrLitModule, batch: Batch, loss: Tensor) -> Tensor:
        seen.append(batch.indices.tolist())
        before.append({name: tensor.clone() for name, tensor in module.state_dict().items()})
        if module.global_step == 0:
            return loss * NAN
        if module.global_step == 1:  # 0 at a value of 0, of which the derivative is infinite
            return loss.detach() + 0 * (loss - loss.detach()).abs().sqrt()
        return loss

    poison(monkeypatch, spoil)
    train([*overrides(corpus, run_dir), *ONE_EPOCH])
    rows = [line.split("\t") for line in (run_dir / "skipped.tsv").read_text().splitlines()]
    assert [row[:2] for row in rows] == [
        ["0", "the loss is not finite"],
        ["1", "the gradient is not finite"],
    ]
    for row, indices in zip(rows, seen, strict=False):
        assert row[2:] == [f"train-{index}" for index in indices]
    for name, tensor in before[0].items():
        assert torch.equal(tensor, before[1][name])
        assert torch.equal(tensor, before[2][name])
    assert all(tensor.isfinite().all() for tensor in weights(run_dir).values())
    changed = weights(run_dir)["model.head.linear.weight"]
    assert not torch.equal(changed, before[0]["model.head.linear.weight"])
    assert "step 0: step skipped, the loss is not finite: train-" in capsys.readouterr().err
    with (run_dir / "logs/csv/metrics.csv").open() as file:
        logged = [row for row in csv.DictReader(file) if row["train/grad_norm"]]
    assert [row["train/skipped_steps"] for row in logged[:3]] == ["1.0", "2.0", "2.0"]
    assert float(logged[2]["train/grad_norm"]) > 0


def test_many_in_a_row_end_the_run_and_the_count_survives_a_resume(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = corpus / "runs/broken"
    settings = [*overrides(corpus, run_dir), *ONE_EPOCH]
    with monkeypatch.context() as once:
        poison(once, lambda module, batch, loss: loss * NAN)
        with pytest.raises(AsrError, match=r"2 steps in a row had no finite loss.*skipped\.tsv"):
            train([*settings, "trainer.max_skipped_in_a_row=2"])
    state = torch.load(run_dir / "checkpoints/last.ckpt", weights_only=True)
    assert state["callbacks"]["SkipBadSteps"]["in_a_row"] == 1  # saved after the first
    poison(monkeypatch, lambda module, batch, loss: loss * NAN)
    with pytest.raises(AsrError, match="2 steps in a row"):
        train([*settings, "trainer.max_skipped_in_a_row=2", "resume=true"])
    lines = (run_dir / "skipped.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["0", "1"]


def test_rows_without_a_ctc_path_are_found() -> None:
    """512 samples are a frame, 160 more another; subsampling 1. "aa" needs a blank between."""
    config = ModelConfig(4, encoder=EncoderConfig(subsampling=1))
    batch = Batch(
        torch.zeros(4, 832),
        torch.tensor([672, 672, 832, 512]),
        torch.tensor([[2, 3, 0], [2, 2, 0], [2, 2, 0], [3, 3, 3]]),
        torch.tensor([2, 2, 2, 1]),
        torch.arange(4),
        torch.zeros(4, 1, dtype=torch.long),
        torch.zeros(4, dtype=torch.long),
    )
    assert without_path(batch, config) == [1]


def test_utterances_without_a_path_are_counted_and_named_once(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check before training is taken away, as a wrong augmentation would: 60 times "ab" in 2 s."""
    first, *rest = read_manifest(corpus / "train.jsonl")
    write_manifest(corpus / "long.jsonl", [replace(first, text="ab" * 60), *rest])
    monkeypatch.setattr("asr.training.datamodule.min_frames", lambda token_ids: 0)
    run_dir = corpus / "runs/long"
    train([*overrides(corpus, run_dir), "logger=csv", "trainer.max_epochs=2",
           f"data.train=[{corpus / 'long.jsonl'}]"])  # fmt: skip
    (line,) = (run_dir / "skipped.tsv").read_text().splitlines()
    assert line.endswith("left out of the loss\ttrain-0")
    with (run_dir / "logs/csv/metrics.csv").open() as file:
        counts = [row["train/infeasible_utterances"] for row in csv.DictReader(file)]
    assert [count for count in counts if count] == ["1.0", "1.0"]


class Trainer:
    """What BlankPlateau asks of a trainer."""

    is_global_zero = True

    def __init__(self, share: float) -> None:
        self.callback_metrics = {"train/blank_share": torch.tensor(share)}


def hints(shares: list[float], capsys: pytest.CaptureFixture[str]) -> int:
    config = RunConfig()
    config.callbacks.blank_hint_batches = 3
    callback: Any = BlankPlateau(config)
    for share in shares:
        callback.on_train_batch_end(Trainer(share), None, None, None, 0)
    said = capsys.readouterr().err
    assert not said or "optimizer.lr (now 0.001)" in said
    return said.count("the model has not begun to write")


def test_an_all_blank_model_gets_one_hint_for_each_plateau(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert hints([1.0, 1.0, 0.9, 1.0, 1.0], capsys) == 0
    assert hints([1.0] * 50, capsys) == 1
    assert hints([1.0] * 5 + [0.5] + [0.995] * 5, capsys) == 2


def test_the_plateau_is_seen_in_a_run(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A learning rate of nothing leaves a new model as it is; whether it writes blanks is chance, so
    its bias for the blank is raised by training from a model made so."""
    run_dir = corpus / "runs/blank"

    def blank_first(self: AsrLitModule) -> None:
        with torch.no_grad():
            self.model.head.linear.bias[0] = 50.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AsrLitModule, "on_train_start", blank_first)
        train([*overrides(corpus, run_dir), *ONE_EPOCH, "optimizer.lr=1e-9",
               "callbacks.blank_hint_batches=2"])  # fmt: skip
    assert capsys.readouterr().err.count("the model has not begun to write") == 1
