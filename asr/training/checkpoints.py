"""Checkpoint files: written whole or not at all, and found again after a run was interrupted."""

import io
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Checkpoint as CheckpointCallback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from asr.errors import AsrError
from asr.training.interrupt import InterruptBetweenBatches
from asr.training.lit_module import epoch_batches_of, position_of, tokens_of
from asr.training.optim import MUON_GROUPS

CHECKPOINT_FOLDER = "checkpoints"
RECENT_FOLDER = "recent"
LAST_CHECKPOINT = "last.ckpt"
_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")  # of Lightning's state


class WholeFiles(TorchCheckpointIO):
    """Writes beside the place first, then renames: whatever ends the writing, what stood there stays.

    (Lightning's own goes through the folder of temporary files; where that is another disk, the last
    step is a copy, and a full disk or a kill leaves half a checkpoint in place of a whole one.)
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any = None
    ) -> None:
        """Write `checkpoint` to `path`; AsrError where the disk does not take it."""
        path = Path(path)
        partial = path.with_name(f".{path.name}.partial")
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise AsrError(
                f"cannot write checkpoint {path}: {error.strerror or error}. Earlier checkpoints are "
                "untouched: make room, then go on with resume=true"
            ) from error


class MovableCheckpoints(ModelCheckpoint):
    """Goes on in a run folder that was moved or copied: the files are those of its folder now."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what was known of each checkpoint, under its present path."""
        assert self.dirpath is not None

        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        moved = {name: here(state_dict[name]) for name in _PATHS if name in state_dict}
        scores = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(
            state_dict | moved | {"dirpath": self.dirpath, "best_k_models": scores}
        )


class BestCheckpoints(MovableCheckpoints):
    """The checkpoints with the best validation WER; among equals the newer.

    Lightning keeps the older: of a model whose WER stays at 100 % for its first epochs, while CER
    falls, that is the one that writes only blanks.

    Args:
        folder: where they are kept.
        count: how many; -1 keeps all.
    """

    def __init__(self, folder: Path, count: int) -> None:
        super().__init__(
            dirpath=folder,
            filename="epoch={epoch:03d}-wer={val/wer:.4f}",
            auto_insert_metric_name=False,
            monitor="val/wer",
            save_top_k=count,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what was known, and of more checkpoints than are kept now the best."""
        super().load_state_dict(state_dict)
        if self.save_top_k < 0 or len(self.best_k_models) <= self.save_top_k:
            return
        newest_first = list(self.best_k_models)[::-1]
        ranked = sorted(newest_first, key=lambda path: float(self.best_k_models[path]))
        for path in ranked[self.save_top_k :]:
            del self.best_k_models[path]
            Path(path).unlink(missing_ok=True)
        self.best_model_path, self.kth_best_model_path = ranked[0], ranked[self.save_top_k - 1]
        self.kth_value = self.best_k_models[self.kth_best_model_path]

    def check_monitor_top_k(self, trainer: Any, current: Tensor | None = None) -> bool:
        """Whether a WER is good enough to be kept."""
        worst = self.best_k_models.get(self.kth_best_model_path)
        if current is not None and worst is not None and bool(current == worst):
            return self.save_top_k != 0
        return super().check_monitor_top_k(trainer, current)


class LastCheckpoint(CheckpointCallback):
    """last.ckpt, every so many steps, after the last epoch, and when Ctrl-C ends the run.

    Saved right after a step alone: with accumulated batches, a checkpoint between two steps would lose
    the gradients of the batches since. After the last batch of an epoch it waits for the epoch's end: a
    run that goes on from before its validation would leave that out, and Ctrl-C waits for it too.
    Several processes ask each other after each step whether one of them was told to stop.

    What the step has logged goes to the loggers first. Lightning does that after `on_train_batch_end`: a
    run that was killed in between would go on from a step whose loss is not in the log.
    """

    def __init__(
        self, folder: Path, every_steps: int, interrupt: InterruptBetweenBatches | None = None
    ) -> None:
        self.path, self.every_steps, self.interrupt = (
            folder / LAST_CHECKPOINT,
            every_steps,
            interrupt,
        )
        self._saved_step = 0
        self._is_due = False

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save where a step has just been made and its time has come."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches and not trainer.is_last_batch:
            return
        self._is_due = trainer.global_step % self.every_steps == 0
        if trainer.is_last_batch:
            return
        is_asked = self._is_asked(trainer)
        if self._is_due or is_asked:
            trainer._logger_connector.update_train_step_metrics()
            self._save(trainer)
        if is_asked:
            raise KeyboardInterrupt

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Save what waited for it; and what training leaves."""
        ends = trainer.current_epoch + 1 == trainer.max_epochs or trainer.should_stop
        is_asked = self._is_asked(trainer)
        if self._is_due or ends or is_asked:
            self._save(trainer)
        if is_asked:
            raise KeyboardInterrupt

    def _is_asked(self, trainer: Any) -> bool:
        """Whether Ctrl-C was pressed for this process or, as all must know alike, for another."""
        asked = self.interrupt is not None and self.interrupt.asked
        return bool(trainer.strategy.reduce_boolean_decision(asked, all=False))

    def _save(self, trainer: Any) -> None:
        if trainer.global_step != self._saved_step:
            self._saved_step = trainer.global_step
            trainer.save_checkpoint(self.path)


def recent_checkpoints(folder: Path, count: int) -> ModelCheckpoint:
    """Keeps the weights of the last `count` epochs' ends in a folder of their own."""
    return MovableCheckpoints(
        dirpath=folder / RECENT_FOLDER,
        filename="step={step:08d}",
        auto_insert_metric_name=False,
        monitor="step",
        mode="max",
        save_top_k=count,
        save_weights_only=True,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that can be read.

    Attributes:
        position: (epoch, batches done in it).
        step: optimizer steps done.
        averaged: it holds a moving average beside the weights (callbacks.average=ema).
        shapes: of the network's tensors, by name.
        optimizer, schedule: of what kind they were.
        epoch_batches: batches that each process had in an epoch; None where not written down.
        tokens: the vocabulary; None where not written down.
    """

    path: Path
    position: tuple[int, int]
    step: int
    averaged: bool
    shapes: dict[str, tuple[int, ...]]
    optimizer: str
    schedule: str
    epoch_batches: int | None = None
    tokens: tuple[str, ...] | None = None

    def check_fits(self, state: Mapping[str, Tensor], tokens: tuple[str, ...]) -> None:
        """Refuse to go on with another network or vocabulary; nothing has been written yet.

        Raises:
            AsrError: names the first tensor that differs.
        """
        here = shapes_of(state)
        names = [name for name in here | self.shapes if here.get(name) != self.shapes.get(name)]
        if names:
            name = names[0]
            raise AsrError(
                f"{self.path} is of another network or vocabulary ({len(names)} tensors differ, the "
                f"first is {name}: {self.shapes.get(name, 'none')} there, {here.get(name, 'none')} "
                "here): go on with the settings that are in the run's config.yaml, or choose another "
                "run_dir"
            )
        if self.tokens is not None and self.tokens != tokens:
            raise AsrError(
                f"{self.path} was trained with another vocabulary of as many tokens: have the training "
                "texts changed? Put them back, or begin anew in another run_dir, with init_from= the "
                "bundle of a finished run"
            )


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def checkpoint_to_resume(run_dir: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The readable checkpoint that is furthest on; damaged ones are named and passed over.

    The files' times say nothing: a copied folder has others.
    """
    found: list[Checkpoint] = []
    for path in sorted((run_dir / CHECKPOINT_FOLDER).glob("*.ckpt")):
        try:
            found.append(_read(path))
        except (OSError, RuntimeError, LookupError, ValueError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0]
            say(f"checkpoint {path} is damaged ({reason}): it is passed over")
    if not found:
        say(f"nothing to resume in {run_dir}: starting from the beginning")
        return None
    return max(found, key=lambda one: (one.step, one.path.name == LAST_CHECKPOINT))


def _read(path: Path) -> Checkpoint:
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    groups = content["optimizer_states"][0]["param_groups"]
    return Checkpoint(
        path,
        position_of(content),
        int(content["global_step"]),
        averaged="averaging_state" in content,
        shapes=shapes_of(content["state_dict"]),
        optimizer="muon" if len(groups) == MUON_GROUPS else "adamw",
        schedule="plateau" if "scale" in content["lr_schedulers"][0] else "cosine",
        epoch_batches=epoch_batches_of(content),
        tokens=tokens_of(content),
    )
