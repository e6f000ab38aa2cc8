"""The pool of decoded windows between the threads that read files and the one that transcribes.

Readers wait while the pool is full, so memory stays bounded however fast the disks are.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from asr.segment import Window


class PoolClosed(Exception):  # noqa: N818 - a signal between threads, not an error
    """Raised in a reader when the run has been stopped."""


@dataclass(frozen=True)
class Piece:
    """Window `number` of the item at `index` of the work list."""

    index: int
    number: int
    window: Window


class WindowPool:
    """Windows and events (calls to make in the consumer's thread, in the order sent).

    An event that a reader sends after a window is never taken before that window. Readers wait for
    room and the consumer for work, each under a condition of its own: none wakes for nothing.
    """

    def __init__(self, max_samples: int) -> None:
        self._max_samples = max_samples
        lock = threading.Lock()
        self._room, self._work = threading.Condition(lock), threading.Condition(lock)
        self._pieces: list[Piece] = []
        self._events: list[Callable[[], None]] = []
        self._held = 0
        self._readers = 0
        self._waiting = 0
        self._closed = False

    def expect_readers(self, number: int) -> None:
        """Say how many readers will call `reader_done`."""
        self._readers = number

    def put(self, piece: Piece) -> None:
        """Add a window; waits while the pool is full. Raises PoolClosed."""
        size = len(piece.window.waveform)
        with self._room:
            while not self._closed and self._pieces and self._held + size > self._max_samples:
                self._waiting += 1
                self._work.notify()
                self._room.wait()
            if self._closed:
                raise PoolClosed
            self._pieces.append(piece)
            self._held += size
            if self._worth_a_batch():
                self._work.notify()

    def send(self, event: Callable[[], None]) -> None:
        """Add an event. Raises PoolClosed."""
        with self._work:
            if self._closed:
                raise PoolClosed
            self._events.append(event)
            self._work.notify()

    def reader_done(self) -> None:
        """A reader has nothing more to add; an event, so that the consumer looks whether all is done."""
        with self._work:
            self._readers -= 1
            self._events.append(_nothing)
            self._work.notify()

    @property
    def is_exhausted(self) -> bool:
        """Whether the readers are done and all they sent has been taken."""
        with self._work:
            return not (self._readers or self._pieces or self._events)

    def take(self, *, windows: bool = True) -> tuple[list[Piece], list[Callable[[], None]]]:
        """Wait for work. All events; and all windows, once they are worth a batch or no more will come.

        Args:
            windows: False leaves them, and waits for events alone.
        """
        with self._work:
            while not self._events and not (windows and self._worth_a_batch()):
                self._work.wait()
            events, self._events = self._events, []
            pieces: list[Piece] = []
            if windows and self._worth_a_batch():
                pieces, self._pieces, self._held = self._pieces, [], 0
                self._waiting = 0
                self._room.notify_all()
            return pieces, events

    def _worth_a_batch(self) -> bool:
        """Half full, a reader is waiting for room, or no more will come."""
        return bool(self._pieces) and (
            not self._readers or bool(self._waiting) or 2 * self._held >= self._max_samples
        )

    def close(self) -> None:
        """Stop the readers."""
        with self._room:
            self._closed = True
            self._room.notify_all()


def _nothing() -> None:
    pass
