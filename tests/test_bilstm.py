"""A bidirectional layer against nn.LSTM on PackedSequence, and its recurrent dropout by hand."""

import doctest
from collections.abc import Callable

import pytest
import torch
from processor import needs_bfloat16
from torch import Tensor, nn

import asr.bilstm
from asr.bilstm import BiLSTM, reversal_index


def test_docstrings() -> None:
    assert doctest.testmod(asr.bilstm).failed == 0


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


@needs_bfloat16
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
        monkeypatch.setattr("asr.bilstm._learns_in_bfloat16", lambda _: False)
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


def test_forget_gate_bias_is_one() -> None:
    lstm = BiLSTM(4, 3).forward_lstm
    bias = lstm.bias_ih_l0 + lstm.bias_hh_l0
    assert bias.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]


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


@needs_bfloat16
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
