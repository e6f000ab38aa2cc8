"""Progress of long transfers for a person: on a terminal a line that is redrawn, else a line now and
then; and sizes and times as people write them."""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_REDRAW_S = 0.2
_LINE_EVERY_S = 30.0
_WINDOW_S = 10.0  # the rate shown is that of the last seconds


class Reporter:
    """Says what happens on `stream` (stderr unless given)."""

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._terminal = self._stream.isatty()
        self._drawn = False

    def say(self, message: str) -> None:
        """A line of its own."""
        self._clear()
        print(message, file=self._stream, flush=True)

    @contextmanager
    def task(self, name: str, total: int | None, done: int = 0) -> "Iterator[Task]":
        """Show progress of `total` bytes (None: unknown), of which `done` were there before."""
        task = Task(self, name, total, done, self._clock)
        try:
            yield task
        finally:
            self._clear()

    def show(self, line: str) -> None:
        """The present state of a task."""
        if not self._terminal:
            self.say(line)
            return
        print(f"\r\033[K{line}", end="", file=self._stream, flush=True)
        self._drawn = True

    @property
    def interval_s(self) -> float:
        """Seconds between two states of a task."""
        return _REDRAW_S if self._terminal else _LINE_EVERY_S

    def _clear(self) -> None:
        if self._drawn:
            print("\r\033[K", end="", file=self._stream, flush=True)
            self._drawn = False


class Task:
    """A transfer under way; several threads may advance it.

    Attributes:
        done: bytes done so far.
    """

    def __init__(
        self,
        reporter: Reporter,
        name: str,
        total: int | None,
        done: int,
        clock: Callable[[], float],
    ) -> None:
        self._reporter, self._name, self._total, self._clock = reporter, name, total, clock
        self.done = done
        self._lock = threading.Lock()
        self._history = deque([(clock(), done)])
        self._shown_at = clock()

    def advance(self, num_bytes: int) -> None:
        """`num_bytes` more are done; fewer than none when a part has to be done again."""
        with self._lock:
            self.done += num_bytes
            now = self._clock()
            if now - self._shown_at < self._reporter.interval_s:
                return
            self._shown_at = now
            self._history.append((now, self.done))
            while len(self._history) > 2 and now - self._history[1][0] >= _WINDOW_S:
                self._history.popleft()
            then, before = self._history[0]
            rate = max(0, self.done - before) / (now - then) if now > then else 0.0
            self._reporter.show(progress_line(self._name, self.done, self._total, rate))


def progress_line(name: str, done: int, total: int | None, bytes_per_s: float) -> str:
    """One line: share done, sizes, rate, time left.

    >>> progress_line("dev-clean.tar.gz", 84_000_000, 336_000_000, 12_600_000)
    'dev-clean.tar.gz  25 %  84.0 MB of 336.0 MB  12.6 MB/s  20 s left'
    """
    rate = f"{size_text(round(bytes_per_s))}/s"
    if total is None:
        return f"{name}  {size_text(done)}  {rate}"
    share = f"{100 * done // max(total, 1)} %"
    line = f"{name}  {share}  {size_text(done)} of {size_text(total)}  {rate}"
    return f"{line}  {time_text((total - done) / bytes_per_s)} left" if bytes_per_s > 0 else line


def size_text(num_bytes: int) -> str:
    """Decimal units, as disks and networks are sold: 332954390 -> '333.0 MB'."""
    for unit, factor, digits in (("GB", 10**9, 2), ("MB", 10**6, 1), ("kB", 10**3, 0)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.{digits}f} {unit}"
    return f"{num_bytes} bytes"


def time_text(seconds: float) -> str:
    """'45 s', '12 min', '1 h 22 min'."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
