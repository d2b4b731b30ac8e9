"""Audio for benchmarks/recurring.py: a second generation of a library, and 200 episodes.

The 200 episodes of about 22 minutes are made of real audio and have openings and credits. They have
no video. Measured is what `prepare` does with their audio: decode the FLAC of the proxy and compute
fingerprints, in several processes; then match and cluster them in one. There are 25 soundtracks on
disk. Each counts as eight episodes, because its sample rate is declared at eight values that are 6%
apart. To the fingerprints these are different recordings. Each declared rate is a season.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
from av.packet import Packet
from numpy.typing import NDArray

from tests.media_files import encode_audio
from toomuchtv._internal.subprocess_pool import Failure, run_isolated
from toomuchtv.detection.fingerprints import AudioFingerprint, fingerprint_audio
from toomuchtv.detection.recurrence import Episode, detect_recurring
from toomuchtv.media.clip import WaveformArray
from toomuchtv.media.clip_reader import read_audio
from toomuchtv.media.containers import open_media
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.timestamps import read_timeline

RATE_HZ = 16_000
RECODED_BIT_RATE = 64_000
MINUTES = 22
NUM_SAMPLES = MINUTES * 60 * RATE_HZ
OPENING_SECONDS, CREDITS_SECONDS = 45, 40
EPISODES_PER_SEASON = 25
_SPEED_STEP = 1.06
R = TypeVar("R")


def recode_library(library: Path, out: Path, *, delay_seconds: float, gain: float) -> None:
    """Copy a library with its audio delayed, scaled and encoded again (AAC at 64 kbit/s).

    Files that exist are kept.
    """
    for source in sorted(library.rglob("*.m*")):
        path = out / source.relative_to(library)
        if source.is_file() and not path.exists():
            _recode(source, path, delay_seconds=delay_seconds, gain=gain)


def _recode(source: Path, path: Path, *, delay_seconds: float, gain: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"partial-{path.name}")
    # The muxer interleaves the streams; without the option it would stop waiting after 10 s.
    options = {"max_interleave_delta": "0"}
    with (
        open_media(source) as film,
        av.open(str(partial), "w", container_options=options) as copy,
    ):
        source_stream = film.streams.video[0]
        count = int((film.duration or 0) / 1e6 * RATE_HZ)
        first_sample = -round(delay_seconds * RATE_HZ)
        samples = gain * read_audio(
            source,
            timeline=read_timeline(source),
            first_sample=first_sample,
            num_samples=count,
            sample_rate_hz=RATE_HZ,
        )
        video = copy.add_stream_from_template(source_stream)
        audio = copy.add_stream("aac", rate=RATE_HZ, layout="mono")
        audio.bit_rate = RECODED_BIT_RATE
        packets = [packet for packet in film.demux(source_stream) if packet.size]
        for packet, dts in zip(packets, _decoding_times(packets), strict=True):
            packet.dts, packet.stream = dts, video
            copy.mux(packet)
        encode_audio(copy, audio, samples.astype(np.float32), 0.0)
    partial.rename(path)


def _decoding_times(packets: list[Packet[Any]]) -> list[int]:
    """Return a decoding time for every packet; Matroska has none for the first ones.

    The n-th packet to be decoded gets the n-th smallest presentation time, less the same delay for
    all packets, so that no packet is decoded after it is presented.
    """
    times = [packet.pts or 0 for packet in packets]
    delay = max(dts - pts for dts, pts in zip(sorted(times), times, strict=True))
    return [dts - delay for dts in sorted(times)]


def measure_200_episodes(
    library: Path, video: Path, folder: Path, count: int, num_workers: int
) -> dict[str, float]:
    """Make the soundtracks unless they exist, and measure the search in them.

    Args:
        library: The library whose audio is used.
        video: The video file of any proxy, because a proxy's reader opens one.
        folder: Folder for the soundtracks.
        count: Number of episodes.
        num_workers: Number of processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "source.npy").exists():
        np.save(folder / "source.npy", _read_library_audio(library))
    make = functools.partial(make_soundtrack, folder)
    _run_jobs(make, EPISODES_PER_SEASON, num_workers)
    begun = time.perf_counter()
    fingerprint = functools.partial(fingerprint_episode, folder, video)
    prints = _run_jobs(fingerprint, count, num_workers)
    fingerprinted = time.perf_counter()
    segments = detect_recurring(
        [
            Episode(
                item_id=number,
                season=number // EPISODES_PER_SEASON,
                episode=number % EPISODES_PER_SEASON,
                fingerprint=prints[number],
            )
            for number in range(count)
        ]
    )
    done = time.perf_counter()
    true_seconds = found_seconds = common_seconds = hours = 0.0
    for number in range(count):
        season, track = divmod(number, EPISODES_PER_SEASON)
        stretch = RATE_HZ / declared_rate_hz(season)
        hours += MINUTES / 60 * stretch
        start, stop = (seconds * stretch for seconds in opening_span(track))
        true_seconds += stop - start
        for one in segments:
            if one.item_id == number and one.kind == "opening":
                found_seconds += one.stop_seconds - one.start_seconds
                common = min(one.stop_seconds, stop) - max(one.start_seconds, start)
                common_seconds += max(0.0, common)
    return {
        "minutes_200_episodes": (done - begun) / 60,
        "minutes_200_episodes_prints": (fingerprinted - begun) / 60,
        "minutes_200_episodes_search": (done - fingerprinted) / 60,
        "load_episodes": count,
        "load_hours": hours,
        "load_opening_recall": common_seconds / true_seconds,
        "load_opening_precision": common_seconds / max(found_seconds, 1e-9),
        "load_other_segments": sum(one.kind in ("recap", "recurring") for one in segments),
    }


def _run_jobs(job: Callable[..., R], count: int, num_workers: int) -> dict[int, R]:
    results: dict[int, R] = {}
    numbers = range(count)
    for number, result in run_isolated(
        job, numbers, num_workers=num_workers, silence_seconds=600.0
    ):
        assert not isinstance(result, Failure), result
        results[number] = result
    return results


def declared_rate_hz(season: int) -> int:
    """Return the sample rate that is declared for the episodes of a season."""
    return round(RATE_HZ * _SPEED_STEP ** (season - 4))


def opening_span(track: int) -> tuple[float, float]:
    """Return start and stop of a soundtrack's opening; up to three minutes precede it."""
    start = float(np.random.default_rng([3, track]).uniform(0, 180))
    return start, start + OPENING_SECONDS


def make_soundtrack(folder: Path, track: int, report: Callable[[float], None]) -> None:
    """Write one soundtrack in the format of a proxy's audio.

    It consists of snippets of 0.5 to 1.9 s from random places of the real audio, each at its own
    speed, so that nothing of two seconds occurs twice. The opening, and the credits at the end, are
    real stretches of audio, at a gain that differs between episodes.
    """
    path = folder / f"{track:04d}.mp4"
    if path.exists():
        return
    source: NDArray[np.int16] = np.load(folder / "source.npy", mmap_mode="r")
    rng = np.random.default_rng([2, track])
    parts, length = [], 0
    while length < NUM_SAMPLES:
        part = int(rng.uniform(0.5, 1.9) * RATE_HZ)
        speed = rng.uniform(0.7, 1.4)
        first = int(rng.integers(0, len(source) - 2 * part))
        parts.append(source[first + (np.arange(part) * speed).astype(np.int64)])
        length += part
        report(length / RATE_HZ)
    samples = np.concatenate(parts)[:NUM_SAMPLES]
    gain = rng.uniform(0.5, 1.0)
    for first, seconds, target in (
        (240 * RATE_HZ, OPENING_SECONDS, round(opening_span(track)[0] * RATE_HZ)),
        (len(source) - 60 * RATE_HZ, CREDITS_SECONDS, NUM_SAMPLES - CREDITS_SECONDS * RATE_HZ),
    ):
        piece = source[first : first + seconds * RATE_HZ]
        samples[target : target + len(piece)] = (gain * piece).astype(np.int16)
    partial = path.with_suffix(".partial")
    with av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("flac", rate=RATE_HZ, layout="mono")
        encode_audio(container, stream, (samples / 32768).astype(np.float32), 0.0)
    partial.rename(path)


def fingerprint_episode(
    folder: Path, video: Path, number: int, report: Callable[[float], None]
) -> AudioFingerprint:
    """Decode one soundtrack as `prepare` does, and compute its fingerprint."""
    season, track = divmod(number, EPISODES_PER_SEASON)
    reader = ProxyReader(video, folder / f"{track:04d}.mp4", frame_rate=8.0, sample_rate_hz=RATE_HZ)

    def read(first: int, count: int) -> WaveformArray:
        report(first / RATE_HZ)
        return reader.read_waveform(first_sample=first, num_samples=count)

    with closing(reader):
        rate_hz = declared_rate_hz(season)
        return fingerprint_audio(read, num_samples=NUM_SAMPLES, sample_rate_hz=rate_hz)


def _read_library_audio(library: Path) -> NDArray[np.int16]:
    """Return the audio of all films of a library, concatenated, int16 `[S]`."""
    parts = []
    for path in sorted(path for path in library.rglob("*") if path.is_file()):
        with open_media(path) as film:
            count = int((film.duration or 0) / 1e6 * RATE_HZ)
        samples = read_audio(
            path,
            timeline=read_timeline(path),
            first_sample=0,
            num_samples=count,
            sample_rate_hz=RATE_HZ,
        )
        parts.append(np.clip(np.rint(samples * 32767), -32768, 32767).astype(np.int16))
    return np.concatenate(parts)
