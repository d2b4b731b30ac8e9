"""What a clip is: its format, its place in time, and the arrays it becomes.

start_seconds
|     frame 0         frame 1         frame 2         frame 3
|     shown at 0      1/rate          2/rate          3/rate
v
|-------|-------|-------|-------|          span_seconds = frames / frame_rate
                ^ the middle of the span
     |-------------------------|           audio_seconds of sound around it
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

VideoArray = NDArray[np.uint8]
WaveformArray = NDArray[np.float32]


class ClipFormat(BaseModel):
    """How many frames at which rate, and how much sound, make one clip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int = Field(default=16, ge=1, le=1024)
    frame_rate: float = Field(default=8.0, gt=0.0, le=240.0)
    audio_seconds: float = Field(default=2.0, gt=0.0, le=600.0)
    sample_rate_hz: int = Field(default=16_000, ge=2_000, le=192_000)

    @property
    def span_seconds(self) -> float:
        """Seconds that the frames cover."""
        return self.frames / self.frame_rate

    @property
    def num_samples(self) -> int:
        """Samples of sound in one clip."""
        return round(self.audio_seconds * self.sample_rate_hz)

    def audio_start_sample(self, start_seconds: float) -> int:
        """Index of the first sample of the sound of a clip that starts there; may be negative."""
        middle_seconds = start_seconds + self.span_seconds / 2
        return round(middle_seconds * self.sample_rate_hz) - self.num_samples // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One decoded moment.

    Attributes:
        video: uint8 `[T, H, W, 3]`, RGB.
        waveform: float32 `[S]`, mono, -1..1; zeros where the item has no sound.
        start_seconds: When frame 0 is shown, in seconds after the first presented picture.
    """

    video: VideoArray
    waveform: WaveformArray
    start_seconds: float

    def __repr__(self) -> str:
        return (
            f"Clip(video={self.video.dtype}{list(self.video.shape)}, "
            f"waveform={self.waveform.dtype}{list(self.waveform.shape)}, "
            f"start_seconds={self.start_seconds:.3f})"
        )
