"""Whether bfloat16 pays is measured, and what was measured decides: advice, notes, presets. Where a
processor has none, what needs it is refused.
"""

from collections.abc import Callable

import pytest
import torch
from processor import needs_bfloat16

from asr import bfloat16
from asr.bundle import Bundle
from asr.doctor import examine
from asr.errors import UsageError
from asr.rnnlm_training import RnnLmOptions
from asr.training import adapt, hardware
from asr.training.engine_config import TrainerConfig
from asr.training.optim import orthogonalized
from asr.transcribe import Recognizer


def take(monkeypatch: pytest.MonkeyPatch, training: float, hearing: float) -> None:
    """A processor that is so much faster in bfloat16."""

    def speedup(*, training: bool, gains: tuple[float, float] = (hearing, training)) -> float:
        return gains[training]

    for module in (bfloat16, adapt, hardware):
        monkeypatch.setattr(module, "speedup", speedup)
    monkeypatch.setattr(bfloat16, "has_bfloat16", lambda: True)


def take_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor without bfloat16."""
    monkeypatch.setattr(bfloat16, "has_bfloat16", lambda: False)


@needs_bfloat16
@pytest.mark.parametrize("training", [False, True])
def test_the_best_tries_are_compared(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    float32, short = iter([9.0, 3.0, 4.0, 5.0]), iter([1.0, 1.5, 8.0, 2.0])
    real, seen = bfloat16._seconds, []

    def seconds(step, is_bfloat16: bool) -> float:  # type: ignore[no-untyped-def]
        seen.append(real(step, is_bfloat16))  # it runs as well
        return next(short if is_bfloat16 else float32)

    monkeypatch.setattr(bfloat16, "_seconds", seconds)
    assert bfloat16.speedup(training=training) == 3.0
    assert len(seen) == 8
    assert min(seen) > 0


def test_measuring_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    bfloat16.speedup(training=True)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(
    ("training", "hearing", "advice"),
    [
        (0.6, 0.8, ""),
        (1.0, 1.05, ""),
        (1.4, 0.8, "train with trainer.precision=bf16-mixed"),
        (0.9, 1.6, "transcribe with --precision bfloat16"),
        (1.4, 1.6, "train with trainer.precision=bf16-mixed, transcribe with --precision bfloat16"),
    ],
)
def test_the_doctor_advises_what_it_measured(
    training: float, hearing: float, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(monkeypatch, training, hearing)
    (processor,) = (check for check in examine() if check.name == "processor")
    assert f"bfloat16 is {training:.1f} times as fast as float32 in training" in processor.finding
    assert f"{hearing:.1f} times in transcribing" in processor.finding
    assert processor.advice == advice


def test_training_says_that_bfloat16_is_slow_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    short = TrainerConfig(precision="bf16-mixed")
    take(monkeypatch, 0.6, 0.8)
    note = hardware.slow_precision(short)
    assert note is not None
    assert "0.6 times as fast as float32" in note
    assert "trainer.precision=32-true" in note
    assert hardware.slow_precision(TrainerConfig()) is None
    take(monkeypatch, 1.4, 1.6)
    assert hardware.slow_precision(short) is None


def test_a_gpu_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    take(monkeypatch, 0.6, 0.8)
    assert hardware.slow_precision(TrainerConfig(precision="bf16-mixed")) is None


def test_adapt_trains_in_what_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    take(monkeypatch, 1.4, 1.0)
    assert adapt._trainer_preset("cpu") == "cpu-bf16"
    assert adapt._trainer_preset("cuda") == "gpu"
    take(monkeypatch, 0.6, 1.0)
    assert adapt._trainer_preset("cpu") == "auto"


@pytest.mark.parametrize(
    "ask",
    [
        lambda bundle: Recognizer(bundle, precision="bfloat16"),
        lambda _: hardware.check_hardware(TrainerConfig(accelerator="cpu", precision="bf16-mixed")),
        lambda _: RnnLmOptions(precision="bfloat16"),
    ],
)
def test_what_the_processor_lacks_is_refused(
    ask: Callable[[Bundle], object], tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_none(monkeypatch)
    with pytest.raises(UsageError, match="this processor has no bfloat16; take .*32"):
        ask(tiny_bundle)


def test_the_doctor_says_that_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    take_none(monkeypatch)
    assert bfloat16.speedup(training=True) == 0
    (processor,) = (check for check in examine() if check.name == "processor")
    assert "no bfloat16" in processor.finding
    assert not processor.advice
    assert adapt._trainer_preset("cpu") == "auto"


def test_an_lstm_that_fails_in_bfloat16_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("could not create a primitive descriptor")

    monkeypatch.setattr(torch.nn.LSTM, "forward", fails)
    assert not bfloat16.has_bfloat16.__wrapped__()


def test_muon_does_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr.training.optim.has_bfloat16", lambda: False)
    torch.manual_seed(0)
    matrices = torch.randn(4, 16, 24, dtype=torch.float64)
    values = torch.linalg.svdvals(orthogonalized(matrices))
    assert orthogonalized(matrices).dtype == torch.float64
    assert 0.6 < float(values.min()) < float(values.max()) < 1.3
