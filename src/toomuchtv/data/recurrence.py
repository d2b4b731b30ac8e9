"""Which recurring thing (an opening, a recap) a clip lies in, if it lies in one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toomuchtv._internal.random_numbers import FloatArray
from toomuchtv.catalog.snapshot import SnapshotSegments
from toomuchtv.data.valid_starts import IntArray

_ROW_BITS = 40  # of a key are milliseconds: three decades of film


class RecurringParts:
    """The recurring parts of a snapshot's items, looked up by binary search."""

    def __init__(self, segments: SnapshotSegments) -> None:
        parts = segments.where(segments.recurrence >= 0)
        start, stop = _key(parts.row, parts.start_seconds), _key(parts.row, parts.stop_seconds)
        order = np.argsort(start, kind="stable")
        start, stop = start[order], stop[order]
        # Where parts lie over each other the earlier one counts, so that they end in order too.
        reached = np.maximum.accumulate(stop)
        start[1:] = np.maximum(start[1:], reached[:-1])
        is_left = start < stop
        self._start_key, self._stop_key = start[is_left], stop[is_left]
        self._recurrence = parts.recurrence[order][is_left].astype(np.int64)

    def of(self, row: IntArray, start_seconds: FloatArray, stop_seconds: FloatArray) -> IntArray:
        """The recurring thing that each clip `[start, stop)` touches, `[n]`; -1 for none."""
        if len(self._stop_key) == 0:
            return np.full(len(row), -1, np.int64)
        part = np.searchsorted(self._stop_key, _key(row, start_seconds), side="right")
        part = np.minimum(part, len(self._stop_key) - 1)
        touches = (self._start_key[part] < _key(row, stop_seconds)) & (
            self._stop_key[part] > _key(row, start_seconds)
        )
        return np.where(touches, self._recurrence[part], -1)


def _key(row: NDArray[np.integer], seconds: NDArray[np.floating]) -> IntArray:
    milliseconds = np.rint(seconds * 1000.0).astype(np.int64)
    key: IntArray = (row.astype(np.int64) << _ROW_BITS) + milliseconds
    return key
