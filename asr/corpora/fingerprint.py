"""What is known of a published file: its length and checksums, and whether a copy on disk agrees."""

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

from asr.corpora.progress import Reporter

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Fingerprint:
    """Length and checksums as published.

    Attributes:
        num_bytes: length; None where none is published.
        other_sizes: lengths of other releases under the same name.
        md5, sha256: hexadecimal; None where none is published.
    """

    num_bytes: int | None = None
    md5: str | None = None
    sha256: str | None = None
    other_sizes: tuple[int, ...] = ()

    @property
    def has_checksum(self) -> bool:
        """Whether the content can be told from any other of the same length."""
        return self.md5 is not None or self.sha256 is not None

    def wrong_length(self, num_bytes: int) -> str | None:
        """What is wrong with a length, or None."""
        if self.num_bytes is None or num_bytes in (self.num_bytes, *self.other_sizes):
            return None
        return f"{num_bytes:,} bytes instead of {self.num_bytes:,}"

    def is_exceeded(self, num_bytes: int) -> bool:
        """Whether so many bytes are more than the file has in any release."""
        return self.num_bytes is not None and num_bytes > max(self.num_bytes, *self.other_sizes, 0)

    def mismatch(self, path: Path, reporter: Reporter) -> str | None:
        """What is wrong with the file at `path`, or None.

        Its length, then its checksums; of a .gz file without any the gzip checksum. Raises OSError.
        """
        num_bytes = path.stat().st_size
        problem = self.wrong_length(num_bytes)
        if problem is not None:
            return problem
        if self.has_checksum:
            return self._wrong_checksum(path, num_bytes, reporter)
        return _broken_gzip(path) if path.name.removesuffix(".part").endswith(".gz") else None

    def _wrong_checksum(self, path: Path, num_bytes: int, reporter: Reporter) -> str | None:
        expected = {"MD5": self.md5, "SHA-256": self.sha256}
        found = {
            "MD5": hashlib.md5(usedforsecurity=False),
            "SHA-256": hashlib.sha256(),
        }
        with path.open("rb") as file, reporter.task(f"checking {path.name}", num_bytes) as task:
            while block := file.read(_BLOCK):
                for digest in found.values():
                    digest.update(block)
                task.advance(len(block))
        for name, value in expected.items():
            if value is not None and found[name].hexdigest() != value:
                return f"{name} {found[name].hexdigest()} instead of {value}"
        return None


def _broken_gzip(path: Path) -> str | None:
    try:
        with gzip.open(path) as file:
            while file.read(_BLOCK):
                pass
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        return f"no whole gzip file ({error})"
    return None
