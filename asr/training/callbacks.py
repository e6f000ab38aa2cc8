"""What a run reports while it goes on: throughput, padding, waiting for data, a line an epoch."""

import math
import sys
import time
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from asr.training.dataset import Batch


class Throughput(Callback):
    """Logs, for each epoch, audio-seconds per second, padding share and the share of time waiting.

    Only training counts: validation and checkpoints are left out of the time.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._reset()

    def _reset(self) -> None:
        self._samples = self._padded_samples = 0
        self._step_s = self._wait_s = 0.0
        self._mark = time.perf_counter()

    def on_train_start(self, trainer: Any, module: lightning.LightningModule) -> None:
        """Start counting, also in the middle of an epoch."""
        self._reset()

    def on_train_epoch_start(self, trainer: Any, module: lightning.LightningModule) -> None:
        """Start counting."""
        self._reset()

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Batch, batch_idx: int) -> None:
        """The time since the last step's end was spent waiting for this batch."""
        now = time.perf_counter()
        self._wait_s += now - self._mark
        self._mark = now

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count the step; show the mean rate of the epoch so far."""
        now = time.perf_counter()
        self._step_s += now - self._mark
        self._mark = now
        self._samples += int(batch.waveform_lengths.sum())
        self._padded_samples += batch.waveforms.numel()
        rate = self.audio_s_per_s * trainer.world_size  # ranks keep step with each other
        module.log("audio_s/s", rate, prog_bar=True, logger=False)

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """Validation is not waiting."""
        self._mark = time.perf_counter()

    @property
    def audio_s_per_s(self) -> float:
        """Seconds of audio that this process trains on in a second."""
        elapsed_s = self._step_s + self._wait_s
        return self._samples / self.sample_rate / elapsed_s if elapsed_s else 0.0

    def on_train_epoch_end(self, trainer: Any, module: lightning.LightningModule) -> None:
        """Log the epoch's figures."""
        if not self._padded_samples:  # resumed at the very end of an epoch
            return
        elapsed_s = self._step_s + self._wait_s
        padding = 1 - self._samples / self._padded_samples
        rate, wait_share = self.audio_s_per_s, self._wait_s / elapsed_s if elapsed_s else 0.0
        module.log("train/audio_s_per_s", rate, sync_dist=True, reduce_fx="sum")  # of all ranks
        shares = {"train/padding_share": padding, "train/data_wait_share": wait_share}
        module.log_dict(shares, sync_dist=True)


class ValidateLastEpoch(Callback):
    """Validates after the last epoch also where its number is no multiple of the interval.

    And takes a run that was left at the very end of an epoch, by its validation, to the next: Lightning
    makes a step too many there where the interval is now another.
    """

    def __init__(self) -> None:
        self._interval: int | None = None

    def on_train_start(self, trainer: Any, module: lightning.LightningModule) -> None:
        """A run may go on in the middle of the last epoch, whose start is then past."""
        self.on_train_epoch_start(trainer, module)
        epoch = trainer.fit_loop.epoch_loop
        if (
            epoch.restarted_on_last
            and epoch.batch_progress.current.completed >= trainer.num_training_batches
        ):
            self._interval, trainer.check_val_every_n_epoch = trainer.check_val_every_n_epoch, 1

    def on_train_epoch_start(self, trainer: Any, module: lightning.LightningModule) -> None:
        """In the last epoch, validate every epoch."""
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1

    def on_train_epoch_end(self, trainer: Any, module: lightning.LightningModule) -> None:
        """The interval is again what was asked for."""
        if self._interval is not None:
            self._interval, trainer.check_val_every_n_epoch = None, self._interval


class StopWithoutProgress(Callback):
    """Ends training when `patience` validations in a row had neither a new least WER nor CER.

    While a model learns to write its first words WER stays about 100 % and CER falls. Validations with
    a WER of 100 % or more do not count.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best_wer = self.best_cer = math.inf
        self.num_worse = 0

    def state_dict(self) -> dict[str, Any]:
        """What was seen, so that a resumed run goes on counting."""
        return {
            "best_wer": self.best_wer,
            "best_cer": self.best_cer,
            "num_worse": self.num_worse,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what a checkpoint had seen."""
        for name in self.state_dict():
            setattr(self, name, state_dict[name])

    def on_validation_end(self, trainer: Any, module: lightning.LightningModule) -> None:
        """Count; say so where training ends."""
        wer, cer = (float(trainer.callback_metrics[name]) for name in ("val/wer", "val/cer"))
        if wer < self.best_wer or cer < self.best_cer:
            self.num_worse = 0
        elif wer < 1:
            self.num_worse += 1
        self.best_wer, self.best_cer = min(wer, self.best_wer), min(cer, self.best_cer)
        if self.num_worse >= self.patience:
            trainer.should_stop = True
            if trainer.is_global_zero:
                message = (
                    f"neither WER nor CER has fallen for {self.num_worse} validations: training ends "
                    "here (callbacks.patience)"
                )
                print(message, file=sys.stderr, flush=True)


class EpochLine(Callback):
    """Prints one line for each epoch to stderr; it stays when the progress bar has gone.

    The loss is the mean of the epoch's steps on this process, without those that were skipped; of a
    resumed epoch, of the steps since.
    """

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._loss, self._num_losses = 0.0, 0

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Take the step's loss into the epoch's mean."""
        loss = float(trainer.callback_metrics["train/loss"])
        if math.isfinite(loss):
            self._loss += loss
            self._num_losses += 1

    def on_train_epoch_end(self, trainer: Any, module: lightning.LightningModule) -> None:
        """Loss, validation figures where this epoch has them, rate."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        loss = self._loss / self._num_losses if self._num_losses else math.nan
        self._loss, self._num_losses = 0.0, 0
        if not trainer.is_global_zero or "train/loss" not in metrics:
            return  # a run resumed at the very end of an epoch ends it once more, without a step
        parts = [
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}",
            f"step {trainer.global_step}",
            f"loss {loss:.3f}",
            f"blank {100 * metrics['train/blank_share']:.0f} %",
        ]
        if "val/wer" in metrics:
            parts.append(f"last WER {100 * metrics['val/wer']:.2f} %")
            parts.append(f"CER {100 * metrics['val/cer']:.2f} %")
        if metrics.get("train/skipped_steps"):
            parts.append(f"{metrics['train/skipped_steps']:.0f} steps skipped")
        if "train/audio_s_per_s" in metrics:
            parts.append(f"{metrics['train/audio_s_per_s']:.0f} audio s/s")
        parts.append(f"{(time.perf_counter() - self._started) / 60:.1f} min")
        print(" | ".join(parts), file=sys.stderr, flush=True)
