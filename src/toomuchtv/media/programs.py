"""Which streams of an MPEG transport stream make up one program.

A transport stream may carry several programs, such as a TV channel and a radio station. Its program
association table names a map table for each program, and the map table lists the identifiers (PIDs)
of the program's streams (ISO/IEC 13818-1, section 2.4.4). PyAV does not expose them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

_MAX_BYTES = 8 * 2**20  # both tables are repeated several times a second
_SYNC = 0x47
_PACKET_SIZE = 188
_STRIDES = (188, 192, 204)  # alone, after a time code (M2TS), before a checksum
_PROGRAM_ASSOCIATION, _PROGRAM_MAP = 0, 2


def streams_of_program(path: str | os.PathLike[str], pid: int) -> frozenset[int]:
    """Return the PIDs of the streams in the first program that has a stream.

    Args:
        path: A transport stream.
        pid: The stream's PID, which is `stream.id` in PyAV.

    Returns:
        The PIDs, with `pid` among them. Empty if no program lists the stream in the first 8 MiB.
    """
    with open(path, "rb") as file:
        data = file.read(_MAX_BYTES)
    map_pids: set[int] = set()
    sections: dict[int, bytearray] = {}
    for packet in _packets(data):
        packet_pid = (packet[1] & 0x1F) << 8 | packet[2]
        if packet_pid != 0 and packet_pid not in map_pids:
            continue
        for section in _sections(packet, packet_pid, sections):
            if packet_pid == 0 and section[0] == _PROGRAM_ASSOCIATION:
                map_pids |= set(_map_pids(section))
            elif section[0] == _PROGRAM_MAP:
                pids = frozenset(_stream_pids(section))
                if pid in pids:
                    return pids
    return frozenset()


def _packets(data: bytes) -> Iterator[bytes]:
    """Yield the packets; damaged bytes between them are passed over."""
    position, stride = 0, _PACKET_SIZE
    while position + _PACKET_SIZE <= len(data):
        if data[position] != _SYNC:
            position = data.find(_SYNC, position)
            if position < 0:
                return
            # A byte of this value begins a packet only if others follow at the same distance.
            for stride in _STRIDES:
                ahead = data[position : position + 4 * stride : stride]
                if ahead == bytes([_SYNC]) * len(ahead):
                    break
            else:
                position += 1
                continue
        yield data[position : position + _PACKET_SIZE]
        position += stride


def _sections(packet: bytes, pid: int, unfinished: dict[int, bytearray]) -> Iterator[bytes]:
    """Yield the table sections that a packet completes."""
    starts, has_adaptation, has_payload = packet[1] & 0x40, packet[3] & 0x20, packet[3] & 0x10
    start = 5 + packet[4] if has_adaptation else 4
    if not has_payload or start >= len(packet):
        return
    payload = packet[start:]
    if starts:
        unfinished[pid] = bytearray(payload[1 + payload[0] :])
    elif pid in unfinished:
        unfinished[pid] += payload
    section = unfinished.get(pid, bytearray())
    while len(section) >= 3 and section[0] != 0xFF:
        length = 3 + ((section[1] & 0x0F) << 8 | section[2])
        if len(section) < length:
            return
        if length >= 12:
            yield bytes(section[:length])
        del section[:length]


def _map_pids(section: bytes) -> Iterator[int]:
    for at in range(8, len(section) - 7, 4):  # 8 bytes before the list, 4 of checksum after it
        if section[at] or section[at + 1]:  # program 0 is network information
            yield (section[at + 2] & 0x1F) << 8 | section[at + 3]


def _stream_pids(section: bytes) -> Iterator[int]:
    at = 12 + ((section[10] & 0x0F) << 8 | section[11])  # after the program's descriptors
    while at + 5 <= len(section) - 4:
        yield (section[at + 1] & 0x1F) << 8 | section[at + 2]
        at += 5 + ((section[at + 3] & 0x0F) << 8 | section[at + 4])
