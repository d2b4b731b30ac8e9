"""At which frames of an item a clip may start.

What may not be drawn is left out, and what is left is counted from 0. Two clips whose indices are
n apart are at least n frames apart, so a gap kept among indices is kept on the screen.

    frame   0  1  2  3  4  5  6  7  8  9
            |  |  |  x  x  x  |  |  |  |
    index   0  1  2           3  4  5  6

All intervals of all items lie on one line, item after item with a wall of one frame between, so
that one binary search answers for any number of clips of any items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toomuchtv._internal.random_numbers import FloatArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidStarts:
    """The usable starts of items, `U` of them.

    Attributes:
        num_frames: int64 `[U]`, in how many frames a clip could start if nothing was left out.
        count: int64 `[U]`, in how many it may.
    """

    num_frames: IntArray
    count: IntArray
    _gaps: _Intervals | None = None  # None: nothing is left out anywhere

    def frame_at(self, item: IntArray, index: IntArray) -> IntArray:
        """The frame of a start, `[n]`, from its item and its index among the item's."""
        if self._gaps is None:
            return index
        return self._gaps.frame_at(item, index)

    def index_of(self, item: IntArray, frame: IntArray) -> IntArray:
        """How many usable starts of an item come before a frame, `[n]`."""
        if self._gaps is None:
            return np.clip(frame, 0, self.count[item])
        return np.clip(self._gaps.index_of(item, frame), 0, self.count[item])

    def best_window(self, window_frames: IntArray) -> tuple[IntArray, IntArray]:
        """Where a window over each item holds most usable starts.

        Args:
            window_frames: Its length, `[U]`.

        Returns:
            The index of its first start, and how many it holds, `[U]` each.
        """
        first, most = np.zeros_like(self.count), np.minimum(self.count, window_frames)
        if self._gaps is None:
            return first, most
        most = np.zeros_like(self.count)
        # A best window can be moved until it begins, or ends, with an interval.
        for item, frame in self._gaps.edges():
            for start in (frame, frame - window_frames[item]):
                begin = self.index_of(item, start)
                held = self.index_of(item, start + window_frames[item]) - begin
                order = np.argsort(held, kind="stable")
                best = np.zeros_like(most)
                best[item[order]] = held[order]
                at = np.zeros_like(most)
                at[item[order]] = begin[order]
                better = best > most
                first[better], most[better] = at[better], best[better]
        return first, most


@dataclass(frozen=True, slots=True, kw_only=True)
class _Intervals:
    """Free intervals on the line of all items.

    `begin`, `length` `[M]`: on the line; `before` `[M]`: starts in all intervals before each.
    `base` `[U]`: where each item begins on the line; `base_index` `[U]`: starts in all items
    before it.
    """

    begin: IntArray
    length: IntArray
    before: IntArray
    base: IntArray
    base_index: IntArray

    def frame_at(self, item: IntArray, index: IntArray) -> IntArray:
        at = self.base_index[item] + index
        interval = np.searchsorted(self.before, at, side="right") - 1
        return self.begin[interval] + at - self.before[interval] - self.base[item]

    def index_of(self, item: IntArray, frame: IntArray) -> IntArray:
        at = self.base[item] + frame
        interval = np.maximum(np.searchsorted(self.begin, at, side="right") - 1, 0)
        inside = np.clip(at - self.begin[interval], 0, self.length[interval])
        index: IntArray = self.before[interval] + inside - self.base_index[item]
        return index

    def edges(self) -> list[tuple[IntArray, IntArray]]:
        """Items and frames of the intervals' begins, and of their ends."""
        item = np.searchsorted(self.base, self.begin, side="right") - 1
        begin = self.begin - self.base[item]
        return [(item, begin), (item, begin + self.length)]


def _starts_of(lengths: IntArray) -> IntArray:
    """Where things of these lengths begin if they lie one after the other."""
    return np.cumsum(lengths) - lengths


def _intervals(begin: IntArray, length: IntArray, base: IntArray) -> _Intervals:
    before = _starts_of(length)
    first = np.searchsorted(begin, base)  # interval from which on an item's own may come
    base_index = np.append(before, length.sum())[first]
    return _Intervals(begin=begin, length=length, before=before, base=base, base_index=base_index)


def valid_starts(
    num_frames: IntArray,
    *,
    item: IntArray,
    begin_frame: FloatArray,
    stop_frame: FloatArray,
    clip_frames: IntArray,
) -> ValidStarts:
    """Leave out the starts of clips that would share a frame with a stretch of their item.

    A stretch of no length is a cut: no clip may have frames on both sides of it.

    Args:
        num_frames: int64 `[U]`, starts of each item that are there at all.
        item: int64 `[S]`, whose stretch it is.
        begin_frame: float64 `[S]`, where it begins; may fall between two frames.
        stop_frame: float64 `[S]`, where it ends, `[begin, stop)`.
        clip_frames: int64 `[U]`, frames from a clip's first to its last one, that included.
    """
    if len(item) == 0:
        return ValidStarts(num_frames=num_frames, count=num_frames)
    # A clip from frame f on shares a frame with the stretch if it has one at or after `begin` and
    # before `stop`.
    low = np.ceil(begin_frame).astype(np.int64) - clip_frames[item] + 1
    high = np.ceil(stop_frame).astype(np.int64)
    low, high = (np.clip(edge, 0, num_frames[item]) for edge in (low, high))
    base = _starts_of(num_frames + 1)
    # A wall after each item keeps its intervals from running into the next one's.
    walls = base + num_frames
    blocked_low = np.concatenate([low + base[item], walls])
    blocked_high = np.concatenate([high + base[item], walls + 1])
    order = np.lexsort((blocked_high, blocked_low))
    blocked_low, blocked_high = blocked_low[order], blocked_high[order]
    reached = np.maximum.accumulate(blocked_high)
    begin = np.concatenate([[0], reached[:-1]])
    length = blocked_low - begin
    is_free = length > 0
    if not is_free.any():
        return ValidStarts(num_frames=num_frames, count=np.zeros_like(num_frames))
    intervals = _intervals(begin[is_free], length[is_free], base)
    total = np.append(intervals.base_index[1:], length[is_free].sum())
    count = total - intervals.base_index
    return ValidStarts(num_frames=num_frames, count=count, _gaps=intervals)
