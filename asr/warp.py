"""Spectra as vocal tracts of other lengths would give them: one drawn for each utterance while training
(`asr.augment`), several at once for decoding, whose answers are averaged.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from asr.errors import UsageError
from asr.features import FeatureConfig

_WARPED_SHARE = 0.6  # of max_hz that a warp scales evenly; Jaitly & Hinton: 4800 of 8000 Hz
_WIDEST = 0.1  # of the views: what the recipes draw in training (augment.vtlp)


def check_views(views: int) -> None:
    """UsageError where so many views cannot be heard."""
    if views < 1:
        raise UsageError(f"views must be at least 1, not {views}")


@dataclass(frozen=True)
class FrequencyViews:
    """Views of each utterance of a batch, for the network to hear all of them.

    Attributes:
        count: their factors (`warp_frequencies`) lie evenly between 0.9 and 1.1; of one it is 1.
        features: the front end whose mel bins are warped.
    """

    count: int
    features: FeatureConfig

    def __call__(self, log_mel: Tensor, feature_lengths: Tensor) -> Tensor:
        """Warp (count * B, T, n_mels): all utterances by the first factor, then all by the next."""
        if self.count == 1:
            return log_mel
        factors = torch.linspace(1 - _WIDEST, 1 + _WIDEST, self.count, device=log_mel.device)
        each = factors.repeat_interleave(len(log_mel) // self.count)
        return warp_frequencies(log_mel, each, self.features)


def warp_frequencies(log_mel: Tensor, factors: Tensor, features: FeatureConfig) -> Tensor:
    """The spectrum as a vocal tract of another length would give it (Jaitly & Hinton 2013, section 3).

    What was at frequency f comes to factor * f; above 0.6 max_hz a straight line brings the rest to
    max_hz. Values between two mel bins are interpolated.

    Args:
        log_mel: (B, T, n_mels).
        factors: (B,), each between 0.5 and 1.5.

    Shape: (B, T, n_mels), (B,) -> (B, T, n_mels).
    """
    low, high = (_mel(torch.tensor(hz)) for hz in (features.min_hz, features.max_hz))
    step = (high - low) / (features.n_mels + 1)
    bins = torch.arange(features.n_mels, device=log_mel.device)
    targets_hz = 700 * (10 ** ((low + step * (bins + 1)) / 2595) - 1)
    factors = factors[:, None]
    knee_hz = _WARPED_SHARE * features.max_hz * factors.clamp(max=1.0)  # where the line begins
    slope = (features.max_hz - knee_hz) / (features.max_hz - knee_hz / factors)
    sources_hz = torch.where(
        targets_hz <= knee_hz,
        targets_hz / factors,
        features.max_hz - (features.max_hz - targets_hz) / slope,
    )
    positions = ((_mel(sources_hz) - low) / step - 1).clamp(0, features.n_mels - 1)
    weights = (1 - (positions[:, None, :] - bins[:, None]).abs()).clamp(min=0)
    return log_mel @ weights  # (B, T, source) @ (B, source, target)


def _mel(hz: Tensor) -> Tensor:
    """HTK's mel scale, which the filter bank has."""
    return 2595 * torch.log10(1 + hz / 700)
