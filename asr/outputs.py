"""The output folder: files written whole or not at all, and what `--resume` skips.

The run log gets one line for every input the moment it is finished, after its files are in place. A
line of a transcribed input holds the whole transcript: so a resumed run can write a format that was
not asked for before, and the combined files (jsonl, ctm, trn), without listening again.
"""

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asr.batch import Result, Status
from asr.codecs import printable, reason_of
from asr.combined import combined_line, labelled, outcome, transcript_fields
from asr.errors import AsrError, UsageError
from asr.formats import COMBINED_FORMATS, FILE_FORMATS, transcript_from_json
from asr.items import Item
from asr.manifest import path_in_manifest
from asr.runlog import LOG_NAME, LoggedLine, RunLog
from asr.summary import Summary
from asr.transcript import Transcript
from asr.whole_file import write_atomically

# Trouble with the folder as a whole: no later file will fare better.
FATAL_ERRNOS = {
    errno.ENOSPC,
    errno.EROFS,
    getattr(errno, "EDQUOT", errno.ENOSPC),
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
}
SUMMARY, COMBINED = "asr-summary", "transcripts"


class OutputError(AsrError):
    """The output folder cannot be written: the run ends, what is done stays."""


class OutputFolder:
    """The files of one run below `root`.

    Args:
        formats: names from FILE_FORMATS and COMBINED_FORMATS.
        settings: what besides the audio decides the transcript (model, precision...).
        part: `.1-of-4` for a shard, whose log and combined files are its own; else ''.
    """

    def __init__(self, root: Path, formats: Sequence[str], settings: str, part: str = "") -> None:
        self.root = root
        self._formats = formats
        self._settings = settings
        self._part = part
        self._log = RunLog(root, part)
        self._done: dict[str, LoggedLine] = {}
        self._last_key: dict[str, str] = {}  # of each name that an earlier run dealt with
        self._written: set[str] = set()  # names of combined files that an earlier run wrote
        self._combined_names: set[str] = set()  # of inputs that are in them, of this part
        self._lines: dict[int, LoggedLine] = {}

    def open(self, items: Sequence[Item], *, resume: bool = False, overwrite: bool = False) -> None:
        """Make the folder and read its logs.

        Raises:
            UsageError: two outputs would be the same file; or `overwrite` is not set, and a file that
                no earlier run of ours wrote is in the way, or a combined file would lose inputs that
                it has and neither this run nor `resume` brings back.
            OutputError: the folder cannot be written.
        """
        self._check_names(items)
        if os.path.lexists(self.root) and not self.root.is_dir():
            raise UsageError(f"-o {printable(self.root)} is not a folder")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            for logged, line in self._log.read_all():
                self._remember(logged, line, resume)
            if not overwrite:
                self._check_not_in_the_way(items)
                if not resume:
                    self._check_nothing_forgotten(items)
            self._log.open()
            self._remove_leftovers(items)
            self._log.append(self._header(items))
        except BlockingIOError:
            raise OutputError(
                f"another run is writing to {printable(self.root)}: wait for it, choose another "
                "-o, or divide the work with --shard"
            ) from None
        except OSError as error:
            raise self._unwritable(self.root, error) from error

    def _header(self, items: Sequence[Item]) -> dict[str, Any]:
        """The log's line for the start of a run.

        It names what no run before it has named: a crash may come between a file and its line, and
        the file is known as ours all the same.
        """
        names = sorted({item.name for item in items} - self._last_key.keys())
        formats = list(self._formats)
        return {
            "run": _now(), "settings": self._settings, "formats": formats, "part": self._part,
            "names": names,
        }  # fmt: skip

    def _remove_leftovers(self, items: Sequence[Item]) -> None:
        """Unfinished files of a run that was killed."""
        folders = {self.root, *(self._path(item, "x").parent for item in items)}
        for folder in folders:
            for leftover in folder.glob(f".asr{self._part}-*.tmp"):
                leftover.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def lookup(self, item: Item, content: str) -> Result | None:
        """The result of an earlier run for the same content and settings, or None."""
        done = self._done.get(self._key(item, content))
        if done is None:
            return None
        transcript = transcript_from_json(done.read())
        return Result(item, Status.SKIPPED, transcript, "done before", content=content)

    def write(self, result: Result) -> Result:
        """Write a result's files, each at once or not at all, then its line in the log.

        Of a result that was done before only what is missing is written, or what another model has
        overwritten since. Returns the result, now failed if its own file could not be written (a
        name too long). Raises OutputError if the folder as a whole cannot be written.
        """
        key = self._key(result.item, result.content)
        before = result.status is Status.SKIPPED and self._last_key.get(result.item.name) == key
        if result.transcript is not None:
            try:
                for name in self._file_formats():
                    if not before or not self._path(result.item, name).is_file():
                        self._write_file(result.item, name, result.transcript)
            except OSError as error:
                reason = f"cannot write the transcript: {reason_of(error)}"
                result = Result(result.item, Status.FAILED, reason=reason, content=result.content)
        try:
            here = self._log.append(self._line(result))
        except OSError as error:
            raise self._unwritable(self._log.path, error) from error
        was_done = result.status is Status.SKIPPED and result.transcript is not None
        self._lines[id(result.item)] = self._done[key] if was_done else here
        return result

    def finish(self, items: Iterable[Item], summary: Summary) -> None:
        """Write the combined formats, in input order, and the summary. Raises OutputError."""
        items = list(items)
        try:
            for name in self._combined_formats():
                self._write(self._combined_path(name), self._combined(items, name))
            document = json.dumps(summary_json(summary), indent=2) + "\n"
            self._write(self._summary_path(), [document])
        except OSError as error:
            raise self._unwritable(self.root, error) from error

    def _write(self, path: Path, parts: Iterable[str]) -> None:
        write_atomically(path, parts, f".asr{self._part}-")

    def _combined(self, items: Sequence[Item], name: str) -> Iterator[str]:
        root = self.root.resolve()
        for item in items:
            done = self._lines.get(id(item))
            if done is not None and not item.duplicate_of:
                yield combined_line(item, done.read(), name, path_in_manifest(item.path, root))

    def _file_formats(self) -> list[str]:
        return [name for name in self._formats if name in FILE_FORMATS]

    def _combined_formats(self) -> list[str]:
        return [name for name in self._formats if name in COMBINED_FORMATS]

    def _combined_path(self, name: str) -> Path:
        return self.root / f"{COMBINED}{self._part}.{name}"

    def _summary_path(self) -> Path:
        return self.root / f"{SUMMARY}{self._part}.json"

    def _path(self, item: Item, name: str) -> Path:
        return self.root / f"{item.name}.{name}"

    def _write_file(self, item: Item, name: str, transcript: Transcript) -> None:
        path = self._path(item, name)
        text = FILE_FORMATS[name](labelled(item, transcript))
        try:
            try:
                self._write(path, [text])
            except FileNotFoundError:  # asked for only when it is missing: disks may be slow
                path.parent.mkdir(parents=True, exist_ok=True)
                self._write(path, [text])
        except OSError as error:
            if error.errno in FATAL_ERRNOS:
                raise self._unwritable(path, error) from error
            raise

    def _line(self, result: Result) -> dict[str, Any]:
        item = result.item
        line = outcome(result) | {"name": item.name}
        if result.transcript is not None:
            line["key"] = self._key(item, result.content)
        if result.transcript is not None and result.status is not Status.SKIPPED:
            line |= transcript_fields(item, result.transcript)
        else:
            line |= {"audio_filepath": str(item.path), "utterance_id": item.utterance_id}
        return line

    def _remember(self, logged: LoggedLine, line: Mapping[str, Any], resume: bool) -> None:
        if "run" in line and isinstance(line.get("names"), list):  # the start of a run
            part = line.get("part", self._part)
            names = (f"{COMBINED}{part}.{name}" for name in line["formats"])
            self._written |= {*names, f"{SUMMARY}{part}.json"}
            for name in line["names"]:
                self._last_key.setdefault(name, "")
        if "name" in line:
            self._last_key[line["name"]] = line.get("key", "")
            if logged.log == self._log.path:
                self._combined_names.add(line["name"])
        if resume and "key" in line and line.get("status") in (Status.OK, Status.EMPTY):
            self._done[line["key"]] = logged

    def _key(self, item: Item, content: str) -> str:
        """What decides a transcript: the file's bytes, the stretch and channel, the settings."""
        return f"{content} {item.offset_s} {item.duration_s} {item.channel} {self._settings}"

    def _check_names(self, items: Sequence[Item]) -> None:
        files = {
            Path(f"{item.name}.{name}"): item for item in items for name in self._file_formats()
        }
        folders = {folder for path in files for folder in path.parents}
        own = {
            Path(f"{stem}{self._part}.{end}")
            for stem, end in ((LOG_NAME, "jsonl"), (SUMMARY, "json"))
        }
        for path in (*sorted(folders & files.keys()), *sorted(own & files.keys())):
            raise UsageError(
                f"the transcript of {printable(files[path].path)} would be {printable(path)}, "
                "which this run needs for something else; rename the input or leave it out"
            )

    def _check_not_in_the_way(self, items: Sequence[Item]) -> None:
        strangers = [
            self._path(item, name)
            for item in items
            if item.name not in self._last_key
            for name in self._file_formats()
            if os.path.lexists(self._path(item, name))
        ]
        whole = [*map(self._combined_path, self._combined_formats()), self._summary_path()]
        strangers += [
            path for path in whole if path.name not in self._written and os.path.lexists(path)
        ]
        if strangers:
            raise UsageError(
                f"{len(strangers)} files that no earlier run wrote are in the way, the first is "
                f"{printable(strangers[0])}; choose another -o, or --overwrite"
            )

    def _check_nothing_forgotten(self, items: Sequence[Item]) -> None:
        there = [
            path for path in map(self._combined_path, self._combined_formats()) if path.exists()
        ]
        forgotten = self._combined_names - {item.name for item in items}
        if there and forgotten:
            raise UsageError(
                f"{printable(there[0])} would lose {len(forgotten)} inputs of earlier runs, such as "
                f"{printable(min(forgotten))}: name them too and add --resume, choose another -o, or "
                "--overwrite"
            )

    def _unwritable(self, path: Path, error: OSError) -> OutputError:
        return OutputError(
            f"cannot write {printable(path)}: {reason_of(error)}; what is done is kept: make room "
            "or mend the folder, then repeat the command with --resume"
        )


def summary_json(summary: Summary) -> dict[str, Any]:
    """The summary as JSON."""
    document = {key: value for key, value in asdict(summary).items() if key != "started"}
    return document | {
        "audio_hours": round(summary.audio_s / 3600, 4),
        "wall_s": round(summary.wall_s, 3),
        "times_real_time": round(summary.times_real_time, 1),
        "exit_status": summary.exit_status,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
