"""Signatures of pictures: two copies of a shot, coded and scaled differently, have nearly the same.

64 bits a frame: the centered square of its luma, reduced to 32 x 32, its 8 x 8 lowest frequencies
but the mean against their median (Zauner, "Implementation and benchmarking of perceptual image hash
functions", 2010). Survives scaling, compression, changes of brightness; not mirroring nor cropping
by more than a few percent. Frames that are nearly one color tell nothing and are marked so.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from toomuchtv.data.clip_transform import resize_matrix
from toomuchtv.media.clip_reader import read_clip

_SIDE, _KEPT = 32, 8
_SHORT_SIDE = 64
_FLAT_STD = 4.0  # of luma in 0..255
_FRAMES_AT_ONCE = 512
_LUMA = torch.tensor([0.299, 0.587, 0.114])


class Signatures(NamedTuple):
    """Bits of frames, uint64 `[n]`, when each is shown, float64 `[n]`, and which tell something."""

    bits: NDArray[np.uint64]
    seconds: NDArray[np.float64]
    telling: NDArray[np.bool_]


def frame_signatures(video: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Sign frames: RGB uint8 `[T, H, W, 3]` to bits `[T]`, and which tell something `[T]`."""
    luma = torch.from_numpy(video).float() @ _LUMA
    height, width = luma.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = luma[:, top : top + side, left : left + side]
    whole = torch.tensor([0.0]), torch.tensor([1.0])
    reduce = resize_matrix(*whole, side, _SIDE)[0]
    small = reduce @ square @ reduce.T  # [T, 32, 32]
    transform = _lowest_frequencies()
    values = (transform @ small @ transform.T).flatten(1)[:, 1:]  # without the mean
    bits = (values > values.median(dim=1, keepdim=True).values).numpy().astype(np.uint64)
    powers = np.uint64(1) << np.arange(bits.shape[1], dtype=np.uint64)
    telling = small.flatten(1).std(dim=1).numpy() > _FLAT_STD
    return (bits * powers).sum(axis=1, dtype=np.uint64), telling


def _lowest_frequencies() -> torch.Tensor:
    """The first rows of the DCT-II, float32 `[8, 32]`."""
    k, n = torch.arange(_KEPT)[:, None], torch.arange(_SIDE)[None, :]
    return torch.cos(math.pi * k * (2 * n + 1) / (2 * _SIDE))


def file_signatures(
    path: Path, *, start_seconds: float, stop_seconds: float, frame_rate: float
) -> Signatures:
    """Sign a stretch of a file, `frame_rate` times a second.

    Raises:
        MediaError: It cannot be read.
    """
    total = max(1, math.ceil((stop_seconds - start_seconds) * frame_rate))
    bits, telling = [], []
    for first in range(0, total, _FRAMES_AT_ONCE):
        clip = read_clip(
            path,
            start_seconds=start_seconds + first / frame_rate,
            frames=min(_FRAMES_AT_ONCE, total - first),
            frame_rate=frame_rate,
            audio_seconds=0.01,
            sample_rate_hz=2_000,
            short_side=_SHORT_SIDE,
        )
        found = frame_signatures(clip.video)
        bits.append(found[0])
        telling.append(found[1])
    return Signatures(
        bits=np.concatenate(bits),
        seconds=start_seconds + np.arange(total) / frame_rate,
        telling=np.concatenate(telling),
    )
