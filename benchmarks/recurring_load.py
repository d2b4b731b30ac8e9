"""How long 200 episodes take: soundtracks of about 22 minutes, of real sound, with openings.

No pictures are made for them. Timed is what `prepare` does with their sound: decode the FLAC of
the proxy and take the prints, in as many processes as asked for; then match and name, in one.

There are 25 soundtracks on disk, and each is heard at eight speeds, 6% apart, by saying another
sample rate: to the prints these are eight other sounds, and each speed is a season.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from toomuchtv._internal.subprocess_pool import Failure, run_isolated
from toomuchtv.detection.fingerprints import AudioFingerprint, fingerprint_audio
from toomuchtv.detection.recurrence import Episode, detect_recurring
from toomuchtv.media.clip import WaveformArray
from toomuchtv.media.clip_reader import read_audio
from toomuchtv.media.proxy_reader import ProxyReader

RATE_HZ = 16_000
MINUTES = 22
OPENING_SECONDS, CREDITS_SECONDS = 45, 40
EPISODES_A_SEASON = 25
_SPEED = 1.06
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.5, 1.9


def time_200_episodes(
    library: Path, video: Path, folder: Path, count: int, num_workers: int
) -> dict[str, float]:
    """Make the soundtracks where they are not there yet, and time the search in them.

    Args:
        library: Where the real sound is from.
        video: The video of any proxy: a proxy's reader opens one.
        folder: Where the soundtracks go.
        count: How many.
        num_workers: Processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "source.npy"
    if not source.exists():
        np.save(source, _real_sound(library))
    make = functools.partial(make_soundtrack, folder)
    tracks = list(range(EPISODES_A_SEASON))
    for _, result in run_isolated(make, tracks, num_workers=num_workers, silence_seconds=600.0):
        assert not isinstance(result, Failure), result
    numbers = list(range(count))
    begun = time.perf_counter()
    prints: dict[int, AudioFingerprint] = {}
    listen = functools.partial(listen_to, folder, video)
    for number, heard in run_isolated(
        listen, numbers, num_workers=num_workers, silence_seconds=600.0
    ):
        assert not isinstance(heard, Failure), heard
        prints[number] = heard
    listened = time.perf_counter()
    episodes = [
        Episode(
            item_id=number,
            season=number // EPISODES_A_SEASON,
            episode=number % EPISODES_A_SEASON,
            fingerprint=prints[number],
        )
        for number in numbers
    ]
    segments = detect_recurring(episodes)
    done = time.perf_counter()
    true = found = both = hours = 0.0
    for number in numbers:
        season, track = divmod(number, EPISODES_A_SEASON)
        slower = RATE_HZ / rate_of(season)
        hours += MINUTES / 60 * slower
        start, stop = (at * slower for at in opening_of(track))
        spans = [
            (one.start_seconds, one.stop_seconds)
            for one in segments
            if one.item_id == number and one.kind == "opening"
        ]
        true += stop - start
        found += sum(b - a for a, b in spans)
        both += sum(max(0.0, min(b, stop) - max(a, start)) for a, b in spans)
    return {
        "minutes_200_episodes": (done - begun) / 60,
        "minutes_200_episodes_prints": (listened - begun) / 60,
        "minutes_200_episodes_search": (done - listened) / 60,
        "load_episodes": count,
        "load_hours": hours,
        "load_opening_recall": both / true,
        "load_opening_precision": both / max(found, 1e-9),
        "load_other_segments": sum(one.kind in ("recap", "recurring") for one in segments),
    }


def rate_of(season: int) -> int:
    """The sample rate that a season's sound is said to have."""
    return round(RATE_HZ * _SPEED ** (season - 4))


def opening_of(track: int) -> tuple[float, float]:
    """Where the opening of a soundtrack lies: after a cold open of up to three minutes."""
    start = float(np.random.default_rng([3, track]).uniform(0, 180))
    return start, start + OPENING_SECONDS


def make_soundtrack(folder: Path, track: int, tell: Callable[[float], None]) -> None:
    """Write one soundtrack as a proxy's FLAC.

    Its body is snippets of 0.5 to 1.9 s from anywhere in the real sound, each at a speed of its
    own, so that nothing of two seconds comes twice; the opening, and the credits at the end, are
    real stretches of it, at a gain of the episode's own.
    """
    path = folder / f"{track:04d}.mp4"
    if path.exists():
        return
    source: NDArray[np.int16] = np.load(folder / "source.npy", mmap_mode="r")
    rng = np.random.default_rng([2, track])
    total = MINUTES * 60 * RATE_HZ
    parts, have = [], 0
    while have < total:
        length = int(rng.uniform(_SHORTEST_SECONDS, _LONGEST_SECONDS) * RATE_HZ)
        speed = rng.uniform(0.7, 1.4)
        first = int(rng.integers(0, len(source) - 2 * length))
        parts.append(source[first + (np.arange(length) * speed).astype(np.int64)])
        have += length
        tell(have / RATE_HZ)
    sound = np.concatenate(parts)[:total]
    gain = rng.uniform(0.5, 1.0)
    for first, seconds, at in (
        (240 * RATE_HZ, OPENING_SECONDS, round(opening_of(track)[0] * RATE_HZ)),
        (len(source) - 60 * RATE_HZ, CREDITS_SECONDS, total - CREDITS_SECONDS * RATE_HZ),
    ):
        piece = source[first : first + seconds * RATE_HZ]
        sound[at : at + len(piece)] = (gain * piece).astype(np.int16)
    partial = path.with_suffix(".partial")
    with av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("flac", rate=RATE_HZ)
        stream.layout, stream.format = "mono", "s16"
        for first in range(0, total, 4 * RATE_HZ):
            block = np.ascontiguousarray(sound[None, first : first + 4 * RATE_HZ])
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE_HZ, first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    partial.rename(path)


def listen_to(
    folder: Path, video: Path, number: int, tell: Callable[[float], None]
) -> AudioFingerprint:
    """Decode one soundtrack as `prepare` does, and take its prints."""
    season, track = divmod(number, EPISODES_A_SEASON)
    reader = ProxyReader(video, folder / f"{track:04d}.mp4", frame_rate=8.0, sample_rate_hz=RATE_HZ)
    try:

        def read(first: int, count: int) -> WaveformArray:
            tell(first / RATE_HZ)
            return reader.read_waveform(first_sample=first, num_samples=count)

        return fingerprint_audio(
            read, num_samples=MINUTES * 60 * RATE_HZ, sample_rate_hz=rate_of(season)
        )
    finally:
        reader.close()


def _real_sound(library: Path) -> NDArray[np.int16]:
    """All sound of the library, one film after the other, int16 `[S]`."""
    parts = []
    for path in sorted(path for path in library.rglob("*") if path.is_file()):
        with av.open(str(path)) as film:
            count = int((film.duration or 0) / 1e6 * RATE_HZ)
        sound = read_audio(path, first_sample=0, num_samples=count, sample_rate_hz=RATE_HZ)
        parts.append(np.clip(np.rint(sound * 32767), -32768, 32767).astype(np.int16))
    return np.concatenate(parts)
