"""The encoder against nn.LSTM on PackedSequence, and one utterance against its batch."""

import doctest
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import asr.encoder
from asr.encoder import (
    CONV_KINDS,
    BiLSTM,
    BiLSTMEncoder,
    Conv2dSubsampling,
    EncoderConfig,
    ResidualBiLSTM,
    SequenceDropout,
    reversal_index,
)
from asr.errors import UsageError


def test_docstrings() -> None:
    assert doctest.testmod(asr.encoder).failed == 0


def packed_twin(layer: BiLSTM) -> nn.LSTM:
    """torch's bidirectional LSTM with the same weights."""
    twin = nn.LSTM(
        layer.forward_lstm.input_size, layer.forward_lstm.hidden_size, batch_first=True,
        bidirectional=True,
    )  # fmt: skip
    weights = dict(layer.forward_lstm.named_parameters())
    weights |= {f"{name}_reverse": value for name, value in layer.backward_lstm.named_parameters()}
    twin.load_state_dict({name: value.detach() for name, value in weights.items()})
    return twin


@pytest.mark.parametrize("lengths", [[40, 33, 17, 2, 1], [5], [7, 7, 7]])
def test_equals_lstm_on_packed_sequence(lengths: list[int]) -> None:
    """Outputs and gradients, for every length of the batch, to 1e-6."""
    torch.manual_seed(0)
    layer = BiLSTM(12, 16)
    twin = packed_twin(layer)
    inputs = torch.randn(len(lengths), max(lengths), 12)
    dense_inputs, packed_inputs = (inputs.clone().requires_grad_() for _ in range(2))
    outputs = layer(dense_inputs, reversal_index(torch.tensor(lengths), max(lengths)))
    packed = nn.utils.rnn.pack_padded_sequence(packed_inputs, lengths, batch_first=True)
    expected, _ = nn.utils.rnn.pad_packed_sequence(twin(packed)[0], batch_first=True)
    valid = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).unsqueeze(-1)
    torch.testing.assert_close(outputs * valid, expected, atol=1e-6, rtol=0)
    (outputs * valid).square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(dense_inputs.grad, packed_inputs.grad, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        layer.backward_lstm.weight_hh_l0.grad, twin.weight_hh_l0_reverse.grad, atol=1e-4, rtol=1e-5
    )


@pytest.mark.parametrize("lengths", [[60, 33, 1], [7, 7]])
def test_gradients_in_bfloat16_are_as_near_to_float32s_as_torchs(
    lengths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of `asr.lstm_gradient`; the right ones are PackedSequence's."""
    torch.manual_seed(0)
    layer = BiLSTM(24, 32)
    for parameter in layer.parameters():
        parameter.data *= 2  # gates that open and close
    twin = packed_twin(layer)
    inputs, weights = torch.randn(len(lengths), max(lengths), 24), torch.randn(max(lengths), 64)
    reversal = reversal_index(torch.tensor(lengths), max(lengths))
    valid = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).unsqueeze(-1)

    def packed(given: Tensor, _: Tensor) -> Tensor:
        rows = nn.utils.rnn.pack_padded_sequence(given, lengths, batch_first=True)
        return nn.utils.rnn.pad_packed_sequence(twin(rows)[0], batch_first=True)[0]

    def gradients(network: nn.Module, run: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
        given = inputs.clone().requires_grad_()
        outputs = run(given, reversal).float() * valid
        return list(torch.autograd.grad((outputs * weights).sum(), [given, *network.parameters()]))

    exact = gradients(twin, packed)
    with torch.autocast("cpu", torch.bfloat16):
        ours = gradients(layer, layer)
        monkeypatch.setattr("asr.encoder._learns_in_bfloat16", lambda _: False)
        torchs = gradients(layer, layer)
    for right, found, other in zip(exact, ours, torchs, strict=True):
        assert found.dtype == torch.float32
        assert found.shape == right.shape
        assert not torch.equal(found, other)  # two ways of computing them
        error, others = ((one - right).norm() / right.norm() for one in (found, other))
        assert error < min(0.05, 1.2 * others)


def test_a_plain_padded_lstm_would_be_wrong() -> None:
    """What the reversal is for: without it, the backward direction reads padding."""
    torch.manual_seed(0)
    layer = BiLSTM(12, 16)
    inputs = torch.randn(2, 40, 12)
    dense, _ = packed_twin(layer)(inputs)
    exact = layer(inputs, reversal_index(torch.tensor([40, 20]), 40))
    assert (dense - exact)[1, :20].abs().max() > 1e-3


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


def test_forget_gate_bias_is_one() -> None:
    lstm = BiLSTM(4, 3).forward_lstm
    bias = lstm.bias_ih_l0 + lstm.bias_hh_l0
    assert bias.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]


def test_dropout_drops_a_channel_for_the_whole_utterance() -> None:
    torch.manual_seed(0)
    dropout = SequenceDropout(0.5)
    outputs = dropout(torch.ones(4, 20, 64))
    assert set(outputs.unique().tolist()) == {0.0, 2.0}
    assert (outputs == outputs[:, :1]).all()
    assert not torch.equal(outputs[0], outputs[1])
    assert torch.equal(dropout.eval()(torch.ones(1, 2, 3)), torch.ones(1, 2, 3))


def lstm_by_hand(
    inputs: Tensor, input_weight: Tensor, recurrent_weight: Tensor, bias: Tensor
) -> Tensor:
    """One direction, a frame at a time, with the same recurrent weights in every frame."""
    hidden = cell = torch.zeros(inputs.shape[0], recurrent_weight.shape[1])
    outputs = []
    for frame in inputs.unbind(dim=1):
        gates = frame @ input_weight.T + hidden @ recurrent_weight.T + bias
        ins, forget, new, out = gates.chunk(4, dim=1)
        cell = forget.sigmoid() * cell + ins.sigmoid() * new.tanh()
        hidden = out.sigmoid() * cell.tanh()
        outputs.append(hidden)
    return torch.stack(outputs, dim=1)


def test_recurrent_dropout_drops_the_same_recurrent_weights_in_all_frames() -> None:
    """Against a loop over frames with masks drawn from the same random state."""
    layer = BiLSTM(6, 8, recurrent_dropout=0.4)
    inputs = torch.randn(3, 9, 6)
    torch.manual_seed(1)
    outputs = layer(inputs, reversal_index(torch.tensor([9, 9, 9]), 9))
    torch.manual_seed(1)
    dropped = []
    for lstm, part in (
        (layer.forward_lstm, outputs[..., :8]),
        (layer.backward_lstm, outputs[..., 8:]),
    ):
        weight = nn.functional.dropout(lstm.weight_hh_l0, 0.4)
        bias = lstm.bias_ih_l0 + lstm.bias_hh_l0
        backward = lstm is layer.backward_lstm
        expected = lstm_by_hand(
            inputs.flip(1) if backward else inputs, lstm.weight_ih_l0, weight, bias
        )
        torch.testing.assert_close(part, expected.flip(1) if backward else expected)
        dropped.append(weight == 0)
        kept = ~dropped[-1]
        torch.testing.assert_close(weight[kept], lstm.weight_hh_l0[kept] / 0.6)
        assert 0.25 < dropped[-1].float().mean() < 0.55
    assert not torch.equal(*dropped)


def test_recurrent_dropout_changes_by_the_batch_and_not_the_weights() -> None:
    layer = BiLSTM(6, 8, recurrent_dropout=0.4)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    inputs, reversal = torch.randn(2, 9, 6), reversal_index(torch.tensor([9, 9]), 9)
    first = layer(inputs, reversal)
    assert not torch.equal(first, layer(inputs, reversal))
    first.sum().backward()
    untouched = (layer.forward_lstm.weight_hh_l0.grad == 0).float().mean()
    assert 0.25 < untouched < 0.55  # a dropped weight has no part in the loss
    assert layer.state_dict().keys() == before.keys()
    assert all(torch.equal(layer.state_dict()[name], value) for name, value in before.items())


def test_without_training_recurrent_dropout_changes_nothing() -> None:
    dropping, plain = BiLSTM(6, 8, recurrent_dropout=0.4).eval(), BiLSTM(6, 8).eval()
    plain.load_state_dict(dropping.state_dict())
    inputs, reversal = torch.randn(2, 9, 6), reversal_index(torch.tensor([9, 5]), 9)
    assert torch.equal(dropping(inputs, reversal), plain(inputs, reversal))


def test_recurrent_dropout_under_bfloat16() -> None:
    """Active, close to float32 with the same mask, and the gradients of the weights are float32."""
    layer = BiLSTM(6, 8, recurrent_dropout=0.4)
    inputs, reversal = torch.randn(2, 9, 6), reversal_index(torch.tensor([9, 5]), 9)
    results = []
    for enabled in (False, True):
        torch.manual_seed(2)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            results.append(layer(inputs, reversal))
    torch.testing.assert_close(results[1].float(), results[0], atol=0.03, rtol=0)
    assert (results[1].float() - layer.eval()(inputs, reversal)).abs().max() > 0.03
    results[1].float().sum().backward()
    assert layer.forward_lstm.weight_hh_l0.grad.dtype == torch.float32
    assert layer.forward_lstm.weight_hh_l0.grad.isfinite().all()


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
