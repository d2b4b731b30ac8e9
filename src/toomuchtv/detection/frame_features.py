"""What the pictures of a proxy are like, frame by frame: what shots, black and credits are told by.

One pass over the video on its planes as decoded, without color conversion; memory is a few dozen
bytes a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from toomuchtv.errors import MediaError
from toomuchtv.media.containers import open_media

#: Raised when the same pictures would give other traits.
FRAME_FEATURES_VERSION = 1

_TELL_EVERY_FRAMES = 256
_LUMA_BINS, _CHROMA_BINS = 32, 64
# Strokes of letters are narrower than this in a proxy of 128 lines; what an opening by a square
# of this side takes away, by so much, is ink.
_STROKE_LINES = 5
_LINES_OF_STROKE = 128
_INK_LEVELS = 40
# Ground that changes by less over four pixels is flat.
_FLAT_LEVELS = 10
#: Letters stay for seconds: they are looked for in two frames a second only.
LETTERS_HZ = 2.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameFeatures:
    """Traits of a video at `frame_rate`; each array is float32 `[T]`, one entry a frame.

    Luma and chroma are levels as coded, 0 to 255: black is 16.

    Attributes:
        luma: Mean luma.
        highlight: 99th percentile of luma.
        deviation: Standard deviation of luma.
        moved: Mean absolute change of luma and chroma since the frame before, levels; 0 for the
            first.
        recolored: Distance to the frame before of the histograms of luma and chroma, 0 to 1.
        ink: Share of the pixels that belong to bright thin strokes.
        flat: Share of the ground, the strokes taken away, that hardly changes from pixel to pixel.
    """

    frame_rate: float
    luma: NDArray[np.float32]
    highlight: NDArray[np.float32]
    deviation: NDArray[np.float32]
    moved: NDArray[np.float32]
    recolored: NDArray[np.float32]
    ink: NDArray[np.float32]
    flat: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.luma)


#: The names of the arrays.
FRAME_FEATURES = tuple(field.name for field in fields(FrameFeatures) if field.name != "frame_rate")


def compute_frame_features(
    path: Path, *, frame_rate: float, tell: Callable[[float], None] = lambda seconds: None
) -> FrameFeatures:
    """Look at every frame of a proxy's video.

    Args:
        path: The video.
        frame_rate: Its rate.
        tell: Called now and then with the seconds done.

    Raises:
        MediaError: The proxy is missing or damaged.
    """
    looker = _Looker(max(1, round(frame_rate / LETTERS_HZ)))
    rows: list[tuple[float, ...]] = []
    try:
        with open_media(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            for frame in container.decode(stream):
                rows.append(looker.look(frame))
                if len(rows) % _TELL_EVERY_FRAMES == 0:
                    tell(len(rows) / frame_rate)
    except (av.FFmpegError, IndexError) as error:
        raise MediaError(f"the proxy {path.name} is damaged: {error}") from error
    columns = np.array(rows, np.float32).reshape(-1, len(FRAME_FEATURES)).T
    return FrameFeatures(frame_rate=frame_rate, **dict(zip(FRAME_FEATURES, columns, strict=True)))


class _Looker:
    """Looks at frames in order."""

    def __init__(self, letters_every: int) -> None:
        self._letters_every = letters_every
        self._count = 0
        self._planes: list[NDArray[np.int16]] | None = None
        self._histogram: NDArray[np.float64] | None = None
        self._letters = (0.0, 0.0)

    def look(self, frame: VideoFrame) -> tuple[float, ...]:
        luma, *chroma = (_plane(frame, index) for index in range(3))
        # Every other pixel of luma is as much as chroma has.
        planes = [p.astype(np.int16) for p in (luma[::2, ::2], *chroma)]
        counts = np.bincount(luma.ravel(), minlength=256)
        histogram = _histogram(counts, luma.size, chroma)
        moved = recolored = 0.0
        if self._planes is not None and self._histogram is not None:
            moved = sum(
                weight * float(np.abs(new - old).mean())
                for weight, new, old in zip((0.5, 0.25, 0.25), planes, self._planes, strict=True)
            )
            recolored = float(np.abs(histogram - self._histogram).sum()) / 2
        self._planes, self._histogram = planes, histogram
        if self._count % self._letters_every == 0:
            self._letters = _letters(luma)
        self._count += 1
        levels = np.arange(256)
        mean = float(counts @ levels) / luma.size
        variance = float(counts @ (levels - mean) ** 2) / luma.size
        highlight = float(np.searchsorted(np.cumsum(counts), 0.99 * luma.size))
        return mean, highlight, variance**0.5, moved, recolored, *self._letters


def _plane(frame: VideoFrame, index: int) -> NDArray[np.uint8]:
    plane = frame.planes[index]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]


def _histogram(
    luma_counts: NDArray[np.int64], num_pixels: int, chroma: list[NDArray[np.uint8]]
) -> NDArray[np.float64]:
    """Shares of luma and of both chromas, of sum 1: half of it luma."""
    parts = [luma_counts.reshape(_LUMA_BINS, -1).sum(1) / (2 * num_pixels)]
    for plane in chroma:
        counts = np.bincount(plane.ravel(), minlength=256).reshape(_CHROMA_BINS, -1).sum(1)
        parts.append(counts / (4 * plane.size))
    return np.concatenate(parts)


def _letters(luma: NDArray[np.uint8]) -> tuple[float, float]:
    """The share of ink, and of flat ground."""
    side = max(3, round(_STROKE_LINES * min(luma.shape) / _LINES_OF_STROKE))
    if min(luma.shape) < 4 * side:
        return 0.0, 0.0
    ground = luma
    for pick in (np.minimum, np.maximum):
        for axis in (0, 1):
            ground = _extreme(ground, side, axis, pick)
    margin = side - 1
    inside = luma[margin : luma.shape[0] - margin, margin : luma.shape[1] - margin]
    ink = float(np.mean((inside - ground) > _INK_LEVELS))  # ground <= luma: no wrap
    levels = ground.astype(np.int16)
    across = np.abs(levels[2:-2, 4:] - levels[2:-2, :-4])
    down = np.abs(levels[4:, 2:-2] - levels[:-4, 2:-2])
    return ink, float(np.mean(np.maximum(across, down) < _FLAT_LEVELS))


def _extreme(values: NDArray[np.uint8], width: int, axis: int, pick: np.ufunc) -> NDArray[np.uint8]:
    """The least or greatest of every `width` neighbors along an axis, where all are there."""
    count = values.shape[axis] - width + 1
    spans = [
        values[at : at + count] if axis == 0 else values[:, at : at + count] for at in range(width)
    ]
    found = spans[0]
    for span in spans[1:]:
        found = pick(found, span)
    return found
