"""Whether this machine has what `trainer` asks for, said before any work is done."""

import torch

from asr.errors import UsageError
from asr.training.engine_config import TrainerConfig

_ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")


def check_hardware(config: TrainerConfig) -> None:
    """Refuse a device that is not there, and a precision that it cannot train in.

    Raises:
        UsageError: names the key and what to set instead.
    """
    if config.accelerator not in _ACCELERATORS:
        raise UsageError(
            f"trainer.accelerator must be one of {', '.join(_ACCELERATORS)}, "
            f"not {config.accelerator!r}"
        )
    on_gpu = _has_gpu(config.accelerator)
    if not on_gpu and config.accelerator not in ("auto", "cpu"):
        raise UsageError(
            f"trainer.accelerator={config.accelerator}, but torch finds no such device on this "
            "machine: take trainer.accelerator=cpu, or see what `asr doctor` says"
        )
    if on_gpu and torch.cuda.is_available() and config.devices > torch.cuda.device_count():
        raise UsageError(
            f"trainer.devices={config.devices}, but this machine has {torch.cuda.device_count()} "
            "of them; devices=-1 takes all"
        )
    if config.precision == "16-mixed" and not on_gpu:
        raise UsageError(
            "trainer.precision=16-mixed needs a GPU: on a CPU take bf16-mixed (fast with "
            "AVX512-BF16 or AMX; `asr doctor` says) or 32-true"
        )


def _has_gpu(accelerator: str) -> bool:
    """Whether `accelerator` comes down to a GPU here."""
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    return {"cuda": cuda, "mps": mps, "gpu": cuda or mps, "auto": cuda or mps}.get(
        accelerator, False
    )
