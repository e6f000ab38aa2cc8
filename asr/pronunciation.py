"""Pronunciations: words as sequences of phones, for networks that also write phones and for decoding
with them. A lexicon is text in Kaldi's form, a word and its phones a line; a word may have several.
"""

import bz2
import errno
import gzip
import itertools
import lzma
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from asr.decoding.arpa import open_bytes
from asr.errors import AsrError
from asr.tokenizer import BLANK, SPACE
from asr.whole_file import writing, written_whole

Phones = tuple[str, ...]


@dataclass(frozen=True)
class Lexicon:
    """The phones that a network writes, and how words are said.

    Attributes:
        phones: the vocabulary: blank, the boundary of words, then the phones; a phone's id is its place.
        words: the pronunciations of each word, the usual one first; none empty, none twice.
    """

    phones: Phones
    words: Mapping[str, tuple[Phones, ...]]

    def __post_init__(self) -> None:
        if self.phones[:2] != (BLANK, SPACE) or len(set(self.phones)) != len(self.phones):
            raise AsrError("phones begin with the blank and a space, and none is there twice")

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {phone: phone_id for phone_id, phone in enumerate(self.phones)}

    def spellings(self, word: str) -> list[list[int]]:
        """Phone ids of each pronunciation of a word; empty where the lexicon lacks it."""
        return [list(map(self._ids.__getitem__, said)) for said in self.words.get(word, ())]

    def encodings(self, text: str) -> Iterator[list[int]]:
        """Phone ids of every way to say a text, boundaries between its words, the usual way first.

        None where the lexicon lacks a word (see `lacking`).
        """
        for choice in itertools.product(*map(self.spellings, text.split())):
            phone_ids: list[int] = []
            for spelling in choice:
                phone_ids += [self._ids[SPACE], *spelling]
            yield phone_ids[1:]

    def encode(self, text: str) -> list[int]:
        """The usual one of `encodings`; empty where there is none."""
        return next(self.encodings(text), [])

    def lacking(self, texts: Iterable[str]) -> list[str]:
        """Words of `texts` that the lexicon lacks, in order, each once."""
        words = dict.fromkeys(word for text in texts for word in text.split())
        return [word for word in words if word not in self.words]


def read_lexicon(path: Path | str, phones: Phones | None = None) -> Lexicon:
    """Read a lexicon; a name that ends in .gz, .xz or .bz2 is compressed.

    Args:
        phones: the vocabulary; None: the phones that occur, in order.

    Raises:
        AsrError: unreadable, a word without phones, a phone that is not in the vocabulary.
    """
    path = Path(path)
    try:
        with open_bytes(path) as file:
            text = file.read().decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text, or damaged"
        raise AsrError(f"cannot read the lexicon {path}: {reason}") from None
    words: dict[str, tuple[Phones, ...]] = {}
    known = None if phones is None else frozenset(phones[2:])
    for number, line in enumerate(text.splitlines(), start=1):
        word, *said = line.split() or [""]
        if not word:
            continue
        if not said:
            raise AsrError(f"{path}, line {number}: {word!r} has no phones after it")
        if known is not None and not known.issuperset(said):
            unknown = min(set(said) - known)
            raise AsrError(f"{path}, line {number}: the model has no phone {unknown!r}")
        before = words.get(word, ())
        if tuple(said) not in before:
            words[word] = (*before, tuple(said))
    if not words:
        raise AsrError(f"{path} has no words: a line is a word and its phones")
    return Lexicon(phones or vocabulary(words), words)


def vocabulary(words: Mapping[str, tuple[Phones, ...]]) -> Phones:
    """The blank, the boundary of words, and the phones that occur, in order."""
    return (
        BLANK,
        SPACE,
        *sorted({phone for said in words.values() for one in said for phone in one}),
    )


def check_writable(path: Path) -> None:
    """Make the folder that a lexicon is to be written to. AsrError where it cannot be written there."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder is there")
        if not os.access(path if _is_stream(path) else path.resolve().parent, os.W_OK):
            raise PermissionError(errno.EACCES, "no permission")


def write_lexicon(lexicon: Lexicon, path: Path) -> None:
    """Write a lexicon, words in order, as read_lexicon reads it; the same bytes from the same words.

    Written whole or not at all; its folder is made.

    Raises:
        AsrError: it cannot be written there.
    """
    lines = [
        f"{word} {' '.join(phones)}\n"
        for word in sorted(lexicon.words)
        for phones in lexicon.words[word]
    ]
    content = "".join(lines).encode()
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    elif path.suffix == ".xz":
        content = lzma.compress(content, preset=9)
    elif path.suffix == ".bz2":
        content = bz2.compress(content)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if _is_stream(path):
            path.write_bytes(content)
            return
        with written_whole(path.resolve()) as partial:  # a link stays one
            partial.write_bytes(content)


def _is_stream(path: Path) -> bool:
    """Whether `path` is a pipe or a device, such as /dev/stdout: no file can take its place."""
    return path.exists() and not path.is_file()
