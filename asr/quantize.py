"""Eight-bit weights: to compute with on a CPU, and to store a model in a quarter of the space or less.

Both round a weight to 255 steps, or to 127 when stored as int7. Arithmetic is torch's dynamic
quantisation: integers multiply, and the activations are rounded too, to 256 steps between the
extremes of a batch. So int8 is the one precision in which words can change with what else is in the
batch, though not how many are wrong (`scripts/bench/RESULTS.md`). Stored weights have no such effect:
they are computed with as floats.
"""

import math
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from asr.errors import UsageError
from asr.model import AcousticModel

_LARGEST = {"int8": 127, "int7": 63}
STORED = ("float32", "float16", *_LARGEST)
_SCALE, _SHAPE = ".scale", ".shape"


def int8_network(model: AcousticModel) -> AcousticModel:
    """A copy of `model` for the CPU whose LSTM and linear layers multiply in eight bits."""
    with warnings.catch_warnings():
        # torchao, which torch points to instead, has no LSTM; our torch is pinned to one version.
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch.ao.quantization import quantize_dynamic

        network: AcousticModel = quantize_dynamic(  # type: ignore[no-untyped-call]
            model, {nn.LSTM, nn.Linear}, dtype=torch.qint8
        )
    return network


def pack_weights(weights: Mapping[str, Tensor], stored: str) -> dict[str, Tensor]:
    """Weights as they are stored: "float32", "float16", "int8" or "int7".

    In int8 a matrix becomes its rows in steps of a 127th of each row's largest value, and a float32
    NAME.scale that holds the steps; vectors (biases, norms) stay float32. In int7 it is a 63rd, and
    the steps are bytes of a Huffman code (deflate, RFC 1951, without matches) with their NAME.shape
    beside them: most weights are small, which takes 6.2 bits of a weight.

    Raises:
        UsageError: another name.
    """
    if stored not in STORED:
        raise UsageError(f"weights are stored as {', '.join(STORED)}, not {stored!r}")
    packed = {}
    for name, tensor in weights.items():
        if stored in _LARGEST and tensor.dim() > 1:
            largest = tensor.abs().amax(dim=tuple(range(1, tensor.dim())), keepdim=True)
            scale = largest / _LARGEST[stored]
            steps = tensor / scale.clamp(min=torch.finfo(torch.float32).tiny)
            packed[name] = steps.round().to(torch.int8)
            packed[name + _SCALE] = scale
            if stored == "int7":
                packed[name + _SHAPE] = torch.tensor(tensor.shape)
                packed[name] = _deflated(packed[name])
        else:
            packed[name] = tensor.half() if stored == "float16" else tensor
    return packed


def _deflated(steps: Tensor) -> Tensor:
    coder = zlib.compressobj(9, wbits=-zlib.MAX_WBITS, strategy=zlib.Z_HUFFMAN_ONLY)
    content = coder.compress(steps.numpy().tobytes()) + coder.flush()
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _inflated(content: Tensor, shape: list[int]) -> Tensor:
    """Raises ValueError."""
    size = math.prod(shape)
    coder = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        steps = coder.decompress(content.numpy().tobytes(), size + 1)
    except zlib.error as error:
        raise ValueError(f"weights cannot be inflated: {error}") from None
    if len(steps) != size:
        raise ValueError(f"{len(steps)} weights for a shape of {shape}")
    return torch.frombuffer(bytearray(steps), dtype=torch.int8).view(shape)


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
    """float32 weights from what `pack_weights` made. Raises ValueError."""
    unpacked = {}
    for name, tensor in packed.items():
        if name.endswith((_SCALE, _SHAPE)):
            continue
        if name + _SHAPE in packed:
            tensor = _inflated(tensor, packed[name + _SHAPE].tolist())
        scale = packed.get(name + _SCALE)
        unpacked[name] = tensor.float() if scale is None else tensor.float() * scale
    return unpacked
