"""Convolutional subsampling and a stack of bidirectional LSTM layers.

Dense and exact: no PackedSequence. Each layer is two one-direction LSTMs; the backward one reads
its input reversed within each utterance's length, so that padding always comes last and never
reaches a valid frame. On a CPU this is several times faster than PackedSequence and equal to it
within rounding (`tests/test_encoder.py`, `scripts/bench/lstm.py`).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

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
        *_, inputs, outputs = self.convolve(features.unsqueeze(1), lengths)
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


class BiLSTM(nn.Module):
    """One bidirectional LSTM layer, equal to nn.LSTM(bidirectional=True) on a PackedSequence.

    While training, each direction drops `recurrent_dropout` of its recurrent weights, another choice
    for each batch, and scales the rest up (DropConnect: Wan et al. 2013; as the weight-dropped LSTM
    of Merity et al. 2017, arXiv 1708.02182). The mask is the same in all frames, which is what keeps
    the memory of the recurrence. The one of Gal & Ghahramani (2016) lies on h, for each utterance
    apart, and needs a step of Python for each frame where this is one call of torch's LSTM.
    """

    def __init__(self, input_size: int, hidden_size: int, recurrent_dropout: float = 0.0) -> None:
        super().__init__()
        self.recurrent_dropout = recurrent_dropout
        self.forward_lstm = nn.LSTM(input_size, hidden_size, batch_first=True)
        self.backward_lstm = nn.LSTM(input_size, hidden_size, batch_first=True)
        for lstm in (self.forward_lstm, self.backward_lstm):
            _initialize(lstm)

    def forward(self, inputs: Tensor, reversal: Tensor) -> Tensor:
        """Run both directions.

        Args:
            inputs: (B, T', D).
            reversal: `reversal_index` of the batch, (B, T').

        Returns:
            (B, T', 2H): forward outputs, then backward outputs, as nn.LSTM orders them. Frames
            beyond a length hold values without meaning.
        """
        forward_outputs = self._run(self.forward_lstm, inputs)
        backward_outputs = self._run(self.backward_lstm, _reorder(inputs, reversal))
        return torch.cat((forward_outputs, _reorder(backward_outputs, reversal)), dim=-1)

    def _run(self, lstm: nn.LSTM, inputs: Tensor) -> Tensor:
        """Outputs (B, T', H) of one direction; its parameters stay as they are."""
        weights: dict[str, Tensor] = dict(lstm.named_parameters())
        drops = self.training and self.recurrent_dropout > 0
        if drops:
            recurrent = weights["weight_hh_l0"]
            weights["weight_hh_l0"] = nn.functional.dropout(recurrent, self.recurrent_dropout)
        if _learns_in_bfloat16(inputs):
            from asr.lstm_gradient import lstm_outputs  # numba, which all else does without

            return lstm_outputs(inputs, tuple(weights.values()))
        outputs: Tensor
        outputs, _ = torch.func.functional_call(lstm, weights, (inputs,)) if drops else lstm(inputs)
        return outputs


def _learns_in_bfloat16(inputs: Tensor) -> bool:
    """Whether this is a CPU's training under autocast."""
    return (
        torch.is_grad_enabled()
        and inputs.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )


def reversal_index(lengths: Tensor, num_frames: int) -> Tensor:
    """Index that reverses each sequence within its length and leaves padding where it is.

    Its own inverse. Shape: (B,) -> (B, num_frames).

    >>> reversal_index(torch.tensor([3, 1]), 3).tolist()
    [[2, 1, 0], [0, 1, 2]]
    """
    frames = torch.arange(num_frames, device=lengths.device).expand(lengths.shape[0], -1)
    return torch.where(frames < lengths[:, None], lengths[:, None] - 1 - frames, frames)


def _reorder(sequences: Tensor, index: Tensor) -> Tensor:
    """Sequences (B, T', D) in the order of `index`, which is its own inverse."""
    reordered: Tensor = _Reorder.apply(sequences, index)  # type: ignore[no-untyped-call]
    return reordered


class _Reorder(torch.autograd.Function):
    """Whole rows are copied, in the gradient too: torch's gather works number by number."""

    @staticmethod
    def forward(ctx: Any, sequences: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        return _take_rows(sequences, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _take_rows(gradient, *ctx.saved_tensors), None


def _take_rows(sequences: Tensor, index: Tensor) -> Tensor:
    """Shape: (B, T', D), (B, T') -> (B, T', D)."""
    batch, num_frames = index.shape
    first = num_frames * torch.arange(batch, device=index.device)
    rows = sequences.flatten(0, 1).index_select(0, (first[:, None] + index).flatten())
    return rows.view(sequences.shape)


def _initialize(lstm: nn.LSTM) -> None:
    """Orthogonal recurrence and a forget-gate bias of 1 (Gers et al. 2000)."""
    hidden_size = lstm.hidden_size
    weights = dict(lstm.named_parameters())
    if weights["weight_hh_l0"].is_meta:
        return  # to be assigned; torch's functions for such tensors take a second to import
    nn.init.xavier_uniform_(weights["weight_ih_l0"])
    for gate in weights["weight_hh_l0"].data.chunk(4):
        nn.init.orthogonal_(gate)
    nn.init.zeros_(weights["bias_ih_l0"])
    nn.init.zeros_(weights["bias_hh_l0"])
    weights["bias_ih_l0"].data[hidden_size : 2 * hidden_size] = 1.0
