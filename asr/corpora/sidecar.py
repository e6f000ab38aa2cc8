"""A folder of audio with the text of each recording beside it: a.wav and a.txt (or a.lab).

Folders may be nested. Where the recordings lie in several folders, the topmost folder that tells
them apart is taken for the speaker; folders called train, dev and test are sets.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from asr.corpora.listing import (
    SUBSETS,
    Clip,
    Listing,
    Problem,
    Reason,
    ending,
    files_of,
    is_audio,
    without_ending,
)
from asr.textfiles import TextFileError, read_lines

TEXT_SUFFIXES = (".txt", ".lab")
_ABOUT = ("readme", "license", "licence", "copying")
_HTK_LINE = re.compile(r"\d+\s+\d+\s+\S")  # times in 100 ns and a label, mostly a phone


def list_folder(
    folder: Path | str,
    files: Iterable[str] | None = None,
    *,
    encoding: str = "utf-8",
) -> Listing:
    """The clips of a folder.

    Args:
        files: all files below `folder`, relative to it, where they are known; None looks.

    Raises:
        AsrError: no such folder.
    """
    folder = Path(folder)
    audio, texts, problems = _by_stem(folder, files_of(folder, files))
    clips = []
    for stem, name in audio.items():
        if stem not in texts:
            what = f"no {' or '.join(TEXT_SUFFIXES)} beside it"
            problems.append(Problem(Reason.NO_TEXT, str(folder / name), what))
            continue
        path = folder / texts[stem]
        text = _read_text(path, encoding)
        if isinstance(text, Problem):
            problems.append(text)
        else:
            clips.append(Clip(stem, folder / name, text, str(path)))
    problems += _texts_alone(folder, audio, texts)
    clips, notes = with_folders(clips)
    return Listing("folder of audio with a text beside each", tuple(clips), tuple(problems), notes)


def with_folders(clips: Sequence[Clip]) -> tuple[list[Clip], tuple[str, ...]]:
    """The clips with the sets and speakers that their folders name (by their ids), and notes.

    A clip that says itself who speaks keeps that speaker.
    """
    parts = [clip.utterance_id.split("/")[:-1] for clip in clips]
    subsets: list[str | None] = [None] * len(clips)
    if parts and all(some and some[0].lower() in SUBSETS for some in parts):
        subsets = [SUBSETS[some[0].lower()] for some in parts]
        parts = [some[1:] for some in parts]
    while parts and all(some and some[0] == parts[0][0] for some in parts):
        parts = [some[1:] for some in parts]
    known = len({some[0] for some in parts if some}) > 1 and all(parts)
    told = [
        replace(clip, subset=subset, speaker_id=clip.speaker_id or (some[0] if known else None))
        for clip, subset, some in zip(clips, subsets, parts, strict=True)
    ]
    silent = [some for clip, some in zip(clips, parts, strict=True) if not clip.speaker_id]
    if not known or not silent:
        return told, ()
    speakers = sorted({some[0] for some in silent})
    number = f"{len(speakers)} folders" if len(speakers) > 1 else "folder"
    note = (
        f"speakers: the {number} {', '.join(speakers[:3])}{', ...' if len(speakers) > 3 else ''}; where "
        "folders are no speakers use --by-utterance or --speaker-pattern"
    )
    return told, (note,)


def _by_stem(
    folder: Path, files: Iterable[str]
) -> tuple[dict[str, str], dict[str, str], list[Problem]]:
    """Audio and text files by their paths without the ending; of two texts the .txt is taken."""
    audio: dict[str, str] = {}
    texts: dict[str, str] = {}
    problems = []
    for path in files:
        stem, kind = without_ending(path), ending(path)
        if kind not in TEXT_SUFFIXES and not is_audio(path):
            continue
        chosen = texts if kind in TEXT_SUFFIXES else audio
        if stem not in chosen:
            chosen[stem] = path
            continue
        taken, other = chosen[stem], path
        if kind == TEXT_SUFFIXES[0]:
            taken, other = other, taken
        chosen[stem] = taken
        problems.append(Problem(Reason.ID_TWICE, str(folder / other), f"{taken} is taken instead"))
    return audio, texts, problems


def _texts_alone(folder: Path, audio: Mapping[str, str], texts: Mapping[str, str]) -> list[Problem]:
    """Transcripts without audio; a .txt that is about the corpus (README.txt) is none."""
    spoken = {stem.rpartition("/")[0] for stem in audio}
    alone = [stem.rpartition("/") for stem in texts if stem not in audio]
    return [
        Problem(Reason.NO_AUDIO, str(folder / texts[above + slash + name]), "no audio beside it")
        for above, slash, name in alone
        if above in spoken and name.lower() not in _ABOUT
    ]


def _read_text(path: Path, encoding: str) -> str | Problem:
    """The text of a file on one line; '' where it is empty."""
    try:
        lines = read_lines(path, encoding) if path.stat().st_size else []
    except (TextFileError, OSError) as error:
        if isinstance(error, TextFileError) and str(error).endswith("is empty"):
            return ""
        return Problem(Reason.BAD_LINE, str(path), str(error))
    if lines and all(_HTK_LINE.match(line) for line in lines if line.strip()):
        return Problem(Reason.BAD_LINE, str(path), "labels with times (HTK), not a transcript")
    return " ".join(line.strip() for line in lines).strip()
