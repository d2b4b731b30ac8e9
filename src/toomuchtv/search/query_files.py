"""Decode video, sound and image files that are queries.

The decoding runs in a process of its own, which a hostile file may take down. This module imports
neither PyTorch nor a model, so that such a process starts in a fraction of a second.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toomuchtv._internal.subprocess_pool import Failure, run_isolated
from toomuchtv.errors import MediaError, NoAudioError, SearchError
from toomuchtv.media.clip import VideoArray, WaveformArray
from toomuchtv.media.clip_reader import read_audio, read_clip
from toomuchtv.media.containers import find_video_stream
from toomuchtv.media.extent import measure_end
from toomuchtv.media.file_content import inspect_file
from toomuchtv.media.timestamps import read_timeline

_MAX_WINDOWS = 8
_TIMEOUT_SECONDS = 120.0
_MEMORY_BYTES = 3 << 30
# Video is reduced while it is decoded: no encoder takes more, and the result crosses processes.
_SHORT_SIDE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryFile:
    """A video, sound or image file outside the catalog. It is decoded in a process of its own.

    Attributes:
        path: The file.
        at_seconds: Middle of the moment. If it is None, the embeddings of up to 8 windows, spread
            evenly over the file, are averaged.
    """

    path: Path
    at_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWindows:
    """The decoded windows of a query file.

    Attributes:
        video: RGB, uint8 `[N, T, H, W, 3]`; None if the file has no video.
        audio: Mono, float32 `[N, S]`; None if the file has no audio there.
    """

    video: VideoArray | None
    audio: WaveformArray | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFormat:
    """What an encoder takes of a window.

    Attributes:
        window_seconds: Duration of a window.
        frames: Number of frames, spread evenly over it; 0 for none.
        audio_seconds: Duration of the audio, centered on its middle; 0 for none.
        sample_rate_hz: Sample rate of the audio.
    """

    window_seconds: float
    frames: int
    audio_seconds: float
    sample_rate_hz: int


def read_query_file(query: QueryFile, window: WindowFormat) -> FileWindows:
    """Decode the windows of a query file, in a process that a hostile file may take down.

    Raises:
        SearchError: The file cannot be read, or has nothing at this time.
    """
    job = (query, window)
    for _, result in run_isolated(
        _read, [job], num_workers=1, silence_seconds=_TIMEOUT_SECONDS, memory_bytes=_MEMORY_BYTES
    ):
        if isinstance(result, Failure):
            raise SearchError(f"cannot use {os.fspath(query.path)!r}: {result.reason}")
        return result
    raise AssertionError("every job has a result")


def _read(job: tuple[QueryFile, WindowFormat], report: object) -> FileWindows:
    """Decode a query file; runs in a worker."""
    query, window = job
    content = inspect_file(query.path)
    timeline = read_timeline(query.path)
    duration = content.duration_seconds
    if content.has_video:
        duration = measure_end(query.path, timeline, find_video_stream)
    if query.at_seconds is None:
        last = max(0.0, duration - window.window_seconds)
        num = max(1, min(_MAX_WINDOWS, round(last / window.window_seconds) + 1))
        starts: Sequence[float] = np.linspace(0.0, last, num).tolist()
    else:
        if duration and query.at_seconds > duration:
            raise MediaError(f"it has {duration:.1f} s, so there is nothing at {query.at_seconds}")
        starts = [max(0.0, query.at_seconds - window.window_seconds / 2)]
    video, audio = [], []
    for start in starts:
        if window.frames and content.has_video:
            clip = read_clip(
                query.path,
                start_seconds=start,
                frames=window.frames,
                frame_rate=window.frames / window.window_seconds,
                audio_seconds=0.1,
                short_side=_SHORT_SIDE,
            )
            video.append(clip.video)
        if window.audio_seconds and content.has_audio:
            rate = window.sample_rate_hz
            samples = round(window.audio_seconds * rate)
            center = start + window.window_seconds / 2
            try:
                waveform = read_audio(
                    query.path,
                    timeline=timeline,
                    first_sample=round(center * rate) - samples // 2,
                    num_samples=samples,
                    sample_rate_hz=rate,
                )
            except NoAudioError:
                continue
            audio.append(waveform)
    return FileWindows(
        video=np.stack(video) if video else None, audio=np.stack(audio) if audio else None
    )
