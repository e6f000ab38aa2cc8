"""Checkpoint files: whole or not there, and not before the log; a full disk spares the one before."""

import csv
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import lightning
import pytest
import torch

from asr.errors import AsrError
from asr.training.checkpoints import (
    BestCheckpoints,
    LastCheckpoint,
    WholeFiles,
    checkpoint_to_resume,
)
from asr.training.interrupt import InterruptBetweenBatches
from asr.training.logs import MetricsCsv


def full_disk(path: Path) -> None:
    """What is written before it gets the name `path` goes to a device that is always full."""
    path.with_name(f".{path.name}.partial").symlink_to("/dev/full")


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints/last.ckpt"
    WholeFiles().save_checkpoint({"step": 1}, path)
    full_disk(path)
    with pytest.raises(AsrError, match=r"last\.ckpt: No space left on device.*make room"):
        WholeFiles().save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]
    WholeFiles().save_checkpoint({"step": 3}, path)
    assert torch.load(path, weights_only=True) == {"step": 3}


def save(path: Path, step: int, **more: object) -> None:
    content = {
        "global_step": step,
        "asr_position": (1, 2),
        "state_dict": {"w": torch.ones(2, 3)},
        "optimizer_states": [{"param_groups": [{}, {}]}],
        "lr_schedulers": [{"last_epoch": step}],
    }
    WholeFiles().save_checkpoint(content | more, path)


def test_the_newest_whole_checkpoint_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    said: list[str] = []
    assert checkpoint_to_resume(tmp_path, said.append) is None
    save(folder / "epoch=000-wer=0.9.ckpt", 5, averaging_state={})
    save(folder / "last.ckpt", 8)
    (folder / ".last.ckpt.partial").write_bytes(b"what a kill left")
    found = checkpoint_to_resume(tmp_path, said.append)
    assert found is not None
    assert (found.step, found.position, found.averaged) == (8, (1, 2), False)
    last = folder / "last.ckpt"
    last.write_bytes(last.read_bytes()[:100])
    found = checkpoint_to_resume(tmp_path, said.append)
    assert found is not None
    assert (found.step, found.averaged) == (5, True)
    assert found.shapes == {"w": (2, 3)}
    assert "nothing to resume" in said[0]
    assert "last.ckpt is damaged" in said[1]


def test_the_times_of_a_copy_say_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    for name, step in (("last.ckpt", 9), ("epoch=001-wer=0.8.ckpt", 9), ("epoch=000.ckpt", 5)):
        save(folder / name, step, optimizer_states=[{"param_groups": [{}, {}, {}]}])
    os.utime(folder / "last.ckpt", (1, 1))
    found = checkpoint_to_resume(tmp_path, print)
    assert found is not None
    assert (found.path.name, found.step) == ("last.ckpt", 9)
    assert (found.optimizer, found.schedule) == ("muon", "cosine")


def test_fewer_checkpoints_are_kept_from_a_resume_on(tmp_path: Path) -> None:
    """Among equals the newer ones."""
    rates = {"a": 0.9, "b": 0.7, "c": 0.8, "d": 0.7}
    paths = [str(tmp_path / f"{name}.ckpt") for name in rates]
    for path in paths:
        Path(path).touch()
    before = BestCheckpoints(tmp_path, 4)
    before.best_k_models = dict(zip(paths, map(torch.tensor, rates.values()), strict=True))
    before.best_model_path, before.kth_best_model_path = paths[1], paths[0]
    after = BestCheckpoints(tmp_path, 2)
    after.load_state_dict(before.state_dict())
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["b", "d"]
    assert (after.best_model_path, after.kth_best_model_path) == (paths[3], paths[1])


def test_another_network_is_refused_by_name(tmp_path: Path) -> None:
    save(tmp_path / "checkpoints/last.ckpt", 1)
    found = checkpoint_to_resume(tmp_path, print)
    assert found is not None
    found.check_fits({"w": torch.zeros(2, 3)}, ("a", "b"))
    with pytest.raises(AsrError, match=r"2 tensors differ, the first is w: \(2, 3\) there, \(4,\)"):
        found.check_fits({"w": torch.zeros(4), "v": torch.zeros(1)}, ("a", "b"))


def test_another_vocabulary_of_the_same_size_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "checkpoints/last.ckpt", 1, asr_tokens=["a", "b"])
    found = checkpoint_to_resume(tmp_path, print)
    assert found is not None
    found.check_fits({"w": torch.zeros(2, 3)}, ("a", "b"))
    with pytest.raises(AsrError, match="another vocabulary of as many tokens"):
        found.check_fits({"w": torch.zeros(2, 3)}, ("b", "a"))


def test_of_checkpoints_with_the_same_wer_the_newer_is_kept(tmp_path: Path) -> None:
    """Else a model with a WER of 100 % for its first epochs would stay that of its first one."""
    trainer = SimpleNamespace(strategy=SimpleNamespace(reduce_boolean_decision=bool))
    best = BestCheckpoints(tmp_path, 2)
    best.best_k_models = {"1": torch.tensor(0.9), "2": torch.tensor(1.0)}
    best.kth_best_model_path = "2"
    kept = {wer: best.check_monitor_top_k(trainer, torch.tensor(wer)) for wer in (0.8, 1.0, 1.1)}
    assert kept == {0.8: True, 1.0: True, 1.1: False}
    assert not best.check_monitor_top_k(trainer, None)


@dataclass
class OfProcesses:
    """Whether another process was told to stop."""

    other_was_asked: bool = False

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:
        assert not all
        return decision or self.other_was_asked


@dataclass
class FakeTrainer:
    """What LastCheckpoint asks of a trainer: epochs of `batches`, a step each `accumulate` of them."""

    batches: int
    accumulate_grad_batches: int = 1
    max_epochs: int = 4
    current_epoch: int = 0
    global_step: int = 0
    is_last_batch: bool = False
    should_stop: bool = False
    saved: list[int] = field(default_factory=list)
    strategy: Any = field(default_factory=lambda: OfProcesses())
    _logger_connector: Any = field(default_factory=MagicMock)

    def save_checkpoint(self, path: Path) -> None:
        assert path.name == "last.ckpt"
        self.saved.append(self.global_step)

    def epoch(self, callback: LastCheckpoint) -> None:
        """One epoch as Lightning runs it."""
        for index in range(self.batches):
            self.is_last_batch = index + 1 == self.batches
            ends_step = (index + 1) % self.accumulate_grad_batches == 0 or self.is_last_batch
            self.global_step += ends_step
            callback.on_train_batch_end(self, None, None, None, index)
        self.saved.append(-1)  # the validation
        callback.on_train_epoch_end(self, None)
        self.current_epoch += 1


def test_no_checkpoint_between_accumulated_batches(tmp_path: Path) -> None:
    """Of batches 0 to 4, two to a step: after 1, 3 and, with what is left over, 4."""
    trainer = FakeTrainer(5, accumulate_grad_batches=2)
    trainer.epoch(LastCheckpoint(tmp_path, every_steps=1))
    assert trainer.saved == [1, 2, -1, 3]


def test_a_checkpoint_at_the_end_of_an_epoch_waits_for_its_validation(tmp_path: Path) -> None:
    """A run that goes on from a checkpoint before it would leave the validation out."""
    trainer, callback = FakeTrainer(4), LastCheckpoint(tmp_path, every_steps=2)
    for _ in range(3):
        trainer.epoch(callback)
    assert trainer.saved == [2, -1, 4, 6, -1, 8, 10, -1, 12]


def test_the_last_epoch_leaves_a_checkpoint(tmp_path: Path) -> None:
    trainer, callback = FakeTrainer(3, max_epochs=2), LastCheckpoint(tmp_path, every_steps=4)
    for _ in range(2):
        trainer.epoch(callback)
    assert trainer.saved == [-1, 4, -1, 6]


@pytest.mark.parametrize(("batches", "saved"), [(4, [1]), (1, [-1, 1])])
@pytest.mark.parametrize("another", [False, True])
def test_ctrl_c_saves_at_the_next_place_to_go_on_from(
    tmp_path: Path, batches: int, saved: list[int], another: bool
) -> None:
    """After a step; in an epoch's last batch, after the validation. For another process's Ctrl-C too."""
    interrupt = InterruptBetweenBatches()
    callback = LastCheckpoint(tmp_path, every_steps=100, interrupt=interrupt)
    trainer = FakeTrainer(batches, strategy=OfProcesses(other_was_asked=another))
    interrupt.asked = not another
    with pytest.raises(KeyboardInterrupt):
        trainer.epoch(callback)
    assert trainer.saved == saved


class Line(lightning.LightningModule):
    """The least that Lightning trains: one weight for each of two numbers, its loss logged."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        loss = self.layer(batch).square().mean()
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def logged_steps(log: Path) -> list[int]:
    """The steps whose loss is in a CSV log."""
    if not log.is_file():
        return []
    with log.open(newline="") as file:
        return [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]


class LogAtSaving(WholeFiles):
    """Notes which losses are on the disk just before a checkpoint of so many steps is."""

    def __init__(self, log: Path) -> None:
        super().__init__()
        self.log, self.found = log, dict[int, list[int]]()

    def save_checkpoint(self, checkpoint: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        self.found[checkpoint["global_step"]] = logged_steps(self.log)
        super().save_checkpoint(checkpoint, *args, **kwargs)


def fit(folder: Path, last: LastCheckpoint, accumulate: int = 1) -> LogAtSaving:
    """Two epochs of five steps, `accumulate` batches each, as Lightning runs them."""
    files = LogAtSaving(folder / "metrics.csv")
    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, max_epochs=2, accumulate_grad_batches=accumulate,
        log_every_n_steps=1, logger=MetricsCsv(files.log), callbacks=[last], plugins=[files],
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    batches: Any = torch.utils.data.DataLoader(torch.ones(5 * accumulate, 2))
    try:
        trainer.fit(Line(), batches)
    except SystemExit:  # Lightning's end of a run that Ctrl-C stopped
        assert trainer.interrupted
    return files


@pytest.mark.parametrize("accumulate", [1, 2])
def test_no_checkpoint_before_the_losses_of_its_steps(tmp_path: Path, accumulate: int) -> None:
    """A run killed in between would go on without them. And none of them is written twice."""
    files = fit(tmp_path, LastCheckpoint(tmp_path, every_steps=2), accumulate)
    assert files.found == {step: list(range(step)) for step in (2, 4, 6, 8, 10)}
    assert logged_steps(files.log) == list(range(10))


def test_ctrl_c_leaves_the_loss_of_the_step_that_it_waited_for(tmp_path: Path) -> None:
    interrupt = InterruptBetweenBatches()
    interrupt.asked = True
    files = fit(tmp_path, LastCheckpoint(tmp_path, 100, interrupt))
    assert files.found == {1: [0]}
    assert logged_steps(files.log) == [0]
