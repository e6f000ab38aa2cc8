"""What a recipe's `augment` sets, and SpecAugment of log-mel spectra (Park et al. 2019, arXiv
1904.08779) before the DCT, with the adaptive time masks of Park et al. 2020 (arXiv 1912.05533).

Masking cepstra would blur all bins at once; masking mel bins is what the method means. A masked
value becomes the utterance's mean of its bin, which the normalisation turns into about zero.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from asr.errors import UsageError
from asr.waveform_augment import GainConfig, NoiseConfig, ReverbConfig


@dataclass(frozen=True)
class SpecAugmentConfig:
    """Sizes of the masks.

    Attributes:
        freq_masks: number of frequency masks; 0 switches them off.
        freq_width: a mask covers 0 to freq_width mel bins.
        time_masks: number of time masks; 0 switches them off.
        time_share: a time mask covers 0 to time_share of the utterance's frames (adaptive).
        max_time_share: all time masks of an utterance together cover at most this share of it;
            each is narrowed where time_masks * time_share is more.
        start_step: training step from which on masks are applied.
    """

    freq_masks: int = 2
    freq_width: int = 8
    time_masks: int = 5
    time_share: float = 0.05
    max_time_share: float = 1.0
    start_step: int = 0

    def __post_init__(self) -> None:
        if min(self.freq_masks, self.freq_width, self.time_masks, self.start_step) < 0:
            raise UsageError("augment: counts, widths and steps must not be negative")
        if not (0 <= self.time_share <= 1 and 0 <= self.max_time_share <= 1):
            raise UsageError(
                "augment.time_share and augment.max_time_share must lie between 0 and 1"
            )

    @property
    def mask_share(self) -> float:
        """Share of an utterance's frames that one time mask covers at most."""
        return min(self.time_share, self.max_time_share / max(1, self.time_masks))

    @property
    def active(self) -> bool:
        """Whether any mask is ever drawn."""
        return (self.freq_masks > 0 and self.freq_width > 0) or (
            self.time_masks > 0 and self.mask_share > 0
        )


@dataclass(frozen=True)
class AugmentConfig(SpecAugmentConfig):
    """SpecAugment's masks, and what is done to waveforms before: reverb, then noise, then gain.

    Attributes:
        start_epoch: epochs before this one, the first is 0, leave waveforms as they are.
    """

    start_epoch: int = 0
    reverb: ReverbConfig = field(default_factory=ReverbConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    gain: GainConfig = field(default_factory=GainConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start_epoch < 0:
            raise UsageError("augment.start_epoch must not be negative")


@dataclass(frozen=True)
class SpecAugment:
    """Draws new masks for each utterance of each call from torch's random state of the device."""

    config: SpecAugmentConfig

    def __call__(self, log_mel: Tensor, feature_lengths: Tensor) -> Tensor:
        """Mask (B, T, n_mels) below feature_lengths (B,); returns a new tensor."""
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
