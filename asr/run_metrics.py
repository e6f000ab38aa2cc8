"""The figures that a run has logged, read back from its CSV logs as one series for each name.

A resumed run writes `logs/csv/version_1/metrics.csv` beside version_0, or goes on in the same file. It
starts at the checkpoint, not where the log before it ended: what the earlier part logged beyond that
point was done again, and only the later figures count.
"""

import csv
import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_VERSION = "version_"
EPOCH = "epoch"


@dataclass(frozen=True, slots=True)
class Series:
    """One figure over a run; steps ascend and count optimizer steps from 0."""

    steps: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def last(self) -> float:
        """The newest value."""
        return self.values[-1]

    def best(self) -> tuple[int, float]:
        """(step, value) of the least finite value; the newest pair where there is none."""
        pairs = [pair for pair in zip(self.steps, self.values, strict=True) if pair[1] == pair[1]]
        return min(pairs, key=lambda pair: pair[1], default=(self.steps[-1], self.last))


@dataclass(frozen=True)
class RunMetrics:
    """All that a run has logged.

    Attributes:
        series: by name, such as "train/loss"; names that were never logged are missing.
        resumed_at: the first step logged after each resume.
    """

    series: Mapping[str, Series] = field(default_factory=dict)
    resumed_at: tuple[int, ...] = ()

    @property
    def last_step(self) -> int:
        """The newest step; -1 before the first."""
        return max((one.steps[-1] for one in self.series.values()), default=-1)

    def epoch_at(self, step: int) -> int | None:
        """The epoch, counted from 0, in which `step` was logged; None where that is not known."""
        epochs = self.series.get(EPOCH)
        if epochs is None:
            return None
        place = min(bisect_left(epochs.steps, step), len(epochs.steps) - 1)
        return int(epochs.values[place])


@dataclass(frozen=True, slots=True)
class _Row:
    step: int
    values: Mapping[str, float]


def read_metrics(run_dir: Path) -> RunMetrics:
    """Merge the CSV logs below `run_dir`, oldest first; damaged cells are passed over."""
    rows: list[_Row] = []
    resumed_at: list[int] = []
    for path in _logs(run_dir):
        is_first = True
        for row in _rows(path):
            if rows and (is_first or row.step < rows[-1].step):
                resumed_at = [step for step in resumed_at if step < row.step] + [row.step]
                while rows and rows[-1].step >= row.step:
                    rows.pop()
            rows.append(row)
            is_first = False
    return RunMetrics(_series(rows), tuple(resumed_at))


def _logs(run_dir: Path) -> list[Path]:
    """CSV logs in the order in which they were written: a log without a version is the newest."""
    paths = [*run_dir.glob("logs/**/metrics.csv"), *run_dir.glob("metrics.csv")]
    return sorted(paths, key=lambda path: (_version(path), path))


def _version(path: Path) -> float:
    folder = path.parent.name
    number = folder.removeprefix(_VERSION)
    return int(number) if folder.startswith(_VERSION) and number.isdigit() else math.inf


def _rows(path: Path) -> Iterator[_Row]:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for cells in csv.DictReader(file):
            numbers = {
                name: value
                for name, text in cells.items()
                if isinstance(name, str) and (value := _number(text)) is not None
            }
            step = numbers.pop("step", math.nan)
            if math.isfinite(step):
                yield _Row(int(step), numbers)


def _number(text: object) -> float | None:
    try:
        return float(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _series(rows: list[_Row]) -> dict[str, Series]:
    pairs: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        for name, value in row.values.items():
            pairs.setdefault(name, []).append((row.step, value))
    return {
        name: Series(tuple(step for step, _ in some), tuple(value for _, value in some))
        for name, some in sorted(pairs.items())
    }
