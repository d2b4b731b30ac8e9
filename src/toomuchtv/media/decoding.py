"""Reading and decoding packets: one loop with one policy on damage, for every reader.

A damaged file must neither end a run nor be cut at the first damage. What cannot be read or decoded
is skipped and reported, and the rest goes on. Only a cause that is not the file's (a failing disk,
no memory) is raised.
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable, Iterator
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

# What PyAV raises for damaged data: errors of FFmpeg, and errors of its own for odd values, for the
# data of a flushed decoder, and for a stream that appears in the middle of a file.
_DAMAGE = (av.FFmpegError, EOFError, IndexError, ValueError, OverflowError)
_NOT_OF_THE_FILE = frozenset({errno.EIO, errno.ENOMEM, errno.ESTALE, errno.EMFILE, errno.ENOSPC})
# After this many errors without a packet between them, a container is given up. MPEG-TS reports
# `EAGAIN` for each 64 KB without a packet, which a hole of gigabytes has many of.
_MAX_ERRORS_IN_A_ROW = 20
_MAX_TRIES_IN_A_ROW = 100_000
_REPORT_EVERY_SECONDS = 2.0


def demux_packets(
    container: InputContainer,
    *streams: VideoStream | AudioStream,
    on_damage: Callable[[], None] = lambda: None,
) -> Iterator[Packet[Any]]:
    """Yield packets in file order until the end of the file.

    The last packet of each stream is empty and flushes its decoder. Use `packet.stream.index` to
    find a packet's stream: `packet.stream_index` is 0 for every flushing packet. `on_damage` is
    called where the container breaks off; reading goes on after it if FFmpeg can.
    """
    num_errors = num_tries = 0
    while num_errors < _MAX_ERRORS_IN_A_ROW and num_tries < _MAX_TRIES_IN_A_ROW:
        # PyAV's generator releases its buffer only when it is closed. Dropping it leaks 150 bytes
        # each time (seen in PyAV 18.1), which adds up to gigabytes in a loader that reads for days.
        with contextlib.closing(container.demux(list(streams))) as packets:  # type: ignore[type-var]
            try:
                for packet in packets:
                    num_errors = num_tries = 0
                    # In the middle of a file, an empty packet stands for a frame that was left out.
                    # A decoder would take it for the end.
                    if packet.size > 0 or (packet.pts is None and packet.dts is None):
                        yield packet
                return
            except _DAMAGE as error:
                _raise_unless_damage(error)
                if getattr(error, "errno", None) == errno.EAGAIN:
                    num_tries += 1
                else:
                    num_errors += 1
                on_damage()


def report_life(
    packets: Iterator[Packet[Any]], on_progress: Callable[[float], None]
) -> Iterator[Packet[Any]]:
    """Pass packets on, and call `on_progress(0.0)` about every two seconds."""
    reported = time.monotonic()
    for packet in packets:
        yield packet
        if time.monotonic() - reported > _REPORT_EVERY_SECONDS:
            reported = time.monotonic()
            on_progress(0.0)


def decode_frames(
    container: InputContainer,
    *streams: VideoStream | AudioStream,
    on_damage: Callable[[], None] = lambda: None,
) -> Iterator[Any]:
    """Yield decoded frames from the container's position on.

    Damaged packets are skipped. `on_damage` is called for each, and where the container breaks off.
    """
    for packet in demux_packets(container, *streams, on_damage=on_damage):
        yield from decode_packet(packet, on_damage)
    for stream in streams:
        # This yields something only if the container broke off. Otherwise the decoder was flushed.
        yield from flush_decoder(stream)


def decode_packet(packet: Packet[Any], on_damage: Callable[[], None] = lambda: None) -> list[Any]:
    """Return the frames of a packet; if it is damaged, none, and `on_damage` is called."""
    try:
        return list(packet.decode())
    except EOFError:
        return []  # the decoder was flushed already
    except _DAMAGE as error:  # not only InvalidDataError but also "not yet implemented"
        _raise_unless_damage(error)
        on_damage()
        return []


def flush_decoder(stream: VideoStream | AudioStream) -> list[Any]:
    """Return the frames that are still inside a decoder that was not flushed."""
    try:
        return list(stream.decode(None))
    except _DAMAGE as error:
        _raise_unless_damage(error)
        return []


def _raise_unless_damage(error: BaseException) -> None:
    if isinstance(error, OSError) and error.errno in _NOT_OF_THE_FILE:
        raise error


def decode_strictly(container: InputContainer, stream: VideoStream | AudioStream) -> Iterator[Any]:
    """Yield decoded frames from the container's position on; errors of FFmpeg propagate.

    This does what `InputContainer.decode` does, without its leak; see `demux_packets`.
    """
    with contextlib.closing(container.demux(stream)) as packets:  # type: ignore[type-var]
        for packet in packets:
            yield from packet.decode()
