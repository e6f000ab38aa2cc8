"""Curves as SVG: right places, round ticks, no value that breaks the drawing."""

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from asr.line_chart import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Line,
    StepAxis,
    line_chart,
    smoothed,
    step_axis,
    thinned,
)
from asr.run_metrics import RunMetrics, Series

AXIS = StepAxis(100, "step", ((0, "0"), (100, "100")), marks=(50,))
NAMESPACE = "{http://www.w3.org/2000/svg}"


def series(*values: float) -> Series:
    return Series(tuple(range(len(values))), values)


def drawn(svg: str) -> list[tuple[float, float]]:
    """Points of the first curve."""
    line = ElementTree.fromstring(svg).find(f"{NAMESPACE}polyline")
    assert line is not None
    points = [point.split(",") for point in line.attrib["points"].split()]
    return [(float(x), float(y)) for x, y in points]


def labels(svg: str) -> list[str]:
    return re.findall(r'text-anchor="end">([^<]*)<', svg)


def test_points_are_where_they_belong() -> None:
    svg = line_chart("t", [Line("a", Series((0, 50, 100), (0.0, 1.0, 0.5)))], AXIS, unit="%")
    middle, half = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    assert drawn(svg) == [(LEFT, HEIGHT - BOTTOM), (middle, TOP), (WIDTH - RIGHT, half)]
    assert labels(svg) == ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]
    assert "resumed at step 51" in svg


def test_a_logarithmic_axis_has_equal_ways_for_equal_factors() -> None:
    svg = line_chart("t", [Line("a", series(1.0, 10.0, 100.0))], AXIS, is_log=True)
    (_, low), (_, middle), (_, high) = drawn(svg)
    assert middle - high == pytest.approx(low - middle, abs=0.11)
    assert labels(svg) == ["1", "2", "5", "10", "20", "50", "100"]


@pytest.mark.parametrize("is_log", [False, True])
@pytest.mark.parametrize(
    "values",
    [(), (math.nan, math.inf), (0.0,), (3.0,), (-2.0, 5.0), (1e-9, 1e9), (7.0, 7.0), (0.0, 1e-12)],
)
def test_no_values_break_it(values: tuple[float, ...], is_log: bool) -> None:
    svg = line_chart("<t>", [Line("a", series(*values), kind="dots")], AXIS, is_log=is_log)
    for x, y in drawn(svg):
        assert LEFT <= x <= WIDTH - RIGHT
        assert TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1
    assert 2 <= len(labels(svg)) <= 20


def test_thinning_and_smoothing_keep_the_mean() -> None:
    long = series(*(float(n % 10) for n in range(1000)))
    thin = thinned(long, 100)
    assert len(thin.values) == 100
    assert set(thin.values) == {4.5}
    assert thin.steps[-1] == 999
    assert thinned(series(1.0, 2.0)) == series(1.0, 2.0)
    assert all(3.9 < value < 5.1 for value in smoothed(long).values[20:-20])
    assert smoothed(series(1.0, math.nan, 3.0)) == Series((0, 2), (1.0, 3.0))


def test_the_axis_counts_epochs_where_the_log_knows_them() -> None:
    epochs = Series(tuple(range(0, 300, 5)), tuple(float(step // 10) for step in range(0, 300, 5)))
    axis = step_axis(RunMetrics({"epoch": epochs}))
    assert axis.name == "epochs done"
    assert axis.ticks[:3] == ((0, "0"), (45, "5"), (95, "10"))
    assert 2 <= len(axis.ticks) <= 13
    assert step_axis(RunMetrics({"train/loss": series(1.0, 2.0)})).name == "step"
    assert step_axis(RunMetrics()).last_step == 1
