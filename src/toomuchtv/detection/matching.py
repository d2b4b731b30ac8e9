"""Stretches of sound that several items share, found by their fingerprints.

Near-linear in the hours: every word is looked up in one sorted list of all words, and each place is
linked only to the next few places of other items that have the same word. An opening in 200
episodes so costs a chain of links, not 200 x 200 pairs. Links of two items that agree on the
offset between them are votes for it (as in Wang, "An Industrial-Strength Audio Search Algorithm",
ISMIR 2003); each offset with enough votes is verified by the bit errors along it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toomuchtv.detection.fingerprints import (
    FINGERPRINT_RATE_HZ,
    WORD_BITS,
    AudioFingerprint,
    running_mean,
    seconds_to_words,
)
from toomuchtv.detection.voting import MIN_VOTES, PlaceShelf, count_votes, scrambled

#: Raised when the same prints would give other matches.
MATCHING_VERSION = 1
# Places in one group that one word may have: what comes more often there tells little.
_PLACES_A_GROUP = 2
_LINKS_A_PLACE = 6
_MOST_PRINTS = 1 << 32
_OFFSETS_A_PAIR = 48
# Bit errors: 0.08 in a copy at 64 kbit/s, 0.5 in unrelated sound; the same music under other
# voices lies between.
_MAX_ERROR = 0.25
_SMOOTH = FINGERPRINT_RATE_HZ
# Stretches on one offset are one if less than this lies between them, or nothing but silence.
_BRIDGE, _BRIDGE_SILENT = FINGERPRINT_RATE_HZ, 10 * FINGERPRINT_RATE_HZ
# Where one of the two says nothing, the match neither gains much nor loses much.
_UNTELLING_SCORE = -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A stretch of item `first` that item `second` has too, `offset` prints later.

    `start` and `stop` count prints of `first`; `score` grows with the length and falls with the
    errors; `error` is the share of bits that differ.
    """

    first: int
    second: int
    start: int
    stop: int
    offset: int
    score: float
    error: float


def find_matches(
    prints: Sequence[AudioFingerprint],
    *,
    groups: Sequence[int] | None = None,
    sparsity: int = 1,
    min_seconds: float = 2.0,
    scratch: Path | None = None,
) -> Iterator[Match]:
    """Find the stretches that items share.

    Args:
        prints: One per item; may be read from disk as they are asked for.
        groups: One per item, in order: items of one group are not compared. By default each item
            is its own.
        sparsity: Use one of so many words for the look-up: less memory, and longer stretches.
        min_seconds: Shorter stretches are left out.
        scratch: A folder for what does not fit in memory; None keeps all there.

    Yields:
        Matches of different items, `first < second`; those of one pair do not overlap. For a
        thing in many items not every pair is there, but the pairs connect all of them.
    """
    group_of = np.arange(len(prints)) if groups is None else np.asarray(groups, np.int64)
    for first, second, offsets in _candidates(prints, group_of, sparsity, scratch):
        one, other = prints[first], prints[second]
        yield from _without_overlaps(
            [
                match
                for offset in offsets
                for match in _verify(one, other, first, second, offset, min_seconds)
            ]
        )


def _candidates(
    prints: Sequence[AudioFingerprint],
    group_of: NDArray[np.int64],
    sparsity: int,
    scratch: Path | None,
) -> Iterator[tuple[int, int, list[int]]]:
    """Yield pairs of items with the offsets that enough words agree on."""
    lengths: list[int] = []
    num_prints = 0
    with PlaceShelf(scratch) as shelf:
        for one in prints:
            shelf.add(_places(one, num_prints, sparsity))
            num_prints += len(one)
            lengths.append(len(one))
            if num_prints >= _MOST_PRINTS:
                raise ValueError(
                    f"more than {_MOST_PRINTS / FINGERPRINT_RATE_HZ / 3600:,.0f} hours of sound "
                    "cannot be compared at once: compare parts of the catalog"
                )
        bases = np.concatenate([[0], np.cumsum(np.array(lengths, np.int64))])
        width = 2 * max(lengths, default=0) + 1
        keys, counts = count_votes(shelf, lambda places: _links(places, bases, group_of, width))
    enough = _enough(keys, counts)
    pair, offset = np.divmod(keys[enough], width)
    offset -= width // 2
    order = np.lexsort((-counts[enough], pair))
    pair, offset = pair[order], offset[order]
    starts = np.flatnonzero(np.diff(pair, prepend=-1))
    for begin, stop in pairwise([*starts.tolist(), len(pair)]):
        first, second = divmod(int(pair[begin]), len(prints))
        yield first, second, [int(o) for o in offset[begin : min(stop, begin + _OFFSETS_A_PAIR)]]


def _places(one: AudioFingerprint, base: int, sparsity: int) -> NDArray[np.uint64]:
    """The is_distinctive words of an item with where they are, `word << 32 | place`."""
    use = one.is_distinctive.copy()
    use[1:] &= one.words[1:] != one.words[:-1]
    if sparsity > 1:
        use &= scrambled(one.words) >> np.uint32(16) & np.uint32(0xFFFF) < 65_536 // sparsity
    at = np.flatnonzero(use)
    word = one.words[at].astype(np.uint64) << np.uint64(32)
    return np.asarray(word | (at + base).astype(np.uint64))


def _links(
    places: NDArray[np.uint64],
    bases: NDArray[np.int64],
    group_of: NDArray[np.int64],
    width: int,
) -> NDArray[np.int64]:
    """Link sorted places that have a word in common: `(first, second, offset)` as one number."""
    word = (places >> np.uint64(32)).astype(np.uint32)
    place = (places & np.uint64(0xFFFFFFFF)).astype(np.int64)
    item = np.searchsorted(bases, place, side="right") - 1
    group = group_of[item]
    changed = np.ones(len(places), np.bool_)
    changed[1:] = (word[1:] != word[:-1]) | (group[1:] != group[:-1])
    begin = np.maximum.accumulate(np.where(changed, np.arange(len(places)), 0))
    keep = np.arange(len(places)) - begin < _PLACES_A_GROUP
    word, item, group = word[keep], item[keep], group[keep]
    time = place[keep] - bases[item]
    links = [np.zeros(0, np.int64)]
    for step in range(1, _LINKS_A_PLACE + 1):
        both = np.flatnonzero((word[step:] == word[:-step]) & (group[step:] != group[:-step]))
        # Places are sorted by item within a word, so the first has the smaller item.
        pair = item[both] * (len(bases) - 1) + item[both + step]
        links.append(pair * width + (time[both + step] - time[both] + width // 2))
    return np.concatenate(links)


def _enough(keys: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices of offsets with enough votes, counting those of the next offset on either side."""
    if len(keys) == 0:
        return np.zeros(0, np.int64)
    near = counts.copy()
    beside = np.flatnonzero(np.diff(keys) == 1)
    near[beside] += counts[beside + 1]
    near[beside + 1] += counts[beside]
    return np.flatnonzero((near >= MIN_VOTES) & (counts >= MIN_VOTES / 2))


def _verify(
    one: AudioFingerprint,
    other: AudioFingerprint,
    first: int,
    second: int,
    offset: int,
    min_seconds: float,
) -> Iterator[Match]:
    """Yield the stretches along one offset where the bits agree."""
    begin, stop = max(0, -offset), min(len(one), len(other) - offset)
    if stop - begin < seconds_to_words(min_seconds):
        return
    there = slice(begin + offset, stop + offset)
    errors = np.bitwise_count(one.words[begin:stop] ^ other.words[there]).astype(np.float64)
    is_distinctive = one.is_distinctive[begin:stop] & other.is_distinctive[there]
    score = np.where(is_distinctive, _MAX_ERROR * WORD_BITS - errors, _UNTELLING_SCORE)
    total = np.concatenate([[0.0], np.cumsum(score)])
    for blurred in _runs(running_mean(score, _SMOOTH) > 0, is_distinctive):
        # The sharp edges: where the sum of scores turns.
        low, high = _turn(-total, blurred[0]), _turn(total, blurred[1])
        told = is_distinctive[low:high]
        if high - low < seconds_to_words(min_seconds) or told.sum() * 2 < high - low:
            continue
        error = float(errors[low:high][told].mean()) / WORD_BITS
        if error <= _MAX_ERROR * 0.9:
            yield Match(
                first=first,
                second=second,
                start=begin + low,
                stop=begin + high,
                offset=offset,
                score=float(total[high] - total[low]),
                error=error,
            )


def _turn(total: NDArray[np.float64], near: int) -> int:
    begin = max(near - _SMOOTH, 0)
    return begin + int(np.argmax(total[begin : near + _SMOOTH + 1]))


def _runs(good: NDArray[np.bool_], is_distinctive: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield `[start, stop)` of the runs, those that belong together as one."""
    edges = np.flatnonzero(np.diff(good.astype(np.int8), prepend=0, append=0))
    if len(edges) == 0:
        return
    starts, stops = edges[::2], edges[1::2]
    told = np.concatenate([[0], np.cumsum(is_distinctive)])
    apart = (told[starts[1:]] - told[stops[:-1]] >= _BRIDGE) | (
        starts[1:] - stops[:-1] >= _BRIDGE_SILENT
    )
    for start, stop in zip(
        starts[np.concatenate([[True], apart])],
        stops[np.concatenate([apart, [True]])],
        strict=True,
    ):
        yield int(start), int(stop)


def _without_overlaps(matches: list[Match]) -> list[Match]:
    """Of matches of one pair that lie over each other in either item, keep the best."""
    kept: list[Match] = []
    for match in sorted(matches, key=lambda match: -match.score):
        if not any(_overlap(match, other) for other in kept):
            kept.append(match)
    return kept


def _overlap(one: Match, other: Match) -> bool:
    shorter = min(one.stop - one.start, other.stop - other.start)
    here = min(one.stop, other.stop) - max(one.start, other.start)
    there = min(one.stop + one.offset, other.stop + other.offset) - max(
        one.start + one.offset, other.start + other.offset
    )
    return max(here, there) * 4 > shorter
