"""Search for the clips of a benchmark in the catalog that an encoder was pretrained on.

Some benchmarks overlap with films: HMDB51 is partly cut from them. Every clip is searched in each
modality of its benchmark, by the words of `signatures`. Words of the clip that match words of the
catalog vote for an item and an offset (Wang, "An Industrial-Strength Audio Search Algorithm",
ISMIR 2003).

    item    |...........................................|
    clip               |-----------|                        one offset, verified word by word

- In video, two frames match if at most 10 of their bits differ. The error of an offset is the
  share of the clip's frames that have no match at this offset, within half a second. All offsets
  are verified.
- In audio, two words match if at most one bit differs. The error of an offset is the median, over
  the clip's words, of the share of bits that differ in the second around each word. It is small
  if at least half of the clip is there. The 32 offsets with the most votes are verified.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.detection.fingerprints import FINGERPRINT_RATE_HZ, WORD_BITS, running_mean
from toomuchtv.errors import MediaError
from toomuchtv.evaluation.benchmark import Benchmark, Modality
from toomuchtv.evaluation.signatures import Words, catalog_words, clip_words

#: A clip is found if the error is at most this. Measured for audio: copies have errors up to 0.20,
#: and other recordings have errors of at least 0.43 (see docs/experiments/2026-11-evaluation.md).
MAX_ERROR: dict[Modality, float] = {"video": 0.5, "audio": 0.3}
#: A clip is searched if it has at least this many distinctive words: three frames, or half a
#: second of audio.
MIN_DISTINCTIVE: dict[Modality, int] = {"video": 3, "audio": FINGERPRINT_RATE_HZ // 2}

_MAX_DIFFERENT_BITS = 10
_OFFSET_STEP_SECONDS = 0.5  # of video; the offsets of audio are whole words
_NUM_VERIFIED = 32
# A word that occurs more often than this in the catalog, such as that of a hum, is ignored.
_MAX_OCCURRENCES = 256
_NUM_LISTED = 10
# Keys of a result, which are part of its format.
_RESULT_NAMES: dict[Modality, str] = {"video": "sight", "audio": "sound"}


class Match(NamedTuple):
    """The best match of a clip: the item, the clip's start in it in seconds, and the error."""

    item: str
    seconds: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WordIndex:
    """The words of all items of a catalog, concatenated.

    Attributes:
        modality: Modality of the words.
        names: Paths of the items.
        words: Words of all items, `[P]`.
        seconds: Time of each word in its item, `[P]`.
        is_distinctive: bool `[P]`.
        bases: Position of each item's first word, and P, int64 `[items + 1]`.
        sorted_words: Distinctive words in ascending order, `[Q]`.
        positions: Position of each of them in `words`, int64 `[Q]`.
    """

    modality: Modality
    names: tuple[str, ...]
    words: NDArray[Any]
    seconds: NDArray[np.float64]
    is_distinctive: NDArray[np.bool_]
    bases: NDArray[np.int64]
    sorted_words: NDArray[Any]
    positions: NDArray[np.int64]


def index_words(items: Iterable[tuple[str, Words]], modality: Modality) -> WordIndex:
    """Build the index of items, given as pairs of path and words."""
    listed = list(items)
    dtype = np.uint64 if modality == "video" else np.uint32
    words = np.concatenate([np.zeros(0, dtype), *(one.words for _, one in listed)])
    is_distinctive = np.concatenate(
        [np.zeros(0, np.bool_), *(one.is_distinctive for _, one in listed)]
    )
    positions = np.flatnonzero(is_distinctive)
    order = np.argsort(words[positions], kind="stable")
    return WordIndex(
        modality=modality,
        names=tuple(name for name, _ in listed),
        words=words,
        seconds=np.concatenate([np.zeros(0), *(one.seconds for _, one in listed)]),
        is_distinctive=is_distinctive,
        bases=np.cumsum([0, *(len(one.words) for _, one in listed)], dtype=np.int64),
        sorted_words=words[positions][order],
        positions=positions[order],
    )


def is_searchable(clip: Words, modality: Modality) -> bool:
    """Return whether a clip has enough distinctive words to be recognized."""
    return int(clip.is_distinctive.sum()) >= MIN_DISTINCTIVE[modality]


def locate(clip: Words, index: WordIndex) -> Match | None:
    """Return the best match of a clip, however large its error; None if no word matches.

    Check `is_searchable` first: silence and plain frames match everywhere.
    """
    distinctive = np.flatnonzero(clip.is_distinctive)
    words, seconds = clip.words[distinctive], clip.seconds[distinctive] - clip.seconds[:1]
    if index.modality == "video":
        return _locate_frames(words, seconds, index)
    return _locate_audio(words, seconds, index)


def _locate_frames(
    words: NDArray[np.uint64], seconds: NDArray[np.float64], index: WordIndex
) -> Match | None:
    """Count the frames that match at every offset that a pair of similar frames votes for."""
    best: Match | None = None
    for name, (begin, stop) in zip(index.names, pairwise(index.bases), strict=True):
        at = begin + np.flatnonzero(index.is_distinctive[begin:stop])
        num_different = np.bitwise_count(words[:, None] ^ index.words[None, at])
        frame, found = np.nonzero(num_different <= _MAX_DIFFERENT_BITS)
        if len(frame) == 0:
            continue
        steps = (index.seconds[at[found]] - seconds[frame]) / _OFFSET_STEP_SECONDS
        voted = np.round(steps).astype(np.int64)
        # A pair also supports the offsets before and after its own if they are within one step.
        near = voted + np.array([[-1], [0], [1]])
        is_supported = (np.abs(steps - near) <= 1) & np.isin(near, voted)
        # A frame that matches several times at one offset counts once.
        supports = np.unique((near * len(words) + frame)[is_supported])
        offsets, num_frames = np.unique(supports // len(words), return_counts=True)
        error = 1.0 - float(num_frames.max()) / len(words)
        if best is None or error < best.error:
            best = Match(name, float(offsets[num_frames.argmax()] * _OFFSET_STEP_SECONDS), error)
    return best


def _locate_audio(
    words: NDArray[np.uint32], seconds: NDArray[np.float64], index: WordIndex
) -> Match | None:
    """Verify the offsets with the most votes of words that differ in at most one bit."""
    # In two seconds of a poor copy there may be no equal word, but many with one wrong bit.
    flips = np.concatenate([[0], 1 << np.arange(WORD_BITS)]).astype(np.uint32)
    queries = (words[:, None] ^ flips).ravel()
    low = np.searchsorted(index.sorted_words, queries, side="left")
    count = np.searchsorted(index.sorted_words, queries, side="right") - low
    count[count > _MAX_OCCURRENCES] = 0
    # Concatenate the ranges [low, low + count) of all queries.
    position = index.positions[
        np.repeat(low - np.cumsum(count) + count, count) + np.arange(count.sum())
    ]
    item = np.searchsorted(index.bases, position, side="right") - 1
    offset = index.seconds[position] - np.repeat(np.repeat(seconds, len(flips)), count)
    votes = np.stack([item, np.round(offset * FINGERPRINT_RATE_HZ).astype(np.int64)])
    places, num_votes = np.unique(votes, axis=1, return_counts=True)
    matches = []
    for one in np.argsort(-num_votes, kind="stable")[:_NUM_VERIFIED]:
        number, start = int(places[0, one]), float(places[1, one] / FINGERPRINT_RATE_HZ)
        error = _audio_error(words, seconds + start, index, number)
        matches.append(Match(index.names[number], start, error))
    return min(matches, key=lambda match: match.error, default=None)


def _audio_error(
    words: NDArray[np.uint32], seconds: NDArray[np.float64], index: WordIndex, item: int
) -> float:
    """Return the error of words at these times of an item.

    Where the item has no distinctive audio, half of the bits count as different, as by chance.
    """
    begin, stop = int(index.bases[item]), int(index.bases[item + 1])
    position = begin + np.round(seconds * FINGERPRINT_RATE_HZ).astype(np.int64)
    is_inside = (position >= begin) & (position < stop)
    position = np.where(is_inside, position, begin)
    differing = np.bitwise_count(words ^ index.words[position]) / WORD_BITS
    share = np.where(is_inside & index.is_distinctive[position], differing, 0.5)
    return float(np.median(running_mean(share, min(FINGERPRINT_RATE_HZ, len(share)))))


@dataclass(slots=True, kw_only=True)
class _SearchResult:
    """What the search in one modality found, by the rows of clips."""

    num_items: int
    found: dict[int, str] = field(default_factory=dict)
    unreadable: set[int] = field(default_factory=set)
    not_distinctive: set[int] = field(default_factory=set)


def find_leakage(
    benchmark: Benchmark,
    catalog: str | os.PathLike[str],
    *,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Search for the clips of a benchmark in a catalog, in each modality of the benchmark.

    Returns:
        `looked`: the modalities; `items`: number of items searched; `clips`: number of readable
        clips; `say_too_little`: number of clips that are not distinctive; `found_by_sight`,
        `found_by_sound` and `found`: number of clips found; `found_among_test` and `test_clips`:
        the same for test clips; `first`: descriptions of the first clips found.

    Raises:
        CatalogError: There is no catalog.
        MediaError: A proxy of the catalog cannot be read.
    """
    results: dict[Modality, _SearchResult] = {}
    with open_catalog(catalog) as opened:
        for modality in ("video", "audio"):
            if modality in benchmark.modalities:
                results[modality] = _search(benchmark, opened, modality, progress)
    searches = list(results.values())
    found = {row: text for search in searches for row, text in search.found.items()}
    unreadable = set.intersection(*(search.unreadable for search in searches))
    unsearchable = set.intersection(
        *(search.unreadable | search.not_distinctive for search in searches)
    )
    test_rows = {row for fold in benchmark.folds for row in fold.test}
    return {
        "looked": " and ".join(f"by {_RESULT_NAMES[modality]}" for modality in results),
        "items": max(search.num_items for search in searches),
        "clips": len(benchmark.clips) - len(unreadable),
        "say_too_little": len(unsearchable - unreadable),
        **{
            f"found_by_{_RESULT_NAMES[modality]}": len(search.found)
            for modality, search in results.items()
        },
        "found": len(found),
        "found_among_test": len(found.keys() & test_rows),
        "test_clips": len(test_rows),
        "first": [text for _, text in sorted(found.items())[:_NUM_LISTED]],
    }


def _search(
    benchmark: Benchmark, catalog: Catalog, modality: Modality, progress: ProgressCallback
) -> _SearchResult:
    index = index_words(catalog_words(catalog, modality, progress=progress), modality)
    result = _SearchResult(num_items=len(index.names))
    for row, clip in enumerate(benchmark.clips):
        progress(row, len(benchmark.clips), f"searching the catalog by {modality}")
        try:
            words = clip_words(clip, modality)
        except MediaError:
            result.unreadable.add(row)
            continue
        if not is_searchable(words, modality):
            result.not_distinctive.add(row)
            continue
        match = locate(words, index)
        if match is not None and match.error <= MAX_ERROR[modality]:
            agreement = (
                f"{1 - match.error:.0%} of its frames match"
                if modality == "video"
                else f"{match.error:.0%} of the bits of its audio differ"
            )
            result.found[row] = (
                f"{benchmark.relative_key(row)} in {match.item} at {match.seconds:.1f} s, "
                f"{agreement}"
            )
    return result
