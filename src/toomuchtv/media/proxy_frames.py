"""Frames of a proxy by their number, decoding as few as can be."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from av.container import InputContainer
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream


def decoded(container: InputContainer, stream: Stream) -> Iterator[Any]:
    """Decode a stream from where the container stands, as `InputContainer.decode` does.

    That leaks 150 bytes each time it is not run to the end (seen in PyAV 18.1): its generator of
    packets cleans up only when it is closed, which dropping it does not do. A loader that reads
    for days would lose gigabytes.
    """
    with contextlib.closing(container.demux(stream)) as packets:  # type: ignore[type-var]
        for packet in packets:
            yield from packet.decode()


class ProxyFrames:
    """The frames of an open proxy, whose decoder is left standing where the last read ended.

    What the last read gave is kept, and decoding goes on from there where a seek would land before:

        last read   |   a-----------b|
        this one    |          c-----------d|      c..b is kept, b..d decoded
        this one    |   .     k     .| e---------f     as is b..f, unless a key frame lies in b..e

    Args:
        container: The proxy.
        stream: Its video.
        frame_rate: Frames a second.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, frame_rate: float) -> None:
        self._container = container
        self._stream = stream
        self._ticks_a_frame = 1.0 / (frame_rate * float(stream.time_base or 1))
        self._decoded: Iterator[VideoFrame] = iter(())
        self._kept: dict[int, VideoFrame] = {}
        self._next: int | None = None

    def rest(self) -> None:
        """Forget the last read: the next one seeks, so that what it gives follows from it alone.

        Of a damaged file, a decoder makes up pictures that depend on what it saw before.
        """
        self._kept = {}
        self._next = None

    def read(self, wanted: range) -> list[VideoFrame]:
        """Give the frames of these numbers, fewer where the proxy ends before.

        Raises:
            av.FFmpegError: It is damaged.
        """
        kept, after = self._kept, self._next
        self.rest()  # where this read fails, nothing is known
        found = {}
        for index in wanted:
            if index not in kept:
                break
            found[index] = kept[index]
        rest = iter(wanted[len(found) :])
        number: int | None = next(rest, None)
        if number is not None and not self._lies_ahead(number, after):
            self._container.seek(round(number * self._ticks_a_frame), stream=self._stream)
            self._decoded = decoded(self._container, self._stream)
            after = None
        while number is not None:
            frame = next(self._decoded, None)
            if frame is None:
                return list(found.values())
            if frame.pts is None:
                continue
            at = round(frame.pts / self._ticks_a_frame)
            after = at + 1
            if at >= number:
                found[number] = frame
                number = next(rest, None)
        self._kept, self._next = found, after
        return list(found.values())

    def _lies_ahead(self, number: int, after: int | None) -> bool:
        """Whether to decode on to a frame, `after` being the next to come: no seek gets nearer."""
        if after is None or number < after:
            return False
        entries = self._stream.index_entries
        key = entries.search_timestamp(round(number * self._ticks_a_frame))
        return key >= 0 and round(entries[key].timestamp / self._ticks_a_frame) <= after
