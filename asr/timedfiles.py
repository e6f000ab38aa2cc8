"""Timed texts of the NIST tools: ctm (a word a line) and stm (a segment a line).

ctm:  ``file channel start duration word [confidence]``
stm:  ``file channel speaker start end [<labels>] text``

Comments begin with ``;;``. A segment ``IGNORE_TIME_SEGMENT_IN_SCORING`` is not scored.
"""

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from asr.facts import UtteranceFacts
from asr.textfiles import TextFileError, Texts, check_no_alternatives, read_lines

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
    lines: dict[str, int] = {}
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
        check_no_alternatives(text, f"{path}:{number}")
        segment = Segment(cells[0], cells[1], cells[2], start_s, end_s, text.strip())
        segments.append(segment)
        if not segment.is_ignored and lines.setdefault(segment.utterance_id, number) != number:
            raise TextFileError(
                f"{path}:{number}: the same recording, channel and times as on line "
                f"{lines[segment.utterance_id]}: which words are whose cannot be told"
            )
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

    Of several segments there it goes to the one that begins first, as sclite has it, and between them
    to the nearest one that is scored, as insertions must not vanish. Segments of a recording or channel
    of which the ctm file has no word are left out, for scoring to list as missing; words of those that
    the stm file does not have become utterances of their own, which scoring lists as extra.
    """
    by_channel: dict[tuple[str, str], list[Segment]] = {}
    for segment in sorted(segments, key=lambda one: one.start_s):
        by_channel.setdefault((segment.recording, segment.channel.upper()), []).append(segment)
    channels = {name: _Channel(there) for name, there in by_channel.items()}
    heard = {(word.recording, word.channel.upper()) for word in words}
    if not heard & channels.keys():
        raise TextFileError(
            f"{path} and the stm file have no channel of a recording in common: {_named(heard)} here, "
            f"{_named(channels)} there; both must be called alike"
        )
    found: dict[str, list[TimedWord]] = {
        one.utterance_id: []
        for one in segments
        if not one.is_ignored and (one.recording, one.channel.upper()) in heard
    }
    for word in words:
        channel = channels.get((word.recording, word.channel.upper()))
        if channel is None:
            found.setdefault(f"{word.recording}-{word.channel}", []).append(word)
            continue
        place = channel.segment_at(word.middle_s)
        if place is not None:
            found[place.utterance_id].append(word)
    return Texts(
        path,
        "ctm",
        {name: " ".join(word.text for word in some) for name, some in found.items()},
        facts={name: UtteranceFacts(confidences=_confidences(w)) for name, w in found.items()},
    )


class _Channel:
    """The segments of one channel of a recording, by their beginnings; they may overlap."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._all = _Places(segments)
        scored = [segment for segment in segments if not segment.is_ignored]
        self._scored = _Places(scored) if scored else None

    def segment_at(self, time_s: float) -> Segment | None:
        """The first segment that has `time_s` in it, or else the nearest that is scored.

        None where the first is not scored, or none is.
        """
        first = self._all.first_at(time_s)
        if first is not None:
            return None if first.is_ignored else first
        return self._scored.nearest(time_s) if self._scored else None


class _Places:
    """Where segments are that are sorted by their beginnings."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments
        self._latest_ends_s = list(accumulate((one.end_s for one in segments), max))

    def first_at(self, time_s: float) -> Segment | None:
        first = bisect_right(self._latest_ends_s, time_s)
        return self._segments[first] if first < self._num_begun(time_s) else None

    def nearest(self, time_s: float) -> Segment:
        """To a time that is in none of them."""
        begun = self._num_begun(time_s)
        if begun == 0:
            return self._segments[0]
        last_end_s = self._latest_ends_s[begun - 1]
        before = self._segments[bisect_left(self._latest_ends_s, last_end_s)]
        after = self._segments[begun : begun + 1]
        return after[0] if after and after[0].start_s - time_s < time_s - last_end_s else before

    def _num_begun(self, time_s: float) -> int:
        return bisect_right(self._segments, time_s, key=lambda one: one.start_s)


def _named(channels: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"'{recording} {channel}'" for recording, channel in sorted(channels)[:3])


def _confidences(words: Sequence[TimedWord]) -> tuple[float, ...] | None:
    numbers = [word.confidence for word in words]
    if not numbers or None in numbers:
        return None
    return tuple(number for number in numbers if number is not None)


def _seconds(cell: str, path: Path, number: int) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise TextFileError(f"{path}:{number}: {cell!r} is not a number")
    return value
