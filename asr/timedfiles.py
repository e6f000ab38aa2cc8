"""Timed texts of the NIST tools: ctm (a word a line) and stm (a segment a line).

ctm:  ``file channel start duration word [confidence]``
stm:  ``file channel speaker start end [<labels>] text``

Comments begin with ``;;``. A segment ``IGNORE_TIME_SEGMENT_IN_SCORING`` is not scored.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.facts import UtteranceFacts
from asr.textfiles import TextFileError, Texts, read_lines

_IGNORED = "IGNORE_TIME_SEGMENT_IN_SCORING"
_LABELS = re.compile(r"^<[^>]*>\s*")


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word of a ctm file; times in seconds."""

    recording: str
    channel: str
    start_s: float
    duration_s: float
    text: str
    confidence: float | None

    @property
    def middle_s(self) -> float:
        return self.start_s + self.duration_s / 2


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of an stm file; times in seconds."""

    recording: str
    channel: str
    speaker: str
    start_s: float
    end_s: float
    text: str

    @property
    def utterance_id(self) -> str:
        return f"{self.recording}-{self.channel}-{self.start_s:.3f}-{self.end_s:.3f}"

    @property
    def is_ignored(self) -> bool:
        return self.text.upper() == _IGNORED


def read_ctm(path: Path | str, encoding: str = "utf-8") -> list[TimedWord]:
    """The words of a ctm file in order of time. Raises TextFileError with the line."""
    path = Path(path)
    words: list[TimedWord] = []
    for number, line in enumerate(read_lines(path, encoding), start=1):
        if not line.strip() or line.startswith(";;"):
            continue
        cells = line.split()
        if len(cells) < 5:
            raise TextFileError(
                f"{path}:{number}: a ctm line is 'file channel start duration word [confidence]'"
            )
        start_s, duration_s = (_seconds(cell, path, number) for cell in cells[2:4])
        confidence = _seconds(cells[5], path, number) if len(cells) > 5 else None
        words.append(TimedWord(cells[0], cells[1], start_s, duration_s, cells[4], confidence))
    return sorted(words, key=lambda word: (word.recording, word.channel, word.start_s))


def read_stm(path: Path | str, encoding: str = "utf-8") -> list[Segment]:
    """The segments of an stm file, ignored ones too. Raises TextFileError with the line."""
    path = Path(path)
    segments: list[Segment] = []
    for number, line in enumerate(read_lines(path, encoding), start=1):
        if not line.strip() or line.startswith(";;"):
            continue
        cells = line.split(maxsplit=5)
        if len(cells) < 5:
            raise TextFileError(
                f"{path}:{number}: an stm line is 'file channel speaker start end [<labels>] text'"
            )
        start_s, end_s = (_seconds(cell, path, number) for cell in cells[3:5])
        text = _LABELS.sub("", cells[5]) if len(cells) > 5 else ""
        segments.append(Segment(cells[0], cells[1], cells[2], start_s, end_s, text.strip()))
    if not segments:
        raise TextFileError(f"{path} has no segments")
    return segments


def segments_to_texts(path: Path, segments: Sequence[Segment]) -> Texts:
    """An utterance for each segment that is scored."""
    scored = {one.utterance_id: one for one in segments if not one.is_ignored}
    return Texts(
        path,
        "stm",
        {name: one.text for name, one in scored.items()},
        {name: one.speaker for name, one in scored.items()},
        {name: UtteranceFacts(duration_s=one.end_s - one.start_s) for name, one in scored.items()},
    )


def recordings_to_texts(path: Path, words: Sequence[TimedWord]) -> Texts:
    """An utterance for each recording: what a ctm file is against references without times."""
    grouped: dict[str, list[TimedWord]] = {}
    for word in words:
        grouped.setdefault(word.recording, []).append(word)
    return Texts(
        path,
        "ctm",
        {name: " ".join(word.text for word in some) for name, some in grouped.items()},
        facts={name: UtteranceFacts(confidences=_confidences(w)) for name, w in grouped.items()},
    )


def words_to_segments(path: Path, words: Sequence[TimedWord], segments: Sequence[Segment]) -> Texts:
    """Cut a ctm file by the segments of an stm file: a word belongs where its middle lies.

    A word between two segments goes to the nearer one, as insertions must not vanish; words of
    recordings or channels that the stm file does not have become utterances of their own, which
    scoring lists as extra.
    """
    by_channel: dict[tuple[str, str], list[Segment]] = {}
    for segment in sorted(segments, key=lambda one: one.start_s):
        by_channel.setdefault((segment.recording, segment.channel.upper()), []).append(segment)
    found: dict[str, list[TimedWord]] = {
        one.utterance_id: [] for one in segments if not one.is_ignored
    }
    for word in words:
        there = by_channel.get((word.recording, word.channel.upper()))
        if not there:
            found.setdefault(f"{word.recording}-{word.channel}", []).append(word)
            continue
        nearest = _segment_of(word, there)
        if not nearest.is_ignored:
            found[nearest.utterance_id].append(word)
    return Texts(
        path,
        "ctm",
        {name: " ".join(word.text for word in some) for name, some in found.items()},
        facts={name: UtteranceFacts(confidences=_confidences(w)) for name, w in found.items()},
    )


def _segment_of(word: TimedWord, segments: Sequence[Segment]) -> Segment:
    place = bisect_right(segments, word.middle_s, key=lambda one: one.start_s)
    near = segments[max(place - 1, 0) : place + 1]
    return min(near, key=lambda one: max(one.start_s - word.middle_s, word.middle_s - one.end_s, 0))


def _confidences(words: Sequence[TimedWord]) -> tuple[float, ...] | None:
    numbers = [word.confidence for word in words]
    if not numbers or None in numbers:
        return None
    return tuple(number for number in numbers if number is not None)


def _seconds(cell: str, path: Path, number: int) -> float:
    try:
        return float(cell)
    except ValueError:
        raise TextFileError(f"{path}:{number}: {cell!r} is not a number") from None
