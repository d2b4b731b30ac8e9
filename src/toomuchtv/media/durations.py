"""How long the video and the audio of a file last, measured from its packets.

What a file declares is never believed: it may have been cut, its header may count another track,
and a rate may stand for a duration. All durations of the project come from here: those of the
catalog, of evaluated clips and of proxies.

Formats with an index, or that can be searched for a time, are read from a few seconds before their
declared end, and from further back if no packet of the stream is there. MPEG-TS and MPEG-PS files
were read to their end for the timeline. All other formats (such as MP3, ADTS and raw video) are
read to their end, without decoding.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import Any

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
from toomuchtv.media.decoding import demux_packets
from toomuchtv.media.timestamps import Timeline, read_timeline

# Formats in which a seek leads to exact timestamps, by FFmpeg's names.
_SEARCHABLE_FORMATS = frozenset(
    {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "asf", "flv", "wav", "w64", "nut", "mxf"}
)
_TAIL_SECONDS = (5.0, 20.0, 80.0, 320.0, 1280.0)
_MAX_LAST_FRAME_SECONDS = 10.0

FindStream = Callable[[InputContainer], VideoStream | AudioStream]


def video_duration_seconds(path: str | os.PathLike[str]) -> float:
    """Return where the last frame of a file's video ends, in seconds on its timeline.

    Raises:
        MediaError: The file cannot be opened or has no video.
    """
    return measure_duration(path, read_timeline(path), find_video_stream)


def audio_duration_seconds(path: str | os.PathLike[str]) -> float:
    """Return where a file's audio ends, in seconds on its timeline.

    Raises:
        MediaError: The file cannot be opened or has no audio that can be decoded.
    """
    return measure_duration(path, read_timeline(path), find_audio_stream)


def measure_duration(
    path: str | os.PathLike[str], timeline: Timeline, find_stream: FindStream
) -> float:
    """Return where a stream of a file ends, in seconds on its timeline.

    Args:
        path: The file.
        timeline: Its timeline.
        find_stream: Returns the stream of the container, such as `find_video_stream`.

    Raises:
        MediaError: The file cannot be opened, or has no packet of the stream.
    """
    with naming_errors("cannot read", path):
        with open_media(path) as container:
            stream = find_stream(container)
            if timeline.index is not None and stream.index in timeline.index.stop_seconds:
                return timeline.index.stop_seconds[stream.index] - timeline.origin_seconds
            if container.format.name in _SEARCHABLE_FORMATS:
                end = _end_by_seeking(container, stream, timeline)
                if end is not None:
                    return end
        with open_media(path) as container:
            end = _last_end(container, find_stream(container), timeline, from_start=True)
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
        end = _last_end(container, stream, timeline, from_start=False)
        if end is not None:
            return end
    return None


def _last_end(
    container: InputContainer,
    stream: VideoStream | AudioStream,
    timeline: Timeline,
    *,
    from_start: bool,
) -> float | None:
    """Return the latest end of the packets that follow; None if there is none with a time."""
    latest: float | None = None
    last_stop: float | None = 0.0 if from_start else None
    for packet, seconds in _complete_packets(container, stream):
        ticks = packet.dts if packet.pts is None or not timeline.has_pts else packet.pts
        if ticks is not None:
            start = float(ticks * packet.time_base) - timeline.origin_seconds
        elif last_stop is not None:
            start = last_stop
        else:
            return None
        last_stop = start + seconds
        latest = last_stop if latest is None else max(latest, last_stop)
    return latest


def _complete_packets(
    container: InputContainer, stream: VideoStream | AudioStream
) -> Iterator[tuple[Packet[Any], float]]:
    """Yield the whole packets of a stream with their durations in seconds."""
    for packet in demux_packets(container, stream):
        if packet.size == 0 or packet.is_corrupt or packet.is_discard:
            continue
        seconds = last_frame_seconds(stream, float((packet.duration or 0) * packet.time_base))
        yield packet, seconds - _discarded_seconds(packet, stream)


def _discarded_seconds(packet: Packet[Any], stream: VideoStream | AudioStream) -> float:
    """Return how much of the end of an audio packet is padding of the encoder."""
    if not isinstance(stream, AudioStream) or not packet.has_sidedata("skip_samples"):
        return 0.0
    (num_samples,) = struct.unpack_from("<I", bytes(packet.get_sidedata("skip_samples")), 4)
    return float(num_samples / (stream.rate or 1))
