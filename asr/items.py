"""The work list's items, and what their outputs are called.

Names are settled over the whole list and before any work starts, so that no two recordings can ever
write the same file.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from asr.codecs import printable
from asr.errors import UsageError
from asr.formats import distinct_fields

AUDIO_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("wav", "wave", "flac", "mp3", "ogg", "oga", "opus", "aiff", "aif", "aifc", "au", "snd"),
        *("caf", "w64", "rf64", "sph", "m4a", "m4b", "mp4", "m4v", "mov", "aac", "webm", "mkv"),
        *("mka", "avi", "wma", "wmv", "asf", "amr", "3gp", "ac3", "mpg", "mpeg", "flv", "ape"),
        *("wv", "tta", "mp2", "mpga"),
    )
)


@dataclass(frozen=True)
class Item:
    """One recording, or a clip or channel of one, to transcribe.

    Attributes:
        name: of its outputs, relative to the output folder, without the ending; unique.
        utterance_id: its name in jsonl; unique.
        problem: why it cannot be read, if that was found while listing.
        duplicate_of: the `name` of the same recording earlier in the list.
        extra: what else its manifest line said.
        field_id: its name in ctm and trn, the utterance_id without spaces or brackets; unique.
    """

    path: Path
    name: str
    utterance_id: str = ""
    offset_s: float = 0.0
    duration_s: float | None = None
    channel: int | None = None
    problem: str = ""
    duplicate_of: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    field_id: str = ""

    @property
    def label(self) -> str:
        """How messages call it: the path, with what distinguishes a clip or a channel."""
        clip = f" [{self.utterance_id}]" if self.offset_s or self.duration_s else ""
        return printable(self.path) + clip + _channel_suffix(self.channel)


@dataclass(frozen=True)
class Found:
    """An input before its name is settled: `root` is the folder that `relative` is below, absolute."""

    path: Path
    relative: PurePosixPath
    root: Path = Path()
    item: Item | None = None
    problem: str = ""
    channel: int | None = None

    def names(self) -> tuple[str, ...]:
        """Candidate names, from the shortest to the most distinct."""
        suffix = _channel_suffix(self.channel)
        if self.item is not None:
            return (self.item.name + suffix,)
        stem = str(_without_audio_suffix(self.relative)) + suffix
        full = str(self.relative) + suffix
        above = self.root.parts[1:]
        prefixes = ["/".join(above[start:]) for start in range(len(above) - 1, -1, -1)]
        return (stem, full, *(f"{some}/{name}" for some in prefixes for name in (stem, full)))


def settle(found: Sequence[Found]) -> list[Item]:
    """Give each input its name and id; the same recording named again is marked."""
    first: dict[tuple[Any, ...], int] = {}
    original = [first.setdefault(_identity(one), index) for index, one in enumerate(found)]
    unique = sorted(first.values())
    names = dict(zip(unique, _distinct_names([found[i] for i in unique]), strict=True))
    own_ids = list(_utterance_ids(found, names, unique))
    ids = dict(zip(unique, zip(own_ids, distinct_fields(own_ids), strict=True), strict=True))
    items = []
    for index, one in enumerate(found):
        same = original[index]
        item = one.item or Item(one.path, "", problem=one.problem)
        duplicate_of = names[same] if same != index else ""
        items.append(
            replace(
                item, name=names[same], utterance_id=ids[same][0], field_id=ids[same][1],
                channel=one.channel, duplicate_of=duplicate_of,
            )
        )  # fmt: skip
    return items


def _identity(found: Found) -> tuple[Any, ...]:
    item = found.item or Item(found.path, "")
    clip = (item.offset_s, item.duration_s, item.utterance_id)
    return (str(absolute(found.path)), found.channel, *clip)


def _distinct_names(found: Sequence[Found]) -> list[str]:
    """The shortest candidate that no other input has; those that share one all take the next."""
    candidates = [one.names() for one in found]
    level = [0] * len(found)
    while True:
        names = [options[n] for options, n in zip(candidates, level, strict=True)]
        shared = {name for name, count in Counter(names).items() if count > 1}
        if not shared:
            return names
        stuck = True
        for index, name in enumerate(names):
            if name in shared and level[index] + 1 < len(candidates[index]):
                level[index] += 1
                stuck = False
        if stuck:
            _refuse(found, names, shared)


def _refuse(found: Sequence[Found], names: Sequence[str], shared: set[str]) -> None:
    name = min(shared)
    paths = [printable(one.path) for one, own in zip(found, names, strict=True) if own == name]
    raise UsageError(
        f"{len(paths)} inputs would be written as '{printable(name)}': {', '.join(paths[:4])}; "
        "name the folder above them instead, or give each its own -o"
    )


def _utterance_ids(
    found: Sequence[Found], names: Mapping[int, str], unique: Sequence[int]
) -> Iterable[str]:
    """A manifest's own ids; else the last part of the name, or the whole name if that is shared."""
    suffixes = [_channel_suffix(found[i].channel) for i in unique]
    items = [found[i].item for i in unique]
    own = [
        item.utterance_id + suffix if item else PurePosixPath(names[i]).name
        for item, suffix, i in zip(items, suffixes, unique, strict=True)
    ]
    counts = Counter(own)
    return [short if counts[short] == 1 else names[i] for short, i in zip(own, unique, strict=True)]


def _channel_suffix(channel: int | None) -> str:
    return "" if channel is None else f".ch{channel}"


def _without_audio_suffix(relative: PurePosixPath) -> PurePosixPath:
    """`a.b.wav` -> `a.b`, but `a.b` stays: only the ending of an audio file goes."""
    known = relative.suffix.lower() in AUDIO_SUFFIXES and relative.stem
    return relative.with_suffix("") if known else relative


def absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are
