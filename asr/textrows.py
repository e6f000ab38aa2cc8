"""Rows that name what they hold (tables with a header, JSON objects) -> ids, texts and facts."""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from asr.errors import AsrError
from asr.facts import UtteranceFacts

Side = Literal["reference", "hypothesis"]

ID_KEYS = ("utterance_id", "utt_id", "uttid", "id", "key")
PATH_KEYS = (
    "audio_filepath",
    "path",
    "audio",
    "audio_path",
    "file",
    "filename",
    "file_name",
    "wav",
)
TEXT_KEYS: Mapping[Side, tuple[str, ...]] = {
    "reference": ("reference", "ref", "text", "sentence", "transcript", "transcription"),
    "hypothesis": (
        *("pred_text", "hypothesis", "hyp", "prediction", "text"),
        *("sentence", "transcript", "transcription"),
    ),
}
_NAMES = {*ID_KEYS, *PATH_KEYS, *TEXT_KEYS["reference"], *TEXT_KEYS["hypothesis"]}
SPEAKER_KEYS = ("speaker", "speaker_id", "client_id", "spk")
DURATION_KEYS = ("duration", "duration_s")
_LONGEST_CELL = 1 << 30  # characters; csv's own limit is shorter than an hour's transcript


class TextFileError(AsrError):
    """A file of texts that cannot be read; the message has file, line and what to do."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column or key has what; None looks for the usual names."""

    id: str | None = None
    text: str | None = None
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One utterance as a file has it, with its line and the name that its text has there, if any."""

    line: int
    utterance_id: str
    text: str
    speaker: str | None = None
    facts: UtteranceFacts | None = None
    text_key: str | None = None


def is_header(cells: Sequence[str]) -> bool:
    """Whether a table's first row names columns."""
    names = {cell.strip().lower() for cell in cells}
    return bool(names & {*ID_KEYS, *PATH_KEYS}) and bool(names & {*TEXT_KEYS["hypothesis"], "ref"})


def table_entries(
    path: Path, lines: Sequence[str], delimiter: str, side: Side, columns: Columns
) -> Iterator[Entry]:
    """Rows of a table with a header, or with exactly two columns (id, text) and none."""
    rows = _rows(path, lines, delimiter)
    named = [cell.strip() for cell in rows[0][1]]
    if not is_header(named) and not any((columns.id, columns.text)):
        yield from _two_columns(path, rows)
        return
    for line, cells in rows[1:]:
        if len(cells) != len(named):
            raise TextFileError(
                f"{path}:{line}: {len(cells)} columns, but the header has {len(named)}"
            )
        yield _entry(path, line, dict(zip(named, cells, strict=True)), side, columns)


def _rows(path: Path, lines: Sequence[str], delimiter: str) -> list[tuple[int, list[str]]]:
    """The rows that hold something, each with the number of its last line.

    Raises TextFileError with a row's first line where it is none, such as for want of a quotation mark.
    """
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(
        [f"{line}\n" for line in lines],
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL,
        strict=True,
    )
    rows, read = list[tuple[int, list[str]]](), 0
    try:
        for row in reader:
            read = reader.line_num
            if any(cell.strip() for cell in row):
                rows.append((read, row))
    except csv.Error as error:
        raise TextFileError(f"{path}:{read + 1}: this row is not CSV ({error})") from None
    if not rows:
        raise TextFileError(f"{path} has no utterances")
    return rows


def _two_columns(path: Path, rows: Sequence[tuple[int, list[str]]]) -> Iterator[Entry]:
    heads = [cell.strip() for cell in rows[0][1]]
    if _NAMES & {cell.lower() for cell in heads}:
        raise TextFileError(
            f"{path}:{rows[0][0]}: these look like names of columns ({', '.join(map(repr, heads))}): "
            "say which has the id with --id-column, which the text with --text-column or "
            "--hypothesis-column"
        )
    for line, cells in rows:
        if len(cells) != 2:
            raise TextFileError(
                f"{path}:{line}: {len(cells)} columns without a header that names an id and a "
                "text; add one, or name the columns with --id-column and --text-column"
            )
        yield Entry(line, cells[0].strip(), cells[1].strip())


def json_entries(path: Path, lines: Sequence[str], side: Side, columns: Columns) -> Iterator[Entry]:
    """JSON lines, or one JSON document: a list of objects or an object of id -> text.

    All texts have one name, the first of the usual ones that any object has: an object without a
    recognized text is left out, for scoring to list as missing, and does not give its reference for one.
    """
    if _is_json_line(lines[0]) and not _maps_ids(lines, columns):
        numbered = [(n, _load(path, n, line)) for n, line in enumerate(lines, 1) if line.strip()]
    else:
        document = _load(path, 1, "\n".join(lines))
        if isinstance(document, dict) and all(isinstance(text, str) for text in document.values()):
            yield from (Entry(1, str(name), text) for name, text in document.items())
            return
        numbered = [(1, row) for row in (document if isinstance(document, list) else [document])]
    named = {key for _, row in numbered if isinstance(row, dict) for key in row}
    text_key = next((key for key in _keys(columns.text, TEXT_KEYS[side]) if key in named), None)
    for line, row in numbered:
        if not isinstance(row, dict):
            raise TextFileError(
                f"{path}:{line}: expected a JSON object, found {type(row).__name__}"
            )
        if text_key in row or text_key is None or side == "reference":
            yield _entry(path, line, row, side, replace(columns, text=text_key))


def _is_json_line(line: str) -> bool:
    """Whether the first line is an object by itself, be it a broken one, and not a document's start."""
    try:
        return isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return line.lstrip().startswith("{") and len(line.strip()) > 1


def _maps_ids(lines: Sequence[str], columns: Columns) -> bool:
    """Whether a file of one line is an object of id -> text."""
    if sum(bool(line.strip()) for line in lines) > 1:
        return False
    try:
        document = json.loads(lines[0])
    except json.JSONDecodeError:
        return False
    return not document.keys() & {*ID_KEYS, *PATH_KEYS, columns.id}


def _load(path: Path, number: int, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = number + error.lineno - 1
        raise TextFileError(
            f"{path}:{line}: not JSON ({error.msg}, column {error.colno})"
        ) from None


def _entry(path: Path, line: int, row: Mapping[str, Any], side: Side, columns: Columns) -> Entry:
    where = f"{path}:{line}"
    option = "--text-column" if side == "reference" else "--hypothesis-column"
    text_key = _pick(row, columns.text, TEXT_KEYS[side], f"{where}: no text", option)
    text = row[text_key]
    if text is None:
        text = ""
    if not isinstance(text, str):
        raise TextFileError(f"{where}: {text_key!r} is not a text but {type(text).__name__}")
    speakers = (row.get(key) for key in _keys(columns.speaker, SPEAKER_KEYS))
    speaker = next((one for one in speakers if one not in (None, "")), None)
    return Entry(
        line,
        _row_id(row, columns, where),
        text,
        None if speaker is None else str(speaker),
        _row_facts(path, row, columns),
        text_key,
    )


def _row_id(row: Mapping[str, Any], columns: Columns, where: str) -> str:
    """The id as it stands, or a path without its suffix, as `asr.manifest` names utterances."""
    key = _pick(row, columns.id, (*ID_KEYS, *PATH_KEYS), f"{where}: no id", "--id-column")
    value = str(row[key])
    if key not in PATH_KEYS:
        return value
    if not Path(value).name:
        raise TextFileError(f"{where}: {key!r} names no file: {value!r}")
    stem = Path(value).with_suffix("").as_posix()
    offset_s = _number(row.get("offset"))
    return f"{stem}@{offset_s}" if offset_s else stem


def _pick(
    row: Mapping[str, Any], wanted: str | None, usual: Sequence[str], problem: str, option: str
) -> str:
    keys = _keys(wanted, usual)
    found = next((key for key in keys if key in row), None)
    if found is None:
        there = ", ".join(map(repr, row))
        raise TextFileError(
            f"{problem} under {', '.join(map(repr, keys))}; there are {there}. Name it with {option}"
        )
    return found


def _keys(wanted: str | None, usual: Sequence[str]) -> Sequence[str]:
    return (wanted,) if wanted else usual


def _row_facts(path: Path, row: Mapping[str, Any], columns: Columns) -> UtteranceFacts:
    used = _NAMES | {*SPEAKER_KEYS, *DURATION_KEYS, "offset"}
    used |= {name for name in (columns.id, columns.text, columns.speaker) if name}
    duration = next((_number(row[key]) for key in DURATION_KEYS if key in row), None)
    audio = next((row[key] for key in PATH_KEYS if isinstance(row.get(key), str)), None)
    return UtteranceFacts(
        duration,
        path.parent / audio if audio else None,
        _number(row.get("offset")) or 0.0,
        {
            key: str(value)
            for key, value in row.items()
            if key not in used and isinstance(value, str | int | bool) and value != ""
        },
        _confidences(row.get("words")),
    )


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _confidences(words: Any) -> tuple[float, ...] | None:
    if not isinstance(words, list) or not words:
        return None
    numbers = [_number(one.get("confidence")) if isinstance(one, dict) else None for one in words]
    return None if None in numbers else tuple(number for number in numbers if number is not None)
