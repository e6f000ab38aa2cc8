"""Many recordings -> many transcripts: dense batches across files, one file's failure its own.

Threads decode files and cut them into windows; windows of many files wait in a pool of bounded
size, and those of like length run through the recognizer as one batch; a file is finished, and
yielded, when its last window is. A three-hour recording and ten thousand clips take the same way.
"""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from asr.audio import AudioStream
from asr.codecs import AudioError, hash_file, reason_of
from asr.inputs import work_list
from asr.items import Item
from asr.listen import BATCH_S, POOL_S, BatchRecognizer, listen
from asr.pool import Piece, PoolClosed, WindowPool
from asr.segment import Part, join_parts, split_windows
from asr.transcript import Transcript


class Status(StrEnum):
    """What became of an input; `EMPTY` is audio in which no words were found."""

    OK = "ok"
    EMPTY = "empty"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Result:
    """The outcome for one input.

    Attributes:
        reason: why it failed or was skipped.
        notes: what was odd about audio that was transcribed all the same.
        content: hash of the file's bytes; '' if it could not be read, or without a lookup.
        transcribed_s: seconds of audio that went through the recognizer.
    """

    item: Item
    status: Status
    transcript: Transcript | None = None
    reason: str = ""
    notes: tuple[str, ...] = ()
    content: str = ""
    transcribed_s: float = 0.0


@dataclass(frozen=True)
class BatchOptions:
    """How to work.

    Attributes:
        jobs: threads that read and decode files.
        batch_s: audio in one batch, padding included, seconds.
        pool_s: decoded audio that waits at most, seconds; batches are chosen from it by length.
        workers: batches in the recognizer at once; with more than one, one batch's search runs
            beside another's network. Give the network fewer threads then.
    """

    jobs: int = 2
    batch_s: float = BATCH_S
    pool_s: float = POOL_S
    workers: int = 1


# Returns an earlier result for an item whose file has this content hash, or None.
Lookup = Callable[[Item, str], Result | None]


def transcribe_files(
    recognizer: BatchRecognizer,
    inputs: str | Path | Iterable[str | Path],
    options: BatchOptions | None = None,
) -> Iterator[Result]:
    """Transcribe files, folders, globs or manifests; results in input order, as they are ready."""
    named = [inputs] if isinstance(inputs, str | Path) else inputs
    items = work_list([str(one) for one in named])
    return in_order(items, transcribe_items(recognizer, items, options))


def in_order(items: Sequence[Item], results: Iterable[Result]) -> Iterator[Result]:
    """Reorder results to the order of their items, holding back only what is early."""
    waiting: dict[int, Result] = {}
    position = {id(item): index for index, item in enumerate(items)}
    due = 0
    for result in results:
        waiting[position[id(result.item)]] = result
        while due in waiting:
            yield waiting.pop(due)
            due += 1


def transcribe_items(
    recognizer: BatchRecognizer,
    items: Sequence[Item],
    options: BatchOptions | None = None,
    lookup: Lookup | None = None,
) -> Generator[Result, None, None]:
    """Transcribe every item; results come as they are finished, one for each item.

    No item's failure stops or changes another. Closing the iterator stops the work.

    Args:
        lookup: asked with each file's content hash before it is decoded; what it returns is the
            item's result.
    """
    return _Run(recognizer, items, options or BatchOptions(), lookup).results()


@dataclass
class _Progress:
    """An item under way: the parts it has, and its end once the reader has seen it."""

    item: Item
    content: str = ""
    parts: dict[int, Part] = field(default_factory=dict)
    num_parts: int | None = None
    num_samples: int = 0
    notes: tuple[str, ...] = ()


class _Run:
    """One call of `transcribe_items`: reader threads -> pool -> batches -> results."""

    def __init__(
        self,
        recognizer: BatchRecognizer,
        items: Sequence[Item],
        options: BatchOptions,
        lookup: Lookup | None,
    ) -> None:
        self._recognizer = recognizer
        self._rate = recognizer.sample_rate
        self._items = items
        self._options = options
        self._lookup = lookup
        self._pool = WindowPool(
            round(options.pool_s * self._rate), round(options.batch_s * self._rate)
        )
        self._todo = iter(range(len(items)))
        self._todo_lock = threading.Lock()
        self._under_way: dict[int, _Progress] = {}
        self._finished: list[Result] = []
        self._running = 0  # batches that the workers have or will have

    def results(self) -> Generator[Result, None, None]:
        threads = [
            threading.Thread(target=self._read_items, name=f"reader-{n}", daemon=True)
            for n in range(min(max(1, self._options.jobs), len(self._items)))
        ]
        workers = ThreadPoolExecutor(max(1, self._options.workers), "recognizer")
        self._pool.expect_readers(len(threads))
        for thread in threads:
            thread.start()
        try:
            while self._running or not self._pool.is_exhausted:
                hungry = self._running < 2 * self._options.workers  # while the pool fills
                pieces, events = self._pool.take(windows=hungry)
                for event in events:
                    event()
                yield from self._drain()
                live = [piece for piece in pieces if self._progress(piece.index) is not None]
                if live:
                    self._running += 1
                    workers.submit(self._work, live)
        finally:
            self._pool.close()
            workers.shutdown(cancel_futures=True)
            for thread in threads:
                thread.join(timeout=1.0)  # one that waits for a slow disk dies with the process

    def _drain(self) -> Iterator[Result]:
        finished, self._finished = self._finished, []
        yield from finished

    # --- in the reader threads ---------------------------------------------------------------

    def _read_items(self) -> None:
        with suppress(PoolClosed):
            try:
                while True:
                    with self._todo_lock:
                        index = next(self._todo, None)
                    if index is None:
                        break
                    self._read(index)
            finally:
                self._pool.reader_done()

    def _read(self, index: int) -> None:
        """Send an item's windows and then its end to the pool, or its failure."""
        item, content = self._items[index], ""
        try:
            if item.problem:
                raise AudioError(item.path, item.problem)
            if item.duplicate_of:
                result = Result(
                    item, Status.SKIPPED, reason=f"given twice; see {item.duplicate_of}"
                )
                self._send(lambda: self._finished.append(result))
                return
            content = hash_file(item.path) if self._lookup else ""
            earlier = self._lookup(item, content) if self._lookup else None
            if earlier is not None:
                self._send(lambda: self._finished.append(earlier))
                return
            self._stream(index, item, content)
        except PoolClosed:
            raise
        except AudioError as error:
            self._send_failure(index, error.reason, content)
        except Exception as error:  # a decoder's bug must not end the batch
            self._send_failure(index, f"{type(error).__name__}: {reason_of(error)}", content)

    def _stream(self, index: int, item: Item, content: str) -> None:
        number = num_samples = 0
        with AudioStream(
            item.path, self._rate,
            offset_s=item.offset_s, duration_s=item.duration_s, channel=item.channel,
        ) as stream:  # fmt: skip
            for window in split_windows(stream, self._rate):
                num_samples = window.start + len(window.waveform)
                self._pool.put(Piece(index, number, window))
                number += 1
            notes = stream.notes
        end = _Progress(item, content, {}, number, num_samples, notes)
        self._send(lambda: self._end(index, end))

    def _send(self, event: Callable[[], None]) -> None:
        self._pool.send(event)

    def _send_failure(self, index: int, reason: str, content: str) -> None:
        self._send(lambda: self._fail(index, reason, content))

    # --- in the recognizer threads -------------------------------------------------------------

    def _work(self, pieces: Sequence[Piece]) -> None:
        outcome = self._transcribe(pieces)
        with suppress(PoolClosed):
            self._send(lambda: self._add_all(outcome))

    def _transcribe(self, pieces: Sequence[Piece]) -> list[tuple[Piece, Transcript | str]]:
        """Each window's transcript, or why it has none."""
        try:
            transcripts = listen(self._recognizer, [piece.window.waveform for piece in pieces])
        except Exception as error:  # out of memory, or one bad waveform: halve until it is alone
            if len(pieces) > 1:
                middle = len(pieces) // 2
                return self._transcribe(pieces[:middle]) + self._transcribe(pieces[middle:])
            said = str(error).splitlines() or [""]
            return [(pieces[0], f"the recognizer failed: {type(error).__name__}: {said[0]}")]
        return list(zip(pieces, transcripts, strict=True))

    # --- in the caller's thread --------------------------------------------------------------

    def _end(self, index: int, end: _Progress) -> None:
        progress = self._progress(index)
        if progress is None:
            return
        progress.content, progress.notes = end.content, end.notes
        progress.num_parts, progress.num_samples = end.num_parts, end.num_samples
        self._finish_if_complete(index, progress)

    def _fail(self, index: int, reason: str, content: str = "") -> None:
        progress = self._progress(index)
        if progress is None:
            return
        item = self._items[index]
        content = content or progress.content
        self._finished.append(Result(item, Status.FAILED, reason=reason, content=content))
        self._under_way[index] = _FAILED

    def _progress(self, index: int) -> _Progress | None:
        """The item's progress; None once it has failed."""
        progress = self._under_way.setdefault(index, _Progress(self._items[index]))
        return None if progress is _FAILED else progress

    def _add_all(self, outcome: Sequence[tuple[Piece, Transcript | str]]) -> None:
        self._running -= 1
        for piece, heard in outcome:
            self._add(piece, heard)

    def _add(self, piece: Piece, heard: Transcript | str) -> None:
        progress = self._progress(piece.index)
        if progress is None:
            return
        if isinstance(heard, str):
            self._fail(piece.index, heard)
            return
        part = Part(piece.window.start, piece.window.overlap, heard)
        progress.parts[piece.number] = part
        self._finish_if_complete(piece.index, progress)

    def _finish_if_complete(self, index: int, progress: _Progress) -> None:
        if progress.num_parts is None or len(progress.parts) < progress.num_parts:
            return
        parts = [progress.parts[number] for number in range(progress.num_parts)]
        transcript = join_parts(parts, self._rate, progress.num_samples)
        status = Status.OK if transcript.text.strip() else Status.EMPTY
        self._finished.append(
            Result(
                progress.item, status, transcript, "", progress.notes, progress.content,
                transcript.duration_s,
            )
        )  # fmt: skip
        del self._under_way[index]


_FAILED = _Progress(Item(Path(), ""))
