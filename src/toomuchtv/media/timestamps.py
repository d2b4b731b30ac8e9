"""From timestamps in a container to seconds on the item's timeline.

Time zero of an item is the presentation time of its first frame, or its first sound if it has no
video. Most containers state when each frame is shown. MPEG-TS and MPEG-PS files are indexed first;
see `packet_index`. A frame without a timestamp follows the frame before it.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from toomuchtv.errors import MediaError
from toomuchtv.media.containers import (
    film_audio_tracks,
    find_audio_stream,
    find_video_stream,
    frame_duration_seconds,
    naming_errors,
    open_media,
)
from toomuchtv.media.decoding import decode_packet, demux_packets, flush_decoder, report_life
from toomuchtv.media.packet_index import ContinuousRange, IndexBuilder, PacketIndex, RangeTracker

_INDEXED_FORMATS = frozenset({"mpegts", "mpeg"})
# AVI stores frames in decoding order, without presentation times.
_FORMATS_WITHOUT_PTS = frozenset({"avi"})
_MAX_CACHED_TIMELINES = 64


@dataclass(frozen=True, slots=True)
class Position:
    """Where in a file decoding begins.

    Attributes:
        is_start: Whether it is the start of the file.
        range_index: The range between discontinuities that it lies in.
        keyframe: In a file with a `PacketIndex`, the number of the first keyframe packet of the
            main stream that is read from there on. None otherwise.
    """

    is_start: bool
    range_index: int = 0
    keyframe: int | None = None


START = Position(is_start=True, keyframe=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """How the timestamps of one file map to seconds on the item's timeline.

    Attributes:
        origin_seconds: Continuous time of the first presented frame, or of the first sound in a
            file without video.
        decode_delay_seconds: How much later the decoding times of frames are than their
            presentation times. Zero where the container has presentation times.
        has_pts: Whether the container stores presentation times.
        index: The index of an MPEG-TS or MPEG-PS file; None for other files.
    """

    origin_seconds: float = 0.0
    decode_delay_seconds: float = 0.0
    has_pts: bool = True
    index: PacketIndex | None = field(default=None, repr=False)

    @property
    def ranges(self) -> tuple[ContinuousRange, ...]:
        """The parts between discontinuities; empty if there is no discontinuity."""
        return self.index.ranges if self.index and len(self.index.ranges) > 1 else ()

    def continuous_clock(self, range_index: int = 0) -> Callable[[float], float]:
        """Return a function from timestamps to continuous times.

        It must be called with the timestamps of one stream in order, from `range_index` on.
        """
        if not self.ranges:
            return lambda timestamp: timestamp
        return RangeTracker(self.ranges, range_index)

    def video_clock(
        self, stream: VideoStream, position: Position = START
    ) -> Callable[[VideoFrame], float]:
        """Return a function from frames, in presentation order, to seconds on the timeline.

        In a file with an index, the timestamp of a frame is the number of its packet; see
        `PacketCounter`. A frame without a timestamp follows the frame before it by one frame
        duration. If it is the first frame after a seek, its time is unknown and the function
        returns infinity.
        """
        duration = frame_duration_seconds(stream)
        last = -duration if position.is_start else float("inf")

        def seconds_of(frame: VideoFrame) -> float:
            nonlocal last
            seconds = self._frame_seconds(frame)
            last = last + duration if seconds is None else seconds
            return last

        return seconds_of

    def _frame_seconds(self, frame: VideoFrame) -> float | None:
        if self.index is not None:
            known = frame.pts is not None and 0 <= frame.pts < len(self.index.seconds)
            seconds = float(self.index.seconds[frame.pts]) if known else float("nan")
            return None if math.isnan(seconds) else seconds - self.origin_seconds
        timestamp = _pts_seconds(frame) if self.has_pts else _dts_seconds(frame)
        if timestamp is None:
            return None
        return timestamp - self.decode_delay_seconds - self.origin_seconds

    def audio_clock(self, position: Position = START) -> Callable[[AudioFrame], float | None]:
        """Return a function from frames of one track, in order, to seconds on the timeline.

        A frame without a timestamp follows the frame before it. If it is the first frame after a
        seek, its time is unknown and the function returns None.
        """
        to_continuous = self.continuous_clock(position.range_index)
        stop: float | None = 0.0 if position.is_start else None

        def seconds_of(frame: AudioFrame) -> float | None:
            nonlocal stop
            seconds = stop
            if frame.pts is not None and frame.time is not None:
                seconds = to_continuous(frame.time) - self.origin_seconds
            if seconds is not None and frame.sample_rate > 0:
                stop = seconds + frame.samples / frame.sample_rate
            return seconds

        return seconds_of

    def seek(
        self, container: InputContainer, stream: VideoStream | AudioStream, seconds: float
    ) -> Position | None:
        """Seek to a keyframe at or before `seconds`.

        Returns:
            The position, or None if FFmpeg cannot seek. The container must then be opened again.
        """
        target = seconds + self.origin_seconds
        try:
            if self.index is not None:
                is_clear = isinstance(stream, AudioStream)
                entry = self.index.entry_before(target, is_clear=is_clear)
                if entry is None:
                    return None
                container.seek(entry.byte_position, unsupported_byte_offset=True)
                return Position(
                    is_start=False, range_index=entry.range_index, keyframe=entry.packet
                )
            tick = float(stream.time_base or 1e-6)
            container.seek(round(target / tick), stream=stream, backward=True)
        except (av.FFmpegError, OverflowError):
            return None
        return Position(is_start=False)


class PacketCounter:
    """Numbers the packets of the main stream of a file with an index, from a position on.

    The number becomes the timestamp of the packet, so that the decoder passes it on to the frame.
    """

    def __init__(self, index: PacketIndex, position: Position) -> None:
        self._index = index
        self._next = 0 if position.is_start else None
        self._keyframe = position.keyframe

    def number(self, packet: Packet[Any]) -> int | None:
        """Number a packet and return its number; None before the first keyframe.

        Before it, there may be the rest of a frame whose beginning was not read.
        """
        if self._next is None:
            if not packet.is_keyframe:
                return None
            self._next = self._keyframe
        elif packet.pos is not None and packet.pos >= 0:
            known = self._index.packet_at(packet.pos)
            self._next = self._next if known is None else known
        assert self._next is not None
        number, self._next = self._next, self._next + 1
        packet.pts, packet.dts = number, None
        return number


_timeline_cache: OrderedDict[tuple[str, int, int], Timeline] = OrderedDict()


def read_timeline(
    path: str | os.PathLike[str],
    container: InputContainer | None = None,
    *,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> Timeline:
    """Return the timeline of a file, with or without pictures.

    Time zero is the first presented frame, or the first sound in a file without video. The
    timelines of the last 64 files are cached.

    Args:
        path: The file, whose size and modification time are part of the cache's key.
        container: The same file, just opened. Its position afterwards is unspecified. By default,
            the file is opened here.
        on_progress: Called with 0.0 about every two seconds, as a sign of life: MPEG-TS and MPEG-PS
            files are read to their end.

    Raises:
        MediaError: The file cannot be opened, or neither a frame nor audio can be decoded.
    """
    if container is None:
        with naming_errors("cannot read", path), open_media(path) as opened:
            return read_timeline(path, opened, on_progress=on_progress)
    facts = os.stat(path)
    key = (os.path.abspath(path), facts.st_size, facts.st_mtime_ns)
    timeline = _timeline_cache.pop(key, None)
    if timeline is None:
        timeline = compute_timeline(container, on_progress=on_progress)
    _timeline_cache[key] = timeline
    while len(_timeline_cache) > _MAX_CACHED_TIMELINES:
        _timeline_cache.popitem(last=False)
    return timeline


def compute_timeline(
    container: InputContainer, *, on_progress: Callable[[float], None] = lambda seconds: None
) -> Timeline:
    """Compute the timeline of a container that was just opened; see `read_timeline`.

    MPEG-TS and MPEG-PS files are read to their end; of others the first frame is decoded.

    Raises:
        MediaError: Neither a frame nor audio can be decoded.
    """
    video, audio = _video_and_audio(container)
    main = video or audio
    assert main is not None
    builder: IndexBuilder | None = None
    streams = {stream.index: stream for stream in (video, audio) if stream is not None}
    if container.format.name in _INDEXED_FORMATS:
        seconds = frame_duration_seconds(video) if video else 0.0
        builder = IndexBuilder(main, seconds)
        audios = (container.streams.audio[track.index] for track in film_audio_tracks(container))
        streams |= {stream.index: stream for stream in audios}
    first = _FirstFrame(main)
    first_sound = _FirstFrame(audio) if audio else None
    on_damage = builder.lose_data if builder else lambda: None
    packets = demux_packets(container, *streams.values(), on_damage=on_damage)
    for packet in report_life(packets, on_progress):
        number = builder.push(packet) if builder else None
        if first.frame is None and packet.stream.index == main.index:
            if number is not None and video is not None:
                packet.pts, packet.dts = number, None
            first.push(packet)
        elif first_sound and first.frame is first_sound.frame is None:
            first_sound.push(packet)
        if first.frame is not None and builder is None:
            break
    if first.frame is None:
        first.frame = next(iter(flush_decoder(main)), None)
    index = builder.build() if builder else None
    if first.frame is None and video is not None and first_sound is not None:
        # There is a video stream, but it has no picture.
        return _timeline_of(first_sound, None, has_pts=True)
    has_pts = container.format.name not in _FORMATS_WITHOUT_PTS or video is None
    return _timeline_of(first, index, has_pts=has_pts)


class _FirstFrame:
    """The first frame of a stream that can be decoded."""

    def __init__(self, stream: VideoStream | AudioStream) -> None:
        self.frame: VideoFrame | AudioFrame | None = None
        self.keyframe_dts: float | None = None
        self._stream_index = stream.index

    def push(self, packet: Packet[Any]) -> None:
        """Decode the next packet of the file, if it belongs to the stream."""
        if packet.stream.index != self._stream_index:
            return
        self.frame = next(iter(decode_packet(packet)), None)
        if packet.is_keyframe and packet.dts is not None and packet.time_base is not None:
            seconds = float(packet.dts * packet.time_base)
            # The last keyframe packet up to the frame; the decoder may have read further.
            output_dts = None if self.frame is None else _dts_seconds(self.frame)
            if output_dts is None or seconds <= output_dts:
                self.keyframe_dts = seconds


def _timeline_of(first: _FirstFrame, index: PacketIndex | None, *, has_pts: bool) -> Timeline:
    frame = first.frame
    if frame is None:
        raise MediaError("no frame of it can be decoded")
    if index is not None:
        if isinstance(frame, VideoFrame):
            number = frame.pts or 0
            known = index.seconds[number:][~np.isnan(index.seconds[number:])]
            return Timeline(origin_seconds=float(known[0]), index=index)
        return Timeline(origin_seconds=_pts_seconds(frame) or 0.0, index=index)
    if has_pts:
        return Timeline(origin_seconds=_pts_seconds(frame) or 0.0)
    # A frame has the decoding time of the last packet that the decoder had read when it output the
    # frame. This is later than the time of the frame's packet by the decoder's delay, which is
    # constant. It is measured at the first frame, because that is the keyframe, whose packet is
    # known.
    output_dts = _dts_seconds(frame)
    delay = 0.0
    if output_dts is not None and first.keyframe_dts is not None:
        delay = max(0.0, output_dts - first.keyframe_dts)
    return Timeline(
        origin_seconds=(output_dts or 0.0) - delay, decode_delay_seconds=delay, has_pts=False
    )


def _video_and_audio(
    container: InputContainer,
) -> tuple[VideoStream | None, AudioStream | None]:
    """Return the streams that a viewer sees and hears; at most one of them is missing."""
    audio: AudioStream | None = None
    with contextlib.suppress(MediaError):
        audio = find_audio_stream(container)
    try:
        return find_video_stream(container), audio
    except MediaError:
        if audio is None:
            raise
        return None, audio


def _pts_seconds(frame: VideoFrame | AudioFrame) -> float | None:
    return None if frame.pts is None else frame.time


def _dts_seconds(frame: VideoFrame | AudioFrame) -> float | None:
    if frame.dts is None or frame.time_base is None:
        return None
    return float(frame.dts * frame.time_base)
