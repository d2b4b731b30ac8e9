"""Windows of a whole file: where they are, and their frames and audio from one decoding pass.

A window starts at `times[i]` and lasts `window_seconds`. The encoders need clips of a fixed number
of frames and samples, so a window is turned into a clip like this:

- Video: `frames` frames, spread evenly over the window: frame j is the frame displayed at
  `times[i] + j * window_seconds / frames`. If `window_seconds` is the span that the encoder was
  trained with, these are exactly the frames of `embed_video(path, start_seconds=times[i])`.
- Audio: as many samples as in training, centered on the middle of the window, zeros outside the
  file.

Starts are multiples of `stride_seconds`, rounded to the grid of frames, which is
`window_seconds / frames` apart. Windows lie entirely within the file. A file that is shorter than
a window has one window, whose last frame is held and whose audio is followed by zeros.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch import Tensor

from toomuchtv.media.clip import ClipFormat, WaveformArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowEmbeddings:
    """The embeddings of the windows of one file.

    Attributes:
        times: Start of each window, in seconds on the file's timeline, float64 `[N]`.
        video: Unit vectors, float32 `[N, D]`; None if the file has no video.
        audio: Unit vectors, float32 `[N, D]`; None if the file has no audio.
    """

    times: Tensor
    video: Tensor | None
    audio: Tensor | None

    def __len__(self) -> int:
        return len(self.times)

    def __repr__(self) -> str:
        def shape(values: Tensor | None) -> str:
            return "None" if values is None else str(list(values.shape))

        return (
            f"WindowEmbeddings(times={shape(self.times)}, video={shape(self.video)}, "
            f"audio={shape(self.audio)})"
        )


@dataclass(frozen=True, slots=True)
class WindowGrid:
    """The windows of a file.

    Attributes:
        clip: The clip that a window becomes: its frame rate is `frames / window_seconds`.
        stride_seconds: Distance of two windows before rounding to the grid of frames.
    """

    clip: ClipFormat
    stride_seconds: float

    @classmethod
    def for_clips(
        cls, trained: ClipFormat, *, window_seconds: float, stride_seconds: float
    ) -> WindowGrid:
        """Return the windows for an encoder that was trained with clips of a format.

        Raises:
            ValueError: A duration is not positive, or the stride is shorter than a frame.
        """
        if window_seconds <= 0:
            raise ValueError(f"window_seconds must be positive, got {window_seconds}")
        frame_rate = trained.frames / window_seconds
        if stride_seconds * frame_rate < 1.0 - 1e-9:
            raise ValueError(
                f"stride_seconds must be at least one frame, {1 / frame_rate:.4f} s, "
                f"got {stride_seconds}"
            )
        clip = ClipFormat(**{**trained.model_dump(), "frame_rate": frame_rate})
        return cls(clip, stride_seconds)

    def first_frame(self, index: int) -> int:
        """Return the number of a window's first frame on the grid of frames."""
        return round(index * self.stride_seconds * self.clip.frame_rate)

    def start_seconds(self, index: int) -> float:
        """Return the start of a window."""
        return self.first_frame(index) / self.clip.frame_rate

    def first_sample(self, index: int) -> int:
        """Return the number of a window's first audio sample, which may be negative."""
        return self.clip.audio_start_sample(self.start_seconds(index))

    def stop_sample(self, index: int) -> int:
        """Return the number of the sample at which a window ends."""
        stop_seconds = self.start_seconds(index) + self.clip.span_seconds
        return round(stop_seconds * self.clip.sample_rate_hz)


def video_windows(frames: Iterable[Tensor], grid: WindowGrid) -> Iterator[Tensor]:
    """Yield the frames of each window, `[T, ...]`, from all frames of a file on the grid.

    At most the frames of one window are kept.
    """
    length, index = grid.clip.frames, 0
    kept: deque[Tensor] = deque(maxlen=length)
    for num_frames, frame in enumerate(frames, start=1):
        kept.append(frame)
        if num_frames == grid.first_frame(index) + length:
            yield torch.stack(list(kept))
            index += 1
    if index == 0 and kept:
        yield torch.stack([*kept, *[kept[-1]] * (length - len(kept))])


def audio_windows(
    blocks: Iterable[WaveformArray], grid: WindowGrid, num_windows: int | None
) -> Iterator[WaveformArray]:
    """Yield the audio of each window, float32 `[S]`, from consecutive blocks of a file.

    Args:
        blocks: The samples of the file from time zero on.
        grid: The windows.
        num_windows: The number of windows that the video has; None if the audio decides.
    """
    remaining = iter(blocks)
    buffer, offset, ended = np.zeros(0, np.float32), 0, False
    for index in count() if num_windows is None else range(num_windows):
        first, stop = grid.first_sample(index), grid.stop_sample(index)
        needed = max(first + grid.clip.num_samples, stop)
        while not ended and offset + len(buffer) < needed:
            block = next(remaining, None)
            ended = block is None
            if block is not None:
                buffer = np.concatenate([buffer, block])
        total = offset + len(buffer)
        if num_windows is None and (total == 0 or (index > 0 and stop > total)):
            return
        waveform = np.zeros(grid.clip.num_samples, np.float32)
        start, end = max(first, offset), min(first + len(waveform), total)
        if start < end:
            waveform[start - first : end - first] = buffer[start - offset : end - offset]
        yield waveform
        # Windows only move forward, so samples before this window are not needed again.
        dropped = min(max(0, first - offset), len(buffer))
        buffer, offset = buffer[dropped:], offset + dropped
