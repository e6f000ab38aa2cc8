"""Archives of strangers: nothing lands outside, nothing but files, nothing without end."""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from asr.corpora.archive import ArchiveError, Limits, unpack
from asr.corpora.progress import Reporter

QUIET = Reporter(io.StringIO())
LIMITS = Limits(1_000_000, num_members=100)


def pack(path: Path, *members: tarfile.TarInfo | tuple[str, bytes]) -> Path:
    """A .tar.gz of these members; plain files as (name, content)."""
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_files_and_folders_are_unpacked(tmp_path: Path) -> None:
    members = [special("./", tarfile.DIRTYPE), special("a", tarfile.DIRTYPE), ("a/b/c.txt", b"one"),
               ("./a/d", b""), ("ä ö.txt", b"two")]  # fmt: skip
    archive = pack(tmp_path / "x.tar.gz", *members)
    assert unpack(archive, tmp_path / "out", LIMITS, QUIET) == 3
    assert (tmp_path / "out/a/b/c.txt").read_bytes() == b"one"
    assert (tmp_path / "out/a/d").read_bytes() == b""
    assert (tmp_path / "out/ä ö.txt").read_bytes() == b"two"


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (("../evil", b"x"), r"'\.\./evil' leads outside"),
        (("a/../../evil", b"x"), "leads outside"),
        (("/tmp/evil", b"x"), "leads outside"),
        (("C:\\evil", b"x"), "leads outside"),
        (("a\\..\\evil", b"x"), "leads outside"),
        (special("link", tarfile.SYMTYPE, "/etc/passwd"), "'link' is a link to '/etc/passwd'"),
        (special("link", tarfile.SYMTYPE, "good"), "is a link"),
        (special("hard", tarfile.LNKTYPE, "good"), "is a link to 'good'"),
        (special("null", tarfile.CHRTYPE), "is a device"),
        (special("disk", tarfile.BLKTYPE), "is a device"),
        (special("pipe", tarfile.FIFOTYPE), "is a device"),
        (("good", b"again"), "it has 'good' twice"),
        (special("good", tarfile.DIRTYPE), "'good' twice, or as a file and as a folder"),
        (("good/below", b"x"), "'good/below' twice, or"),
    ],
)
def test_what_may_not_be_ends_the_unpacking(
    member: tarfile.TarInfo | tuple[str, bytes], message: str, tmp_path: Path
) -> None:
    """And the folder is as before: nothing stays, nothing was written elsewhere."""
    folder = tmp_path / "deep/out"
    archive = pack(tmp_path / "x.tar.gz", ("good", b"x"), member)
    with pytest.raises(ArchiveError, match=message) as error:
        unpack(archive, folder, LIMITS, QUIET)
    assert "It is not the published archive: delete it" in str(error.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "x.tar.gz"]


def test_a_link_cannot_lead_a_later_file_outside(tmp_path: Path) -> None:
    members = [special("way", tarfile.SYMTYPE, str(tmp_path)), ("way/evil", b"x")]
    with pytest.raises(ArchiveError, match="is a link"):
        unpack(pack(tmp_path / "x.tar.gz", *members), tmp_path / "out", LIMITS, QUIET)
    assert not (tmp_path / "evil").exists()


def test_a_bomb_is_stopped(tmp_path: Path) -> None:
    """A thousand times as long unpacked as packed; in one file, in many, and after the last one."""
    big = pack(tmp_path / "big.tar.gz", ("zeros", bytes(5_000_000)))
    assert big.stat().st_size < 10_000
    with pytest.raises(ArchiveError, match="far more than the published archive"):
        unpack(big, tmp_path / "out", LIMITS, QUIET)
    many = pack(tmp_path / "many.tar.gz", *((f"{n}", b"") for n in range(101)))
    with pytest.raises(ArchiveError, match="more than 100 members"):
        unpack(many, tmp_path / "out", LIMITS, QUIET)
    tail = tmp_path / "tail.tar.gz"
    plain = gzip.decompress(pack(tail, ("a", b"x")).read_bytes())
    tail.write_bytes(gzip.compress(plain + bytes(5_000_000)))
    with pytest.raises(ArchiveError, match="far more than the published archive"):
        unpack(tail, tmp_path / "out", LIMITS, QUIET)
    assert not (tmp_path / "out").exists()


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    """It can claim any length with no bytes behind it."""
    info = special("holes", tarfile.GNUTYPE_SPARSE)
    with pytest.raises(ArchiveError, match="'holes' is a special file|damaged"):
        unpack(pack(tmp_path / "x.tar.gz", info), tmp_path / "out", LIMITS, QUIET)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-4],
        lambda data: data[:-8] + b"\0\0\0\0" + data[-4:],
        lambda data: data[:2000] + b"\xff" * 50 + data[2050:],
        lambda data: b"<html>not found</html>",
        lambda data: gzip.compress(b"no tar at all" * 100),
        lambda data: b"",
    ],
    ids=["half", "no end", "checksum", "bytes", "a page", "no tar", "empty"],
)
def test_damage_is_named(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.tar.gz", ("a", bytes(range(256)) * 999))
    data = gzip.compress(gzip.decompress(archive.read_bytes()), compresslevel=0)
    archive.write_bytes(damage(data))
    with pytest.raises(ArchiveError, match=r"x\.tar\.gz is damaged .*; delete it and try again"):
        unpack(archive, tmp_path / "out", LIMITS, QUIET)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_not_written_into(tmp_path: Path) -> None:
    archive = pack(tmp_path / "x.tar.gz", ("a", b"x"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    with pytest.raises(FileExistsError):
        unpack(archive, tmp_path / "out", LIMITS, QUIET)
    assert (tmp_path / "out/mine").exists()
