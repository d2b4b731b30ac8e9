"""Charts and previews of the reports, as PNG and JPEG. They fit on the screen of a phone."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import matplotlib.image
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FormatStrFormatter, Formatter, FuncFormatter, MaxNLocator

from toomuchtv.data.log_mel import LogMel, LogMelConfig
from toomuchtv.diagnosis.results import (
    ClipPreview,
    PolicyNegatives,
    ProbeResult,
    RelationSimilarity,
    TitleConfusion,
)
from toomuchtv.media.clip import Clip

#: Colors that color-blind readers can distinguish (Okabe and Ito).
COLORS = ("#999999", "#E69F00", "#0072B2", "#009E73", "#CC79A7", "#D55E00")
#: Colors of positives, same item, same title and other titles.
_RELATION_COLORS = (COLORS[3], COLORS[5], COLORS[1], COLORS[2])
_NARROW_INCHES = 5.6
_NUM_SHOWN_FRAMES = 4
# Larger matrices have no numbers or names, because they would not be readable.
_MAX_NUMBERED_TITLES, _MAX_NUMBERED_CLASSES, _MAX_NAMED_CLASSES = 10, 20, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line of a chart: x and y of equal length."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    color: str


def draw_curves(charts: Mapping[str, Sequence[Curve]], *, x_label: str) -> list[tuple[bytes, str]]:
    """Draw line charts; `charts` has the lines by the label of the y axis.

    Returns:
        One PNG per chart, and its text alternative.
    """
    drawn = []
    for label, curves in charts.items():
        figure = Figure(figsize=(4.6, 3.0), layout="constrained")
        axes = figure.add_subplot()
        for curve in curves:
            # A line of a single point would not be visible, and half of a point on an axis neither.
            axes.plot(
                curve.x, curve.y, label=curve.name, color=curve.color, linewidth=1.8,
                marker="o" if len(curve.x) == 1 else None, clip_on=False,
            )  # fmt: skip
        axes.set_xlabel(x_label)
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        style_axes(axes)
        if len(curves) > 1:
            axes.legend(frameon=False)
        drawn.append((to_png(figure), f"Curve of the {label} by {x_label}"))
    return drawn


def draw_clips(clips: Sequence[Clip], captions: Sequence[str], *, sample_rate_hz: int) -> bytes:
    """Draw one clip per row: some of its frames, then the log-mel spectrogram of its audio.

    Args:
        clips: The clips, before augmentation.
        captions: One caption per clip.
        sample_rate_hz: Sample rate of the waveforms.
    """
    figure = Figure(figsize=(7.5, 1.3 * len(clips)), layout="constrained")
    columns = _NUM_SHOWN_FRAMES + 2
    log_mel = LogMel(LogMelConfig(sample_rate_hz=sample_rate_hz))
    for row, (clip, caption) in enumerate(zip(clips, captions, strict=True)):
        shown = np.linspace(0, len(clip.video) - 1, _NUM_SHOWN_FRAMES).round().astype(int)
        for column, index in enumerate(shown):
            axes = figure.add_subplot(len(clips), columns, row * columns + column + 1)
            axes.imshow(clip.video[index])
            axes.set_axis_off()
            if column == 0:
                axes.set_title(caption, loc="left", fontsize=9)
        first = row * columns + _NUM_SHOWN_FRAMES + 1
        axes = figure.add_subplot(len(clips), columns, (first, first + 1))
        spectrogram = log_mel(torch.from_numpy(clip.waveform)[None])[0, 0].numpy()
        axes.imshow(spectrogram, origin="lower", aspect="auto", cmap="magma", vmin=-2.0, vmax=2.0)
        axes.set_axis_off()
    return to_png(figure)


def draw_negative_mass(policies: Sequence[PolicyNegatives]) -> bytes:
    """Draw how the softmax mass is split over same item, same title and other titles.

    Each policy has two bars: the measured split, and in pale colors the split that equal embeddings
    would give.
    """
    names, rows = [], []
    for policy in policies:
        for name, figures in (
            (policy.policy, policy.figures),
            ("if all were equal", policy.equal_embeddings),
        ):
            item, title = figures["mass_same_item"].mean, figures["mass_same_title"].mean
            names.append(name)
            rows.append((item, title - item, 1.0 - title))
    figure = Figure(figsize=(_NARROW_INCHES, 0.55 * len(names) + 1.1), layout="constrained")
    axes = figure.add_subplot()
    widths = np.nan_to_num(np.array(rows))
    starts = np.cumsum(widths, axis=1) - widths
    labels = ("same item", "same title, other item", "other titles")
    for column, (label, color) in enumerate(zip(labels, _RELATION_COLORS[1:], strict=True)):
        for row, (start, width) in enumerate(
            zip(starts[:, column], widths[:, column], strict=True)
        ):
            is_pale = row % 2 == 1
            axes.barh(
                row, width, left=start, height=0.72, color=color, alpha=0.45 if is_pale else 1.0,
                label=label if row == 0 else None,
            )  # fmt: skip
            if width > 0.06:
                axes.text(
                    start + width / 2, row, f"{width:.2f}", ha="center", va="center", fontsize=9,
                    color="black" if is_pale else "white",
                )  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the softmax mass of the negatives")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.45, 1.0), ncol=3, fontsize=8)
    return to_png(figure)


def draw_histograms(relations: Sequence[RelationSimilarity]) -> bytes:
    """Draw the density of the similarities, one line per relation."""
    figure = Figure(figsize=(_NARROW_INCHES, 3.4), layout="constrained")
    axes = figure.add_subplot()
    low, high = 1.0, -1.0
    for one, color in zip(relations, _RELATION_COLORS, strict=True):
        if not one.num_pairs:
            continue
        edges = np.linspace(-1.0, 1.0, len(one.histogram) + 1)
        counts = np.array(one.histogram)
        density = counts / counts.sum() / (edges[1] - edges[0])
        axes.stairs(density, edges, color=color, linewidth=1.8, label=one.relation)
        axes.stairs(density, edges, color=color, alpha=0.12, fill=True)
        occupied = np.flatnonzero(counts)
        low, high = min(low, edges[occupied[0]]), max(high, edges[occupied[-1] + 1])
    axes.set_xlim(low, high)
    axes.set_xlabel("similarity of a video and an audio")
    axes.set_ylabel("density")
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return to_png(figure)


def draw_probes(probes: Sequence[ProbeResult]) -> bytes:
    """Draw the accuracies on embeddings by content, one panel per target and modality."""
    panels: dict[tuple[str, str], list[ProbeResult]] = {}
    for probe in probes:
        if probe.layer == "embedding":
            panels.setdefault((probe.target, probe.modality), []).append(probe)
    num_bars = [len(bars) for bars in panels.values()]
    figure = Figure(figsize=(_NARROW_INCHES, 0.42 * sum(num_bars) + len(panels)))
    figure.set_layout_engine("constrained")
    grid = figure.add_gridspec(len(panels), 1, height_ratios=num_bars)
    for index, ((target, modality), bars) in enumerate(panels.items()):
        axes = figure.add_subplot(grid[index])
        color = COLORS[2 if target == "title" else 3]
        drawn = axes.barh(
            range(len(bars)),
            [bar.accuracy for bar in bars],
            color=[color if bar.trained else COLORS[0] for bar in bars],
        )
        axes.bar_label(drawn, fmt="%.2f", padding=3, fontsize=9)
        axes.axvline(bars[0].chance, color="black", linestyle=":", linewidth=1.2)
        axes.set_yticks(
            range(len(bars)), [bar.content if bar.trained else "fresh weights" for bar in bars]
        )
        axes.invert_yaxis()
        axes.set_xlim(0, 1.1)
        axes.set_title(f"accuracy of the {target} from {modality}", loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    return to_png(figure)


def draw_title_lift(confusion: TitleConfusion) -> bytes:
    """Draw the lift from title to title as a matrix. Darker cells have more."""
    size = len(confusion.titles)
    figure = Figure(figsize=(_NARROW_INCHES, _NARROW_INCHES * 0.9), layout="constrained")
    axes = figure.add_subplot()
    values = np.ma.masked_less_equal(np.ma.masked_invalid(confusion.lift), 0.0)
    low, high = 0.5, 2.0
    if values.count():
        low, high = max(1e-3, min(low, float(values.min()))), max(high, float(values.max()))
    image = axes.imshow(values, norm=LogNorm(low, high), cmap="cividis_r")
    names = [plain_text(name, 18) for name in confusion.titles]
    font_size = 9 if size <= 16 else 6
    axes.set_xticks(range(size), names, rotation=60, ha="right", fontsize=font_size)
    axes.set_yticks(range(size), names, fontsize=font_size)
    if size <= _MAX_NUMBERED_TITLES:
        for row, column in np.ndindex(size, size):
            value = confusion.lift[row, column]
            if np.isfinite(value):
                is_dark = value > np.sqrt(low * high)
                _write_cell(axes, row, column, f"{value:.2g}", is_dark=is_dark)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, label="multiple of an equal split")
    bar.ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    bar.ax.yaxis.set_minor_formatter(FormatStrFormatter("%g"))
    bar.ax.tick_params(which="both", labelsize=8)
    return to_png(figure)


def draw_confusion_matrix(confusion: Sequence[Sequence[float]], classes: Sequence[str]) -> bytes:
    """Draw the clips of each true class (rows) by predicted class (columns)."""
    counts = np.array(confusion, dtype=np.float64)
    shares = counts / np.maximum(1.0, counts.sum(axis=1, keepdims=True))
    side_inches = min(14.0, max(4.5, 0.32 * len(classes) + 2.0))
    figure = Figure(figsize=(side_inches, side_inches), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    if len(classes) <= _MAX_NAMED_CLASSES:
        axes.set_xticks(range(len(classes)), list(classes), rotation=90, fontsize=8)
        axes.set_yticks(range(len(classes)), list(classes), fontsize=8)
    if len(classes) <= _MAX_NUMBERED_CLASSES:
        for row, column in np.argwhere(counts > 0):
            is_dark = bool(shares[row, column] > 0.5)
            _write_cell(axes, row, column, f"{counts[row, column]:.3g}", is_dark=is_dark)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    return to_png(figure)


def encode_frames(preview: ClipPreview) -> bytes:
    """Encode the frames of a clip side by side, as JPEG."""
    return _to_jpeg(np.concatenate(list(preview.frames), axis=1))


def encode_log_mel(preview: ClipPreview) -> bytes:
    """Encode the log-mel of a clip as a small image with low bands at the bottom, as JPEG."""
    bands, frames = preview.log_mel.shape
    scaled = np.clip((preview.log_mel[::-1] + 2.0) / 4.0, 0.0, 1.0)
    # Enlarge it to about the shape of the row of frames above it.
    height, width = max(1, round(64 / bands)), max(1, round(320 / frames))
    colors = matplotlib.colormaps["magma"](np.kron(scaled, np.ones((height, width))))
    return _to_jpeg((colors[..., :3] * 255).astype(np.uint8))


def style_axes(axes: Axes) -> None:
    """Give a chart a light grid and no frame."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e8ee", linewidth=0.8)
    axes.set_axisbelow(True)


def to_png(figure: Figure) -> bytes:
    """Render a figure as PNG. Every chart of this project ends here.

    Text is shown as it is: a dollar sign begins no formula. Characters that the font lacks become
    boxes, and very long text is shortened.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(plain_text(text.get_text()))
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        formatter = axis.get_major_formatter()
        if isinstance(formatter, FuncFormatter):  # names, which are set again when they are drawn
            axis.set_major_formatter(FuncFormatter(partial(_plain_label, formatter)))
    out = io.BytesIO()
    FigureCanvasAgg(figure)  # This renderer needs no display.
    # The labels of some ticks are only made when they are drawn.
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        warnings.filterwarnings("ignore", ".*constrained_layout not applied")
        figure.savefig(out, format="png", dpi=130)
    return out.getvalue()


def _plain_label(formatter: Formatter, value: float, place: int | None = None) -> str:
    return plain_text(formatter(value, place))


def plain_text(text: str, max_length: int = 100) -> str:
    """Return text that a chart can show: characters that are not printable are escaped."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    shown = "".join(one if one.isprintable() or one == "\n" else repr(one)[1:-1] for one in text)
    return shown if len(shown) <= max_length else shown[: max_length - 1] + "…"


def _write_cell(axes: Axes, row: int, column: int, text: str, *, is_dark: bool) -> None:
    color = "white" if is_dark else "black"
    axes.text(column, row, text, ha="center", va="center", fontsize=8, color=color)


def _to_jpeg(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    out = io.BytesIO()
    matplotlib.image.imsave(out, pixels, format="jpeg", pil_kwargs={"quality": 82})
    return out.getvalue()
