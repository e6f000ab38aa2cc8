"""The encoder against nn.LSTM on PackedSequence, and one utterance against its batch."""

import doctest

import pytest
import torch
from torch import nn

import asr.encoder
from asr.encoder import BiLSTM, BiLSTMEncoder, EncoderConfig, SequenceDropout, reversal_index
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


def test_a_plain_padded_lstm_would_be_wrong() -> None:
    """What the reversal is for: without it, the backward direction reads padding."""
    torch.manual_seed(0)
    layer = BiLSTM(12, 16)
    inputs = torch.randn(2, 40, 12)
    dense, _ = packed_twin(layer)(inputs)
    exact = layer(inputs, reversal_index(torch.tensor([40, 20]), 40))
    assert (dense - exact)[1, :20].abs().max() > 1e-3


@pytest.mark.parametrize("subsampling", [1, 2, 3, 4])
def test_output_does_not_depend_on_the_batch(subsampling: int) -> None:
    torch.manual_seed(0)
    config = EncoderConfig(subsampling, conv_channels=8, hidden_size=16, num_layers=2)
    encoder = BiLSTMEncoder(10, config).eval()
    lengths = torch.tensor([50, 49, 31, 4, 1])
    features = torch.randn(5, 50, 10)  # padding is not zero on purpose
    with torch.inference_mode():
        together, output_lengths = encoder(features, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone, alone_length = encoder(features[row : row + 1, :length], lengths[row : row + 1])
            frames = config.num_output_frames(length)
            assert output_lengths[row] == alone_length[0] == alone.shape[1] == frames
            torch.testing.assert_close(together[row, :frames], alone[0], atol=1e-5, rtol=0)


def test_gradients_reach_every_parameter() -> None:
    encoder = BiLSTMEncoder(10, EncoderConfig(conv_channels=8, hidden_size=16, num_layers=2))
    outputs, _ = encoder(torch.randn(2, 30, 10), torch.tensor([30, 20]))
    outputs.square().mean().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


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


@pytest.mark.parametrize("wrong", [{"subsampling": 5}, {"hidden_size": 0}, {"dropout": 1.0}])
def test_impossible_sizes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="encoder"):
        EncoderConfig(**wrong)  # type: ignore[arg-type]
