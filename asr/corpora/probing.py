"""How long audio files are, many at a time, from their headers alone."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from asr.audio import AudioError, probe
from asr.corpora.listing import Problem, Reason

_BATCH = 4_096  # files handed to the threads at a time, so that a million do not queue up

Progress = Callable[[int, int], None]


def probe_all(
    paths: Sequence[Path], progress: Progress | None = None
) -> Iterator[tuple[Path, float | Problem]]:
    """Each path with its seconds of audio, or with what is wrong with it, in the order given.

    Args:
        progress: called with the number done and the number of all.
    """
    done = 0
    with ThreadPoolExecutor() as pool:
        for batch in _batches(paths):
            for path, found in zip(batch, pool.map(_duration, batch), strict=True):
                yield path, found
            done += len(batch)
            if progress:
                progress(done, len(paths))


def _batches(paths: Iterable[Path]) -> Iterator[list[Path]]:
    rest = iter(paths)
    while batch := list(itertools.islice(rest, _BATCH)):
        yield batch


def _duration(path: Path) -> float | Problem:
    try:
        duration_s = probe(path).duration_s
    except AudioError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return Problem(Reason.NO_AUDIO, str(path), error.reason)
        is_empty = error.reason.startswith("zero length")
        reason = Reason.EMPTY_AUDIO if is_empty else Reason.UNREADABLE
        return Problem(reason, str(path), error.reason)
    return duration_s if duration_s > 0 else Problem(Reason.EMPTY_AUDIO, str(path), "has no audio")
