"""Which windows show one moment: neighbors, one shot, a repeated opening, a duplicate."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toomuchtv._internal.random_numbers import FloatArray
from toomuchtv.catalog.records import Duplicate, Segment

# Longer shots, and material whose cuts were not found, are not one moment.
_MAX_SHOT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a window is, after all copies of one content were mapped to one of them.

    Attributes:
        key: What the place is in: an item, or a recurring segment.
        seconds: Time in it.
    """

    key: tuple[str, int]
    seconds: float


class MomentFinder:
    """The segments of a catalog, prepared for questions about single times.

    Args:
        segments: All segments.
        duplicates: All intervals that two items share.
    """

    def __init__(self, segments: Collection[Segment], duplicates: Collection[Duplicate]) -> None:
        self._shots = _Intervals(s for s in segments if s.kind == "shot")
        self._recurring = _Intervals(s for s in segments if s.recurrence is not None)
        self._by_kind: dict[str, _Intervals] = {}
        for kind in {segment.kind for segment in segments}:
            self._by_kind[kind] = _Intervals(s for s in segments if s.kind == kind)
        self._copies = _Copies(duplicates)

    def extent(
        self, item_id: int, start_seconds: float, stop_seconds: float
    ) -> tuple[float, float]:
        """Return the interval to show of a window: its shot, or the window within its shot."""
        shot = self._shots.at(item_id, (start_seconds + stop_seconds) / 2)
        if shot is None:
            return start_seconds, stop_seconds
        if shot.stop_seconds - shot.start_seconds <= _MAX_SHOT_SECONDS:
            return shot.start_seconds, shot.stop_seconds
        return max(start_seconds, shot.start_seconds), min(stop_seconds, shot.stop_seconds)

    def place(self, item_id: int, seconds: float) -> Place:
        """Return where a time is, equal for all copies of one content."""
        first_id, first_seconds = self._copies.first(item_id, seconds)
        for one, at in ((item_id, seconds), (first_id, first_seconds)):
            segment = self._recurring.at(one, at)
            if segment is not None and segment.recurrence is not None:
                return Place(("recurrence", segment.recurrence), at - segment.start_seconds)
        return Place(("item", first_id), first_seconds)

    def is_in(self, item_id: int, seconds: FloatArray, kinds: Collection[str]) -> NDArray[np.bool_]:
        """Return which times are in a segment of one of some kinds, bool `[N]`."""
        found = np.zeros(len(seconds), bool)
        for kind in kinds:
            if kind in self._by_kind:
                found |= self._by_kind[kind].contains(item_id, seconds)
        return found


class _Copies:
    """The intervals that items share, and one of the copies of each time.

    Of content that many items share, not every pair is known, but the pairs connect all of them.
    """

    def __init__(self, duplicates: Iterable[Duplicate]) -> None:
        # By item: start, stop, the other item, and what is added to a time to get its time there.
        self._pairs: dict[int, list[tuple[float, float, int, float]]] = defaultdict(list)
        for pair in duplicates:
            start, stop, other_start = (
                pair.start_seconds, pair.stop_seconds, pair.other_start_seconds
            )  # fmt: skip
            shift = other_start - start
            self._pairs[pair.item_id].append((start, stop, pair.other_item_id, shift))
            self._pairs[pair.other_item_id].append(
                (other_start, stop + shift, pair.item_id, -shift)
            )
        # The same, with the first copy as the other item, for times that were asked for.
        self._found: dict[int, list[tuple[float, float, int, float]]] = defaultdict(list)

    def first(self, item_id: int, seconds: float) -> tuple[int, float]:
        """Return the copy of a time in the item with the smallest id; itself if it has no other."""
        if item_id not in self._pairs:
            return item_id, seconds
        for start, stop, first_id, shift in self._found[item_id]:
            if start <= seconds < stop:
                return first_id, seconds + shift
        # Follow all pairs that contain the time. The result holds up to the next end of a pair.
        shifts, waiting = {item_id: 0.0}, [item_id]
        low, high = -math.inf, math.inf
        while waiting:
            here = waiting.pop()
            for start, stop, other_id, shift in self._pairs[here]:
                ends = (start - shifts[here], stop - shifts[here])
                low = max([low, *(end for end in ends if end <= seconds)])
                high = min([high, *(end for end in ends if end > seconds)])
                if ends[0] <= seconds < ends[1] and other_id not in shifts:
                    shifts[other_id] = shifts[here] + shift
                    waiting.append(other_id)
        first_id = min(shifts)
        for one, shift in shifts.items():
            found = (low + shift, high + shift, first_id, shifts[first_id] - shift)
            self._found[one].append(found)
        return first_id, seconds + shifts[first_id]


class _Intervals:
    """Segments of one sort, by item and start."""

    def __init__(self, segments: Iterable[Segment]) -> None:
        self._by_item: dict[int, list[Segment]] = defaultdict(list)
        for segment in sorted(segments, key=lambda s: (s.item_id, s.start_seconds)):
            self._by_item[segment.item_id].append(segment)
        self._starts = {
            item_id: [segment.start_seconds for segment in found]
            for item_id, found in self._by_item.items()
        }

    def at(self, item_id: int, seconds: float) -> Segment | None:
        """Return the last segment that has begun at a time and not ended."""
        found = self._by_item.get(item_id)
        if not found:
            return None
        index = bisect_right(self._starts[item_id], seconds) - 1
        if index < 0 or seconds >= found[index].stop_seconds:
            return None
        return found[index]

    def contains(self, item_id: int, seconds: FloatArray) -> NDArray[np.bool_]:
        """Return which times are in a segment, bool `[N]`."""
        inside = np.zeros(len(seconds), bool)
        for segment in self._by_item.get(item_id, ()):
            inside |= (seconds >= segment.start_seconds) & (seconds < segment.stop_seconds)
        return inside


class SeenPlaces:
    """The moments that a ranking already has.

    Args:
        finder: The segments of the catalog.
        tolerance_seconds: Windows whose middles are closer than this are one moment.
    """

    def __init__(self, finder: MomentFinder, tolerance_seconds: float) -> None:
        self._finder = finder
        self._tolerance = tolerance_seconds
        self._seen: dict[tuple[str, int], list[tuple[float, float, float, int]]] = defaultdict(list)

    def find(self, item_id: int, start_seconds: float, stop_seconds: float) -> int | None:
        """Return the number of the moment that a window belongs to, or None if it is new."""
        center = (start_seconds + stop_seconds) / 2
        place = self._finder.place(item_id, center)
        for first, last, middle, number in self._seen[place.key]:
            if first <= place.seconds < last or abs(middle - place.seconds) < self._tolerance:
                return number
        return None

    def add(self, item_id: int, start_seconds: float, stop_seconds: float, number: int) -> None:
        """Remember a moment under a number."""
        center = (start_seconds + stop_seconds) / 2
        place = self._finder.place(item_id, center)
        first, last = self._finder.extent(item_id, start_seconds, stop_seconds)
        shift = place.seconds - center  # to where the first copy of the content is
        self._seen[place.key].append((first + shift, last + shift, place.seconds, number))
