"""Pictures of moments, from the proxies, as JPEG.

This module imports neither PyTorch nor FastAPI, so that worker processes that use it start fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from toomuchtv.catalog.proxies import open_proxy
from toomuchtv.catalog.records import Proxy
from toomuchtv.media.clip import VideoArray

PREVIEW_FRAMES = 12
_PREVIEW_SECONDS = 3.0
_PREVIEW_WIDTH, _PREVIEW_HEIGHT = 240, 135
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG


def thumbnail(folder: Path, proxy: Proxy, seconds: float, width: int) -> bytes:
    """Return the frame of a proxy at a time as JPEG.

    Args:
        folder: The catalog's folder.
        proxy: The proxy.
        seconds: The time. Behind the end, it is the last frame.
        width: Width of the picture; its height keeps the aspect ratio.

    Raises:
        MediaError: The proxy is missing or damaged.
    """
    [frame] = _read(folder, proxy, [seconds])
    height = max(2, round(frame.shape[0] * width / frame.shape[1]))
    return to_jpeg(_scaled(frame, width, height))


def preview(folder: Path, proxy: Proxy, seconds: float) -> bytes:
    """Return 12 frames of the 3 seconds around a time, side by side, each of 240x135 pixels.

    Args:
        folder: The catalog's folder.
        proxy: The proxy.
        seconds: The time.

    Raises:
        MediaError: The proxy is missing or damaged.
    """
    latest = max(0.0, proxy.duration_seconds - _PREVIEW_SECONDS)
    start = min(max(0.0, seconds - _PREVIEW_SECONDS / 2), latest)
    step = _PREVIEW_SECONDS / PREVIEW_FRAMES
    frames = _read(folder, proxy, [start + (n + 0.5) * step for n in range(PREVIEW_FRAMES)])
    height, width = frames[0].shape[:2]
    scale = min(_PREVIEW_WIDTH / width, _PREVIEW_HEIGHT / height)
    size = max(2, round(width * scale)), max(2, round(height * scale))
    left, top = (_PREVIEW_WIDTH - size[0]) // 2, (_PREVIEW_HEIGHT - size[1]) // 2
    strip = np.zeros((_PREVIEW_HEIGHT, PREVIEW_FRAMES * _PREVIEW_WIDTH, 3), np.uint8)
    for number, frame in enumerate(frames):
        x = number * _PREVIEW_WIDTH + left
        strip[top : top + size[1], x : x + size[0]] = _scaled(frame, *size)
    return to_jpeg(strip)


def to_jpeg(frame: VideoArray) -> bytes:
    """Return an RGB frame, uint8 `[H, W, 3]`, as JPEG."""
    height, width = frame.shape[:2]
    source = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    picture = source.reformat(format="yuvj420p", dst_color_range=_FULL_RANGE)
    encoder = CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.color_range = _FULL_RANGE
    encoder.qmin = encoder.qmax = 4
    picture.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])


def _read(folder: Path, proxy: Proxy, seconds: Sequence[float]) -> list[VideoArray]:
    """Return the frames at some times, which must ascend, RGB uint8 `[H, W, 3]` each."""
    indexes = [
        min(max(0, math.floor(one * proxy.frame_rate + 1e-6)), proxy.num_frames - 1)
        for one in seconds
    ]
    unique = sorted(set(indexes))
    reader = open_proxy(folder, proxy)
    try:
        frames = dict(zip(unique, reader.read_frames_rgb(unique), strict=True))
    finally:
        reader.close()
    return [frames[index] for index in indexes]


def _scaled(frame: VideoArray, width: int, height: int) -> VideoArray:
    source = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    scaled = source.reformat(width=width, height=height, interpolation="BICUBIC")
    return np.asarray(scaled.to_ndarray(), np.uint8)
