"""An index of MPEG-TS and MPEG-PS files, made by reading all of their packets once.

These formats have no index, and their timestamps may be discontinuous: a recorder was stopped and
started again, two recordings were joined, or an advertisement was inserted. Frames then follow each
other in file order, the first frame after the discontinuity one frame duration after the last frame
before it, and the audio is shifted together with the video:

    timestamps          5.0 ---- 8.0 | 1.2 ---- 9.7 | 3600.0 ----
    range_index              0       |      1       |     2
    continuous time     5.0 ---- 8.0 - 8.04 --------- 16.58 -----

A discontinuity is any step back, or a step forward of more than `MAX_STEP_SECONDS` that the audio
makes too. If the container broke off before the step, data was lost, and time goes on.

The index has the time of every packet of the video. A reader that starts at a byte of the file
counts packets from there and does not need their timestamps, which may be missing or wrong: several
frames of an MPEG-PS file may share one packet (PES) with one timestamp, and after a seek FFmpeg
gives it to the rest of the frame that the packet begins with.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from toomuchtv.media.picture_order import mend_times, temporal_reference

MAX_STEP_SECONDS = 5.0
_REORDERING_SECONDS = 0.25  # timestamps that step back by less are out of order, not discontinuous
# Audio may begin this much before the first frame of its range, and end this much after the last.
_AUDIO_OFFSET_SECONDS = 2.0
# Decoding of audio starts no nearer than this after a discontinuity: audio and video packets of one
# time are stored a little apart, so that nearer to it audio of the range before is read.
_CLEAR_SECONDS = 1.5


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

    @property
    def continuous_start(self) -> float:
        """Continuous time of its first frame."""
        return self.start_seconds + self.offset_seconds

    @property
    def continuous_stop(self) -> float:
        """Continuous time at which its last frame ends."""
        return self.stop_seconds + self.offset_seconds

    def may_contain(self, timestamp: float) -> bool:
        """Return whether video or audio with this timestamp can belong to the range."""
        margin = _AUDIO_OFFSET_SECONDS
        return self.start_seconds - margin <= timestamp <= self.stop_seconds + margin


class RangeTracker:
    """Adds the offset of the current range to the timestamps of one stream, in order."""

    def __init__(self, ranges: tuple[ContinuousRange, ...], range_index: int = 0) -> None:
        self._ranges = ranges
        self._index = range_index
        self._last: float | None = None

    def __call__(self, timestamp: float) -> float:
        """Return the continuous time of the next timestamp."""
        steps_back = self._last is not None and timestamp < self._last - _REORDERING_SECONDS
        if steps_back or not self._ranges[self._index].may_contain(timestamp):
            for index in range(self._index + 1, len(self._ranges)):
                if self._ranges[index].may_contain(timestamp):
                    self._index = index
                    break
        self._last = timestamp
        return timestamp + self._ranges[self._index].offset_seconds


@dataclass(frozen=True, slots=True)
class Entry:
    """A byte of a file from which decoding can start.

    Attributes:
        byte_position: The byte.
        packet: Number of the first keyframe packet of the main stream from there on.
        range_index: The range that this packet is in.
    """

    byte_position: int
    packet: int
    range_index: int


@dataclass(frozen=True, slots=True, eq=False)
class PacketIndex:
    """Times and positions of the packets of a file's main stream, in file order.

    Attributes:
        ranges: The parts between discontinuities, at least one.
        seconds: Continuous time of each packet, float64 `[N]`; NaN without a timestamp.
        keyframes: Numbers of the keyframe packets, ascending, int64.
        starts: Numbers of the packets with a known byte position, ascending, int64.
        positions: Byte positions of the packets in `starts`, int64.
        stop_seconds: Continuous time at which each stream ends, by the stream's index.
    """

    ranges: tuple[ContinuousRange, ...]
    seconds: NDArray[np.float64]
    keyframes: NDArray[np.int64]
    starts: NDArray[np.int64]
    positions: NDArray[np.int64]
    stop_seconds: dict[int, float]

    def entry_before(self, seconds: float, *, is_clear: bool) -> Entry | None:
        """Return the last place from which decoding reaches a continuous time.

        Args:
            seconds: The time.
            is_clear: Stay away from the start of a range, where audio of the range before is
                stored.

        Returns:
            The place, or None if it is the start of the file.
        """
        times = self.seconds[self.keyframes]
        for row in np.flatnonzero(times <= seconds)[::-1]:
            keyframe = int(self.keyframes[row])
            start = int(np.searchsorted(self.starts, keyframe, "right")) - 1
            if start < 0:
                break
            # The first keyframe packet that is read from there on, which may be an earlier one.
            packet = int(self.keyframes[np.searchsorted(self.keyframes, self.starts[start])])
            number = self._range_of(packet)
            into_range = self.seconds[packet] - self.ranges[number].continuous_start
            if number == 0 or not is_clear or into_range >= _CLEAR_SECONDS:
                return Entry(int(self.positions[start]), packet, number)
        return None

    def packet_at(self, byte_position: int) -> int | None:
        """Return the number of the packet at a byte position."""
        row = int(np.searchsorted(self.positions, byte_position))
        if row < len(self.positions) and self.positions[row] == byte_position:
            return int(self.starts[row])
        return None

    def _range_of(self, packet: int) -> int:
        seconds = float(self.seconds[packet])
        stops = [span.continuous_stop for span in self.ranges]
        return min(bisect.bisect_right(stops, seconds), len(self.ranges) - 1)


class IndexBuilder:
    """Builds the index of a file from all of its packets in file order.

    Discontinuities are found in decoding times, which increase from packet to packet, whereas
    presentation times are reordered.

    Args:
        stream: The main stream: the video, or the audio of a file without video.
        frame_seconds: Nominal duration of its frames.
    """

    def __init__(self, stream: VideoStream | AudioStream, frame_seconds: float) -> None:
        self._stream_index = stream.index
        self._frame_seconds = frame_seconds
        self._latest_dts: float | None = None  # of video, and of audio that continues with it
        self._last_video_dts: float | None = None
        self._num_after_loss = 0  # packets for which a step may be due to lost data
        self._first_place: tuple[float, int] | None = None  # time and byte position of packets
        self._last_place: tuple[float, int] | None = None
        self._num_ranges = 0
        self._pts: list[float] = []  # of each packet of the main stream
        self._references: list[int | None] = []
        self._range_of: list[int] = []
        self._keyframes: list[int] = []
        self._starts: list[int] = []
        self._positions: list[int] = []
        # First time, last time and end of each continuous part of the other streams.
        self._others: dict[int, list[tuple[float, float, float]]] = {}

    def lose_data(self) -> None:
        """Note that the container broke off before the next packet."""
        # The packet before the hole is complete only when the next one begins.
        self._num_after_loss = 3

    def push(self, packet: Packet[Any]) -> int | None:
        """Take the next packet in file order; return its number if it is of the main stream."""
        if packet.size == 0:
            return None
        ticks = packet.dts if packet.dts is not None else packet.pts
        dts = None if ticks is None or packet.time_base is None else float(ticks * packet.time_base)
        if packet.stream.index != self._stream_index:
            if dts is not None:
                self._push_other(packet, dts)
            return None
        number = len(self._pts)
        self._references.append(temporal_reference(packet))
        if packet.is_keyframe:
            self._keyframes.append(number)
        if packet.pos is not None and packet.pos >= 0:
            self._starts.append(number)
            self._positions.append(packet.pos)
        if dts is None:
            self._pts.append(float("nan"))
        else:
            self._pts.append(dts if packet.pts is None else float(packet.pts * packet.time_base))
            self._follow(dts, packet.pos)
        self._range_of.append(max(0, self._num_ranges - 1))
        return number

    def _push_other(self, packet: Packet[Any], dts: float) -> None:
        if self._latest_dts is not None and abs(dts - self._latest_dts) <= MAX_STEP_SECONDS:
            self._latest_dts = max(self._latest_dts, dts)
        stop = dts + float((packet.duration or 0) * packet.time_base)
        times = self._others.setdefault(packet.stream.index, [])
        if times and times[-1][1] - _REORDERING_SECONDS <= dts <= times[-1][2] + MAX_STEP_SECONDS:
            times[-1] = times[-1][0], dts, max(stop, times[-1][2])
        else:
            times.append((dts, dts, stop))

    def _follow(self, dts: float, position: int | None) -> None:
        if self._latest_dts is None or self._is_discontinuous(dts, position):
            self._num_ranges += 1
            self._latest_dts = dts
            self._first_place = None
        else:
            self._latest_dts = max(self._latest_dts, dts)
        self._last_video_dts = dts
        self._num_after_loss = max(0, self._num_after_loss - 1)
        if position is not None and position >= 0:
            self._last_place = dts, position
            self._first_place = self._first_place or self._last_place

    def _is_discontinuous(self, dts: float, position: int | None) -> bool:
        assert self._last_video_dts is not None
        assert self._latest_dts is not None
        if dts < self._last_video_dts - _REORDERING_SECONDS:
            return True
        # If the video pauses while the audio continues (a still image), `_latest_dts` has advanced
        # with the audio, and the step of the video is not a discontinuity.
        if dts <= self._latest_dts + MAX_STEP_SECONDS:
            return False
        return self._num_after_loss == 0 or not self._was_lost(dts, position)

    def _was_lost(self, dts: float, position: int | None) -> bool:
        """Return whether the bytes since the last packet may have held the frames of a step."""
        if self._first_place is None or self._last_place is None or position is None:
            return False
        seconds = self._last_place[0] - self._first_place[0]
        rate = (self._last_place[1] - self._first_place[1]) / max(seconds, 1e-3)
        num_lost = position - self._last_place[1]
        return dts - self._last_place[0] <= MAX_STEP_SECONDS + 3 * num_lost / max(rate, 1.0)

    def build(self) -> PacketIndex | None:
        """Return the index, or None if no packet has a timestamp."""
        if not self._num_ranges:
            return None
        pts, range_of = np.array(self._pts), np.array(self._range_of, np.int64)
        pts = mend_times(pts, self._references, self._keyframes, self._frame_seconds)
        ranges: list[ContinuousRange] = []
        for number in range(self._num_ranges):
            times = np.sort(pts[(range_of == number) & ~np.isnan(pts)])
            duration = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
            first, stop = float(times[0]), float(times[-1]) + (duration or self._frame_seconds)
            # The range starts where the one before stops, in continuous time.
            offset = ranges[-1].continuous_stop - first if ranges else 0.0
            ranges.append(ContinuousRange(first, stop, offset))
        stops = {self._stream_index: ranges[-1].continuous_stop}
        for index, parts in self._others.items():
            to_continuous = RangeTracker(tuple(ranges))
            ends = []
            for first, last, stop in parts:
                to_continuous(first)  # the tracker must not miss the start of a part
                ends.append(to_continuous(last) + stop - last)
            stops[index] = max(ends)
        return PacketIndex(
            ranges=tuple(ranges),
            seconds=pts + np.array([span.offset_seconds for span in ranges])[range_of],
            keyframes=np.array(self._keyframes, np.int64),
            starts=np.array(self._starts, np.int64),
            positions=np.array(self._positions, np.int64),
            stop_seconds=stops,
        )
