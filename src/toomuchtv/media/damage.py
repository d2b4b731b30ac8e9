"""Where a file is damaged: intervals in which its video or its audio could not be decoded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# Damage that is nearer to each other than this is reported as one interval.
_MERGE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, order=True)
class DamagedInterval:
    """A part of an item, half-open, in seconds on its timeline, that could not be decoded.

    Attributes:
        start_seconds: Where the last whole frame before the damage ends.
        stop_seconds: Where the first whole frame after it begins, or where the item ends.
    """

    start_seconds: float
    stop_seconds: float

    @property
    def duration_seconds(self) -> float:
        """Its length in seconds."""
        return self.stop_seconds - self.start_seconds

    def overlaps(self, other: DamagedInterval) -> bool:
        """Return whether the two intervals have a part in common."""
        start = max(self.start_seconds, other.start_seconds)
        return start < min(self.stop_seconds, other.stop_seconds)


def merge_intervals(intervals: Iterable[DamagedInterval]) -> tuple[DamagedInterval, ...]:
    """Return the intervals in order of time; those less than a second apart become one."""
    merged: list[DamagedInterval] = []
    for interval in sorted(intervals):
        if merged and interval.start_seconds <= merged[-1].stop_seconds + _MERGE_SECONDS:
            stop = max(merged[-1].stop_seconds, interval.stop_seconds)
            merged[-1] = DamagedInterval(merged[-1].start_seconds, stop)
        else:
            merged.append(interval)
    return tuple(merged)
