"""Manifests -> examples -> loaders."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from asr.augment import AugmentConfig
from asr.clips import load_clips
from asr.ctc import min_frames
from asr.errors import AsrError, UsageError
from asr.manifest import Utterance, read_manifest
from asr.model import ModelConfig
from asr.mp3 import bit_rates
from asr.pronunciation import Lexicon
from asr.text import get_normalizer
from asr.tokenizer import Tokenizer, TokenizerConfig, tokenizer_from_texts
from asr.training.config import DataConfig
from asr.training.dataset import BatchLoader, Example, SpeechDataset, batch_loader
from asr.training.phone_crf import phone_trigram
from asr.training.sampler import BucketSampler
from asr.training.waveforms import (
    CachedWaveforms,
    DecodedWaveforms,
    WaveformSource,
    check_files,
)
from asr.utterances import measured
from asr.waveform_augment import (
    Effect,
    Gain,
    Mp3,
    Mp3Config,
    Noise,
    Reverb,
    SpeedPerturbation,
    WaveformAugmentation,
)

_MAX_NAMES_SHOWN = 5


@dataclass(frozen=True)
class LeftOut:
    """Utterances that a reason kept out of training; each is named in the run's left_out.txt."""

    reason: str
    utterance_ids: tuple[str, ...]

    def __str__(self) -> str:
        names = ", ".join(self.utterance_ids[:_MAX_NAMES_SHOWN])
        more = len(self.utterance_ids) - _MAX_NAMES_SHOWN
        return f"{len(self.utterance_ids)} left out, {self.reason}: {names}" + (
            f" and {more} more" if more > 0 else ""
        )


@dataclass(frozen=True)
class Manifests:
    """Paths of the manifests of each split."""

    train: tuple[Path, ...]
    dev: tuple[Path, ...]


class SpeechDataModule(lightning.LightningDataModule):
    """Training and development examples; the tokenizer is made from the training texts.

    Args:
        manifests: what to train and validate on.
        config: the recipe's `data`.
        model_config: of the model to be trained, for feasibility; its vocabulary is not used.
        seed: of the batch order and of what augmentation draws.
        tokenizer: None makes one from the training texts.
        tokenizer_config: which kind to make; None: characters.
        augment: the recipe's `augment`; its noise and impulse responses are read here.
        lexicon: phones of the training texts; None: training has none.

    Attributes:
        left_out: what is not trained on, and why.
        notes: what else a person should know about the data.
    """

    def __init__(
        self,
        manifests: Manifests,
        config: DataConfig,
        model_config: ModelConfig,
        seed: int,
        tokenizer: Tokenizer | None = None,
        tokenizer_config: TokenizerConfig | None = None,
        augment: AugmentConfig | None = None,
        lexicon: Lexicon | None = None,
    ) -> None:
        super().__init__()
        self.config, self.seed = config, seed
        self.notes: list[str] = []
        self._model_config = model_config
        self._lexicon = lexicon
        self._normalize = get_normalizer(config.normalizer)
        if config.unknown_characters not in ("skip", "error"):
            raise UsageError("data.unknown_characters must be skip or error")
        if not config.speeds or not all(0.5 <= speed <= 2 for speed in config.speeds):
            raise UsageError("data.speeds must be factors between 0.5 and 2; [1.0] is none")
        if config.num_workers < 0:
            raise UsageError(f"data.num_workers must not be negative, not {config.num_workers}")
        train = _read_all(manifests.train)
        dev = _read_all(manifests.dev)
        self.tokenizer = tokenizer or tokenizer_from_texts(
            (self._normalize(utterance.text) for utterance in train),
            tokenizer_config or TokenizerConfig(),
        )
        self.left_out: list[LeftOut] = []
        self.train_examples = self._train_examples(train)
        self._note_lacking_words()
        self.dev_examples = self._dev_examples(dev)
        self.train_sampler()  # impossible limits fail here, before a run begins
        self._dev_sampler()
        self._augmentation = self._waveform_augmentation(augment or AugmentConfig())
        self._resume_at = (0, 0)
        self._resumed_epoch_batches: int | None = None
        self._train_waveforms: WaveformSource | None = None
        self._dev_waveforms: WaveformSource | None = None

    @property
    def train_hours(self) -> float:
        """Hours of speech that training sees in an epoch."""
        return sum(example.utterance.duration_s for example in self.train_examples) / 3600

    def phone_trigram(self) -> Tensor:
        """Of the training texts' phones, (V, V, V); only with a lexicon."""
        assert self._lexicon is not None
        phone_ids = (example.phone_ids for example in self.train_examples)
        return phone_trigram(phone_ids, len(self._lexicon.phones))

    def resume_at(self, epoch: int, batches_done: int, epoch_batches: int | None = None) -> None:
        """Start the first epoch in the middle: an earlier run has seen `batches_done` batches.

        Args:
            epoch_batches: that the earlier run had in an epoch; where this run has another number, a
                person is told.
        """
        self._resume_at = (epoch, batches_done)
        self._resumed_epoch_batches = epoch_batches

    def prepare_data(self) -> None:
        """Make the waveform caches, in one process of each machine."""
        self.setup("fit")

    def setup(self, stage: str) -> None:
        """Open the waveform caches; make those that are missing."""
        self._train_waveforms = self._waveforms(self.train_examples)
        self._dev_waveforms = self._waveforms(self.dev_examples)

    def train_dataloader(self) -> BatchLoader:
        """Shuffled batches of at most data.batch_s seconds."""
        sampler = self.train_sampler()
        sampler.resume_at(*self._resume_at)
        self._say_if_other_batches(len(sampler))
        return self._speech_loader(sampler)

    def _speech_loader(self, sampler: BucketSampler) -> BatchLoader:
        """The training speech, augmented."""
        assert self._train_waveforms is not None
        dataset = SpeechDataset(
            self.train_examples, self._train_waveforms, self._speed(), self._augmentation
        )
        return batch_loader(dataset, sampler, self.config.num_workers, self.seed)

    def _say_if_other_batches(self, epoch_batches: int) -> None:
        before, rank = self._resumed_epoch_batches, self._rank_of_world()[0]
        if before not in (None, epoch_batches) and rank == 0:
            message = (
                f"the run was left with {before} batches an epoch and goes on with {epoch_batches}: "
                f"epoch {self._resume_at[0] + 1} repeats or misses utterances, and the learning rate "
                "follows the new number of steps"
            )
            print(message, file=sys.stderr, flush=True)

    def train_sampler(self) -> BucketSampler:
        """The batches of this rank."""
        rank, world_size = self._rank_of_world()
        return BucketSampler(
            _durations_s(self.train_examples), self.config.batch_s, self.seed, rank, world_size,
            self._speed(),
        )  # fmt: skip

    def val_dataloader(self) -> BatchLoader:
        """This rank's share of the development set, sorted by length."""
        assert self._dev_waveforms is not None
        dataset = SpeechDataset(self.dev_examples, self._dev_waveforms)
        return batch_loader(dataset, self._dev_sampler(), self.config.num_workers, self.seed)

    def _dev_sampler(self) -> BucketSampler:
        """As many batches on each rank, since they run in step; each utterance on one rank.

        Where they cannot be shared out (fewer utterances than ranks, or batches of one) every rank
        takes all: hypotheses are joined by utterance.
        """
        rank, world_size = self._rank_of_world()
        durations_s, batch_s = _durations_s(self.dev_examples), self.config.eval_batch_s
        whole = BucketSampler(durations_s, batch_s, None, limit_key="data.eval_batch_s")
        try:
            return BucketSampler(
                durations_s, batch_s, None, rank, world_size, limit_key="data.eval_batch_s"
            )
        except UsageError:
            return whole

    def _rank_of_world(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _speed(self) -> SpeedPerturbation | None:
        factors = self.config.speeds
        if set(factors) == {1.0}:
            return None
        return SpeedPerturbation(factors, self.seed)

    def _waveform_augmentation(self, config: AugmentConfig) -> WaveformAugmentation | None:
        """What a recipe switches on, in the order of nature: room, noise, recording, coding."""
        reverb, noise, gain = config.reverb, config.noise, config.gain
        effects: list[Effect] = []
        if reverb.probability:
            responses = self._clips("augment.reverb.folder", reverb.folder, channel=0)
            effects.append(Reverb(reverb.probability, responses))
        if noise.probability:
            clips = self._clips("augment.noise.folder", noise.folder)
            effects.append(Noise(noise.probability, clips, noise.min_snr_db, noise.max_snr_db))
        if gain.probability:
            effects.append(Gain(gain.probability, gain.min_db, gain.max_db))
        if config.mp3.probability:
            effects.append(self._mp3(config.mp3))
        if not effects:
            return None
        return WaveformAugmentation(tuple(effects), self.seed, config.start_epoch)

    def _mp3(self, config: Mp3Config) -> Mp3:
        sample_rate = self._model_config.features.sample_rate
        there_are = bit_rates(sample_rate)
        rates = [rate for rate in there_are if config.min_kbit_s <= rate <= config.max_kbit_s]
        if not rates:
            raise UsageError(
                f"augment.mp3: none of MP3's bit rates at {sample_rate} Hz, {there_are} kbit/s, lies "
                f"between {config.min_kbit_s:g} and {config.max_kbit_s:g}"
            )
        return Mp3(config.probability, sample_rate, rates)

    def _clips(
        self, key: str, folder: str | None, channel: int | None = None
    ) -> tuple[NDArray[np.float32], ...]:
        assert folder is not None  # the configuration's check
        clips = load_clips(key, folder, self._model_config.features.sample_rate, channel)
        total = len(clips.left_out) + len(clips.waveforms)
        for lines, what in ((clips.left_out, "left out"), (clips.notes, "used, but odd")):
            if lines:
                shown = "\n  ".join(lines[:_MAX_NAMES_SHOWN])
                self.notes.append(
                    f"{key}: {len(lines)} of {total} files are {what}, such as\n  {shown}"
                )
        return clips.waveforms

    def _waveforms(self, examples: Sequence[Example]) -> WaveformSource:
        sample_rate = self._model_config.features.sample_rate
        utterances = [example.utterance for example in examples]
        check_files(utterances)
        if self.config.cache_dir is None:
            return DecodedWaveforms(sample_rate)
        return CachedWaveforms(utterances, sample_rate, Path(self.config.cache_dir))

    def _train_examples(self, utterances: Sequence[Utterance]) -> list[Example]:
        """Trainable examples; the others are recorded in `left_out`."""
        reasons: dict[str, list[str]] = {}
        examples = []
        for utterance in utterances:
            text = self._normalize(utterance.text)
            reason = self._reason_to_leave_out(utterance, text)
            if reason:
                reasons.setdefault(reason, []).append(utterance.utterance_id)
            else:
                phone_ids = self._lexicon.encode(text) if self._lexicon else ()
                token_ids = tuple(self.tokenizer.encode(text))
                examples.append(Example(utterance, text, token_ids, tuple(phone_ids)))
        self.left_out = [LeftOut(reason, tuple(names)) for reason, names in reasons.items()]
        if not examples:
            shown = "; ".join(map(str, self.left_out))
            raise AsrError(f"no utterance of the training set can be trained on: {shown}")
        return examples

    def _note_lacking_words(self) -> None:
        if self._lexicon is None:
            return
        without = [example.text for example in self.train_examples if not example.phone_ids]
        lacking = self._lexicon.lacking(without)
        if len(without) == len(self.train_examples):
            raise AsrError(
                "loss.lexicon has a pronunciation for every word of no training text; it lacks "
                f"{', '.join(map(repr, lacking[:_MAX_NAMES_SHOWN]))}, ...; `asr lexicon` writes one for "
                "English, loss.lexicon=FILE takes any"
            )
        if lacking:
            shown = ", ".join(map(repr, lacking[:_MAX_NAMES_SHOWN]))
            self.notes.append(
                f"loss.lexicon lacks {len(lacking)} words, such as {shown}: {len(without)} utterances "
                "are trained on without phones"
            )

    def _reason_to_leave_out(self, utterance: Utterance, text: str) -> str | None:
        if not text:
            return "no text after normalisation"
        if not utterance.duration_s:
            return "no duration in the manifest, and the audio cannot be read"
        if utterance.duration_s > self.config.max_utterance_s:
            return f"longer than data.max_utterance_s = {self.config.max_utterance_s:g} s"
        if self.tokenizer.unknown_characters([text]):
            return "characters outside the vocabulary"
        sample_rate = self._model_config.features.sample_rate
        shortest_s = utterance.duration_s / max(self.config.speeds)
        frames = self._model_config.num_output_frames(round(shortest_s * sample_rate))
        if frames < min_frames(self.tokenizer.encode(text)):
            return "infeasible for CTC: the text has more tokens than the audio has encoder frames"
        return None

    def _dev_examples(self, utterances: Sequence[Utterance]) -> list[Example]:
        """Every utterance is decoded and scored; one with unknown characters has no loss."""
        examples = []
        unknown = self.tokenizer.unknown_characters(
            self._normalize(utterance.text) for utterance in utterances
        )
        if unknown:
            shown = ", ".join(f"{char!r} {count}x" for char, count in unknown.most_common())
            message = f"development texts have characters that training lacks: {shown}"
            if self.config.unknown_characters == "error":
                raise AsrError(f"{message}; see data.unknown_characters")
            self.notes.append(f"{message}; those utterances count for WER, not for the loss")
        for utterance in utterances:
            text = self._normalize(utterance.text)
            known = not self.tokenizer.unknown_characters([text])
            token_ids = tuple(self.tokenizer.encode(text)) if known else ()
            examples.append(Example(utterance, text, token_ids))
        if examples and not any(example.text for example in examples):
            raise AsrError(
                f"no development text has a word that the normaliser {self.config.normalizer} keeps: "
                "there is no error rate to choose a checkpoint by"
            )
        return examples


def _durations_s(examples: Sequence[Example]) -> list[float]:
    return [example.utterance.duration_s for example in examples]


def _read_all(manifests: Sequence[Path]) -> list[Utterance]:
    utterances: dict[str, Utterance] = {}
    for path in manifests:
        for utterance in read_manifest(path):
            if utterance.utterance_id in utterances:
                raise AsrError(
                    f"{path}: utterance_id {utterance.utterance_id!r} is in two manifests"
                )
            utterances[utterance.utterance_id] = measured(utterance)
    return list(utterances.values())
