"""Black bars around a picture: found by looking at frames from all over an item.

A dark scene is not a bar. So a bar must be black in each bright frame of those looked at, end at
the same line in many of them, along a straight edge, and be as wide as the one across from it.
Where any of that is in doubt (subtitles in the bar, a film that changes its shape), nothing is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from toomuchtv.media.pictures import Bars, picture_stream

_NUM_LOOKS = 32
_READ_THROUGH_SECONDS = 30.0  # shorter items have too few keyframes to seek to
_MIN_FRAMES = 3
_BLACK = 24  # of 255: compression and analog noise stay below
_BRIGHT = 48

GrayArray = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Extent:
    """The lit part of one frame along rows or columns: `[start, stop)`."""

    start: int
    stop: int


def find_bars(container: InputContainer) -> Bars | None:
    """Find the black bars of an item, by about 32 frames spread over it.

    Args:
        container: Just opened; afterwards it stands anywhere.

    Returns:
        The bars, or None where there are none or it is in doubt.

    Raises:
        MediaError: It has no picture.
    """
    stream = picture_stream(container)
    sizes: dict[tuple[int, int], list[GrayArray]] = {}
    for frame in _looks(container, stream):
        try:
            gray = frame.to_ndarray(format="rgb24").mean(axis=2).astype(np.uint8)
        except (av.FFmpegError, ValueError):
            continue
        sizes.setdefault((frame.width, frame.height), []).append(gray)
    if len(sizes) != 1:
        return None
    (pictures,) = sizes.values()
    return bars_of(pictures)


def _looks(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Frames from all over; from the first half minute where there is no seeking about."""
    seconds = 0.0
    if stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / 1_000_000
    if seconds <= _READ_THROUGH_SECONDS:
        yield from _by_reading(container, stream, seconds or _READ_THROUGH_SECONDS)
        return
    origin = (container.start_time or 0) / 1_000_000
    seen: set[int | None] = set()
    for look in range(_NUM_LOOKS):
        at = origin + seconds * (look + 0.5) / _NUM_LOOKS
        try:
            container.seek(round(at * 1_000_000))
            frame = next(container.decode(stream), None)
        except (av.FFmpegError, EOFError):
            continue
        if frame is not None and frame.pts not in seen:
            seen.add(frame.pts)
            yield frame


def _by_reading(
    container: InputContainer, stream: VideoStream, seconds: float
) -> Iterator[VideoFrame]:
    step = 1.0 / float(stream.average_rate or stream.guessed_rate or 25)
    looks = 0
    try:
        for number, frame in enumerate(container.decode(stream)):
            if number * step >= seconds * looks / _NUM_LOOKS:
                looks += 1
                yield frame
            if number * step > seconds:
                return
    except (av.FFmpegError, EOFError):
        return


def bars_of(pictures: Iterable[GrayArray]) -> Bars | None:
    """Find the bars common to gray pictures `[H, W]` of one size; see the module for the rule."""
    rows: list[_Extent] = []
    columns: list[_Extent] = []
    ever_lit: NDArray[np.bool_] | None = None
    for picture in pictures:
        if (picture > _BRIGHT).mean() < 0.1:
            continue  # a dark scene tells nothing
        lit = picture > _BLACK
        rows.append(_extent(lit.mean(axis=1) > 0.01))
        columns.append(_extent(lit.mean(axis=0) > 0.01))
        ever_lit = lit if ever_lit is None else ever_lit | lit
    if len(rows) < _MIN_FRAMES or ever_lit is None:
        return None
    height, width = ever_lit.shape
    inner_rows = slice(min(e.start for e in rows), max(e.stop for e in rows))
    inner_columns = slice(min(e.start for e in columns), max(e.stop for e in columns))
    top, bottom = _pair(rows, height, ever_lit[:, inner_columns])
    left, right = _pair(columns, width, ever_lit[inner_rows].T)
    if not (top or bottom or left or right):
        return None
    return Bars(of_width=width, of_height=height, left=left, top=top, right=right, bottom=bottom)


def _extent(is_lit: NDArray[np.bool_]) -> _Extent:
    (where,) = is_lit.nonzero()
    if len(where) == 0:
        return _Extent(0, len(is_lit))
    return _Extent(int(where[0]), int(where[-1]) + 1)


def _pair(extents: list[_Extent], size: int, ever_lit: NDArray[np.bool_]) -> tuple[int, int]:
    """The two bars across from each other; `ever_lit` `[size, other size]`. (0, 0) if in doubt."""
    start, stop = min(e.start for e in extents), max(e.stop for e in extents)
    before, after = start, size - stop
    none = (0, 0)
    if max(before, after) < 0.02 * size or stop - start < 0.4 * size:
        return none
    if abs(before - after) > max(2, 0.04 * size):
        return none
    # The same line in many frames: the edge of the light in a dark room moves.
    tolerance = max(2, size // 100)
    for agree in (
        [e.start <= start + tolerance for e in extents],
        [e.stop >= stop - tolerance for e in extents],
    ):
        if np.mean(agree) < 1 / 3:
            return none
    # A straight edge: right inside it, it has been light along nearly all its length.
    band = max(2, size // 100)
    for edge in (ever_lit[start : start + band], ever_lit[stop - band : stop]):
        if edge.any(axis=0).mean() < 0.8:
            return none
    return before + before % 2, after + after % 2  # whole chroma samples
