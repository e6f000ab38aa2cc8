"""`asr train --multirun`: every combination of the values that some keys are given, one run after the
other, and a table of what came out.

Values are written as Hydra's sweeps are: `key=1,2`, `key=range(1,4)`, `group=a,b`. Each run is a process
of its own, in a folder of its own: one that fails, or is killed for its memory, stops no other.
"""

import hashlib
import itertools
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from asr.errors import UsageError
from asr.run_state import CONFIG_FILE, RunState, read_run
from asr.training.config import load_config, to_yaml
from asr.training.sweep_table import SweepRow, read_minutes, write_summary

_FIXED = ("recipe", "recipe_name", "run_dir", "resume")
_LONGEST_NAME = 120
_INTERRUPTED = 130
_DONE = "done"


@dataclass(frozen=True, slots=True)
class Combination:
    """One run of a sweep: all its overrides, and those among them that differ between runs."""

    overrides: tuple[str, ...]
    swept: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of its folder: the swept overrides, in characters that every file system takes.

        >>> Combination((), ("optimizer.lr=0.001", "trainer=gpu")).name
        'optimizer.lr=0.001,trainer=gpu'
        """
        text = ",".join(self.swept)
        safe = re.sub(r"[^\w.,=+\-\[\]]", "_", text)
        if safe == text and len(text) <= _LONGEST_NAME:
            return text
        return f"{safe[:_LONGEST_NAME]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the process of a run ended: its exit status and the last line it printed."""

    status: int
    message: str


@dataclass(frozen=True)
class Sweep:
    """A sweep that has ended."""

    folder: Path
    rows: tuple[SweepRow, ...]

    @property
    def exit_status(self) -> int:
        """0 all runs are done, 1 some failed, 3 all failed."""
        failed = sum(not row.is_done for row in self.rows)
        if not failed:
            return 0
        return 3 if failed == len(self.rows) else 1


def combinations(overrides: Sequence[str]) -> list[Combination]:
    """Expand the overrides of a command line; every combination is composed once as a check.

    Raises:
        UsageError: nothing to sweep, a sweep over recipes or run folders, bad syntax, and all that
            `load_config` raises.
    """
    choices = [_choices(text) for text in overrides]
    if all(len(some) == 1 for some in choices):
        raise UsageError("--multirun has nothing to sweep: give a key several values, key=1,2")
    found = []
    for chosen in itertools.product(*choices):
        swept = (one for one, some in zip(chosen, choices, strict=True) if len(some) > 1)
        found.append(Combination(chosen, tuple(swept)))
        load_config(chosen)
    return found


def _choices(text: str) -> list[str]:
    """The overrides that one override stands for; itself where it is no sweep."""
    if text.startswith("recipe=") and "," not in text:  # may be a path that Hydra would not take
        return [text]
    try:
        (override,) = OverridesParser.create().parse_overrides([text])
        if not override.is_sweep_override():
            return [text]
        if not override.is_discrete_sweep():
            raise UsageError(
                f"{text}: an interval has no end of values; list them, or use range(...)"
            )
        key = override.get_key_element()
        if key in _FIXED:
            raise UsageError(f"{text}: {key} is the same for all runs of a sweep")
        values = dict.fromkeys(override.sweep_string_iterator())
        return [f"{key}={value}" for value in values]
    except HydraException as error:
        raise UsageError(f"{text}: {' '.join(str(error).split())}") from None


def run_sweep(
    overrides: Sequence[str], train: "Callable[[Sequence[str]], Outcome] | None" = None
) -> Sweep:
    """Run all combinations below run_dir; with resume=true those that are done are left alone.

    The table is written anew after each run. `train` runs one combination, by default in a process.

    Raises:
        UsageError: as `combinations`; folders that hold runs already without resume=true.
    """
    runs = combinations(overrides)
    config = load_config(runs[0].overrides)
    folder = Path(config.run_dir)
    held = [run.name for run in runs if (folder / run.name / CONFIG_FILE).is_file()]
    if held and not config.resume:
        raise UsageError(
            f"{folder} holds {len(held)} of these {len(runs)} runs already: go on with resume=true, "
            "or choose another run_dir=..."
        )
    minutes = read_minutes(folder)
    rows = [_row(run, folder, minutes.get(run.name)) for run in runs]
    for place, run in enumerate(runs):
        _say(f"run {place + 1} of {len(runs)}: {' '.join(run.swept)} ({rows[place].status})")
        if not rows[place].is_done:
            rows[place] = _run(run, folder, rows[place].minutes or 0.0, train or train_in_process)
        write_summary(folder, rows)
    return Sweep(folder, tuple(rows))


def _run(
    run: Combination,
    folder: Path,
    minutes_before: float,
    train: Callable[[Sequence[str]], Outcome],
) -> SweepRow:
    started = time.monotonic()
    outcome = train(_with_run_dir(run.overrides, folder / run.name))
    minutes = minutes_before + (time.monotonic() - started) / 60
    row = _row(run, folder, minutes)
    if row.is_done:
        return row
    return SweepRow.of(
        run.name, run.swept, f"failed: {outcome.message}", read_run(folder / run.name), minutes
    )


def _row(run: Combination, folder: Path, minutes: float | None) -> SweepRow:
    """A combination as its folder says it is."""
    run_dir = folder / run.name
    state = read_run(run_dir)
    status = _DONE if _is_done(run, run_dir, state) else "to do"
    if status != _DONE and state.settings:
        status = "begun"
    return SweepRow.of(run.name, run.swept, status, state, minutes)


def _is_done(run: Combination, run_dir: Path, state: RunState) -> bool:
    """Whether the folder holds the whole run with this very configuration."""
    config = load_config(_with_run_dir(run.overrides, run_dir))
    wanted = yaml.safe_load(to_yaml(config))
    same = {**state.settings, "resume": None} == {**wanted, "resume": None}
    return same and state.is_finished and len(state.reports) >= len(config.data.test)


def _with_run_dir(overrides: Sequence[str], run_dir: Path) -> list[str]:
    """The overrides with run_dir set; it is quoted as Hydra's grammar wants it."""
    quoted = str(run_dir).replace("\\", "\\\\").replace("'", "\\'")
    return [*(one for one in overrides if not one.startswith("run_dir=")), f"run_dir='{quoted}'"]


def train_in_process(overrides: Sequence[str]) -> Outcome:
    """`asr train` in a process of its own; what it prints goes to stderr.

    Ctrl-C reaches the process too: it writes its checkpoint and ends before the sweep does.
    """
    command = [sys.executable, "-m", "asr", "train", *overrides]
    last = ""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", file=sys.stderr, flush=True)
            last = line.strip() or last
        status = process.wait()
    if status == _INTERRUPTED:
        raise KeyboardInterrupt
    return Outcome(status, last.removeprefix("asr: ") or f"exit status {status}")


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
