"""Where the video and the audio of a file begin and end, measured by their packets.

What a file declares is never believed: containers repeat the duration of the video for all streams,
a file may have been cut, and the durations of MP3 files without a header are guesses. All durations
of the project come from here: those of the catalog, of proxies and of evaluated clips.

Formats with an index, or that can be searched for a time, are read from a few seconds before their
declared end, and from further back if no packet of the stream is there. MPEG-TS and MPEG-PS files
were read to their end for the timeline. All other formats (such as MP3, ADTS, Ogg and raw video)
are read to their end, without decoding.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Callable, Iterator
from typing import Any, Literal

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from toomuchtv.errors import MediaError
from toomuchtv.media.containers import (
    find_audio_stream,
    find_video_stream,
    frame_duration_seconds,
    naming_errors,
    open_media,
)
from toomuchtv.media.decoding import demux_packets, report_life
from toomuchtv.media.timestamps import Timeline, read_timeline

# Formats in which a seek leads to exact timestamps, by FFmpeg's names.
_SEARCHABLE_FORMATS = frozenset(
    {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "asf", "flv", "wav", "w64", "nut", "mxf"}
)
_TAIL_SECONDS = (5.0, 20.0, 80.0, 320.0, 1280.0)
_MAX_LAST_FRAME_SECONDS = 10.0
_NUM_CACHED = 65_536

FindStream = Callable[[InputContainer], VideoStream | AudioStream]


def measure_extent(
    path: str | os.PathLike[str], modality: Literal["video", "audio"]
) -> tuple[float, float]:
    """Return where the video or the audio of a file begins and ends on its timeline, in seconds.

    The audio is that of the film. The results of the last files are cached.

    Raises:
        MediaError: The file cannot be opened, lacks the modality, or has no packet of it.
    """
    with naming_errors("cannot read", path):
        try:
            facts = os.stat(path)
        except OSError as error:
            raise MediaError(error.strerror or str(error)) from error
        return _measure(os.path.abspath(path), modality, facts.st_size, facts.st_mtime_ns)


@functools.lru_cache(maxsize=_NUM_CACHED)
def _measure(path: str, modality: str, size: int, modified_ns: int) -> tuple[float, float]:
    find_stream: FindStream = find_video_stream if modality == "video" else find_audio_stream
    timeline = read_timeline(path)
    end = measure_end(path, timeline, find_stream)
    begin = 0.0
    if modality == "audio":
        with open_media(path) as container:
            times = _packet_times(container, find_stream(container), timeline, from_start=True)
            begin = next(times, (0.0, 0.0))[0]
    if begin >= end:
        raise MediaError(f"it has no {modality} that can be read")
    return begin, end


def measure_end(
    path: str | os.PathLike[str],
    timeline: Timeline,
    find_stream: FindStream,
    *,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> float:
    """Return where a stream of a file ends, in seconds on its timeline.

    Args:
        path: The file.
        timeline: Its timeline.
        find_stream: Returns the stream of the container, such as `find_video_stream`.
        on_progress: Called with 0.0 about every two seconds, as a sign of life.

    Raises:
        MediaError: The file cannot be opened, or has no packet of the stream.
    """
    with open_media(path) as container:
        stream = find_stream(container)
        if timeline.index is not None and stream.index in timeline.index.stop_seconds:
            return timeline.index.stop_seconds[stream.index] - timeline.origin_seconds
        if container.format.name in _SEARCHABLE_FORMATS:
            end = _end_by_seeking(container, stream, timeline)
            if end is not None:
                return end
    with open_media(path) as container:
        times = _packet_times(
            container, find_stream(container), timeline, from_start=True, on_progress=on_progress
        )
        end = max((stop for _, stop in times), default=None)
    if end is None:
        raise MediaError("no packet of it can be read")
    return end


def declared_stop_seconds(
    container: InputContainer, stream: VideoStream | AudioStream
) -> float | None:
    """Return the timestamp at which a stream ends, as the file declares it; None without one."""
    stops = []
    if stream.duration and stream.time_base:
        stops.append(float(((stream.start_time or 0) + stream.duration) * stream.time_base))
    if container.duration and container.duration > 0:
        stops.append(((container.start_time or 0) + container.duration) / av.time_base)
    return max(stops, default=None)


def last_frame_seconds(stream: VideoStream | AudioStream, stated_seconds: float) -> float:
    """Return how long a last frame lasts.

    Args:
        stream: Its stream.
        stated_seconds: Its duration as the container states it; 0 if it does not.
    """
    if isinstance(stream, AudioStream):
        return stated_seconds
    nominal, tick = frame_duration_seconds(stream), float(stream.time_base or 0)
    # A container with a clock in milliseconds rounds 41.67 to 41; the frame rate is exact.
    if stated_seconds <= 0 or abs(stated_seconds - nominal) <= tick:
        stated_seconds = nominal
    return min(stated_seconds, _MAX_LAST_FRAME_SECONDS)


def _end_by_seeking(
    container: InputContainer, stream: VideoStream | AudioStream, timeline: Timeline
) -> float | None:
    declared = declared_stop_seconds(container, stream)
    for tail_seconds in _TAIL_SECONDS:
        if declared is None or declared - timeline.origin_seconds <= tail_seconds:
            return None
        tick = float(stream.time_base or 1e-6)
        try:
            container.seek(round((declared - tail_seconds) / tick), stream=stream)
        except (av.FFmpegError, OverflowError):
            return None
        times = _packet_times(container, stream, timeline, from_start=False)
        end = max((stop for _, stop in times), default=None)
        if end is not None:
            return end
    return None


def _packet_times(
    container: InputContainer,
    stream: VideoStream | AudioStream,
    timeline: Timeline,
    *,
    from_start: bool,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> Iterator[tuple[float, float]]:
    """Yield start and stop of the packets that follow; nothing after a seek to unknown times."""
    to_continuous = timeline.continuous_clock()
    has_pts = timeline.has_pts or isinstance(stream, AudioStream)
    last_stop: float | None = 0.0 if from_start else None
    for packet in report_life(demux_packets(container, stream), on_progress):
        if packet.size == 0 or packet.is_corrupt or packet.is_discard:
            continue
        ticks = packet.pts if has_pts and packet.pts is not None else packet.dts
        if ticks is not None:
            start = to_continuous(float(ticks * packet.time_base)) - timeline.origin_seconds
        elif last_stop is not None:
            start = last_stop
        else:
            return
        seconds = last_frame_seconds(stream, float((packet.duration or 0) * packet.time_base))
        skipped, discarded = _padding_seconds(packet, stream)
        last_stop = start + seconds
        yield start + skipped, last_stop - discarded


def _padding_seconds(packet: Packet[Any], stream: VideoStream | AudioStream) -> tuple[float, float]:
    """Return how much of the start and of the end of an audio packet is an encoder's padding."""
    if not isinstance(stream, AudioStream) or not packet.has_sidedata("skip_samples"):
        return 0.0, 0.0
    samples = struct.unpack_from("<2I", bytes(packet.get_sidedata("skip_samples")))
    return samples[0] / (stream.rate or 1), samples[1] / (stream.rate or 1)
