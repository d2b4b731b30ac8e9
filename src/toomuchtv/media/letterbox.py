"""Detection of black bars (letterbox and pillarbox) from frames spread over an item.

A dark scene is not a bar. A bar must therefore be black in every bright frame of the sample, end at
the same line in at least a third of them, along a straight edge, and be as wide as the opposite
bar. If any of that does not hold (subtitles in the bar, a film that changes its aspect ratio),
no bar is reported.
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

from toomuchtv.media.containers import find_video_stream, frame_duration_seconds
from toomuchtv.media.frame_converter import BlackBars

_NUM_SAMPLES = 32
_MIN_SEEK_SECONDS = 30.0  # shorter items have too few keyframes to seek to
_MIN_FRAMES = 3
_BLACK_LEVEL = 24  # of 255; compression and analog noise stay below
_BRIGHT_LEVEL = 48

GrayArray = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Extent:
    """The rows or columns of one frame that are not black: `[start, stop)`."""

    start: int
    stop: int


def detect_black_bars(container: InputContainer) -> BlackBars | None:
    """Detect the black bars of an item in about 32 frames spread over it.

    Args:
        container: The item, just opened. Its position afterwards is unspecified.

    Returns:
        The bars, or None if there are none or if it is doubtful.

    Raises:
        MediaError: The item has no video.
    """
    stream = find_video_stream(container)
    sizes: dict[tuple[int, int], list[GrayArray]] = {}
    for frame in _sample_frames(container, stream):
        try:
            gray = frame.to_ndarray(format="rgb24").mean(axis=2).astype(np.uint8)
        except (av.FFmpegError, ValueError):
            continue
        sizes.setdefault((frame.width, frame.height), []).append(gray)
    if len(sizes) != 1:
        return None
    (frames,) = sizes.values()
    return detect_bars_in_frames(frames)


def _sample_frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Yield keyframes spread over the item; frames of the first 30 seconds if it is short."""
    seconds = 0.0
    if stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / 1_000_000
    if seconds <= _MIN_SEEK_SECONDS:
        yield from _sample_by_decoding(container, stream, seconds or _MIN_SEEK_SECONDS)
        return
    origin = (container.start_time or 0) / 1_000_000
    seen: set[int | None] = set()
    for index in range(_NUM_SAMPLES):
        target = origin + seconds * (index + 0.5) / _NUM_SAMPLES
        try:
            container.seek(round(target * 1_000_000))
            frame = next(container.decode(stream), None)
        except (av.FFmpegError, EOFError):
            continue
        if frame is not None and frame.pts not in seen:
            seen.add(frame.pts)
            yield frame


def _sample_by_decoding(
    container: InputContainer, stream: VideoStream, seconds: float
) -> Iterator[VideoFrame]:
    frame_seconds = frame_duration_seconds(stream)
    num_sampled = 0
    try:
        for number, frame in enumerate(container.decode(stream)):
            if number * frame_seconds >= seconds * num_sampled / _NUM_SAMPLES:
                num_sampled += 1
                yield frame
            if number * frame_seconds > seconds:
                return
    except (av.FFmpegError, EOFError):
        return


def detect_bars_in_frames(frames: Iterable[GrayArray]) -> BlackBars | None:
    """Detect the bars that gray frames `[H, W]` of one size have in common.

    The rule is that of the module.
    """
    rows: list[_Extent] = []
    columns: list[_Extent] = []
    ever_lit: NDArray[np.bool_] | None = None
    for frame in frames:
        if (frame > _BRIGHT_LEVEL).mean() < 0.1:
            continue  # in a dark scene, a bar cannot be distinguished
        lit = frame > _BLACK_LEVEL
        rows.append(_extent(lit.mean(axis=1) > 0.01))
        columns.append(_extent(lit.mean(axis=0) > 0.01))
        ever_lit = lit if ever_lit is None else ever_lit | lit
    if len(rows) < _MIN_FRAMES or ever_lit is None:
        return None
    height, width = ever_lit.shape
    inner_rows = slice(min(e.start for e in rows), max(e.stop for e in rows))
    inner_columns = slice(min(e.start for e in columns), max(e.stop for e in columns))
    top, bottom = _opposite_bars(rows, height, ever_lit[:, inner_columns])
    left, right = _opposite_bars(columns, width, ever_lit[inner_rows].T)
    if not (top or bottom or left or right):
        return None
    return BlackBars(
        frame_width=width, frame_height=height, left=left, top=top, right=right, bottom=bottom
    )


def _extent(is_lit: NDArray[np.bool_]) -> _Extent:
    (where,) = is_lit.nonzero()
    if len(where) == 0:
        return _Extent(0, len(is_lit))
    return _Extent(int(where[0]), int(where[-1]) + 1)


def _opposite_bars(
    extents: list[_Extent], size: int, ever_lit: NDArray[np.bool_]
) -> tuple[int, int]:
    """Return the widths of two opposite bars, (0, 0) if there is any doubt.

    Args:
        extents: Of each bright frame, along this axis.
        size: Length of this axis in pixels.
        ever_lit: Whether a pixel was not black in any frame, `[size, other size]`.
    """
    start, stop = min(e.start for e in extents), max(e.stop for e in extents)
    before, after = start, size - stop
    none = (0, 0)
    if max(before, after) < 0.02 * size or stop - start < 0.4 * size:
        return none
    if abs(before - after) > max(2, 0.04 * size):
        return none
    # A bar ends at the same line in many frames, whereas the edge of a lit area in a scene moves.
    tolerance = max(2, size // 100)
    for agree in (
        [e.start <= start + tolerance for e in extents],
        [e.stop >= stop - tolerance for e in extents],
    ):
        if np.mean(agree) < 1 / 3:
            return none
    # The edge is straight: just inside it, nearly every pixel was lit in some frame.
    band = max(2, size // 100)
    for edge in (ever_lit[start : start + band], ever_lit[stop - band : stop]):
        if edge.any(axis=0).mean() < 0.8:
            return none
    return before + before % 2, after + after % 2  # to whole chroma samples
