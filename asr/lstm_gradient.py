"""One direction of an LSTM layer in bfloat16 on a CPU, with a backward pass of its own.

oneDNN adds to the gradient of the recurrent weights in each frame, a product of a few rows into a whole
matrix. Here the gradients of all weights are one product over all frames at the end, and nothing goes
frame by frame but what a frame takes from the next (Hochreiter & Schmidhuber 1997; forget gates: Gers
et al. 2000). The gates are computed again, in one product too, for by then all outputs are known.
"""

from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

Floats = NDArray[np.float32]


def lstm_outputs(inputs: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    """What nn.LSTM(batch_first=True) gives, (B, T, D) -> (B, T, H) in bfloat16.

    Args:
        weights: (4H, D), (4H, H), (4H,), (4H,) for the input, forget, cell and output gates, as
            nn.LSTM has them.
    """
    outputs: Tensor = _Lstm.apply(inputs, *weights)  # type: ignore[no-untyped-call]
    return outputs


class _Lstm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, *weights: Tensor) -> Tensor:
        state = inputs.new_zeros(1, len(inputs), weights[1].shape[1])
        outputs = torch.lstm(
            inputs, (state, state), weights, True, 1, 0.0, False, False, batch_first=True
        )[0]
        ctx.save_for_backward(inputs, outputs, *weights)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        inputs, outputs, *weights = ctx.saved_tensors
        num_inputs = inputs.shape[-1]
        read = _read(inputs.bfloat16(), outputs)
        matrix = torch.cat(weights[:2], dim=1).bfloat16()
        gates = torch.nn.functional.linear(read, matrix).float().add_(weights[2] + weights[3])
        _backpropagate(gates, weights[1], gradient.transpose(0, 1).float().contiguous())
        of_biases = gates.sum((0, 1))
        of_gates = gates.bfloat16().flatten(0, 1)
        of_matrix = of_gates.T.mm(read.flatten(0, 1)).float()
        of_inputs = of_gates.mm(matrix[:, :num_inputs]).view(*gates.shape[:2], num_inputs)
        return (
            of_inputs.transpose(0, 1).to(inputs.dtype),
            of_matrix[:, :num_inputs], of_matrix[:, num_inputs:], of_biases, of_biases,
        )  # fmt: skip


def _read(inputs: Tensor, outputs: Tensor) -> Tensor:
    """(T, B, D + H): all that a frame reads, its input and the output of the frame before."""
    batch, num_frames, size = inputs.shape
    read = inputs.new_zeros(num_frames, batch, size + outputs.shape[-1])
    read[..., :size] = inputs.transpose(0, 1)
    read[1:, :, size:] = outputs.transpose(0, 1)[:-1]
    return read


def _backpropagate(gates: Tensor, recurrent: Tensor, gradient: Tensor) -> None:
    """What goes into the gates (T, B, 4H) becomes its gradient, in place.

    Args:
        recurrent: (4H, H) weights.
        gradient: (T, B, H) of the outputs.
    """
    size = recurrent.shape[1]
    gates[..., : 2 * size].sigmoid_()
    gates[..., 2 * size : 3 * size].tanh_()
    gates[..., 3 * size :].sigmoid_()
    cells = gradient.new_zeros(len(gates) + 1, *gradient.shape[1:])  # those before each frame
    _fill_cells(gates.numpy(), cells.numpy())
    of_cell, of_output = torch.zeros_like(cells[0]), torch.zeros_like(cells[0])
    arrays = [array.numpy() for array in (gates, cells, cells.tanh(), gradient, of_cell, of_output)]
    for frame in range(len(gates) - 1, -1, -1):
        _step_back(frame, *arrays)
        torch.mm(gates[frame], recurrent, out=of_output)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _fill_cells(gates: Floats, cells: Floats) -> None:
    """Gates (T, B, 4H), opened -> cells (T + 1, B, H), the first of which are there."""
    _, batch, size = cells.shape
    for frame in range(len(gates)):
        for row in range(batch):
            gate, before, cell = gates[frame, row], cells[frame, row], cells[frame + 1, row]
            for unit in range(size):
                kept = gate[size + unit] * before[unit]
                cell[unit] = kept + gate[unit] * gate[2 * size + unit]


@numba.njit(nogil=True, cache=True, fastmath=True)
def _step_back(
    frame: int, gates: Floats, cells: Floats, tanhs: Floats, gradient: Floats, of_cell: Floats,
    of_output: Floats,
) -> None:  # fmt: skip
    """Gates of one frame become gradients; of_cell (B, H) is that of the frame after, then of this one.

    cells, tanhs: (T + 1, B, H), a frame's own at frame + 1.
    of_output: (B, H), what the frame after adds to the gradient of this frame's outputs.
    """
    size = cells.shape[2]
    one = np.float32(1.0)
    for row in range(cells.shape[1]):
        gate, tanh, before = gates[frame, row], tanhs[frame + 1, row], cells[frame, row]
        for unit in range(size):
            i, f = gate[unit], gate[size + unit]
            g, o = gate[2 * size + unit], gate[3 * size + unit]
            out = gradient[frame, row, unit] + of_output[row, unit]
            cell = of_cell[row, unit] + out * o * (one - tanh[unit] * tanh[unit])
            gate[unit] = cell * g * i * (one - i)
            gate[size + unit] = cell * before[unit] * f * (one - f)
            gate[2 * size + unit] = cell * i * (one - g * g)
            gate[3 * size + unit] = out * tanh[unit] * o * (one - o)
            of_cell[row, unit] = cell * f
