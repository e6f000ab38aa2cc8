"""How long audio files are, many at a time, from their headers alone."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from asr.audio import AudioError, probe
from asr.corpora.listing import Problem, Reason
from asr.parallel import parallel_map

_SHOW_EVERY = 100

Progress = Callable[[int, int], None]


def probe_all(
    paths: Sequence[Path], progress: Progress | None = None
) -> Iterator[tuple[Path, float | Problem]]:
    """Each path with its seconds of audio, or with what is wrong with it, in the order given.

    Args:
        progress: called now and then with the number done and the number of all.
    """
    found = parallel_map(_duration, paths)
    for done, (path, duration) in enumerate(zip(paths, found, strict=True), start=1):
        yield path, duration
        if progress and (done % _SHOW_EVERY == 0 or done == len(paths)):
            progress(done, len(paths))


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
