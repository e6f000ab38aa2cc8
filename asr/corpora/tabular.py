"""Tables that name audio and texts: CSV, TSV (or any usual delimiter) with a header, JSON lines.

Paths in a table are relative to it, or to its folder `clips`, `wavs`, `wav` or `audio`. A table of
two columns without a header is (audio or id, text). What other columns say is kept.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.corpora.listing import (
    SUBSETS,
    Clip,
    Listing,
    Problem,
    Reason,
    audio_by_stem,
    is_audio,
    without_ending,
)
from asr.errors import UsageError
from asr.textfiles import TextFileError, read_lines
from asr.textrows import DURATION_KEYS, ID_KEYS, PATH_KEYS, SPEAKER_KEYS, TEXT_KEYS

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
_AUDIO_FOLDERS = ("", "clips", "wavs", "wav", "audio")
_MANIFEST_AUDIO = "audio_filepath"  # its rows have the duration of the utterance, in seconds
_MANIFEST_KEYS = {"utterance_id", "audio_filepath", "offset", "duration", "text", "speaker"}
_DELIMITERS = "\t,;|"
_LOOK_AT = 20  # rows that decide which folder the paths are relative to


@dataclass(frozen=True)
class TableColumns:
    """Which column (or JSON key) has what; None looks for the usual names."""

    audio: str | None = None
    text: str | None = None
    speaker: str | None = None
    id: str | None = None
    offset: str | None = None
    end: str | None = None
    duration: str | None = None
    subset: str | None = None


_USUAL: Mapping[str, Sequence[str]] = {
    "audio": PATH_KEYS,
    "text": TEXT_KEYS["reference"],
    "speaker": SPEAKER_KEYS,
    "id": ID_KEYS,
    "offset": ("offset", "start", "start_s", "start_time"),
    "end": ("end", "end_s", "end_time"),
    "duration": DURATION_KEYS,
    "subset": ("split", "subset"),
}


@dataclass(frozen=True)
class Table:
    """The rows of a table with their line numbers, and the lines that are no rows."""

    path: Path
    rows: tuple[tuple[int, Mapping[str, Any]], ...]
    problems: tuple[Problem, ...]

    @property
    def columns(self) -> list[str]:
        """The names of all columns, in order of appearance."""
        return list(dict.fromkeys(key for _, row in self.rows for key in row))


def list_table(
    path: Path | str,
    columns: TableColumns | None = None,
    *,
    audio_dir: Path | None = None,
    encoding: str = "utf-8",
) -> Listing:
    """The clips that a table names.

    Args:
        audio_dir: what its paths are relative to; None looks (see above).

    Raises:
        TextFileError: no such table, no rows, undecodable bytes.
        UsageError: a column that is not there; names those that are.
    """
    table = read_table(Path(path), encoding)
    names = find_columns(table, columns or TableColumns())
    base, by_stem = _find_audio(table, names, audio_dir)
    uses = Counter(str(_cell(row, names.audio)).strip() for _, row in table.rows)
    clips, problems = [], list(table.problems)
    for line, row in table.rows:
        clip = _clip(f"{table.path}:{line}", row, names, base, by_stem, uses)
        if isinstance(clip, Problem):
            problems.append(clip)
        else:
            clips.append(clip)
    layout = f"table {table.path.name}: audio in column {names.audio}, text in column {names.text}"
    speaker = f"speaker in column {names.speaker}" if names.speaker else "no column for the speaker"
    return Listing(f"{layout}, {speaker}", tuple(clips), tuple(problems))


def read_table(path: Path, encoding: str = "utf-8") -> Table:
    """Rows of a CSV, TSV or JSON lines file. Raises TextFileError."""
    lines = read_lines(path, encoding)
    if path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        rows, problems = _json_rows(path, lines)
    else:
        rows, problems = _delimited_rows(path, lines)
    if not rows:
        first = f"; the first problem: {problems[0]}" if problems else ""
        raise TextFileError(f"{path} has no rows{first}")
    return Table(path, tuple(rows), tuple(problems))


def find_columns(table: Table, wanted: TableColumns) -> TableColumns:
    """The names that the columns have in `table`; UsageError where audio or text is not there."""
    there = table.columns
    by_lower = {name.lower(): name for name in reversed(there)}
    found: dict[str, str | None] = {}
    for role, usual in _USUAL.items():
        name = getattr(wanted, role)
        if name is not None and name not in there:
            raise UsageError(_no_column(table, role, name))
        found[role] = name or next((by_lower[one] for one in usual if one in by_lower), None)
    if found["audio"] is None:
        found["audio"] = found["id"]  # LJSpeech-like: ids that are names of files
    for role in ("audio", "text"):
        if found[role] is None:
            raise UsageError(_no_column(table, role, None))
    return TableColumns(**found)


def _no_column(table: Table, role: str, name: str | None) -> str:
    what = f"no column {name!r}" if name else f"no column that is known to hold the {role}"
    there = ", ".join(table.columns) or "none"
    return f"{table.path} has {what}; it has: {there}. Name it with --{role}-column"


def _delimited_rows(
    path: Path, lines: Sequence[str]
) -> tuple[list[tuple[int, Mapping[str, Any]]], list[Problem]]:
    delimiter = _delimiter(path, lines[0])
    quoted = delimiter not in "\t|"
    header: list[str] = []
    rows: list[tuple[int, Mapping[str, Any]]] = []
    problems: list[Problem] = []
    for line, cells in _cells(path, lines, delimiter, problems, quoted=quoted):
        if not header:
            header = [cell.strip() for cell in cells]
            if not _is_headless_pair(header):
                continue
            header = ["audio", "text"]
        if len(cells) != len(header):
            what = f"{len(cells)} columns, but the header has {len(header)}"
            problems.append(Problem(Reason.BAD_LINE, f"{path}:{line}", what))
        else:
            values = cells if quoted else map(_unquoted, cells)
            rows.append((line, dict(zip(header, values, strict=True))))
    return rows, problems


def _cells(
    path: Path, lines: Sequence[str], delimiter: str, problems: list[Problem], *, quoted: bool
) -> Iterator[tuple[int, list[str]]]:
    """Lines with something in them.

    One that cannot be read is a problem, such as for a quotation mark that is never closed, and reading
    goes on behind it.
    """

    def read_from(line: int) -> Any:
        quoting: Any = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        rest = (f"{one}\n" for one in lines[line:])
        return csv.reader(rest, delimiter=delimiter, quoting=quoting, strict=True)

    begun = 0  # lines before the reader's first
    reader = read_from(begun)
    while True:
        line = begun + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.append(Problem(Reason.BAD_LINE, f"{path}:{line}", f"not CSV ({error})"))
            begun = line
            reader = read_from(begun)
            continue
        if any(cell.strip() for cell in cells):
            yield line, cells


def _delimiter(path: Path, header: str) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    return max(_DELIMITERS, key=header.count)


def _is_headless_pair(cells: Sequence[str]) -> bool:
    known = {name for names in _USUAL.values() for name in names}
    return len(cells) == 2 and not {cell.lower() for cell in cells} & known and is_audio(cells[0])


def _unquoted(cell: str) -> str:
    '''A cell without quotation marks around the whole of it (`"He said ""no"""`).'''
    inside = cell[1:-1]
    wrapped = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inside.replace('""', "")
    return inside.replace('""', '"') if wrapped else cell


def _json_rows(
    path: Path, lines: Sequence[str]
) -> tuple[list[tuple[int, Mapping[str, Any]]], list[Problem]]:
    rows: list[tuple[int, Mapping[str, Any]]] = []
    problems = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            row = f"not a JSON object a line ({error})"
        if isinstance(row, dict):
            rows.append((number, row))
        else:
            what = row if isinstance(row, str) else "not a JSON object"
            problems.append(Problem(Reason.BAD_LINE, f"{path}:{number}", what))
    return rows, problems


def _find_audio(
    table: Table, names: TableColumns, audio_dir: Path | None
) -> tuple[Path, Mapping[str, Path]]:
    """The folder of the audio, and its files by stem where the table leaves out the ending."""
    above = table.path.parent
    some = [str(_cell(row, names.audio) or "") for _, row in table.rows[:_LOOK_AT]]
    folders = [audio_dir] if audio_dir else [above / name for name in _AUDIO_FOLDERS]
    for folder in folders:
        if any(name and (folder / name).is_file() for name in some):
            return folder, {}
    for folder in folders:
        by_stem = audio_by_stem(folder)
        if any(name in by_stem for name in some):
            return folder, by_stem
    return folders[0], {}


def _clip(
    where: str,
    row: Mapping[str, Any],
    names: TableColumns,
    base: Path,
    by_stem: Mapping[str, Path],
    uses: Mapping[str, int],
) -> Clip | Problem:
    audio, text = _cell(row, names.audio), _cell(row, names.text)
    if not isinstance(audio, str) or not audio.strip():
        return Problem(Reason.NO_AUDIO, where, f"column {names.audio} names no audio file")
    if text is not None and not isinstance(text, str):
        return Problem(Reason.BAD_LINE, where, f"column {names.text} is no text but {text!r}")
    audio = audio.strip()
    try:
        offset_s, end_s = _times(row, names, cut=uses[audio] > 1)
    except ValueError as error:
        return Problem(Reason.BAD_LINE, where, str(error))
    stem = _stem(audio)
    id_value = _cell(row, names.id)
    return Clip(
        utterance_id=str(id_value) if id_value else f"{stem}@{offset_s:g}" if offset_s else stem,
        audio_path=by_stem.get(audio, base / audio),
        text=text or "",
        where=where,
        speaker_id=_name(_cell(row, names.speaker)),
        offset_s=offset_s,
        end_s=end_s,
        subset=_subset(_cell(row, names.subset)),
        extra=_extra(row, names),
    )


def _cell(row: Mapping[str, Any], name: str | None) -> Any:
    """What a row has in the column `name`; None where there is no such column."""
    return None if name is None else row.get(name)


def _stem(audio: str) -> str:
    """The path of an audio file as an utterance's id."""
    return (without_ending(audio) if is_audio(audio) else audio).removeprefix("./")


def _times(row: Mapping[str, Any], names: TableColumns, cut: bool) -> tuple[float, float | None]:
    """Where the clip starts and ends.

    A length counts where a recording is cut into clips, beside a start, and in a manifest, where 0
    reaches to the end of the file; elsewhere it may be anything, such as milliseconds.
    """
    offset = _seconds(row, names.offset)
    end = _seconds(row, names.end)
    duration = _seconds(row, names.duration)
    in_manifest = names.audio is not None and names.audio.lower() == _MANIFEST_AUDIO
    if in_manifest and duration == 0:
        duration = None
    if end is None and duration is not None and (cut or offset is not None or in_manifest):
        end = (offset or 0.0) + duration
    return offset or 0.0, end


def _seconds(row: Mapping[str, Any], name: str | None) -> float | None:
    value = _cell(row, name)
    if value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"column {name} is no number of seconds: {value!r}") from None


def _name(value: Any) -> str | None:
    return str(value).strip() or None if value is not None else None


def _subset(value: Any) -> str | None:
    """The name of a set, which becomes the name of a manifest."""
    name = re.sub(r"[^\w-]+", "_", _name(value) or "")
    return SUBSETS.get(name.lower(), name) or None


def _extra(row: Mapping[str, Any], names: TableColumns) -> dict[str, Any]:
    """What else a row says, but for what a manifest has keys of its own for."""
    used = {getattr(names, role) for role in _USUAL} | _MANIFEST_KEYS
    return {key: value for key, value in row.items() if key not in used and value not in ("", None)}
