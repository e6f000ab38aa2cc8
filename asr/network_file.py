"""A network as files of a bundle: its weights, and what config.json says of it."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError

from asr.encoder import EncoderConfig
from asr.errors import AsrError
from asr.features import FeatureConfig
from asr.model import AcousticModel, ModelConfig, network_of
from asr.quantize import save_weights, unpack_weights


class BundleError(AsrError):
    """A folder that is not a usable bundle; the message names the file and what is wrong with it."""


def network_files(bundle: Path) -> Iterator[Path]:
    """Where a bundle's networks are: the first, the second, and so on without end."""
    yield bundle / "model.safetensors"
    for number in itertools.count(2):
        yield bundle / f"network-{number}.safetensors"


def save_network(model: AcousticModel, path: Path, weights: str) -> str:
    """Write a network's weights, stored as `weights` says (`asr.quantize`); returns their hash."""
    save_weights(model, path, weights)
    return file_hash(path)


def load_network(path: Path, config: ModelConfig, expected_hash: str) -> AcousticModel:
    """A network in evaluation mode, on the CPU.

    Raises:
        BundleError: the file is missing, has another hash, or holds another network.
    """
    check_hash(path, expected_hash)
    try:
        return network_of(config, unpack_weights(safetensors.torch.load_file(path)))
    except (SafetensorError, RuntimeError, TypeError, ValueError) as error:
        raise BundleError(f"{path} does not fit config.json: {error}") from error


def front_and_encoder(config: ModelConfig) -> dict[str, Any]:
    """What config.json says of any network; of the first it says its speller too."""
    return {"features": asdict(config.features), "encoder": asdict(config.encoder)}


def network_config(
    values: Mapping[str, Any], vocab_size: int, num_phones: int, num_pieces: int = 0
) -> ModelConfig:
    """The network that config.json's `values` describe; KeyError, TypeError or AsrError if none."""
    return ModelConfig(
        vocab_size,
        FeatureConfig(**values["features"]),
        EncoderConfig(**values["encoder"]),
        num_phones,
        EncoderConfig(**values["speller"]) if "speller" in values else None,
        num_pieces,
    )


def check_hash(path: Path, expected: str) -> None:
    """BundleError where a file is missing or has another SHA-256."""
    if not path.is_file():
        raise BundleError(f"{path} is missing: copy the bundle again")
    if file_hash(path) != expected:
        raise BundleError(f"{path} is damaged (its SHA-256 is not the one in config.json)")


def file_hash(path: Path) -> str:
    """SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
