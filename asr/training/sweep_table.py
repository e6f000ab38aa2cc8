"""The table of a sweep: summary.csv, one row a run in their order, and summary.md, the best first."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.report import write_files
from asr.report_text import percent
from asr.run_state import RunState

ROWS_FILE, TABLE_FILE = "summary.csv", "summary.md"
_DONE = "done"


@dataclass(frozen=True, slots=True)
class SweepRow:
    """One run of a sweep.

    Attributes:
        name: its folder.
        swept: the overrides that it alone has, "key=value".
        status: "done", "to do", "begun", or "failed: " and why.
        dev_wer: the best, a fraction; None before the first validation.
        test_wers: (test set, WER).
        minutes: of wall clock, over all attempts; None where not known.
    """

    name: str
    swept: tuple[str, ...]
    status: str
    dev_wer: float | None
    test_wers: tuple[tuple[str, float], ...]
    minutes: float | None
    num_parameters: int | None

    @classmethod
    def of(
        cls, name: str, swept: tuple[str, ...], status: str, state: RunState, minutes: float | None
    ) -> "SweepRow":
        """A row with the figures that a run folder holds."""
        return cls(
            name=name,
            swept=swept,
            status=status,
            dev_wer=None if state.best is None else state.best.wer,
            test_wers=tuple((one.name, one.wer) for one in state.reports),
            minutes=minutes,
            num_parameters=state.num_parameters,
        )

    @property
    def is_done(self) -> bool:
        """Trained and tested."""
        return self.status == _DONE


def write_summary(folder: Path, rows: Sequence[SweepRow]) -> None:
    """Write both files anew, each whole or not at all. Raises AsrError."""
    write_files(folder, {ROWS_FILE: rows_to_csv(rows), TABLE_FILE: rows_to_markdown(rows)})


def read_minutes(folder: Path) -> dict[str, float]:
    """Minutes of the runs in an earlier summary.csv, by name; empty where there is none."""
    path = folder / ROWS_FILE
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["run"]: float(row["minutes"]) for row in csv.DictReader(file) if row["minutes"]}


def rows_to_csv(rows: Sequence[SweepRow]) -> str:
    """WERs as fractions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keys, tests = _keys(rows), _tests(rows)
    writer.writerow(
        [
            "run",
            *keys,
            "status",
            "dev_wer",
            *(f"wer {name}" for name in tests),
            "minutes",
            "parameters",
        ]
    )
    for row in rows:
        wers = dict(row.test_wers)
        values = [row.dev_wer, *(wers.get(name) for name in tests), row.minutes]
        numbers = ["" if value is None else f"{value:.6g}" for value in values]
        parameters = "" if row.num_parameters is None else row.num_parameters
        writer.writerow([row.name, *_values(row), row.status, *numbers, parameters])
    return text.getvalue()


def rows_to_markdown(rows: Sequence[SweepRow]) -> str:
    """A table for people, by dev WER."""
    keys, tests = _keys(rows), _tests(rows)
    header = [
        *keys,
        "best dev WER",
        *(f"WER {name}" for name in tests),
        "minutes",
        "parameters",
        "status",
    ]
    lines = [_line(header), _line(["---"] * len(header))]
    for row in sorted(rows, key=_rank):
        wers = dict(row.test_wers)
        minutes = "–" if row.minutes is None else f"{row.minutes:.1f}"
        size = "–" if row.num_parameters is None else f"{row.num_parameters / 1e6:.2f} M"
        rates = [percent(row.dev_wer), *(percent(wers.get(name)) for name in tests)]
        lines.append(_line([*_values(row), *rates, minutes, size, row.status]))
    return "\n".join(lines) + "\n"


def _rank(row: SweepRow) -> tuple[bool, float]:
    wer = row.dev_wer
    return not row.is_done, math.inf if wer is None or math.isnan(wer) else wer


def _keys(rows: Sequence[SweepRow]) -> list[str]:
    return [one.partition("=")[0] for one in rows[0].swept]


def _values(row: SweepRow) -> list[str]:
    return [one.partition("=")[2] for one in row.swept]


def _tests(rows: Sequence[SweepRow]) -> list[str]:
    """Names of all test sets, in the order in which they appear."""
    return list(dict.fromkeys(name for row in rows for name, _ in row.test_wers))


def _line(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(escaped)} |"
