"""A device that is not there, or cannot do what is asked, is refused in one line."""

import pytest
import torch

from asr.errors import UsageError
from asr.training.engine_config import TrainerConfig
from asr.training.hardware import accelerator, check_hardware


def pretend(monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    """A machine with `gpus` GPUs of NVIDIA's."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accelerator": "gpu"}, "trainer.accelerator=gpu, but torch finds no such device"),
        ({"accelerator": "mps"}, "take trainer.accelerator=cpu"),
        ({"accelerator": "abacus"}, "must be one of auto, cpu, gpu, cuda, not 'abacus'"),
        ({"precision": "16-mixed"}, "16-mixed needs a GPU: on a CPU take 32-true"),
        ({"accelerator": "cpu", "precision": "16-mixed"}, "16-mixed needs a GPU"),
    ],
)
def test_a_machine_without_a_gpu(
    settings: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, gpus=0)
    with pytest.raises(UsageError) as error:
        check_hardware(TrainerConfig(**settings))  # type: ignore[arg-type]
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_gpu_of_a_mac_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch has no CTC loss for it: "auto" is the CPU there."""
    pretend(monkeypatch, gpus=0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    check_hardware(TrainerConfig())
    assert accelerator(TrainerConfig()) == "cpu"
    with pytest.raises(UsageError, match="torch finds no such device"):
        check_hardware(TrainerConfig(accelerator="gpu"))
    pretend(monkeypatch, gpus=1)
    assert accelerator(TrainerConfig()) == "cuda"
    assert accelerator(TrainerConfig(accelerator="cpu")) == "cpu"


def test_what_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, gpus=0)
    monkeypatch.setattr("asr.bfloat16.has_bfloat16", lambda: True)
    check_hardware(TrainerConfig(precision="bf16-mixed"))
    check_hardware(TrainerConfig(accelerator="cpu", devices=2))
    pretend(monkeypatch, gpus=2)
    check_hardware(TrainerConfig(accelerator="gpu", devices=2, precision="16-mixed"))
    check_hardware(TrainerConfig(accelerator="gpu", devices=-1))
    with pytest.raises(UsageError, match=r"devices=3, but this machine has 2 of them"):
        check_hardware(TrainerConfig(accelerator="gpu", devices=3))
    with pytest.raises(UsageError, match="16-mixed needs a GPU"):
        check_hardware(TrainerConfig(accelerator="cpu", precision="16-mixed"))


def test_a_misspelt_precision_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="must be one of 32-true, bf16-mixed, 16-mixed"):
        TrainerConfig(precision="bf16")
