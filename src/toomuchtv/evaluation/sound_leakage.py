"""Is a recording in the catalog? Looked for by the fingerprints of its sound.

Every telling word of the recording, as it is and with any one bit turned, is looked up among all
words of the catalog. Each hit is a vote for one item at one offset (Wang, "An Industrial-Strength
Audio Search Algorithm", ISMIR 2003); the offsets with the most votes are verified by the bits that
differ along them.

    item       |...........................................|
    recording                  |-----------|                  one offset, checked print by print

The figure of a place is the median, over the telling prints, of the share of bits that differ in
the second around each: at least half of the recording lies there if it is small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.catalog.records import Proxy
from toomuchtv.catalog.store import Catalog
from toomuchtv.detection.features_on_disk import features_path, read_fingerprint
from toomuchtv.detection.fingerprints import (
    FINGERPRINT_RATE_HZ,
    WORD_BITS,
    AudioFingerprint,
    fingerprint_audio,
    running_mean,
    words_to_seconds,
)
from toomuchtv.evaluation.benchmark import LabeledClip
from toomuchtv.media.clip_reader import read_audio
from toomuchtv.media.containers import audio_duration_seconds
from toomuchtv.media.proxy_reader import ProxyReader

#: A recording whose figure is at most this counts as found. Copies reach 0.20, other sounds start
#: at 0.43: `python -m benchmarks.sound_leakage`, see docs/evaluation.md.
MOST_ERROR = 0.3
#: A recording with less telling sound than this says nothing: half a second.
LEAST_TELLING = FINGERPRINT_RATE_HZ // 2

_SAMPLE_RATE_HZ = 16_000
_OFFSETS_VERIFIED = 32
# A word that comes more often than this in the whole catalog, as that of a hum, tells nothing.
_MOST_PLACES = 256


class SoundPlace(NamedTuple):
    """Where a recording lies best: the item, its start there in seconds, and the figure, 0 to 1."""

    item: str
    seconds: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundIndex:
    """All words of a catalog, sorted.

    Attributes:
        names: Of the items.
        words: uint32 `[P]`, of all items one after the other.
        telling: bool `[P]`.
        bases: int64 `[items + 1]`, where each item starts in `words`.
        sorted_words: uint32 `[Q]`, the telling ones.
        places: int64 `[Q]`, where each of them is in `words`.
    """

    names: tuple[str, ...]
    words: NDArray[np.uint32]
    telling: NDArray[np.bool_]
    bases: NDArray[np.int64]
    sorted_words: NDArray[np.uint32]
    places: NDArray[np.int64]


def index_sounds(names: Sequence[str], prints: Sequence[AudioFingerprint]) -> SoundIndex:
    """Sort the words of items; some 20 bytes a print, 2 MB an hour."""
    words = np.concatenate([np.zeros(0, np.uint32), *(one.words for one in prints)])
    telling = np.concatenate([np.zeros(0, np.bool_), *(one.is_distinctive for one in prints)])
    places = np.flatnonzero(telling)
    order = np.argsort(words[places], kind="stable")
    return SoundIndex(
        names=tuple(names),
        words=words,
        telling=telling,
        bases=np.cumsum([0, *(len(one) for one in prints)], dtype=np.int64),
        sorted_words=words[places][order],
        places=places[order],
    )


def index_catalog_sounds(
    catalog: Catalog, *, progress: ProgressCallback = no_progress
) -> SoundIndex:
    """Take the fingerprints of every prepared item, from its analysis or else from its proxy.

    Raises:
        MediaError: A proxy cannot be read.
    """
    proxies = catalog.proxies()
    names, prints = [], []
    for done, item in enumerate(catalog.items(), start=1):
        proxy = proxies.get(item.id)
        if proxy is None or proxy.audio_path is None:
            continue
        stored = catalog.folder / features_path(proxy)
        if stored.is_file():
            prints.append(read_fingerprint(stored))
        else:
            reader = ProxyReader(
                catalog.folder / proxy.video_path,
                catalog.folder / proxy.audio_path,
                frame_rate=proxy.frame_rate,
                sample_rate_hz=proxy.sample_rate_hz,
            )
            try:
                prints.append(_print_proxy(reader, proxy))
            finally:
                reader.close()
        names.append(str(item.path))
        progress(done, len(proxies), "listening to the catalog")
    return index_sounds(names, prints)


def _print_proxy(reader: ProxyReader, proxy: Proxy) -> AudioFingerprint:
    return fingerprint_audio(
        lambda first, count: reader.read_waveform(first_sample=first, num_samples=count),
        num_samples=proxy.num_samples,
        sample_rate_hz=proxy.sample_rate_hz,
    )


def print_clip(clip: LabeledClip) -> AudioFingerprint:
    """Take the fingerprint of a benchmark's recording.

    Raises:
        MediaError: It cannot be read, or has no sound.
    """
    stop = clip.stop_seconds if clip.stop_seconds is not None else audio_duration_seconds(clip.path)
    return print_file(clip.path, start_seconds=clip.start_seconds, stop_seconds=stop)


def print_file(path: Path, *, start_seconds: float, stop_seconds: float) -> AudioFingerprint:
    """Take the fingerprint of a stretch of a file.

    Raises:
        MediaError: It cannot be read.
    """
    first = round(start_seconds * _SAMPLE_RATE_HZ)
    length = max(0, round(stop_seconds * _SAMPLE_RATE_HZ) - first)
    sound = read_audio(path, first_sample=first, num_samples=length, sample_rate_hz=_SAMPLE_RATE_HZ)

    def read(at: int, num: int) -> NDArray[np.float32]:
        out = np.zeros(num, np.float32)
        begin, stop = max(0, at), min(length, at + num)
        if begin < stop:
            out[begin - at : stop - at] = sound[begin:stop]
        return out

    return fingerprint_audio(read, num_samples=length, sample_rate_hz=_SAMPLE_RATE_HZ)


def can_tell(recording: AudioFingerprint) -> bool:
    """Whether a recording has enough sound to be known again by."""
    return int(recording.is_distinctive.sum()) >= LEAST_TELLING


def best_place(recording: AudioFingerprint, index: SoundIndex) -> SoundPlace | None:
    """Where a recording lies best, however badly; None if not one of its words is in the catalog.

    Ask `can_tell` first: of silence and of a steady tone every place is as good as any other.
    """
    telling = np.flatnonzero(recording.is_distinctive)
    best: SoundPlace | None = None
    for item, offset in _candidates(recording, telling, index):
        error = _error_at(recording, telling, index, item, offset)
        if best is None or error < best.error:
            best = SoundPlace(index.names[item], words_to_seconds(offset), error)
    return best


def _candidates(
    recording: AudioFingerprint, telling: NDArray[np.int64], index: SoundIndex
) -> list[tuple[int, int]]:
    """Items and offsets, in prints, that most words agree on."""
    # In two seconds of a poor copy not one word may be whole, but many have one wrong bit.
    turned = np.concatenate([[0], 1 << np.arange(WORD_BITS)]).astype(np.uint32)
    words = (recording.words[telling, None] ^ turned).ravel()
    at_print = np.repeat(telling, len(turned))
    low = np.searchsorted(index.sorted_words, words, side="left")
    count = np.searchsorted(index.sorted_words, words, side="right") - low
    count[count > _MOST_PLACES] = 0
    at = np.repeat(low - np.cumsum(count) + count, count) + np.arange(count.sum())
    place = index.places[at]
    item = np.searchsorted(index.bases, place, side="right") - 1
    offset = place - index.bases[item] - np.repeat(at_print, count)
    votes, number = np.unique(np.stack([item, offset]), axis=1, return_counts=True)
    order = np.argsort(-number, kind="stable")[:_OFFSETS_VERIFIED]
    return [(int(votes[0, one]), int(votes[1, one])) for one in order]


def _error_at(
    recording: AudioFingerprint,
    telling: NDArray[np.int64],
    index: SoundIndex,
    item: int,
    offset: int,
) -> float:
    """The figure of one offset; where the item has nothing, all bits count as guessed: one half."""
    begin, stop = int(index.bases[item]), int(index.bases[item + 1])
    place = begin + offset + telling
    inside = (place >= begin) & (place < stop)
    place = np.where(inside, place, begin)
    apart = np.bitwise_count(recording.words[telling] ^ index.words[place]) / WORD_BITS
    share = np.where(inside & index.telling[place], apart, 0.5)
    return float(np.median(running_mean(share, min(FINGERPRINT_RATE_HZ, len(share)))))
