"""Augmentation of waveforms: speed (Ko et al. 2015), reverberation and noise (Ko et al. 2017), gain,
MP3 coding.

What happens to an example follows from seed, epoch and index alone: the same on resume, with any
number of workers, in any batch. Nothing is clipped: the samples are float32 and may leave [-1, 1].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import ClassVar, Protocol

import numpy as np
import scipy.signal
import torch
import torchaudio
from numpy.typing import NDArray

from asr.audio import Waveform
from asr.errors import UsageError
from asr.mp3 import through_mp3

_QUIET = (
    1e-4  # a stretch of a clip with this share of its mean power (-40 dB) holds none of its sound
)


@dataclass(frozen=True)
class NoiseConfig:
    """Noise added at a signal-to-noise ratio drawn for each utterance.

    Attributes:
        probability: share of the utterances of an epoch that get it; 0 switches it off.
        folder: of clips, searched recursively; 230 MB of memory an hour of them at 16 kHz.
        min_snr_db, max_snr_db: the ratio of the powers is drawn evenly between these.
    """

    probability: float = 0.0
    folder: str | None = None
    min_snr_db: float = 0.0
    max_snr_db: float = 20.0

    def __post_init__(self) -> None:
        _check("noise", self.probability, self.min_snr_db, self.max_snr_db, "snr_db")
        _check_folder("noise", self.probability, self.folder)


@dataclass(frozen=True)
class ReverbConfig:
    """Reverberation by measured or simulated impulse responses of rooms.

    Attributes:
        probability: share of the utterances of an epoch that get it; 0 switches it off.
        folder: of impulse responses, searched recursively; of several channels the first is taken.
    """

    probability: float = 0.0
    folder: str | None = None

    def __post_init__(self) -> None:
        _check("reverb", self.probability)
        _check_folder("reverb", self.probability, self.folder)


@dataclass(frozen=True)
class GainConfig:
    """Loudness. With features.normalize, which is the default, the model cannot hear it.

    Attributes:
        probability: share of the utterances of an epoch that get it; 0 switches it off.
        min_db, max_db: the gain is drawn evenly between these.
    """

    probability: float = 0.0
    min_db: float = -12.0
    max_db: float = 6.0

    def __post_init__(self) -> None:
        _check("gain", self.probability, self.min_db, self.max_db, "db")


@dataclass(frozen=True)
class Mp3Config:
    """Coding as MP3 of a constant bit rate, by LAME; about 145 seconds of speech a second of one core.

    Attributes:
        probability: share of the utterances of an epoch that get it; 0 switches it off.
        min_kbit_s, max_kbit_s: the bit rate is one of MP3's between these, each equally often.
    """

    probability: float = 0.0
    min_kbit_s: float = 16.0
    max_kbit_s: float = 64.0

    def __post_init__(self) -> None:
        _check("mp3", self.probability, self.min_kbit_s, self.max_kbit_s, "kbit_s")


def _check(group: str, probability: float, low: float = 0, high: float = 0, unit: str = "") -> None:
    if not 0 <= probability <= 1:
        raise UsageError(f"augment.{group}.probability must lie between 0 and 1, not {probability}")
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise UsageError(
            f"augment.{group} needs min_{unit} <= max_{unit}, both finite, not {low} and {high}"
        )


def _check_folder(group: str, probability: float, folder: str | None) -> None:
    if probability and not folder:
        raise UsageError(
            f"augment.{group}.probability is {probability}, but augment.{group}.folder names no folder"
        )


@dataclass(frozen=True)
class SpeedPerturbation:
    """Plays each utterance faster or slower, tempo and pitch together.

    Who makes batches can know the factors beforehand.
    """

    factors: Sequence[float]
    seed: int

    def drawn(self, epoch: int, count: int) -> NDArray[np.float64]:
        """The factors of examples 0 to count - 1 in an epoch."""
        random = np.random.default_rng((self.seed, epoch, 1))  # not the sampler's
        return random.choice(np.asarray(self.factors, dtype=np.float64), size=count)

    def __call__(self, waveform: Waveform, factor: float) -> Waveform:
        """Shape: (S,) -> (ceil(S / factor),)."""
        if factor == 1.0:
            return waveform
        changed = _speed(factor)(torch.from_numpy(np.array(waveform)))
        samples: Waveform = changed.numpy()
        return samples


@cache
def _speed(factor: float) -> torchaudio.transforms.Resample:
    """By a ratio of small numbers: the filter has as many taps for each as they are large."""
    ratio = Fraction(factor).limit_denominator(1_000)
    return torchaudio.transforms.Resample(ratio.numerator, ratio.denominator)


class Effect(Protocol):
    """Changes a waveform (S,), not its length; draws what it needs from `random`.

    Each has a stream of random numbers of its own, so that switching one on leaves the others as
    they were. Streams are not 0, which is what numpy pads a short seed with.
    """

    stream: ClassVar[int]

    @property
    def probability(self) -> float:
        """Share of the utterances that get it."""
        ...

    def __call__(self, waveform: Waveform, random: np.random.Generator) -> Waveform:
        """Shape: (S,) -> (S,)."""
        ...


@dataclass(frozen=True)
class Reverb:
    """Moves an utterance into one of some rooms, each equally often."""

    probability: float
    responses: Sequence[Waveform]
    stream: ClassVar[int] = 2

    def __call__(self, waveform: Waveform, random: np.random.Generator) -> Waveform:
        """Shape: (S,) -> (S,)."""
        return reverberate(waveform, self.responses[int(random.integers(len(self.responses)))])


@dataclass(frozen=True)
class Noise:
    """Adds a stretch of one of some clips, each equally often."""

    probability: float
    clips: Sequence[Waveform]
    min_snr_db: float
    max_snr_db: float
    stream: ClassVar[int] = 3

    def __call__(self, waveform: Waveform, random: np.random.Generator) -> Waveform:
        """Shape: (S,) -> (S,)."""
        clip = self.clips[int(random.integers(len(self.clips)))]
        snr_db = random.uniform(self.min_snr_db, self.max_snr_db)
        return mix(waveform, cut_or_repeat(clip, len(waveform), random), snr_db)


@dataclass(frozen=True)
class Gain:
    """Makes an utterance louder or softer."""

    probability: float
    min_db: float
    max_db: float
    stream: ClassVar[int] = 4

    def __call__(self, waveform: Waveform, random: np.random.Generator) -> Waveform:
        """Shape: (S,) -> (S,)."""
        return waveform * np.float32(10 ** (random.uniform(self.min_db, self.max_db) / 20))


@dataclass(frozen=True)
class Mp3:
    """Codes an utterance as MP3 at one of some bit rates, each equally often, and decodes it."""

    probability: float
    sample_rate: int
    kbit_s: Sequence[int]
    stream: ClassVar[int] = 5

    def __call__(self, waveform: Waveform, random: np.random.Generator) -> Waveform:
        """Shape: (S,) -> (S,)."""
        kbit_s = self.kbit_s[int(random.integers(len(self.kbit_s)))]
        return through_mp3(waveform, self.sample_rate, kbit_s)


@dataclass(frozen=True)
class WaveformAugmentation:
    """Applies `effects` in their order, each to its share of the examples.

    Attributes:
        start_epoch: epochs before this one, counted from 0, are left as they are.
    """

    effects: tuple[Effect, ...]
    seed: int
    start_epoch: int = 0

    def __call__(self, waveform: Waveform, epoch: int, index: int) -> Waveform:
        """Shape: (S,) -> (S,); the waveform given is never written to."""
        if epoch < self.start_epoch:
            return waveform
        for effect in self.effects:
            random = np.random.default_rng((self.seed, epoch, index, effect.stream))
            if random.random() < effect.probability:
                waveform = effect(waveform, random)
        return waveform


def mix(waveform: Waveform, noise: Waveform, snr_db: float) -> Waveform:
    """`waveform` with `noise` below it by `snr_db`, the ratio of their mean powers in dB.

    Silence has no such ratio: where either is silent, the waveform comes back as it was.

    Shape: (S,), (S,) -> (S,).
    """
    speech_power, noise_power = _power(waveform), _power(noise)
    if not speech_power or not noise_power:
        return waveform
    scale = math.sqrt(speech_power / noise_power) * 10 ** (-snr_db / 20)
    return waveform + np.float32(scale) * noise


def cut_or_repeat(clip: Waveform, num_samples: int, random: np.random.Generator) -> Waveform:
    """A stretch of a clip from a random start, not in one of its silences; a shorter clip goes round.

    Shape: (N,) -> (num_samples,).
    """
    if len(clip) < num_samples:
        return np.resize(np.roll(clip, -random.integers(len(clip))), num_samples)
    last_start = len(clip) - num_samples
    start = int(random.integers(last_start + 1))
    if _power(clip[start : start + num_samples]) < _QUIET * _power(clip):
        start = min(max(0, int(np.abs(clip).argmax()) - num_samples // 2), last_start)
    return clip[start : start + num_samples]


def reverberate(waveform: Waveform, response: Waveform) -> Waveform:
    """The waveform in a room: convolved, aligned to the direct path (the largest sample of the
    impulse response) so that no word moves, with the energy that it had.

    Shape: (S,), (R,) -> (S,).
    """
    direct = int(np.abs(response).argmax())
    whole: Waveform = scipy.signal.oaconvolve(waveform, response)
    wet = whole[direct : direct + len(waveform)]
    wet_power = _power(wet)
    scale = math.sqrt(_power(waveform) / wet_power) if wet_power else 1.0
    return (wet * scale).astype(np.float32)


def _power(waveform: NDArray[np.floating]) -> float:
    """Mean square; 0 for nothing."""
    return float(np.mean(np.square(waveform, dtype=np.float64))) if len(waveform) else 0.0
