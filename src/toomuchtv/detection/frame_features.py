"""Features of the frames of a proxy, from which shots, black, logos and credits are detected.

The features are computed in one pass over the decoded YUV planes, without color conversion. Memory
is a few dozen bytes per frame.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from toomuchtv.errors import MediaError
from toomuchtv.media.containers import open_media

#: Version of the features. It is raised when the same frames would have other features.
FRAME_FEATURES_VERSION = 1

_REPORT_EVERY_FRAMES = 256
_LUMA_BINS, _CHROMA_BINS = 32, 64
# Strokes of letters are narrower than 5 pixels in a proxy of 128 lines. A pixel belongs to a stroke
# if a morphological opening with a square of this side lowers it by more than the contrast.
_STROKE_LINES = 5
_STROKE_REFERENCE_LINES = 128
_STROKE_CONTRAST = 40
# The background is flat where it changes by less than this over four pixels.
_FLAT_CONTRAST = 10
# Letters stay for seconds, so two frames per second are enough for the features of letters.
_LETTERS_HZ = 2.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameFeatures:
    """Features of a video of T frames. Every array is float32 `[T]`.

    Luma and chroma are code values from 0 to 255; black has luma 16.

    Attributes:
        frame_rate: Frames per second.
        luma_mean: Mean of luma.
        luma_p99: 99th percentile of luma.
        luma_std: Standard deviation of luma.
        frame_difference: Mean absolute difference of luma and chroma from the frame before, in code
            values; 0 for the first frame.
        histogram_distance: Total variation distance of the histograms of luma and chroma from those
            of the frame before, 0 to 1; 0 for the first frame.
        stroke_share: Share of the pixels that belong to bright strokes as thin as those of letters.
        flat_share: Share of the background, without the strokes, that is locally constant.
    """

    frame_rate: float
    luma_mean: NDArray[np.float32]
    luma_p99: NDArray[np.float32]
    luma_std: NDArray[np.float32]
    frame_difference: NDArray[np.float32]
    histogram_distance: NDArray[np.float32]
    stroke_share: NDArray[np.float32]
    flat_share: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.luma_mean)


#: Names of the arrays of `FrameFeatures`, in order.
FRAME_FEATURES = tuple(field.name for field in fields(FrameFeatures) if field.name != "frame_rate")


def compute_frame_features(
    path: Path, *, frame_rate: float, report: Callable[[float], None] = lambda seconds: None
) -> FrameFeatures:
    """Compute the features of every frame of a proxy's video.

    Args:
        path: The video file.
        frame_rate: Frames per second of the video.
        report: Receives the seconds of video that are done, from time to time.

    Raises:
        MediaError: The video is missing or damaged.
    """
    extractor = _FeatureExtractor(max(1, round(frame_rate / _LETTERS_HZ)))
    rows: list[tuple[float, ...]] = []
    try:
        with open_media(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            for frame in container.decode(stream):
                rows.append(extractor.extract(frame))
                if len(rows) % _REPORT_EVERY_FRAMES == 0:
                    report(len(rows) / frame_rate)
    except (av.FFmpegError, IndexError) as error:
        raise MediaError(f"the proxy {path.name} is damaged: {error}") from error
    columns = np.array(rows, np.float32).reshape(-1, len(FRAME_FEATURES)).T
    return FrameFeatures(frame_rate=frame_rate, **dict(zip(FRAME_FEATURES, columns, strict=True)))


class _FeatureExtractor:
    """Computes features of frames in order; it keeps the frame before.

    Args:
        letters_every: The features of letters are computed for one in `letters_every` frames, and
            the frames up to the next one get the same values.
    """

    def __init__(self, letters_every: int) -> None:
        self._letters_every = letters_every
        self._num_frames = 0
        self._planes: list[NDArray[np.int16]] | None = None
        self._histogram: NDArray[np.float64] | None = None
        self._letters = (0.0, 0.0)

    def extract(self, frame: VideoFrame) -> tuple[float, ...]:
        """Return the features of the next frame, in the order of `FRAME_FEATURES`."""
        luma, *chroma = (_plane(frame, index) for index in range(3))
        # Every second pixel of luma gives a plane of the size of chroma.
        planes = [plane.astype(np.int16) for plane in (luma[::2, ::2], *chroma)]
        counts = np.bincount(luma.ravel(), minlength=256)
        histogram = _histogram(counts, luma.size, chroma)
        difference = distance = 0.0
        if self._planes is not None and self._histogram is not None:
            difference = sum(
                weight * float(np.abs(new - old).mean())
                for weight, new, old in zip((0.5, 0.25, 0.25), planes, self._planes, strict=True)
            )
            distance = float(np.abs(histogram - self._histogram).sum()) / 2
        self._planes, self._histogram = planes, histogram
        if self._num_frames % self._letters_every == 0:
            self._letters = _letter_features(luma)
        self._num_frames += 1
        levels = np.arange(256)
        mean = float(counts @ levels) / luma.size
        variance = float(counts @ (levels - mean) ** 2) / luma.size
        p99 = float(np.searchsorted(np.cumsum(counts), 0.99 * luma.size))
        return mean, p99, variance**0.5, difference, distance, *self._letters


def _plane(frame: VideoFrame, index: int) -> NDArray[np.uint8]:
    plane = frame.planes[index]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]


def _histogram(
    luma_counts: NDArray[np.int64], num_pixels: int, chroma: list[NDArray[np.uint8]]
) -> NDArray[np.float64]:
    """Return the histograms of luma and of both chroma planes. They sum to 1, and luma to 1/2."""
    parts = [luma_counts.reshape(_LUMA_BINS, -1).sum(1) / (2 * num_pixels)]
    for plane in chroma:
        counts = np.bincount(plane.ravel(), minlength=256).reshape(_CHROMA_BINS, -1).sum(1)
        parts.append(counts / (4 * plane.size))
    return np.concatenate(parts)


def _letter_features(luma: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the share of thin bright strokes and the share of flat background."""
    side = max(3, round(_STROKE_LINES * min(luma.shape) / _STROKE_REFERENCE_LINES))
    if min(luma.shape) < 4 * side:
        return 0.0, 0.0
    # A morphological opening (erosion, then dilation) removes bright structures thinner than that.
    background = luma
    for extreme in (np.minimum, np.maximum):
        for axis in (0, 1):
            background = _running_extreme(background, side, axis, extreme)
    margin = side - 1
    inside = luma[margin : luma.shape[0] - margin, margin : luma.shape[1] - margin]
    # The opening is never above the image, so this difference of unsigned bytes cannot wrap.
    strokes = float(np.mean((inside - background) > _STROKE_CONTRAST))
    levels = background.astype(np.int16)
    across = np.abs(levels[2:-2, 4:] - levels[2:-2, :-4])
    down = np.abs(levels[4:, 2:-2] - levels[:-4, 2:-2])
    return strokes, float(np.mean(np.maximum(across, down) < _FLAT_CONTRAST))


def _running_extreme(
    values: NDArray[np.uint8], width: int, axis: int, extreme: np.ufunc
) -> NDArray[np.uint8]:
    """Return the minimum or maximum of every `width` neighbors along an axis, without padding."""
    lines = values if axis == 0 else values.T
    count = len(lines) - width + 1
    found = functools.reduce(extreme, [lines[first : first + count] for first in range(width)])
    return found if axis == 0 else found.T
