"""Which curves a run is shown as; the run page and learning_curve.png draw the same."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from asr.line_chart import Line, smoothed
from asr.report_text import percent
from asr.run_metrics import EPOCH, RunMetrics, Series

_FEW = 80  # values up to which each is marked
_NUM_COLOURS = 5
_COUNTERS = ("_steps", "_utterances")
_SHARES = ("share", "rate", "wer", "cer")


@dataclass(frozen=True, slots=True)
class Chart:
    """One drawing: curves on a shared axis of values; unit "%" where they are fractions."""

    title: str
    lines: tuple[Line, ...]
    unit: str = ""
    is_log: bool = False
    caption: str = ""


def charts(metrics: RunMetrics) -> list[Chart]:
    """The curves that have values; a figure that no chart is made for gets its own, at the end, but
    not a counter that is still 0."""
    left = {name: series for name, series in metrics.series.items() if name != EPOCH}
    chosen = [
        _loss(left),
        _errors(left, metrics),
        _learning_rate(left),
        _gradients(left),
        _blanks(left),
        _throughput(left),
        _padding(left),
    ]
    chosen += [
        Chart(name, (_line(name, series, 4),), _unit(name))
        for name, series in left.items()
        if not name.endswith(_COUNTERS) or any(series.values)
    ]
    return [chart for chart in chosen if chart.lines]


def counters(metrics: RunMetrics) -> list[tuple[str, int]]:
    """(what, newest value) of the figures that count mishaps, such as train/skipped_steps."""
    return [
        (name.rpartition("/")[2].replace("_", " "), int(series.last))
        for name, series in metrics.series.items()
        if name.endswith(_COUNTERS) and math.isfinite(series.last)
    ]


def _loss(left: dict[str, Series]) -> Chart:
    lines: list[Line] = []
    train, dev = left.pop("train/loss", None), left.pop("val/loss", None)
    if train is not None:
        lines = [
            Line("single steps", train, "c1", "faint"),
            Line("training", smoothed(train), "c1"),
        ]
    if dev is not None:
        lines.append(Line("development", dev, "c2", "dots"))
    caption = "Nats per token; training with dropout and augmentation, development without."
    return Chart("Loss", tuple(lines), is_log=True, caption=caption)


def _errors(left: dict[str, Series], metrics: RunMetrics) -> Chart:
    caption = ""
    if "val/wer" in left:
        step, best = left["val/wer"].best()
        epoch = metrics.epoch_at(step)
        caption = f"Best WER {percent(best)}" + (
            "." if epoch is None else f" in epoch {epoch + 1}."
        )
    lines = _lines(left, {"val/wer": "WER", "val/cer": "CER"}, first_colour=2)
    return Chart("Errors on the development set", lines, "%", caption=caption)


def _learning_rate(left: dict[str, Series]) -> Chart:
    """Parameter groups with the same rates are one line."""
    distinct: dict[Series, str] = {}
    for name in [name for name in left if name.startswith("lr-")]:
        distinct.setdefault(left.pop(name), name)
    if len(distinct) == 1:
        distinct = dict.fromkeys(distinct, "learning rate")
    lines = tuple(
        _line(name, series, 1 + place % _NUM_COLOURS)
        for place, (series, name) in enumerate(distinct.items())
    )
    return Chart("Learning rate", lines)


def _gradients(left: dict[str, Series]) -> Chart:
    names = {name: "norm of the gradient" for name in left if "grad" in name and "norm" in name}
    return Chart("Gradient norm", _lines(left, names), is_log=True)


def _blanks(left: dict[str, Series]) -> Chart:
    lines = _lines(left, {"train/blank_share": "frames whose best token is blank"})
    caption = "Near 100 % nothing is written yet; it falls when the first letters appear."
    return Chart("Blanks", lines, "%", caption=caption)


def _throughput(left: dict[str, Series]) -> Chart:
    lines = _lines(left, {"train/audio_s_per_s": "audio seconds per second"})
    caption = "Of each epoch; validation and checkpoints are not in the time."
    return Chart("Throughput", lines, caption=caption)


def _padding(left: dict[str, Series]) -> Chart:
    names = {"train/padding_share": "padding", "train/data_wait_share": "waiting for data"}
    caption = "Share of a batch that is padding; share of the time without a batch to train on."
    return Chart("Padding and waiting", _lines(left, names), "%", caption=caption)


def _lines(
    left: dict[str, Series], names: Mapping[str, str], first_colour: int = 1
) -> tuple[Line, ...]:
    """Take the series of `names` (name -> shown name) that are there."""
    return tuple(
        _line(names[name], left.pop(name), first_colour + place % _NUM_COLOURS)
        for place, name in enumerate(names)
        if name in left
    )


def _line(name: str, series: Series, colour: int) -> Line:
    return Line(name, series, f"c{colour}", "dots" if len(series.steps) <= _FEW else "line")


def _unit(name: str) -> str:
    return "%" if name.endswith(_SHARES) else ""
