"""Pictures of a run as PNG: the learning curve, and what the model hears and writes in one utterance."""

import math
import os
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.decoding.greedy import greedy_decode
from asr.line_chart import step_axis
from asr.run_state import RunState
from asr.training.charts import Chart, charts

if (
    TYPE_CHECKING
):  # a second of importing that training can do without until there is something to draw
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEARNING_CURVE_FILE = "learning_curve.png"
POSTERIOR_FILE = "posterior.png"
_COLOURS = {"c1": "#3b6ea5", "c2": "#b35900", "c3": "#00707a", "c4": "#7a4fa3", "c5": "#5f7a1f"}
_COLUMNS = 2
_MOST_CHARTS = 6
_MOST_TOKENS = 40
_VISIBLE = 0.02  # probability that a token must reach for a row of its own
_RANGE_DB = 60
_DPI = 110


@dataclass(frozen=True, slots=True)
class Posterior:
    """An utterance as a model sees it.

    Attributes:
        hypothesis: text of the greedy path.
        log_mel: (T, n_mels), natural logarithms, `mel_frame_s` seconds a frame.
        log_probs: (T', V), natural logarithms, `frame_s` seconds a frame.
        tokens: (V,), the blank first.
    """

    utterance_id: str
    reference: str
    hypothesis: str
    log_mel: NDArray[np.float32]
    mel_frame_s: float
    log_probs: NDArray[np.float32]
    frame_s: float
    tokens: tuple[str, ...]


def write_picture(figure: "Figure", path: Path) -> None:
    """Write a PNG whole or not at all. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box stands for it
            figure.savefig(file, format="png", dpi=_DPI)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def draw_learning_curve(state: RunState) -> "Figure":
    """The first six charts of the run page."""
    from matplotlib.figure import Figure

    chosen = charts(state.metrics)[:_MOST_CHARTS]
    num_rows = max(1, -(-len(chosen) // _COLUMNS))
    figure = Figure(figsize=(12, 0.6 + 2.9 * num_rows), layout="constrained")
    figure.suptitle(f"{state.recipe}: {_progress(state)}", fontsize=13)
    for place, chart in enumerate(chosen):
        _draw_chart(figure.add_subplot(num_rows, _COLUMNS, place + 1), chart, state)
    return figure


def _progress(state: RunState) -> str:
    total = f" of {state.max_epochs}" if state.max_epochs else ""
    minutes = "" if state.minutes is None else f", {state.minutes:.0f} min"
    return f"epoch {state.epoch}{total}, step {state.metrics.last_step + 1:,}{minutes}"


def _draw_chart(axes: "Axes", chart: Chart, state: RunState) -> None:
    from matplotlib.ticker import LogLocator, NullLocator, PercentFormatter

    steps = step_axis(state.metrics)
    for line in chart.lines:
        axes.plot(
            line.series.steps,
            line.series.values,
            color=_COLOURS[line.colour],
            alpha=0.25 if line.kind == "faint" else 1.0,
            linewidth=1.6,
            marker="o" if line.kind == "dots" else None,
            markersize=3.5,
            label=f"{line.name} {_value(line.series.last, chart.unit)}",
        )
    for mark in steps.marks:
        axes.axvline(mark, color="0.6", linestyle=":", linewidth=0.8)
    axes.set_title(chart.title, fontsize=11, loc="left")
    axes.set_xlim(0, steps.last_step)
    axes.set_xticks([step for step, _ in steps.ticks], [label for _, label in steps.ticks])
    axes.set_xlabel(steps.name, fontsize=8)
    if chart.is_log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        axes.set_ylim(bottom=0)
    if chart.unit == "%":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)


def _value(value: float, unit: str) -> str:
    return f"{100 * value:.2f} %" if unit == "%" else f"{value:.4g}"


def draw_posterior(posterior: Posterior) -> "Figure":
    """Log-mel spectrum above, probabilities of the tokens below, the greedy path's spikes labelled."""
    from matplotlib.figure import Figure

    num_frames = posterior.log_probs.shape[0]
    figure = Figure(figsize=(min(6 + num_frames * 0.05, 24), 7.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    _draw_spectrogram(upper, posterior)
    _draw_tokens(lower, posterior)
    title = f"{posterior.utterance_id}: {posterior.reference}"
    upper.set_title(title, fontsize=10, loc="left", parse_math=False)
    return figure


def _draw_spectrogram(axes: "Axes", posterior: Posterior) -> None:
    highest = float(posterior.log_mel.max())
    num_frames, num_mels = posterior.log_mel.shape
    axes.imshow(
        posterior.log_mel.T,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=highest - _RANGE_DB * math.log(10) / 10,
        vmax=highest,
        extent=(0, num_frames * posterior.mel_frame_s, -0.5, num_mels - 0.5),
    )
    axes.set_ylabel("mel bin", fontsize=8)
    axes.tick_params(labelsize=8)


def _draw_tokens(axes: "Axes", posterior: Posterior) -> None:
    probabilities = np.exp(posterior.log_probs)
    rows = shown_tokens(probabilities)
    end_s = len(probabilities) * posterior.frame_s
    axes.imshow(
        np.sqrt(probabilities[:, rows].T),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="Blues",
        vmin=0,
        vmax=1,
        extent=(0, end_s, -0.5, len(rows) - 0.5),
    )
    axes.set_yticks(range(len(rows)), [_shown(posterior.tokens[row]) for row in rows], fontsize=8)
    best = greedy_decode(posterior.log_probs)
    for token_id, (start, stop) in zip(best.token_ids, best.spans, strict=True):
        axes.annotate(
            _shown(posterior.tokens[token_id]),
            ((start + stop) / 2 * posterior.frame_s, 1.005),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="bottom",
            fontsize=9,
            parse_math=False,
        )
    axes.set_xlim(0, end_s)
    written = f"seconds; greedy: {posterior.hypothesis or '(nothing)'}"
    axes.set_xlabel(written, fontsize=9, parse_math=False)
    axes.tick_params(labelsize=8)


def shown_tokens(probabilities: NDArray[np.float32]) -> list[int]:
    """Rows of the picture for (T', V): all tokens of a small vocabulary, of a large one the blank and
    those that reach 2 % somewhere, at most 40."""
    num_tokens = probabilities.shape[1]
    if num_tokens <= _MOST_TOKENS:
        return list(range(num_tokens))
    peaks = probabilities.max(axis=0)
    peaks[0] = 2.0
    likely = np.argsort(-peaks)[:_MOST_TOKENS]
    return sorted(int(row) for row in likely if peaks[row] >= _VISIBLE)


def _shown(token: str) -> str:
    return {"<blank>": "blank", " ": "␣"}.get(token, token)
