"""Plots of an audit, in the style of `asr.plots`: histograms, and length against characters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from asr.audit_facts import Density, Distribution
from asr.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, svg_axis, svg_figure, svg_text, svg_y

_INNER = WIDTH - LEFT - RIGHT
_TICKS = 6


@dataclass(frozen=True, slots=True)
class Mark:
    """A suspicious utterance in a plot."""

    duration_s: float
    num_characters: int
    title: str


def histogram(shown: Distribution, title: str, unit: str, what: str) -> str:
    """Bars of counts; `unit` labels the axis of values, `what` is counted ("utterances")."""
    top = count_top(max(shown.counts))
    step = _INNER / len(shown.counts)
    parts = [svg_axis(top, _count_tick)]
    for index, count in enumerate(shown.counts):
        if not count:
            continue
        y = svg_y(count, top)
        name = f"{shown.edges[index]:g} – {shown.edges[index + 1]:g} {unit}: {count:,} {what}"
        parts.append(
            f'<rect class="bar" x="{LEFT + index * step:.1f}" y="{y:.1f}" '
            f'width="{max(step - 1, 0.5):.2f}" height="{max(HEIGHT - BOTTOM - y, 0.5):.1f}">'
            f"<title>{escape(name)}</title></rect>"
        )
    parts += _value_axis(shown.edges, unit)
    if shown.beyond:
        note = f"{shown.beyond:,} above, up to {shown.maximum:.4g}"
        parts.append(svg_text(WIDTH - RIGHT, TOP + 10, note, "end"))
    return svg_figure(parts, title)


def density_plot(shown: Density, title: str, frame_s: float, marks: Sequence[Mark]) -> str:
    """Utterances by seconds and characters, suspicious ones as dots.

    The dashed line is one character an encoder frame of `frame_s` seconds: above it CTC has no path.
    """
    right, top = shown.x_edges[-1], count_top(math.ceil(shown.y_edges[-1]))
    most = max(max(row) for row in shown.counts)
    parts = [svg_axis(top, _count_tick)]
    for y_index, row in enumerate(shown.counts):
        for x_index, count in enumerate(row):
            if count:
                share = math.log1p(count) / math.log1p(most)
                parts.append(_cell(shown, x_index, y_index, top, share))
    parts.append(_limit_line(right, top, frame_s))
    for mark in marks:
        x, y = LEFT + _INNER * mark.duration_s / right, svg_y(mark.num_characters, top)
        parts.append(
            f'<circle class="del" cx="{x:.1f}" cy="{y:.1f}" r="3">'
            f"<title>{escape(mark.title)}</title></circle>"
        )
    return svg_figure([*parts, *_value_axis(shown.x_edges, "seconds")], title)


def _cell(shown: Density, x_index: int, y_index: int, top: float, share: float) -> str:
    low_x, high_x = shown.x_edges[x_index : x_index + 2]
    low_y, high_y = shown.y_edges[y_index : y_index + 2]
    right, y = shown.x_edges[-1], svg_y(high_y, top)
    name = (
        f"{low_x:g} – {high_x:g} s, {low_y:g} – {high_y:g} characters: "
        f"{shown.counts[y_index][x_index]:,} utterances"
    )
    return (
        f'<rect class="bar" x="{LEFT + _INNER * low_x / right:.1f}" y="{y:.1f}" '
        f'width="{_INNER * (high_x - low_x) / right:.2f}" height="{svg_y(low_y, top) - y:.2f}" '
        f'fill-opacity="{0.15 + 0.85 * share:.2f}"><title>{name}</title></rect>'
    )


def _limit_line(right: float, top: float, frame_s: float) -> str:
    end_s = min(right, top * frame_s)
    return (
        f'<line class="mean" x1="{LEFT}" y1="{svg_y(0, top):.1f}" '
        f'x2="{LEFT + _INNER * end_s / right:.1f}" y2="{svg_y(end_s / frame_s, top):.1f}">'
        f"<title>a character every {1000 * frame_s:g} ms</title></line>"
    )


def _value_axis(edges: Sequence[float], unit: str) -> list[str]:
    """Labels below: about `_TICKS` of the edges, and the unit."""
    every = max(1, math.ceil((len(edges) - 1) / _TICKS))
    labels = [
        svg_text(
            LEFT + _INNER * index / (len(edges) - 1), HEIGHT - BOTTOM + 16, f"{edge:g}", "middle"
        )
        for index, edge in enumerate(edges)
        if index % every == 0
    ]
    return [*labels, svg_text(LEFT + _INNER / 2, HEIGHT - 12, unit, "middle")]


def count_top(most: int) -> int:
    """The top of an axis of counts: at least `most`, four round steps high.

    >>> count_top(3), count_top(117)
    (4, 120)
    """
    step, nice = 1, (1, 2, 3, 5, 10)
    while 4 * step * 10 < most:
        step *= 10
    return next(4 * step * factor for factor in nice if 4 * step * factor >= most)


def _count_tick(value: float) -> str:
    return f"{value:,.0f}"
