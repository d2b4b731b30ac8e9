"""Where the clips of a batch start inside their items, at least a minimum gap apart."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from toomuchtv._internal.random_numbers import FloatArray, IntArray, hashed, permuted, uniforms
from toomuchtv.data.item_groups import ItemGroups
from toomuchtv.data.valid_starts import ValidStarts

_POSITION, _WINDOW, _OVERFLOW = 3, 4, 5  # streams of random numbers, see sampler.py
_TRIES_IN_TITLE = 8
_TRIES = 400
_WINDOW_TRIES = 8


class GridPositions:
    """Starts on the frame grid of each item, optionally inside one window of each item.

    Args:
        starts: Valid starts of the items.
        gap_frames: int64 `[U]`, minimum distance of two starts; at least 1.
        window_frames: int64 `[U]`, length of the window of each item; None for no window.

    Attributes:
        capacity: int64 `[U]`, number of clips that fit into each item in any case.
    """

    def __init__(
        self, starts: ValidStarts, gap_frames: IntArray, window_frames: IntArray | None = None
    ) -> None:
        self._starts, self._gap, self._window = starts, gap_frames, window_frames
        num_starts = starts.count
        if window_frames is not None:
            self._best_start, num_starts = starts.best_window(window_frames)
        self.capacity = 1 + (num_starts - 1) // self._gap

    @classmethod
    def from_seconds(
        cls, groups: ItemGroups, min_gap_seconds: float, window_seconds: float
    ) -> GridPositions:
        """Convert a gap and a window (inf for none) to the frame grid of each item."""
        gap = np.ceil(min_gap_seconds * groups.frame_rate - 1e-6).astype(np.int64)
        window = None
        if not math.isinf(window_seconds):
            window = np.floor(window_seconds * groups.frame_rate).astype(np.int64)
            window = np.maximum(window, 1)
        return cls(groups.starts, np.maximum(gap, 1), window)

    def draw(self, items: IntArray, seed: int, step: int) -> tuple[IntArray, IntArray]:
        """Draw the first frame of every clip of a step.

        A choice of k out of n starts, at least `gap` apart, becomes k numbers below
        `n - (k - 1) * gap` when the j-th smallest start is moved back by `j * gap`. So k
        independent draws in this smaller range, sorted and moved forward again, keep the gap and
        reach every choice. Choices with starts exactly `gap` apart are drawn a little less often
        than others; with thousands of frames to choose from this does not matter.

        Args:
            items: Item of each clip, `[N]`; no item has more clips than its capacity.
            seed: Seed of the run.
            step: The step.

        Returns:
            The starts, `[N]`, and the rank of each clip by start among those of its item, `[N]`.
        """
        draws = uniforms(seed, _POSITION, step, np.arange(len(items)))
        # By item, then by draw: the sum of both is exact enough for any number of items.
        order = np.argsort(items + draws)
        sorted_items = items[order]
        is_first = np.ones(len(order), dtype=bool)
        is_first[1:] = sorted_items[1:] != sorted_items[:-1]
        run = np.cumsum(is_first) - 1
        run_start = np.flatnonzero(is_first)
        rank = np.arange(len(order)) - run_start[run]
        num_clips = np.diff(np.append(run_start, len(order)))
        run_items = sorted_items[run_start]
        first, num_starts = self._draw_windows(run_items, num_clips, seed, step)
        free = num_starts - (num_clips - 1) * self._gap[run_items]
        index = first[run] + np.floor(draws[order] * free[run]).astype(np.int64)
        index += rank * self._gap[sorted_items]
        frame, ranks = np.empty_like(index), np.empty_like(index)
        frame[order] = self._starts.frame_at(sorted_items, index)
        ranks[order] = rank
        return frame, ranks

    def _draw_windows(
        self, items: IntArray, num_clips: IntArray, seed: int, step: int
    ) -> tuple[IntArray, IntArray]:
        """Draw a window of each item: index of its first valid start, and how many it holds.

        A window that is too full of skipped segments for the clips is drawn again. After
        `_WINDOW_TRIES` draws the best window of the item is taken, which always suffices.
        """
        starts = self._starts
        all_starts = starts.count[items]
        if self._window is None:
            return np.zeros_like(items), all_starts
        window = self._window[items]
        needed = 1 + (num_clips - 1) * self._gap[items]
        # A window begins at a valid start, and ends before the item does if it fits.
        last = starts.frame_at(items, all_starts - 1)
        num_choices = np.maximum(starts.index_of(items, last - window + 2), 1)
        first = self._best_start[items]
        held = starts.index_of(items, starts.frame_at(items, first) + window) - first
        is_open = np.ones(len(items), dtype=bool)
        for attempt in range(_WINDOW_TRIES):
            draw = uniforms(seed, _WINDOW, step, items, attempt)
            begin = np.floor(draw * num_choices).astype(np.int64)
            inside = starts.index_of(items, starts.frame_at(items, begin) + window) - begin
            fits = is_open & (inside >= needed)
            first, held = np.where(fits, begin, first), np.where(fits, inside, held)
            is_open &= ~fits
            if not is_open.any():
                break
        return first, held


class SamplePositions:
    """Samples of each item at arbitrary positions, such as the times of photographs.

    Args:
        offsets: int64 `[U + 1]`, index of the first sample of each item.
        positions: float64 `[M]`, position of each sample, ascending inside each item.
        min_gap: Minimum distance of two samples of one item; 0 for any different samples.
        max_clips: No item ever gets more clips than this.

    Attributes:
        capacity: int64 `[U]`, number of samples of one batch that fit into each item.
    """

    def __init__(
        self, offsets: IntArray, positions: FloatArray, *, min_gap: float, max_clips: int
    ) -> None:
        self._offsets, self._positions, self._min_gap = offsets, positions, min_gap
        self.capacity = np.diff(offsets)
        if min_gap > 0:
            counts = [self._count_apart(item, max_clips) for item in range(len(self.capacity))]
            self.capacity = np.array(counts, np.int64)

    def draw(self, items: IntArray, seed: int, step: int) -> tuple[IntArray, IntArray]:
        """Draw the sample of every clip as its index inside the item; see `GridPositions.draw`."""
        index, rank = np.empty_like(items), np.empty_like(items)
        draws = uniforms(seed, _POSITION, step, np.arange(len(items)))
        for item in np.unique(items).tolist():
            clips = np.flatnonzero(items == item)
            if self._min_gap > 0:
                chosen = self._choose(item, draws[clips])
            else:
                # The first entries of a shuffle are a uniform choice, without listing the item.
                size = int(self.capacity[item])
                key = hashed(seed, _POSITION, step, item)
                chosen = np.sort(permuted(np.arange(len(clips)), size, key))
            index[clips], rank[clips] = chosen, np.arange(len(clips))
        return index, rank

    def _next(self, item: int) -> IntArray:
        """Return, for each sample, the first sample of the item that is far enough behind it."""
        position = self._positions[self._offsets[item] : self._offsets[item + 1]]
        following = np.searchsorted(position, position + self._min_gap, side="left")
        return np.maximum(following, np.arange(1, len(position) + 1))

    def _count_apart(self, item: int, max_clips: int) -> int:
        """Return how many samples fit: taking the earliest possible one each time is optimal."""
        following = self._next(item).tolist()
        index, count = 0, 0
        while index < len(following) and count < max_clips:
            index, count = following[index], count + 1
        return count

    def _choose(self, item: int, draws: FloatArray) -> IntArray:
        """Choose as many samples as there are draws, each allowed choice equally likely.

        Let `ways[j][i]` be the number of choices of j samples from sample i on. Its first sample
        is i (then j - 1 follow from `next[i]` on) or comes later, so that
        `ways[j][i] = ways[j - 1][next[i]] + ways[j][i + 1]`: a cumulative sum from the right. The
        first sample is then drawn in proportion to the choices that begin with it, and so on.
        Only proportions count, so each row is scaled to at most 1 and cannot overflow.
        """
        following = self._next(item)
        ways = [np.ones(len(following) + 1)]
        for _ in draws:
            sums = np.cumsum(ways[-1][following][::-1])[::-1]
            ways.append(np.append(sums / sums[0], 0.0))
        chosen, low = [], 0
        for draw, row in zip(draws.tolist(), ways[:0:-1], strict=True):
            # The last sample from which at least this many of the choices remain.
            remaining = (1.0 - draw) * row[low]
            index = int(np.searchsorted(-row, -remaining, side="right")) - 1
            chosen.append(index)
            low = int(following[index])
        return np.array(chosen, np.int64)


#: A rule for the starts of the clips of an item.
Positions: TypeAlias = GridPositions | SamplePositions


def move_overflow(
    groups: ItemGroups,
    capacity: IntArray,
    items: IntArray,
    *,
    in_title: bool,
    seed: int,
    step: int,
) -> IntArray:
    """Move clips out of items whose capacity is below the number of clips drawn from them.

    Args:
        groups: The items.
        capacity: int64 `[U]`, number of clips that fit into each item.
        items: Item of each clip, `[N]`.
        in_title: Whether to try the other items of the same title first.
        seed: Seed of the run.
        step: The step.

    Returns:
        The item of each clip, `[N]`.
    """
    unique, counts = np.unique(items, return_counts=True)
    if (counts <= capacity[unique]).all():
        return items
    inverse = np.searchsorted(unique, items)
    taken = dict(zip(unique.tolist(), counts.tolist(), strict=True))
    order = np.argsort(inverse, kind="stable")
    nth = np.empty(len(items), dtype=np.int64)
    nth[order] = np.arange(len(items)) - np.repeat(np.cumsum(counts) - counts, counts)
    overflow = np.flatnonzero(nth >= capacity[items])
    items = items.copy()

    def find(old: int, clip: int) -> int:
        title = int(groups.group_of[old])
        for attempt in range(_TRIES):
            first, stop = 0, len(groups.rows)
            if attempt < _TRIES_IN_TITLE and in_title:
                first, stop = int(groups.offsets[title]), int(groups.offsets[title + 1])
            draw = uniforms(seed, _OVERFLOW, step, clip, 1000 + attempt)
            item = int(groups.at_share(draw, first, stop)[0])
            if taken.get(item, 0) < capacity[item]:
                return item
        # Nearly all items are full. One is not, because the sampler has checked that all items
        # together hold a batch.
        remaining = capacity.copy()
        for item, count in taken.items():
            remaining[item] -= count
        return int(np.flatnonzero(remaining > 0)[0])

    for clip in overflow.tolist():
        old = int(items[clip])
        taken[old] -= 1
        new = find(old, clip)
        taken[new] = taken.get(new, 0) + 1
        items[clip] = new
    return items
