"""How many clips each item has room for, and where in it they go."""

from __future__ import annotations

import math

import numpy as np

from toomuchtv._internal.random_numbers import uniforms
from toomuchtv.data.config import ItemGroups, SamplingConfig
from toomuchtv.data.valid_starts import IntArray

_POSITION, _WINDOW, _REFILL = 3, 4, 5  # streams of random numbers, see plan.py
_REFILL_TRIES_IN_TITLE = 8
_REFILL_TRIES = 400
_WINDOW_TRIES = 8


class Room:
    """Places clips in items, the gap kept, inside one window an item where there is one.

    Args:
        groups: The items.
        policy: Its gap.
        window_seconds: Length of the window; inf for none.

    Attributes:
        capacity: int64 `[U]`, clips that fit into each item for certain.
    """

    def __init__(self, groups: ItemGroups, policy: SamplingConfig, window_seconds: float) -> None:
        self._groups = groups
        self._inside_titles = policy.name == "hierarchical"
        gap = np.ceil(policy.min_gap_seconds * groups.frame_rate - 1e-6).astype(np.int64)
        self._gap = np.maximum(gap, 1)
        self._window: IntArray | None = None
        held = groups.starts.count
        if not math.isinf(window_seconds):
            window = np.floor(window_seconds * groups.frame_rate).astype(np.int64)
            self._window = np.maximum(window, 1)
            self._best_start, held = groups.starts.best_window(self._window)
        self.capacity: IntArray = 1 + (held - 1) // self._gap

    def refill(self, places: IntArray, seed: int, step: int) -> tuple[IntArray, int]:
        """Move clips out of items that have no room for so many, first inside the title.

        Args:
            places: Item of each clip, as its place among the groups' items, `[N]`.
            seed: Of the run.
            step: The step.

        Returns:
            The places, and how many were moved.
        """
        unique, counts = _counted(places)
        if (counts <= self.capacity[unique]).all():
            return places, 0
        inverse = np.searchsorted(unique, places)
        taken = dict(zip(unique.tolist(), counts.tolist(), strict=True))
        order = np.argsort(inverse, kind="stable")
        nth = np.empty(len(places), dtype=np.int64)
        nth[order] = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
        homeless = np.flatnonzero(nth >= self.capacity[places])
        places = places.copy()
        for slot in homeless.tolist():
            old = int(places[slot])
            taken[old] -= 1
            new = self._find(old, taken, seed, step, slot)
            taken[new] = taken.get(new, 0) + 1
            places[slot] = new
        return places, len(homeless)

    def _find(self, old: int, taken: dict[int, int], seed: int, step: int, slot: int) -> int:
        groups = self._groups
        group = int(groups.group_of[old])
        for attempt in range(_REFILL_TRIES):
            first, stop = 0, len(groups.rows)
            if attempt < _REFILL_TRIES_IN_TITLE and self._inside_titles:
                first, stop = int(groups.offsets[group]), int(groups.offsets[group + 1])
            draw = uniforms(seed, _REFILL, step, slot, 1000 + attempt)
            place = int(groups.at_share(draw, first, stop)[0])
            if taken.get(place, 0) < self.capacity[place]:
                return place
        # Nearly everything is taken: look at what is left, in order. There is room, since the
        # planner has seen that the whole catalog holds a batch.
        room = self.capacity.copy()
        for place, count in taken.items():
            room[place] -= count
        return int(np.flatnonzero(room > 0)[0])

    def frames(self, places: IntArray, seed: int, step: int) -> tuple[IntArray, IntArray]:
        """Draw the first frame of every clip, the gap kept inside every item.

        k places at least `gap` apart among `held` are k places anywhere among
        `held - (k - 1) * gap`, spread by `gap` each: uniform over all such choices.

        Returns:
            The frames, `[N]`, and which of its item's clips each is, by time, from 0, `[N]`.
        """
        draws = uniforms(seed, _POSITION, step, np.arange(len(places)))
        # By place, then by draw: float64 tells far more sums apart than there are places.
        order = np.argsort(places + draws)
        sorted_places = places[order]
        is_first = np.ones(len(order), dtype=bool)
        is_first[1:] = sorted_places[1:] != sorted_places[:-1]
        run = np.cumsum(is_first) - 1
        run_start = np.flatnonzero(is_first)
        nth = np.arange(len(order)) - run_start[run]
        count = np.diff(np.append(run_start, len(order)))
        items = sorted_places[run_start]
        start, held = self._windows(items, count, seed, step)
        free = held - (count - 1) * self._gap[items]
        index = start[run] + np.floor(draws[order] * free[run]).astype(np.int64)
        index += nth * self._gap[sorted_places]
        frame, number = np.empty_like(index), np.empty_like(index)
        frame[order] = self._groups.starts.frame_at(sorted_places, index)
        number[order] = nth
        return frame, number

    def _windows(
        self, items: IntArray, count: IntArray, seed: int, step: int
    ) -> tuple[IntArray, IntArray]:
        """First index and number of the starts that each item's clips are drawn from."""
        starts = self._groups.starts
        all_starts = starts.count[items]
        if self._window is None:
            return np.zeros_like(items), all_starts
        window = self._window[items]
        needed = 1 + (count - 1) * self._gap[items]
        # Windows begin at a usable start and end before the item does, if it is as long.
        last = starts.frame_at(items, all_starts - 1)
        choices = np.maximum(starts.index_of(items, last - window + 2), 1)
        start = self._best_start[items]
        held = starts.index_of(items, starts.frame_at(items, start) + window) - start
        is_open = np.ones(len(items), dtype=bool)
        for attempt in range(_WINDOW_TRIES):
            draw = uniforms(seed, _WINDOW, step, items, attempt)
            begin = np.floor(draw * choices).astype(np.int64)
            inside = starts.index_of(items, starts.frame_at(items, begin) + window) - begin
            fits = is_open & (inside >= needed)
            start, held = np.where(fits, begin, start), np.where(fits, inside, held)
            is_open &= ~fits
            if not is_open.any():
                break
        return start, held


def _counted(places: IntArray) -> tuple[IntArray, IntArray]:
    """The different places, ascending, and how often each comes."""
    in_order = np.sort(places)
    first = np.flatnonzero(np.append(True, in_order[1:] != in_order[:-1]))
    return in_order[first], np.diff(np.append(first, len(in_order)))
