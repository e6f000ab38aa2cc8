"""Checkpoint files: written whole or not at all, and found again after a run was interrupted."""

import io
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from asr.errors import AsrError
from asr.training.lit_module import position_of

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
                f"cannot write checkpoint {path}: {error.strerror}. Earlier checkpoints are "
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

    def check_monitor_top_k(self, trainer: Any, current: Tensor | None = None) -> bool:
        """Whether a WER is good enough to be kept."""
        worst = self.best_k_models.get(self.kth_best_model_path)
        if current is not None and worst is not None and bool(current == worst):
            return self.save_top_k != 0
        return super().check_monitor_top_k(trainer, current)


class LastCheckpoint(MovableCheckpoints):
    """last.ckpt, every so many steps, and only right after a step.

    With accumulated batches the step count stands still between two steps; a checkpoint saved there
    would lose the gradients of the batches since.
    """

    def __init__(self, folder: Path, every_steps: int) -> None:
        super().__init__(
            dirpath=folder,
            filename=LAST_CHECKPOINT.removesuffix(".ckpt"),
            every_n_train_steps=every_steps,
            enable_version_counter=False,
        )

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save where a step has just been made."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            super().on_train_batch_end(trainer, module, outputs, batch, batch_idx)


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
    """

    path: Path
    position: tuple[int, int]
    step: int
    averaged: bool
    shapes: dict[str, tuple[int, ...]]

    def check_fits(self, state: Mapping[str, Tensor]) -> None:
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


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def checkpoint_to_resume(run_dir: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest readable checkpoint; a damaged one is named and passed over."""
    paths = (run_dir / CHECKPOINT_FOLDER).glob("*.ckpt")
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            return Checkpoint(
                path,
                position_of(found),
                int(found["global_step"]),
                averaged="averaging_state" in found,
                shapes=shapes_of(found["state_dict"]),
            )
        except (OSError, RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0]
            say(f"checkpoint {path} is damaged ({reason}): trying the one before it")
    say(f"nothing to resume in {run_dir}: starting from the beginning")
    return None
