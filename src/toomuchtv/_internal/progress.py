"""Progress of long work, reported to a callback, so that library code never prints."""

from __future__ import annotations

from collections.abc import Callable

#: Called with (done, total, description). `done` and `total` share any one unit.
ProgressCallback = Callable[[float, float, str], None]


def no_progress(done: float, total: float, what: str) -> None:
    """Ignore progress; this is the default callback."""
