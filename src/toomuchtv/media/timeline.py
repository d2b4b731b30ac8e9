"""The film's own timeline, made of the container's clock: where it begins, and where it was cut.

Time zero is the first presented picture. A container's clock may jump in the middle: a recorder
was stopped and started again, two recordings were joined, an advertisement was put in. Pictures and
sound then go on in the order in which they are stored, the first picture after the jump one frame
after the last one before it, and the sound moves with the pictures:

    container's clock   5.0 ---- 8.0 | 1.2 ---- 9.7 | 3600.0 ----
    stretch                  0       |      1       |     2
    mended clock        5.0 ---- 8.0 - 8.04 --------- 16.58 -----

A jump is any step back, or a step on by more than `JUMP_SECONDS` that the sound takes too. Only
MPEG-TS and MPEG-PS files are looked through for it: the others state when each picture is shown.
"""

from __future__ import annotations

import bisect
import contextlib
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from toomuchtv.errors import MediaError
from toomuchtv.media.pictures import picture_stream

JUMP_SECONDS = 5.0
_BACK_SECONDS = 0.25  # less is disorder, not a jump
_SLACK_SECONDS = 2.0  # by which sound may begin before its stretch's first picture or outlast it
_CLEAR_SECONDS = 1.5  # reading starts no nearer after a jump: sound is stored a little apart
_JUMPING_FORMATS = frozenset({"mpegts", "mpeg"})
# AVI stores pictures in decoding order and no presentation times.
_UNTIMED_FORMATS = frozenset({"avi"})

_MAX_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a file over which its clock runs on, by that clock."""

    start_seconds: float
    stop_seconds: float
    shift_seconds: float  # what to add for the mended clock

    def holds(self, seconds: float) -> bool:
        """Whether a picture or sound of that time can belong to it."""
        return self.start_seconds - _SLACK_SECONDS <= seconds <= self.stop_seconds + _SLACK_SECONDS


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a keyframe lies: its time on the mended clock, its byte and its stretch."""

    seconds: float
    byte: int
    stretch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """How the times in one file become times of the film.

    Attributes:
        origin_seconds: The mended clock at time zero.
        lag_seconds: By how much the times of pictures run late for being those of decoding.
        untimed: Whether pictures have no times but those of decoding.
        stretches: The parts between jumps; none where the clock does not jump.
        entries: Keyframes to start reading from; none where the clock does not jump.
    """

    origin_seconds: float
    lag_seconds: float = 0.0
    untimed: bool = False
    stretches: tuple[Stretch, ...] = ()
    entries: tuple[Entry, ...] = field(default=(), repr=False)

    def mended(self, stretch: int = 0) -> Callable[[float], float]:
        """Make the function from one stream's times, in order from a stretch on, to mended ones."""
        if not self.stretches:
            return lambda seconds: seconds
        return _Mended(self.stretches, stretch)

    def picture_clock(self, stream: VideoStream, stretch: int = 0) -> Callable[[VideoFrame], float]:
        """Make the clock that gives frames, in presentation order, their seconds in the film.

        A frame without a time follows the one before by one frame duration; after a seek, where
        there is none before, its time is unknown: infinity.
        """
        step = 1.0 / float(stream.average_rate or stream.guessed_rate or 25)
        mended = self.mended(stretch)
        last = float("inf")

        def seconds_of(frame: VideoFrame) -> float:
            nonlocal last
            seconds = _decoded_seconds(frame) if self.untimed else _presented_seconds(frame)
            if seconds is None:
                last += step
            else:
                last = mended(seconds - self.lag_seconds) - self.origin_seconds
            return last

        return seconds_of

    def sound_clock(self, stretch: int = 0) -> Callable[[AudioFrame], float | None]:
        """Make the clock that gives frames of one track their seconds in the film, None unknown."""
        mended = self.mended(stretch)

        def seconds_of(frame: AudioFrame) -> float | None:
            return None if frame.time is None else mended(frame.time) - self.origin_seconds

        return seconds_of

    def seek(
        self, container: InputContainer, stream: VideoStream | AudioStream, seconds: float
    ) -> int:
        """Go to a place at or before this time of the film; give the stretch it is in.

        Raises:
            av.FFmpegError: The container cannot be sought in.
        """
        target = seconds + self.origin_seconds
        if not self.stretches:
            tick = float(stream.time_base or 1e-6)
            container.seek(round(target / tick), stream=stream, backward=True)
            return 0
        after = bisect.bisect_right(self.entries, target, key=lambda entry: entry.seconds)
        for entry in reversed(self.entries[:after]):
            stretch = self.stretches[entry.stretch]
            into = entry.seconds - stretch.shift_seconds - stretch.start_seconds
            if entry.stretch == 0 or into >= _CLEAR_SECONDS:
                container.seek(entry.byte, unsupported_byte_offset=True)
                return entry.stretch
        container.seek(0, unsupported_byte_offset=True)
        return 0


class _Mended:
    """Follows one stream from stretch to stretch."""

    def __init__(self, stretches: tuple[Stretch, ...], stretch: int) -> None:
        self._stretches = stretches
        self._index = stretch
        self._last: float | None = None

    def __call__(self, seconds: float) -> float:
        here = self._stretches[self._index]
        back = self._last is not None and seconds < self._last - _BACK_SECONDS
        if back or not here.holds(seconds):
            for index in range(self._index + 1, len(self._stretches)):
                if self._stretches[index].holds(seconds):
                    self._index = index
                    break
        self._last = seconds
        return seconds + self._stretches[self._index].shift_seconds


_remembered: OrderedDict[tuple[str, int, int], Timeline] = OrderedDict()


def read_timeline(path: str | os.PathLike[str], container: InputContainer) -> Timeline:
    """Find out a file's timeline; of the last files asked for it is remembered.

    Args:
        path: The file.
        container: The same, just opened; afterwards it stands anywhere.

    Raises:
        MediaError: No picture can be decoded.
    """
    facts = os.stat(path)
    key = (os.path.abspath(path), facts.st_size, facts.st_mtime_ns)
    timeline = _remembered.pop(key, None)
    if timeline is None:
        timeline = timeline_of(container)
    _remembered[key] = timeline
    while len(_remembered) > _MAX_REMEMBERED:
        _remembered.popitem(last=False)
    return timeline


def timeline_of(container: InputContainer) -> Timeline:
    """Find out the timeline of a container just opened; it is read as far as that takes.

    Raises:
        MediaError: No picture can be decoded.
    """
    stream = picture_stream(container)
    untimed = container.format.name in _UNTIMED_FORMATS
    jumping = container.format.name in _JUMPING_FORMATS
    search = _JumpSearch(stream)
    first: VideoFrame | None = None
    first_keyframe: float | None = None
    streams = [stream, *container.streams.audio] if jumping else [stream]
    for packet in packets_of(container, *streams):
        if jumping:
            search.push(packet)
        if first is None and packet.stream.index == stream.index:
            first = next(iter(_pictures_in(packet)), None)
            if first is None or untimed:
                first_keyframe = _latest_keyframe(packet, first, first_keyframe)
        if first is not None and not jumping:
            break
    if first is None:
        raise MediaError("no picture in it can be decoded")
    stretches, entries = search.found()
    presented = _decoded_seconds(first) if untimed else _presented_seconds(first)
    origin, lag = presented or 0.0, 0.0
    if untimed and presented is not None and first_keyframe is not None:
        lag = max(0.0, presented - first_keyframe)
        origin = presented - lag
    return Timeline(
        origin_seconds=origin,
        lag_seconds=lag,
        untimed=untimed,
        stretches=stretches,
        entries=entries,
    )


def packets_of(
    container: InputContainer, *streams: VideoStream | AudioStream
) -> Iterator[Packet[Any]]:
    """Demux up to where the container breaks off, the flush of the decoders included.

    Whose a packet is, `packet.stream` says: the one that flushes has a `stream_index` of 0 always.
    """
    # Closed, not dropped: see `proxy_frames.decoded`.
    with contextlib.closing(container.demux(list(streams))) as packets:  # type: ignore[type-var]
        while True:
            try:
                packet = next(packets, None)
            except (av.InvalidDataError, IndexError):
                # PyAV's IndexError: the file ended, with a stream more than it began with.
                return
            if packet is None:
                return
            yield packet


def frames_of(container: InputContainer, stream: VideoStream | AudioStream) -> Iterator[Any]:
    """Decode a stream from where the container stands; damaged packets are left out."""
    for packet in packets_of(container, stream):
        if packet.stream.index == stream.index:
            yield from _decoded(packet)
    try:
        yield from stream.decode(None)  # nothing is left, unless the container broke off
    except (av.FFmpegError, EOFError):
        return


def _decoded(packet: Packet[Any]) -> list[Any]:
    try:
        return list(packet.decode())
    except (av.FFmpegError, EOFError):  # whatever word FFmpeg has for what is damaged in it
        return []


def _pictures_in(packet: Packet[Any]) -> list[VideoFrame]:
    return [frame for frame in _decoded(packet) if isinstance(frame, VideoFrame)]


def _latest_keyframe(
    packet: Packet[Any], first: VideoFrame | None, latest: float | None
) -> float | None:
    """When, by decoding times, the keyframe was decoded that the first picture is."""
    if not packet.is_keyframe or packet.dts is None or packet.time_base is None:
        return latest
    seconds = float(packet.dts * packet.time_base)
    shown = None if first is None else _decoded_seconds(first)
    return latest if shown is not None and seconds > shown else seconds


def _presented_seconds(frame: VideoFrame) -> float | None:
    return None if frame.pts is None else frame.time


def _decoded_seconds(frame: VideoFrame) -> float | None:
    """The decoding time of the packet that brought the frame out: late, but always as late."""
    if frame.dts is None or frame.time_base is None:
        return None
    return float(frame.dts * frame.time_base)


class _JumpSearch:
    """Looks at all packets for jumps of the clock, and notes where the keyframes are."""

    def __init__(self, stream: VideoStream) -> None:
        self._stream_index = stream.index
        self._step = 1.0 / float(stream.average_rate or stream.guessed_rate or 25)
        self._latest: float | None = None  # of pictures and sound that runs on with them
        self._last: float | None = None  # of pictures
        self._times: list[tuple[float, float, int]] = []  # of stretches: first, last, pictures
        self._keyframes: list[tuple[float, int, int]] = []

    def push(self, packet: Packet[Any]) -> None:
        """Take the next packet as stored."""
        ticks = packet.dts if packet.dts is not None else packet.pts
        if ticks is None or packet.time_base is None:
            return
        decoded = float(ticks * packet.time_base)
        if packet.stream.index != self._stream_index:
            if self._latest is not None and abs(decoded - self._latest) <= JUMP_SECONDS:
                self._latest = max(self._latest, decoded)
            return
        shown = decoded if packet.pts is None else float(packet.pts * packet.time_base)
        if self._last is None or self._latest is None or self._jumps(decoded):
            self._times.append((shown, shown, 1))
            self._latest = decoded
        else:
            first, last, count = self._times[-1]
            self._times[-1] = (min(first, shown), max(last, shown), count + 1)
            self._latest = max(self._latest, decoded)
        self._last = decoded
        if packet.is_keyframe and packet.pos is not None and packet.pos >= 0:
            self._keyframes.append((shown, packet.pos, len(self._times) - 1))

    def _jumps(self, decoded: float) -> bool:
        assert self._last is not None
        assert self._latest is not None
        return decoded < self._last - _BACK_SECONDS or decoded > self._latest + JUMP_SECONDS

    def found(self) -> tuple[tuple[Stretch, ...], tuple[Entry, ...]]:
        """The stretches and the keyframes; nothing if the clock does not jump."""
        if len(self._times) < 2:
            return (), ()
        stretches: list[Stretch] = []
        for first, last, count in self._times:
            step = (last - first) / (count - 1) if count > 1 else self._step
            before = stretches[-1] if stretches else None
            shift = before.stop_seconds + before.shift_seconds - first if before else 0.0
            stretches.append(Stretch(first, last + step, shift))
        entries = sorted(
            (
                Entry(shown + stretches[index].shift_seconds, byte, index)
                for shown, byte, index in self._keyframes
            ),
            key=lambda entry: entry.seconds,
        )
        return tuple(stretches), tuple(entries)
