"""What Lightning trains: the loss, the optimizer and validation around a given AcousticModel."""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from asr.augment import SpecAugment, SpecAugmentConfig
from asr.bundle import Bundle
from asr.ctc import blank_share, ctc_losses
from asr.evaluate import score_texts
from asr.features import MelAugmentation
from asr.model import ModelOutput
from asr.scoring import CorpusScore
from asr.segment import MAX_WINDOW_S
from asr.tokenizer import Tokenizer
from asr.training.dataset import Batch, Example
from asr.training.engine_config import OptimizerConfig, SchedulerConfig
from asr.training.objective import LossConfig, Targets, objective
from asr.training.optim import WarmupPlateau, lr_schedule, make_optimizer
from asr.transcribe import Recognizer

_POSITION_KEY = "asr_position"
_EPOCH_BATCHES_KEY = "asr_epoch_batches"
_TOKENS_KEY = "asr_tokens"


@dataclass
class _Validated:
    """What one rank has validated: hypotheses by index, the loss summed over the target tokens."""

    hypotheses: dict[int, str] = field(default_factory=dict)
    loss: float = 0.0
    tokens: int = 0


class AsrLitModule(lightning.LightningModule):
    """Trains a bundle's model with CTC; validates with the Recognizer that users get.

    Args:
        bundle: model, tokenizer and normaliser.
        dev_examples: references of validation, by index.
        loss: what is added to the CTC loss; None: nothing.
        seed: of dropout and masks, which follow from it and a batch's rank, epoch and number.
        trigram: of the training texts' phones, for loss.phone_crf.
    """

    trigram: Tensor | None

    def __init__(
        self,
        bundle: Bundle,
        dev_examples: Sequence[Example],
        augment: SpecAugmentConfig,
        optimizer: OptimizerConfig,
        scheduler: SchedulerConfig,
        loss: LossConfig | None = None,
        seed: int = 0,
        trigram: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.model = bundle.model
        self.bundle = bundle
        self.dev_examples = dev_examples
        self.augment_config = augment
        self.optimizer_config, self.scheduler_config = optimizer, scheduler
        self.loss_config = loss or LossConfig()
        self.taps = self.loss_config.taps(len(self.model.encoder.layers))
        self.seed = seed
        self.register_buffer("trigram", trigram, persistent=False)
        self.dev_score: CorpusScore | None = None
        self._validated = _Validated()
        if self.model.speller is not None:
            self.model.speller.requires_grad_(False)  # it learns from texts (asr.training.speller)

    @property
    def vocabulary(self) -> Tokenizer:
        """Of what is trained."""
        return self.bundle.tokenizer

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed what a batch draws: each rank has its own, and a resumed run what it would have had."""
        words = np.random.SeedSequence(
            (self.seed, self.global_rank, self.current_epoch, batch_idx)
        ).generate_state(1, np.uint64)
        torch.manual_seed(int(words[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The objective in nats per target token."""
        augment = self._augmentation()
        two_views = self._is_consistent() and augment is not None
        output = self.model(
            batch.waveforms, batch.waveform_lengths, augment,
            views=2 if two_views else 1, taps=self.taps, spell=False,
        )  # fmt: skip
        targets = Targets(
            batch.targets, batch.target_lengths, batch.phone_targets, batch.phone_target_lengths
        )
        rivals = self.trigram if self.global_step >= self.augment_config.start_step else None
        found = objective(output, targets, self.loss_config, rivals)
        blanks = blank_share(output.log_probs.detach(), output.output_lengths)
        self.log("train/loss", found.loss, prog_bar=True, batch_size=len(batch.indices))
        self.log("train/blank_share", blanks, batch_size=len(batch.indices))
        for name, part in found.parts().items():
            self.log(f"train/{name}", part, batch_size=len(batch.indices))
        return found.loss

    def _augmentation(self) -> MelAugmentation | None:
        """SpecAugment and VTLP from their first step on; with CR-CTC the masks cover more time."""
        config, loss = self.augment_config, self.loss_config
        if not config.active or self.global_step < config.start_step:
            return None
        if self._is_consistent():
            time_masks = round(config.time_masks * loss.consistency_time_masks)
            config = dataclasses.replace(config, time_masks=time_masks)
        return SpecAugment(config, self.model.front_end.config)

    def _is_consistent(self) -> bool:
        return self.loss_config.is_consistent(self.current_epoch, self.trainer.max_epochs or 0)

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self._validated = _Validated()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """A transcript of each; loss over those that have targets and fit into a window (36 s)."""
        recognizer = Recognizer(self.bundle, device=str(self.device))
        fits = batch.waveform_lengths <= round(MAX_WINDOW_S * recognizer.sample_rate)
        with torch.autocast(self.device.type, enabled=False):
            for row in (~fits).nonzero().flatten().tolist():
                waveform = batch.waveforms[row, : batch.waveform_lengths[row]].cpu().numpy()
                index = int(batch.indices[row])
                self._validated.hypotheses[index] = recognizer.transcribe(waveform).text
            if fits.any():
                self._validate(recognizer, batch if fits.all() else _rows(batch, fits))

    def _validate(self, recognizer: Recognizer, batch: Batch) -> None:
        output = recognizer.forward(batch.waveforms, batch.waveform_lengths)
        transcripts = recognizer.to_transcripts(output, batch.waveform_lengths)
        loss, tokens = self.dev_loss(output, batch)
        self._validated.loss += loss
        self._validated.tokens += tokens
        for index, transcript in zip(batch.indices.tolist(), transcripts, strict=True):
            self._validated.hypotheses[index] = transcript.text

    def dev_loss(self, output: ModelOutput, batch: Batch) -> tuple[float, int]:
        """CTC loss of a batch, summed over the target tokens, and how many these are."""
        losses = ctc_losses(
            output.log_probs, output.output_lengths, batch.targets, batch.target_lengths
        )
        return float(losses[batch.target_lengths > 0].sum()), int(batch.target_lengths.sum())

    def on_validation_epoch_end(self) -> None:
        """Loss, corpus WER and CER over all ranks, the same on each."""
        parts = self._gathered()
        hypotheses = {index: text for part in parts for index, text in part.hypotheses.items()}
        tokens = sum(part.tokens for part in parts)
        examples = {index: self.dev_examples[index] for index in sorted(hypotheses)}
        self.dev_score = score_texts(
            {example.utterance.utterance_id: example.text for example in examples.values()},
            {examples[index].utterance.utterance_id: text for index, text in hypotheses.items()},
            self.bundle.normalizer,
        )
        if tokens:
            self.log("val/loss", sum(part.loss for part in parts) / tokens)
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

    def _gathered(self) -> list["_Validated"]:
        if self.trainer.world_size == 1:
            return [self._validated]
        parts = [_Validated()] * self.trainer.world_size
        torch.distributed.all_gather_object(parts, self._validated)
        return parts

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The optimizer of the recipe with its schedule, stepped after every optimizer step."""
        optimizer = make_optimizer(self, self.optimizer_config)
        total_steps = int(self.trainer.estimated_stepping_batches)
        schedule = lr_schedule(optimizer, total_steps, self.scheduler_config)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the place in the data, and what it is a place in."""
        batches_done = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        checkpoint[_POSITION_KEY] = (self.current_epoch, batches_done)
        checkpoint[_EPOCH_BATCHES_KEY] = int(self.trainer.num_training_batches)
        checkpoint[_TOKENS_KEY] = list(self.vocabulary.tokens)


def _rows(batch: Batch, chosen: Tensor) -> Batch:
    """Some utterances of a batch, `chosen` (B,) bool, without padding that none of them needs."""
    waveforms, lengths, *others = (part[chosen] for part in batch)
    return Batch(waveforms[:, : int(lengths.max())], lengths, *others)


def epoch_batches_of(checkpoint: dict[str, Any]) -> int | None:
    """Batches that each process has in an epoch of the run; None where not written down."""
    return checkpoint.get(_EPOCH_BATCHES_KEY)


def tokens_of(checkpoint: dict[str, Any]) -> tuple[str, ...] | None:
    """The vocabulary; None where not written down."""
    tokens = checkpoint.get(_TOKENS_KEY)
    return None if tokens is None else tuple(tokens)


def position_of(checkpoint: dict[str, Any]) -> tuple[int, int]:
    """(epoch, batches done in it) at which a checkpoint was saved."""
    epoch, batches_done = checkpoint[_POSITION_KEY]
    return epoch, batches_done
