"""Charts of the demo's report: scores as bars, and retrieval results as frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from toomuchtv.media.clip import Clip
from toomuchtv.reports.charts import COLORS, style_axes, to_png


def draw_scores(
    scores: Mapping[str, Mapping[str, tuple[float, float]]], *, chance: float, y_label: str
) -> bytes:
    """Draw groups of bars: `scores[group][name]` is (mean, standard deviation)."""
    groups = list(scores)
    names = list(next(iter(scores.values())))
    figure = Figure(figsize=(3.4 * len(groups) + 1.5, 3.4), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(names)
    for index, name in enumerate(names):
        x = np.arange(len(groups)) + (index - (len(names) - 1) / 2) * width
        mean = [scores[group][name][0] for group in groups]
        std = [scores[group][name][1] for group in groups]
        bars = axes.bar(x, mean, width * 0.92, yerr=std, color=COLORS[index], label=name, capsize=3)
        axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=8)
    axes.axhline(chance, color="black", linewidth=1, linestyle=":", label=f"chance {chance:.3f}")
    axes.set_xticks(np.arange(len(groups)), groups)
    axes.set_ylabel(y_label)
    axes.set_ylim(
        0, 1.12 * max(sum(value) for group in scores.values() for value in group.values())
    )
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    style_axes(axes)
    return to_png(figure)


def draw_neighbors(
    queries: Sequence[Clip],
    answers: Sequence[Sequence[Clip]],
    captions: Sequence[Sequence[str]],
) -> bytes:
    """Draw one row per query: its middle frame and the middle frames of its results."""
    columns = 1 + max(len(row) for row in answers)
    figure = Figure(figsize=(2.2 * columns, 1.75 * len(queries)), layout="constrained")
    for row, (query, found) in enumerate(zip(queries, answers, strict=True)):
        for column, clip in enumerate([query, *found]):
            axes = figure.add_subplot(len(queries), columns, row * columns + column + 1)
            axes.imshow(clip.video[len(clip.video) // 2])
            axes.set_title(captions[row][column], fontsize=7, loc="left")
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_color(COLORS[5] if column == 0 else "#cccccc")
                spine.set_linewidth(2.0 if column == 0 else 0.8)
    return to_png(figure)
