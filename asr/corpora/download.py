"""Files from the first server that has them, whole or not at all.

A download is FILE.part until its length and checksum are right. It goes on where it was broken off, in
several parts at once where the server allows it; a server that fails is asked again, then the next one
is. Nothing here decides to download: callers do, for a corpus that the user named.
"""

import errno
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from asr.corpora.fingerprint import Fingerprint
from asr.corpora.part_file import SPAN_BYTES, PartFile, Span
from asr.corpora.progress import Reporter, Task, size_text, time_text
from asr.corpora.transfer import (
    ChangedError,
    Patience,
    Remote,
    TransferError,
    look,
    read_span,
    read_whole,
)
from asr.errors import AsrError

_MAX_STARTS = 3  # of one file on one server, when what it sends changes or is wrong


class DownloadError(AsrError):
    """A file could not be had; the message says why, from each server, and what to do."""


class _MirrorError(Exception):
    """This server will not do."""


@dataclass(frozen=True)
class Transport:
    """How files are fetched.

    Attributes:
        connections: at once, where a server sends parts.
        span_bytes: what one request asks for.
    """

    patience: Patience = field(default_factory=Patience)
    connections: int = 4
    span_bytes: int = SPAN_BYTES


def download(
    urls: Sequence[str],
    target: Path,
    fingerprint: Fingerprint,
    transport: Transport,
    reporter: Reporter,
) -> None:
    """Fetch `target` from the first of `urls` that delivers what `fingerprint` says.

    Raises:
        DownloadError: no server did, or the file cannot be written. What has come is kept.
    """
    part = PartFile(target, transport.span_bytes)
    failures = []
    try:
        for url in urls:
            try:
                _Download(url, part, fingerprint, transport, reporter).run(target.name)
            except _MirrorError as error:
                failures.append(f"{url}: {error}")
                if len(failures) < len(urls):
                    reporter.say(f"{failures[-1]}; trying the next server")
                continue
            part.finish(target)
            return
    except OSError as error:
        raise _unwritable(part.path, error) from None
    finally:
        part.close()
    raise DownloadError(
        f"cannot download {target.name}: {'; '.join(failures)}. What has come is kept: the same "
        "command goes on with it later; --mirror URL (data.mirror in a recipe) names another server"
    )


def _unwritable(path: Path, error: OSError) -> DownloadError:
    full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    remedy = "make room" if full else "mend that"
    return DownloadError(
        f"cannot write {path}: {error.strerror or error}; {remedy} or choose another folder "
        "(--data-dir, data.data_dir in a recipe), then repeat the command: it goes on with what is "
        "there"
    )


class _Download:
    """One file from one server."""

    def __init__(
        self,
        url: str,
        part: PartFile,
        fingerprint: Fingerprint,
        transport: Transport,
        reporter: Reporter,
    ) -> None:
        self._url, self._part, self._fingerprint = url, part, fingerprint
        self._transport, self._reporter = transport, reporter
        self._patience = transport.patience
        self._stop = threading.Event()

    def run(self, name: str) -> None:
        """Fill the part file with what the fingerprint says. Raises _MirrorError, OSError."""
        for _ in range(_MAX_STARTS):
            self._stop.clear()
            remote = self._look()
            kept = self._part.open(remote, self._fingerprint.has_checksum)
            if kept:
                self._reporter.say(f"{name}: going on after {size_text(kept)}")
            try:
                self._fetch(name, remote, kept)
            except ChangedError:
                problem = "the file has changed on the server"
            else:
                self._part.close()
                found = self._fingerprint.mismatch(self._part.path, self._reporter)
                if found is None:
                    return
                problem = f"what came is wrong: {found}"
                if not kept:
                    self._part.discard()
                    raise _MirrorError(problem)
            self._part.discard()
            self._reporter.say(f"{name}: {problem}; starting over")
        raise _MirrorError("the file keeps changing on the server")

    def _look(self) -> Remote:
        failures = 0
        while True:
            try:
                remote = look(self._url, self._patience)
            except TransferError as error:
                failures += 1
                self._pause(error, failures)
                continue
            if remote.length is not None:
                problem = self._fingerprint.wrong_length(remote.length)
                if problem is not None:
                    raise _MirrorError(f"is another file: {problem}")
            return remote

    def _fetch(self, name: str, remote: Remote, kept: int) -> None:
        started = time.monotonic()
        with self._reporter.task(name, remote.length, kept) as task:
            if remote.ranges and remote.length is not None:
                self._fetch_spans(remote, task)
            else:
                self._fetch_whole(remote, task)
        seconds = max(time.monotonic() - started, 1e-3)
        if came := task.done - kept:
            rate = size_text(round(came / seconds))
            self._reporter.say(f"{name}: {size_text(came)} in {time_text(seconds)} ({rate}/s)")

    def _fetch_whole(self, remote: Remote, task: Task) -> None:
        """From a server that sends no parts: each try begins at the beginning."""
        failures = 0
        while True:
            received = 0
            try:
                for block in read_whole(remote, self._patience):
                    self._part.append(received, block)
                    received += len(block)
                    task.advance(len(block))
                    if self._fingerprint.is_exceeded(received):
                        self._part.discard()
                        raise _MirrorError("the server sends more than the file has")
                return
            except TransferError as error:
                failures += 1
                task.advance(-received)
                self._pause(error, failures)

    def _fetch_spans(self, remote: Remote, task: Task) -> None:
        """In several parts at once; the first failure ends them all."""
        workers = _Workers(self._part.spans(), self._transport.connections)
        with ThreadPoolExecutor(workers.count) as pool:
            futures = [pool.submit(self._work, remote, workers, task) for _ in range(workers.count)]
            try:
                for future in futures:
                    future.result()
            finally:
                self._stop.set()

    def _work(self, remote: Remote, workers: "_Workers", task: Task) -> None:
        """Fetch spans until none is left. A server that refuses this many connections loses one."""
        try:
            while (span := workers.take()) is not None and not self._stop.is_set():
                try:
                    self._fetch_span(remote, span, task)
                except _MirrorError:
                    if not workers.give_back(span):
                        raise
                    return
        except BaseException:
            self._stop.set()
            raise

    def _fetch_span(self, remote: Remote, span: Span, task: Task) -> None:
        failures = 0
        while (start := span.start + self._part.have(span)) < span.stop:
            try:
                for block in read_span(remote, start, span.stop, self._patience):
                    if self._stop.is_set():
                        return
                    self._part.add(span, block)
                    task.advance(len(block))
            except TransferError as error:
                moved = span.start + self._part.have(span) > start
                failures = 1 if moved else failures + 1
                self._pause(error, failures)
            if self._stop.is_set():
                return

    def _pause(self, error: TransferError, failures: int) -> None:
        """Wait before the next try, or raise _MirrorError when there have been enough."""
        if not error.again or failures >= self._patience.tries:
            raise _MirrorError(str(error))
        self._stop.wait(self._patience.before_try(failures, error.wait_s))


class _Workers:
    """Spans to fetch, and how many connections are at it."""

    def __init__(self, spans: Sequence[Span], connections: int) -> None:
        self.count = max(1, min(connections, len(spans)))
        self._waiting = deque(spans)
        self._busy = self.count
        self._lock = threading.Lock()

    def take(self) -> Span | None:
        """The next span; None when all are taken, and this connection is done."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._busy -= 1
            return None

    def give_back(self, span: Span) -> bool:
        """Leave a span to the other connections; False if this one is the last."""
        with self._lock:
            if self._busy == 1:
                return False
            self._busy -= 1
            self._waiting.append(span)
            return True
