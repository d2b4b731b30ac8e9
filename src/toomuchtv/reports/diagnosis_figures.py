"""Charts and small pictures of a diagnosis, as PNG or JPEG; narrow enough for a phone."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib.image
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter

from toomuchtv.diagnosis.results import (
    Confusion,
    MomentPicture,
    PolicyFigures,
    ProbeFigures,
    RelationFigures,
)
from toomuchtv.reports.charts import COLORS, Curve

_WIDTH = 5.6
_DPI = 150
#: Positives, same item, same title, other titles.
_RELATION_COLORS = (COLORS[3], COLORS[5], COLORS[1], COLORS[2])
_MOST_WRITTEN = 10


def draw_mass(policies: Sequence[PolicyFigures]) -> bytes:
    """Draw where the softmax mass lies, a bar a policy, with what an even split would give."""
    names, parts = [], []
    for one in policies:
        for label, figures in ((one.policy, one.figures), (f"{one.policy}, even", one.even)):
            item, title = figures["mass_same_item"].mean, figures["mass_same_title"].mean
            names.append(label)
            parts.append((item, title - item, 1.0 - title))
    figure = Figure(figsize=(_WIDTH, 0.55 * len(names) + 1.1), layout="constrained")
    axes = figure.add_subplot()
    left = np.zeros(len(names))
    labels = ("same item", "same title, other item", "other titles")
    for index, (label, color) in enumerate(zip(labels, _RELATION_COLORS[1:], strict=True)):
        values = np.nan_to_num(np.array([part[index] for part in parts]))
        even = np.array(["even" in name for name in names])
        for chosen, alpha in ((~even, 1.0), (even, 0.45)):
            axes.barh(
                np.flatnonzero(chosen),
                values[chosen],
                left=left[chosen],
                color=color,
                alpha=alpha,
                height=0.72,
                label=label if alpha == 1.0 else None,
            )
        for place, value in enumerate(values):
            if value > 0.06:
                axes.text(
                    left[place] + value / 2, place, f"{value:.2f}", ha="center", va="center",
                    fontsize=9, color="black" if even[place] else "white",
                )  # fmt: skip
        left += values
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the negatives' softmax mass")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.45, 1.0), ncol=3, fontsize=8)
    return _png(figure)


def draw_training(curves: Mapping[str, Sequence[Curve]]) -> bytes:
    """Draw figures over the steps of a run, charts one under another."""
    figure = Figure(figsize=(_WIDTH, 2.1 * len(curves)), layout="constrained")
    for index, (label, lines) in enumerate(curves.items(), start=1):
        axes = figure.add_subplot(len(curves), 1, index)
        for line in lines:
            axes.plot(line.x, line.y, label=line.name, color=line.color, linewidth=1.8)
        axes.set_ylabel(label, fontsize=9)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e5e8ee", linewidth=0.8)
        if index == 1:
            axes.legend(frameon=False, fontsize=8)
        if index == len(curves):
            axes.set_xlabel("step")
    return _png(figure)


def draw_histograms(relations: Sequence[RelationFigures]) -> bytes:
    """Draw the densities of similarity, a line a relation."""
    figure = Figure(figsize=(_WIDTH, 3.4), layout="constrained")
    axes = figure.add_subplot()
    low, high = 1.0, -1.0
    for one, color in zip(relations, _RELATION_COLORS, strict=True):
        if not one.pairs:
            continue
        edges = np.linspace(-1.0, 1.0, len(one.histogram) + 1)
        counts = np.array(one.histogram)
        density = counts / counts.sum() / (edges[1] - edges[0])
        axes.stairs(density, edges, color=color, linewidth=1.8, label=one.relation)
        axes.stairs(density, edges, color=color, alpha=0.12, fill=True)
        there = np.flatnonzero(counts)
        low, high = min(low, edges[there[0]]), max(high, edges[there[-1] + 1])
    axes.set_xlim(low, high)
    axes.set_xlabel("similarity of a picture and a sound")
    axes.set_ylabel("density")
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def draw_probes(probes: Sequence[ProbeFigures]) -> bytes:
    """Draw accuracies of the trained embedding by content, a panel a target and sense."""
    panels: dict[tuple[str, str], list[ProbeFigures]] = {}
    for one in probes:
        if one.layer == "embedding":
            panels.setdefault((one.target, one.sense), []).append(one)
    figure = Figure(figsize=(_WIDTH, 0.42 * sum(map(len, panels.values())) + 1.0 * len(panels)))
    figure.set_layout_engine("constrained")
    grid = figure.add_gridspec(len(panels), 1, height_ratios=[len(one) for one in panels.values()])
    for index, ((target, sense), bars) in enumerate(panels.items()):
        axes = figure.add_subplot(grid[index])
        labels = [one.content if one.trained else "fresh weights" for one in bars]
        colors = [COLORS[2 if target == "title" else 3] if one.trained else COLORS[0]
                  for one in bars]  # fmt: skip
        drawn = axes.barh(range(len(bars)), [one.accuracy for one in bars], color=colors)
        axes.bar_label(drawn, fmt="%.2f", padding=3, fontsize=9)
        axes.axvline(bars[0].chance, color="black", linestyle=":", linewidth=1.2)
        axes.set_yticks(range(len(bars)), labels)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.1)
        axes.set_title(f"which {target}, from {sense}", loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def draw_confusion(confusion: Confusion) -> bytes:
    """Draw the lift from title to title, darker for more."""
    size = len(confusion.titles)
    figure = Figure(figsize=(_WIDTH, _WIDTH * 0.9), layout="constrained")
    axes = figure.add_subplot()
    values = np.ma.masked_invalid(confusion.lift)
    values = np.ma.masked_less_equal(values, 0.0)
    low = min(0.5, float(values.min())) if values.count() else 0.5
    high = max(2.0, float(values.max())) if values.count() else 2.0
    image = axes.imshow(values, norm=LogNorm(max(low, 1e-3), high), cmap="cividis_r")
    names = [name if len(name) <= 18 else name[:17] + "…" for name in confusion.titles]
    small = 9 if size <= 16 else 6
    axes.set_xticks(range(size), names, rotation=60, ha="right", fontsize=small)
    axes.set_yticks(range(size), names, fontsize=small)
    if size <= _MOST_WRITTEN:
        middle = np.sqrt(max(low, 1e-3) * high)
        for row, column in np.ndindex(size, size):
            value = confusion.lift[row, column]
            if np.isfinite(value):
                color = "white" if value > middle else "black"
                axes.text(column, row, f"{value:.2g}", ha="center", va="center", fontsize=8,
                          color=color)  # fmt: skip
    bar = figure.colorbar(image, ax=axes, shrink=0.7, label="times the even share")
    bar.ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    bar.ax.yaxis.set_minor_formatter(FormatStrFormatter("%g"))
    bar.ax.tick_params(which="both", labelsize=8)
    return _png(figure)


def encode_frames(picture: MomentPicture) -> bytes:
    """The frames of a moment side by side, as JPEG."""
    return _image(np.concatenate(list(picture.frames), axis=1), "jpeg")


def encode_log_mel(picture: MomentPicture) -> bytes:
    """The log-mel of a moment as a small picture, low bands at the bottom, as JPEG."""
    bands, frames = picture.log_mel.shape
    scaled = np.clip((picture.log_mel[::-1] + 2.0) / 4.0, 0.0, 1.0)
    # About the shape of the strip of frames above it.
    tall, wide = max(1, round(64 / bands)), max(1, round(320 / frames))
    colors = matplotlib.colormaps["magma"](np.kron(scaled, np.ones((tall, wide))))
    return _image((colors[..., :3] * 255).astype(np.uint8), "jpeg")


def _image(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], kind: str) -> bytes:
    out = io.BytesIO()
    matplotlib.image.imsave(out, pixels, format=kind, pil_kwargs={"quality": 82})
    return out.getvalue()


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    FigureCanvasAgg(figure)  # what savefig draws with, whatever display there is
    figure.savefig(out, format="png", dpi=_DPI)
    return out.getvalue()
