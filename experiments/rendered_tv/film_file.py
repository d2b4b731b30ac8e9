"""From frames and sound to a media file, complete or not there at all."""

from __future__ import annotations

import os
import wave
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

_FORMATS = {".mp4": "mp4", ".mkv": "matroska"}


def write_film(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    waveform: NDArray[Any],
    *,
    frame_rate: int,
    sample_rate_hz: int,
    name: str,
) -> None:
    """Write H.264 and AAC to an MP4 or MKV file.

    The same input gives the same bytes: one encoder thread, no dates, no random identifiers.

    Args:
        path: Where to; `.mp4` or `.mkv`. Its folder is made.
        frames: uint8 `[H, W, 3]` RGB, all of one size.
        waveform: float32 `[S]` in -1..1, as long as the frames.
        frame_rate: Frames a second.
        sample_rate_hz: Samples a second.
        name: The title in the file's metadata.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with av.open(
        partial, "w", format=_FORMATS[path.suffix], options={"fflags": "+bitexact"}
    ) as container:
        container.metadata["title"] = name
        video: av.VideoStream | None = None
        # Half the time of the default search, at a bit rate where it is not heard.
        audio = container.add_stream("aac", rate=sample_rate_hz, options={"aac_coder": "fast"})
        audio.layout = "mono"
        audio.bit_rate = 64_000
        sent = 0
        for number, picture in enumerate(frames):
            if video is None:
                video = _video_stream(container, picture, frame_rate)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            # a second of sound behind each second of picture, so that the file is interleaved
            if (number + 1) % frame_rate == 0:
                until = (number + 1) * sample_rate_hz // frame_rate
                container.mux(audio.encode(_sound(waveform, sent, until, sample_rate_hz)))
                sent = until
        if sent < len(waveform):
            container.mux(audio.encode(_sound(waveform, sent, len(waveform), sample_rate_hz)))
        for stream in (video, audio):
            if stream is not None:
                container.mux(stream.encode(None))
    os.replace(partial, path)


def write_sound(path: Path, waveform: NDArray[Any], sample_rate_hz: int) -> None:
    """Write float32 `[S]` in -1..1 as a 16-bit mono WAV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as raw, wave.open(raw, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes((np.clip(waveform, -1, 1) * 32767).round().astype("<i2").tobytes())
    os.replace(partial, path)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _video_stream(
    container: av.container.OutputContainer, picture: NDArray[np.uint8], frame_rate: int
) -> av.VideoStream:
    # x264's macroblock tree is not repeatable on pictures this small: ten encodings of the same
    # frames at 160x96 on one thread gave ten streams; without it (or with asm=0), they are equal
    options = {
        "preset": "superfast",
        "crf": "22",
        "g": str(3 * frame_rate),
        "x264-params": "mbtree=0",
    }
    stream = container.add_stream("libx264", rate=frame_rate, options=options)
    stream.height, stream.width = picture.shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.codec_context.thread_count = 1
    return stream


def _sound(waveform: NDArray[Any], start: int, stop: int, rate: int) -> av.AudioFrame:
    part = np.ascontiguousarray(waveform[None, start:stop], np.float32)
    frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
    frame.sample_rate = rate
    frame.pts = start
    return frame
