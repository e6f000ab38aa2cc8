"""Texts by utterance id out of any system's files: trn, Kaldi text, tsv, csv, JSON lines, ctm, stm.

What a file says besides texts (speakers, durations, word confidences, any other column) comes
along. Nothing is guessed silently: an id used twice, a line that does not fit the format or bytes
that are no UTF-8 are errors with file and line.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asr.errors import UsageError
from asr.facts import UtteranceFacts
from asr.textrows import (
    Columns,
    Entry,
    Side,
    TextFileError,
    is_header,
    json_entries,
    table_entries,
)

__all__ = ["Columns", "Side", "TextFileError", "Texts", "read_lines", "read_texts"]

FORMATS = ("trn", "text", "tsv", "csv", "jsonl", "ctm", "stm", "lines", "folder")
_SUFFIXES = {
    **{".trn": "trn", ".ctm": "ctm", ".stm": "stm", ".tsv": "tsv", ".csv": "csv"},
    **{".jsonl": "jsonl", ".json": "jsonl", ".ndjson": "jsonl", ".manifest": "jsonl"},
}
_TRN_LINE = re.compile(r"^(.*?)\s*\(([^()\s]+)\)\s*$", re.DOTALL)
_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


@dataclass(frozen=True)
class Texts:
    """The texts of one file, by utterance id, in the order of the file.

    Attributes:
        text_key: the column or key that they stand under; None where they have no name.
    """

    path: Path
    format: str
    texts: Mapping[str, str]
    speakers: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, UtteranceFacts] = field(default_factory=dict)
    text_key: str | None = None


def read_texts(
    path: Path | str,
    side: Side,
    *,
    format: str | None = None,
    columns: Columns | None = None,
    encoding: str = "utf-8",
) -> Texts:
    """Read a file (or a folder of .txt files) of any known format but ctm and stm.

    Args:
        side: which text a file with several has to give: `text` or `pred_text`.
        format: one of `FORMATS`; None goes by the suffix, then by the first lines.
        columns: names of columns or JSON keys that differ from the usual ones.
        encoding: of the bytes; a byte order mark wins.

    Raises:
        TextFileError: not there, empty, not this format, an id used twice, undecodable bytes.
    """
    path, columns = Path(path), columns or Columns()
    if path.is_dir() and format in (None, "folder"):
        return _collect(path, "folder", _folder_entries(path, encoding))
    text = read_lines(path, encoding)
    format = format or detect_format(path, text)
    readers: Mapping[str, Callable[[], Iterator[Entry]]] = {
        "trn": lambda: _trn_entries(path, text),
        "text": lambda: _kaldi_entries(text),
        "tsv": lambda: table_entries(path, text, "\t", side, columns),
        "csv": lambda: table_entries(path, text, ",", side, columns),
        "jsonl": lambda: json_entries(path, text, side, columns),
        "lines": lambda: _line_entries(text),
    }
    if format not in readers:
        raise UsageError(f"cannot read {path} as {format!r}; formats: {', '.join(FORMATS)}")
    return _collect(path, format, readers[format]())


def read_lines(path: Path, encoding: str = "utf-8") -> list[str]:
    """The lines of a file without their ends (LF, CRLF or CR), decoded strictly.

    Raises:
        TextFileError: no such file, nothing in it, or bytes that are not in the encoding.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TextFileError(f"cannot read {path}: {error.strerror or error}") from None
    encoding = next(
        (name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), encoding
    )
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TextFileError(
            f"{path}:{line}: byte 0x{content[error.start]:02x} is not {encoding}; convert the file "
            "to UTF-8, or name its encoding with --encoding (latin-1, cp1252, ...)"
        ) from None
    except LookupError:
        raise UsageError(f"there is no encoding called {encoding!r}") from None
    lines = re.split(r"\r\n|\n|\r", text)
    if not any(line.strip() for line in lines):
        raise TextFileError(f"{path} is empty")
    return lines[:-1] if lines[-1] == "" else lines


def detect_format(path: Path, lines: Sequence[str]) -> str:
    """The format by the file's suffix, and where that says nothing by its first lines."""
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    some = [line for line in lines[:50] if line.strip()]
    if all(line.lstrip().startswith(("{", "[")) for line in some):
        return "jsonl"
    if all(_TRN_LINE.match(line) for line in some):
        return "trn"
    if all("\t" in line for line in some) and is_header(some[0].split("\t")):
        return "tsv"
    return "text"


def _collect(path: Path, format: str, entries: Iterator[Entry]) -> Texts:
    lines: dict[str, int] = {}
    texts: dict[str, str] = {}
    speakers: dict[str, str] = {}
    facts: dict[str, UtteranceFacts] = {}
    text_key = None
    for entry in entries:
        name = entry.utterance_id
        if name in lines:
            raise TextFileError(
                f"{path}:{entry.line}: id {name!r} was used before, on line {lines[name]}; ids must "
                "be unique" + (_PLAIN_HINT if format == "text" else "")
            )
        lines[name], texts[name], text_key = entry.line, entry.text, entry.text_key
        if entry.speaker:
            speakers[name] = entry.speaker
        if entry.facts:
            facts[name] = entry.facts
    if not texts:
        raise TextFileError(f"{path} has no utterances")
    return Texts(path, format, texts, speakers, facts, text_key)


_PLAIN_HINT = " (if these are plain lines without ids, use --by-line)"


def _trn_entries(path: Path, lines: Sequence[str]) -> Iterator[Entry]:
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith(";;"):
            continue
        match = _TRN_LINE.match(line)
        if not match:
            raise TextFileError(f"{path}:{number}: no '(utterance-id)' at the end of the line")
        check_no_alternatives(match[1], f"{path}:{number}")
        yield Entry(number, match[2], match[1].strip())


def check_no_alternatives(text: str, where: str) -> None:
    """TextFileError where a text has alternatives in the NIST tools' manner, ``{ a / b }``."""
    if "{" in text and "/" in text:
        raise TextFileError(
            f"{where}: alternatives in braces are not scored; choose one, or map both forms to one "
            "with --substitutions"
        )


def _kaldi_entries(lines: Sequence[str]) -> Iterator[Entry]:
    """A tab in every line ends the ids, which may have spaces; else the first space or tab does."""
    by_tabs = all("\t" in line.strip() for line in lines if line.strip())
    for number, line in enumerate(lines, start=1):
        if line.strip():
            bare = line.strip() if by_tabs else line.strip().replace("\t", " ")
            utterance_id, _, text = bare.partition("\t" if by_tabs else " ")
            yield Entry(number, utterance_id.strip(), text.replace("\t", " ").strip())


def _line_entries(lines: Sequence[str]) -> Iterator[Entry]:
    for number, line in enumerate(lines, start=1):
        yield Entry(number, f"line-{number}", line.strip())


def _folder_entries(folder: Path, encoding: str) -> Iterator[Entry]:
    files = sorted(folder.rglob("*.txt"))
    if not files:
        raise TextFileError(f"no .txt files in {folder}")
    for file in files:
        try:
            text = " ".join(read_lines(file, encoding))
        except TextFileError:
            if file.stat().st_size:
                raise
            text = ""
        yield Entry(1, file.relative_to(folder).with_suffix("").as_posix(), text)
