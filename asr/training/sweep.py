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
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from asr.errors import UsageError
from asr.run_state import CONFIG_FILE, RunState, read_run
from asr.training.config import RunConfig, load_config, quoted, to_yaml
from asr.training.sweep_table import SweepRow, read_minutes, write_summary

_FIXED = ("recipe", "recipe_name", "run_dir", "resume")
_LONGEST_NAME = 120
INTERRUPTED = 130
_DONE = "done"


@dataclass(frozen=True, slots=True)
class Combination:
    """One run of a sweep.

    Attributes:
        swept: those of its overrides that differ between runs.
        config: what all its overrides make, run_dir still that of the whole sweep.
    """

    overrides: tuple[str, ...]
    swept: tuple[str, ...]
    config: RunConfig

    @property
    def name(self) -> str:
        """Name of its folder: the swept overrides, in characters that every file system takes.

        >>> Combination((), ("optimizer.lr=0.001", "trainer=gpu"), RunConfig()).name
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
    _refuse_repeated(choices)
    if all(len(some) == 1 for some in choices):
        raise UsageError("--multirun has nothing to sweep: give a key several values, key=1,2")
    found = []
    for chosen in itertools.product(*choices):
        swept = (one for one, some in zip(chosen, choices, strict=True) if len(some) > 1)
        found.append(Combination(chosen, tuple(swept), load_config(chosen)))
    return found


def _refuse_repeated(choices: Sequence[Sequence[str]]) -> None:
    keys = [some[0].partition("=")[0] for some in choices]
    for key, some in zip(keys, choices, strict=True):
        if len(some) > 1 and keys.count(key) > 1:
            raise UsageError(f"{key} is given twice; write all its values in one place, {key}=1,2")


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
    overrides: Sequence[str], train: Callable[[Sequence[str]], Outcome] | None = None
) -> Sweep:
    """Run all combinations below run_dir; with resume=true those that are done are left alone.

    The table is written anew after each run. `train` runs one combination, by default in a process.

    Raises:
        UsageError: as `combinations`; folders that hold runs already without resume=true.
        KeyboardInterrupt: a run was interrupted; the table is written.
    """
    runs = combinations(overrides)
    folder = Path(runs[0].config.run_dir)
    _refuse_held(runs, folder)
    minutes = read_minutes(folder)
    rows = [_row(run, folder, minutes.get(run.name)) for run in runs]
    for place, run in enumerate(runs):
        _say(f"run {place + 1} of {len(runs)}: {' '.join(run.swept)} ({rows[place].status})")
        if rows[place].is_done:
            continue
        started = time.monotonic()
        outcome = (train or train_in_process)(_with_run_dir(run.overrides, folder / run.name))
        taken = (rows[place].minutes or 0.0) + (time.monotonic() - started) / 60
        row = _row(run, folder, taken)
        rows[place] = row if row.is_done else replace(row, status=f"failed: {outcome.message}")
        write_summary(folder, rows)
        if outcome.status == INTERRUPTED:
            raise KeyboardInterrupt
    write_summary(folder, rows)
    return Sweep(folder, tuple(rows))


def _refuse_held(runs: Sequence[Combination], folder: Path) -> None:
    """Folders that hold runs are gone on with, or left alone, only where the user says so."""
    held = [run.name for run in runs if (folder / run.name / CONFIG_FILE).is_file()]
    if held and not runs[0].config.resume:
        raise UsageError(
            f"{folder} holds {len(held)} of these {len(runs)} runs already: go on with resume=true, "
            "or choose another run_dir=..."
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
    config = replace(run.config, run_dir=str(run_dir))
    wanted = yaml.safe_load(to_yaml(config))
    same = {**state.settings, "resume": None} == {**wanted, "resume": None}
    return same and state.is_finished and len(state.reports) >= len(config.data.test)


def _with_run_dir(overrides: Sequence[str], run_dir: Path) -> list[str]:
    """The overrides with run_dir set."""
    others = (one for one in overrides if not one.startswith("run_dir="))
    return [*others, f"run_dir={quoted(run_dir)}"]


def train_in_process(overrides: Sequence[str]) -> Outcome:
    """`asr train` in a process of its own; what it prints goes to stderr.

    Ctrl-C reaches that process too, which writes its checkpoint before it ends.
    """
    command = [sys.executable, "-m", "asr", "train", *overrides]
    last, interrupted = "", False
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                print(line, end="", file=sys.stderr, flush=True)
                last = line.strip() or last
        except KeyboardInterrupt:
            interrupted = True
            print(process.stdout.read(), end="", file=sys.stderr, flush=True)
        status = process.wait()
    if interrupted or status == INTERRUPTED:
        return Outcome(INTERRUPTED, "interrupted")
    return Outcome(status, last.removeprefix("asr: ") or f"exit status {status}")


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
