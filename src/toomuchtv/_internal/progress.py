"""How long work tells its caller where it stands, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable

#: Called with (done, total, what is being done now); `done` and `total` share any one unit.
ProgressCallback = Callable[[float, float, str], None]


def no_progress(done: float, total: float, what: str) -> None:
    """Listen to nothing: the default hook."""
