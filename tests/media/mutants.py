"""Damaged media files that are generated from a number.

The same number gives the same file on any machine with the same encoders, so that a file that once
caused a failure is generated again and need not be stored.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.logging
import numpy as np

from tests.media.hostile_media import hostile
from tests.media_files import leave_real_time

_SIZE = (64, 48)
_FRAME_RATE = 12
_SECONDS = 1.0
_SAMPLE_RATE_HZ = 48_000

_Bytes = bytearray
_Random = np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """An undamaged file from which mutants are generated."""

    name: str
    container: str
    video: str
    audio: str
    pixels: str = "yuv420p"
    options: tuple[tuple[str, str], ...] = ()
    rate_hz: int = _SAMPLE_RATE_HZ


_FRAGMENTED = (("movflags", "frag_keyframe+empty_moov+default_base_moof"),)
_FAST = {
    "libx264": {"preset": "ultrafast", "bf": "2", "x264-params": "log-level=none"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
}

# Mutant `number` is generated from `SEEDS[number % len(SEEDS)]`. Its bytes would change if the
# number or the order of seeds or damages changed.
SEEDS = (
    Seed(name="h264-aac.mp4", container="mp4", video="libx264", audio="aac"),
    Seed(name="hevc-ac3.mp4", container="mp4", video="libx265", audio="ac3"),
    Seed(name="av1-opus.mp4", container="mp4", video="libsvtav1", audio="libopus"),
    Seed(
        name="fragmented-h264-aac.mp4", container="mp4", video="libx264", audio="aac",
        options=_FRAGMENTED,
    ),
    Seed(name="h264-flac.mkv", container="matroska", video="libx264", audio="flac"),
    Seed(
        name="hevc10-eac3.mkv", container="matroska", video="libx265", audio="eac3",
        pixels="yuv420p10le",
    ),
    Seed(name="vp8-vorbis.webm", container="webm", video="libvpx", audio="vorbis"),
    Seed(name="vp9-opus.webm", container="webm", video="libvpx-vp9", audio="libopus"),
    Seed(name="mpeg2-ac3.ts", container="mpegts", video="mpeg2video", audio="ac3"),
    Seed(name="h264-aac.ts", container="mpegts", video="libx264", audio="aac"),
    Seed(name="mpeg4-mp3.avi", container="avi", video="mpeg4", audio="libmp3lame"),
    Seed(
        name="mjpeg-pcm.avi", container="avi", video="mjpeg", audio="pcm_s16le",
        pixels="yuvj420p", rate_hz=16_000,
    ),
    Seed(name="wmv2-wmav2.wmv", container="asf", video="wmv2", audio="wmav2"),
    Seed(
        name="prores-pcm.mov", container="mov", video="prores_ks", audio="pcm_s24le",
        pixels="yuv422p10le", rate_hz=16_000,
    ),
    Seed(name="h264-alac.mov", container="mov", video="libx264", audio="alac"),
    Seed(name="vp8-opus.ogv", container="ogg", video="libvpx", audio="libopus"),
    Seed(name="theora-vorbis.ogv", container="ogg", video="libtheora", audio="libvorbis"),
)  # fmt: skip


def write_seeds(folder: Path) -> list[bytes]:
    """Write every seed file and return their bytes, in the order of `SEEDS`.

    PyAV's wheels have no encoder for Theora. The `ffmpeg` command writes that file; without the
    command, the other OGV file is used in its place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    av.logging.set_level(None)
    os.environ.setdefault("SVT_LOG", "0")  # silences the AV1 encoder
    found: dict[str, bytes] = {}
    for seed in SEEDS:
        path = folder / seed.name
        if seed.video != "libtheora":
            write_seed(seed, path)
        elif not _write_theora(path):
            path.write_bytes(found["vp8-opus.ogv"])
        found[seed.name] = path.read_bytes()
    return [found[seed.name] for seed in SEEDS]


def _frame(number: int) -> av.VideoFrame:
    width, height = _SIZE
    noise = np.random.default_rng(number).integers(0, 24, (height, width, 3))
    slope = np.add.outer(np.arange(height), np.arange(width))[..., None] + 8 * number
    pixels = (slope + noise) % 224 + 16
    frame = av.VideoFrame.from_ndarray(pixels.astype(np.uint8), format="rgb24")
    frame.pts, frame.time_base = number, Fraction(1, _FRAME_RATE)
    return frame


def write_seed(seed: Seed, path: Path, *, seconds: float = _SECONDS) -> None:
    """Write an undamaged file."""
    options = {"fflags": "+bitexact", **dict(seed.options)}
    with av.open(str(path), "w", format=seed.container, options=options) as container:
        video = container.add_stream(
            seed.video, rate=_FRAME_RATE, options=_FAST.get(seed.video, {})
        )
        assert isinstance(video, av.VideoStream)
        video.width, video.height = _SIZE
        video.pix_fmt = seed.pixels
        video.thread_count = 1
        video.codec_context.gop_size = _FRAME_RATE // 2
        audio = container.add_stream(
            seed.audio, rate=seed.rate_hz, layout="stereo", options={"strict": "experimental"}
        )
        assert isinstance(audio, av.AudioStream)
        audio.bit_rate = 96_000
        video.codec_context.flags |= av.codec.context.Flags.bitexact
        audio.codec_context.flags |= av.codec.context.Flags.bitexact
        for number in range(round(seconds * _FRAME_RATE)):
            container.mux(video.encode(_frame(number)))
        container.mux(video.encode())
        resampler = av.AudioResampler(
            format=audio.format.name,
            layout="stereo",
            rate=seed.rate_hz,
            frame_size=audio.codec_context.frame_size or 1024,
        )
        time = np.arange(round(seconds * seed.rate_hz)) / seed.rate_hz
        wave = (0.4 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
        audio_frame = av.AudioFrame.from_ndarray(
            np.stack([wave, -wave]), format="fltp", layout="stereo"
        )
        audio_frame.sample_rate, audio_frame.pts = seed.rate_hz, 0
        audio_frame.time_base = Fraction(1, seed.rate_hz)
        for frame in [*resampler.resample(audio_frame), *resampler.resample(None)]:
            container.mux(audio.encode(frame))
        container.mux(audio.encode())
    if seed.video == "libsvtav1":
        leave_real_time()


def _write_theora(path: Path) -> bool:
    if shutil.which("ffmpeg") is None:
        return False
    width, height = _SIZE
    command = (
        "ffmpeg -nostdin -y -loglevel error"
        f" -f lavfi -i testsrc=size={width}x{height}:rate={_FRAME_RATE}:duration={_SECONDS}"
        f" -f lavfi -i sine=sample_rate={_SAMPLE_RATE_HZ}:duration={_SECONDS}"
        " -c:v libtheora -c:a libvorbis -flags +bitexact -fflags +bitexact -f ogg"
    )
    return subprocess.run([*command.split(), str(path)], check=False).returncode == 0


HOSTILE = 1_000_000


def mutant(seeds: list[bytes], number: int, *, seed: int = 0) -> tuple[str, bytes]:
    """Return the name, with the suffix of its container, and the bytes of a damaged file.

    Numbers from `HOSTILE` on are files that were written by hand to do harm; see `hostile_media`.
    """
    if number >= HOSTILE:
        return hostile(number, seed=seed)
    random = np.random.default_rng([seed, number])
    index = number % len(SEEDS)
    data = bytearray(seeds[index])
    # Most files are damaged once, some several times.
    for _ in range(int(random.geometric(0.6))):
        if len(data) < 64:
            break
        kind = sorted(_DAMAGES)[int(random.integers(len(_DAMAGES)))]
        _DAMAGES[kind](data, random)
    return f"{number:06d}-{SEEDS[index].name}", bytes(data)


def _flip_bits(data: _Bytes, random: _Random) -> None:
    for _ in range(int(2 ** random.uniform(0, 8))):
        data[_offset(data, random)] ^= 1 << int(random.integers(8))


def _cut(data: _Bytes, random: _Random) -> None:
    first, stop = sorted((_offset(data, random), _offset(data, random)))
    part = ("tail", "head", "middle")[int(random.choice(3, p=[0.5, 0.2, 0.3]))]
    if part == "tail":
        del data[stop:]
    elif part == "head":
        del data[: first // 4]
    else:
        del data[first : min(stop, first + len(data) // 4)]


def _swap_blocks(data: _Bytes, random: _Random) -> None:
    size = int(2 ** random.uniform(2, 12)) % (len(data) // 3) + 1
    one, two = (int(random.integers(len(data) - size)) for _ in range(2))
    block = data[one : one + size]
    data[one : one + size] = data[two : two + size]
    data[two : two + size] = block


def _zero_range(data: _Bytes, random: _Random) -> None:
    first, size = _offset(data, random), int(2 ** random.uniform(0, 13))
    stop = min(first + size, len(data))
    data[first:stop] = bytes(stop - first)


# Values at which integers of 1 to 8 bytes overflow or change their sign.
_EDGE_VALUES = (
    0, 1, -1, 2**7, 2**15 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1,
)  # fmt: skip


def _edit_field(data: _Bytes, random: _Random) -> None:
    """Overwrite a number where a header may store one: near a four-letter name, or at the start."""
    names = [match.start() for match in re.finditer(rb"[A-Za-z0-9]{4}", data)]
    if names and random.random() < 0.6:
        at = names[int(random.integers(len(names)))] + int(random.integers(-8, 40))
    else:
        at = int(random.integers(min(len(data), 1024)))
    size = int(random.choice([1, 2, 4, 8]))
    value = _EDGE_VALUES[int(random.integers(len(_EDGE_VALUES)))]
    if random.random() < 0.3:
        value = int(random.integers(2**63))
    order = "big" if random.random() < 0.6 else "little"
    at = min(max(at, 0), len(data) - size)
    data[at : at + size] = (value % 2 ** (8 * size)).to_bytes(size, order)


def _offset(data: _Bytes, random: _Random) -> int:
    """Return an offset: half of them lie in the first or last 2 KiB, where headers are."""
    part = random.random()
    if part < 0.3:
        return int(random.integers(min(len(data), 2048)))
    if part < 0.5:
        return len(data) - 1 - int(random.integers(min(len(data), 2048)))
    return int(random.integers(len(data)))


_DAMAGES: dict[str, Callable[[_Bytes, _Random], None]] = {
    "bits": _flip_bits,
    "cut": _cut,
    "field": _edit_field,
    "swap": _swap_blocks,
    "zero": _zero_range,
}
