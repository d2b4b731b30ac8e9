"""Figures of the reports, drawn to PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from toomuchtv.data.log_mel import LogMel, LogMelConfig
from toomuchtv.media.clip import Clip

#: Colors that stay apart for color-blind readers (Okabe and Ito).
COLORS = ("#999999", "#E69F00", "#0072B2", "#009E73", "#CC79A7", "#D55E00")


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line of a chart: x and y of equal length."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    color: str


def draw_curves(charts: Mapping[str, Sequence[Curve]], *, x_label: str) -> bytes:
    """Draw charts side by side; `charts` maps each one's y label to its lines."""
    figure = Figure(figsize=(4.6 * len(charts), 3.2), layout="constrained")
    for index, (label, curves) in enumerate(charts.items(), start=1):
        axes = figure.add_subplot(1, len(charts), index)
        for curve in curves:
            # A single point is no line: it would not be seen.
            marker = "o" if len(curve.x) == 1 else None
            axes.plot(
                curve.x, curve.y, label=curve.name, color=curve.color, linewidth=1.8, marker=marker
            )
        axes.set_xlabel(x_label)
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        tidy(axes)
    figure.axes[0].legend(frameon=False)
    return finish(figure)


def draw_scores(
    scores: Mapping[str, Mapping[str, tuple[float, float]]], *, chance: float, y_label: str
) -> bytes:
    """Draw bars in groups: `scores[group][name]` is (mean, standard deviation)."""
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
    tidy(axes)
    return finish(figure)


def draw_clips(clips: Sequence[Clip], captions: Sequence[str], *, sample_rate_hz: int) -> bytes:
    """Draw clips, one a row: some of the frames, then the log-mel of the sound.

    Args:
        clips: What the encoders saw.
        captions: One a clip.
        sample_rate_hz: Of the waveforms.
    """
    shown = 4
    figure = Figure(figsize=(11, 1.75 * len(clips)), layout="constrained")
    log_mel = LogMel(LogMelConfig(sample_rate_hz=sample_rate_hz))
    for row, (clip, caption) in enumerate(zip(clips, captions, strict=True)):
        picked = np.linspace(0, len(clip.video) - 1, shown).round().astype(int)
        for column, index in enumerate(picked):
            axes = figure.add_subplot(len(clips), shown + 2, row * (shown + 2) + column + 1)
            axes.imshow(clip.video[index])
            axes.set_axis_off()
            if column == 0:
                axes.set_title(caption, loc="left", fontsize=8)
        first = row * (shown + 2) + shown + 1
        axes = figure.add_subplot(len(clips), shown + 2, (first, first + 1))
        mel = log_mel(torch.from_numpy(clip.waveform)[None])[0, 0].numpy()
        axes.imshow(mel, origin="lower", aspect="auto", cmap="magma", vmin=-2.0, vmax=2.0)
        axes.set_axis_off()
    return finish(figure)


def draw_neighbors(
    queries: Sequence[Clip],
    answers: Sequence[Sequence[Clip]],
    captions: Sequence[Sequence[str]],
) -> bytes:
    """Draw, one query a row, its middle frame and the middle frames of what it found."""
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
    return finish(figure)


def tidy(axes: Axes) -> None:
    """Take away what does not help to read a chart."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e8ee", linewidth=0.8)
    axes.set_axisbelow(True)


def finish(figure: Figure) -> bytes:
    """Draw a figure to a PNG."""
    out = io.BytesIO()
    FigureCanvasAgg(figure)  # what savefig draws with, whatever display there is
    figure.savefig(out, format="png")
    return out.getvalue()
