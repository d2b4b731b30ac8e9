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
        style_axes(axes)
    figure.axes[0].legend(frameon=False)
    return to_png(figure)


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
    return to_png(figure)


def style_axes(axes: Axes) -> None:
    """Take away what does not help to read a chart."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e8ee", linewidth=0.8)
    axes.set_axisbelow(True)


def to_png(figure: Figure) -> bytes:
    """Draw a figure to a PNG."""
    out = io.BytesIO()
    FigureCanvasAgg(figure)  # what savefig draws with, whatever display there is
    figure.savefig(out, format="png")
    return out.getvalue()
