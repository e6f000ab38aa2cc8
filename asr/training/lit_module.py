"""What Lightning trains: the loss, the optimizer and validation around a given AcousticModel."""

import sys
from collections.abc import Sequence
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from asr.augment import SpecAugment, SpecAugmentConfig
from asr.bundle import Bundle
from asr.ctc import blank_share, ctc_losses
from asr.features import MelAugmentation
from asr.scoring import CorpusScore, score
from asr.training.dataset import Batch, Example
from asr.training.engine_config import OptimizerConfig, SchedulerConfig
from asr.training.optim import WarmupPlateau, adamw, lr_schedule
from asr.transcribe import Recognizer

_POSITION_KEY = "asr_position"
_RANDOM_KEY = "asr_random_state"
_CUDA_RANDOM_KEY = "asr_cuda_random_state"


class AsrLitModule(lightning.LightningModule):
    """Trains a bundle's model with CTC; validates with the Recognizer that users get.

    Args:
        bundle: model, tokenizer and normaliser.
        dev_examples: references of validation, by index.
    """

    def __init__(
        self,
        bundle: Bundle,
        dev_examples: Sequence[Example],
        augment: SpecAugmentConfig,
        optimizer: OptimizerConfig,
        scheduler: SchedulerConfig,
    ) -> None:
        super().__init__()
        self.model = bundle.model
        self.bundle = bundle
        self.dev_examples = dev_examples
        self.augment_config = augment
        self.optimizer_config, self.scheduler_config = optimizer, scheduler
        self.dev_score: CorpusScore | None = None
        self._hypotheses: dict[int, str] = {}
        self._random_state: Tensor | None = None
        self._cuda_random_state: Tensor | None = None

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """CTC loss in nats per target token."""
        output = self.model(batch.waveforms, batch.waveform_lengths, self._augmentation())
        losses = ctc_losses(
            output.log_probs, output.output_lengths, batch.targets, batch.target_lengths
        )
        loss = losses.sum() / batch.target_lengths.sum()
        blanks = blank_share(output.log_probs.detach(), output.output_lengths)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.indices))
        self.log("train/blank_share", blanks, batch_size=len(batch.indices))
        return loss

    def _augmentation(self) -> MelAugmentation | None:
        config = self.augment_config
        return (
            SpecAugment(config) if config.active and self.global_step >= config.start_step else None
        )

    def on_validation_epoch_start(self) -> None:
        """Forget the hypotheses of the last validation."""
        self._hypotheses = {}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss over the utterances that have targets; a transcript of each."""
        recognizer = Recognizer(self.bundle, device=str(self.device))
        with torch.autocast(self.device.type, enabled=False):
            output = self.model(batch.waveforms, batch.waveform_lengths)
            transcripts = recognizer.to_transcripts(output, batch.waveform_lengths)
        losses = ctc_losses(
            output.log_probs, output.output_lengths, batch.targets, batch.target_lengths
        )
        losses = losses[batch.target_lengths > 0]
        tokens = int(batch.target_lengths.sum())
        if tokens:
            self.log("val/loss", losses.sum() / tokens, batch_size=tokens, sync_dist=True)
        for index, transcript in zip(batch.indices.tolist(), transcripts, strict=True):
            self._hypotheses[index] = transcript.text

    def on_validation_epoch_end(self) -> None:
        """Corpus WER and CER over all ranks."""
        hypotheses = self._gathered_hypotheses()
        examples = {index: self.dev_examples[index] for index in sorted(hypotheses)}
        self.dev_score = score(
            {example.utterance.utterance_id: example.text for example in examples.values()},
            {examples[index].utterance.utterance_id: text for index, text in hypotheses.items()},
        )
        self.log("val/wer", self.dev_score.wer, prog_bar=True, rank_zero_only=False)
        self.log("val/cer", self.dev_score.cer)
        self._decay_on_plateau(self.dev_score.wer)

    def _decay_on_plateau(self, wer: float) -> None:
        """Tell the schedule; training ends where it has come to its least learning rate."""
        schedule = self.lr_schedulers()
        if not isinstance(schedule, WarmupPlateau):
            return
        schedule.observe(wer)
        if schedule.finished:
            if self.trainer.is_global_zero:
                message = "WER no longer falls at the least learning rate: training ends here"
                print(message, file=sys.stderr, flush=True)
            self.trainer.should_stop = True

    def _gathered_hypotheses(self) -> dict[int, str]:
        if self.trainer.world_size == 1:
            return self._hypotheses
        parts: list[dict[int, str]] = [{}] * self.trainer.world_size
        torch.distributed.all_gather_object(parts, self._hypotheses)
        return {index: text for part in parts for index, text in part.items()}

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with the schedule of the recipe, stepped after every optimizer step."""
        optimizer = adamw(self.parameters(), self.optimizer_config)
        total_steps = int(self.trainer.estimated_stepping_batches)
        schedule = lr_schedule(optimizer, total_steps, self.scheduler_config)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the place in the data and the random state."""
        batches_done = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        checkpoint[_POSITION_KEY] = (self.current_epoch, batches_done)
        checkpoint[_RANDOM_KEY] = torch.get_rng_state()
        if self.device.type == "cuda":
            checkpoint[_CUDA_RANDOM_KEY] = torch.cuda.get_rng_state(self.device)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the random state until the first step: building the loaders draws numbers too."""
        self._random_state = checkpoint[_RANDOM_KEY].cpu()
        if _CUDA_RANDOM_KEY in checkpoint:
            self._cuda_random_state = checkpoint[_CUDA_RANDOM_KEY].cpu()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Take up the random state of the checkpoint, once."""
        if self._random_state is not None:
            torch.set_rng_state(self._random_state)
            self._random_state = None
        if self._cuda_random_state is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(self._cuda_random_state, self.device)
            self._cuda_random_state = None


def position_of(checkpoint: dict[str, Any]) -> tuple[int, int]:
    """(epoch, batches done in it) at which a checkpoint was saved."""
    epoch, batches_done = checkpoint[_POSITION_KEY]
    return epoch, batches_done
