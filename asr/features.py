"""MFCC and log-mel front end: waveforms (B, S) -> features (B, T, F), on the waveforms' device.

Frame t covers samples [t * hop_length, t * hop_length + n_fft): no frame reaches beyond its
utterance, so that features do not depend on the padding of a batch. The window (Hann, win_length)
stands in the middle of the n_fft samples. Filter bank, window and DCT are torchaudio's; librosa
gives the same numbers with the same parameters (``center=False``, ``htk=True``, ``norm=None``).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torchaudio
from torch import Tensor, nn

from asr.errors import UsageError

# log_mel (B, T, n_mels), feature_lengths (B,) -> log_mel of the same shape
MelAugmentation = Callable[[Tensor, Tensor], Tensor]

_LOG_FLOOR = 1e-10
_STD_FLOOR = 1e-5
_CPU_CHUNK = 512  # frames whose spectra stay in a core's cache


@dataclass(frozen=True)
class FeatureConfig:
    """Every parameter of the front end; a bundle stores them.

    Attributes:
        kind: "mfcc" or "logmel".
        floor_db: mel power is raised to this far below the utterance's mean. Codecs and gates leave
            digital silence and empty bands whose logarithms would outweigh all speech; None: never.
        normalize: per utterance and coefficient to mean 0 and variance 1, padding left out.
    """

    kind: str = "mfcc"
    sample_rate: int = 16_000
    n_fft: int = 512
    win_length: int = 400
    hop_length: int = 160
    n_mels: int = 40
    n_mfcc: int = 40
    min_hz: float = 20.0
    max_hz: float = 7600.0
    floor_db: float | None = 50.0
    normalize: bool = True

    def __post_init__(self) -> None:
        if self.kind not in ("mfcc", "logmel"):
            raise UsageError(f"features.kind must be mfcc or logmel, not {self.kind!r}")
        if not 1 <= self.n_mfcc <= self.n_mels:
            raise UsageError(
                f"features.n_mfcc must be 1 to features.n_mels ({self.n_mels}), not {self.n_mfcc}"
            )
        if not 0 < self.hop_length <= self.win_length <= self.n_fft:
            raise UsageError("features need 0 < hop_length <= win_length <= n_fft")
        if self.floor_db is not None and self.floor_db <= 0:
            raise UsageError(f"features.floor_db must be positive or null, not {self.floor_db}")
        if not 0 <= self.min_hz < self.max_hz <= self.sample_rate / 2:
            raise UsageError("features need 0 <= min_hz < max_hz <= sample_rate / 2")

    @property
    def num_features(self) -> int:
        """F, the number of coefficients of a frame."""
        return self.n_mfcc if self.kind == "mfcc" else self.n_mels

    @property
    def frame_shift_s(self) -> float:
        """Seconds from one frame to the next."""
        return self.hop_length / self.sample_rate

    def num_frames(self, num_samples: int) -> int:
        """T = 1 + floor((S - n_fft) / hop_length), 0 for less than n_fft samples.

        >>> FeatureConfig().num_frames(16_000)
        97
        """
        return max(0, 1 + (num_samples - self.n_fft) // self.hop_length)


class Features(NamedTuple):
    """features (B, T, F), zero beyond feature_lengths (B,)."""

    features: Tensor
    feature_lengths: Tensor


class FrontEnd(nn.Module):
    """Waveforms to normalised features; has no trainable parameters."""

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        mel_filters = torchaudio.functional.melscale_fbanks(
            n_freqs=config.n_fft // 2 + 1,
            f_min=config.min_hz,
            f_max=config.max_hz,
            n_mels=config.n_mels,
            sample_rate=config.sample_rate,
        )
        dct = torchaudio.functional.create_dct(config.n_mfcc, config.n_mels, norm="ortho")
        before = (config.n_fft - config.win_length) // 2
        after = config.n_fft - config.win_length - before
        window = nn.functional.pad(torch.hann_window(config.win_length), (before, after))
        self.register_buffer("window", window, persistent=False)
        # A row for the real and one for the imaginary part of each bin: their squares' sum is the power.
        filters = mel_filters.repeat_interleave(2, dim=0)
        self.register_buffer("mel_filters", filters, persistent=False)
        self.register_buffer("dct", dct, persistent=False)
        self.window: Tensor
        self.mel_filters: Tensor
        self.dct: Tensor

    def feature_lengths(self, waveform_lengths: Tensor) -> Tensor:
        """`FeatureConfig.num_frames` for lengths (B,)."""
        shifted = waveform_lengths - self.config.n_fft
        return (1 + shifted.div(self.config.hop_length, rounding_mode="floor")).clamp(min=0)

    def log_mel(self, waveforms: Tensor) -> Tensor:
        """Natural logarithm of the mel power spectrum: (B, S) -> (B, T, n_mels)."""
        missing = self.config.n_fft - waveforms.shape[-1]
        if missing > 0:
            waveforms = nn.functional.pad(waveforms, (0, missing))
        frames = waveforms.unfold(-1, self.config.n_fft, self.config.hop_length)
        batch, num_frames = frames.shape[:2]
        mel = waveforms.new_empty(batch, num_frames, self.config.n_mels)
        for first, last in _chunks(num_frames, batch, waveforms.device.type):
            spectra = torch.fft.rfft(frames[:, first:last] * self.window)
            parts = torch.view_as_real(spectra).flatten(-2)
            mel[:, first:last] = parts.square_() @ self.mel_filters
        return mel.clamp_(min=_LOG_FLOOR).log_()

    def forward(
        self,
        waveforms: Tensor,
        waveform_lengths: Tensor,
        augment: MelAugmentation | None = None,
        views: int = 1,
    ) -> Features:
        """Features of a padded batch.

        Args:
            waveforms: (B, S) float32 in [-1, 1].
            waveform_lengths: (B,) samples.
            augment: applied to the log-mel spectrum, before the DCT.
            views: n: the batch n times, augmented independently; the spectrum is computed once.

        Shape: (B, S) -> (nB, T, F) with T = max(1, num_frames(S)).
        """
        feature_lengths = self.feature_lengths(waveform_lengths)
        with torch.autocast(waveforms.device.type, enabled=False):
            features = self.log_mel(waveforms.float())
            if self.config.floor_db is not None:
                features = _raise_to_floor(features, feature_lengths, self.config.floor_db)
            if views > 1:
                features = features.repeat(views, 1, 1)
                feature_lengths = feature_lengths.repeat(views)
            if augment is not None:
                features = augment(features, feature_lengths)
            if self.config.kind == "mfcc":
                features = features @ self.dct
            valid = valid_frames(feature_lengths, features.shape[1])
            if self.config.normalize:
                features = _normalize(features, valid)
            return Features(features * valid, feature_lengths)


def _chunks(num_frames: int, batch: int, device: str) -> list[tuple[int, int]]:
    """Stretches of frames to transform at once: all of them, or on a CPU what its cache holds.

    5.5 times faster there than torch.stft on the whole batch (scripts/bench/features.py).
    """
    size = max(1, _CPU_CHUNK // batch) if device == "cpu" else num_frames
    return [(first, min(first + size, num_frames)) for first in range(0, num_frames, size)]


def valid_frames(lengths: Tensor, num_frames: int) -> Tensor:
    """1.0 for the frames below each length, 0.0 for padding: (B,) -> (B, num_frames, 1)."""
    frames = torch.arange(num_frames, device=lengths.device)
    return (frames < lengths[:, None]).unsqueeze(-1).float()


def _raise_to_floor(log_mel: Tensor, feature_lengths: Tensor, floor_db: float) -> Tensor:
    """Clamp (B, T, n_mels) from below, for each utterance at its own level."""
    valid = valid_frames(feature_lengths, log_mel.shape[1])
    count = (feature_lengths * log_mel.shape[2]).clamp(min=1)
    mean_power = (log_mel.exp() * valid).sum(dim=(1, 2)) / count
    floor = mean_power.clamp(min=_LOG_FLOOR).log() - floor_db * math.log(10) / 10
    return torch.maximum(log_mel, floor[:, None, None])


def _normalize(features: Tensor, valid: Tensor) -> Tensor:
    count = valid.sum(dim=1, keepdim=True).clamp(min=1)
    mean = (features * valid).sum(dim=1, keepdim=True) / count
    centred = (features - mean) * valid
    std = (centred.square().sum(dim=1, keepdim=True) / count).sqrt()
    return centred / (std + _STD_FLOOR)
