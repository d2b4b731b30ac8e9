"""Clips straight from an original file: exact, and as slow as the original's own seeking."""

from __future__ import annotations

import os
from collections.abc import Iterator

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from toomuchtv.errors import MediaError
from toomuchtv.media.clip import Clip, ClipFormat, VideoArray, WaveformArray
from toomuchtv.media.pictures import (
    ShownFrames,
    Upright,
    display_size,
    frame_clock,
    picture_stream,
    size_for_short_side,
    timestamp_tolerance,
)
from toomuchtv.media.sound import SoundTimeline

# Decoders need a run-up: AAC and Opus overlap their windows, MP3 borrows bits from the past.
_SOUND_RUN_UP_SECONDS = 0.5
_SEEK_BACK_SECONDS = (0.0, 2.0, 12.0)


def open_media(path: str | os.PathLike[str]) -> InputContainer:
    """Open a media file for reading.

    Raises:
        MediaError: It is missing, or FFmpeg does not know it.
    """
    try:
        return av.open(os.fspath(path), metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise MediaError(f"cannot open {str(path)!r}: {error}") from error


def read_clip(
    path: str | os.PathLike[str],
    *,
    start_seconds: float = 0.0,
    frames: int = 16,
    frame_rate: float = 8.0,
    audio_seconds: float = 2.0,
    sample_rate_hz: int = 16_000,
    short_side: int | None = None,
    audio_track: int = 0,
) -> Clip:
    """Read one clip from any media file.

    Args:
        path: The file.
        start_seconds: When frame 0 is shown, in seconds after the first presented picture.
        frames: Number of frames; frame i is the one on screen at `start_seconds + i / frame_rate`.
            After the last picture, the last one stays.
        frame_rate: Frames a second of the clip, whatever the file's own.
        audio_seconds: Seconds of sound, centered on the middle of the frames' span.
        sample_rate_hz: Rate of the waveform.
        short_side: Scale so that the shorter side has this many pixels; None keeps the size.
        audio_track: Which audio track, from 0; a file without sound gives zeros.

    Returns:
        The clip, upright and with square pixels.

    Raises:
        MediaError: The file cannot be opened, has no video, or ends before `start_seconds`.
        ValueError: A value is out of range.
    """
    if start_seconds < 0:
        raise ValueError(f"start_seconds must be at least 0, got {start_seconds}")
    clip_format = ClipFormat(
        frames=frames,
        frame_rate=frame_rate,
        audio_seconds=audio_seconds,
        sample_rate_hz=sample_rate_hz,
    )
    try:
        with open_media(path) as container:
            picture_stream(container).thread_type = "AUTO"
            origin_seconds = first_picture_seconds(container)
            video = _pictures_by_seeking(
                container, clip_format, start_seconds, origin_seconds, short_side
            )
        if video is None and start_seconds <= _SEEK_BACK_SECONDS[-1]:
            # A seek to the first picture may miss it, in MPEG-TS by a whole group of pictures:
            # a fresh container does not.
            with open_media(path) as container:
                video = _pictures_from(
                    container, clip_format, start_seconds, origin_seconds, short_side
                )
    except av.FFmpegError as error:
        raise MediaError(f"cannot read {str(path)!r}: {error}") from error
    if video is None:
        raise MediaError(
            f"cannot read {str(path)!r}: there is no picture at {start_seconds:.3f} s: "
            "it ends before, or cannot be decoded there"
        )
    waveform = read_sound(
        path,
        first_sample=clip_format.audio_start_sample(start_seconds),
        num_samples=clip_format.num_samples,
        sample_rate_hz=sample_rate_hz,
        origin_seconds=origin_seconds,
        audio_track=audio_track,
    )
    return Clip(video=video, waveform=waveform, start_seconds=start_seconds)


def first_picture_seconds(container: InputContainer) -> float:
    """Seconds, on the container's clock, of the first presented picture: time zero of an item.

    Raises:
        MediaError: No picture can be decoded.
    """
    stream = picture_stream(container)
    seconds_of = frame_clock(stream)
    for frame in container.decode(stream):
        return seconds_of(frame)
    raise MediaError("no picture in it can be decoded")


def _pictures_by_seeking(
    container: InputContainer,
    clip_format: ClipFormat,
    start_seconds: float,
    origin_seconds: float,
    short_side: int | None,
) -> VideoArray | None:
    """Seek and decode, from further back each time; None where no seek reaches the start."""
    stream = picture_stream(container)
    tick = float(stream.time_base or 1e-6)
    for seek_back in _SEEK_BACK_SECONDS:
        if start_seconds <= seek_back:
            break
        target = origin_seconds + start_seconds - seek_back
        container.seek(round(target / tick), stream=stream, backward=True)
        pictures = _pictures_from(container, clip_format, start_seconds, origin_seconds, short_side)
        if pictures is not None:
            return pictures
    return None


def _pictures_from(
    container: InputContainer,
    clip_format: ClipFormat,
    start_seconds: float,
    origin_seconds: float,
    short_side: int | None,
) -> VideoArray | None:
    """Decode from where the container stands; None if that is after the clip's first picture."""
    stream = picture_stream(container)
    wanted = (start_seconds + i / clip_format.frame_rate for i in range(clip_format.frames))
    tolerance = timestamp_tolerance(stream)
    shown = ShownFrames(wanted, tolerance_seconds=tolerance)
    seconds_of = frame_clock(stream)
    upright: Upright | None = None
    images: list[VideoArray] = []
    last_seconds: float | None = None
    for frame in container.decode(stream):
        seconds = seconds_of(frame) - origin_seconds
        if last_seconds is None and seconds > start_seconds + tolerance:
            return None
        last_seconds = seconds
        if upright is None:
            size = display_size(frame, stream)
            if short_side is not None:
                size = size_for_short_side(size, short_side)
            upright = Upright(width=size[0], height=size[1], pixel_format="rgb24")
        images.extend(
            np.asarray(upright.convert(picture).to_ndarray(), np.uint8)
            for picture in shown.push(frame, seconds)
        )
        if shown.is_complete:
            break
    if last_seconds is None or upright is None:
        return None
    frame_seconds = 1.0 / float(stream.average_rate or 25)
    if not images and start_seconds > last_seconds + frame_seconds + tolerance:
        return None
    images.extend(
        np.asarray(upright.convert(picture).to_ndarray(), np.uint8) for picture in shown.close()
    )
    return np.stack(images)


def read_sound(
    path: str | os.PathLike[str],
    *,
    first_sample: int,
    num_samples: int,
    sample_rate_hz: int,
    origin_seconds: float = 0.0,
    audio_track: int = 0,
) -> WaveformArray:
    """Read a stretch of sound, mono float32 `[num_samples]`; zeros where there is none.

    Args:
        path: The file.
        first_sample: Counted at `sample_rate_hz` from time zero; may be negative.
        num_samples: How many samples.
        sample_rate_hz: Rate of the samples given.
        origin_seconds: Time zero on the container's clock: that of the first presented picture.
        audio_track: Which audio track, from 0.

    Raises:
        MediaError: The file cannot be opened or decoded.
    """
    out = np.zeros(num_samples, np.float32)
    with open_media(path) as container:
        if audio_track >= len(container.streams.audio):
            return out
        try:
            for at, samples in _sound_from(
                container, first_sample, num_samples, sample_rate_hz, origin_seconds, audio_track
            ):
                begin, stop = max(at, 0), min(at + len(samples), num_samples)
                if begin < stop:
                    out[begin:stop] = samples[begin - at : stop - at]
        except av.FFmpegError as error:
            raise MediaError(f"cannot decode the sound of {str(path)!r}: {error}") from error
    return out


def _sound_from(
    container: InputContainer,
    first_sample: int,
    num_samples: int,
    sample_rate_hz: int,
    origin_seconds: float,
    audio_track: int,
) -> Iterator[tuple[int, WaveformArray]]:
    stream = container.streams.audio[audio_track]
    run_up = first_sample - round(_SOUND_RUN_UP_SECONDS * sample_rate_hz)
    if run_up > 0:
        tick = float(stream.time_base or 1e-6)
        seconds = origin_seconds + run_up / sample_rate_hz
        container.seek(round(seconds / tick), stream=stream, backward=True)
    timeline = SoundTimeline(sample_rate_hz=sample_rate_hz, first_sample=run_up)
    at: int | None = None
    for frame in container.decode(stream):
        if frame.time is None:
            continue
        samples = timeline.push(frame, frame.time - origin_seconds)
        if at is None:
            at = timeline.first_sample - first_sample
        yield at, samples
        at += len(samples)
        if at >= num_samples:
            return
    if at is not None:
        yield at, timeline.finish()


def picture_seconds(path: str | os.PathLike[str]) -> float:
    """Seconds that the picture lasts, as the file declares it, or as its packets tell.

    Raises:
        MediaError: The file cannot be opened or has no picture.
    """
    with open_media(path) as container:
        return _declared_seconds(container, picture_stream(container))


def sound_seconds(path: str | os.PathLike[str]) -> float:
    """Seconds that the first audio track lasts, as the file declares it, or as its packets tell.

    Raises:
        MediaError: The file cannot be opened or has no sound.
    """
    with open_media(path) as container:
        if not container.streams.audio:
            raise MediaError(f"{str(path)!r} has no sound")
        return _declared_seconds(container, container.streams.audio[0])


def _declared_seconds(container: InputContainer, stream: VideoStream | AudioStream) -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None:
        return float(container.duration) / 1_000_000
    last = 0.0
    for packet in container.demux(stream):
        if packet.pts is not None and packet.time_base is not None:
            last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return last
