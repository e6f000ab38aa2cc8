"""An unfinished download on disk: FILE.part, and FILE.part.json with what of it is there.

The file is divided into spans, which several connections fill, each from its beginning. The sidecar
says how much of each is there, and which file on which server it is: so a download goes on after hours
or days, and starts over when the file on the server is another one by then.
"""

import json
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

from asr.corpora.transfer import Remote

SPAN_BYTES = 64 << 20  # what one request asks for
_SAVE_EVERY_S = 1.0


@dataclass(frozen=True)
class Span:
    """The bytes [start, stop) of a file."""

    index: int
    start: int
    stop: int


@dataclass(frozen=True)
class _State:
    """The sidecar: what was downloaded, and how much of each span is there."""

    url: str
    etag: str | None
    last_modified: str | None
    length: int
    span_bytes: int
    have: list[int]

    def is_sound(self, size: int) -> bool:
        """Whether the numbers are possible for a file of `size` bytes on disk."""
        if self.span_bytes <= 0 or len(self.have) != -(-self.length // self.span_bytes):
            return False
        starts = range(0, self.length, self.span_bytes)
        return all(
            0 <= have <= min(self.span_bytes, self.length - start)
            and (have == 0 or start + have <= size)
            for start, have in zip(starts, self.have, strict=True)
        )

    def is_of(self, remote: Remote, checked: bool) -> bool:
        """Whether what is there belongs to `remote`."""
        if self.length != remote.length or self.url != remote.url:
            return self.length == remote.length and checked
        validators = (remote.etag, remote.last_modified)
        return (self.etag, self.last_modified) == validators and (checked or any(validators))


class PartFile:
    """The unfinished download of `target`.

    Attributes:
        path: where the bytes are until the file is whole.
    """

    def __init__(self, target: Path, span_bytes: int = SPAN_BYTES) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._state_path = target.with_name(f"{target.name}.part.json")
        self._span_bytes = span_bytes
        self._remote: Remote | None = None
        self._have: list[int] = []
        self._file: FileIO | None = None
        self._saved_at = 0.0
        self._lock = threading.Lock()

    def open(self, remote: Remote, checked: bool) -> int:
        """Open for writing; returns how many bytes of an earlier download are kept.

        Args:
            checked: a checksum will be compared in the end. Only then are bytes kept that came from
                another server, or about which there is no sidecar.
        """
        self.close()
        self._remote = remote
        self._have = []
        if remote.ranges and remote.length is not None:
            self._have = self._kept(remote, remote.length, checked)
        self._file = FileIO(self.path, "r+" if any(self._have) else "w+")
        self._save()
        return sum(self._have)

    def spans(self) -> list[Span]:
        """The spans of which something is missing."""
        assert self._remote is not None
        length = self._remote.length or 0
        starts = range(0, length, self._span_bytes)
        spans = [Span(i, s, min(s + self._span_bytes, length)) for i, s in enumerate(starts)]
        return [span for span in spans if self.have(span) < span.stop - span.start]

    def have(self, span: Span) -> int:
        """How many bytes of a span are there, from its beginning."""
        return self._have[span.index]

    def add(self, span: Span, data: bytes) -> None:
        """Go on with a span. Raises OSError."""
        with self._lock:
            self._write(span.start + self._have[span.index], data)
            self._have[span.index] += len(data)
            if time.monotonic() - self._saved_at >= _SAVE_EVERY_S:
                self._save()

    def append(self, offset: int, data: bytes) -> None:
        """Go on with a download that has no spans; at 0 it starts over. Raises OSError."""
        assert self._file is not None
        if offset == 0 and self._size() > 0:
            self._file.truncate(0)
        self._write(offset, data)

    def close(self) -> None:
        """Close, with a sidecar that is up to date; what cannot be saved will be fetched again."""
        if self._file is not None:
            with suppress(OSError):
                self._save()
            self._file.close()
            self._file = None

    def discard(self) -> None:
        """Remove what is there."""
        self.close()
        self.path.unlink(missing_ok=True)
        self._state_path.unlink(missing_ok=True)

    def finish(self, target: Path) -> None:
        """Give the whole file its name. Raises OSError."""
        self.close()
        self.path.replace(target)
        self._state_path.unlink(missing_ok=True)

    def on_disk(self) -> int:
        """How many bytes an unfinished download holds."""
        state = self._read_state()
        return sum(state.have) if state else self._size()

    def _write(self, offset: int, data: bytes) -> None:
        assert self._file is not None
        self._file.seek(offset)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def _kept(self, remote: Remote, length: int, checked: bool) -> list[int]:
        """How many bytes of each span an earlier download has left."""
        state, size = self._read_state(), self._size()
        if state and state.is_sound(size) and state.is_of(remote, checked):
            self._span_bytes = state.span_bytes
            return list(state.have)
        starts = range(0, length, self._span_bytes)
        if self._state_path.exists() or not checked or size > length:
            return [0 for _ in starts]
        return [min(max(size - start, 0), self._span_bytes) for start in starts]

    def _size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        remote = self._remote
        if remote is None or not self._have:
            self._state_path.unlink(missing_ok=True)
            return
        state = _State(
            remote.url, remote.etag, remote.last_modified,
            remote.length or 0, self._span_bytes, self._have,
        )  # fmt: skip
        temporary = self._state_path.with_name(f"{self._state_path.name}.new")
        try:
            temporary.write_text(json.dumps(asdict(state)), "utf-8")
            temporary.replace(self._state_path)
        finally:
            temporary.unlink(missing_ok=True)

    def _read_state(self) -> _State | None:
        """The sidecar; None where there is none that can be read."""
        try:
            state = _State(**json.loads(self._state_path.read_text("utf-8")))
            numbers = [state.length, state.span_bytes, *state.have]
        except (OSError, ValueError, TypeError):
            return None
        return state if all(isinstance(number, int) for number in numbers) else None
