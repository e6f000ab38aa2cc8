"""The encoder: one utterance against its batch, its convolutions, its sizes."""

import doctest
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import asr.encoder
from asr.bilstm import reversal_index
from asr.encoder import (
    CONV_KINDS,
    BiLSTMEncoder,
    Conv2dSubsampling,
    EncoderConfig,
    ResidualBiLSTM,
    SequenceDropout,
)
from asr.errors import UsageError


def test_docstrings() -> None:
    assert doctest.testmod(asr.encoder).failed == 0


@pytest.mark.parametrize("conv_kind", CONV_KINDS)
@pytest.mark.parametrize(
    ("subsampling", "projection_size"), [(1, None), (2, None), (3, None), (4, None), (3, 12)]
)
def test_output_does_not_depend_on_the_batch(
    subsampling: int, projection_size: int | None, conv_kind: str
) -> None:
    torch.manual_seed(0)
    config = EncoderConfig(
        subsampling, conv_channels=8, hidden_size=16, num_layers=2, recurrent_dropout=0.5,
        projection_size=projection_size, conv_kind=conv_kind,
    )  # fmt: skip
    encoder = BiLSTMEncoder(10, config).eval()
    lengths = torch.tensor([50, 49, 31, 4, 1])
    features = torch.randn(5, 50, 10)  # padding is not zero on purpose
    with torch.inference_mode():
        together, output_lengths, _ = encoder(features, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone, alone_length, _ = encoder(
                features[row : row + 1, :length], lengths[row : row + 1]
            )
            frames = config.num_output_frames(length)
            assert output_lengths[row] == alone_length[0] == alone.shape[1] == frames
            torch.testing.assert_close(together[row, :frames], alone[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "options",
    [{}, {"recurrent_dropout": 0.3, "projection_size": 12}, {"conv_kind": "conv2d"}],
)
def test_gradients_reach_every_parameter(options: dict[str, Any]) -> None:
    config = EncoderConfig(conv_channels=8, hidden_size=16, num_layers=2, **options)
    encoder = BiLSTMEncoder(10, config)
    encoder(torch.randn(2, 30, 10), torch.tensor([30, 20])).outputs.square().mean().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_conv2d_hears_a_shape_at_any_frequency() -> None:
    """Four bands higher, the same numbers come out a band higher, each in its own channel."""
    torch.manual_seed(0)
    layer = Conv2dSubsampling(40, EncoderConfig(conv_channels=4, conv_kind="conv2d")).eval()
    heard: list[Tensor] = []
    layer.out.register_forward_pre_hook(
        lambda _, args: heard.append(args[0].unflatten(-1, (8, 10)))
    )
    spectrum = torch.zeros(1, 30, 40)
    spectrum[:, 10:20, 16:20] = torch.randn(10, 4)
    lengths = torch.tensor([30])
    layer(spectrum, lengths)
    layer(spectrum.roll(4, dims=2), lengths)
    low, high = heard
    assert (low[..., 2:-2] - high[..., 2:-2]).abs().max() > 0.1
    torch.testing.assert_close(high[..., 3:-2], low[..., 2:-3])


def test_conv2d_equals_torchs_convolutions() -> None:
    torch.manual_seed(0)
    layer = Conv2dSubsampling(40, EncoderConfig(conv_channels=4, conv_kind="conv2d")).eval()
    spectrum = torch.randn(1, 31, 40)
    outputs, lengths = layer(spectrum, torch.tensor([31]))
    first, second, third, last = (
        partial(nn.functional.conv2d, **dict(c.named_parameters())) for c in layer.convolutions
    )
    hidden = first(spectrum[:, None], stride=(1, 2), padding=1).relu()
    hidden = second(hidden, stride=(3, 1), padding=(2, 1)).relu()
    hidden = third(hidden, stride=(1, 2), padding=1).relu()
    hidden = hidden + last(hidden, padding=1).relu()
    expected = layer.out(hidden.permute(0, 2, 1, 3).reshape(1, 11, 8 * 10))
    assert lengths.tolist() == [11]
    torch.testing.assert_close(outputs, expected)


def test_dropout_drops_a_channel_for_the_whole_utterance() -> None:
    torch.manual_seed(0)
    dropout = SequenceDropout(0.5)
    outputs = dropout(torch.ones(4, 20, 64))
    assert set(outputs.unique().tolist()) == {0.0, 2.0}
    assert (outputs == outputs[:, :1]).all()
    assert not torch.equal(outputs[0], outputs[1])
    assert torch.equal(dropout.eval()(torch.ones(1, 2, 3)), torch.ones(1, 2, 3))


def test_a_projection_stands_between_the_lstm_and_the_residual() -> None:
    layer = ResidualBiLSTM(EncoderConfig(hidden_size=8, projection_size=5)).eval()
    inputs, reversal = torch.randn(2, 9, 5), reversal_index(torch.tensor([9, 5]), 9)
    wide = layer.lstm(layer.norm(inputs), reversal)
    assert wide.shape == (2, 9, 16)
    expected = inputs + wide @ layer.projection.weight.T + layer.projection.bias
    torch.testing.assert_close(layer(inputs, reversal), expected)
    encoder = BiLSTMEncoder(4, EncoderConfig(hidden_size=8, projection_size=5))
    assert encoder(torch.randn(2, 30, 4), torch.tensor([30, 9])).outputs.shape == (2, 10, 5)


def test_by_default_the_network_has_the_parameters_it_always_had() -> None:
    """Checkpoints and bundles from before the options were there fit."""
    lstm = [
        f"lstm.{direction}_lstm.{kind}_l0"
        for direction in ("forward", "backward")
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    layer = ["norm.weight", "norm.bias", *lstm]
    convolutions = [f"subsampling.convolutions.{i}.{n}" for i in (0, 1) for n in ("weight", "bias")]
    expected = [*convolutions, *(f"layers.0.{name}" for name in layer), "norm.weight", "norm.bias"]
    for config in (EncoderConfig(num_layers=1), EncoderConfig(num_layers=1, recurrent_dropout=0.3)):
        assert list(BiLSTMEncoder(10, config).state_dict()) == expected


def test_inner_layers_on_demand() -> None:
    """Those asked for, in order, through the last norm; the output stays the same."""
    torch.manual_seed(0)
    encoder = BiLSTMEncoder(10, EncoderConfig(conv_channels=8, hidden_size=16, num_layers=3)).eval()
    features, lengths = torch.randn(2, 30, 10), torch.tensor([30, 20])
    plain = encoder(features, lengths)
    assert plain.intermediate == ()
    outputs, _, (first, second) = encoder(features, lengths, taps=(2, 1))
    assert torch.equal(outputs, plain.outputs)
    hidden, output_lengths = encoder.subsampling(features, lengths)
    reversal = reversal_index(output_lengths, hidden.shape[1])
    for layer, inner in zip(encoder.layers, (first, second), strict=False):
        hidden = layer(hidden, reversal)
        assert torch.equal(inner, encoder.norm(hidden))


@pytest.mark.parametrize(
    "wrong",
    [
        {"subsampling": 5},
        {"hidden_size": 0},
        {"dropout": 1.0},
        {"recurrent_dropout": 1.0},
        {"recurrent_dropout": -0.1},
        {"projection_size": 0},
    ],
)
def test_impossible_sizes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="encoder"):
        EncoderConfig(**wrong)  # type: ignore[arg-type]
