"""Which recurring segment (an opening, a recap) a clip touches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toomuchtv._internal.random_numbers import FloatArray
from toomuchtv.catalog.snapshot import SnapshotSegments
from toomuchtv.data.valid_starts import IntArray

# A key is a row and a time on one line. 40 bits of milliseconds are 35 years of video.
_TIME_BITS = 40


class RecurringSegments:
    """The recurring segments of a snapshot's items, found by binary search."""

    def __init__(self, segments: SnapshotSegments) -> None:
        recurring = segments.where(segments.recurrence >= 0)
        start = _key(recurring.row, recurring.start_seconds)
        stop = _key(recurring.row, recurring.stop_seconds)
        order = np.argsort(start, kind="stable")
        start, stop = start[order], stop[order]
        # Where segments overlap, the one that starts earlier wins. Cutting the others makes the
        # stops ascend as well, so that one search finds the only candidate.
        reached = np.maximum.accumulate(stop)
        start[1:] = np.maximum(start[1:], reached[:-1])
        is_left = start < stop
        self._start_key, self._stop_key = start[is_left], stop[is_left]
        self._recurrence = recurring.recurrence[order][is_left].astype(np.int64)

    def touched_by(
        self, row: IntArray, start_seconds: FloatArray, stop_seconds: FloatArray
    ) -> IntArray:
        """Return the recurrence of the first segment that each `[start, stop)` touches, `[n]`.

        It is -1 for none.
        """
        if len(self._stop_key) == 0:
            return np.full(len(row), -1, np.int64)
        # A negative time would be a time of the row before.
        start_key = _key(row, np.maximum(start_seconds, 0.0))
        index = np.searchsorted(self._stop_key, start_key, side="right")
        index = np.minimum(index, len(self._stop_key) - 1)
        touches = (self._start_key[index] < _key(row, stop_seconds)) & (
            self._stop_key[index] > start_key
        )
        return np.where(touches, self._recurrence[index], -1)


def _key(row: NDArray[np.integer], seconds: NDArray[np.floating]) -> IntArray:
    milliseconds = np.rint(seconds * 1000.0).astype(np.int64)
    key: IntArray = (row.astype(np.int64) << _TIME_BITS) + milliseconds
    return key
