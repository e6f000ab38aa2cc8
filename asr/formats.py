"""Transcript -> txt srt vtt tsv json TextGrid (a file each), jsonl ctm trn (one file for all).

Times are rounded once, to milliseconds, on the way out. `FILE_FORMATS` and `COMBINED_FORMATS` map a
format's name to its writer; the name is also the ending of the file.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from asr.errors import UsageError
from asr.subtitles import Cue, split_cues
from asr.transcript import Transcript, Word


@dataclass(frozen=True)
class Labelled:
    """A transcript with what the formats say about its recording."""

    transcript: Transcript
    utterance_id: str
    audio_filepath: str
    channel: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def txt(labelled: Labelled) -> str:
    """The text, one line."""
    return labelled.transcript.text + "\n"


def srt(labelled: Labelled) -> str:
    """SubRip: numbered cues, comma before the milliseconds."""
    cues = enumerate(split_cues(labelled.transcript), start=1)
    return "\n".join(f"{n}\n{_span(cue, ',')}\n{_lines(cue)}\n" for n, cue in cues)


def vtt(labelled: Labelled) -> str:
    """WebVTT (W3C): full stop before the milliseconds, `& < >` escaped."""
    cues = [
        f"{_span(cue, '.')}\n{_escape(_lines(cue))}\n" for cue in split_cues(labelled.transcript)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def tsv(labelled: Labelled) -> str:
    """Whisper's columns: start and end in integer milliseconds, and the text, a line per cue."""
    rows = [
        f"{_ms(cue.start_s)}\t{_ms(cue.end_s)}\t{' '.join(cue.lines)}"
        for cue in split_cues(labelled.transcript)
    ]
    return "\n".join(["start\tend\ttext", *rows]) + "\n"


def json_document(labelled: Labelled) -> str:
    """One JSON object: text, duration, words with start, end (seconds) and confidence."""
    return _dumps(as_json(labelled), indent=2) + "\n"


def jsonl(labelled: Labelled) -> str:
    """The same object on one line; it is a manifest line too (`audio_filepath text duration`)."""
    return _dumps(as_json(labelled)) + "\n"


def ctm(labelled: Labelled) -> str:
    """NIST CTM: id, channel (the first is 1), start and duration in seconds, word, confidence."""
    channel, name = (labelled.channel or 0) + 1, one_field(labelled.utterance_id)
    return "".join(
        f"{name} {channel} {_ms(word.start_s) / 1000:.3f} "
        f"{(_ms(word.end_s) - _ms(word.start_s)) / 1000:.3f} {word.text} {word.confidence:.4f}\n"
        for word in labelled.transcript.words
    )


def trn(labelled: Labelled) -> str:
    """NIST trn, as sclite reads it: the text, then the id in brackets."""
    return f"{labelled.transcript.text} ({one_field(labelled.utterance_id)})".lstrip() + "\n"


def textgrid(labelled: Labelled) -> str:
    """Praat TextGrid (long text form): one interval tier `words`, pauses as empty intervals."""
    intervals = _intervals(labelled.transcript)
    end_s = f"{intervals[-1][1] / 1000:.3f}"
    body = "".join(
        f"        intervals [{n}]:\n            xmin = {start / 1000:.3f}\n"
        f'            xmax = {end / 1000:.3f}\n            text = "{_quote(text)}"\n'
        for n, (start, end, text) in enumerate(intervals, start=1)
    )
    return (
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
        f"xmin = 0\nxmax = {end_s}\ntiers? <exists>\nsize = 1\nitem []:\n    item [1]:\n"
        f'        class = "IntervalTier"\n        name = "words"\n        xmin = 0\n'
        f"        xmax = {end_s}\n        intervals: size = {len(intervals)}\n{body}"
    )


FILE_FORMATS: Mapping[str, Callable[[Labelled], str]] = {
    "txt": txt,
    "srt": srt,
    "vtt": vtt,
    "tsv": tsv,
    "json": json_document,
    "TextGrid": textgrid,
}
COMBINED_FORMATS: Mapping[str, Callable[[Labelled], str]] = {"jsonl": jsonl, "ctm": ctm, "trn": trn}


def parse_formats(names: list[str]) -> tuple[str, ...]:
    """`["txt,SRT", "json"]` -> `("txt", "srt", "json")`; `all` is all. Raises UsageError."""
    known = {name.lower(): name for name in (*FILE_FORMATS, *COMBINED_FORMATS)}
    wanted = [part.strip().lower() for name in names for part in name.split(",") if part.strip()]
    if "all" in wanted:
        return tuple(known.values())
    for name in wanted:
        if name not in known:
            raise UsageError(
                f"unknown format '{name}'; there are: {', '.join(known.values())}, all"
            )
    return tuple(dict.fromkeys(known[name] for name in wanted))


def as_json(labelled: Labelled) -> dict[str, Any]:
    """The JSON form of a transcript, `extra` fields first where they do not clash."""
    transcript = labelled.transcript
    own: dict[str, Any] = {
        "audio_filepath": labelled.audio_filepath,
        "utterance_id": labelled.utterance_id,
        "text": transcript.text,
        "duration": round(transcript.duration_s, 3),
        "words": [
            {
                "word": word.text,
                "start": _ms(word.start_s) / 1000,
                "end": _ms(word.end_s) / 1000,
                "confidence": round(word.confidence, 4),
            }
            for word in transcript.words
        ],
    }
    if labelled.channel is not None:
        own["channel"] = labelled.channel
    return {**{k: v for k, v in labelled.extra.items() if k not in own}, **own}


def transcript_from_json(document: Mapping[str, Any]) -> Transcript:
    """The transcript that `as_json` wrote. Raises KeyError or TypeError for another document."""
    words = tuple(
        Word(word["word"], word["start"], word["end"], word["confidence"])
        for word in document["words"]
    )
    return Transcript(document["text"], words, document["duration"])


def _intervals(transcript: Transcript) -> list[tuple[int, int, str]]:
    """(start, end, text) in milliseconds without gaps or overlaps from 0 to the end, none empty."""
    intervals: list[tuple[int, int, str]] = []
    at = 0
    for word in transcript.words:
        start = max(at, _ms(word.start_s))
        end = max(start + 1, _ms(word.end_s))
        if start > at:
            intervals.append((at, start, ""))
        intervals.append((start, end, word.text))
        at = end
    total = _ms(transcript.duration_s)
    if total > at or not intervals:
        intervals.append((at, max(total, at + 1), ""))
    return intervals


def _dumps(document: Mapping[str, Any], indent: int | None = None) -> str:
    """JSON in UTF-8; escapes only where a file name holds bytes that are no UTF-8."""
    text = json.dumps(document, ensure_ascii=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(document, indent=indent)
    return text


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _clock(seconds: float, point: str) -> str:
    minutes, ms = divmod(_ms(seconds), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{ms // 1000:02d}{point}{ms % 1000:03d}"


def _span(cue: Cue, point: str) -> str:
    return f"{_clock(cue.start_s, point)} --> {_clock(cue.end_s, point)}"


def _lines(cue: Cue) -> str:
    return "\n".join(cue.lines)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _quote(text: str) -> str:
    return text.replace('"', '""')


def distinct_fields(names: Iterable[str]) -> list[str]:
    """`one_field` of each of some names, told apart by a number where two would be the same.

    >>> distinct_fields(["a b", "a_b", "c (2)"])
    ['a_b', 'a_b-2', 'c__2_']
    """
    fields: dict[str, None] = {}
    for name in names:
        field = one_field(name)
        numbered = (f"{field}-{number}" for number in itertools.count(2))
        while field in fields:
            field = next(numbered)
        fields[field] = None
    return list(fields)


def one_field(name: str) -> str:
    """An id without spaces or brackets, which would end the field in ctm and trn."""
    return "".join("_" if c.isspace() or c in "()" else c for c in name)
