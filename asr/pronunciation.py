"""Pronunciations: words as sequences of phones, for networks that also write phones and for decoding
with them. A lexicon is text in Kaldi's form, a word and its phones a line; a word may have several.
"""

import bz2
import codecs
import errno
import gzip
import itertools
import lzma
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from asr.decoding.arpa import open_bytes
from asr.decoding.lexicon import Spellings, spellings_of
from asr.errors import AsrError
from asr.tokenizer import BLANK, SPACE
from asr.whole_file import writing, written_whole

Phones = tuple[str, ...]


class Rows(NamedTuple):
    """N pronunciations, those of a word the usual one first; none empty, none twice.

    Attributes:
        words: (N,) whose pronunciation each is.
        spellings: N of phones, by their ids.
    """

    words: Sequence[str]
    spellings: Spellings


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The phones that a network writes, and how words are said.

    Attributes:
        phones: the vocabulary: blank, the boundary of words, then the phones; a phone's id is its place.
        rows: all pronunciations.
    """

    phones: Phones
    rows: Rows

    def __post_init__(self) -> None:
        if self.phones[:2] != (BLANK, SPACE) or len(set(self.phones)) != len(self.phones):
            raise AsrError("phones begin with the blank and a space, and none is there twice")

    @classmethod
    def of(cls, words: Mapping[str, Sequence[Phones]], phones: Phones | None = None) -> "Lexicon":
        """A lexicon of these words, each with its pronunciations, the usual one first.

        Args:
            phones: the vocabulary; None: the phones that occur, in order.
        """
        said = [one for pronunciations in words.values() for one in pronunciations]
        phones = phones or _vocabulary(itertools.chain.from_iterable(said))
        ids = {phone: phone_id for phone_id, phone in enumerate(phones)}
        rows = Rows(
            [word for word, pronunciations in words.items() for _ in pronunciations],
            spellings_of([[ids[phone] for phone in one] for one in said]),
        )
        return cls(phones, rows)

    @cached_property
    def words(self) -> Mapping[str, tuple[Phones, ...]]:
        """The pronunciations of each word."""
        words: dict[str, tuple[Phones, ...]] = {}
        phone_ids, lengths = self.rows.spellings
        names = iter([self.phones[phone_id] for phone_id in phone_ids.tolist()])
        for word, length in zip(self.rows.words, lengths.tolist(), strict=True):
            words[word] = (*words.get(word, ()), tuple(itertools.islice(names, length)))
        return words

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
            content = file.read().removeprefix(codecs.BOM_UTF8)
        content.decode()
    except (OSError, EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text, or damaged"
        raise AsrError(f"cannot read the lexicon {path}: {reason}") from None
    return _parsed(content, path, phones)


def _parsed(content: bytes, path: Path, phones: Phones | None) -> Lexicon:
    """The lexicon that a file holds. Its 200,000 lines are never looked at one by one in Python."""
    from asr.lexicon_text import parse  # numba, which decoding greedily does without

    if phones is None:
        phones = _vocabulary(phone.decode() for line in _lines(content) for phone in line[1:])
    found = parse(content, [phone.encode() for phone in phones[2:]], 2)
    if not len(found.lengths):
        raise AsrError(f"{path} has no words: a line is a word and its phones")
    if not found.lengths.all() or found.phone_ids.min() < 0:
        raise _wrong_line(content, path, phones)
    words = found.words.tobytes().decode().split("\n")[:-1]
    rows = Rows(words, Spellings(found.phone_ids, found.lengths))
    hashes = np.sort(found.hashes)
    some_alike = bool((hashes[1:] == hashes[:-1]).any())
    return Lexicon(phones, _each_once(rows) if some_alike else rows)


def _lines(content: bytes) -> Iterator[list[bytes]]:
    return (line.split() for line in content.split(b"\n"))


def _wrong_line(content: bytes, path: Path, phones: Phones) -> AsrError:
    """What is wrong with the first line that cannot be used."""
    known = {phone.encode() for phone in phones[2:]}
    for number, tokens in enumerate(_lines(content), 1):
        where = f"{path}, line {number}"
        if len(tokens) == 1:
            return AsrError(f"{where}: {tokens[0].decode()!r} has no phones after it")
        for phone in tokens[1:]:
            if phone not in known:
                return AsrError(f"{where}: the model has no phone {phone.decode()!r}")
    raise AssertionError("no line is wrong")


def _each_once(rows: Rows) -> Rows:
    """Without what a word has twice."""
    several = {word for word, count in Counter(rows.words).items() if count > 1}
    if not several:
        return rows
    phone_ids, lengths = rows.spellings
    ends, keep = np.cumsum(lengths), np.ones(len(rows.words), bool)
    seen: set[tuple[str, bytes]] = set()
    for row in [row for row, word in enumerate(rows.words) if word in several]:
        said = rows.words[row], phone_ids[ends[row] - lengths[row] : ends[row]].tobytes()
        keep[row] = said not in seen
        seen.add(said)
    return Rows(list(itertools.compress(rows.words, keep.tolist())), rows.spellings.chosen(keep))


def _vocabulary(phones: Iterable[str]) -> Phones:
    """The blank, the boundary of words, and the phones that occur, in order."""
    return (BLANK, SPACE, *sorted(set(phones)))


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
