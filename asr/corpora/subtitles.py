"""Long recordings with subtitles beside them (SRT or WebVTT), cut into utterances.

talk.mp4 and talk.srt, talk.vtt or talk.en.srt. Consecutive cues become one utterance until a
sentence ends, a pause comes or it would grow past MAX_UTTERANCE_S; what is not speech ([music],
(laughs), lyrics between notes, markup) is left out. WebVTT: https://www.w3.org/TR/webvtt1/.
"""

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asr.corpora.listing import (
    Clip,
    Listing,
    Problem,
    Reason,
    ending,
    files_of,
    is_audio,
    without_ending,
)
from asr.corpora.sidecar import with_folders
from asr.subtitles import Cue
from asr.textfiles import TextFileError, read_lines

SUBTITLE_SUFFIXES = (".srt", ".vtt")
MAX_UTTERANCE_S = 15.0
MAX_GAP_S = 0.3  # a longer time without a subtitle ends an utterance
_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{2})[.,](\d{1,3})"
_TIMING = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}")
_VOICE = re.compile(r"<v(?:\.[^ >]*)?\s+([^>]+)>")
_MARKUP = re.compile(r"<[^>]*>|\{\\[^}]*\}")
_NOT_SPEECH = re.compile(r"\[[^\]]*\]|\([^)]*\)|[♪♫][^♪♫]*[♪♫]|[♪♫]")
_LABEL = re.compile(r"^(?:>+|[-–—]+)\s*|^[A-Z][A-Z0-9 .'-]{1,30}:\s+")
_SENTENCE_END = re.compile(r"[.?!…][\"'”’)]*$")
_LANGUAGE = re.compile(r"\.[A-Za-z]{2,3}(?:[-_][A-Za-z]+)?$")


@dataclass(frozen=True)
class _Speech:
    """What is said from start to end."""

    start_s: float
    end_s: float
    text: str
    voice: str | None
    line: int


def list_subtitles(
    folder: Path | str,
    files: Iterable[str] | None = None,
    *,
    encoding: str = "utf-8",
) -> Listing:
    """The utterances of all recordings below `folder` that have subtitles.

    Args:
        files: all files below `folder`, relative to it, where they are known; None looks.

    Raises:
        AsrError: no such folder.
    """
    folder = Path(folder)
    pairs, problems = pair_subtitles(folder, files_of(folder, files))
    clips: list[Clip] = []
    for audio, subtitles in pairs.items():
        found, more = _clips(folder, audio, subtitles, encoding)
        clips += found
        problems += more
    told, notes = with_folders(clips)
    note = "subtitles were timed for reading: check some cuts by ear before training"
    layout = f"recordings with subtitles ({len(pairs)}), cut into utterances"
    return Listing(layout, tuple(told), tuple(problems), (*notes, note))


def pair_subtitles(folder: Path, files: Iterable[str]) -> tuple[dict[str, str], list[Problem]]:
    """Recordings with the subtitle file of each; one named exactly like the recording comes first."""
    audio: dict[str, str] = {}
    subtitles: list[str] = []
    for path in files:
        if is_audio(path):
            audio.setdefault(without_ending(path), path)
        elif ending(path) in SUBTITLE_SUFFIXES:
            subtitles.append(path)
    pairs: dict[str, str] = {}
    problems = []
    for path in sorted(subtitles, key=lambda path: (path.count("."), path)):
        stem = without_ending(path)
        recording = audio.get(stem) or audio.get(_LANGUAGE.sub("", stem))
        if recording is None:
            problems.append(Problem(Reason.NO_AUDIO, str(folder / path), "no recording beside it"))
        elif recording in pairs:
            what = f"{pairs[recording]} is taken instead"
            problems.append(Problem(Reason.ID_TWICE, str(folder / path), what))
        else:
            pairs[recording] = path
    return dict(sorted(pairs.items())), problems


def _clips(
    folder: Path, audio: str, subtitles: str, encoding: str
) -> tuple[list[Clip], list[Problem]]:
    path = folder / subtitles
    try:
        cues, problems = read_cues(path, encoding)
    except TextFileError as error:
        return [], [Problem(Reason.BAD_LINE, str(path), str(error))]
    speech = [one for line, cue in cues if (one := _speech(line, cue)).text]
    voices = all(one.voice for one in speech)
    stem = without_ending(audio)
    clips = [
        Clip(
            utterance_id=f"{stem}@{one.start_s:.3f}",
            audio_path=folder / audio,
            text=one.text,
            where=f"{path}:{one.line}",
            speaker_id=one.voice if voices else None,
            offset_s=one.start_s,
            end_s=one.end_s,
        )
        for one in join_speech(speech)
    ]
    return clips, problems


def read_cues(path: Path, encoding: str = "utf-8") -> tuple[list[tuple[int, Cue]], list[Problem]]:
    """The cues of an SRT or WebVTT file with their line numbers, in order of time, and problems.

    Raises:
        TextFileError: nothing in the file, or undecodable bytes.
    """
    lines = read_lines(path, encoding)
    starts = [number for number, line in enumerate(lines) if _TIMING.match(line)]
    if not starts:
        what = "no line 'start --> end': no subtitles"
        return [], [Problem(Reason.BAD_LINE, str(path), what)]
    cues = []
    problems = []
    for here, following in zip(starts, [*starts[1:], len(lines)], strict=True):
        match = _TIMING.match(lines[here])
        assert match is not None
        start_s, end_s = _seconds(match.groups()[:4]), _seconds(match.groups()[4:])
        if end_s <= start_s:
            what = f"the cue ends at {end_s:g} s, before its start at {start_s:g} s"
            problems.append(Problem(Reason.BAD_TIMES, f"{path}:{here + 1}", what))
            continue
        body = _body(lines[here + 1 : following], is_last=following == len(lines))
        cues.append((here + 1, Cue(start_s, end_s, tuple(body))))
    return sorted(cues, key=lambda cue: cue[1].start_s), problems


def _body(lines: Sequence[str], is_last: bool) -> list[str]:
    """The text lines of a cue, of all lines up to the times of the next one.

    The first paragraph is text; of what follows, paragraphs that are comments, styles or (at the
    end) the number or name of the next cue are not. Of a cue that begins with an empty line, what
    stands right above the next cue's times is no text either.
    """
    blank_first = bool(lines) and not lines[0].strip()
    paragraphs: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            paragraphs[-1].append(line.strip())
        elif paragraphs[-1]:
            paragraphs.append([])
    if not is_last and (blank_first or len(paragraphs) > 1) and len(paragraphs[-1]) == 1:
        paragraphs.pop()  # the next cue's number or name
    kept = [some for some in paragraphs if some and not re.match(r"NOTE\b|STYLE$|REGION$", some[0])]
    body = [line for some in kept for line in some]
    if not is_last and len(paragraphs) == 1 and len(body) > 1 and body[-1].isdigit():
        body.pop()  # no empty line between the cues
    return body


def _seconds(groups: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = groups
    whole = 3600 * int(hours or 0) + 60 * int(minutes or 0) + int(seconds or 0)
    return round(whole + float(f"0.{fraction}"), 3)


def _speech(line: int, cue: Cue) -> _Speech:
    voice = _VOICE.search(" ".join(cue.lines))
    cleaned = (html.unescape(_MARKUP.sub("", one)).strip() for one in cue.lines)
    text = _NOT_SPEECH.sub(" ", "\n".join(cleaned))
    said = (_LABEL.sub("", _LABEL.sub("", one.strip())) for one in text.split("\n"))
    words = " ".join(" ".join(said).split())
    if not any(char.isalnum() for char in words):
        words = ""
    return _Speech(cue.start_s, cue.end_s, words, voice[1].strip() if voice else None, line)


def join_speech(speech: Iterable[_Speech]) -> list[_Speech]:
    """Consecutive cues joined to sentences; of cues that overlap, the first ends with the second."""
    joined: list[_Speech] = []
    for one in speech:
        before = joined[-1] if joined else None
        if before and _goes_on(before, one):
            end_s = max(before.end_s, one.end_s)
            joined[-1] = replace(before, end_s=end_s, text=f"{before.text} {one.text}")
            continue
        if before and before.start_s < one.start_s < before.end_s:
            joined[-1] = replace(before, end_s=one.start_s)
        joined.append(one)
    return joined


def _goes_on(before: _Speech, one: _Speech) -> bool:
    """Whether `one` goes on with what the cue before says."""
    return (
        one.start_s - before.end_s <= MAX_GAP_S
        and one.end_s - before.start_s <= MAX_UTTERANCE_S
        and one.voice == before.voice
        and not _SENTENCE_END.search(before.text)
    )
