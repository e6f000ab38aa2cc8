"""What a recipe's `augment` sets, and what is done to log-mel spectra before the DCT: vocal tract
length perturbation (Jaitly & Hinton 2013), then SpecAugment (Park et al. 2019, arXiv 1904.08779) with
the adaptive time masks of Park et al. 2020 (arXiv 1912.05533).

Masking cepstra would blur all bins at once; masking mel bins is what the method means. A masked
value becomes the utterance's mean of its bin, which the normalisation turns into about zero.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from asr.errors import UsageError
from asr.features import FeatureConfig
from asr.warp import warp_frequencies
from asr.waveform_augment import GainConfig, Mp3Config, NoiseConfig, ReverbConfig


@dataclass(frozen=True)
class SpecAugmentConfig:
    """Sizes of the masks, and the warp before them.

    Attributes:
        freq_masks: number of frequency masks; 0 switches them off.
        freq_width: a mask covers 0 to freq_width mel bins.
        time_masks: number of time masks; 0 switches them off.
        time_share: a time mask covers 0 to time_share of the utterance's frames (adaptive).
        max_time_share: all time masks of an utterance together cover at most this share of it;
            each is narrowed where time_masks * time_share is more.
        vtlp: each utterance's frequencies are scaled by a factor drawn evenly from 1 - vtlp to
            1 + vtlp, as if its speaker had another vocal tract (Jaitly & Hinton 2013, who take 0.1);
            0 switches it off.
        start_step: training step from which on masks and warps are applied.
    """

    freq_masks: int = 2
    freq_width: int = 8
    time_masks: int = 5
    time_share: float = 0.05
    max_time_share: float = 1.0
    vtlp: float = 0.0
    start_step: int = 0

    def __post_init__(self) -> None:
        if min(self.freq_masks, self.freq_width, self.time_masks, self.start_step) < 0:
            raise UsageError("augment: counts, widths and steps must not be negative")
        if not (0 <= self.time_share <= 1 and 0 <= self.max_time_share <= 1):
            raise UsageError(
                "augment.time_share and augment.max_time_share must lie between 0 and 1"
            )
        if not 0 <= self.vtlp < 0.5:
            raise UsageError(f"augment.vtlp must be in [0, 0.5), not {self.vtlp}")

    @property
    def mask_share(self) -> float:
        """Share of an utterance's frames that one time mask covers at most."""
        return min(self.time_share, self.max_time_share / max(1, self.time_masks))

    @property
    def active(self) -> bool:
        """Whether any mask or warp is ever drawn."""
        return (
            self.vtlp > 0
            or (self.freq_masks > 0 and self.freq_width > 0)
            or (self.time_masks > 0 and self.mask_share > 0)
        )


@dataclass(frozen=True)
class AugmentConfig(SpecAugmentConfig):
    """SpecAugment's masks, and what is done to waveforms before: reverb, noise, gain, mp3.

    Attributes:
        start_epoch: epochs before this one, the first is 0, leave waveforms as they are.
    """

    start_epoch: int = 0
    reverb: ReverbConfig = field(default_factory=ReverbConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    gain: GainConfig = field(default_factory=GainConfig)
    mp3: Mp3Config = field(default_factory=Mp3Config)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start_epoch < 0:
            raise UsageError("augment.start_epoch must not be negative")


@dataclass(frozen=True)
class SpecAugment:
    """Draws new warps and masks for each utterance of each call from torch's random state of the device.

    Attributes:
        features: the front end whose mel bins are warped.
    """

    config: SpecAugmentConfig
    features: FeatureConfig = field(default_factory=FeatureConfig)

    def __call__(self, log_mel: Tensor, feature_lengths: Tensor) -> Tensor:
        """Warp and mask (B, T, n_mels) below feature_lengths (B,); returns a new tensor."""
        if self.config.vtlp:
            drawn = torch.rand(log_mel.shape[0], device=log_mel.device)
            log_mel = warp_frequencies(
                log_mel, 1 + self.config.vtlp * (2 * drawn - 1), self.features
            )
        num_frames, n_mels = log_mel.shape[1:]
        bins = torch.full_like(feature_lengths, n_mels)
        masked = self._masks(
            feature_lengths, (self.config.mask_share * feature_lengths).floor(),
            self.config.time_masks, num_frames,
        )[:, :, None] | self._masks(
            bins, torch.full_like(bins, self.config.freq_width), self.config.freq_masks, n_mels
        )[:, None, :]  # fmt: skip
        return torch.where(masked, _bin_means(log_mel, feature_lengths), log_mel)

    @staticmethod
    def _masks(lengths: Tensor, widths: Tensor, count: int, size: int) -> Tensor:
        """`count` masks of 0 to `widths` (B,) positions below `lengths` (B,) -> (B, size) bool."""
        batch = lengths.shape[0]
        positions = torch.arange(size, device=lengths.device)
        masked = torch.zeros(batch, size, dtype=torch.bool, device=lengths.device)
        for _ in range(count):
            width = (torch.rand(batch, device=lengths.device) * (widths + 1)).floor()
            start = (torch.rand(batch, device=lengths.device) * (lengths - width + 1)).floor()
            masked |= (positions >= start[:, None]) & (positions < (start + width)[:, None])
        return masked


def _bin_means(log_mel: Tensor, feature_lengths: Tensor) -> Tensor:
    """Mean over each utterance's own frames: (B, T, n_mels) -> (B, 1, n_mels)."""
    frames = torch.arange(log_mel.shape[1], device=log_mel.device)
    valid = (frames < feature_lengths[:, None]).unsqueeze(-1)
    total = (log_mel * valid).sum(dim=1, keepdim=True)
    return total / feature_lengths.clamp(min=1)[:, None, None]
