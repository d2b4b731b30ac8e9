"""The motion of one event over time, from which both its frames and its audio are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Motions are computed at this rate, and then read at the times of frames and of audio samples.
CONTROL_RATE_HZ = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """An event at one time, as a painter needs it.

    Attributes:
        x: Horizontal position in stage units; the stage is 1.2 wide.
        y: Height above the floor in stage units; the stage is 1 high.
        angle: Rotation in radians, or whatever the motion uses it for.
        size: Relative size.
        opening: How far something is open, 0..1.
        drive: Intensity of the motion, 0..1.
        since_seconds: Time since the last impact, 9 before the first one.
        ahead_seconds: Times until the next impacts, at most four.
    """

    x: float
    y: float
    angle: float
    size: float
    opening: float
    drive: float
    since_seconds: float
    ahead_seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Track:
    """The motion of an event from its start to its stop.

    Attributes:
        seconds: Duration of the event.
        channels: `x`, `y`, `angle`, `size`, `opening` and `drive` (see `Pose`), each `[n]` at
            `CONTROL_RATE_HZ`. Continuous sounds follow `drive`.
        impacts: `[k]` seconds from the start at which something hits.
        weights: `[k]` strength of each hit.
    """

    seconds: float
    channels: dict[str, NDArray[Any]]
    impacts: NDArray[Any]
    weights: NDArray[Any]

    def pose(self, seconds: float) -> Pose:
        """Return the pose at a time in seconds since the start."""
        k = min(max(int(seconds * CONTROL_RATE_HZ), 0), len(self.channels["x"]) - 1)
        past = int(np.searchsorted(self.impacts, seconds, side="right"))
        since = seconds - float(self.impacts[past - 1]) if past else 9.0
        ahead = tuple(float(t) - seconds for t in self.impacts[past : past + 4])
        value = {name: float(channel[k]) for name, channel in self.channels.items()}
        return Pose(**value, since_seconds=since, ahead_seconds=ahead)

    def curve(self, name: str, num_samples: int, rate_hz: int) -> NDArray[Any]:
        """Return a channel at an audio sample rate, float32 `[num_samples]`."""
        times = np.arange(num_samples, dtype=np.float32) / rate_hz
        values = self.channels[name]
        grid = np.arange(len(values), dtype=np.float32) / CONTROL_RATE_HZ
        return np.asarray(np.interp(times, grid, values), np.float32)


def make_track(
    seconds: float,
    *,
    impacts: NDArray[Any] | None = None,
    weights: NDArray[Any] | None = None,
    **channels: NDArray[Any] | float,
) -> Track:
    """Build a track. Omitted channels are constant: `size` is 1 and the others are 0."""
    count = len(control_times(seconds))
    names = {"x": 0.0, "y": 0.0, "angle": 0.0, "size": 1.0, "opening": 0.0, "drive": 0.0}
    full = {
        name: np.broadcast_to(np.asarray(channels.get(name, default), np.float32), (count,))
        for name, default in names.items()
    }
    hits = np.zeros(0) if impacts is None else impacts
    kept = (hits >= 0.0) & (hits < seconds)
    strength = np.ones(len(hits)) if weights is None else weights
    return Track(seconds=seconds, channels=full, impacts=hits[kept], weights=strength[kept])


def control_times(seconds: float) -> NDArray[Any]:
    """Return the times of the control grid, `[n]` seconds."""
    return np.arange(int(np.ceil(seconds * CONTROL_RATE_HZ)) + 1) / CONTROL_RATE_HZ
