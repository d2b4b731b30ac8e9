"""From timestamps in a container to seconds on the item's timeline.

Time zero of an item is the presentation time of its first frame. In MPEG-TS and MPEG-PS files the
timestamps may be discontinuous: a recorder was stopped and started again, two recordings were
joined, or an advertisement was inserted. Frames then follow each other in file order, the first
frame after the discontinuity one frame duration after the last frame before it, and the audio is
shifted together with the video:

    timestamps          5.0 ---- 8.0 | 1.2 ---- 9.7 | 3600.0 ----
    range_index              0       |      1       |     2
    continuous time     5.0 ---- 8.0 - 8.04 --------- 16.58 -----

A discontinuity is any step back, or a step forward of more than `MAX_STEP_SECONDS` that the audio
makes too. The other container formats state when each frame is shown and are not searched.
"""

from __future__ import annotations

import bisect
import contextlib
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from toomuchtv.errors import MediaError
from toomuchtv.media.containers import (
    decode_packet,
    demux_packets,
    film_audio_tracks,
    find_audio_stream,
    find_video_stream,
    frame_duration_seconds,
    naming_errors,
    open_media,
)

MAX_STEP_SECONDS = 5.0
_REORDERING_SECONDS = 0.25  # timestamps that step back by less are out of order, not discontinuous
# Audio may begin this much before the first frame of its range, and end this much after the last.
_AUDIO_OFFSET_SECONDS = 2.0
# Decoding starts no nearer than this after a discontinuity: audio and video packets of one time
# are stored a little apart, so that nearer to it audio of the range before is read.
_CLEAR_SECONDS = 1.5
_DISCONTINUOUS_FORMATS = frozenset({"mpegts", "mpeg"})
# AVI stores frames in decoding order, without presentation times.
_FORMATS_WITHOUT_PTS = frozenset({"avi"})
_MAX_CACHED_TIMELINES = 64


@dataclass(frozen=True, slots=True)
class ContinuousRange:
    """A part of a file between two discontinuities.

    Attributes:
        start_seconds: Timestamp of its first frame.
        stop_seconds: Timestamp at which its last frame ends.
        offset_seconds: Added to a timestamp of this range to get its continuous time.
    """

    start_seconds: float
    stop_seconds: float
    offset_seconds: float

    def may_contain(self, timestamp: float) -> bool:
        """Return whether video or audio with this timestamp can belong to the range."""
        margin = _AUDIO_OFFSET_SECONDS
        return self.start_seconds - margin <= timestamp <= self.stop_seconds + margin


@dataclass(frozen=True, slots=True)
class SeekPoint:
    """The position of a keyframe: its continuous time, its byte and its range."""

    seconds: float
    byte_position: int
    range_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """How the timestamps of one file map to seconds on the item's timeline.

    Attributes:
        origin_seconds: Continuous time of the first presented frame.
        decode_delay_seconds: How much later the decoding times of frames are than their
            presentation times. Zero where the container has presentation times.
        has_pts: Whether the container stores presentation times.
        ranges: The parts between discontinuities; empty if there is no discontinuity.
        seek_points: Keyframes in order of time; empty if there is no discontinuity.
    """

    origin_seconds: float = 0.0
    decode_delay_seconds: float = 0.0
    has_pts: bool = True
    ranges: tuple[ContinuousRange, ...] = ()
    seek_points: tuple[SeekPoint, ...] = field(default=(), repr=False)

    def continuous_clock(self, range_index: int = 0) -> Callable[[float], float]:
        """Return a function from timestamps to continuous times.

        It must be called with the timestamps of one stream in order, from `range_index` on.
        """
        if not self.ranges:
            return lambda timestamp: timestamp
        return _RangeTracker(self.ranges, range_index)

    def video_clock(
        self, stream: VideoStream, range_index: int = 0
    ) -> Callable[[VideoFrame], float]:
        """Return a function from frames, in presentation order, to seconds on the timeline.

        A frame without a timestamp follows the frame before it by one frame duration. If it is the
        first frame after a seek, its time is unknown and the function returns infinity.
        """
        duration = frame_duration_seconds(stream)
        to_continuous = self.continuous_clock(range_index)
        last = float("inf")

        def seconds_of(frame: VideoFrame) -> float:
            nonlocal last
            timestamp = _pts_seconds(frame) if self.has_pts else _dts_seconds(frame)
            if timestamp is None:
                last += duration
            else:
                last = to_continuous(timestamp - self.decode_delay_seconds) - self.origin_seconds
            return last

        return seconds_of

    def audio_clock(self, range_index: int = 0) -> Callable[[AudioFrame], float | None]:
        """Return a function from frames of one track to seconds; None for a frame without a pts."""
        to_continuous = self.continuous_clock(range_index)

        def seconds_of(frame: AudioFrame) -> float | None:
            return None if frame.time is None else to_continuous(frame.time) - self.origin_seconds

        return seconds_of

    def seek(
        self, container: InputContainer, stream: VideoStream | AudioStream, seconds: float
    ) -> int:
        """Seek to a keyframe at or before `seconds`, and return the range that it belongs to.

        Raises:
            av.FFmpegError: The container does not support seeking.
        """
        target = seconds + self.origin_seconds
        if not self.ranges:
            tick = float(stream.time_base or 1e-6)
            container.seek(round(target / tick), stream=stream, backward=True)
            return 0
        # Timestamps are ambiguous in such a file, so that only a seek to a byte is exact.
        stop = bisect.bisect_right(self.seek_points, target, key=lambda point: point.seconds)
        for point in reversed(self.seek_points[:stop]):
            in_range = self.ranges[point.range_index]
            timestamp = point.seconds - in_range.offset_seconds
            is_clear = timestamp - in_range.start_seconds >= _CLEAR_SECONDS
            if point.range_index == 0 or is_clear:
                container.seek(point.byte_position, unsupported_byte_offset=True)
                return point.range_index
        container.seek(0, unsupported_byte_offset=True)
        return 0


class _RangeTracker:
    """Adds the offset of the current range to the timestamps of one stream."""

    def __init__(self, ranges: tuple[ContinuousRange, ...], range_index: int) -> None:
        self._ranges = ranges
        self._index = range_index
        self._last: float | None = None

    def __call__(self, timestamp: float) -> float:
        steps_back = self._last is not None and timestamp < self._last - _REORDERING_SECONDS
        if steps_back or not self._ranges[self._index].may_contain(timestamp):
            for index in range(self._index + 1, len(self._ranges)):
                if self._ranges[index].may_contain(timestamp):
                    self._index = index
                    break
        self._last = timestamp
        return timestamp + self._ranges[self._index].offset_seconds


_timeline_cache: OrderedDict[tuple[str, int, int], Timeline] = OrderedDict()


def read_timeline(
    path: str | os.PathLike[str], container: InputContainer | None = None
) -> Timeline:
    """Return the timeline of a file, with or without pictures.

    Time zero is the first presented frame, or the first sound in a file without video. The
    timelines of the last 64 files are cached.

    Args:
        path: The file, whose size and modification time are part of the cache's key.
        container: The same file, just opened. Its position afterwards is unspecified. By default,
            the file is opened here.

    Raises:
        MediaError: The file cannot be opened, or neither a frame nor audio can be decoded.
    """
    if container is None:
        with naming_errors("cannot read", path), open_media(path) as opened:
            return read_timeline(path, opened)
    facts = os.stat(path)
    key = (os.path.abspath(path), facts.st_size, facts.st_mtime_ns)
    timeline = _timeline_cache.pop(key, None)
    if timeline is None:
        timeline = compute_timeline(container)
    _timeline_cache[key] = timeline
    while len(_timeline_cache) > _MAX_CACHED_TIMELINES:
        _timeline_cache.popitem(last=False)
    return timeline


def compute_timeline(container: InputContainer) -> Timeline:
    """Compute the timeline of a container that was just opened; see `read_timeline`.

    MPEG-TS and MPEG-PS files are read to their end; of others the first frame is decoded.

    Raises:
        MediaError: Neither a frame nor audio can be decoded.
    """
    video, audio = _video_and_audio(container)
    main = video or audio
    assert main is not None
    has_pts = container.format.name not in _FORMATS_WITHOUT_PTS or video is None
    may_jump = container.format.name in _DISCONTINUOUS_FORMATS
    search = _DiscontinuitySearch(main)
    first: VideoFrame | AudioFrame | None = None
    first_sound: AudioFrame | None = None
    keyframe_dts: float | None = None
    streams = {stream.index: stream for stream in (video, audio) if stream is not None}
    if may_jump:
        audios = (container.streams.audio[track.index] for track in film_audio_tracks(container))
        streams |= {stream.index: stream for stream in audios}
    for packet in demux_packets(container, *streams.values()):
        if may_jump:
            search.push(packet)
        if first is None and packet.stream.index == main.index:
            first = next(iter(decode_packet(packet)), None)
            keyframe_dts = _latest_keyframe_dts(packet, first, keyframe_dts)
        elif first is None and first_sound is None and packet.stream is audio:
            first_sound = next(iter(decode_packet(packet)), None)
        if first is not None and not may_jump:
            break
    ranges, seek_points = search.result()
    if first is None:
        # There is a video stream, but it has no picture.
        first, has_pts = first_sound, True
        ranges, seek_points = (), ()
    if first is None:
        raise MediaError("no frame of it can be decoded")
    if has_pts:
        origin = _pts_seconds(first) or 0.0
        return Timeline(origin_seconds=origin, ranges=ranges, seek_points=seek_points)
    # A frame has the decoding time of the last packet that the decoder had read when it output the
    # frame. This is later than the time of the frame's packet by the decoder's delay, which is
    # constant. It is measured at the first frame, because that is the keyframe, whose packet is
    # known.
    output_dts = _dts_seconds(first)
    delay = 0.0
    if output_dts is not None and keyframe_dts is not None:
        delay = max(0.0, output_dts - keyframe_dts)
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


def _latest_keyframe_dts(
    packet: Packet[Any], first: VideoFrame | AudioFrame | None, latest: float | None
) -> float | None:
    """Return the decoding time of the last keyframe packet up to the first decoded frame."""
    if not packet.is_keyframe or packet.dts is None or packet.time_base is None:
        return latest
    seconds = float(packet.dts * packet.time_base)
    output_dts = None if first is None else _dts_seconds(first)
    return latest if output_dts is not None and seconds > output_dts else seconds


def _pts_seconds(frame: VideoFrame | AudioFrame) -> float | None:
    return None if frame.pts is None else frame.time


def _dts_seconds(frame: VideoFrame | AudioFrame) -> float | None:
    if frame.dts is None or frame.time_base is None:
        return None
    return float(frame.dts * frame.time_base)


class _DiscontinuitySearch:
    """Finds the discontinuities of a file from all of its packets, and records its keyframes.

    Discontinuities are found in decoding times, which increase from packet to packet, whereas
    presentation times are reordered.
    """

    def __init__(self, stream: VideoStream | AudioStream) -> None:
        self._stream_index = stream.index
        self._frame_duration = (
            frame_duration_seconds(stream) if isinstance(stream, VideoStream) else 0.0
        )
        self._latest_dts: float | None = None  # of video, and of audio that continues with it
        self._last_video_dts: float | None = None
        self._spans: list[tuple[float, float, int]] = []  # first pts, last pts, number of frames
        self._keyframes: list[tuple[float, int, int]] = []  # pts, byte position, range index

    def push(self, packet: Packet[Any]) -> None:
        """Take the next packet in file order."""
        ticks = packet.dts if packet.dts is not None else packet.pts
        if ticks is None or packet.time_base is None:
            return
        dts = float(ticks * packet.time_base)
        if packet.stream.index != self._stream_index:
            if self._latest_dts is not None and abs(dts - self._latest_dts) <= MAX_STEP_SECONDS:
                self._latest_dts = max(self._latest_dts, dts)
            return
        pts = dts if packet.pts is None else float(packet.pts * packet.time_base)
        if self._latest_dts is None or self._is_discontinuous(dts):
            self._spans.append((pts, pts, 1))
            self._latest_dts = dts
        else:
            first, last, count = self._spans[-1]
            self._spans[-1] = (min(first, pts), max(last, pts), count + 1)
            self._latest_dts = max(self._latest_dts, dts)
        self._last_video_dts = dts
        if packet.is_keyframe and packet.pos is not None and packet.pos >= 0:
            self._keyframes.append((pts, packet.pos, len(self._spans) - 1))

    def _is_discontinuous(self, dts: float) -> bool:
        assert self._last_video_dts is not None
        assert self._latest_dts is not None
        # If the video pauses while the audio continues (a still image), `_latest_dts` has advanced
        # with the audio, and the step of the video is not a discontinuity.
        return (
            dts < self._last_video_dts - _REORDERING_SECONDS
            or dts > self._latest_dts + MAX_STEP_SECONDS
        )

    def result(self) -> tuple[tuple[ContinuousRange, ...], tuple[SeekPoint, ...]]:
        """Return the ranges and the keyframes; both are empty if there is no discontinuity."""
        if len(self._spans) < 2:
            return (), ()
        ranges: list[ContinuousRange] = []
        for first, last, count in self._spans:
            duration = (last - first) / (count - 1) if count > 1 else self._frame_duration
            # The range starts where the one before stops, in continuous time.
            offset = ranges[-1].stop_seconds + ranges[-1].offset_seconds - first if ranges else 0.0
            ranges.append(ContinuousRange(first, last + duration, offset))
        points = [
            SeekPoint(pts + ranges[index].offset_seconds, byte_position, index)
            for pts, byte_position, index in self._keyframes
        ]
        return tuple(ranges), tuple(sorted(points, key=lambda point: point.seconds))


class FrameSampler:
    """Selects, from frames in presentation order, the frame displayed at each requested time.

    A frame is displayed from its timestamp until the timestamp of the next frame. The first frame
    is displayed before its timestamp too, and the last one until `close`.

        frames          |--a--|-----b-----|--c--|
        requested    ^     ^     ^    ^      ^
        selected     a     a     b    b      c

    Args:
        times: The requested times in seconds, ascending; may be endless.
        tolerance_seconds: How much later than requested a timestamp may be because it was rounded.

    Attributes:
        next_seconds: The next requested time; None if a frame was selected for every one.
    """

    def __init__(self, times: Iterator[float], *, tolerance_seconds: float) -> None:
        self._times = times
        self._tolerance = tolerance_seconds
        self.next_seconds: float | None = next(times, None)
        self._displayed: VideoFrame | None = None

    @property
    def is_complete(self) -> bool:
        """Whether a frame was selected for every requested time."""
        return self.next_seconds is None

    def push(self, frame: VideoFrame, seconds: float) -> Iterator[VideoFrame]:
        """Take the next frame; yield the one before once per requested time that it covers."""
        if self._displayed is not None:
            yield from self._select_until(seconds - self._tolerance)
        self._displayed = frame

    def close(self, stop_seconds: float = float("inf")) -> Iterator[VideoFrame]:
        """Yield the last frame once per remaining requested time before `stop_seconds`."""
        if self._displayed is not None:
            yield from self._select_until(stop_seconds - self._tolerance)

    def _select_until(self, stop_seconds: float) -> Iterator[VideoFrame]:
        assert self._displayed is not None
        while self.next_seconds is not None and self.next_seconds < stop_seconds:
            yield self._displayed
            self.next_seconds = next(self._times, None)


def timestamp_tolerance(stream: VideoStream) -> float:
    """Return by how many seconds a timestamp may be off because it was rounded to a tick."""
    tick = float(stream.time_base) if stream.time_base else 0.0
    return min(max(tick, 1e-6), 0.002)
