"""Clips straight from an original file: exact, and as slow as the original's own seeking."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Literal

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from toomuchtv.errors import MediaError
from toomuchtv.media.clip import Clip, ClipFormat, VideoArray, WaveformArray
from toomuchtv.media.deinterlace import Deinterlacer
from toomuchtv.media.letterbox import find_bars
from toomuchtv.media.pictures import (
    Bars,
    ShownFrames,
    Upright,
    display_size,
    picture_stream,
    size_for_short_side,
    timestamp_tolerance,
)
from toomuchtv.media.sound import SoundTimeline
from toomuchtv.media.timeline import Timeline, frames_of, read_timeline, timeline_of

# Decoders need a run-up: AAC and Opus overlap their windows, MP3 borrows bits from the past.
_SOUND_RUN_UP_SECONDS = 0.5
_STORED_APART_SECONDS = 2.0
_SEEK_BACK_SECONDS = (0.0, 2.0, 12.0, 60.0)


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
    letterbox: Literal["keep", "crop"] = "keep",
) -> Clip:
    """Read one clip from any media file.

    The file is decoded in this process, where FFmpeg's own crash or endless loop over a damaged
    file would be this process's: for files of strangers call it through `isolation.run_isolated`,
    as `scan` and `prepare` do their work.

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
        letterbox: "crop" cuts black bars off, which costs a look at some thirty places of the file.

    Returns:
        The clip, upright, with square pixels, deinterlaced, SDR.

    Raises:
        MediaError: The file cannot be opened, has no video, or ends before `start_seconds`.
        ValueError: A value is out of range.
    """
    if letterbox not in ("keep", "crop"):
        raise ValueError(f"letterbox must be 'keep' or 'crop', got {letterbox!r}")
    if start_seconds < 0:
        raise ValueError(f"start_seconds must be at least 0, got {start_seconds}")
    clip_format = ClipFormat(
        frames=frames,
        frame_rate=frame_rate,
        audio_seconds=audio_seconds,
        sample_rate_hz=sample_rate_hz,
    )
    bars: Bars | None = None
    try:
        if letterbox == "crop":
            with open_media(path) as container:
                bars = find_bars(container)
        with open_media(path) as container:
            picture_stream(container).thread_type = "AUTO"
            timeline = read_timeline(path, container)
            video = _pictures_by_seeking(
                container, clip_format, start_seconds, timeline, short_side, bars
            )
        if video is None and start_seconds <= _SEEK_BACK_SECONDS[-1]:
            # A seek to the first picture may miss it, in MPEG-TS by a whole group of pictures:
            # a fresh container does not.
            with open_media(path) as container:
                video = _pictures_from(
                    container, clip_format, start_seconds, timeline, 0, short_side, bars
                )
    except av.FFmpegError as error:
        raise MediaError(f"cannot read {str(path)!r}: {error}") from error
    if video is None:
        raise MediaError(
            f"cannot read {str(path)!r}: there is no picture at {start_seconds:.3f} s: "
            "it ends before, or cannot be decoded there"
        )
    waveform = read_audio(
        path,
        first_sample=clip_format.audio_start_sample(start_seconds),
        num_samples=clip_format.num_samples,
        sample_rate_hz=sample_rate_hz,
        timeline=timeline,
        audio_track=audio_track,
    )
    return Clip(video=video, waveform=waveform, start_seconds=start_seconds)


def first_frame_seconds(container: InputContainer) -> float:
    """Seconds, on the container's clock, of the first presented picture: time zero of an item.

    Raises:
        MediaError: No picture can be decoded.
    """
    return timeline_of(container).origin_seconds


def _pictures_by_seeking(
    container: InputContainer,
    clip_format: ClipFormat,
    start_seconds: float,
    timeline: Timeline,
    short_side: int | None,
    bars: Bars | None,
) -> VideoArray | None:
    """Seek and decode, from further back each time; None where no seek reaches the start."""
    stream = picture_stream(container)
    for seek_back in _SEEK_BACK_SECONDS:
        if start_seconds <= seek_back:
            break
        stretch = timeline.seek(container, stream, start_seconds - seek_back)
        pictures = _pictures_from(
            container, clip_format, start_seconds, timeline, stretch, short_side, bars
        )
        if pictures is not None:
            return pictures
    return None


def _pictures_from(
    container: InputContainer,
    clip_format: ClipFormat,
    start_seconds: float,
    timeline: Timeline,
    stretch: int,
    short_side: int | None,
    bars: Bars | None,
) -> VideoArray | None:
    """Decode from where the container stands; None if that is after the clip's first picture.

    An interlaced picture is made with the help of the one before: None too where that is missing.
    """
    stream = picture_stream(container)
    wanted = (start_seconds + i / clip_format.frame_rate for i in range(clip_format.frames))
    tolerance = timestamp_tolerance(stream)
    shown = ShownFrames(wanted, tolerance_seconds=tolerance)
    seconds_of = timeline.picture_clock(stream, stretch)
    deinterlacer = Deinterlacer()
    frame_seconds = 1.0 / float(stream.average_rate or 25)
    upright: Upright | None = None
    images: list[VideoArray] = []
    last_seconds: float | None = None

    def take(pictures: Iterable[VideoFrame]) -> None:
        assert upright is not None
        images.extend(
            np.asarray(upright.convert(picture).to_ndarray(), np.uint8) for picture in pictures
        )

    for frame in frames_of(container, stream):
        seconds = seconds_of(frame)
        if last_seconds is None:
            latest = start_seconds
            if frame.interlaced_frame and seconds > tolerance:
                latest -= frame_seconds
            if seconds > latest + tolerance:
                return None
        last_seconds = seconds
        if upright is None:
            size = display_size(frame, stream, bars)
            if short_side is not None:
                size = size_for_short_side(size, short_side)
            upright = Upright(width=size[0], height=size[1], pixel_format="rgb24", bars=bars)
        for picture, at in deinterlacer.push(frame, seconds):
            take(shown.push(picture, at))
        if shown.is_complete:
            break
    if last_seconds is None or upright is None:
        return None
    for picture, at in deinterlacer.close():
        take(shown.push(picture, at))
    if not images and start_seconds > last_seconds + frame_seconds + tolerance:
        return None
    take(shown.close())
    return np.stack(images)


def read_audio(
    path: str | os.PathLike[str],
    *,
    first_sample: int,
    num_samples: int,
    sample_rate_hz: int,
    origin_seconds: float = 0.0,
    timeline: Timeline | None = None,
    audio_track: int = 0,
) -> WaveformArray:
    """Read a stretch of sound, mono float32 `[num_samples]`; zeros where there is none.

    Args:
        path: The file.
        first_sample: Counted at `sample_rate_hz` from time zero; may be negative.
        num_samples: How many samples.
        sample_rate_hz: Rate of the samples given.
        origin_seconds: Time zero on the container's clock: that of the first presented picture.
        timeline: The film's own, instead of `origin_seconds`: the sound follows its jumps.
        audio_track: Which audio track, from 0.

    Raises:
        MediaError: The file cannot be opened or decoded.
    """
    timeline = timeline or Timeline(origin_seconds=origin_seconds)
    out = np.zeros(num_samples, np.float32)
    with open_media(path) as container:
        if audio_track >= len(container.streams.audio):
            return out
        try:
            for at, samples in _sound_from(
                container, first_sample, num_samples, sample_rate_hz, timeline, audio_track
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
    film: Timeline,
    audio_track: int,
) -> Iterator[tuple[int, WaveformArray]]:
    stream = container.streams.audio[audio_track]
    if stream.codec_context is None:
        raise MediaError("its sound is in a format that no decoder here knows")
    run_up = first_sample - round(_SOUND_RUN_UP_SECONDS * sample_rate_hz)
    # FFmpeg gives wrong times after a seek in Ogg FLAC, by up to a page.
    can_seek = (container.format.name, stream.codec_context.name) != ("ogg", "flac")
    stretch = 0
    if run_up > 0 and can_seek:
        # Where the clock jumps, places are those of pictures, and sound lies a little apart.
        apart = _STORED_APART_SECONDS if film.stretches else 0.0
        stretch = film.seek(container, stream, run_up / sample_rate_hz - apart)
    seconds_of = film.sound_clock(stretch)
    timeline = SoundTimeline(sample_rate_hz=sample_rate_hz, first_sample=run_up)
    at: int | None = None
    for frame in frames_of(container, stream):
        seconds = seconds_of(frame)
        if seconds is None:
            continue
        samples = timeline.push(frame, seconds)
        if at is None:
            at = timeline.first_sample - first_sample
        yield at, samples
        at += len(samples)
        if at >= num_samples:
            return
    if at is not None:
        yield at, timeline.finish()


def video_duration_seconds(path: str | os.PathLike[str]) -> float:
    """Seconds that the picture lasts, as the file declares it, or as its packets tell.

    Raises:
        MediaError: The file cannot be opened or has no picture.
    """
    with open_media(path) as container:
        return _declared_seconds(container, picture_stream(container))


def audio_duration_seconds(path: str | os.PathLike[str]) -> float:
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
