"""What a corpus says before any audio is opened: clips with their texts, and what does not fit.

Each layout's module turns its files into a `Listing`; `asr.corpora.prepared` opens the audio and
writes the manifests. A problem never stops the rest: it is kept, counted and shown.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from asr.errors import AsrError, UsageError
from asr.items import AUDIO_SUFFIXES

SUBSETS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "valid", "validation", "val", "development"), "dev"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}
"""The names that people give to the three sets."""


class Reason(StrEnum):
    """Why something was left out."""

    NO_AUDIO = "no audio for a transcript"
    NO_TEXT = "audio without a transcript"
    EMPTY_TEXT = "empty transcript"
    UNREADABLE = "unreadable audio"
    EMPTY_AUDIO = "audio of zero length"
    ID_TWICE = "id or transcript twice"
    BAD_LINE = "line that does not fit the format"
    BAD_TIMES = "times outside the audio"
    COMMAND = "shell command instead of a file"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that was left out: why, the file (and line) it stands in, and what it is."""

    reason: Reason
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of an audio file that is said to have a text; the file was not opened yet.

    Attributes:
        where: the file (and line) that says so.
        offset_s: where the stretch starts, seconds.
        end_s: where it ends; None: with the file.
        subset: train, dev or test, where the corpus has sets of its own.
        extra: what else the corpus says of it; goes into the manifest.
    """

    utterance_id: str
    audio_path: Path
    text: str
    where: str
    speaker_id: str | None = None
    offset_s: float = 0.0
    end_s: float | None = None
    subset: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """All that a corpus says.

    Attributes:
        layout: how its files are laid out, in a few words.
        notes: what had to be assumed, for the user to check.
    """

    layout: str
    clips: tuple[Clip, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def is_audio(name: str) -> bool:
    """Whether a file's name ends as audio (or a film) does."""
    return ending(name) in AUDIO_SUFFIXES


def ending(path: str) -> str:
    """The ending of a file's name, in lower case: ".wav"; '' where it has none."""
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 - a hundred thousand times


def without_ending(path: str) -> str:
    """A path without the ending of the file's name."""
    return os.path.splitext(path)[0]  # noqa: PTH122 - a hundred thousand times


def files_of(folder: Path, known: Iterable[str] | None) -> Iterable[str]:
    """`known`, or where it is None every visible file below `folder`; AsrError: no such folder."""
    if not folder.is_dir():
        raise AsrError(f"no folder {folder}")
    return walk_files(folder) if known is None else known


def walk_files(folder: Path) -> Iterator[str]:
    """Every visible file below `folder`: its path relative to it, in order of name, with "/".

    Links are followed, but no folder is entered twice.
    """
    seen: set[tuple[int, int]] = set()
    for directory, subfolders, names in os.walk(folder, followlinks=True):
        status = os.stat(directory)  # noqa: PTH116 - os.walk gives strings
        if (status.st_dev, status.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        here = Path(directory).relative_to(folder).as_posix()
        prefix = "" if here == "." else f"{here}/"
        yield from (prefix + name for name in sorted(names) if not name.startswith("."))


def subfolders(folder: Path) -> list[Path]:
    """The visible folders right below `folder`, in order of name; none where it is no folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = sorted(one.name for one in entries if one.name[0] != "." and one.is_dir())
    return [folder / name for name in names]


def audio_by_stem(folder: Path) -> dict[str, Path]:
    """The audio files of one folder by their names without the ending."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        names = sorted(one.name for one in entries if one.name[0] != "." and is_audio(one.name))
    return {without_ending(name): folder / name for name in names}


def with_subset(listing: Listing, name: str) -> Listing:
    """The same clips, all of the set `name` (or of the set that this name usually means)."""
    subset = SUBSETS.get(name.lower(), name)
    return replace(listing, clips=tuple(replace(clip, subset=subset) for clip in listing.clips))


def joined(listings: Iterable[Listing]) -> Listing:
    """Several listings of one layout as one."""
    some = list(listings)
    return Listing(
        some[0].layout,
        tuple(clip for one in some for clip in one.clips),
        tuple(problem for one in some for problem in one.problems),
        tuple(dict.fromkeys(note for one in some for note in one.notes)),
    )


def with_speakers(listing: Listing, pattern: str) -> Listing:
    """Speakers taken from the utterance ids: group 1 of `pattern`, or all that it matches.

    Raises:
        UsageError: no regular expression, or one that fits no id.
    """
    speaker_of = _speaker_finder(pattern)
    clips = tuple(replace(clip, speaker_id=speaker_of(clip.utterance_id)) for clip in listing.clips)
    if clips and not any(clip.speaker_id for clip in clips):
        raise UsageError(
            f"--speaker-pattern {pattern!r} fits no utterance id; the first are "
            + ", ".join(clip.utterance_id for clip in clips[:3])
        )
    number = len({clip.speaker_id for clip in clips if clip.speaker_id})
    note = f"speakers: {number}, from the ids by --speaker-pattern {pattern!r}"
    return replace(listing, clips=clips, notes=(*listing.notes, note))


def _speaker_finder(pattern: str) -> Callable[[str], str | None]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"--speaker-pattern {pattern!r} is no regular expression: {error}"
        ) from None
    group = 1 if expression.groups else 0

    def find(utterance_id: str) -> str | None:
        match = expression.search(utterance_id)
        return match[group] or None if match else None

    return find
