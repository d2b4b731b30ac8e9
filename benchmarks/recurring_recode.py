"""A second generation of a library: its pictures as they are, its sound encoded once more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
from av.packet import Packet
from numpy.typing import NDArray

from toomuchtv.media.clip_reader import read_audio

BIT_RATE = 64_000
_RATE_HZ = 16_000


def recode_library(library: Path, out: Path, *, delay_seconds: float, gain: float) -> None:
    """Write every film of `library` to `out`, its sound later, softer, and AAC at 64 kbit/s again.

    What is there already is left alone.
    """
    for source in sorted(library.rglob("*.m*")):
        path = out / source.relative_to(library)
        if source.is_file() and not path.exists():
            recode(source, path, delay_seconds=delay_seconds, gain=gain)


def recode(source: Path, path: Path, *, delay_seconds: float, gain: float) -> None:
    """Copy the pictures of one film and encode its sound again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"partial-{path.name}")
    with av.open(str(source)) as film, av.open(str(partial), "w") as copy:
        pictures = film.streams.video[0]
        assert film.duration is not None
        count = int(film.duration / 1e6 * _RATE_HZ)
        sound = read_audio(
            source,
            first_sample=-round(delay_seconds * _RATE_HZ),
            num_samples=count,
            sample_rate_hz=_RATE_HZ,
        )
        video = copy.add_stream_from_template(pictures)
        audio = copy.add_stream("aac", rate=_RATE_HZ, layout="mono")
        audio.bit_rate = BIT_RATE
        first = 0
        for packet in _in_order([packet for packet in film.demux(pictures) if packet.size]):
            assert packet.dts is not None
            assert packet.time_base is not None
            # Sound and picture in turn: players and readers expect them side by side.
            until = float(packet.dts * packet.time_base) * _RATE_HZ
            while first < min(until, count):
                copy.mux(audio.encode(_frame(gain * sound[first : first + 1024], first)))
                first += 1024
            packet.stream = video
            copy.mux(packet)
        for rest in range(first, count, 1024):
            copy.mux(audio.encode(_frame(gain * sound[rest : rest + 1024], rest)))
        copy.mux(audio.encode(None))
    partial.rename(path)


def _in_order(packets: list[Packet[Any]]) -> list[Packet[Any]]:
    """Give all packets decoding times: Matroska has none for the first ones, the keyframe's too."""
    shown = sorted(packet.pts or 0 for packet in packets)
    late = max(at - (packet.pts or 0) for at, packet in zip(shown, packets, strict=True))
    for at, packet in zip(shown, packets, strict=True):
        packet.dts = at - late
    return packets


def _frame(samples: NDArray[np.float32], first: int) -> av.AudioFrame:
    part = np.ascontiguousarray(samples[None], np.float32)
    frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
    frame.sample_rate, frame.pts = _RATE_HZ, first
    return frame
