"""The figures of a run as one CSV file that goes on when the run is resumed."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

_STEP, _EPOCH = "step", "epoch"
Row = dict[str, str]


class MetricsCsv(Logger):
    """metrics.csv: a row for every logged step, and one for each validation and each epoch.

    Every row is on the disk as soon as it is logged. A resumed run drops what the run before it had
    logged beyond the checkpoint, since that is done again, and goes on in the same file: steps never go
    back. An epoch's own rows (validation, throughput) that come again are not written twice, nor is a
    row that is that before it: a step's comes before its checkpoint (`LastCheckpoint`), then as always.

    Args:
        path: of the file.
        first_step: steps done before this run; 0 starts the file anew.
    """

    def __init__(self, path: Path, first_step: int = 0) -> None:
        super().__init__()
        self.path, self.first_step = path, first_step
        self._columns: list[str] = []
        self._last_row: Row = {}
        self._epochs_done: set[tuple[str, frozenset[str]]] = set()
        self._open = False

    @property
    def name(self) -> str:
        """Of the logger, as Lightning asks for it."""
        return "csv"

    @property
    def version(self) -> str:
        """There is only one."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: a run's settings are in its config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write one row."""
        if not self._open:
            self._start()
        row = {name: _text(value) for name, value in metrics.items()} | {_STEP: str(step or 0)}
        if row == self._last_row or _epoch_key(row) in self._epochs_done:
            return
        new = sorted(row.keys() - {*self._columns})
        if new:
            rows = list(self._rows())
            self._columns += new
            self._rewrite([*rows, row])
        else:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(row)
        self._last_row = row

    def _start(self) -> None:
        """Keep the rows of the steps that the checkpoint has."""
        kept = [row for row in self._rows() if _is_before(row, self.first_step)]
        self._columns = list(kept[0]) if kept else [_STEP, _EPOCH]
        filled = ({name: cell for name, cell in row.items() if cell} for row in kept)
        self._epochs_done = {key for row in filled if (key := _epoch_key(row)) is not None}
        self._rewrite(kept)
        self._open = True

    def _rows(self) -> Iterator[Row]:
        if not self.path.is_file():
            return
        with self.path.open(encoding="utf-8", errors="replace", newline="") as file:
            yield from csv.DictReader(file)

    def _rewrite(self, rows: list[Row]) -> None:
        """The whole file with all columns; the file before it stays until that has succeeded."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.partial")
        with partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, self._columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        partial.replace(self.path)


def _text(value: float) -> str:
    return repr(value) if isinstance(value, int) else repr(float(value))


def _is_before(row: Row, step: int) -> bool:
    """Whether a row was logged before `step`; half a row, as a full disk leaves it, was not."""
    try:
        return None not in row.values() and int(row[_STEP]) < step
    except (KeyError, TypeError, ValueError):
        return False


def _epoch_key(row: Row) -> tuple[str, frozenset[str]] | None:
    """What tells an epoch's own row from others; None for the row of a training step."""
    if any(name == "train/loss" or name.startswith("lr-") for name in row):
        return None
    return row.get(_EPOCH, ""), frozenset(row)
