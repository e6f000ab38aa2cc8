"""Curves of a run as SVG text: no script, no network, colours from the page's style sheet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import accumulate

from asr.run_metrics import EPOCH, RunMetrics, Series

WIDTH, HEIGHT = 560, 250
LEFT, RIGHT, TOP, BOTTOM = 60, 14, 12, 40
_INNER = WIDTH - LEFT - RIGHT
_MOST_POINTS = 400
_MOST_TICKS = 6
_MOST_EPOCH_TICKS = 12
_DECADE = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Line:
    """One curve.

    Attributes:
        colour: class of the style sheet: c1 to c5.
        kind: "line"; "dots" for values so few that each is marked; "faint" behind a smoothed line.
    """

    name: str
    series: Series
    colour: str = "c1"
    kind: str = "line"


@dataclass(frozen=True, slots=True)
class StepAxis:
    """The axis that all charts of a page share.

    Attributes:
        last_step: the right end; the left end is step 0.
        ticks: (step, label).
        marks: steps at which the run was resumed, drawn as dotted lines.
    """

    last_step: int
    name: str
    ticks: tuple[tuple[int, str], ...]
    marks: tuple[int, ...] = ()

    def x(self, step: float) -> float:
        """Place of a step in the drawing."""
        return LEFT + _INNER * min(max(step / max(self.last_step, 1), 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class _Scale:
    ticks: tuple[float, ...]
    is_log: bool

    def y(self, value: float) -> float:
        low, high = (self._place(end) for end in (self.ticks[0], self.ticks[-1]))
        share = (self._place(value) - low) / ((high - low) or 1.0)
        return HEIGHT - BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - TOP - BOTTOM)

    def _place(self, value: float) -> float:
        return math.log(max(value, 1e-30)) if self.is_log else value


def line_chart(
    title: str, lines: Sequence[Line], axis: StepAxis, *, unit: str = "", is_log: bool = False
) -> str:
    """The drawing; unit "%" shows fractions as percent. Values that are not finite are left out."""
    points = [_points(line.series, is_log) for line in lines]
    values = [value for some in points for _, value in some]
    if not values:
        values = [0.1, 1.0]
    scale = _Scale(_log_ticks(values) if is_log else _linear_ticks(values), is_log)
    parts = [_grid(scale, unit), _steps(axis)]
    for line, some in zip(lines, points, strict=True):
        places = [(axis.x(step), scale.y(value)) for step, value in some]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="{line.colour} {line.kind}" points="{drawn}"/>')
        if line.kind == "dots":
            parts += [
                f'<circle class="{line.colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
                for x, y in places
            ]
    parts.append(
        f'<line class="cursor" x1="0" x2="0" y1="{TOP}" y2="{HEIGHT - BOTTOM}" hidden=""/>'
    )
    return (
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def step_axis(metrics: RunMetrics) -> StepAxis:
    """Ticks where whole epochs are done, once there are two; at steps before that."""
    last = max(metrics.last_step, 1)
    ends = _epoch_ends(metrics)
    if len(ends) < 2:
        steps = tuple((int(tick), f"{tick:g}") for tick in _linear_ticks([0, last]) if tick <= last)
        return StepAxis(last, "step", steps, metrics.resumed_at)
    strides = (factor * 10**power for power in range(9) for factor in _DECADE)
    stride = next(stride for stride in strides if len(ends) / stride <= _MOST_EPOCH_TICKS)
    shown = ((step, str(epoch + 1)) for epoch, step in ends.items() if (epoch + 1) % stride == 0)
    return StepAxis(last, "epochs done", ((0, "0"), *shown), metrics.resumed_at)


def smoothed(series: Series, windows: int = 40) -> Series:
    """A centred mean over one part in `windows` of the curve; not finite values are left out."""
    pairs = _finite(series)
    half = len(pairs) // windows // 2
    sums = [0.0, *accumulate(value for _, value in pairs)]
    means = []
    for place in range(len(pairs)):
        start, stop = max(0, place - half), min(len(pairs), place + half + 1)
        means.append((sums[stop] - sums[start]) / (stop - start))
    return Series(tuple(step for step, _ in pairs), tuple(means))


def thinned(series: Series, most: int = _MOST_POINTS) -> Series:
    """At most `most` points: neighbours are averaged; not finite values are left out."""
    pairs = _finite(series)
    size = -(-len(pairs) // most) or 1
    groups = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    return Series(
        tuple(group[-1][0] for group in groups),
        tuple(sum(value for _, value in group) / len(group) for group in groups),
    )


def _finite(series: Series) -> list[tuple[int, float]]:
    pairs = zip(series.steps, series.values, strict=True)
    return [(step, value) for step, value in pairs if math.isfinite(value)]


def _points(series: Series, is_log: bool) -> list[tuple[int, float]]:
    thin = thinned(series)
    return [
        (step, value)
        for step, value in zip(thin.steps, thin.values, strict=True)
        if value > 0 or not is_log
    ]


def _epoch_ends(metrics: RunMetrics) -> dict[int, int]:
    """epoch -> its last step, as far as the log tells; the newest epoch may not be over."""
    epochs = metrics.series.get(EPOCH)
    if epochs is None:
        return {}
    return {int(epoch): step for step, epoch in zip(epochs.steps, epochs.values, strict=True)}


def _linear_ticks(values: Sequence[float]) -> tuple[float, ...]:
    """Round numbers from 0 (or below the least value) to at or above the greatest."""
    low, high = min(0.0, *values), max(values)
    width = (high - low) or 1.0
    step = 10 ** math.floor(math.log10(width / _MOST_TICKS))
    step *= next(factor for factor in (*_DECADE, 10) if width / (step * factor) <= _MOST_TICKS)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(step * number for number in range(first, max(last, first + 1) + 1))


def _log_ticks(values: Sequence[float]) -> tuple[float, ...]:
    """Numbers 1, 2, 5 (or powers of ten) times a power of ten around the values, which are positive."""
    low, high = min(values), max(values)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = _DECADE if len(powers) <= 4 else (1,)
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    below = max((tick for tick in ticks if tick <= low * 1.0001), default=ticks[0])
    above = min((tick for tick in ticks if tick >= high * 0.9999), default=ticks[-1])
    kept = tuple(tick for tick in ticks if below <= tick <= above)
    return kept if len(kept) > 1 else (below / 2, below * 2)


def _grid(scale: _Scale, unit: str) -> str:
    parts = []
    for place, tick in enumerate(scale.ticks):
        y = scale.y(tick)
        css = "grid" if place else "axis"
        label = f"{100 * tick:.3g} %" if unit == "%" else f"{tick:.3g}"
        parts.append(
            f'<line class="{css}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    return "".join(parts)


def _steps(axis: StepAxis) -> str:
    bottom = HEIGHT - BOTTOM
    parts = [
        f'<text x="{axis.x(step):.1f}" y="{bottom + 16}" text-anchor="middle">{escape(label)}</text>'
        for step, label in axis.ticks
    ]
    parts += [
        f'<line class="resumed" x1="{axis.x(step):.1f}" x2="{axis.x(step):.1f}" y1="{TOP}" '
        f'y2="{bottom}"><title>resumed at step {step + 1}</title></line>'
        for step in axis.marks
    ]
    middle = LEFT + _INNER / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{axis.name}</text>')
    return "".join(parts)
