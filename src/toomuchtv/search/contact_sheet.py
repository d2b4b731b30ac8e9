"""A contact sheet: one picture with some frames of every hit and its scores."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from toomuchtv._internal.files import replacing
from toomuchtv._internal.timecode import format_timecode
from toomuchtv.catalog.proxies import open_proxy
from toomuchtv.catalog.store import Catalog, as_open_catalog
from toomuchtv.errors import CatalogError, MediaError
from toomuchtv.media.clip import VideoArray
from toomuchtv.search.hits import Hit
from toomuchtv.search.result_tables import describe_match
from toomuchtv.search.text import plain_text

#: More rows would make a picture that few programs open.
MAX_ROWS = 200
_NUM_FRAMES = 5
_CELL_WIDTH, _CELL_HEIGHT = 224, 126
_GAP, _MARGIN, _LABEL_HEIGHT = 4, 12, 26
_DPI = 100
_BACKGROUND, _EMPTY, _TEXT, _QUERY_TEXT = 24, 40, "#eeeeee", "#E69F00"
_FONT_SIZE = 9.0
# Fonts for scripts that matplotlib's own font lacks. Those that are installed are used.
_FONTS = (
    "DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Hiragino Sans", "Yu Gothic",
    "Microsoft YaHei", "Malgun Gothic", "Arial Unicode MS",
)  # fmt: skip
_MAX_LABEL_LENGTH = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryPicture:
    """The picture of a query, for the first row of a contact sheet.

    Attributes:
        name: What was searched for.
        frames: RGB frames, uint8 `[T, H, W, 3]` with T of at least 1. Five of them are shown.
    """

    name: str
    frames: VideoArray


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    label: str
    frames: Sequence[VideoArray]
    problem: str = ""
    color: str = _TEXT


def write_contact_sheet(
    hits: Sequence[Hit],
    path: str | os.PathLike[str],
    *,
    catalog: Catalog | str | os.PathLike[str],
    query: QueryPicture | None = None,
) -> tuple[str, ...]:
    """Draw hits as a PNG: five frames over the moment of each, its name, times and scores.

    The frames come from the proxies, so that the library need not be there. A hit without a proxy
    has a row that says so.

    Args:
        hits: The hits.
        path: The PNG to write.
        catalog: The catalog of the hits, or its folder.
        query: The picture of the query, which comes first.

    Returns:
        Warnings: hits whose frames cannot be read, and how many hits are left out.

    Raises:
        ValueError: There is nothing to draw.
        OSError: The file cannot be written.
    """
    if not hits and query is None:
        raise ValueError("there are no hits, and a contact sheet needs at least one")
    ordered = sorted(hits, key=lambda hit: hit.rank)
    problems: list[str] = []
    if len(ordered) > MAX_ROWS:
        problems.append(f"the contact sheet shows the first {MAX_ROWS} of {len(ordered)} hits")
    rows: list[_Row] = []
    if query is not None:
        picked = np.linspace(0, len(query.frames) - 1, _NUM_FRAMES).round().astype(int)
        frames = [query.frames[index] for index in dict.fromkeys(picked.tolist())]
        rows.append(_Row(label=f"Query: {query.name}", frames=frames, color=_QUERY_TEXT))
    with as_open_catalog(catalog) as opened:
        for hit in ordered[:MAX_ROWS]:
            try:
                rows.append(_Row(label=_label(hit), frames=_frames_of(opened, hit)))
            except (CatalogError, MediaError) as error:
                problems.append(f"no frames of {hit.name!r}: {error}")
                rows.append(_Row(label=_label(hit), frames=(), problem=str(error)))
    with replacing(Path(path)) as partial:
        _draw(rows, partial)
    return tuple(problems)


def _label(hit: Hit) -> str:
    parts = [
        f"{hit.rank}. {hit.name}",
        f"{format_timecode(hit.start_seconds)} to {format_timecode(hit.stop_seconds)}",
    ]
    for match in hit.matches[:1]:
        parts.append(f"similarity {match.similarity:.3f}")
        if math.isfinite(match.z_score):
            parts.append(f"z {match.z_score:.1f}")
        parts.append(describe_match(match))
    if not hit.is_confident:
        parts.append("not confident")
    return ", ".join(parts)


def _frames_of(catalog: Catalog, hit: Hit) -> list[VideoArray]:
    """Return frames at equal distances over the moment, from the middle of the first fifth on."""
    proxy = catalog.proxy(hit.item_id)
    step = (hit.stop_seconds - hit.start_seconds) / _NUM_FRAMES
    reader = open_proxy(catalog.folder, proxy)
    try:
        frames = []
        for number in range(_NUM_FRAMES):
            seconds = hit.start_seconds + (number + 0.5) * step
            index = math.floor(seconds * proxy.frame_rate + 1e-6)
            index = min(max(0, index), proxy.num_frames - 1)
            frames.append(reader.read_rgb(first_frame=index, frames=1)[0])
        return frames
    finally:
        reader.close()


def _draw(rows: Sequence[_Row], path: Path) -> None:
    # The import takes a second, and whoever searches without a contact sheet need not wait for it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import fontManager

    width = 2 * _MARGIN + _NUM_FRAMES * _CELL_WIDTH + (_NUM_FRAMES - 1) * _GAP
    row_height = _LABEL_HEIGHT + _CELL_HEIGHT + _GAP
    height = 2 * _MARGIN + len(rows) * row_height
    canvas = np.full((height, width, 3), _BACKGROUND, np.uint8)
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)
    installed = {font.name for font in fontManager.ttflist}
    fonts = [font for font in _FONTS if font in installed]

    def write(text: str, x: float, y: float, color: str) -> None:
        short = plain_text(text)
        if len(short) > _MAX_LABEL_LENGTH:
            short = short[: _MAX_LABEL_LENGTH - 1] + "…"
        figure.text(
            x / width,
            1 - y / height,
            short,
            color=color,
            fontsize=_FONT_SIZE,
            fontfamily=fonts,
            verticalalignment="center",
            parse_math=False,  # a dollar sign is no formula
        )

    for number, row in enumerate(rows):
        top = _MARGIN + number * row_height
        write(row.label, _MARGIN, top + _LABEL_HEIGHT / 2, row.color)
        top += _LABEL_HEIGHT
        for cell in range(_NUM_FRAMES):
            left = _MARGIN + cell * (_CELL_WIDTH + _GAP)
            area = canvas[top : top + _CELL_HEIGHT, left : left + _CELL_WIDTH]
            area[:] = _EMPTY
            if cell < len(row.frames):
                _put(row.frames[cell], area)
        if row.problem:
            write(row.problem, 2 * _MARGIN, top + _CELL_HEIGHT / 2, _TEXT)
    figure.figimage(canvas, resize=False)
    with warnings.catch_warnings():
        # Names in scripts that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(path, format="png", dpi=_DPI)


def _put(frame: VideoArray, area: VideoArray) -> None:
    """Scale a frame into the middle of an area of the canvas."""
    height, width = frame.shape[:2]
    scale = min(_CELL_WIDTH / width, _CELL_HEIGHT / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    source = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    scaled = source.reformat(width=size[0], height=size[1], interpolation="BICUBIC").to_ndarray()
    top, left = (_CELL_HEIGHT - size[1]) // 2, (_CELL_WIDTH - size[0]) // 2
    area[top : top + size[1], left : left + size[0]] = scaled
