"""The dense bidirectional LSTM stack against torch's on PackedSequence: same sizes, same padded batch,
forward and backward, in one process, alternating, best of several.

    python scripts/bench/lstm.py [--threads 2] [--rounds 5]
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from asr.bilstm import BiLSTM, reversal_index

SIZES = ((256, 2, 8, 400), (256, 3, 16, 300), (320, 2, 8, 400))  # hidden, layers, B, T


def dense_stack(hidden: int, layers: int) -> nn.ModuleList:
    """Layers of asr's BiLSTM."""
    return nn.ModuleList(
        BiLSTM(hidden if layer == 0 else 2 * hidden, hidden) for layer in range(layers)
    )


def run_dense(stack: nn.ModuleList, inputs: Tensor, lengths: Tensor) -> Tensor:
    """(B, T, H) -> (B, T, 2H)."""
    reversal = reversal_index(lengths, inputs.shape[1])
    for layer in stack:
        inputs = layer(inputs, reversal)
    return inputs


def run_packed(stack: nn.LSTM, inputs: Tensor, lengths: Tensor) -> Tensor:
    """The same through PackedSequence."""
    packed = nn.utils.rnn.pack_padded_sequence(inputs, lengths, batch_first=True)
    return nn.utils.rnn.pad_packed_sequence(stack(packed)[0], batch_first=True)[0]


def seconds(step: Callable[[], Tensor]) -> float:
    """Wall time of forward and backward."""
    started = time.perf_counter()
    step().sum().backward()
    return time.perf_counter() - started


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| layers x hidden | B x T | packed s | dense s | ratio |\n|---|---|---|---|---|")
    for hidden, layers, batch, frames in SIZES:
        lengths = torch.linspace(frames, 0.85 * frames, batch).long()
        inputs = torch.randn(batch, frames, hidden)
        dense = dense_stack(hidden, layers)
        packed = nn.LSTM(hidden, hidden, layers, batch_first=True, bidirectional=True)
        times: dict[str, list[float]] = {"dense": [], "packed": []}
        for _ in range(options.rounds):
            times["dense"].append(seconds(lambda: run_dense(dense, inputs, lengths)))  # noqa: B023
            times["packed"].append(seconds(lambda: run_packed(packed, inputs, lengths)))  # noqa: B023
        best = {name: min(values) for name, values in times.items()}
        print(
            f"| {layers} x {hidden} | {batch} x {frames} | {best['packed']:.3f} | {best['dense']:.3f} | "
            f"{best['packed'] / best['dense']:.1f} |"
        )


if __name__ == "__main__":
    main()
