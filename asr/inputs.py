"""What the user names -> the work list: files, folders, globs, manifests, list files, stdin.

Names of outputs are settled here, over the whole list and before any work starts, so that no two
recordings can ever write the same file.
"""

import codecs
import glob
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from asr.audio import probe
from asr.codecs import AudioError, printable
from asr.errors import UsageError
from asr.formats import distinct_fields
from asr.manifest import read_manifest

AUDIO_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("wav", "wave", "flac", "mp3", "ogg", "oga", "opus", "aiff", "aif", "aifc", "au", "snd"),
        *("caf", "w64", "rf64", "sph", "m4a", "m4b", "mp4", "m4v", "mov", "aac", "webm", "mkv"),
        *("mka", "avi", "wma", "wmv", "asf", "amr", "3gp", "ac3", "mpg", "mpeg", "flv", "ape"),
        *("wv", "tta", "mp2", "mpga"),
    )
)
MANIFEST_SUFFIXES = frozenset({".jsonl", ".json"})
LIST_SUFFIXES = frozenset({".txt", ".lst", ".list"})


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
class _Found:
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


def work_list(
    inputs: Sequence[str],
    *,
    files_from: str | None = None,
    channel: int | None = None,
    separate_channels: bool = False,
    stdin_folder: Path | None = None,
) -> list[Item]:
    """Everything named, in the order given; folders recursively, sorted.

    What is missing or not audio becomes an item with a `problem`: it fails alone.

    Args:
        inputs: files, folders, globs, manifests (.jsonl, .json), list files (.txt, .lst, .list),
            `-` for audio on stdin.
        files_from: a file with one input per line (NUL-separated if it holds a NUL); `-` is stdin.
        channel: take this channel of each file (the first is 0); None mixes all.
        separate_channels: one item per channel instead.
        stdin_folder: where `-` is spooled to; the caller deletes it.

    Raises:
        UsageError: nothing named, stdin named twice, or two inputs whose outputs would have the
            same name.
        ManifestError: a manifest that cannot be used.
    """
    given = list(inputs)
    if given.count("-") + (files_from == "-") > 1:
        raise UsageError("stdin (-) can be read only once; name it once")
    if files_from is not None:
        given += _read_list(files_from)
    if not given:
        raise UsageError("nothing to transcribe: name files, folders, globs, a manifest or -")
    found = [one for text in given for one in _expand(text, stdin_folder)]
    if separate_channels:
        found = [one for each in found for one in _by_channel(each)]
    elif channel is not None:
        found = [replace(one, channel=channel) for one in found]
    return _settle(found)


def shard(items: Sequence[Item], spec: str) -> list[Item]:
    """Part `i/n` (i from 1) of the list: neighbours stay together, so the parts in order are the
    whole. Raises UsageError."""
    index, number = parse_shard(spec)
    edges = [len(items) * k // number for k in (index - 1, index)]
    return list(items[edges[0] : edges[1]])


def parse_shard(spec: str) -> tuple[int, int]:
    """`"2/8"` -> `(2, 8)`. Raises UsageError."""
    match = re.fullmatch(r"(\d+)/(\d+)", spec.strip())
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard must be i/n with 1 <= i <= n, for example 1/4, not {spec!r}")
    return int(match[1]), int(match[2])


def _expand(text: str, stdin_folder: Path | None, lists: tuple[Path, ...] = ()) -> Iterator[_Found]:
    """What an input stands for; `lists`: the lists of files that it comes from."""
    if text == "-":
        yield _Found(_spool_stdin(stdin_folder), PurePosixPath("stdin"))
        return
    path = Path(text)
    # of os.path: a name that is too long, or below a folder that is closed, is no error to them
    if os.path.isdir(path):  # noqa: PTH112
        yield from _folder(path)
    elif path.suffix.lower() in MANIFEST_SUFFIXES and os.path.isfile(path):  # noqa: PTH113
        yield from _manifest(path)
    elif path.suffix.lower() in LIST_SUFFIXES and os.path.isfile(path):  # noqa: PTH113
        yield from _list(path, stdin_folder, lists)
    elif not os.path.lexists(path) and glob.has_magic(text):
        yield from _glob(text)
    else:
        yield _file(path)


def _list(path: Path, stdin_folder: Path | None, lists: tuple[Path, ...]) -> Iterator[_Found]:
    if (here := path.resolve()) in lists:
        yield _file(path, "this list names itself")
        return
    try:
        lines = _read_list(str(path))
    except UsageError as error:
        yield _file(path, str(error))
        return
    for line in lines:
        yield from _expand(_beside(path, line), stdin_folder, (*lists, here))


def _file(path: Path, problem: str = "") -> _Found:
    return _Found(path, PurePosixPath(path.name or "input"), _absolute(path).parent, None, problem)


def _folder(folder: Path) -> Iterator[_Found]:
    closed: list[OSError] = []
    root, found = _absolute(folder), sorted(_walk(folder, closed.append))
    for relative in found:
        yield _Found(folder / relative, PurePosixPath(relative.as_posix()), root)
    for error in closed:
        yield _file(Path(error.filename), f"cannot look into this folder: {error.strerror}")
    if not found and not closed:
        yield _file(
            folder, "no audio files in this folder (known by their ending: .wav, .flac, ...)"
        )


def _walk(folder: Path, on_error: Callable[[OSError], None]) -> Iterator[Path]:
    """Audio files below `folder`, relative to it; follows links, but no folder into itself."""
    for directory, subfolders, files in os.walk(folder, onerror=on_error, followlinks=True):
        here = Path(directory)
        above = {parent.resolve() for parent in (here, *here.parents)}
        subfolders[:] = [
            name
            for name in subfolders
            if not name.startswith(".")
            and not ((here / name).is_symlink() and (here / name).resolve() in above)
        ]
        for name in files:
            if Path(name).suffix.lower() in AUDIO_SUFFIXES and not name.startswith("."):
                yield (here / name).relative_to(folder)


def _glob(pattern: str) -> Iterator[_Found]:
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - absolute ones too
    for match in matches:
        if Path(match).is_dir():
            yield from _folder(Path(match))
        else:
            yield _file(Path(match))
    if not matches:
        yield _file(Path(pattern), "no such file, and no file matches it as a pattern")


def _manifest(path: Path) -> Iterator[_Found]:
    for utterance in read_manifest(path):
        extra = dict(utterance.extra)
        if utterance.offset_s:
            extra["offset"] = utterance.offset_s
        if utterance.speaker_id is not None:
            extra["speaker"] = utterance.speaker_id
        item = Item(
            path=utterance.audio_path,
            name=_safe_name(utterance.utterance_id),
            utterance_id=utterance.utterance_id,
            offset_s=utterance.offset_s,
            duration_s=utterance.duration_s or None,
            extra=extra,
        )
        yield _Found(utterance.audio_path, PurePosixPath(item.name), item=item)


def _read_list(source: str) -> list[str]:
    if source == "-":
        data = sys.stdin.buffer.read()
    else:
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read the list {source}: {error.strerror}") from error
    data = data.removeprefix(codecs.BOM_UTF8)
    lines = data.split(b"\0") if b"\0" in data else data.splitlines()
    names = [os.fsdecode(line) for line in lines if line.strip()]
    if not names:
        raise UsageError(f"the list {source} names no files")
    return names


def _beside(list_path: Path, line: str) -> str:
    """A line of a list file: a path from here, or else from the list's own folder."""
    below = list_path.parent / line
    return str(below) if not os.path.lexists(line) and os.path.lexists(below) else line


def _spool_stdin(folder: Path | None) -> Path:
    if sys.stdin is None:
        raise UsageError("stdin is closed: there is nothing to read from -")
    handle, name = tempfile.mkstemp(prefix="stdin-", dir=folder)
    with os.fdopen(handle, "wb") as spool:
        shutil.copyfileobj(sys.stdin.buffer, spool, 1 << 20)
    return Path(name)


def _by_channel(found: _Found) -> list[_Found]:
    try:
        number = probe(found.path).channels
    except AudioError:
        return [found]  # it fails when its turn comes, with its reason
    return [replace(found, channel=channel) for channel in range(number)]


def _settle(found: Sequence[_Found]) -> list[Item]:
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


def _identity(found: _Found) -> tuple[Any, ...]:
    item = found.item or Item(found.path, "")
    clip = (item.offset_s, item.duration_s, item.utterance_id)
    return (str(_absolute(found.path)), found.channel, *clip)


def _distinct_names(found: Sequence[_Found]) -> list[str]:
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


def _refuse(found: Sequence[_Found], names: Sequence[str], shared: set[str]) -> None:
    name = min(shared)
    paths = [printable(one.path) for one, own in zip(found, names, strict=True) if own == name]
    raise UsageError(
        f"{len(paths)} inputs would be written as '{printable(name)}': {', '.join(paths[:4])}; "
        "name the folder above them instead, or give each its own -o"
    )


def _utterance_ids(
    found: Sequence[_Found], names: Mapping[int, str], unique: Sequence[int]
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


def _safe_name(utterance_id: str) -> str:
    """An id as a relative path that stays below the output folder."""
    parts = [part for part in utterance_id.replace("\0", "").split("/") if part not in ("", ".")]
    return "/".join("__" if part == ".." else part for part in parts) or "utterance"


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are
