"""Which moments and crops of a file an encoder is shown: arithmetic, before anything is decoded.

    file     |------------------------------------------------------|
    times=3  |--view 0--|            |--view 1--|        |--view 2--|

Views to test on are spread evenly from the first that fits to the last; views to train on start
anywhere. A file shorter than a view is held on its last frame, and its sound followed by silence.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from toomuchtv._internal.random_numbers import uniforms
from toomuchtv.evaluation.encoders.interface import AudioInput, VideoInput


class VideoAugment(BaseModel):
    """How a view to train on is changed: random resized crop, flip, colors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_area: float = Field(default=0.3, gt=0.0, le=1.0)
    max_aspect: float = Field(default=2.0, ge=1.0)
    flip: float = Field(default=0.5, ge=0.0, le=1.0)
    color: float = Field(default=0.8, ge=0.0, le=1.0)
    brightness: float = Field(default=0.4, ge=0.0, le=1.0)
    contrast: float = Field(default=0.4, ge=0.0, le=1.0)
    saturation: float = Field(default=0.4, ge=0.0, le=1.0)
    hue: float = Field(default=0.2, ge=0.0, le=0.5)
    grayscale: float = Field(default=0.2, ge=0.0, le=1.0)


class AudioAugment(BaseModel):
    """How a view to train on is changed: a random start, and a loudness of 1 +- `volume`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    volume: float = Field(default=0.2, ge=0.0, lt=1.0)


class VideoViews(BaseModel):
    """Views of the picture. What is None follows the encoder.

    Attributes:
        frames: Frames of a view.
        frame_rate: Frames a second of a view; "stride 2" of 25 a second is 12.5.
        short_side: Pixels of the shorter side before cropping; None is the crop's.
        crop: Side of the square that the encoder is given.
        times: Views in time.
        crops: Crops of each: 1 is the center, 3 go from one end to the other of both sides.
        augment: None for views to test on.
        mean: Whether the mean over the views is what counts as the clip's one feature.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int | None = Field(default=None, ge=1, le=1024)
    frame_rate: float | None = Field(default=None, gt=0.0, le=240.0)
    short_side: int | None = Field(default=None, ge=8)
    crop: int | None = Field(default=None, ge=8)
    times: int = Field(default=1, ge=1)
    crops: int = Field(default=1, ge=1, le=3)
    augment: VideoAugment | None = None
    mean: bool = False

    @property
    def num_views(self) -> int:
        """Views of a clip."""
        return self.times * self.crops

    def of(self, made_for: VideoInput) -> VideoViews:
        """Fill in what follows the encoder."""
        crop = self.crop or made_for.size
        return self.model_copy(
            update={
                "frames": self.frames or made_for.frames,
                "frame_rate": self.frame_rate or made_for.frame_rate,
                "crop": crop,
                "short_side": self.short_side or crop,
            }
        )


class AudioViews(BaseModel):
    """Views of the sound. What is None follows the encoder; the sample rate always does.

    Attributes:
        seconds: Length of a view.
        times: How many; 0: one every half length over the whole clip, whose mean is taken.
        augment: None for views to test on.
        mean: Whether the mean over the views is what counts as the clip's one feature.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float | None = Field(default=None, gt=0.0)
    times: int = Field(default=1, ge=0)
    augment: AudioAugment | None = None
    mean: bool = False

    def of(self, made_for: AudioInput) -> AudioViews:
        """Fill in what follows the encoder."""
        update = {"seconds": self.seconds or made_for.seconds, "mean": self.mean or self.times == 0}
        return self.model_copy(update=update)


def clip_seed(name: str, seed: int) -> int:
    """A number of its own for each clip, whatever other clips there are."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def even_starts(total_seconds: float, view_seconds: float, times: int) -> list[float]:
    """Starts of `times` views spread evenly over `[0, total)`; in the middle if it is one.

    Where a view does not fit, it starts at 0.
    """
    room = max(0.0, total_seconds - view_seconds)
    if times == 1:
        return [room / 2]
    return [room * index / (times - 1) for index in range(times)]


def covering_starts(total_seconds: float, view_seconds: float) -> list[float]:
    """Starts every half view until the end is covered."""
    room = max(0.0, total_seconds - view_seconds)
    return even_starts(total_seconds, view_seconds, max(1, round(2 * room / view_seconds) + 1))


def random_starts(
    total_seconds: float, view_seconds: float, times: int, *, seed: int
) -> list[float]:
    """Starts anywhere that a view fits, each independent of the others."""
    room = max(0.0, total_seconds - view_seconds)
    return [float(value) * room for value in uniforms(seed, 1, np.arange(times))]


def crop_corners(height: int, width: int, crop: int, crops: int) -> list[tuple[int, int]]:
    """Top and left of each crop, spread over both sides from end to end; one is in the middle."""
    shares = [0.5] if crops == 1 else [index / (crops - 1) for index in range(crops)]
    return [(round((height - crop) * share), round((width - crop) * share)) for share in shares]


def random_boxes(
    augment: VideoAugment, height: int, width: int, times: int, *, seed: int
) -> NDArray[np.float64]:
    """Draw random resized crops, as Szegedy et al., CVPR 2015.

    Returns:
        `[times, 4]`: left, top, width, height as shares of the picture; the width is negative where
        the crop is mirrored, and left is then its right edge.
    """
    draw = [uniforms(seed, number, np.arange(times)) for number in range(2, 7)]
    area = augment.min_area + (1 - augment.min_area) * draw[0]
    aspect = np.exp((2 * draw[1] - 1) * np.log(augment.max_aspect))
    pixels = area * height * width
    box_width = np.minimum(np.sqrt(pixels * aspect), width) / width
    box_height = np.minimum(np.sqrt(pixels / aspect), height) / height
    left, top = draw[2] * (1 - box_width), draw[3] * (1 - box_height)
    mirrored = draw[4] < augment.flip
    left = np.where(mirrored, left + box_width, left)
    box_width = np.where(mirrored, -box_width, box_width)
    return np.stack([left, top, box_width, box_height], axis=1)
