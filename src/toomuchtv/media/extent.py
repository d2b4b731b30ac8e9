"""Where the video and the audio of a file begin and end, measured by their packets.

What a file declares about its duration is not used: containers repeat the duration of the video for
all streams, and the durations of MP3 files without a header are guesses.
"""

from __future__ import annotations

import functools
import os
from typing import Literal

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from toomuchtv.errors import MediaError
from toomuchtv.media.containers import (
    demux_packets,
    find_audio_stream,
    find_video_stream,
    frame_duration_seconds,
    naming_errors,
    open_media,
)
from toomuchtv.media.timestamps import Timeline, read_timeline

_NUM_CACHED = 65_536


def measure_extent(
    path: str | os.PathLike[str], modality: Literal["video", "audio"]
) -> tuple[float, float]:
    """Return where the video or the audio of a file begins and ends on its timeline, in seconds.

    All packets of the file are read, but not decoded. The results of the last files are cached.

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
    timeline = read_timeline(path)
    with open_media(path) as container:
        return _extent_of_packets(container, modality, timeline)


def _extent_of_packets(
    container: InputContainer, modality: str, timeline: Timeline
) -> tuple[float, float]:
    if modality == "video":
        video = find_video_stream(container)
        stream: VideoStream | AudioStream = video
        default = frame_duration_seconds(video)
        has_pts, delay = timeline.has_pts, timeline.decode_delay_seconds
    else:
        stream = find_audio_stream(container)
        default = 0.0
        has_pts, delay = True, 0.0
    to_continuous = timeline.continuous_clock()
    begin, end = float("inf"), float("-inf")
    for packet in demux_packets(container, stream):
        ticks = packet.pts if has_pts and packet.pts is not None else packet.dts
        if ticks is None or packet.time_base is None or packet.size == 0:
            continue
        seconds = to_continuous(float(ticks * packet.time_base) - delay) - timeline.origin_seconds
        duration = float(packet.duration * packet.time_base) if packet.duration else default
        begin, end = min(begin, seconds), max(end, seconds + duration)
    if begin >= end:
        raise MediaError(f"it has no {modality} that can be read")
    return begin, end
