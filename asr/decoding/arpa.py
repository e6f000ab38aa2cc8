"""ARPA files (plain, .gz, .xz, .bz2) -> n-gram models; what is wrong with a file is said by line."""

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from asr.decoding.ngram import (
    BEGIN,
    END,
    LN10,
    UNKNOWN,
    LanguageModelError,
    NgramModel,
    build_model,
    is_compiled,
    load_compiled,
)
from asr.decoding.packed import is_packed, load_packed

MISSING_UNKNOWN_LOG10 = -100.0  # what KenLM gives to unknown words when the file has no <unk>
_UPPER_UNKNOWN = b"<UNK>"  # Kaldi's, and what its recipes let SRILM write
_OPENERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
)
_COUNT = re.compile(rb"ngram\s+(\d+)\s*=\s*(\d+)")
_CHUNK_LINES = 100_000


def load_ngram(path: Path | str) -> NgramModel:
    """Load a language model: a compiled, packed or ARPA file, or a folder with one of them in it.

    Raises:
        LanguageModelError: no such file, or not a usable model.
    """
    path = find_ngram(path)
    if is_packed(path):
        return load_packed(path)
    return load_compiled(path) if is_compiled(path) else read_arpa(path)


def find_ngram(path: Path | str) -> Path:
    """The file of a language model: itself, or the one in a folder; LanguageModelError if none."""
    path = Path(path)
    if path.is_dir():
        found = sorted(path.glob("*.ngram")) or sorted(path.glob("*.arpa*"))
        if len(found) != 1:
            raise LanguageModelError(f"{path} holds {len(found)} language models; name one file")
        path = found[0]
    if not path.is_file():
        raise LanguageModelError(f"no language model at {path}: make one with `asr lm train`")
    return path


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, through gzip, xz or bzip2 where its name ends in .gz, .xz or .bz2."""
    return cast(IO[bytes], _OPENERS.get(path.suffix, Path.open)(path, "rb"))


@dataclass
class Level:
    """The n-grams of one order, in parts, as they stand in the file: word ids, ln P, ln of back-offs."""

    ids: list[NDArray[np.int32]] = field(default_factory=list)
    log_probs: list[NDArray[np.float64]] = field(default_factory=list)
    backoffs: list[NDArray[np.float64]] = field(default_factory=list)


class _Lines:
    """Lines of a file with their numbers; damage to the file becomes a message."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path, self.number, self._lines = path, 0, iter(file)

    def take(self, count: int) -> list[bytes]:
        try:
            lines = list(islice(self._lines, count))
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            raise LanguageModelError(
                f"{self.path} is damaged or cut off after line {self.number}: {error}"
            ) from None
        self.number += len(lines)
        return lines

    def skip_blank(self) -> bytes:
        """The next line that is not blank, stripped; b"" at the end of the file."""
        while lines := self.take(1):
            if line := lines[0].strip():
                return line
        return b""

    def error(self, message: str, line: int | None = None) -> LanguageModelError:
        return LanguageModelError(f"{self.path}, line {line or self.number}: {message}")


def read_arpa(path: Path | str) -> NgramModel:
    """Read an ARPA file.

    As KenLM does, <UNK> is read as <unk> in a file without the latter, and a file without either
    with a P(<unk>) of 10^-100.

    Raises:
        LanguageModelError: truncated, counts that do not match, an n-gram whose context is missing
            or that stands there twice, bytes that are not UTF-8, no <s> or </s>.
    """
    path = Path(path)
    with open_bytes(path) as file:
        lines = _Lines(path, file)
        counts = _read_counts(lines)
        words: list[str] = []
        ids: dict[bytes, int] = {}
        levels = []
        for order, count in enumerate(counts, start=1):
            levels.append(_read_section(lines, order, count, len(counts), ids, words))
        if (line := lines.skip_blank()) != b"\\end\\":
            raise lines.error(
                f"\\end\\ is expected here, not {_show(line)}: more n-grams than said?"
            )
    if UNKNOWN.encode() not in ids and _UPPER_UNKNOWN in ids:
        words[ids[_UPPER_UNKNOWN]] = UNKNOWN
    return assemble(path, words, levels)


def _read_counts(lines: _Lines) -> list[int]:
    line = lines.skip_blank()
    while line and line != b"\\data\\":
        line = lines.skip_blank() if lines.number < 1000 else b""
    if not line:
        raise LanguageModelError(f"{lines.path} is no ARPA file: it has no \\data\\ line")
    counts: list[int] = []
    while raw := lines.take(1):
        line = raw[0].strip()
        if not line and counts:
            break
        if not line:
            continue
        if line == b"\\end\\" and not counts:
            break
        match = _COUNT.fullmatch(line)
        if not match or int(match[1]) != len(counts) + 1:
            raise lines.error(
                f"'ngram {len(counts) + 1}=COUNT' is expected here, not {_show(line)}"
            )
        counts.append(int(match[2]))
    if not counts or not counts[0]:
        raise LanguageModelError(f"{lines.path} has no n-grams: its order is 0")
    return counts


def _read_section(
    lines: _Lines, order: int, count: int, highest: int, ids: dict[bytes, int], words: list[str]
) -> Level:
    line = lines.skip_blank()
    if line != b"\\%d-grams:" % order:
        more = f": more {order - 1}-grams than said?" if order > 1 and line[:1] != b"\\" else ""
        raise lines.error(f"\\{order}-grams: is expected here, not {_show(line)}{more}")
    level = Level()
    left = count
    while left:
        chunk = lines.take(min(left, _CHUNK_LINES))
        first_line = lines.number - len(chunk) + 1
        if not chunk:
            raise LanguageModelError(
                f"{lines.path} is cut off: it promises {count} {order}-grams and ends after "
                f"{count - left}"
            )
        left -= len(chunk)
        _parse_chunk(lines, chunk, first_line, order, order == highest, ids, words, level)
    return level


def _parse_chunk(
    lines: _Lines, chunk: list[bytes], first_line: int, order: int, is_highest: bool,
    ids: dict[bytes, int], words: list[str], level: Level,
) -> None:  # fmt: skip
    rows = [line.split() for line in chunk]
    widths = {order + 1} if is_highest else {order + 1, order + 2}
    for number, row in enumerate(rows, start=first_line):
        if len(row) not in widths and not (is_highest and len(row) == order + 2):
            raise lines.error(
                f"a {order}-gram with its log-probability is expected here, not "
                f"{_show(chunk[number - first_line])}: wrong counts, or the file is damaged",
                number,
            )
    if order == 1:
        _add_words(lines, rows, first_line, ids, words)
    try:
        level.ids.append(
            np.array([[ids[word] for word in row[1 : order + 1]] for row in rows], np.int32)
        )
    except KeyError:
        bad = next(n for n, row in enumerate(rows) if any(w not in ids for w in row[1 : order + 1]))
        raise lines.error(
            f"{_show(chunk[bad])} has a word that is not among the 1-grams", first_line + bad
        ) from None
    level.log_probs.append(_floats(lines, [row[0] for row in rows], first_line))
    if not is_highest:
        backoffs = [row[order + 1] if len(row) == order + 2 else b"0" for row in rows]
        level.backoffs.append(_floats(lines, backoffs, first_line))


def _add_words(
    lines: _Lines, rows: list[list[bytes]], first_line: int, ids: dict[bytes, int], words: list[str]
) -> None:
    for number, row in enumerate(rows, start=first_line):
        if row[1] in ids:
            raise lines.error(f"the word {_show(row[1])} stands twice among the 1-grams", number)
        ids[row[1]] = len(words)
        try:
            words.append(row[1].decode())
        except UnicodeDecodeError:
            raise lines.error(
                f"{row[1]!r} is not UTF-8: convert the file (iconv -t UTF-8)", number
            ) from None


def _floats(lines: _Lines, fields: list[bytes], first_line: int) -> NDArray[np.float64]:
    try:
        values = np.array(fields).astype(np.float64)
    except ValueError:
        values = np.array([np.nan])
    if np.isnan(values).any() or np.isposinf(values).any():
        bad = next(n for n, text in enumerate(fields) if not _is_number(text))
        raise lines.error(f"{_show(fields[bad])} is no logarithm", first_line + bad)
    return np.maximum(values, MISSING_UNKNOWN_LOG10) * LN10


def _is_number(text: bytes) -> bool:
    try:
        return float(text) < np.inf
    except ValueError:
        return False


def _show(line: bytes) -> str:
    text = line.strip().decode("utf-8", "replace")
    return repr(text[:60]) if text else "the end of the file"


def assemble(path: Path, words: Sequence[str], levels: list[Level]) -> NgramModel:
    """The model of n-grams in any order.

    Args:
        path: what errors name.

    Raises:
        LanguageModelError: no <s> or </s>, an n-gram whose context is missing or that is there twice.
    """
    for special in (BEGIN, END):
        if special not in words:
            raise LanguageModelError(
                f"{path} has no {special}: it was trained without sentence boundaries; train it "
                "again, for instance with `asr lm train`"
            )
    unigrams = levels[0]
    if UNKNOWN not in words:
        unigrams.ids.append(np.array([[len(words)]], np.int32))
        unigrams.log_probs.append(np.array([MISSING_UNKNOWN_LOG10 * LN10]))
        unigrams.backoffs.append(np.zeros(1))
        words = [*words, UNKNOWN]
    sorted_levels, sorted_backoffs = [], []
    context_keys: list[NDArray[np.int64]] = []
    for order, level in enumerate(levels, start=1):
        ids = np.concatenate(level.ids) if level.ids else np.empty((0, order), np.int32)
        parents = _parents(path, words, ids, context_keys)
        keys = parents << 32 | ids[:, -1]
        rank = np.argsort(keys, kind="stable")
        _check_unique(path, words, ids[rank], keys[rank])
        context_keys.append(keys[rank])
        scores = np.concatenate(level.log_probs) if level.log_probs else np.empty(0)
        sorted_levels.append((parents[rank], ids[rank, -1], scores[rank]))
        if order < len(levels):
            backoffs = np.concatenate(level.backoffs) if level.backoffs else np.empty(0)
            sorted_backoffs.append(backoffs[rank])
    return build_model(words, sorted_levels, sorted_backoffs)


def _parents(
    path: Path, words: Sequence[str], ids: NDArray[np.int32], context_keys: list[NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Position of each n-gram's context in the level before; LanguageModelError if it lacks one."""
    parents = np.zeros(len(ids), np.int64)
    for position, keys in enumerate(context_keys):
        wanted = parents << 32 | ids[:, position]
        parents = np.searchsorted(keys, wanted)
        known = np.zeros(len(ids), bool)
        inside = parents < len(keys)
        known[inside] = keys[parents[inside]] == wanted[inside]
        if not known.all():
            row = ids[int(np.flatnonzero(~known)[0])]
            raise LanguageModelError(
                f"{path}: the {len(row)}-gram {_phrase(words, row)} has the context "
                f"{_phrase(words, row[: position + 1])}, which the file lacks: it is damaged, or "
                "was pruned without keeping contexts"
            )
    return parents.astype(np.int64)


def _check_unique(
    path: Path, words: Sequence[str], ids: NDArray[np.int32], keys: NDArray[np.int64]
) -> None:
    twice = np.flatnonzero(np.diff(keys) == 0)
    if len(twice):
        raise LanguageModelError(f"{path} has the n-gram {_phrase(words, ids[twice[0]])} twice")


def _phrase(words: Sequence[str], ids: NDArray[np.int32]) -> str:
    return repr(" ".join(words[word_id] for word_id in ids))
