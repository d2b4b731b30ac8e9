"""Where one shot ends and the next begins.

After the content and adaptive detectors of PySceneDetect: a cut is where the picture changes by
much more than it does around there, so that a moving camera is not taken for cuts. Written for
the traits of proxies, a few frames a second of decoded planes: the change is the geometric mean of
what moved and what was recolored, since a pan moves everything and recolors little, and a flicker
of light does the opposite.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from toomuchtv.detection.frame_features import FrameFeatures

#: Raised when the same traits would give other shots.
SHOTS_VERSION = 1

_MOVED_LEVELS, _RECOLORED = 12.0, 0.25
# A great change must stand out from what is around it, a smaller one stand alone.
_GREAT, _GREAT_RATIO = 1.2, 2.5
_SMALL, _SMALL_RATIO = 0.4, 4.0
_AROUND_FRAMES = 2
_MIN_SHOT_SECONDS = 0.25


def find_cuts(traits: FrameFeatures) -> NDArray[np.int64]:
    """The frames that begin a new shot, frame 0 not among them.

    A change of 1 is 12 levels moved and a quarter recolored. A cut is one of at least 1.2 that is
    2.5 times the mean of the two changes before and the two after it, or one of at least 0.4 that
    is four times that mean. Dissolves and fades are not cuts.
    """
    change = change_of(traits)
    if len(change) == 0:
        return np.zeros(0, np.int64)
    padded = np.pad(change, _AROUND_FRAMES, mode="edge")
    sums = np.convolve(padded, np.ones(2 * _AROUND_FRAMES + 1), "valid")
    around = (sums - change) / (2 * _AROUND_FRAMES)
    is_cut = (change >= _GREAT) & (change >= _GREAT_RATIO * around)
    is_cut |= (change >= _SMALL) & (change >= _SMALL_RATIO * around)
    cuts: list[int] = []
    for frame in np.flatnonzero(is_cut):
        if cuts and frame - cuts[-1] < _MIN_SHOT_SECONDS * traits.frame_rate:
            if change[frame] > change[cuts[-1]]:
                cuts[-1] = int(frame)
        elif frame >= _MIN_SHOT_SECONDS * traits.frame_rate:
            cuts.append(int(frame))
    return np.array(cuts, np.int64)


def change_of(traits: FrameFeatures) -> NDArray[np.float64]:
    """How much each frame differs from the one before, `[T]`."""
    moved = traits.moved.astype(np.float64) / _MOVED_LEVELS
    return np.asarray(np.sqrt(moved * traits.recolored / _RECOLORED))


def find_shots(traits: FrameFeatures) -> list[tuple[float, float]]:
    """The shots, `[start_seconds, stop_seconds)`, one after the other through the whole item."""
    edges = [0, *find_cuts(traits).tolist(), len(traits)]
    return [
        (start / traits.frame_rate, stop / traits.frame_rate)
        for start, stop in pairwise(edges)
        if stop > start
    ]
