"""The run log, `asr-run.jsonl`: one line of JSON for each thing done, appended at once.

It is only ever added to. A line cut short by a crash is ignored when the log is read again.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOG_NAME = "asr-run"


@dataclass(frozen=True)
class LoggedLine:
    """Where a line is; its content stays on disk."""

    log: Path
    offset: int

    def read(self) -> dict[str, Any]:
        """The line."""
        with self.log.open("rb") as log:
            log.seek(self.offset)
            return parse_line(log.readline())


class RunLog:
    """The log of one run in the folder `root`, beside those of other runs and shards."""

    def __init__(self, root: Path, part: str = "") -> None:
        self._root = root
        self.path = root / f"{LOG_NAME}{part}.jsonl"
        self._file: int | None = None

    def read_all(self) -> Iterator[tuple[LoggedLine, dict[str, Any]]]:
        """The lines of all logs in the folder, the log last written to last."""
        logs = [log for log in self._root.glob(f"{LOG_NAME}*.jsonl") if log.is_file()]
        for log in sorted(logs, key=lambda log: log.stat().st_mtime):
            offset = 0
            with log.open("rb") as lines:
                for data in lines:
                    yield LoggedLine(log, offset), parse_line(data)
                    offset += len(data)

    def open(self) -> None:
        """Open for appending. Raises BlockingIOError if another run has this log open, OSError."""
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        lock(self._file)
        end_torn_line(self._file)

    def append(self, line: Mapping[str, Any]) -> LoggedLine:
        """Add a line. Raises OSError."""
        assert self._file is not None
        data = (json.dumps(line, ensure_ascii=True) + "\n").encode()
        written = 0
        while written < len(data):
            written += os.write(self._file, data[written:])
        return LoggedLine(self.path, os.lseek(self._file, 0, os.SEEK_CUR) - len(data))

    def close(self) -> None:
        """Close the log, which also ends its lock."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def lock(file: int, wait: bool = False) -> None:
    """Lock a file until it is closed or the process ends, however it ends.

    Raises BlockingIOError if another holds it, or waits for it; without file locks does nothing.
    """
    try:
        import fcntl  # not on Windows
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError:
        return  # a file system without locks


def parse_line(data: bytes) -> dict[str, Any]:
    """A line of the log; {} for one that a crash cut short."""
    try:
        line = json.loads(data)
    except ValueError:
        return {}
    return line if isinstance(line, dict) and data.endswith(b"\n") else {}


def end_torn_line(log_file: int) -> None:
    """Give a last line without its end one, so that the next line starts afresh."""
    size = os.lseek(log_file, 0, os.SEEK_END)
    if size == 0:
        return
    os.lseek(log_file, size - 1, os.SEEK_SET)
    if os.read(log_file, 1) != b"\n":
        os.write(log_file, b"\n")
    os.lseek(log_file, 0, os.SEEK_END)
