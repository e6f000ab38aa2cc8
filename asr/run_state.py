"""What a run folder says about its run: configuration, logged figures, samples, test results. Reads
only, and needs neither torch nor lightning; `asr info`, the run page and sweeps all ask here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from asr.report_text import percent
from asr.run_metrics import RunMetrics, read_metrics
from asr.run_samples import Validation, read_validations

CONFIG_FILE = "config.yaml"
LEFT_OUT_FILE = "left_out.txt"
SKIPPED_FILE = "skipped.tsv"
REPORT_FOLDER = "report"
_COPIED_S = 2.0  # a copied folder may have lost the order of its files' times


@dataclass(frozen=True, slots=True)
class Reported:
    """A report that the run's model got on a test set; nan where the set has no words."""

    name: str
    path: Path
    wer: float
    cer: float
    num_utterances: int
    num_parameters: int | None


@dataclass(frozen=True, slots=True)
class Best:
    """A validation's WER as a fraction and its epoch, counted from 1; None where that is not known."""

    wer: float
    epoch: int | None


@dataclass(frozen=True)
class RunState:
    """A run as far as it has come.

    Attributes:
        settings: config.yaml as a tree; empty where it cannot be read.
        left_out: reason -> ids of the utterances that it kept out of training.
        skipped: reason -> ids of the utterances whose steps, or shares in the loss, it cost.
        reports: of the model that the last start made; those of an earlier one are left out.
        is_finished: the model was written since the run was started, or resumed, last.
    """

    run_dir: Path
    settings: Mapping[str, Any]
    metrics: RunMetrics
    validations: tuple[Validation, ...]
    left_out: Mapping[str, tuple[str, ...]]
    skipped: Mapping[str, tuple[str, ...]]
    reports: tuple[Reported, ...]
    is_finished: bool

    @property
    def recipe(self) -> str:
        """The recipe's name."""
        return str(self.settings.get("recipe_name", "unknown recipe"))

    @property
    def epoch(self) -> int:
        """The epoch that the newest figure is of, counted from 1; 0 before the first."""
        last = self.metrics.epoch_at(self.metrics.last_step)
        return 0 if last is None else last + 1

    @property
    def max_epochs(self) -> int | None:
        """Epochs that the configuration asks for."""
        trainer = self.settings.get("trainer")
        value = trainer.get("max_epochs") if isinstance(trainer, Mapping) else None
        return value if isinstance(value, int) else None

    @property
    def minutes(self) -> float | None:
        """Minutes of training up to the last validation."""
        return self.validations[-1].minutes if self.validations else None

    @property
    def minutes_left(self) -> float | None:
        """Minutes to the last epoch at the pace so far; None where it is not known, or none is left."""
        if len(self.validations) < 2 or self.max_epochs is None or self.is_finished:
            return None
        first, last = self.validations[0], self.validations[-1]
        if last.epoch <= first.epoch:
            return None
        pace = (last.minutes - first.minutes) / (last.epoch - first.epoch)
        return max(0.0, pace * (self.max_epochs - 1 - last.epoch))

    @property
    def num_parameters(self) -> int | None:
        """Of the model, once it has been tested."""
        return next((one.num_parameters for one in self.reports if one.num_parameters), None)

    def last(self, name: str) -> float | None:
        """The newest value of a logged figure; None where it was never logged."""
        series = self.metrics.series.get(name)
        return None if series is None else series.last

    @property
    def best(self) -> Best | None:
        """The best validation by WER; None before the first."""
        series = self.metrics.series.get("val/wer")
        if series is not None:
            step, wer = series.best()
            epoch = self.metrics.epoch_at(step)
            return Best(wer, None if epoch is None else epoch + 1)
        if not self.validations:
            return None
        one = min(self.validations, key=lambda one: one.wer)
        return Best(one.wer, one.epoch + 1)


def read_run(run_dir: Path) -> RunState:
    """Read a run folder; what is missing or damaged in it is left empty."""
    paths = sorted(run_dir.glob(f"{REPORT_FOLDER}/*/report.json"))
    reports = [_reported(path) for path in paths if _is_of_last_start(path, run_dir)]
    return RunState(
        run_dir=run_dir,
        settings=read_settings(run_dir / CONFIG_FILE),
        metrics=read_metrics(run_dir),
        validations=read_validations(run_dir),
        left_out=_left_out(run_dir / LEFT_OUT_FILE),
        skipped=_skipped(run_dir / SKIPPED_FILE),
        reports=tuple(one for one in reports if one is not None),
        is_finished=_is_of_last_start(run_dir / "bundle" / "config.json", run_dir),
    )


def describe_run(state: RunState) -> list[str]:
    """The state in a few lines for a terminal; figures that were not logged are left out."""
    total = f" of {state.max_epochs}" if state.max_epochs else ""
    lines = [
        f"recipe {state.recipe}, epoch {state.epoch}{total}, step {state.metrics.last_step + 1}"
    ]
    if state.minutes is not None:
        lines[0] += f", {state.minutes:.1f} min"
    if state.minutes_left is not None:
        lines[0] += f", about {state.minutes_left:.0f} min to go"
    losses = [
        f"{name} {state.last(key):.3f}"
        for name, key in (("training loss", "train/loss"), ("dev loss", "val/loss"))
        if state.last(key) is not None
    ]
    if losses:
        lines.append(", ".join(losses))
    if state.best is not None:
        lines.append(_rates(state, state.best))
    if state.last("train/audio_s_per_s") is not None:
        lines.append(
            f"{state.last('train/audio_s_per_s'):.0f} audio s/s, padding "
            f"{percent(state.last('train/padding_share'), 1)}, waiting for data "
            f"{percent(state.last('train/data_wait_share'), 1)}"
        )
    lines += [f"{len(ids)} utterances left out: {why}" for why, ids in state.left_out.items()]
    lines += [f"{len(ids)} utterances skipped: {why}" for why, ids in state.skipped.items()]
    return lines


def _rates(state: RunState, best: Best) -> str:
    at = "" if best.epoch is None else f" in epoch {best.epoch}"
    return (
        f"dev WER {percent(state.last('val/wer'))}, CER {percent(state.last('val/cer'))}; "
        f"best WER {percent(best.wer)}{at}"
    )


def _is_of_last_start(path: Path, run_dir: Path) -> bool:
    """Whether a file was written since the run was started or resumed last: each start writes the
    configuration."""
    start = run_dir / CONFIG_FILE
    if not path.is_file() or not start.is_file():
        return False
    return path.stat().st_mtime >= start.stat().st_mtime - _COPIED_S


def read_settings(path: Path) -> Mapping[str, Any]:
    """A run's config.yaml as a tree; empty where it cannot be read."""
    try:
        tree = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _left_out(path: Path) -> dict[str, tuple[str, ...]]:
    """Lines of: id, tab, reason."""
    reasons: dict[str, list[str]] = {}
    for fields in _tab_separated(path, 2):
        reasons.setdefault(fields[1], []).append(fields[0])
    return {reason: tuple(ids) for reason, ids in reasons.items()}


def _skipped(path: Path) -> dict[str, tuple[str, ...]]:
    """Lines of: step, reason, ids, with tabs between."""
    reasons: dict[str, dict[str, None]] = {}
    for fields in _tab_separated(path, 3):
        reasons.setdefault(fields[1], {}).update(dict.fromkeys(fields[2].split("\t")))
    return {reason: tuple(ids) for reason, ids in reasons.items()}


def _tab_separated(path: Path, num_fields: int) -> list[list[str]]:
    """Lines with that many fields; others, and a file that is not there, are passed over."""
    if not path.is_file():
        return []
    lines = path.read_text("utf-8", errors="replace").splitlines()
    rows = [line.split("\t", num_fields - 1) for line in lines]
    return [row for row in rows if len(row) == num_fields]


def _reported(path: Path) -> Reported | None:
    """None where the report is damaged."""
    try:
        report = json.loads(path.read_text("utf-8"))
        wer, cer = (float("nan" if report[key] is None else report[key]) for key in ("wer", "cer"))
        num_parameters = report["system"]["num_parameters"]
        return Reported(path.parent.name, path, wer, cer, report["num_utterances"], num_parameters)
    except (OSError, ValueError, KeyError, TypeError):
        return None
