"""Views: which times and crops of a clip an encoder sees, computed before anything is decoded.

    clip     |------------------------------------------------------|
    times=3  |--view 0--|            |--view 1--|        |--view 2--|

Test views are spread evenly from the start to the end of the clip. Training views start anywhere.
If a clip is shorter than a view, its last frame is repeated and its audio is followed by zeros,
also if the file continues after the end of the clip.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from toomuchtv._internal.random_numbers import uniforms
from toomuchtv.evaluation.encoders.interface import AudioInput, VideoInput


class Config(BaseModel):
    """An immutable configuration that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class VideoAugment(Config):
    """Augmentation of training views: random resized crop, flip and color changes.

    Attributes:
        min_area: Smallest area of the crop, as a share of the frame.
        max_aspect: Largest ratio of the sides of the crop.
        flip: Probability of a horizontal flip.
        color: Probability of the color changes.
        brightness: Largest relative change of brightness.
        contrast: Largest relative change of contrast.
        saturation: Largest relative change of saturation.
        hue: Largest rotation of the hue, in turns.
        grayscale: Probability of conversion to gray.
    """

    min_area: float = Field(default=0.3, gt=0.0, le=1.0)
    max_aspect: float = Field(default=2.0, ge=1.0)
    flip: float = Field(default=0.5, ge=0.0, le=1.0)
    color: float = Field(default=0.8, ge=0.0, le=1.0)
    brightness: float = Field(default=0.4, ge=0.0, le=1.0)
    contrast: float = Field(default=0.4, ge=0.0, le=1.0)
    saturation: float = Field(default=0.4, ge=0.0, le=1.0)
    hue: float = Field(default=0.2, ge=0.0, le=0.5)
    grayscale: float = Field(default=0.2, ge=0.0, le=1.0)


class AudioAugment(Config):
    """Augmentation of training views: a random start, and a gain between 1 +- `volume`."""

    volume: float = Field(default=0.2, ge=0.0, lt=1.0)


class VideoViews(Config):
    """Views of the video of a clip. Values that are None follow the encoder.

    Attributes:
        frames: Number of frames of a view.
        frame_rate: Frames per second of a view. A stride of 2 at 25 per second is 12.5.
        short_side: Length of the shorter side before cropping, in pixels. None means the crop's.
        crop: Side of the square crop, in pixels.
        times: Number of start times.
        crops: Number of crops per start time: 1 is the center crop, and 3 crops are spread from
            the top left to the bottom right corner.
        augment: Augmentation; None for test views.
        mean: True if the features of all views are averaged before the classifier.
    """

    frames: int | None = Field(default=None, ge=1, le=1024)
    frame_rate: float | None = Field(default=None, gt=0.0, le=240.0)
    short_side: int | None = Field(default=None, ge=8)
    crop: int | None = Field(default=None, ge=8)
    times: int = Field(default=1, ge=1)
    crops: int = Field(default=1, ge=1, le=3)
    augment: VideoAugment | None = None
    mean: bool = False

    def of(self, encoder_input: VideoInput) -> VideoViews:
        """Return the views with all values set for an encoder."""
        crop = self.crop or encoder_input.size
        return self.model_copy(
            update={
                "frames": self.frames or encoder_input.frames,
                "frame_rate": self.frame_rate or encoder_input.frame_rate,
                "crop": crop,
                "short_side": self.short_side or crop,
            }
        )


class AudioViews(Config):
    """Views of the audio of a clip. The sample rate is always that of the encoder.

    Attributes:
        seconds: Length of a view in seconds; None follows the encoder.
        times: Number of views. 0 stands for views that cover the whole clip, with half of their
            length in common, whose features are averaged.
        augment: Augmentation; None for test views.
        mean: True if the features of all views are averaged before the classifier.
    """

    seconds: float | None = Field(default=None, gt=0.0)
    times: int = Field(default=1, ge=0)
    augment: AudioAugment | None = None
    mean: bool = False

    def of(self, encoder_input: AudioInput) -> AudioViews:
        """Return the views with all values set for an encoder."""
        seconds = self.seconds or encoder_input.seconds
        return self.model_copy(update={"seconds": seconds, "mean": self.mean or self.times == 0})


def clip_seed(name: str, seed: int) -> int:
    """Return a seed that depends on the name of a clip and on `seed` only, not on other clips."""
    digest = hashlib.sha256(f"{seed} {name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def even_starts(total_seconds: float, view_seconds: float, times: int) -> list[float]:
    """Return starts of views that are spread evenly over a clip; a single view is in the middle.

    All starts are 0 if a view is longer than the clip.
    """
    last_start = max(0.0, total_seconds - view_seconds)
    if times == 1:
        return [last_start / 2]
    return [last_start * index / (times - 1) for index in range(times)]


def covering_starts(total_seconds: float, view_seconds: float) -> list[float]:
    """Return starts of views that cover a clip and overlap by about half."""
    last_start = max(0.0, total_seconds - view_seconds)
    times = max(1, round(2 * last_start / view_seconds) + 1)
    return even_starts(total_seconds, view_seconds, times)


def random_starts(
    total_seconds: float, view_seconds: float, times: int, *, seed: int
) -> list[float]:
    """Return independent uniform starts of views that end inside the clip."""
    last_start = max(0.0, total_seconds - view_seconds)
    return [float(value) * last_start for value in uniforms(seed, 1, np.arange(times))]


def crop_corners(height: int, width: int, crop: int, crops: int) -> list[tuple[int, int]]:
    """Return top and left of each crop, from one corner to the other; a single crop is centered."""
    shares = [0.5] if crops == 1 else [index / (crops - 1) for index in range(crops)]
    return [(round((height - crop) * share), round((width - crop) * share)) for share in shares]


def random_boxes(
    augment: VideoAugment, height: int, width: int, times: int, *, seed: int
) -> NDArray[np.float64]:
    """Draw the boxes of random resized crops (Szegedy et al., CVPR 2015).

    Returns:
        Left, top, width and height as shares of the frame, `[times, 4]`. The width is negative for
        a mirrored crop, and left is then its right edge.
    """
    draw = [uniforms(seed, number, np.arange(times)) for number in range(2, 7)]
    area = augment.min_area + (1 - augment.min_area) * draw[0]
    aspect = np.exp((2 * draw[1] - 1) * np.log(augment.max_aspect))
    pixels = area * height * width
    box_width = np.minimum(np.sqrt(pixels * aspect), width) / width
    box_height = np.minimum(np.sqrt(pixels / aspect), height) / height
    left, top = draw[2] * (1 - box_width), draw[3] * (1 - box_height)
    is_mirrored = draw[4] < augment.flip
    left = np.where(is_mirrored, left + box_width, left)
    box_width = np.where(is_mirrored, -box_width, box_width)
    return np.stack([left, top, box_width, box_height], axis=1)
