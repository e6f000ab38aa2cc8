"""A folder of audio with the text of each recording beside it: a.wav and a.txt (or a.lab).

Folders may be nested. Where the recordings lie in several folders, the topmost folder that tells
them apart is taken for the speaker; folders called train, dev and test are sets.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from asr.corpora.listing import SUBSETS, Clip, Listing, Problem, Reason, is_audio, walk_files
from asr.errors import AsrError
from asr.textfiles import TextFileError, read_lines

TEXT_SUFFIXES = (".txt", ".lab")
_HTK_LINE = re.compile(r"\d+\s+\d+\s+\S")  # times in 100 ns and a label, mostly a phone


def list_folder(
    folder: Path | str,
    files: Iterable[PurePosixPath] | None = None,
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
    if not folder.is_dir():
        raise AsrError(f"no folder {folder}")
    audio, texts, problems = _by_stem(folder, walk_files(folder) if files is None else files)
    clips = []
    for stem, path in audio.items():
        if stem not in texts:
            what = f"no {' or '.join(TEXT_SUFFIXES)} beside it"
            problems.append(Problem(Reason.NO_TEXT, str(folder / path), what))
            continue
        text = _read_text(folder / texts[stem], encoding)
        if isinstance(text, Problem):
            problems.append(text)
        else:
            clips.append(Clip(str(stem), folder / path, text, str(folder / texts[stem])))
    problems += _texts_alone(folder, audio, texts)
    clips, notes = with_folders(clips)
    return Listing("folder of audio with a text beside each", tuple(clips), tuple(problems), notes)


def with_folders(clips: Sequence[Clip]) -> tuple[list[Clip], tuple[str, ...]]:
    """The clips with the sets and speakers that their folders name (by their ids), and notes."""
    parts = [PurePosixPath(clip.utterance_id).parts[:-1] for clip in clips]
    subsets: list[str | None] = [None] * len(clips)
    if parts and all(some and some[0].lower() in SUBSETS for some in parts):
        subsets = [SUBSETS[some[0].lower()] for some in parts]
        parts = [some[1:] for some in parts]
    while parts and all(some and some[0] == (parts[0] or ("",))[0] for some in parts):
        parts = [some[1:] for some in parts]
    speakers = {some[0] for some in parts if some}
    known = len(speakers) > 1 and all(parts)
    told = [
        replace(clip, subset=subset, speaker_id=some[0] if known else clip.speaker_id)
        for clip, subset, some in zip(clips, subsets, parts, strict=True)
    ]
    names = ", ".join(sorted(speakers)[:3])
    note = (
        f"speakers: the {len(speakers)} folders {names}{', ...' if len(speakers) > 3 else ''}; where "
        "folders are no speakers use --by-utterance or --speaker-pattern"
    )
    return told, (note,) if known else ()


def _by_stem(
    folder: Path, files: Iterable[PurePosixPath]
) -> tuple[dict[PurePosixPath, PurePosixPath], dict[PurePosixPath, PurePosixPath], list[Problem]]:
    """Audio and text files by their paths without the ending; the first of two is taken."""
    audio: dict[PurePosixPath, PurePosixPath] = {}
    texts: dict[PurePosixPath, PurePosixPath] = {}
    problems = []
    for path in files:
        stem = path.with_suffix("")
        if is_audio(path.name):
            chosen = audio
        elif path.suffix.lower() in TEXT_SUFFIXES:
            chosen = texts
        else:
            continue
        if chosen is texts and stem in texts and path.suffix.lower() == TEXT_SUFFIXES[0]:
            chosen[stem], path = path, chosen[stem]
        if stem in chosen and chosen[stem] != path:
            what = f"{chosen[stem].name} is taken instead"
            problems.append(Problem(Reason.ID_TWICE, str(folder / path), what))
            continue
        chosen[stem] = path
    return audio, texts, problems


def _texts_alone(
    folder: Path,
    audio: Mapping[PurePosixPath, PurePosixPath],
    texts: Mapping[PurePosixPath, PurePosixPath],
) -> list[Problem]:
    """Transcripts without audio; a .txt that is about the corpus (README.txt) is none."""
    spoken = {path.parent for path in audio.values()}
    return [
        Problem(Reason.NO_AUDIO, str(folder / path), "no audio beside it")
        for stem, path in texts.items()
        if stem not in audio
        and path.parent in spoken
        and path.stem.lower() not in ("readme", "license", "licence", "copying")
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
