"""The valid starts of an item: the frames at which a clip may start.

A clip may not start where it would touch a skipped segment. The frames that remain are counted
from 0, which gives each valid start an index. Two starts whose indices are n apart are at least n
frames apart, so a gap that is kept between indices is also kept between frames.

    frame   0  1  2  3  4  5  6  7  8  9
            |  |  |  x  x  x  |  |  |  |         x: not valid
    index   0  1  2           3  4  5  6

The intervals of all items lie on one line, item after item, with a wall of one frame between two
items. One binary search on this line answers for any number of clips of any items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toomuchtv._internal.random_numbers import FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidStarts:
    """The valid starts of `U` items.

    Attributes:
        num_frames: int64 `[U]`, number of starts if nothing was skipped.
        count: int64 `[U]`, number of valid starts.
    """

    num_frames: IntArray
    count: IntArray
    _intervals: _Intervals | None = None  # None: all starts of all items are valid

    def frame_at(self, item: IntArray, index: IntArray) -> IntArray:
        """Return the frame of valid starts, `[n]`, from their items and their indices."""
        if self._intervals is None:
            return index
        return self._intervals.frame_at(item, index)

    def index_of(self, item: IntArray, frame: IntArray) -> IntArray:
        """Return how many valid starts of an item come before a frame, `[n]`."""
        if self._intervals is None:
            return np.clip(frame, 0, self.count[item])
        return np.clip(self._intervals.index_of(item, frame), 0, self.count[item])

    def best_window(self, window_frames: IntArray) -> tuple[IntArray, IntArray]:
        """Find the window of each item that holds the most valid starts.

        Args:
            window_frames: int64 `[U]`, length of the window.

        Returns:
            The index of the window's first valid start, and how many it holds, int64 `[U]` each.
        """
        first, most = np.zeros_like(self.count), np.minimum(self.count, window_frames)
        if self._intervals is None:
            return first, most
        most = np.zeros_like(self.count)
        # A best window can be moved, without losing a start, until it begins or ends with an
        # interval. So these windows are the only candidates.
        for item, frame in self._intervals.edges():
            for start in (frame, frame - window_frames[item]):
                begin = self.index_of(item, start)
                held = self.index_of(item, start + window_frames[item]) - begin
                best = most.copy()
                np.maximum.at(best, item, held)
                # Of several equally good windows of an item, the earliest wins.
                is_best = (held == best[item]) & (held > most[item])
                earliest = np.full_like(first, np.iinfo(np.int64).max)
                np.minimum.at(earliest, item[is_best], begin[is_best])
                first = np.where(best > most, earliest, first)
                most = best
        return first, most


@dataclass(frozen=True, slots=True, kw_only=True)
class _Intervals:
    """Intervals of valid starts, `M` of them, on the line of all items.

    Attributes:
        begin: int64 `[M]`, first frame of each interval on the line.
        length: int64 `[M]`.
        before: int64 `[M]`, number of valid starts in all earlier intervals.
        base: int64 `[U]`, where each item begins on the line.
        base_index: int64 `[U]`, number of valid starts in all earlier items.
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
        """Return items and frames of the begins of all intervals, and of their ends."""
        item = np.searchsorted(self.base, self.begin, side="right") - 1
        begin = self.begin - self.base[item]
        return [(item, begin), (item, begin + self.length)]


def valid_starts(
    num_frames: IntArray,
    *,
    item: IntArray,
    begin_frame: FloatArray,
    stop_frame: FloatArray,
    clip_frames: IntArray,
) -> ValidStarts:
    """Return the starts of clips that share no frame with a blocked interval.

    An interval of length 0 is a cut: no clip may have frames on both sides of it.

    Args:
        num_frames: int64 `[U]`, number of starts of each item if nothing was blocked.
        item: int64 `[S]`, item of each blocked interval.
        begin_frame: float64 `[S]`, its begin `[begin, stop)`; may lie between two frames.
        stop_frame: float64 `[S]`, its end.
        clip_frames: int64 `[U]`, frames from a clip's first to its last one, inclusive.
    """
    if len(item) == 0:
        return ValidStarts(num_frames=num_frames, count=num_frames)
    # A clip that starts at frame f shows frames f to f + clip_frames - 1. It touches the interval
    # if one of them is at or after `begin` and before `stop`: low <= f < high.
    low = np.ceil(begin_frame).astype(np.int64) - clip_frames[item] + 1
    high = np.ceil(stop_frame).astype(np.int64)
    low, high = (np.clip(edge, 0, num_frames[item]) for edge in (low, high))
    base = np.cumsum(num_frames + 1) - (num_frames + 1)
    # The wall after each item is blocked as well, and keeps the items' intervals apart.
    walls = base + num_frames
    blocked_low = np.concatenate([low + base[item], walls])
    blocked_high = np.concatenate([high + base[item], walls + 1])
    order = np.lexsort((blocked_high, blocked_low))
    blocked_low, blocked_high = blocked_low[order], blocked_high[order]
    # What is valid lies between the furthest end so far and the next blocked begin.
    reached = np.maximum.accumulate(blocked_high)
    begin = np.concatenate([[0], reached[:-1]])
    length = blocked_low - begin
    is_free = length > 0
    if not is_free.any():
        return ValidStarts(num_frames=num_frames, count=np.zeros_like(num_frames))
    begin, length = begin[is_free], length[is_free]
    before = np.cumsum(length) - length
    base_index = np.append(before, length.sum())[np.searchsorted(begin, base)]
    intervals = _Intervals(
        begin=begin, length=length, before=before, base=base, base_index=base_index
    )
    count = np.append(base_index[1:], length.sum()) - base_index
    return ValidStarts(num_frames=num_frames, count=count, _intervals=intervals)
