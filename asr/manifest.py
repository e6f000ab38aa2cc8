"""Manifests: one JSON object a line, one utterance an object.

Keys are the field's common ones: ``audio_filepath``, ``text``, ``duration`` (seconds), and
optionally ``offset`` (seconds), ``speaker``, ``utterance_id``. Relative paths are relative to the
manifest. Unknown keys are kept, in `Utterance.extra`.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr.collector import collection_paused
from asr.errors import AsrError
from asr.whole_file import writing

_KNOWN_KEYS = frozenset(("utterance_id", "audio_filepath", "offset", "duration", "text", "speaker"))
_SAID_BY_FOLDER = ("train", "dev", "test")  # names that every corpus has
_DECODER = json.JSONDecoder()


class ManifestError(AsrError):
    """A manifest that cannot be used; the message has the file and the line number."""


class _BadLineError(Exception):
    """What is wrong with a line; `read_manifest` adds where it is."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A stretch of an audio file with what is said in it.

    The stretch is [offset_s, offset_s + duration_s); a duration of 0 reaches to the end of the file.
    """

    utterance_id: str
    audio_path: Path
    text: str
    duration_s: float
    offset_s: float = 0.0
    speaker_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def read_manifest(path: Path | str) -> list[Utterance]:
    """Read and validate a manifest.

    Raises:
        ManifestError: no such file, no utterances, no UTF-8, a line that is no JSON object, a
            missing or ill-typed key, an id used twice. Names the file and the line.
    """
    path = Path(path)
    if not path.is_file():
        raise ManifestError(f"no manifest at {path}; `asr prepare` writes manifests")
    try:
        with collection_paused():
            utterances = _read_lines(path)
    except OSError as error:
        raise ManifestError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ManifestError(
            f"{path} is no manifest: not UTF-8 text ({error.reason}); a manifest is JSON lines"
        ) from None
    if not utterances:
        raise ManifestError(f"{path} has no utterances")
    return utterances


def _read_lines(path: Path) -> list[Utterance]:
    utterances: list[Utterance] = []
    line_of: dict[str, int] = {}
    folders = _Folders(path.parent)
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            line = line.strip()
            if not line:
                continue
            try:
                utterance = _parse_line(line, folders)
            except _BadLineError as error:
                raise ManifestError(f"{path}:{number}: {error}") from None
            if line_of.setdefault(utterance.utterance_id, number) != number:
                raise ManifestError(
                    f"{path}:{number}: utterance_id {utterance.utterance_id!r} was used before, "
                    f"on line {line_of[utterance.utterance_id]}; ids must be unique"
                )
            utterances.append(utterance)
    return utterances


class _Folders(dict[str, Path]):
    """Path of "FOLDER/" as a manifest writes it. Most files share theirs, and its parsing is slow."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def __missing__(self, folder: str) -> Path:
        path = self[folder] = self._root / folder
        return path


def _parse_line(line: str, folders: _Folders) -> Utterance:
    entry = _decode(line)
    audio = entry.get("audio_filepath")
    if not isinstance(audio, str) or not audio:
        raise _BadLineError("key 'audio_filepath' is missing or not a path")
    text = entry.get("text", "")
    if not isinstance(text, str):
        raise _BadLineError("key 'text' is not a string")
    speaker, utterance_id = entry.get("speaker"), entry.get("utterance_id")
    name_at = audio.rfind("/") + 1
    return Utterance(
        str(utterance_id) if utterance_id is not None else _default_id(audio, entry),
        folders[audio[:name_at]] / audio[name_at:],
        text,
        _seconds(entry, "duration"),
        _seconds(entry, "offset") if "offset" in entry else 0.0,
        None if speaker in (None, "") else sys.intern(str(speaker)),
        {key: entry[key] for key in entry if key not in _KNOWN_KEYS},
    )


def _decode(line: str) -> dict[str, Any]:
    """The JSON object that `line`, without white space around it, is."""
    try:
        entry, end = _DECODER.raw_decode(line)
        if end != len(line):
            raise json.JSONDecodeError("Extra data", line, end)
    except json.JSONDecodeError as error:
        raise _BadLineError(f"not JSON ({error.msg}, column {error.colno})") from None
    if not isinstance(entry, dict):
        raise _BadLineError(f"expected a JSON object, found {type(entry).__name__}")
    return entry


def _seconds(entry: Mapping[str, Any], key: str) -> float:
    value: Any = entry.get(key)
    if type(value) not in (int, float) or not 0 <= value <= sys.float_info.max:
        raise _BadLineError(f"key {key!r} must be a number of seconds, found {value!r}")
    return float(value)


def _default_id(audio: str, entry: Mapping[str, Any]) -> str:
    """The file's name without its suffix; with the offset where a clip has one."""
    stem = Path(audio).with_suffix("").as_posix()
    return f"{stem}@{_seconds(entry, 'offset')}" if entry.get("offset") else stem


def write_manifest(path: Path | str, utterances: Iterable[Utterance]) -> int:
    """Write a manifest whole or not at all (temporary file, then rename); returns its line count.

    Audio below the manifest's folder is written as a relative path, other audio as an absolute one.

    Raises:
        AsrError: the disk does not take it.
    """
    path = Path(path)
    with writing(path):
        return _write(path, utterances)


def _write(path: Path, utterances: Iterable[Utterance]) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    root = path.parent.resolve()
    count = 0
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            for utterance in utterances:
                out.write(_to_line(_entry(utterance, root)))
                count += 1
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return count


def _to_line(entry: Mapping[str, Any]) -> str:
    """Readable in every script; escaped where a file's name is not valid UTF-8."""
    line = json.dumps(entry, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:
        line = json.dumps(entry)
    return f"{line}\n"


def path_in_manifest(audio_path: Path, root: Path) -> str:
    """How a manifest in the folder `root`, resolved, names an audio file: relative where it is below."""
    audio = Path(os.path.abspath(audio_path))  # noqa: PTH100 - links stay as they are
    return (audio.relative_to(root) if audio.is_relative_to(root) else audio).as_posix()


def _entry(utterance: Utterance, root: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "utterance_id": utterance.utterance_id,
        "audio_filepath": path_in_manifest(utterance.audio_path, root),
        "duration": utterance.duration_s,
        "text": utterance.text,
    }
    if utterance.offset_s:
        entry["offset"] = utterance.offset_s
    if utterance.speaker_id is not None:
        entry["speaker"] = utterance.speaker_id
    return entry | dict(utterance.extra)


def set_name(path: str) -> str:
    """A set by the name of its manifest, without the folders of the machine that it lies on.

    >>> set_name("/home/me/data/released/train-clean-5.jsonl"), set_name("train-clean-5")
    ('train-clean-5', 'train-clean-5')
    >>> set_name("data/own/train.jsonl")
    'own/train'
    """
    manifest = Path(path)
    stem = manifest.name.removesuffix(".jsonl")
    return (
        f"{manifest.parent.name}/{stem}"
        if stem in _SAID_BY_FOLDER and manifest.parent.name
        else stem
    )
