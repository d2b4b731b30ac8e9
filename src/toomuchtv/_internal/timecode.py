"""Formats times for people."""

from __future__ import annotations


def format_timecode(seconds: float) -> str:
    """Format a time as `hh:mm:ss.f`, rounded down to a tenth of a second."""
    # The small term undoes rounding errors: 0.3 * 10 is less than 3 in floating point.
    tenths = int(seconds * 10 + 1e-6)
    return f"{tenths // 36000:02d}:{tenths // 600 % 60:02d}:{tenths // 10 % 60:02d}.{tenths % 10}"
