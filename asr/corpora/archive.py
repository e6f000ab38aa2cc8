"""Safe unpacking of .tar.gz files.

An archive is a stranger's: nothing of it may land outside its folder, and it may not fill the disk. So
only plain files and folders are unpacked, with relative names without `..`, each once, within limits;
anything else ends the unpacking, and nothing of it is kept. Python's `data` filter (PEP 706) is applied
as well, where this Python has it.
"""

import gzip
import os
import shutil
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from asr.corpora.progress import Reporter, Task
from asr.errors import AsrError

_BLOCK = 1 << 20


class ArchiveError(AsrError):
    """An archive that is damaged, or that is not what it should be."""


@dataclass(frozen=True)
class Limits:
    """What an archive may hold at most: unpacked bytes with tar's own headers, files and folders."""

    num_bytes: int
    num_members: int = 1_000_000


def unpack(archive: Path, folder: Path, limits: Limits, reporter: Reporter) -> int:
    """Unpack `archive` into `folder`, which must not exist yet; returns the number of files.

    Raises:
        ArchiveError: damaged, or with a member that may not be; `folder` is gone again.
        OSError: the folder cannot be written; it is gone again.
    """
    folder.mkdir(parents=True)
    try:
        with archive.open("rb") as packed:
            size = os.fstat(packed.fileno()).st_size
            with reporter.task(f"unpacking {archive.name}", size) as task:
                return _unpack(packed, folder, limits, task)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, tarfile.TarError | EOFError | zlib.error | gzip.BadGzipFile):
            raise ArchiveError(f"{archive} is damaged ({error}); delete it and try again") from None
        if isinstance(error, _UnsafeError):
            raise ArchiveError(
                f"{archive} is not unpacked: {error}. It is not the published archive: delete it"
            ) from None
        raise


class _UnsafeError(Exception):
    """What is wrong with a member."""


def _unpack(packed: BinaryIO, folder: Path, limits: Limits, task: Task) -> int:
    count = members = 0
    with gzip.GzipFile(fileobj=cast(BinaryIO, _Counted(packed, task)), mode="rb") as plain:
        stream = _Limited(plain, limits.num_bytes)
        with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|", bufsize=_BLOCK) as tar:
            for member in tar:
                members += 1
                if members > limits.num_members:
                    raise _UnsafeError(f"it has more than {limits.num_members:,} members")
                count += _unpack_member(tar, member, folder)
        while stream.read(_BLOCK):  # to the end, where gzip's checksum is
            pass
    return count


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> int:
    """Write one member below `folder`; returns the number of files, 0 or 1."""
    target = folder / _safe_name(member, folder)
    try:
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            return 0
        target.parent.mkdir(parents=True, exist_ok=True)
        source = tar.extractfile(member)
        assert source is not None  # it is a plain file
        with source, target.open("xb") as file:
            shutil.copyfileobj(source, file, _BLOCK)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise _UnsafeError(f"it has {member.name!r} twice, or as a file and as a folder") from None
    return 1


def _safe_name(member: tarfile.TarInfo, folder: Path) -> PurePosixPath:
    """The member's name, if it may be unpacked; else _UnsafeError."""
    name = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise _UnsafeError(f"{member.name!r} is a {_kind(member)}, not a plain file or a folder")
    strange = name.is_absolute() or ".." in name.parts or set(member.name) & set("\\:\0")
    if strange or not (name.parts or member.isdir()):
        raise _UnsafeError(f"the name {member.name!r} leads outside its folder")
    if hasattr(tarfile, "data_filter"):
        try:
            tarfile.data_filter(member, str(folder))
        except tarfile.FilterError as error:
            raise _UnsafeError(str(error)) from None
    return name


def _kind(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return f"link to {member.linkname!r}"
    return "device" if member.isdev() else "special file"


class _Counted:
    """A file that tells a task how much of it was read."""

    def __init__(self, file: BinaryIO, task: Task) -> None:
        self._file, self._task = file, task

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._task.advance(len(data))
        return data


class _Limited:
    """A stream of which at most `limit` bytes can be read."""

    def __init__(self, file: gzip.GzipFile, limit: int) -> None:
        self._file, self._left = file, limit

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise _UnsafeError("it unpacks to far more than the published archive does")
        return data
