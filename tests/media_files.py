"""Small real media files for tests, from whose frames and audio the time can be read.

A frame is gray, with a white square in the top left corner. Its level rises by `LEVEL_STEP` from
frame to frame, begins at `BLACK` and starts over after `NUM_LEVELS` frames. The audio is a tone
whose frequency rises each second. The codecs are those of PyAV's wheel.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import av.stream
import numpy as np
from numpy.typing import NDArray

BLACK = 16
LEVEL_STEP = 4
NUM_LEVELS = 50
SAMPLE_RATE_HZ = 16_000

# Settings that are fast rather than good. AVI counts frames instead of storing times, so that its
# streams must start at zero: it gets no B-frames, and an audio codec without a delay.
_FAST = {
    "libx264": {"preset": "ultrafast", "bf": "2"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "mpeg4": {"bf": "0"},
    "mpeg2video": {"bf": "2"},
}


def gray_of_frame(number: int) -> int:
    """Return the gray level of a frame outside its corner."""
    return BLACK + LEVEL_STEP * (number % NUM_LEVELS)


def tone_hz(second: int) -> int:
    """Return the frequency of the tone during a second."""
    return 400 + 100 * (second % 20)


def frame_image(number: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """Return a frame as RGB, uint8 `[height, width, 3]`."""
    frame = np.full((height, width, 3), gray_of_frame(number), dtype=np.uint8)
    frame[: height // 4, : width // 4] = 235
    return frame


def tone(seconds: float, *, amplitude: float = 0.5) -> NDArray[np.float32]:
    """Return the audio, mono, float32 `[seconds * SAMPLE_RATE_HZ]`."""
    time = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    pitches = np.array([tone_hz(second) for second in range(int(seconds) + 1)], np.float64)
    phase = 2 * np.pi * np.cumsum(pitches[time.astype(np.int64)]) / SAMPLE_RATE_HZ
    wave = amplitude * np.sin(phase)
    return wave.astype(np.float32)


def write_film(
    path: Path,
    *,
    seconds: float = 2.0,
    frame_rate: int = 24,
    first_frame: int = 0,
    languages: Sequence[str | None] = (None,),
    audio_start_seconds: float = 0.0,
    audio_stop_seconds: float | None = None,
    rotation_degrees: int = 0,
    options: dict[str, str] | None = None,
    size: tuple[int, int] = (64, 48),
) -> Path:
    """Write a film, whose suffix determines the container and the codecs.

    Args:
        path: The file to write. Missing folders are created.
        seconds: Duration of the video.
        frame_rate: Frames per second.
        first_frame: Number of the first frame. Films with different numbers differ in content.
        languages: Language of each audio track, None for an untagged one; () for no audio. Track
            n has 1 / (1 + n) of the amplitude of track 0.
        audio_start_seconds: Time at which the audio starts.
        audio_stop_seconds: Time at which the audio ends; None for the end of the video.
        rotation_degrees: Clockwise rotation for display, stored as the display matrix.
        options: Options of the container, such as {"movflags": "faststart"}.
        size: Coded width and height.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    webm, avi = path.suffix == ".webm", path.suffix == ".avi"
    with av.open(str(path), "w", options=options or {}) as container:
        video_codec = "libvpx" if webm else "mpeg4" if avi else "libx264"
        video_codec = "mpeg2video" if path.suffix == ".mpg" else video_codec
        video = container.add_stream(video_codec, rate=frame_rate, options=_FAST[video_codec])
        assert isinstance(video, av.VideoStream)
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        video.codec_context.gop_size = frame_rate
        if rotation_degrees:
            video.set_display_rotation(-rotation_degrees)
        tracks = []
        for language in languages:
            audio_codec = "libopus" if webm else "pcm_s16le" if avi else "aac"
            audio_codec = "mp2" if path.suffix == ".mpg" else audio_codec
            audio = container.add_stream(audio_codec, rate=SAMPLE_RATE_HZ, layout="mono")
            assert isinstance(audio, av.AudioStream)
            if language:
                audio.metadata["language"] = language
            tracks.append(audio)
        for number in range(round(seconds * frame_rate)):
            frame = av.VideoFrame.from_ndarray(
                frame_image(first_frame + number, *size), format="rgb24"
            )
            frame.pts = number
            frame.time_base = Fraction(1, frame_rate)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        wave = tone((audio_stop_seconds or seconds) - audio_start_seconds)
        for number, audio in enumerate(tracks):
            encode_audio(container, audio, wave * np.float32(1 / (1 + number)), audio_start_seconds)
    return path


def write_audio_file(path: Path, *, seconds: float = 2.0, cover: bool = False) -> Path:
    """Write a file without video, `.m4a` or `.mp4`, which may have cover art."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        audio = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        assert isinstance(audio, av.AudioStream)
        art = None
        if cover:
            art = container.add_stream("png", rate=1)
            assert isinstance(art, av.VideoStream)
            art.width, art.height, art.pix_fmt = 64, 48, "rgb24"
            art.disposition = av.stream.Disposition.attached_pic
        encode_audio(container, audio, tone(seconds), 0.0)
        if art is not None:
            frame = av.VideoFrame.from_ndarray(frame_image(0), format="rgb24")
            container.mux([*art.encode(frame), *art.encode()])
    return path


def write_still(path: Path) -> Path:
    """Write a still image, as `.png` or as a film of one frame."""
    if path.suffix != ".png":
        return write_film(path, seconds=1 / 24, languages=())
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="image2") as container:
        image = container.add_stream("png", rate=1)
        assert isinstance(image, av.VideoStream)
        image.width, image.height, image.pix_fmt = 64, 48, "rgb24"
        frame = av.VideoFrame.from_ndarray(frame_image(0), format="rgb24")
        container.mux([*image.encode(frame), *image.encode()])
    return path


def keep_part(path: Path, start: float, stop: float) -> Path:
    """Keep only the bytes of a file between two fractions of its size."""
    data = path.read_bytes()
    path.write_bytes(data[int(start * len(data)) : int(stop * len(data))])
    return path


def encode_audio(
    container: av.container.OutputContainer,
    audio: av.AudioStream,
    wave: NDArray[np.float32],
    start_seconds: float,
) -> None:
    """Encode a waveform to a stream, whose encoder is flushed."""
    resampler = av.AudioResampler(format=audio.format.name, layout="mono", rate=SAMPLE_RATE_HZ)
    step = audio.codec_context.frame_size or 1024
    for start in range(0, len(wave), step):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(wave[None, start : start + step]), format="fltp", layout="mono"
        )
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.time_base = Fraction(1, SAMPLE_RATE_HZ)
        frame.pts = round(start_seconds * SAMPLE_RATE_HZ) + start
        for converted in resampler.resample(frame):
            container.mux(audio.encode(converted))
    container.mux(audio.encode())


def leave_real_time() -> None:
    """Give every thread of this process the ordinary scheduling policy again.

    If root runs the AV1 encoder (SVT-AV1), it gives the process real-time scheduling with the
    highest priority and does not reset it. The process would then starve all others.
    """
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setscheduler(int(thread), os.SCHED_OTHER, os.sched_param(0))
