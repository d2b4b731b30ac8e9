"""Find the intervals of audio that several items share, by their fingerprints.

The search has three steps. Its cost is nearly linear in the hours of audio.

1. **Index.** Every distinctive word of every item becomes a *posting* `(word, position)`, where the
   position counts the words of all items one after the other. All postings are sorted by word.
2. **Voting.** Postings with equal words are candidates for shared audio. Each posting is paired
   with the next six postings of the same word in other items, and each pair is a vote for `(first
   item, second item, offset)`, where the offset is the difference of their times (as in Wang, "An
   Industrial-Strength Audio Search Algorithm", ISMIR 2003). So an opening in 200 episodes costs a
   chain of votes per word and not 200 x 200 pairs. Unrelated audio scatters its votes over all
   offsets; shared audio collects them at one.
3. **Verification.** An offset with at least four votes, including those of its two neighbors, is
   verified word by word. The score of a word is (a quarter of its bits - its bit errors). An
   interval is a match where the running mean of the scores is positive; its exact edges are where
   the cumulative sum of the scores turns.

Voting can run on disk, so that a whole catalog can be searched with bounded memory: postings are
partitioned by word into files, and their votes by pair and offset into other files, which are
counted one after the other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from toomuchtv.detection.fingerprints import (
    FINGERPRINT_RATE_HZ,
    WORD_BITS,
    AudioFingerprint,
    seconds_to_words,
)

#: Version of the search. It is raised when the same fingerprints would give other matches.
MATCHING_VERSION = 1
#: Prefix of the folders for postings that do not fit in memory. A worker that is killed leaves one.
POSTINGS_PREFIX = "postings-"
#: An offset with fewer votes, including those of its neighbors, is taken for chance.
MIN_VOTES = 4

# A word that is frequent within one group is not specific: only its first postings count.
_POSTINGS_PER_GROUP = 2
_VOTES_PER_POSTING = 6
_MAX_WORDS = 1 << 32  # positions have 32 bits
_OFFSETS_PER_PAIR = 48
# The bit error rate is 0.08 in a copy at 64 kbit/s and 0.5 in unrelated audio. The same music under
# other voices is between them.
_MAX_BIT_ERROR_RATE = 0.25
_SMOOTHING_WORDS = FINGERPRINT_RATE_HZ
# Two intervals at one offset are one interval if fewer distinctive words are between them, provided
# that the gap is not longer than the second number.
_BRIDGE_DISTINCTIVE, _BRIDGE_WORDS = FINGERPRINT_RATE_HZ, 10 * FINGERPRINT_RATE_HZ
_BIT_ERRORS_ALLOWED = round(_MAX_BIT_ERROR_RATE * WORD_BITS)
# The score of words that are not distinctive: they say little for a match and little against it.
_INDISTINCT = np.int8(-1)

_PARTITION_BITS = 8
_NUM_PARTITIONS = 1 << _PARTITION_BITS
_POSTINGS_IN_MEMORY = 1 << 22
_BLOCK_BITS = 20  # votes of a million neighboring numbers are in one partition


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """An interval of item `first` that item `second` contains too.

    Attributes:
        first: Index of the first item.
        second: Index of the second item, larger than `first`.
        start: First word of the interval in item `first`.
        stop: End of the interval in item `first`, exclusive.
        offset: Number of words by which the interval is later in item `second`.
        score: Sum of the scores of the words; it grows with length and falls with bit errors.
        bit_error_rate: Share of the bits of distinctive words that differ.
    """

    first: int
    second: int
    start: int
    stop: int
    offset: int
    score: float
    bit_error_rate: float


class Fingerprints(Protocol):
    """Fingerprints by index: a list, or a sequence that reads them from disk."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> AudioFingerprint: ...


def find_matches(
    fingerprints: Fingerprints,
    *,
    groups: Sequence[int] | None = None,
    sparsity: int = 1,
    min_seconds: float = 2.0,
    scratch: Path | None = None,
) -> Iterator[Match]:
    """Find the intervals of audio that items share.

    Args:
        fingerprints: One fingerprint per item.
        groups: Group of each item, where items of one group are consecutive. Items of one group are
            not compared. By default no two items are in one group.
        sparsity: Index only one in `sparsity` words. This saves memory and misses short intervals.
        min_seconds: Shortest interval to report.
        scratch: Folder for postings that do not fit in memory. None keeps all in memory.

    Yields:
        Matches of different items; the matches of one pair of items do not overlap. For content in
        many items, not every pair is reported, but the reported pairs connect all items.

    Raises:
        ValueError: There are more words than 32 bits can number.
    """
    group_of = np.arange(len(fingerprints)) if groups is None else np.asarray(groups, np.int64)
    min_words = seconds_to_words(min_seconds)
    for first, second, offsets in _candidates(fingerprints, group_of, sparsity, scratch):
        one, other = fingerprints[first], fingerprints[second]
        matches = (
            Match(first=first, second=second, start=start, stop=stop, offset=offset, score=score,
                  bit_error_rate=rate)
            for offset in offsets
            for start, stop, score, rate in _verify(one, other, offset, min_words)
        )  # fmt: skip
        yield from _without_overlaps(matches)


# ---- Index and voting


def _candidates(
    fingerprints: Fingerprints,
    group_of: NDArray[np.int64],
    sparsity: int,
    scratch: Path | None,
) -> Iterator[tuple[int, int, list[int]]]:
    """Yield pairs of items with the offsets that have enough votes, most votes first."""
    num_items = len(fingerprints)
    bases = np.zeros(num_items + 1, np.int64)  # position of the first word of each item
    with PostingBuffer(scratch) as postings:
        for item in range(num_items):
            one = fingerprints[item]
            postings.add(_postings(one, int(bases[item]), sparsity))
            bases[item + 1] = bases[item] + len(one)
            if bases[item + 1] >= _MAX_WORDS:
                raise ValueError(
                    f"more than {_MAX_WORDS / FINGERPRINT_RATE_HZ / 3600:,.0f} hours of audio "
                    "cannot be compared at once: compare parts of the catalog"
                )
        # A vote is the number ((first * num_items + second) * width + offset + width // 2), so that
        # neighboring offsets of a pair are neighboring numbers.
        width = 2 * int(np.diff(bases).max(initial=0)) + 1
        votes, counts = count_votes(postings, lambda part: _votes(part, bases, group_of, width))
    enough = _with_enough_votes(votes, counts)
    pair, offset = np.divmod(votes[enough], width)
    offset -= width // 2
    order = np.lexsort((-counts[enough], pair))
    pair, offset = pair[order], offset[order]
    starts = np.flatnonzero(np.diff(pair, prepend=-1))
    for begin, stop in pairwise([*starts.tolist(), len(pair)]):
        first, second = divmod(int(pair[begin]), num_items)
        yield first, second, offset[begin : min(stop, begin + _OFFSETS_PER_PAIR)].tolist()


def _hash(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Hash words so that the high bits depend on all bits (Knuth's multiplicative hash)."""
    return np.asarray(words * np.uint32(2_654_435_769))


def _postings(one: AudioFingerprint, base: int, sparsity: int) -> NDArray[np.uint64]:
    """Return the postings of an item, `word << 32 | position`. Repeated words count once."""
    is_indexed = one.is_distinctive.copy()
    is_indexed[1:] &= one.words[1:] != one.words[:-1]
    if sparsity > 1:
        # All items must keep the same words, so the choice depends on the word alone.
        is_indexed &= _hash(one.words) >> np.uint32(16) < 65_536 // sparsity
    at = np.flatnonzero(is_indexed)
    word = one.words[at].astype(np.uint64) << np.uint64(32)
    return np.asarray(word | (at + base).astype(np.uint64))


def _votes(
    postings: NDArray[np.uint64],
    bases: NDArray[np.int64],
    group_of: NDArray[np.int64],
    width: int,
) -> NDArray[np.int64]:
    """Return the votes of sorted postings; see `_candidates` for their coding."""
    word = (postings >> np.uint64(32)).astype(np.uint32)
    position = (postings & np.uint64(0xFFFFFFFF)).astype(np.int64)
    item = np.searchsorted(bases, position, side="right") - 1
    group = group_of[item]
    # Keep the first postings of each word in each group.
    is_new = np.ones(len(postings), np.bool_)
    is_new[1:] = (word[1:] != word[:-1]) | (group[1:] != group[:-1])
    run_start = np.maximum.accumulate(np.where(is_new, np.arange(len(postings)), 0))
    keep = np.arange(len(postings)) - run_start < _POSTINGS_PER_GROUP
    word, item, group = word[keep], item[keep], group[keep]
    time = position[keep] - bases[item]
    votes = [np.zeros(0, np.int64)]
    for step in range(1, _VOTES_PER_POSTING + 1):
        both = np.flatnonzero((word[step:] == word[:-step]) & (group[step:] != group[:-step]))
        # Postings of one word are sorted by position, so the first item has the smaller index.
        pair = item[both] * (len(bases) - 1) + item[both + step]
        votes.append(pair * width + (time[both + step] - time[both] + width // 2))
    return np.concatenate(votes)


def _with_enough_votes(votes: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices of offsets that have `MIN_VOTES` with those of their two neighbors.

    The true offset is rarely a whole number of words, so the votes of one copy may fall on two
    neighboring numbers.
    """
    near = counts.copy()
    beside = np.flatnonzero(np.diff(votes) == 1)
    near[beside] += counts[beside + 1]
    near[beside + 1] += counts[beside]
    return np.flatnonzero((near >= MIN_VOTES) & (counts >= MIN_VOTES / 2))


class _PartitionedFile:
    """Numbers in files on disk, of which each holds the numbers of one partition.

    Args:
        folder: Folder of the files.
        name: Beginning of their names.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name

    def append(self, numbers: NDArray[Any], partition_of: NDArray[np.uint8]) -> None:
        """Append each number to the file of its partition. The order within a file stays."""
        order = np.argsort(partition_of, kind="stable")
        numbers = numbers[order]
        ends = np.cumsum(np.bincount(partition_of, minlength=_NUM_PARTITIONS)).tolist()
        for partition, (begin, end) in enumerate(pairwise([0, *ends])):
            if end > begin:
                with self._path(partition).open("ab") as file:
                    numbers[begin:end].tofile(file)

    def read(self, dtype: type[np.generic]) -> Iterator[NDArray[Any]]:
        """Yield the numbers of each partition that has some."""
        for partition in range(_NUM_PARTITIONS):
            if self._path(partition).exists():
                yield np.fromfile(self._path(partition), dtype)

    def _path(self, partition: int) -> Path:
        return self._folder / f"{self._name}{partition:03d}"


class PostingBuffer:
    """Collects postings and returns them sorted by word, in partitions if they are many.

    Args:
        scratch: Folder for the partitions. None keeps all postings in memory.
        in_memory: Number of postings that may be in memory. It is 4 million by default.
    """

    def __init__(self, scratch: Path | None, *, in_memory: int | None = None) -> None:
        self._scratch = scratch
        self._in_memory = _POSTINGS_IN_MEMORY if in_memory is None else in_memory
        self._buffered = [np.zeros(0, np.uint64)]
        self._num_buffered = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def spilled_to(self) -> Path | None:
        """The folder that postings were spilled to; None if all are in memory."""
        return None if self._folder is None else Path(self._folder.name)

    def add(self, postings: NDArray[np.uint64]) -> None:
        """Add postings, `word << 32 | position`, whose positions are higher than those before."""
        self._buffered.append(postings)
        self._num_buffered += len(postings)
        if self._scratch is not None and self._num_buffered > self._in_memory:
            self._spill()

    def partitions(self) -> Iterator[NDArray[np.uint64]]:
        """Yield all postings, sorted. All postings of one word are in the same partition."""
        if self._folder is None:
            yield np.sort(np.concatenate(self._buffered))
            return
        self._spill()
        for postings in _PartitionedFile(Path(self._folder.name), "postings").read(np.uint64):
            yield np.sort(postings)

    def _spill(self) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix=POSTINGS_PREFIX, dir=self._scratch)
        postings = np.concatenate(self._buffered)
        words = (postings >> np.uint64(32)).astype(np.uint32)
        # The high bits decide which words are indexed at all, so that they are not spread evenly.
        partition_of = (_hash(words) >> np.uint32(16 - _PARTITION_BITS)).astype(np.uint8)
        _PartitionedFile(Path(self._folder.name), "postings").append(postings, partition_of)
        self._buffered, self._num_buffered = [np.zeros(0, np.uint64)], 0


def count_votes(
    postings: PostingBuffer, votes_of: Callable[[NDArray[np.uint64]], NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count equal votes over all partitions.

    Args:
        postings: The postings.
        votes_of: Returns the votes of one partition, each as a number. The numbers of neighboring
            offsets must be neighbors.

    Returns:
        The votes, sorted, and the count of each. If the postings were spilled, votes that
        `_with_enough_votes` would not use are missing.
    """
    folder = postings.spilled_to
    if folder is None:
        (partition,) = postings.partitions()
        return np.unique(votes_of(partition), return_counts=True)
    # Chance votes grow with the square of the hours: 12,000 hours have most of a billion. So they
    # go to disk as well, partitioned by blocks of neighboring numbers, and are counted block by
    # block.
    file = _PartitionedFile(folder, "votes")
    for partition in postings.partitions():
        votes = votes_of(partition)
        mixed = (votes >> _BLOCK_BITS).astype(np.uint64) * np.uint64(11_400_714_819_323_198_485)
        file.append(votes, (mixed >> np.uint64(64 - _PARTITION_BITS)).astype(np.uint8))
    nothing = np.zeros(0, np.int64)
    parts = [_possible(*np.unique(votes, return_counts=True)) for votes in file.read(np.int64)]
    votes, counts = map(np.concatenate, zip((nothing, nothing), *parts, strict=True))
    order = np.argsort(votes)
    return votes[order], counts[order]


def _possible(
    votes: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the votes of some blocks that can have enough votes, and their neighbors.

    The neighbor of the first or last number of a block is in another block. So these numbers stay,
    as do all neighbors of those that stay, because `_with_enough_votes` counts them again.
    """
    in_block = votes & ((1 << _BLOCK_BITS) - 1)
    stays = (in_block == 0) | (in_block == (1 << _BLOCK_BITS) - 1)
    stays[_with_enough_votes(votes, counts)] = True
    beside = np.flatnonzero(np.diff(votes) == 1)
    is_near = stays.copy()
    is_near[beside] |= stays[beside + 1]
    is_near[beside + 1] |= stays[beside]
    return votes[is_near], counts[is_near]


# ---- Verification


def _verify(
    one: AudioFingerprint, other: AudioFingerprint, offset: int, min_words: int
) -> Iterator[tuple[int, int, float, float]]:
    """Yield start, stop, score and bit error rate of the matching intervals at one offset."""
    begin, end = max(0, -offset), min(len(one), len(other) - offset)
    if end - begin < min_words:
        return
    there = slice(begin + offset, end + offset)
    errors = np.bitwise_count(one.words[begin:end] ^ other.words[there])
    is_distinctive = one.is_distinctive[begin:end] & other.is_distinctive[there]
    # Scores are small integers. An episode has a hundred thousand words and a show of 500 episodes
    # tens of thousands of offsets, so that the size of the numbers decides the time.
    score = np.where(
        is_distinctive, np.int8(_BIT_ERRORS_ALLOWED) - errors.view(np.int8), _INDISTINCT
    )
    total = np.zeros(len(score) + 1, np.int32)
    np.cumsum(score, dtype=np.int32, out=total[1:])
    is_good = _sums_around(total, _SMOOTHING_WORDS) > 0
    for rough_start, rough_stop in _bridged_runs(is_good, is_distinctive):
        # The running sum blurs the edges. The exact start is where the cumulative sum has its
        # minimum near the rough start, and the exact stop is where it has its maximum.
        start, stop = _least_near(total, rough_start), _greatest_near(total, rough_stop)
        counted = is_distinctive[start:stop]
        if stop - start < min_words or counted.sum() * 2 < stop - start:
            continue
        error_rate = float(errors[start:stop][counted].mean()) / WORD_BITS
        if error_rate <= _MAX_BIT_ERROR_RATE * 0.9:
            yield begin + start, begin + stop, float(total[stop] - total[start]), error_rate


def _sums_around(total: NDArray[np.int32], width: int) -> NDArray[np.int32]:
    """Return the sums of the `width` entries around each entry from their cumulative sum.

    Near the ends, they are the sums of the entries that exist.
    """
    before = width // 2
    stop, begin = total[width - before :], total[: max(len(total) - 1 - before, 0)]
    count = len(total) - 1
    sums = np.full(count, total[-1], np.int32)
    sums[: len(stop)] = stop[:count]
    sums[before:] -= begin[: max(count - before, 0)]
    return sums


def _least_near(values: NDArray[np.int32], index: int) -> int:
    begin = max(index - _SMOOTHING_WORDS, 0)
    return begin + int(np.argmin(values[begin : index + _SMOOTHING_WORDS + 1]))


def _greatest_near(values: NDArray[np.int32], index: int) -> int:
    begin = max(index - _SMOOTHING_WORDS, 0)
    return begin + int(np.argmax(values[begin : index + _SMOOTHING_WORDS + 1]))


def _bridged_runs(
    is_good: NDArray[np.bool_], is_distinctive: NDArray[np.bool_]
) -> Iterator[tuple[int, int]]:
    """Yield `[start, stop)` of the runs of good words. Runs with a short gap are one run."""
    changes = np.flatnonzero(is_good[1:] != is_good[:-1]) + 1
    ends = [0] if is_good[0] else [], [len(is_good)] if is_good[-1] else []
    edges = np.concatenate([ends[0], changes, ends[1]]).astype(np.int64)
    if len(edges) == 0:
        return
    starts, stops = edges[::2], edges[1::2]
    gaps = zip(stops[:-1].tolist(), starts[1:].tolist(), strict=True)
    num_distinctive = np.array([np.count_nonzero(is_distinctive[a:b]) for a, b in gaps], np.int64)
    is_gap = (num_distinctive >= _BRIDGE_DISTINCTIVE) | (starts[1:] - stops[:-1] >= _BRIDGE_WORDS)
    first, last = np.append(True, is_gap), np.append(is_gap, True)
    yield from zip(starts[first].tolist(), stops[last].tolist(), strict=True)


def _without_overlaps(matches: Iterator[Match]) -> list[Match]:
    """Keep the best of the matches of one pair that overlap in either item."""
    kept: list[Match] = []
    for match in sorted(matches, key=lambda match: -match.score):
        if not any(_overlap(match, other) for other in kept):
            kept.append(match)
    return kept


def _overlap(one: Match, other: Match) -> bool:
    """Return whether two matches share more than a quarter of the shorter one in either item."""
    shorter = min(one.stop - one.start, other.stop - other.start)
    here = min(one.stop, other.stop) - max(one.start, other.start)
    there = min(one.stop + one.offset, other.stop + other.offset) - max(
        one.start + one.offset, other.start + other.offset
    )
    return max(here, there) * 4 > shorter
