"""Detection of black bars (letterbox and pillarbox) from frames spread over an item.

A dark scene is not a bar. A bar must therefore be black in every bright frame of the sample, end at
the same line in at least a third of them, along a straight edge, and be as wide as the opposite
bar. If any of that does not hold (subtitles in the bar, a film that changes its aspect ratio),
no bar is reported.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from typing import Literal

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from toomuchtv.media.containers import find_video_stream, frame_duration_seconds, open_media
from toomuchtv.media.decoding import decode_frames, decode_packet, demux_packets
from toomuchtv.media.extent import measure_extent
from toomuchtv.media.frame_converter import BlackBars
from toomuchtv.media.shape import AspectReader
from toomuchtv.media.timestamps import read_timeline

_NUM_SAMPLES = 32
_MIN_SEEK_SECONDS = 30.0  # shorter items have too few keyframes to seek to
_MIN_FRAMES = 3
_BLACK_LEVEL = 24  # of 255; compression and analog noise stay below
_BRIGHT_LEVEL = 48

GrayArray = NDArray[np.uint8]
Letterbox = Literal["keep", "crop"]


def bars_to_crop(path: str | os.PathLike[str], letterbox: Letterbox) -> BlackBars | None:
    """Return the black bars of a file to crop, None if there are none or they are kept.

    Raises:
        ValueError: `letterbox` is neither "keep" nor "crop".
        MediaError: The file cannot be opened or has no video.
    """
    if letterbox not in ("keep", "crop"):
        raise ValueError(f"letterbox must be 'keep' or 'crop', got {letterbox!r}")
    return None if letterbox == "keep" else detect_black_bars(path)


def detect_black_bars(path: str | os.PathLike[str]) -> BlackBars | None:
    """Detect the black bars of an item in about 32 frames spread over it.

    Returns:
        The bars, or None if there are none or if it is doubtful.

    Raises:
        MediaError: The item cannot be opened or has no video.
    """
    aspects = AspectReader()
    shapes: dict[tuple[int, int, float], list[GrayArray]] = {}
    for frame in _sample_frames(path):
        try:
            gray = frame.to_ndarray(format="rgb24").mean(axis=2).astype(np.uint8)
        except (av.FFmpegError, ValueError):
            continue
        shapes.setdefault((frame.width, frame.height, aspects.read(frame)), []).append(gray)
    if len(shapes) != 1:
        return None
    (frames,) = shapes.values()
    return detect_bars_in_frames(frames)


def _sample_frames(path: str | os.PathLike[str]) -> Iterator[VideoFrame]:
    """Yield keyframes spread over the item; frames of the first 30 seconds if it is short."""
    _, seconds = measure_extent(path, "video")
    with open_media(path) as container:
        stream = find_video_stream(container)
        if seconds <= _MIN_SEEK_SECONDS:
            yield from _sample_by_decoding(container, stream, seconds)
            return
        timeline = read_timeline(path)
        seen: set[tuple[int | None, int | None]] = set()
        for index in range(_NUM_SAMPLES):
            target = seconds * (index + 0.5) / _NUM_SAMPLES
            position = timeline.seek(container, stream, target)
            if position is None:
                continue
            # Where a file is entered at a byte, what comes before the first keyframe is smeared.
            packets = itertools.dropwhile(
                lambda packet: not packet.is_keyframe, demux_packets(container, stream)
            )
            frames = (frame for packet in packets for frame in decode_packet(packet))
            frame = next(frames, None)
            if frame is not None and (place := (position.keyframe, frame.pts)) not in seen:
                seen.add(place)
                yield frame


def _sample_by_decoding(
    container: InputContainer, stream: VideoStream, seconds: float
) -> Iterator[VideoFrame]:
    frame_seconds = frame_duration_seconds(stream)
    num_sampled = 0
    for number, frame in enumerate(decode_frames(container, stream)):
        if number * frame_seconds >= seconds * num_sampled / _NUM_SAMPLES:
            num_sampled += 1
            yield frame
        if number * frame_seconds > seconds:
            return


def detect_bars_in_frames(frames: Iterable[GrayArray]) -> BlackBars | None:
    """Detect the bars that gray frames `[H, W]` of one size have in common.

    The rule is that of the module.
    """
    spans: list[tuple[tuple[int, int], tuple[int, int]]] = []  # rows and columns of each frame
    ever_lit: NDArray[np.bool_] | None = None
    for frame in frames:
        if (frame > _BRIGHT_LEVEL).mean() < 0.1:
            continue  # in a dark scene, a bar cannot be distinguished
        lit = frame > _BLACK_LEVEL
        spans.append((_lit_span(lit), _lit_span(lit.T)))
        ever_lit = lit if ever_lit is None else ever_lit | lit
    if len(spans) < _MIN_FRAMES or ever_lit is None:
        return None
    rows, columns = np.array(spans).swapaxes(0, 1)  # each `[frames, 2]`
    top, bottom = _opposite_bars(rows, ever_lit[:, columns[:, 0].min() : columns[:, 1].max()])
    left, right = _opposite_bars(columns, ever_lit[rows[:, 0].min() : rows[:, 1].max()].T)
    if not (top or bottom or left or right):
        return None
    height, width = ever_lit.shape
    return BlackBars(
        frame_width=width, frame_height=height, left=left, top=top, right=right, bottom=bottom
    )


def _lit_span(lit: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the first and the last row (exclusive) of a frame that are not black."""
    (where,) = (lit.mean(axis=1) > 0.01).nonzero()
    return (int(where[0]), int(where[-1]) + 1) if len(where) else (0, len(lit))


def _opposite_bars(spans: NDArray[np.int_], ever_lit: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the widths of two opposite bars, (0, 0) if there is any doubt.

    Args:
        spans: Lit span of each bright frame along this axis, `[frames, 2]`.
        ever_lit: Whether a pixel was not black in any frame, `[size, other size]`.
    """
    size = len(ever_lit)
    start, stop = int(spans[:, 0].min()), int(spans[:, 1].max())
    before, after = start, size - stop
    none = (0, 0)
    if max(before, after) < 0.02 * size or stop - start < 0.4 * size:
        return none
    if abs(before - after) > max(2, 0.04 * size):
        return none
    # A bar ends at the same line in many frames, whereas the edge of a lit area in a scene moves.
    tolerance = max(2, size // 100)
    starts_here, stops_here = spans[:, 0] <= start + tolerance, spans[:, 1] >= stop - tolerance
    if min(starts_here.mean(), stops_here.mean()) < 1 / 3:
        return none
    # The edge is straight: just inside it, nearly every pixel was lit in some frame.
    for edge in (ever_lit[start : start + tolerance], ever_lit[stop - tolerance : stop]):
        if edge.any(axis=0).mean() < 0.8:
            return none
    return before + before % 2, after + after % 2  # to whole chroma samples
