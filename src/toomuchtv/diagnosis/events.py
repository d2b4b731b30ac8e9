"""What happens when, where somebody knows: a sidecar of events for the files of a library.

For `LIBRARY/a/b.mkv` the sidecar is `TRUTH/a/b.json`: an object whose `events` are objects with
`start_seconds`, `stop_seconds` and `kind`. The studio writes such; anybody may.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from toomuchtv.evaluation.errors import BenchmarkError


class Event(BaseModel):
    """Something of a known kind, `[start_seconds, stop_seconds)` of its file."""

    start_seconds: float
    stop_seconds: float
    kind: str


class _Sidecar(BaseModel):
    events: list[Event]


def read_events(truth: Path, item_path: Path) -> list[Event]:
    """Read the events of one file; none where it has no sidecar.

    Args:
        truth: The folder of sidecars.
        item_path: Of the file, relative to its library.

    Raises:
        BenchmarkError: The sidecar is not as above.
    """
    path = truth / item_path.with_suffix(".json")
    try:
        return _Sidecar.model_validate(json.loads(path.read_text("utf-8"))).events
    except FileNotFoundError:
        return []
    except (OSError, ValueError, ValidationError) as error:
        raise BenchmarkError(f"{str(path)!r} is no list of events: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledMoment:
    """When a clip starts, and the one kind of event that is in it."""

    start_seconds: float
    kind: str


def label_moments(
    events: list[Event], *, span_seconds: float, last_start_seconds: float, frame_rate: float
) -> list[LabeledMoment]:
    """Cut one clip out of the middle of every event that has it to itself.

    Args:
        events: Of one file.
        span_seconds: Of a clip.
        last_start_seconds: The latest start of a clip.
        frame_rate: Of the grid that starts lie on.

    Returns:
        At most one an event: those that fill at least half of the clip, and where no event of
        another kind is in it.
    """
    found = []
    for event in events:
        middle = (event.start_seconds + event.stop_seconds) / 2
        start = min(max(middle - span_seconds / 2, 0.0), last_start_seconds)
        start = int(start * frame_rate + 1e-6) / frame_rate
        stop = start + span_seconds
        shared = min(stop, event.stop_seconds) - max(start, event.start_seconds)
        alone = all(
            other.kind == event.kind or other.stop_seconds <= start or other.start_seconds >= stop
            for other in events
        )
        if alone and shared >= span_seconds / 2:
            found.append(LabeledMoment(start_seconds=start, kind=event.kind))
    return found
