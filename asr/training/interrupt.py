"""Ctrl-C during training ends the run between two batches, never inside a step."""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback


class InterruptBetweenBatches(Callback):
    """The first SIGINT becomes KeyboardInterrupt once the batch at hand is done, the second at once.

    `LastCheckpoint` raises it, when it has saved: after a batch, or where an epoch ends after its
    validation.
    Python raises KeyboardInterrupt wherever the process happens to be. Where that is below C++ that
    called Python (autograd, the writer of a checkpoint) and may not throw, the process aborts.
    Worker processes inherit the handler: the Ctrl-C that the terminal sends to all of them does not
    look like a worker that died.
    """

    def __init__(self) -> None:
        self.asked = False
        self._process = os.getpid()
        self._before: Any = None

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        """Take over SIGINT, unless it is ignored (`nohup`, a script's background job).

        Threads other than the main one cannot, and are not sent it.
        """
        ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        if not ignored and threading.current_thread() is threading.main_thread():
            self._process = os.getpid()
            self._before = signal.signal(signal.SIGINT, self._note)

    def on_fit_end(self, trainer: Any, module: Any) -> None:
        """Give SIGINT back."""
        self._give_back()

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        """Give SIGINT back, but for Lightning's clean-up after a KeyboardInterrupt, which ignores it."""
        if not isinstance(exception, KeyboardInterrupt):
            self._give_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a worker ends with the process that it works for
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        message = "stopping after this batch, or this validation; Ctrl-C again stops at once"
        print(message, file=sys.stderr, flush=True)

    def _give_back(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None


def interrupt_asked(trainer: lightning.Trainer) -> bool:
    """Whether Ctrl-C was pressed since training began."""
    return any(
        isinstance(callback, InterruptBetweenBatches) and callback.asked
        for callback in trainer.callbacks  # type: ignore[attr-defined]  # set by its connector
    )
