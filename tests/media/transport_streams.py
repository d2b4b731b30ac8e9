"""Rewriting the tables of MPEG transport streams, which PyAV cannot be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_SIZE = 188
_MAP_PID = 0x1000


def split_into_programs(path: Path, programs: Sequence[Sequence[int]]) -> Path:
    """Give each group of streams of a transport stream a program of its own.

    Args:
        path: A file of one program that PyAV wrote; it is overwritten.
        programs: Indices of the streams of each program.
    """
    data = path.read_bytes()
    out, counters = bytearray(), dict.fromkeys([0, *range(_MAP_PID, _MAP_PID + len(programs))], 0)
    types = _types_of_streams(data)
    for at in range(0, len(data), _SIZE):
        packet = data[at : at + _SIZE]
        pid = (packet[1] & 0x1F) << 8 | packet[2]
        if pid == 0:
            entries = b"".join(
                (number + 1).to_bytes(2) + (0xE000 | _MAP_PID + number).to_bytes(2)
                for number in range(len(programs))
            )
            out += _packet(0, _section(0, 1, entries), counters)
        elif pid == _MAP_PID:
            for number, streams in enumerate(programs):
                pids = [0x100 + index for index in streams]
                listed = b"".join(
                    bytes([types[one]]) + (0xE000 | one).to_bytes(2) + b"\xf0\x00" for one in pids
                )
                body = (0xE000 | pids[0]).to_bytes(2) + b"\xf0\x00" + listed
                out += _packet(_MAP_PID + number, _section(2, number + 1, body), counters)
        else:
            out += packet
    path.write_bytes(out)
    return path


def _types_of_streams(data: bytes) -> dict[int, int]:
    """Return the stream type of each PID, from the first map table."""
    for at in range(0, len(data), _SIZE):
        packet = data[at : at + _SIZE]
        if (packet[1] & 0x1F) << 8 | packet[2] == _MAP_PID:
            section = packet[5:]
            stop = 3 + ((section[1] & 0x0F) << 8 | section[2]) - 4
            types, at_stream = {}, 12 + ((section[10] & 0x0F) << 8 | section[11])
            while at_stream < stop:
                entry = section[at_stream : at_stream + 5]
                types[(entry[1] & 0x1F) << 8 | entry[2]] = entry[0]
                at_stream += 5 + ((entry[3] & 0x0F) << 8 | entry[4])
            return types
    raise AssertionError("no map table")


def _section(table: int, number: int, body: bytes) -> bytes:
    length = 5 + len(body) + 4
    head = bytes([table]) + (0xB000 | length).to_bytes(2) + number.to_bytes(2) + b"\xc1\x00\x00"
    return head + body + _crc(head + body).to_bytes(4)


def _packet(pid: int, section: bytes, counters: dict[int, int]) -> bytes:
    counters[pid] = (counters[pid] + 1) % 16
    head = bytes([0x47]) + (0x4000 | pid).to_bytes(2) + bytes([0x10 | counters[pid]]) + b"\x00"
    return (head + section).ljust(_SIZE, b"\xff")


def _crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7) & 0xFFFFFFFF if crc & 0x80000000 else crc << 1
    return crc
