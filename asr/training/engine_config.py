"""How a network is trained, as a recipe says it: optimizer, schedule, trainer, checkpoints."""

import math
from dataclasses import dataclass, field

from asr.encoder import EncoderConfig
from asr.errors import UsageError

_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
_COUNTS = (
    *("max_epochs", "num_nodes", "accumulate_batches", "validate_every_epochs", "log_every_steps"),
    *("threads", "max_skipped_in_a_row"),
)
_AVERAGES = ("none", "best", "last", "ema")


@dataclass
class OptimizerConfig:
    """What makes steps of gradients.

    Attributes:
        kind: "adamw" (Loshchilov & Hutter 2019), or "muon": Muon for the matrices of the LSTMs, AdamW
            for the rest, at one learning rate.
    """

    kind: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-2
    beta1: float = 0.9
    beta2: float = 0.98
    clip_norm: float = 5.0

    def __post_init__(self) -> None:
        if self.kind not in ("adamw", "muon"):
            raise UsageError(f"optimizer.kind must be adamw or muon, not {self.kind!r}")
        numbers = (self.lr, self.weight_decay, self.clip_norm)
        if not (all(map(math.isfinite, numbers)) and self.lr > 0 and min(numbers) >= 0):
            raise UsageError("optimizer needs lr > 0, weight_decay >= 0 and clip_norm >= 0")
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise UsageError("optimizer.beta1 and optimizer.beta2 must be in [0, 1)")


@dataclass
class SchedulerConfig:
    """Linear warm-up to the optimizer's lr, then down.

    Attributes:
        kind: "cosine" to lr * final_share at the last step, or "plateau": lr stays until validation
            WER stops falling.
        final_share: of lr. With plateau, training ends where the next decay would go below it.
        factor: with plateau, what a decay multiplies lr by.
        patience: with plateau, validations without a better WER until a decay. Those in the warm-up
            and those with a WER of 100 % or more do not count.
    """

    kind: str = "cosine"
    warmup_steps: int = 500
    final_share: float = 0.01
    factor: float = 0.5
    patience: int = 2

    def __post_init__(self) -> None:
        if self.kind not in ("cosine", "plateau"):
            raise UsageError(f"scheduler.kind must be cosine or plateau, not {self.kind!r}")
        if not 0 < self.factor < 1 or self.patience < 1:
            raise UsageError("scheduler needs 0 < factor < 1 and patience of at least 1")
        if self.warmup_steps < 0 or not 0 <= self.final_share <= 1:
            raise UsageError("scheduler needs warmup_steps >= 0 and 0 <= final_share <= 1")


@dataclass
class TrainerConfig:
    """What Lightning's Trainer is told.

    Attributes:
        devices: processes of each machine; -1 one for each GPU.
        num_nodes: machines.
        precision: "32-true", "bf16-mixed" (on some CPUs faster too: `asr doctor`), "16-mixed" (GPU).
        accumulate_batches: batches whose gradients are averaged for a step. Each batch counts the
            same, whatever its number of target tokens, as each rank's does under DDP: two batches are
            one of twice the size, weighted so. Batches left over at an epoch's end make a step too.
        validate_every_epochs: epochs between validations; the last epoch is always validated.
        threads: CPU threads; null leaves torch's choice.
        max_skipped_in_a_row: steps in a row without a finite loss and gradient until training ends
            with an explanation. Such steps are skipped, counted and named in skipped.tsv.
    """

    max_epochs: int = 30
    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
    accumulate_batches: int = 1
    validate_every_epochs: int = 1
    log_every_steps: int = 10
    threads: int | None = None
    max_skipped_in_a_row: int = 10

    def __post_init__(self) -> None:
        if self.precision not in _PRECISIONS:
            raise UsageError(
                f"trainer.precision must be one of {', '.join(_PRECISIONS)}, not {self.precision!r}"
            )
        for name in _COUNTS:
            count = getattr(self, name)
            if count is not None and count < 1:
                raise UsageError(f"trainer.{name} must be at least 1, not {count}")


@dataclass
class CallbacksConfig:
    """Checkpoints, averages, hints.

    Attributes:
        keep_best: checkpoints kept, by validation WER; -1 keeps all.
        checkpoint_every_steps: steps between saves of last.ckpt inside an epoch.
        patience: validations in a row without a new least WER or CER until training stops early; null
            never stops. Those with a WER of 100 % or more do not count.
        average: weights that make the bundle where their validation WER is at least as good as the
            best single checkpoint's. "none"; "best" and "last": the mean of average_count
            checkpoints, the best by validation WER or those of the last epochs; "ema": a moving
            average over steps, by which validation and checkpoints then go too.
        average_count: checkpoints in the mean.
        ema_decay: share of the moving average that each step keeps.
        blank_hint_batches: training batches in a row with over 99 % blanks until a hint is given.
    """

    keep_best: int = 1
    checkpoint_every_steps: int = 200
    patience: int | None = None
    average: str = "none"
    average_count: int = 5
    ema_decay: float = 0.999
    blank_hint_batches: int = 1000

    def __post_init__(self) -> None:
        if self.average not in _AVERAGES:
            raise UsageError(
                f"callbacks.average must be one of {', '.join(_AVERAGES)}, not {self.average!r}"
            )
        if min(self.average_count, self.blank_hint_batches, self.checkpoint_every_steps) < 1:
            raise UsageError(
                "callbacks.average_count, blank_hint_batches and checkpoint_every_steps must be at "
                "least 1"
            )
        if self.keep_best == 0 or self.keep_best < -1:
            raise UsageError("callbacks.keep_best must be at least 1, or -1 to keep all")
        if self.patience is not None and self.patience < 1:
            raise UsageError("callbacks.patience must be at least 1, or null never to stop early")
        if not 0 <= self.ema_decay < 1:
            raise UsageError(f"callbacks.ema_decay must be in [0, 1), not {self.ema_decay}")


@dataclass
class SpellerConfig:
    """Training of a speller (`asr.speller`) for the network of init_from, which stays as it is.

    Attributes:
        texts: files with text, also .gz, .xz and .bz2; empty: the run trains a network by speech.
        init_from: a bundle, or "default", with a speller of this size that reads the same phones: it
            begins as that one. None: as that of the run's init_from, if there is one of this size.
        network: its size; a step of its LSTMs reads `subsampling` frames of phones.
        vocab_size: pieces of words that it writes, the blank included, learnt from the texts (needs the
            extra `bpe`); a speller that begins as another keeps that one's.
        passes: how often the training speech is listened to, each time augmented anew, for what the
            network hears of each phone.
        batches: of an epoch, for each process, of data.batch_s each.
        max_words: of a stretch of text; from 2 to so many are drawn.
        single_words: share of the batches of text whose words are drawn one by one instead of in
            stretches, the frequent ones no oftener than those that occur 300 times: rare words, which
            take many readings until they are spelt, come by more often.
        go_on: probability that a phone comes from where the one before it was heard, if it is there.
        spoken: share of batches that are real speech.
    """

    texts: list[str] = field(default_factory=list)
    init_from: str | None = None
    network: EncoderConfig = field(
        default_factory=lambda: EncoderConfig(num_layers=2, dropout=0.05)
    )
    vocab_size: int = 2000
    passes: int = 2
    batches: int = 1000
    max_words: int = 44
    single_words: float = 0.0
    go_on: float = 0.8
    spoken: float = 0.2

    def __post_init__(self) -> None:
        if self.init_from is not None and not self.texts:
            raise UsageError("speller.init_from needs speller.texts: what the speller learns from")
        if min(self.passes, self.batches) < 1 or self.max_words < 2:
            raise UsageError(
                "speller.passes and speller.batches must be at least 1, speller.max_words 2"
            )
        for name in ("single_words", "go_on", "spoken"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"speller.{name} must be in [0, 1], not {getattr(self, name)}")
