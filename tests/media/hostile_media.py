"""Tiny files by hand that ask for much: frames of a thousand million pixels, and playlists."""

from __future__ import annotations

import io
import random
import struct
import zlib
from fractions import Fraction
from typing import Any

import av


def gif(width: int, height: int, frames: int = 2) -> bytes:
    """Return an animation whose canvas has this size, and whose frames have one pixel."""
    head = struct.pack("<6sHHBBB6B", b"GIF89a", width, height, 0x80, 0, 0, 0, 0, 0, 255, 255, 255)
    position = struct.pack("<HHHHB", 0, 0, 1, 1, 0)
    frame = b"\x21\xf9\4\0\x0a\0\0\0\x2c" + position + b"\2\2\x44\1\0"
    return head + frames * frame + b";"


def png(width: int, height: int) -> bytes:
    """Return an image whose header declares this size, with the data of a small one."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(3000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def h264(width: int, height: int, *, slices: int = 6, seed: int = 0) -> bytes:
    """Return H.264 of this size whose slices are noise (ITU-T H.264, section 7.3)."""
    sequence = _Bits().u(8, 66).u(8, 0).u(8, 51).ue(0).ue(0).ue(2).ue(4).u(1, 0)
    sequence.ue(width // 16 - 1).ue(height // 16 - 1).u(4, 0b1100)
    picture = _Bits().ue(0).ue(0).u(2, 0).ue(0).ue(0).ue(0).u(3, 0).ue(0).ue(0).ue(0).u(3, 0)
    stream = _unit(0x67, sequence.done()) + _unit(0x68, picture.done())
    noise = random.Random(seed)
    for number in range(slices):
        bits = _Bits().ue(0).ue(7).ue(0).u(4, number % 16)
        if number == 0:
            bits.ue(0)
        body = bits.u(2, 0).ue(0).ue(0).done()[:-1]
        body += bytes(noise.randrange(1, 256) for _ in range(30))
        stream += _unit(0x65 if number == 0 else 0x61, body)
    return stream


def matroska(width: int, height: int, *, rate: float, duration: float, payload: bytes) -> bytes:
    """Return a Matroska file by hand: one H.264 track with any numbers in its header."""

    def element(code: str, body: bytes) -> bytes:
        return bytes.fromhex(code) + (0x01 << 56 | len(body)).to_bytes(8) + body

    def whole(code: str, value: int) -> bytes:
        return element(code, value.to_bytes(8))

    head = element("1a45dfa3", element("4282", b"matroska") + whole("4287", 4) + whole("4285", 2))
    info = whole("2ad7b1", 1_000_000) + element("4489", struct.pack(">d", duration))
    video = element("e0", whole("b0", width) + whole("ba", height))
    track = whole("d7", 1) + whole("73c5", 1) + whole("83", 1)
    track += element("86", b"V_MPEG4/ISO/AVC")
    track += element("23314f", struct.pack(">f", rate)) + video
    blocks = b"".join(
        element("a3", b"\x81" + time.to_bytes(2) + b"\x80" + payload) for time in range(0, 240, 40)
    )
    body = element("1549a966", info) + element("1654ae6b", element("ae", track))
    return head + element("18538067", body + element("1f43b675", whole("e7", 0) + blocks))


def mux(payload: bytes, container_format: str, codec: str, declared: tuple[int, int]) -> bytes:
    """Return a container that FFmpeg writes, whose twelve packets all have this payload.

    Args:
        payload: The content of each packet.
        container_format: FFmpeg's name of the muxer.
        codec: The codec that the container declares.
        declared: The width and height that the container declares.
    """
    file = io.BytesIO()
    with av.open(file, "w", format=container_format) as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height = declared
        stream.pix_fmt = "rgb24" if codec == "png" else "yuv420p"
        for number in range(12):
            packet = av.Packet(payload)
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 25), stream, True
            container.mux(packet)
    return file.getvalue()


def playlist(kind: str, target: str) -> bytes:
    """Return a file that refers to another one."""
    texts = {
        "ffconcat": f"ffconcat version 1.0\nfile '{target}'\n",
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
        "master": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{target}\n",
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns={target}\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        "mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
        f"<Period><AdaptationSet><Representation><BaseURL>{target}</BaseURL></Representation>"
        "</AdaptationSet></Period></MPD>",
    }
    return texts[kind].encode()


PLAYLISTS = ("ffconcat", "m3u8", "master", "sdp", "mpd")
_TARGETS = ("{name}", "/etc/passwd", "../a.mp4", "http://127.0.0.1:9/a.ts", "/dev/zero", "%d.png")
_SUFFIXES = (".mp4", ".mkv", ".ts", ".avi", ".m3u8", ".gif")


def hostile(number: int, *, seed: int) -> tuple[str, bytes]:
    """Return the name and the bytes of a hostile file, which follow from its number."""
    pick = random.Random(seed * 2**32 + number)
    sides = [pick.choice((16, 640, 4096, 8192, 16_384, 32_752, 65_520)) for _ in range(2)]
    width, height = sides
    declared = pick.choice(((64, 64), (1920, 1080), (8192, 4320), (16_000, 16_000)))
    noise = h264(width, height, slices=pick.randrange(1, 6), seed=number)
    kind = pick.choice(("gif", "h264", "png", "container", "matroska", "playlist"))
    name = f"{number:07d}-{kind}{pick.choice(_SUFFIXES)}"
    if kind == "gif":
        return name, gif(width, height, pick.randrange(1, 4))
    if kind == "h264":
        return name, noise
    if kind == "png":
        return name, mux(png(width, height), pick.choice(("mov", "avi")), "png", declared)
    if kind == "container":
        muxer = pick.choice(("mpegts", "flv", "mpeg", "mov", "matroska", "nut", "avi"))
        return name, mux(noise, muxer, "libx264", declared)
    if kind == "matroska":
        rate = pick.choice((25.0, 0.0, 1e9, float("nan"), -1.0))
        duration = pick.choice((1e3, 0.0, 1e308, float("nan"), float("inf"), -5.0))
        return name, matroska(width, height, rate=rate, duration=duration, payload=noise)
    target = pick.choice(_TARGETS).format(name=name)
    return name, playlist(pick.choice(PLAYLISTS), target)


class _Bits:
    """A writer of bits and of Exp-Golomb codes."""

    def __init__(self) -> None:
        self._bits = ""

    def u(self, size: int, value: int) -> _Bits:
        self._bits += format(value, f"0{size}b")
        return self

    def ue(self, value: int) -> _Bits:
        return self.u(2 * (value + 1).bit_length() - 1, value + 1)

    def done(self) -> bytes:
        bits = self._bits + "1"
        bits += "0" * (-len(bits) % 8)
        return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def _unit(header: int, payload: bytes) -> bytes:
    """Return a unit with its start code; runs of zeros inside are escaped."""
    out, zeros = bytearray(), 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return b"\0\0\0\1" + bytes([header]) + bytes(out)
