"""The pool of decoded windows between the threads that read files and the one that transcribes.

Readers wait while the pool is full, so memory stays bounded however fast the disks are. The pool
stays nearly full while they read, so that a batch is chosen among many windows and has little padding.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

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

    Args:
        max_samples: in all windows that wait.
        batch_samples: in a batch, padding included; a window longer than that is a batch alone.
    """

    def __init__(self, max_samples: int, batch_samples: int) -> None:
        self._max_samples = max_samples
        self._batch_samples = batch_samples
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
            if self._is_choice():
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
        """Wait for work. All events; and one batch of windows, once there is a choice or no more come.

        Args:
            windows: False leaves them, and waits for events alone.
        """
        with self._work:
            while not self._events and not (windows and self._is_choice()):
                self._work.wait()
            events, self._events = self._events, []
            batch: list[Piece] = []
            if windows and self._is_choice():
                choose = densest_batch if self._readers else longest_batch
                batch = choose(self._pieces, self._batch_samples)
                taken = {id(piece) for piece in batch}
                self._pieces = [piece for piece in self._pieces if id(piece) not in taken]
                self._held -= sum(len(piece.window.waveform) for piece in batch)
                self._waiting = 0
                self._room.notify_all()
            return batch, events

    def _is_choice(self) -> bool:
        """Half full, a reader is waiting for room, or no more will come."""
        return bool(self._pieces) and (
            not self._readers or bool(self._waiting) or 2 * self._held >= self._max_samples
        )

    def close(self) -> None:
        """Stop the readers."""
        with self._room:
            self._closed = True
            self._room.notify_all()


def densest_batch(pieces: Sequence[Piece], max_samples: int) -> list[Piece]:
    """The first of `pieces` and those next to it in length that make the cheapest batch with it.

    A batch of n rows costs as much as n + 1 times its longest, which is what the network's time is
    (measured: `scripts/bench/RESULTS.md`); the cheapest has the most speech for that. Rows times
    longest are at most `max_samples`, but for a piece that is longer alone.
    """
    order = sorted(range(len(pieces)), key=lambda place: -len(pieces[place].window.waveform))
    lengths = [len(pieces[place].window.waveform) for place in order]
    sums = [0, *accumulate(lengths)]
    must = order.index(0)
    best, most = (must, must + 1), -1.0
    for first in range(must, -1, -1):
        end = min(first + max(1, max_samples // max(1, lengths[first])), len(order))
        if end <= must:
            break
        speech = (sums[end] - sums[first]) / ((end - first + 1) * max(1, lengths[first]))
        if speech > most:
            best, most = (first, end), speech
    return [pieces[place] for place in order[slice(*best)]]


def longest_batch(pieces: Sequence[Piece], max_samples: int) -> list[Piece]:
    """The longest, as many as keep rows * longest <= max_samples: all in turn make dense batches."""
    order = sorted(pieces, key=lambda piece: -len(piece.window.waveform))
    return order[: max(1, max_samples // max(1, len(order[0].window.waveform)))]


def dense_batches(pieces: Sequence[Piece], max_samples: int) -> Iterator[list[Piece]]:
    """All pieces by falling length, in batches of rows * longest <= max_samples."""
    left = sorted(pieces, key=lambda piece: -len(piece.window.waveform))
    while left:
        batch = longest_batch(left, max_samples)
        yield batch
        left = left[len(batch) :]


def _nothing() -> None:
    pass
