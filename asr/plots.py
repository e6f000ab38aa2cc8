"""Plots of a report as SVG text: no script, no network, colours from the page's style sheet.

Every bar has a <title>, which browsers show on hovering and screen readers read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from asr.confidence import ConfidenceBin
from asr.scoring import Counts

WIDTH, HEIGHT = 480, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 14, 48
_LETTER = 7.5  # width of a character of a label, about


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: a rate as a fraction, and what to say about it."""

    label: str
    value: float
    title: str


def bar_chart(bars: Sequence[Bar], title: str, mean: float) -> str:
    """Vertical bars of rates with a line at the corpus rate; labels only where they fit."""
    top = _nice_top(max([bar.value for bar in bars] + [mean]))
    inner = WIDTH - LEFT - RIGHT
    step = inner / len(bars)
    labelled = max(len(bar.label) for bar in bars) * _LETTER < step
    parts = [svg_axis(top, percent_tick), _line(mean, top, "corpus")]
    for index, bar in enumerate(bars):
        x = LEFT + index * step + step * 0.1
        y = svg_y(bar.value, top)
        parts.append(
            f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{step * 0.8:.2f}" '
            f'height="{max(HEIGHT - BOTTOM - y, 0.5):.1f}"><title>{escape(bar.title)}</title></rect>'
        )
        if labelled:
            middle = x + step * 0.4
            parts.append(svg_text(middle, HEIGHT - BOTTOM + 16, bar.label, "middle"))
    if not labelled:
        note = f"{len(bars)} bars; names on hovering and in the table"
        parts.append(svg_text(LEFT + inner / 2, HEIGHT - BOTTOM + 18, note, "middle"))
    return svg_figure(parts, title)


def error_kinds(counts: Counts) -> str:
    """One bar: how the errors divide into substitutions, deletions and insertions."""
    kinds = (
        ("substituted", "sub", counts.substitutions),
        ("deleted", "del", counts.deletions),
        ("inserted", "ins", counts.insertions),
    )
    parts: list[str] = []
    x = float(RIGHT)
    for place, (name, css, count) in enumerate(kinds):
        width = (WIDTH - 2 * RIGHT) * count / max(counts.errors, 1)
        text = f"{name} {count:,} ({100 * count / max(counts.errors, 1):.1f} %)"
        parts.append(
            f'<rect class="{css}" x="{x:.1f}" y="10" width="{width:.1f}" height="34">'
            f"<title>{text}</title></rect>"
        )
        y = 58 + place * 20
        parts.append(f'<rect class="{css}" x="{RIGHT}" y="{y}" width="12" height="12"/>')
        parts.append(svg_text(RIGHT + 20, y + 11, text, "start"))
        x += width
    return svg_figure(parts, "Kinds of errors", height=120)


def reliability(bins: Sequence[ConfidenceBin]) -> str:
    """Confidence against the share of words that were right; a trustworthy system is on the line."""
    left, right = LEFT, WIDTH - RIGHT
    parts = [svg_axis(1.0, percent_tick)]
    parts.append(
        f'<line class="mean" x1="{left}" y1="{svg_y(0, 1)}" x2="{right}" y2="{svg_y(1, 1)}"/>'
    )
    points = []
    for one in bins:
        x, y = left + one.mean_confidence * (right - left), svg_y(one.accuracy, 1)
        points.append(f"{x:.1f},{y:.1f}")
        title = (
            f"confidence {one.low:.1f} – {one.high:.1f}: {one.num_words:,} words, "
            f"mean {one.mean_confidence:.2f}, right {100 * one.accuracy:.1f} %"
        )
        parts.append(
            f'<circle class="bar" cx="{x:.1f}" cy="{y:.1f}" r="5"><title>{title}</title></circle>'
        )
    parts.insert(2, f'<polyline class="path" points="{" ".join(points)}"/>')
    for tick in range(0, 11, 2):
        x = left + tick / 10 * (right - left)
        parts.append(svg_text(x, HEIGHT - BOTTOM + 16, f"{tick / 10:.1f}", "middle"))
    parts.append(svg_text((left + right) / 2, HEIGHT - 12, "confidence of the word", "middle"))
    return svg_figure(parts, "Confidence against accuracy")


def svg_figure(parts: Sequence[str], title: str, height: int = HEIGHT) -> str:
    """A picture of these elements; screen readers read its title."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def svg_axis(top: float, tick_text: Callable[[float], str]) -> str:
    """Five horizontal lines from 0 to `top`, each with its value on the left."""
    lines = []
    for tick in range(5):
        value = top * tick / 4
        y = svg_y(value, top)
        css = "axis" if tick == 0 else "grid"
        lines.append(
            f'<line class="{css}" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
        )
        lines.append(svg_text(LEFT - 6, y + 4, tick_text(value), "end"))
    return "".join(lines)


def percent_tick(value: float) -> str:
    """A fraction as an axis shows it."""
    return f"{100 * value:.3g} %"


def _line(value: float, top: float, name: str) -> str:
    if value != value:
        return ""
    y = svg_y(value, top)
    return (
        f'<line class="mean" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}">'
        f"<title>{name}: {100 * value:.2f} %</title></line>"
    )


def svg_text(x: float, y: float, text: str, anchor: str) -> str:
    """An escaped label; `anchor` is start, middle or end."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def svg_y(value: float, top: float) -> float:
    """Where `value` stands on an axis from 0 to `top`."""
    share = min(max(value / top, 0.0), 1.0)
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _nice_top(value: float) -> float:
    """The least of 1, 2, 4, 5, 8 times a power of ten at or above `value`, at least 1 %."""
    if value != value or value <= 0.01:
        return 0.01
    power = 0.01
    while power * 10 < value:
        power *= 10
    return next(power * factor for factor in (1, 2, 4, 5, 8, 10) if power * factor >= value * 0.999)
