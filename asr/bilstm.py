"""One bidirectional LSTM layer, dense and exact: no PackedSequence.

Two one-direction LSTMs; the backward one reads its input reversed within each utterance's length, so
that padding always comes last and never reaches a valid frame. On a CPU this is several times faster
than PackedSequence and equal to it within rounding (`tests/test_bilstm.py`, `scripts/bench/lstm.py`).
"""

from typing import Any

import torch
from torch import Tensor, nn


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
