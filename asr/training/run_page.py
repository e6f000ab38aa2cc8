"""`run.html` in a run folder: how a run goes, as one file that opens without a network.

Drawn from what lies in the folder alone (CSV logs, samples.jsonl, config.yaml, left_out.txt,
posterior.png, reports), so it can be drawn again at any time, and a resumed run shows all its parts.
"""

import base64
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

import asr
from asr.line_chart import LEFT, RIGHT, WIDTH, StepAxis, line_chart, step_axis, thinned
from asr.report import write_files
from asr.report_page import TEMPLATES, encode_operation, environment, json_block, script_hash
from asr.run_samples import Validation
from asr.run_state import CONFIG_FILE, RunState, read_run
from asr.scoring import UtteranceScore, score
from asr.training.charts import Chart, charts, counters
from asr.training.config import RunConfig, to_yaml
from asr.training.pictures import (
    LEARNING_CURVE_FILE,
    POSTERIOR_FILE,
    draw_learning_curve,
    write_picture,
)

PAGE_FILE = "run.html"
_MOST_VALIDATIONS = 8
_MOST_IDS = 200
_NOT_SETTINGS = ("recipe_name", "run_dir", "resume")


@dataclass(frozen=True, slots=True)
class Curve:
    """A chart on the page; `keys` are the entries of its legend: classes, name, newest value."""

    chart: Chart
    svg: Markup
    keys: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one utterance was transcribed as at a validation; words with the letter of their edit."""

    epoch: int
    wer: float
    words: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Growth:
    """One utterance over the validations of a run, oldest first."""

    utterance_id: str
    reference: str
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """A key that this run sets otherwise than the defaults do."""

    key: str
    value: str
    default: str


def write_run_page(run_dir: Path) -> Path:
    """Draw learning_curve.png and run.html anew; returns the page's path.

    Raises AsrError or OSError where the folder cannot be written.
    """
    state = read_run(run_dir)
    write_picture(draw_learning_curve(state), run_dir / LEARNING_CURVE_FILE)
    write_files(run_dir, {PAGE_FILE: run_to_html(state)})
    return run_dir / PAGE_FILE


def run_to_html(state: RunState) -> str:
    """The page; every text is escaped, and its policy lets no script run but its own."""
    axis = step_axis(state.metrics)
    chosen = charts(state.metrics)
    style, more_style, script = (
        (TEMPLATES / name).read_text("utf-8") for name in ("report.css", "run.css", "run.js")
    )
    config = state.run_dir / CONFIG_FILE
    template = environment().get_template("run.html.j2")
    return template.render(
        state=state,
        counters=counters(state.metrics),
        curves=[_curve(chart, axis) for chart in chosen],
        growths=_growths(_spread(state.validations)),
        posterior=_embedded(state.run_dir / POSTERIOR_FILE),
        settings=changed_settings(state.settings),
        config=config.read_text("utf-8", errors="replace") if config.is_file() else "",
        reports=[(one, os.fspath(one.path.relative_to(state.run_dir).with_name("report.html")))
                 for one in state.reports],
        most_ids=_MOST_IDS,
        drawn=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        version=asr.__version__,
        style=Markup(style + more_style),
        script=Markup(script),
        script_hash=script_hash(script),
        data=json_block(_data(chosen, axis, state)),
    )  # fmt: skip


def _curve(chart: Chart, axis: StepAxis) -> Curve:
    svg = line_chart(chart.title, chart.lines, axis, unit=chart.unit, is_log=chart.is_log)
    keys = tuple(
        (f"{line.colour} {line.kind}", line.name, _number(line.series.last, chart.unit))
        for line in chart.lines
    )
    return Curve(chart, Markup(svg), keys)


def _number(value: float, unit: str) -> str:
    """As run.js writes it."""
    return f"{100 * value:.2f} %" if unit == "%" else f"{value:.4g}"


def _data(chosen: Sequence[Chart], axis: StepAxis, state: RunState) -> dict[str, Any]:
    """What run.js needs to name the values under the pointer."""
    epochs = state.metrics.series.get("epoch")
    thin = None if epochs is None else thinned(epochs)
    return {
        "left": LEFT,
        "width": WIDTH,
        "right": RIGHT,
        "last_step": axis.last_step,
        "epochs": [] if thin is None else [thin.steps, [int(epoch) + 1 for epoch in thin.values]],
        "charts": [[_line_data(chart, place) for place in range(len(chart.lines))] for chart in chosen],
    }  # fmt: skip


def _line_data(chart: Chart, place: int) -> list[Any]:
    series = thinned(chart.lines[place].series)
    return [series.steps, [float(f"{value:.5g}") for value in series.values], chart.unit]


def _spread(validations: Sequence[Validation]) -> list[Validation]:
    """At most eight, evenly spread, the first and the last among them."""
    last = len(validations) - 1
    if last < _MOST_VALIDATIONS:
        return list(validations)
    places = {round(part * last / (_MOST_VALIDATIONS - 1)) for part in range(_MOST_VALIDATIONS)}
    return [validations[place] for place in sorted(places)]


def _growths(validations: Sequence[Validation]) -> list[Growth]:
    """The utterances of the newest validation, each with what was written earlier."""
    attempts: dict[str, list[Attempt]] = {}
    for validation in validations:
        for one in _scored(validation):
            attempt = Attempt(validation.epoch + 1, one.wer, tuple(_words(one)))
            attempts.setdefault(one.utterance_id, []).append(attempt)
    newest = validations[-1].samples if validations else ()
    return [
        Growth(one.utterance_id, one.reference, tuple(attempts[one.utterance_id])) for one in newest
    ]


def _scored(validation: Validation) -> tuple[UtteranceScore, ...]:
    references = {one.utterance_id: one.reference for one in validation.samples}
    hypotheses = {one.utterance_id: one.hypothesis for one in validation.samples}
    return score(references, hypotheses, characters=False).utterances if references else ()


def _words(one: UtteranceScore) -> Iterator[tuple[str, str]]:
    """(letter of the edit, word); a deleted word is that of the reference."""
    for pair in one.pairs():
        yield encode_operation(pair.operation), pair.hypothesis or pair.reference or ""


def _embedded(picture: Path) -> str | None:
    """The picture as a data address; None where there is none."""
    if not picture.is_file():
        return None
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()


def changed_settings(settings: Mapping[str, Any]) -> list[Setting]:
    """Keys of a run's configuration whose values are not the defaults of the schema."""
    defaults = dict(_flat(yaml.safe_load(to_yaml(RunConfig()))))
    return [
        Setting(key, _shown(value), _shown(defaults[key]) if key in defaults else "–")
        for key, value in _flat(settings)
        if key not in _NOT_SETTINGS and (key not in defaults or defaults[key] != value)
    ]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
