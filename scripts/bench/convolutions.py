"""Convolutions over time and frequency (`encoder.conv_kind=conv2d`) in oneDNN's layout, channels last,
against the same module in torch's own; in training and in use, in bfloat16 and float32.

Outputs are first compared. Calls alternate in one process; the best of several counts.

    python scripts/bench/convolutions.py [--threads 1] [--rounds 5] [--batch 10]
"""

import argparse
import time

import torch
from torch import Tensor

from asr.encoder import Conv2dSubsampling, EncoderConfig

FRAMES, BANDS = 1300, 40


class InTorchsLayout(Conv2dSubsampling):
    """The same, channels first."""

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Shape: (B, T, F), (B,) -> (B, T', D), (B,)."""
        *_, inputs, outputs = self.convolve(features.unsqueeze(1), lengths)
        hidden = self.out((inputs + outputs).transpose(1, 2).flatten(2))
        return self.dropout(hidden), self.output_lengths(lengths)


def seconds(
    layer: Conv2dSubsampling, features: Tensor, lengths: Tensor, training: bool, bfloat16: bool
) -> float:
    """Wall-clock time of one call, with its backward pass in training."""
    layer.train(training)
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16), torch.set_grad_enabled(training):
        outputs, _ = layer(features, lengths)
    if training:
        outputs.float().square().mean().backward()
    return time.perf_counter() - start


def main() -> None:
    """Compare outputs, then times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=10, help="utterances")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    config = EncoderConfig(conv_kind="conv2d", conv_channels=32)
    layers = [Conv2dSubsampling(BANDS, config), InTorchsLayout(BANDS, config)]
    layers[1].load_state_dict(layers[0].state_dict())
    features = torch.randn(options.batch, FRAMES, BANDS)
    lengths = FRAMES - 5 * torch.arange(options.batch)
    with torch.no_grad():
        ours, torchs = (layer.eval()(features, lengths)[0] for layer in layers)
    print(f"outputs within {(ours - torchs).abs().max():.1e}")
    for training in (True, False):
        for bfloat16 in (True, False):
            best = [float("inf")] * len(layers)
            for _ in range(options.rounds):
                for number, layer in enumerate(layers):
                    took = seconds(layer, features, lengths, training, bfloat16)
                    best[number] = min(best[number], took)
            print(
                f"{'training' if training else 'use':<10}{'bfloat16' if bfloat16 else 'float32':<10}"
                f"{1e3 * best[0]:8.1f} ms, torch's layout {1e3 * best[1]:8.1f} ms: "
                f"{best[1] / best[0]:.1f} x"
            )


if __name__ == "__main__":
    main()
