"""The format of a clip and its decoded arrays.

start_seconds
v
|  f0   |  f1   |  f2   |  f3   |          span_seconds = frames / frame_rate
0     1/rate  2/rate  3/rate               frame i is displayed at start_seconds + i / frame_rate
                ^ the middle of the span
     |-------------------------|           audio_seconds, centered on the middle
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

VideoArray = NDArray[np.uint8]
WaveformArray = NDArray[np.float32]


class ClipFormat(BaseModel):
    """Number and rate of the frames of a clip, and duration and rate of its audio.

    Attributes:
        frames: Number of frames.
        frame_rate: Frames per second.
        audio_seconds: Duration of the audio.
        sample_rate_hz: Sample rate of the audio.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    frames: int = Field(default=16, ge=1, le=1024)
    frame_rate: float = Field(default=8.0, gt=0.0, le=240.0)
    audio_seconds: float = Field(default=2.0, gt=0.0, le=600.0)
    sample_rate_hz: int = Field(default=16_000, ge=2_000, le=192_000)

    @property
    def span_seconds(self) -> float:
        """Duration that the frames span: `frames / frame_rate`."""
        return self.frames / self.frame_rate

    @property
    def num_samples(self) -> int:
        """Number of audio samples of a clip."""
        return round(self.audio_seconds * self.sample_rate_hz)

    def audio_start_sample(self, start_seconds: float) -> int:
        """Return the index of the first audio sample of a clip, which may be negative.

        The audio is centered on the middle of the frames' span, so that a clip whose audio lasts
        longer than its frames has audio from before `start_seconds`.
        """
        middle_seconds = start_seconds + self.span_seconds / 2
        return round(middle_seconds * self.sample_rate_hz) - self.num_samples // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A decoded clip.

    Attributes:
        video: RGB frames, uint8 `[T, H, W, 3]`.
        waveform: Mono audio, float32 `[S]` in -1..1; zeros where the item has none.
        start_seconds: Time of frame 0, in seconds after the first presented frame.
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
