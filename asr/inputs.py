"""What the user names -> the work list: files, folders, globs, manifests, list files, stdin."""

import codecs
import glob
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from asr.audio import probe
from asr.codecs import AudioError
from asr.errors import UsageError
from asr.items import AUDIO_SUFFIXES, Found, Item, absolute, settle
from asr.manifest import read_manifest

MANIFEST_SUFFIXES = frozenset({".jsonl", ".json"})
LIST_SUFFIXES = frozenset({".txt", ".lst", ".list"})


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
    if "" in given:
        raise UsageError("an input has no name: is a variable of a script not set?")
    found = [one for text in given for one in _expand(text, stdin_folder)]
    if separate_channels:
        found = [one for each in found for one in _by_channel(each)]
    elif channel is not None:
        found = [replace(one, channel=channel) for one in found]
    return settle(found)


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


def _expand(text: str, stdin_folder: Path | None, lists: tuple[Path, ...] = ()) -> Iterator[Found]:
    """What an input stands for; `lists`: the lists of files that it comes from."""
    if text == "-":
        yield Found(_spool_stdin(stdin_folder), PurePosixPath("stdin"))
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


def _list(path: Path, stdin_folder: Path | None, lists: tuple[Path, ...]) -> Iterator[Found]:
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


def _file(path: Path, problem: str = "") -> Found:
    return Found(path, PurePosixPath(path.name or "input"), absolute(path).parent, None, problem)


def _folder(folder: Path) -> Iterator[Found]:
    closed: list[OSError] = []
    root, found = absolute(folder), sorted(_walk(folder, closed.append))
    for relative in found:
        yield Found(folder / relative, PurePosixPath(relative.as_posix()), root)
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


def _glob(pattern: str) -> Iterator[Found]:
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - absolute ones too
    for match in matches:
        if Path(match).is_dir():
            yield from _folder(Path(match))
        else:
            yield _file(Path(match))
    if not matches:
        yield _file(Path(pattern), "no such file, and no file matches it as a pattern")


def _manifest(path: Path) -> Iterator[Found]:
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
        yield Found(utterance.audio_path, PurePosixPath(item.name), item=item)


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


def _by_channel(found: Found) -> list[Found]:
    try:
        number = probe(found.path).channels
    except AudioError:
        return [found]  # it fails when its turn comes, with its reason
    return [replace(found, channel=channel) for channel in range(number)]


def _safe_name(utterance_id: str) -> str:
    """An id as a relative path that stays below the output folder."""
    parts = [part for part in utterance_id.replace("\0", "").split("/") if part not in ("", ".")]
    return "/".join("__" if part == ".." else part for part in parts) or "utterance"
