"""Charts of a study: means with their intervals, and a map over two settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.study.statistics import Estimate
from toomuchtv.reports.charts import COLORS, style_axes, to_png

#: Estimates by label, by the name of their panel.
Panels = Mapping[str, Mapping[str, Estimate]]

_PANELS_ACROSS = 3
#: Whiskers that are longer than this many times the median are cut, because intervals from two
#: seeds can be so long that nothing else would be visible.
_LONGEST_WHISKER = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A line of a chart with a band around it: `x`, `mean`, `low` and `high` of equal length."""

    name: str
    color: str
    x: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def draw_bands(panels: Mapping[str, Sequence[Band]], *, x_label: str) -> bytes:
    """Draw lines with bands as a PNG, one panel per y axis, all with the same x axis.

    Args:
        panels: The lines by the title of their panel; accuracies, so that all y axes are 0 to 1.
        x_label: Label of the x axes.
    """
    across = min(len(panels), _PANELS_ACROSS)
    down = -(-len(panels) // across)
    figure = Figure(figsize=(3.6 * across + 0.4, 2.7 * down + 0.5), layout="constrained")
    for place, (title, bands) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(down, across, place)
        for band in bands:
            axes.plot(
                band.x, band.mean, "o-", color=band.color, linewidth=1.8, markersize=3.5,
                label=band.name, clip_on=False,
            )  # fmt: skip
            axes.fill_between(band.x, band.low, band.high, color=band.color, alpha=0.18, lw=0)
        axes.set_ylim(0, 1)
        axes.set_xlim(left=0)
        axes.set_title(title, fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if place > len(panels) - across:
            axes.set_xlabel(x_label)
        if (place - 1) % across == 0:
            axes.set_ylabel("accuracy")
        style_axes(axes)
    handles = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False
    )
    return to_png(figure)


def draw_intervals(panels: Panels, *, zero: float | None = 0.0) -> bytes:
    """Draw means with 95% intervals as a PNG.

    Args:
        panels: The estimates.
        zero: Position of a vertical reference line. With a line, all panels share one x axis
            that is symmetric around it. None draws no line.
    """
    most = max(len(panel) for panel in panels.values())
    across = len(panels) if len(panels) <= _PANELS_ACROSS else 2
    down = -(-len(panels) // across)
    longest = max(len(label) for panel in panels.values() for label in panel)
    wide = max(1.6, 0.085 * longest) + 3.7 * across
    figure = Figure(figsize=(wide, (0.9 + 0.3 * most) * down), layout="constrained")
    reach = None if zero is None else _reach(panels, zero)
    first = None
    for place, (name, panel) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(down, across, place, sharex=None if zero is None else first)
        first = axes
        y = np.arange(len(panel))[::-1]
        mean = np.array([one.mean for one in panel.values()])
        ends = np.array([[one.mean - one.low, one.high - one.mean] for one in panel.values()]).T
        ends = np.where(np.isfinite(ends), ends, 0.0)
        axes.errorbar(
            mean, y, xerr=ends, fmt="o", color=COLORS[2], ecolor=COLORS[2], capsize=3, linewidth=1.6
        )
        if zero is not None:
            axes.axvline(zero, color="black", linewidth=1, linestyle=":")
            if reach is not None:
                _mark_cut_whiskers(axes, y, mean, ends, zero, reach)
        axes.set_yticks(y, list(panel))
        axes.set_ylim(-0.6, len(panel) - 0.4)
        axes.set_xlabel(name)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        style_axes(axes)
    return to_png(figure)


def _mark_cut_whiskers(
    axes: Axes, y: np.ndarray, mean: np.ndarray, ends: np.ndarray, zero: float, reach: float
) -> None:
    """Limit the x axis and draw an arrow at the end of each whisker that leaves it."""
    axes.set_xlim(zero - reach, zero + reach)
    for side, marker in ((-1, "<"), (1, ">")):
        beyond = side * (mean + side * ends[(side + 1) // 2] - zero) > reach
        x = np.full(beyond.sum(), zero + side * reach)
        (arrows,) = axes.plot(x, y[beyond], marker, color=COLORS[2], clip_on=False)
        arrows.set_in_layout(False)


def _reach(panels: Panels, zero: float) -> float | None:
    """Return how far the x axis extends to either side of zero, or None for no limit."""
    far, means = [], []
    for one in (one for panel in panels.values() for one in panel.values()):
        ends = [abs(end - zero) for end in (one.low, one.high) if math.isfinite(end)]
        means.append(abs(one.mean - zero))
        far.append(max([means[-1], *ends]))
    reach = max(_LONGEST_WHISKER * float(np.median(far)), 1.2 * max(means))
    return reach if max(far) > reach > 0 else None


def draw_map(
    panels: Mapping[str, Mapping[tuple[float, float], Estimate]], *, x_label: str, y_label: str
) -> bytes:
    """Draw estimates over two settings as a PNG.

    Args:
        panels: Estimates by their (x, y) settings, by the title of their panel.
        x_label: Name of the first setting.
        y_label: Name of the second setting.
    """
    figure = Figure(figsize=(4.3 * len(panels) + 0.4, 3.4), layout="constrained")
    x, y = (sorted({key[k] for panel in panels.values() for key in panel}) for k in (0, 1))
    reach = max(abs(one.mean) for panel in panels.values() for one in panel.values()) or 1.0
    for column, (title, panel) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), column)
        means = np.full((len(y), len(x)), math.nan)
        for (at_x, at_y), one in panel.items():
            place = x.index(at_x), y.index(at_y)
            means[place[1], place[0]] = one.mean
            color = "white" if abs(one.mean) > 0.6 * reach else "black"
            interval = f"{one.low:+.2f} to {one.high:+.2f}" if one.has_interval else ""
            axes.text(*place, f"{one.mean:+.3f}", ha="center", va="bottom", color=color)
            axes.text(*place, interval, ha="center", va="top", color=color, fontsize=8)
        axes.imshow(means, origin="lower", cmap="RdBu", vmin=-reach, vmax=reach, aspect="auto")
        axes.set_xticks(range(len(x)), [f"{value:g}" for value in x])
        axes.set_yticks(range(len(y)), [f"{value:g}" for value in y])
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.set_title(title, fontsize=10)
    return to_png(figure)
