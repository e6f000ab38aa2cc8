"""Steps that would do harm are skipped and named; a model that writes only blanks is remarked upon."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from asr.errors import AsrError
from asr.model import ModelConfig
from asr.training.config import RunConfig
from asr.training.dataset import Batch
from asr.whole_file import write_atomically

SKIPPED_FILE = "skipped.tsv"
BLANK_PLATEAU = 0.99
_MAX_NAMES_SHOWN = 5
NO_LOSS, NO_GRADIENT = "the loss is not finite", "the gradient is not finite"
NO_PATH = "no CTC path: more tokens than encoder frames, left out of the loss"


@dataclass
class _Seen:
    """A batch since the last step: its utterances, and whether its loss is a number."""

    utterance_ids: tuple[str, ...]
    finite: bool = True


class SkipBadSteps(Callback):
    """Skips the optimizer step where a loss or a gradient is not finite, on all ranks or on none.

    A skipped step leaves the weights and the optimizer's averages alone. It is counted
    (train/skipped_steps), its utterances are named on stderr and in the run folder's skipped.tsv (step,
    reason, ids), and after `max_in_a_row` of them training ends with an AsrError. Logs train/grad_norm,
    the norm of all gradients before clipping, and train/infeasible_utterances, those of an epoch that
    had no CTC path and so no share in the loss.

    With 16-mixed, a gradient beyond float16 is a skipped step too; the loss scale is then halved.
    """

    def __init__(self, run_dir: Path, max_in_a_row: int) -> None:
        self.path, self.max_in_a_row = run_dir / SKIPPED_FILE, max_in_a_row
        self.skipped = self.in_a_row = self.infeasible = 0
        self._batches: list[_Seen] = []
        self._named_infeasible: set[str] = set()

    def state_dict(self) -> dict[str, Any]:
        """The counters, so that a resumed run goes on counting."""
        return {
            "skipped": self.skipped,
            "in_a_row": self.in_a_row,
            "infeasible": self.infeasible,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the counters of a checkpoint."""
        self.skipped, self.in_a_row = state_dict["skipped"], state_dict["in_a_row"]
        self.infeasible = state_dict["infeasible"]

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Forget what an interrupted run has written beyond its checkpoint: it is done again."""
        if not trainer.is_global_zero or not self.path.is_file():
            return
        lines = self.path.read_text("utf-8", "surrogateescape").splitlines(keepends=True)
        steps = [line.partition("\t")[0] for line in lines]
        kept = [
            line
            for line, step in zip(lines, steps, strict=True)
            if step.isdigit() and int(step) < trainer.global_step
        ]
        write_atomically(self.path, kept)

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Batch, batch_idx: int) -> None:
        """Remember who is in the batch."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._batches = []
        examples = trainer.datamodule.train_examples
        names = tuple(examples[index].utterance.utterance_id for index in batch.indices.tolist())
        self._batches.append(_Seen(names))
        missing = without_path(batch, module.model.config)
        self.infeasible += len(missing)
        new = [names[row] for row in missing if names[row] not in self._named_infeasible]
        if new:
            self._named_infeasible.update(new)
            self._name(trainer.global_step, NO_PATH, new)

    def on_before_backward(self, trainer: Any, module: Any, loss: Tensor) -> None:
        """Look at the loss."""
        self._batches[-1].finite = bool(loss.isfinite())

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        """Look at the gradients; take them away where the step must not be made."""
        gradients = [
            parameter.grad for parameter in module.parameters() if parameter.grad is not None
        ]
        norm = torch.nn.utils.get_total_norm(gradients)
        module.log("train/grad_norm", norm)
        agree = trainer.strategy.reduce_boolean_decision
        losses_good = all(seen.finite for seen in self._batches)
        if agree(losses_good and bool(norm.isfinite())):
            self.in_a_row = 0
        else:
            optimizer.zero_grad()
            self._skip(trainer, optimizer, NO_GRADIENT if agree(losses_good) else NO_LOSS)
        module.log("train/skipped_steps", float(self.skipped))

    def _skip(self, trainer: Any, optimizer: Any, reason: str) -> None:
        self.skipped += 1
        self.in_a_row += 1
        names = [
            name
            for seen in self._batches
            if reason == NO_GRADIENT or not seen.finite
            for name in seen.utterance_ids
        ]
        if names:  # under DDP the loss may be another rank's
            self._name(trainer.global_step, reason, names)
        if self.in_a_row < self.max_in_a_row:
            return
        raise AsrError(
            f"{self.in_a_row} steps in a row had no finite loss or gradient, the last because "
            f"{reason} (learning rate {optimizer.param_groups[0]['lr']:.3g}). Their utterances are in "
            f"{self.path}: listen to those that come again and again. If it is different ones, lower "
            "optimizer.lr, lengthen scheduler.warmup_steps or take trainer.precision=32-true, and go "
            "on from an earlier checkpoint with resume=true"
        )

    def _name(self, step: int, reason: str, utterance_ids: Sequence[str]) -> None:
        """To stderr, and to the run folder."""
        shown = ", ".join(utterance_ids[:_MAX_NAMES_SHOWN])
        more = len(utterance_ids) - _MAX_NAMES_SHOWN
        what = "utterances left out" if reason == NO_PATH else "step skipped"
        print(
            f"step {step}: {what}, {reason}: {shown}" + (f" and {more} more" if more > 0 else ""),
            file=sys.stderr,
            flush=True,
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.write("\t".join([str(step), reason, *utterance_ids]) + "\n")

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Log the epoch's count, summed over ranks."""
        module.log(
            "train/infeasible_utterances", float(self.infeasible), sync_dist=True, reduce_fx="sum"
        )
        self.infeasible = 0


def without_path(batch: Batch, config: ModelConfig) -> list[int]:
    """Rows of a batch whose targets need more encoder frames than there are (see ctc.min_frames)."""
    frames = [config.num_output_frames(samples) for samples in batch.waveform_lengths.tolist()]
    places = torch.arange(1, batch.targets.shape[1], device=batch.targets.device)
    repeats = (batch.targets[:, 1:] == batch.targets[:, :-1]) & (
        places < batch.target_lengths[:, None]
    )
    needed = (batch.target_lengths + repeats.sum(dim=1)).tolist()
    return [row for row, (has, needs) in enumerate(zip(frames, needed, strict=True)) if has < needs]


class BlankPlateau(Callback):
    """Says what to try when the model has written nothing but blanks for many batches in a row.

    Every CTC model begins there, and most leave it by themselves.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.in_a_row = 0

    def state_dict(self) -> dict[str, Any]:
        """The counter."""
        return {"in_a_row": self.in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the counter of a checkpoint."""
        self.in_a_row = state_dict["in_a_row"]

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count; give the hint once for each plateau."""
        share = trainer.callback_metrics.get("train/blank_share")
        self.in_a_row = self.in_a_row + 1 if share is not None and share > BLANK_PLATEAU else 0
        if self.in_a_row == self.config.callbacks.blank_hint_batches and trainer.is_global_zero:
            print(self._hint(), file=sys.stderr, flush=True)

    def _hint(self) -> str:
        config = self.config
        return (
            f"over {100 * BLANK_PLATEAU:.0f} % of all frames have been blank for {self.in_a_row} "
            "batches: the model has not begun to write. If the loss still falls, wait. If not, try "
            f"another optimizer.lr (now {config.optimizer.lr:g}), more scheduler.warmup_steps (now "
            f"{config.scheduler.warmup_steps}), a later augment.start_step (now "
            f"{config.augment.start_step}), less encoder.dropout (now {config.encoder.dropout:g}), "
            f"smaller batches (data.batch_s, now {config.data.batch_s:g}); and listen to some "
            "utterances: a text that is not what is said teaches blanks"
        )
