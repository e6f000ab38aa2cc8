"""Eight-bit weights: to compute with on a CPU, and to store a model in a quarter of the space.

Both round a weight to 255 steps. Arithmetic is torch's dynamic quantisation: integers multiply, and
the activations are rounded too, to 256 steps between the extremes of a batch. So int8 is the one
precision in which words can change with what else is in the batch, though not how many are wrong
(`scripts/bench/RESULTS.md`). Stored weights have no such effect: they are computed with as floats.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from asr.errors import UsageError
from asr.model import AcousticModel

STORED = ("float32", "float16", "int8")
_SCALE = ".scale"
_LARGEST = 127


def int8_network(model: AcousticModel) -> nn.Module:
    """A copy of `model` for the CPU whose LSTM and linear layers multiply in eight bits."""
    with warnings.catch_warnings():
        # torchao, which torch points to instead, has no LSTM; our torch is pinned to one version.
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch.ao.quantization import quantize_dynamic

        network: nn.Module = quantize_dynamic(  # type: ignore[no-untyped-call]
            model, {nn.LSTM, nn.Linear}, dtype=torch.qint8
        )
    return network


def pack_weights(weights: Mapping[str, Tensor], stored: str) -> dict[str, Tensor]:
    """Weights as they are stored: "float32", "float16", or "int8".

    In int8 a matrix becomes its rows in steps of a 127th of each row's largest value, and a float32
    NAME.scale that holds the steps; vectors (biases, norms) stay float32.

    Raises:
        UsageError: another name.
    """
    if stored not in STORED:
        raise UsageError(f"weights are stored as {', '.join(STORED)}, not {stored!r}")
    packed = {}
    for name, tensor in weights.items():
        if stored == "int8" and tensor.dim() > 1:
            scale = tensor.abs().amax(dim=tuple(range(1, tensor.dim())), keepdim=True) / _LARGEST
            steps = tensor / scale.clamp(min=torch.finfo(torch.float32).tiny)
            packed[name] = steps.round().to(torch.int8)
            packed[name + _SCALE] = scale
        else:
            packed[name] = tensor.half() if stored == "float16" else tensor
    return packed


def save_weights(
    network: nn.Module, path: Path, stored: str, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a network's weights, packed, to a safetensors file. Raises OSError.

    (safetensors' own writing has another error for a full disk, and hides the file from other users.)
    """
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }
    packed = pack_weights(weights, stored)
    path.write_bytes(safetensors.torch.save(packed, dict(metadata) if metadata else None))


def unpack_weights(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """float32 weights from what `pack_weights` made."""
    return {
        name: tensor.float() * packed[name + _SCALE] if name + _SCALE in packed else tensor.float()
        for name, tensor in packed.items()
        if not name.endswith(_SCALE)
    }
