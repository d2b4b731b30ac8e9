"""Reading clips, frames and audio from any media file, without a proxy.

`read_clip` and `read_audio` seek; `iterate_frames` and `iterate_audio` decode a whole file once.
Times are seconds on the item's timeline: zero is the first presented frame.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.frame import VideoFrame

from toomuchtv.errors import MediaError, NoAudioError
from toomuchtv.media.audio import AlignedResampler, replace_non_finite
from toomuchtv.media.clip import Clip, ClipFormat, VideoArray, WaveformArray
from toomuchtv.media.containers import (
    decode_in_threads,
    find_audio_stream,
    find_video_stream,
    frame_duration_seconds,
    naming_errors,
    open_media,
)
from toomuchtv.media.deinterlace import Deinterlacer
from toomuchtv.media.extent import last_frame_seconds, measure_end
from toomuchtv.media.frame_converter import BlackBars
from toomuchtv.media.frame_sampler import FrameSampler, timestamp_tolerance
from toomuchtv.media.letterbox import Letterbox, bars_to_crop
from toomuchtv.media.shape import FilmConverter, film_shape
from toomuchtv.media.timeline_decoder import TimelineDecoder
from toomuchtv.media.timestamps import START, Position, Timeline, read_timeline

# Audio decoders need preroll: AAC and Opus overlap their windows, and MP3 frames use bits of the
# frames before.
_AUDIO_PREROLL_SECONDS = 0.5
# Around a discontinuity one seeks to video keyframes, and audio is stored up to this far away.
_INTERLEAVING_SECONDS = 2.0
# Seeks land on a keyframe that the container's index names. Where that is too late (open groups of
# pictures, wrong indexes), the next seek goes further back.
_SEEK_BACK_SECONDS = (0.0, 2.0, 12.0, 60.0)


def read_clip(
    path: str | os.PathLike[str],
    *,
    start_seconds: float = 0.0,
    frames: int = 16,
    frame_rate: float = 8.0,
    audio_seconds: float = 2.0,
    sample_rate_hz: int = 16_000,
    short_side: int | None = None,
    audio_track: int | None = None,
    letterbox: Letterbox = "keep",
) -> Clip:
    """Read one clip from any media file.

    Frame i of the clip is the frame displayed at `start_seconds + i / frame_rate`. After the end of
    the video, its last frame is repeated. The audio is centered on the middle of the frames' span,
    and is zero where the file has none.

    The file is decoded in this process, which a crash or an endless loop of FFmpeg over a damaged
    file would take down. For untrusted files, call this function in a worker process, as `scan`
    and `prepare` do.

    Args:
        path: The media file.
        start_seconds: Time of frame 0, in seconds after the first presented frame.
        frames: Number of frames.
        frame_rate: Frames per second of the clip, whatever the frame rate of the file is.
        audio_seconds: Duration of the audio.
        sample_rate_hz: Sample rate of the waveform.
        short_side: Length of the shorter side in pixels after scaling; None keeps the size.
        audio_track: Position among the audio tracks of the file. None chooses the sound of the film
            as `prepare` does, and gives zeros if the film has no sound.
        letterbox: "crop" removes black bars, for which about 32 frames of the file are decoded.

    Returns:
        The clip: rotated for display, with square pixels, deinterlaced, in SDR.

    Raises:
        MediaError: The file cannot be opened, has no video, or ends before `start_seconds`. The
            message names the file.
        ValueError: A value is out of range.
    """
    if not 0 <= start_seconds < math.inf:
        raise ValueError(f"start_seconds must be at least 0 and finite, got {start_seconds}")
    clip_format = ClipFormat(
        frames=frames,
        frame_rate=frame_rate,
        audio_seconds=audio_seconds,
        sample_rate_hz=sample_rate_hz,
    )
    video: VideoArray | None = None
    with naming_errors("cannot decode", path):
        decode = functools.partial(
            _decode_clip,
            times=[start_seconds + index / frame_rate for index in range(frames)],
            short_side=short_side,
            bars=bars_to_crop(path, letterbox),
        )
        with open_media(path) as container:
            stream = find_video_stream(container)
            decode_in_threads(stream)
            timeline = read_timeline(path, container)
            for seek_back in _SEEK_BACK_SECONDS:
                if video is not None or seek_back >= start_seconds:
                    break
                position = timeline.seek(container, stream, start_seconds - seek_back)
                if position is None:
                    break
                video = decode(container, timeline=timeline, position=position)
        if video is None and start_seconds < measure_end(path, timeline, find_video_stream):
            # The container cannot seek, or a seek misses the first frame. A container that was
            # just opened starts at it.
            with open_media(path) as container:
                decode_in_threads(find_video_stream(container))
                video = decode(container, timeline=timeline)
    if video is None:
        raise MediaError(
            f"cannot read {os.fspath(path)!r}: there is no frame at {start_seconds:.3f} s: "
            "the video ends before, or cannot be decoded there"
        )
    try:
        waveform = read_audio(
            path,
            timeline=timeline,
            first_sample=clip_format.audio_start_sample(start_seconds),
            num_samples=clip_format.num_samples,
            sample_rate_hz=sample_rate_hz,
            audio_track=audio_track,
        )
    except NoAudioError:
        waveform = np.zeros(clip_format.num_samples, np.float32)
    return Clip(video=video, waveform=waveform, start_seconds=start_seconds)


def iterate_frames(
    path: str | os.PathLike[str],
    *,
    timeline: Timeline,
    frame_rate: float = 8.0,
    short_side: int | None = None,
    letterbox: Letterbox = "keep",
) -> Iterator[VideoArray]:
    """Yield the frames of a whole file at a constant rate, decoding the file once.

    Frame i is the frame displayed at `i / frame_rate` seconds after the first presented frame, so
    that frames `[k, k + 16)` are those of `read_clip(start_seconds=k / frame_rate, frames=16)`. The
    last frame is the last one that begins before the video ends. Memory does not grow with the
    duration.

    Args:
        path: The media file.
        timeline: The file's timeline; see `read_timeline`.
        frame_rate: Frames per second to yield.
        short_side: Length of the shorter side in pixels after scaling; None keeps the size.
        letterbox: "crop" removes black bars; see `read_clip`.

    Yields:
        RGB frames, uint8 `[H, W, 3]`.

    Raises:
        MediaError: The file cannot be opened, or no frame of its video can be decoded.
        ValueError: `frame_rate` is not positive.
    """
    if not frame_rate > 0:
        raise ValueError(f"frame_rate must be positive, got {frame_rate}")
    with naming_errors("cannot decode", path):
        bars = bars_to_crop(path, letterbox)
        with open_media(path) as container:
            decode_in_threads(find_video_stream(container))
            times = (index / frame_rate for index in itertools.count())
            yield from _decode_at(
                container, times, timeline, short_side=short_side, bars=bars, hold_last=False
            )


def read_audio(
    path: str | os.PathLike[str],
    *,
    timeline: Timeline,
    first_sample: int,
    num_samples: int,
    sample_rate_hz: int,
    audio_track: int | None = None,
) -> WaveformArray:
    """Read a range of mono samples, which are zero where the file has no audio or no finite number.

    Args:
        path: The media file.
        timeline: The file's timeline; see `read_timeline`. Sample 0 is at its time zero.
        first_sample: Index of the first sample at `sample_rate_hz`, counted from time zero. It may
            be negative.
        num_samples: Number of samples.
        sample_rate_hz: Sample rate of the result.
        audio_track: See `read_clip`.

    Returns:
        float32 `[num_samples]` in -1..1.

    Raises:
        NoAudioError: Not one sample of the range was decoded, which is not the same as silence.
            It is a `MediaError`.
        MediaError: The file cannot be opened or its audio cannot be decoded.
        ValueError: A value is out of range.
    """
    audio = read_decoded_audio(
        path,
        timeline=timeline,
        first_sample=first_sample,
        num_samples=num_samples,
        sample_rate_hz=sample_rate_hz,
        audio_track=audio_track,
    )
    if not audio.decoded and num_samples > 0:
        rate = sample_rate_hz
        raise NoAudioError(
            f"{os.fspath(path)!r} has no audio from {first_sample / rate:.3f} s to "
            f"{(first_sample + num_samples) / rate:.3f} s: not one sample could be decoded there"
        )
    return replace_non_finite(audio.samples)


class DecodedAudio(NamedTuple):
    """Samples of an audio track, and which of them are audio.

    Attributes:
        samples: float32 `[num_samples]` in -1..1. Audio in floats may hold NaN and infinity.
        decoded: Ranges of the samples that were decoded, ascending and apart from each other. All
            other samples are zero because the track has nothing there, or nothing that can be
            decoded.
    """

    samples: WaveformArray
    decoded: tuple[range, ...]


def read_decoded_audio(
    path: str | os.PathLike[str],
    *,
    timeline: Timeline,
    first_sample: int,
    num_samples: int,
    sample_rate_hz: int,
    audio_track: int | None = None,
) -> DecodedAudio:
    """Read a range of mono samples like `read_audio`, and tell which of them were decoded.

    Raises:
        MediaError: The file cannot be opened or its audio cannot be decoded.
        ValueError: A value is out of range.
    """
    if sample_rate_hz < 1 or num_samples < 0:
        raise ValueError(
            "sample_rate_hz must be at least 1 and num_samples at least 0, "
            f"got {sample_rate_hz} and {num_samples}"
        )
    out = np.zeros(num_samples, np.float32)
    ranges: list[range] = []
    with naming_errors("cannot decode the audio of", path):
        for offset, samples, decoded in _decode_audio(
            path, first_sample, num_samples, sample_rate_hz, timeline, audio_track
        ):
            start, stop = max(offset, 0), min(offset + len(samples), num_samples)
            if start < stop:
                out[start:stop] = samples[start - offset : stop - offset]
            start, stop = max(decoded.start, 0), min(decoded.stop, num_samples)
            if start >= stop:
                continue
            if ranges and start <= ranges[-1].stop + 1:  # rates that differ round to one sample
                ranges[-1] = range(ranges[-1].start, stop)
            else:
                ranges.append(range(start, stop))
    return DecodedAudio(out, tuple(ranges))


def iterate_audio(
    path: str | os.PathLike[str],
    *,
    timeline: Timeline,
    sample_rate_hz: int = 16_000,
    block_seconds: float = 10.0,
    audio_track: int | None = None,
) -> Iterator[WaveformArray]:
    """Yield the audio of a whole file in blocks, decoding the file once.

    Concatenated, the blocks are the samples from time zero of the timeline to the end of the track.
    Nothing is yielded if no track is named and the film has no sound.

    Args:
        path: The media file.
        timeline: The file's timeline; see `read_timeline`.
        sample_rate_hz: Sample rate of the result.
        block_seconds: Duration of a block; only the last one is shorter.
        audio_track: See `read_clip`.

    Yields:
        float32 `[block_seconds * sample_rate_hz]` in -1..1, mono.

    Raises:
        MediaError: The file cannot be opened or its audio cannot be decoded.
        ValueError: `block_seconds` is shorter than a sample.
    """
    block = round(block_seconds * sample_rate_hz)
    if block < 1:
        raise ValueError(f"block_seconds must be at least one sample, got {block_seconds}")
    with naming_errors("cannot decode the audio of", path):
        parts: list[WaveformArray] = []
        buffered = 0
        for offset, samples, _ in _decode_audio(
            path, 0, math.inf, sample_rate_hz, timeline, audio_track
        ):
            parts.append(replace_non_finite(samples[max(0, -offset) :]))
            buffered += len(parts[-1])
            while buffered >= block:
                joined = np.concatenate(parts)
                yield joined[:block]
                parts, buffered = [joined[block:]], buffered - block
        if buffered:
            yield np.concatenate(parts)


class _StartNotReachedError(MediaError):
    """Decoding began after the requested start, or the video ends before it."""


def _decode_clip(
    container: InputContainer,
    *,
    times: list[float],
    timeline: Timeline,
    position: Position = START,
    short_side: int | None,
    bars: BlackBars | None,
) -> VideoArray | None:
    """Decode from the container's position; None if the start of the clip is not reached."""
    frames = _decode_at(
        container, iter(times), timeline, position=position, short_side=short_side, bars=bars
    )
    try:
        return np.stack(list(frames))
    except _StartNotReachedError:
        return None


def _decode_at(
    container: InputContainer,
    times: Iterator[float],
    timeline: Timeline,
    *,
    position: Position = START,
    short_side: int | None,
    bars: BlackBars | None,
    hold_last: bool = True,
) -> Iterator[VideoArray]:
    """Yield the RGB frames displayed at ascending `times`, decoding from the container's position.

    After the end of the video, the last frame is held for all remaining times if `hold_last` is
    set, else for one frame duration.
    """
    stream = find_video_stream(container)
    tolerance = timestamp_tolerance(stream)
    frame_seconds = frame_duration_seconds(stream)
    sampler = FrameSampler(times, tolerance_seconds=tolerance)
    start_seconds = sampler.next_seconds
    assert start_seconds is not None, "at least one time is requested"
    deinterlacer = Deinterlacer()
    converter: FilmConverter | None = None
    last_seconds: float | None = None

    def convert(selected: Iterable[VideoFrame]) -> Iterator[VideoArray]:
        assert converter is not None
        for frame in selected:
            yield np.asarray(converter.convert(frame).to_ndarray(), np.uint8)

    watch: AudioStream | None = None
    with contextlib.suppress(MediaError):
        watch = find_audio_stream(container)
    stated_seconds = 0.0
    decoder = TimelineDecoder(container, timeline, video=stream, watch=watch, position=position)
    for frame, seconds in decoder:
        if converter is None:
            latest = start_seconds
            if frame.interlaced_frame and seconds > tolerance:
                latest -= frame_seconds  # deinterlacing needs the frame before as well
            # At the start of the file, the first whole frame stands for those before it.
            if seconds > latest + tolerance and not position.is_start:
                raise _StartNotReachedError(f"decoding begins at {seconds:.3f} s only")
            converter = FilmConverter(
                film_shape(container), short_side=short_side, pixel_format="rgb24", bars=bars
            )
        last_seconds = seconds
        stated_seconds = float((frame.duration or 0) * (frame.time_base or 0))
        for whole_frame, at in deinterlacer.push(frame, seconds):
            yield from convert(sampler.push(whole_frame, at))
        if sampler.is_complete:
            return
    if last_seconds is None:
        raise _StartNotReachedError("no frame of its video can be decoded")
    for whole_frame, at in deinterlacer.close():
        yield from convert(sampler.push(whole_frame, at))
    stop_seconds = last_seconds + last_frame_seconds(stream, stated_seconds)
    if sampler.next_seconds == start_seconds > stop_seconds + tolerance:
        raise _StartNotReachedError(f"the video ends at {stop_seconds:.3f} s")
    yield from convert(sampler.close(math.inf if hold_last else stop_seconds))


def _decode_audio(
    path: str | os.PathLike[str],
    first_sample: int,
    num_samples: float,
    sample_rate_hz: int,
    timeline: Timeline,
    audio_track: int | None,
) -> Iterator[tuple[int, WaveformArray, range]]:
    """Yield consecutive blocks of samples with their offset from `first_sample`.

    The first block may begin before `first_sample` and the last one end after `num_samples`. The
    third value is the range of samples, counted from `first_sample`, that the track itself covers
    in the frame decoded last. The other samples fill gaps.
    """
    preroll = first_sample - round(_AUDIO_PREROLL_SECONDS * sample_rate_hz)
    with contextlib.ExitStack() as files:
        container = files.enter_context(open_media(path))
        try:
            stream = find_audio_stream(container, audio_track)
        except NoAudioError:
            return
        position: Position | None = START
        # FFmpeg reports wrong timestamps after a seek in Ogg FLAC, by up to a page.
        can_seek = (container.format.name, stream.codec_context.name) != ("ogg", "flac")
        if preroll > 0 and can_seek:
            seek_back = _INTERLEAVING_SECONDS if timeline.index else 0.0
            position = timeline.seek(container, stream, preroll / sample_rate_hz - seek_back)
        if position is None:  # FFmpeg cannot seek in this file
            container = files.enter_context(open_media(path))
            stream, position = find_audio_stream(container, audio_track), START
        resampler = AlignedResampler(sample_rate_hz=sample_rate_hz, first_sample=preroll)
        offset: int | None = None
        decoder = TimelineDecoder(container, timeline, audio=stream, position=position)
        for frame, seconds in decoder:
            samples = resampler.push(frame, seconds)
            if offset is None:
                offset = resampler.first_sample - first_sample
            decoded = resampler.placed
            yield offset, samples, range(decoded.start - first_sample, decoded.stop - first_sample)
            offset += len(samples)
            if offset >= num_samples:
                return
        if offset is not None:
            yield offset, resampler.finish(), range(0)
