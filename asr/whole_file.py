"""Files that are written whole or not at all, and folders that can be written to before any work."""

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from asr.errors import AsrError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system has against writing to `path` becomes an AsrError that names it."""
    try:
        yield
    except OSError as error:
        raise AsrError(f"cannot write {path}: {error.strerror or error}") from None


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place when the block ends without an error.

    Raises:
        AsrError: the disk does not take it.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with writing(path):
            yield partial
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: Path, parts: Iterable[str], prefix: str = ".asr-") -> None:
    """Write a text file under another name, then rename: a reader sees all of it or none."""
    temporary = path.with_name(f"{prefix}{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            for part in parts:
                file.write(part)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def make_writable(folder: Path) -> None:
    """Make a folder for results and see that it can be written to, so that no work is lost at the end.

    Raises:
        AsrError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError as error:
        raise AsrError(f"cannot make the folder {folder}: {error.strerror or error}") from None
    if not writable:
        raise AsrError(f"cannot write into the folder {folder}: no permission")
