"""Whether this machine has what `trainer` asks for, said before any work is done."""

import torch

from asr.bfloat16 import WORTHWHILE, check_bfloat16, speedup
from asr.errors import UsageError
from asr.training.engine_config import TrainerConfig

_ACCELERATORS = ("auto", "cpu", "gpu", "cuda")


def accelerator(config: TrainerConfig) -> str:
    """What Lightning is told: on a Mac "auto" is its CPU, because torch has no CTC loss for its GPU."""
    if config.accelerator == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return config.accelerator


def check_hardware(config: TrainerConfig) -> None:
    """Refuse a device that is not there, and a precision that it cannot train in.

    Raises:
        UsageError: names the key and what to set instead.
    """
    if config.accelerator == "mps":
        raise UsageError(
            "trainer.accelerator=mps: torch has no CTC loss for Apple's GPUs; take "
            "trainer.accelerator=cpu"
        )
    if config.accelerator not in _ACCELERATORS:
        raise UsageError(
            f"trainer.accelerator must be one of {', '.join(_ACCELERATORS)}, "
            f"not {config.accelerator!r}"
        )
    on_gpu = config.accelerator != "cpu" and torch.cuda.is_available()
    if not on_gpu and config.accelerator not in ("auto", "cpu"):
        raise UsageError(
            f"trainer.accelerator={config.accelerator}, but torch finds no such device on this "
            "machine: take trainer.accelerator=cpu, or see what `asr doctor` says"
        )
    if on_gpu and config.devices > torch.cuda.device_count():
        raise UsageError(
            f"trainer.devices={config.devices}, but this machine has {torch.cuda.device_count()} "
            "of them; devices=-1 takes all"
        )
    if config.precision == "16-mixed" and not on_gpu:
        raise UsageError(
            "trainer.precision=16-mixed needs a GPU: on a CPU take 32-true, or bf16-mixed where "
            "`asr doctor` finds it faster"
        )
    if config.precision == "bf16-mixed" and not on_gpu:
        check_bfloat16("trainer.precision=bf16-mixed", "trainer.precision=32-true")


def slow_precision(config: TrainerConfig) -> str | None:
    """What to tell someone whose CPU trains faster without the bfloat16 that was asked for."""
    if config.precision != "bf16-mixed" or accelerator(config) != "cpu":
        return None
    gain = speedup(training=True)
    if gain > 1 / WORTHWHILE:
        return None
    return (
        f"note: bfloat16 is {gain:.1f} times as fast as float32 in training on this processor: "
        "trainer.precision=32-true would be faster"
    )
