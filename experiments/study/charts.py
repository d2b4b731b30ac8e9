"""Charts of a study: means with their intervals, a map over two knobs, curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from toomuchtv.reports.charts import COLORS, Curve, draw_curves, style_axes, to_png


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean with its 95% interval, whose ends are NaN where there is none."""

    name: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """Means with intervals, in panels side by side that share the names.

    Attributes:
        panels: By the label of the panel's axis.
        zero: Where the line of no difference is drawn, or of chance; None: nowhere.
    """

    panels: Mapping[str, Sequence[Interval]]
    zero: float | None = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """A value for each pair of two knobs.

    Attributes:
        x_label: Of the columns.
        y_label: Of the rows.
        x: Values of the columns.
        y: Values of the rows.
        panels: By name, values `[rows][columns]`; NaN where there is none.
        notes: By the same names, what stands under each value, `[rows][columns]`.
    """

    x_label: str
    y_label: str
    x: Sequence[float]
    y: Sequence[float]
    panels: Mapping[str, Sequence[Sequence[float]]]
    notes: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Curves side by side, by the label of their y axis."""

    x_label: str
    panels: Mapping[str, Sequence[Curve]]


Chart = Intervals | HeatMap | Lines

_PANELS_ACROSS = 3
#: Whiskers longer than so many times the median one run off the picture: two repetitions give some
#: that would leave no room for the others.
_LONGEST_WHISKER = 2.5


def draw_chart(chart: Chart) -> bytes:
    """Draw a chart as a PNG."""
    if isinstance(chart, Lines):
        return draw_curves(chart.panels, x_label=chart.x_label)
    return _draw_intervals(chart) if isinstance(chart, Intervals) else _draw_map(chart)


def _draw_intervals(chart: Intervals) -> bytes:
    most = max(len(panel) for panel in chart.panels.values())
    across = len(chart.panels) if len(chart.panels) <= _PANELS_ACROSS else 2
    down = -(-len(chart.panels) // across)
    longest = max(len(one.name) for panel in chart.panels.values() for one in panel)
    wide = max(1.6, 0.085 * longest) + 3.7 * across
    figure = Figure(figsize=(wide, (0.9 + 0.3 * most) * down), layout="constrained")
    reach = None if chart.zero is None else _reach(chart, chart.zero)
    first = None
    for place, (label, panel) in enumerate(chart.panels.items(), start=1):
        # Differences are held against each other by eye, so they have one scale.
        axes = figure.add_subplot(down, across, place, sharex=None if chart.zero is None else first)
        first = axes
        y = np.arange(len(panel))[::-1]
        mean = np.array([one.mean for one in panel])
        ends = np.array([[one.mean - one.low, one.high - one.mean] for one in panel]).T
        ends = np.where(np.isfinite(ends), ends, 0.0)
        axes.errorbar(
            mean, y, xerr=ends, fmt="o", color=COLORS[2], ecolor=COLORS[2], capsize=3, linewidth=1.6
        )
        if chart.zero is not None:
            axes.axvline(chart.zero, color="black", linewidth=1, linestyle=":")
        if chart.zero is not None and reach is not None:
            axes.set_xlim(chart.zero - reach, chart.zero + reach)
            for side, marker in ((-1, "<"), (1, ">")):
                beyond = side * (mean + side * ends[(side + 1) // 2] - chart.zero) > reach
                (arrows,) = axes.plot(
                    np.full(beyond.sum(), chart.zero + side * reach), y[beyond], marker,
                    color=COLORS[2], clip_on=False,
                )  # fmt: skip
                arrows.set_in_layout(False)
        axes.set_yticks(y, [one.name for one in panel])
        axes.set_ylim(-0.6, len(panel) - 0.4)
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        style_axes(axes)
    return to_png(figure)


def _reach(chart: Intervals, zero: float) -> float | None:
    """How far the axis goes to either side of zero; None where it may go as far as it has to."""
    far, means = [], []
    for one in (one for panel in chart.panels.values() for one in panel):
        ends = [abs(end - zero) for end in (one.low, one.high) if math.isfinite(end)]
        means.append(abs(one.mean - zero))
        far.append(max([means[-1], *ends]))
    reach = max(_LONGEST_WHISKER * float(np.median(far)), 1.2 * max(means))
    return reach if max(far) > reach > 0 else None


def _draw_map(chart: HeatMap) -> bytes:
    figure = Figure(figsize=(4.3 * len(chart.panels) + 0.4, 3.4), layout="constrained")
    reach = max(
        (abs(v) for p in chart.panels.values() for row in p for v in row if math.isfinite(v)),
        default=1.0,
    )
    for column, (label, values) in enumerate(chart.panels.items(), start=1):
        axes = figure.add_subplot(1, len(chart.panels), column)
        axes.imshow(
            np.array(values, float), origin="lower", cmap="RdBu", vmin=-reach, vmax=reach,
            aspect="auto",
        )  # fmt: skip
        for row, line in enumerate(values):
            for place, value in enumerate(line):
                if math.isfinite(value):
                    color = "white" if abs(value) > 0.6 * reach else "black"
                    note = chart.notes[label][row][place] if label in chart.notes else ""
                    axes.text(place, row, f"{value:+.3f}", ha="center", va="bottom", color=color)
                    axes.text(place, row, note, ha="center", va="top", color=color, fontsize=8)
        axes.set_xticks(range(len(chart.x)), [f"{value:g}" for value in chart.x])
        axes.set_yticks(range(len(chart.y)), [f"{value:g}" for value in chart.y])
        axes.set_xlabel(chart.x_label)
        axes.set_ylabel(chart.y_label)
        axes.set_title(label, fontsize=10)
    return to_png(figure)
