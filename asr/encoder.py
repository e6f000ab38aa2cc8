"""Convolutional subsampling and a stack of bidirectional LSTM layers (`asr.bilstm`)."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from asr.bilstm import BiLSTM, reversal_index
from asr.errors import UsageError

# subsampling factor -> strides of the two convolutions
_STRIDES = {1: (1, 1), 2: (1, 2), 3: (1, 3), 4: (2, 2)}
_KERNEL_SIZE = 5
_IMAGE_KERNELS = ((3, 3), (5, 3), (3, 3), (3, 3))  # frames, bands
_BAND_STRIDES = (2, 1, 2, 1)  # of the same convolutions
CONV_KINDS = ("conv1d", "conv2d")


@dataclass(frozen=True)
class EncoderConfig:
    """Size of the encoder.

    Attributes:
        subsampling: input frames per encoder frame: 1, 2, 3 or 4.
        conv_kind: "conv1d": two convolutions over time, which see all features of a frame at once; or
            "conv2d": four over time and frequency, for spectra (features.kind=logmel).
        conv_channels: channels after the first convolution; 32 are plenty for conv2d.
        hidden_size: LSTM cells per direction.
        num_layers: bidirectional layers.
        dropout: after the convolutions and in front of every residual addition; one mask for all
            frames of an utterance (Gal & Ghahramani 2016, arXiv 1512.05287).
        recurrent_dropout: share of the recurrent weights dropped while training; one mask for all
            frames and all utterances of a batch (DropConnect, Merity et al. 2017).
        projection_size: D, to which a linear layer after each bidirectional LSTM brings its 2H
            outputs; None: there is none, and D = 2H.
    """

    subsampling: int = 3
    conv_channels: int = 128
    hidden_size: int = 256
    num_layers: int = 3
    dropout: float = 0.2
    recurrent_dropout: float = 0.0
    projection_size: int | None = None
    conv_kind: str = "conv1d"

    def __post_init__(self) -> None:
        if self.conv_kind not in CONV_KINDS:
            raise UsageError(
                f"encoder.conv_kind must be {' or '.join(CONV_KINDS)}, not {self.conv_kind!r}"
            )
        if self.subsampling not in _STRIDES:
            raise UsageError(
                f"encoder.subsampling must be one of {sorted(_STRIDES)}, not {self.subsampling}"
            )
        if min(self.conv_channels, self.hidden_size, self.num_layers) < 1:
            raise UsageError("encoder sizes must be at least 1")
        if self.projection_size is not None and self.projection_size < 1:
            raise UsageError(
                f"encoder.projection_size must be at least 1 or null, not {self.projection_size}"
            )
        for name in ("dropout", "recurrent_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"encoder.{name} must be in [0, 1), not {getattr(self, name)}")

    @property
    def output_size(self) -> int:
        """D: the projection's size, or 2H, both directions side by side."""
        return self.projection_size or 2 * self.hidden_size

    def num_output_frames(self, num_frames: int) -> int:
        """T' = ceil(T / subsampling).

        >>> EncoderConfig(subsampling=3).num_output_frames(97)
        33
        """
        return -(-num_frames // self.subsampling)


class Encoded(NamedTuple):
    """outputs (B, T', D), valid below output_lengths (B,); those of inner layers where asked for."""

    outputs: Tensor
    output_lengths: Tensor
    intermediate: tuple[Tensor, ...] = ()


class BiLSTMEncoder(nn.Module):
    """features (B, T, F) -> outputs (B, T', D)."""

    def __init__(self, num_features: int, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        subsampling = Conv2dSubsampling if config.conv_kind == "conv2d" else Conv1dSubsampling
        self.subsampling = subsampling(num_features, config)
        self.layers = nn.ModuleList(ResidualBiLSTM(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.output_size)

    def output_lengths(self, feature_lengths: Tensor) -> Tensor:
        """ceil(T / subsampling) for lengths (B,)."""
        return self.subsampling.output_lengths(feature_lengths)

    def forward(
        self, features: Tensor, feature_lengths: Tensor, taps: Collection[int] = ()
    ) -> Encoded:
        """Encode a padded batch.

        Args:
            features: (B, T, F).
            feature_lengths: (B,).
            taps: inner layers, from 1, whose outputs are wanted too; they pass the last norm.

        Shape: (B, T, F), (B,) -> (B, T', D), (B,).
        """
        hidden, lengths = self.subsampling(features, feature_lengths)
        reversal = reversal_index(lengths, hidden.shape[1])
        intermediate = []
        for number, layer in enumerate(self.layers, start=1):
            hidden = layer(hidden, reversal)
            if number in taps:
                intermediate.append(self.norm(hidden))
        return Encoded(self.norm(hidden), lengths, tuple(intermediate))


class Subsampling(nn.Module):
    """Convolutions with a ReLU after each, then dropout.

    Frames beyond each length are set to zero in front of each convolution, so that the last frames
    of an utterance see the same zeros alone as in a batch.

    Attributes:
        strides: of each convolution over time.
    """

    strides: tuple[int, ...]
    convolutions: nn.ModuleList

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Each stride s maps a length L to ceil(L / s)."""
        for stride in self.strides:
            lengths = _divided(lengths, stride)
        return lengths

    def convolve(self, hidden: Tensor, lengths: Tensor) -> Iterator[Tensor]:
        """What comes out of each convolution: (B, C, T, ...) -> (B, C', T', ...)."""
        for stride, convolution in zip(self.strides, self.convolutions, strict=True):
            frames = torch.arange(hidden.shape[2], device=hidden.device)
            valid = (frames < lengths[:, None]).view(len(hidden), 1, -1, *[1] * (hidden.dim() - 3))
            hidden = nn.functional.relu(convolution(hidden * valid))
            lengths = _divided(lengths, stride)
            yield hidden


def _divided(lengths: Tensor, stride: int) -> Tensor:
    return (lengths + stride - 1).div(stride, rounding_mode="floor")


class Conv1dSubsampling(Subsampling):
    """Two convolutions over time, the second (for factor 4, both) with a stride."""

    def __init__(self, num_features: int, config: EncoderConfig) -> None:
        super().__init__()
        self.strides = _STRIDES[config.subsampling]
        sizes = (num_features, config.conv_channels, config.output_size)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(sizes[i], sizes[i + 1], _KERNEL_SIZE, stride, padding=_KERNEL_SIZE // 2)
            for i, stride in enumerate(self.strides)
        )
        self.dropout = SequenceDropout(config.dropout)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Shape: (B, T, F), (B,) -> (B, T', D), (B,)."""
        *_, hidden = self.convolve(features.transpose(1, 2), lengths)
        return self.dropout(hidden.transpose(1, 2)), self.output_lengths(lengths)


class Conv2dSubsampling(Subsampling):
    """Four convolutions over time and frequency, then a linear layer over all that a frame has.

    What a low voice shows in some bands a high one shows in others: a filter that moves over the
    frequencies finds both (Deep Speech 2, Amodei et al. 2016, arXiv 1512.02595, section 3.5). The
    first two have Conv1dSubsampling's strides over time; the first and the third, from which on there
    are twice as many channels, halve the frequencies; the last is residual.
    """

    def __init__(self, num_features: int, config: EncoderConfig) -> None:
        super().__init__()
        self.strides = (*_STRIDES[config.subsampling], 1, 1)
        channels = config.conv_channels
        sizes = (1, channels, channels, 2 * channels, 2 * channels)
        num_bands = num_features
        self.convolutions = nn.ModuleList()
        for i, kernel in enumerate(_IMAGE_KERNELS):
            strides = (self.strides[i], _BAND_STRIDES[i])
            padding = (kernel[0] // 2, kernel[1] // 2)
            self.convolutions.append(nn.Conv2d(sizes[i], sizes[i + 1], kernel, strides, padding))
            num_bands = -(-num_bands // strides[1])
        for convolution in self.convolutions:
            weight = convolution.get_parameter("weight")
            if not weight.is_meta:
                nn.init.kaiming_normal_(weight, nonlinearity="relu")
        self.out = nn.Linear(sizes[-1] * num_bands, config.output_size)
        self.dropout = SequenceDropout(config.dropout)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Shape: (B, T, F), (B,) -> (B, T', D), (B,)."""
        images = features.unsqueeze(1).to(memory_format=torch.channels_last)  # as oneDNN has them
        *_, inputs, outputs = self.convolve(images, lengths)
        hidden = self.out((inputs + outputs).transpose(1, 2).flatten(2))
        return self.dropout(hidden), self.output_lengths(lengths)


class SequenceDropout(nn.Module):
    """Drops the same channels in all frames of an utterance."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, sequences: Tensor) -> Tensor:
        """Shape: (B, T', D) -> (B, T', D)."""
        if not self.training or self.share == 0:
            return sequences
        batch, _, channels = sequences.shape
        kept = torch.rand(batch, 1, channels, device=sequences.device) >= self.share
        return sequences * (kept / (1 - self.share)).to(sequences.dtype)


class ResidualBiLSTM(nn.Module):
    """inputs + Dropout(Projection(BiLSTM(LayerNorm(inputs)))).

    The projection stands after the layer, not in the recurrence (as LSTMP's does), so that the
    recurrence keeps its fused kernel.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        size, hidden_size = config.output_size, config.hidden_size
        self.norm = nn.LayerNorm(size)
        self.lstm = BiLSTM(size, hidden_size, config.recurrent_dropout)
        self.projection = (
            nn.Identity() if config.projection_size is None else nn.Linear(2 * hidden_size, size)
        )
        self.dropout = SequenceDropout(config.dropout)

    def forward(self, inputs: Tensor, reversal: Tensor) -> Tensor:
        """Shape: (B, T', D) -> (B, T', D)."""
        projected = self.projection(self.lstm(self.norm(inputs), reversal))
        outputs: Tensor = inputs + self.dropout(projected)
        return outputs
