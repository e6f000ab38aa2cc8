"""Ctrl-C during training: noted, raised at once when pressed again, given back after."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from asr.training.interrupt import InterruptBetweenBatches


@pytest.fixture(autouse=True)
def handler() -> Iterator[Any]:
    """SIGINT as a shell in the foreground leaves it; put back after the test."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_it_waits_for_the_end_of_the_batch(capsys: pytest.CaptureFixture[str]) -> None:
    interrupt = InterruptBetweenBatches()
    interrupt.on_fit_start(None, None)
    signal.raise_signal(signal.SIGINT)
    assert "Ctrl-C again stops at once" in capsys.readouterr().err
    assert interrupt.asked


def test_the_second_one_does_not_wait() -> None:
    interrupt = InterruptBetweenBatches()
    interrupt.on_fit_start(None, None)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_training_gives_it_back(handler: Any) -> None:
    interrupt = InterruptBetweenBatches()
    interrupt.on_fit_start(None, None)
    assert signal.getsignal(signal.SIGINT) != handler
    interrupt.on_fit_end(None, None)
    assert signal.getsignal(signal.SIGINT) == handler
    interrupt.on_fit_start(None, None)
    interrupt.on_exception(None, None, RuntimeError())
    assert signal.getsignal(signal.SIGINT) == handler


def test_what_ignores_it_goes_on_ignoring_it() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    InterruptBetweenBatches().on_fit_start(None, None)
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
