"""Detectors of black, silence, logos, the credits of films, and shots.

All of them are rules on the features of one pass over a proxy. They prefer precision to recall.
Intervals are half-open and in seconds.

A shot boundary (cut) is where a frame differs from the one before by much more than neighboring
frames do, so that camera movement is not taken for cuts. This follows the content and adaptive
detectors of PySceneDetect, adapted to a few decoded frames per second. The change of a frame is the
geometric mean of its frame difference and its histogram distance: a pan has a large difference and
a small distance, and a flicker of light has the opposite.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from toomuchtv.detection.fingerprints import (
    FINGERPRINT_RATE_HZ,
    QUIET_DBFS,
    AudioFingerprint,
    running_mean,
)
from toomuchtv.detection.frame_features import FrameFeatures

#: Version of the rules. It is raised when the same features would give other intervals.
DETECTORS_VERSION = 1

#: An interval `[start_seconds, stop_seconds)`.
Interval = tuple[float, float]

# Black is coded as luma 16. Encoders add a few code values of noise.
_BLACK_MEAN, _BLACK_P99, _BLACK_STD = 22.0, 40.0, 4.0
_BLACK_SECONDS = 0.25
_SILENCE_SECONDS = 0.5

_LOGO_SECONDS = (1.0, 15.0)
_STILL_DIFFERENCE, _STILL_SHARE = 1.0, 0.5
_LOGO_MAX_DIFFERENCE = 12.0

_LETTERS_STROKES, _LETTERS_FLAT, _LETTERS_LUMA = 0.003, 0.85, 130.0
_CREDITS_WINDOW_SECONDS, _CREDITS_WINDOW_SHARE = 6.0, 0.6
_CREDITS_SECONDS = 8.0
# Credits begin in the last quarter, and at most a twentieth of the item (or 10 s) follows them.
_CREDITS_LAST_SHARE, _AFTER_CREDITS_SHARE, _AFTER_CREDITS_SECONDS = 0.25, 0.05, 10.0

# A change of 1 is a frame difference of 12 code values and a histogram distance of a quarter.
_CUT_DIFFERENCE, _CUT_DISTANCE = 12.0, 0.25
# A large change must stand out from its neighbors; a small one must stand out much more.
_LARGE_CHANGE, _LARGE_RATIO = 1.2, 2.5
_SMALL_CHANGE, _SMALL_RATIO = 0.4, 4.0
_NEIGHBORS = 2
_MIN_SHOT_SECONDS = 0.25


def detect_black(features: FrameFeatures) -> list[Interval]:
    """Detect black: luma near its floor with hardly any variance, for 0.25 s or more."""
    is_black = (
        (features.luma_mean <= _BLACK_MEAN)
        & (features.luma_p99 <= _BLACK_P99)
        & (features.luma_std <= _BLACK_STD)
    )
    return list(_runs(is_black, features.frame_rate, _BLACK_SECONDS))


def detect_silence(fingerprint: AudioFingerprint) -> list[Interval]:
    """Detect silence: audio below -60 dBFS for 0.5 s or more."""
    is_quiet = fingerprint.level_dbfs < QUIET_DBFS
    return list(_runs(is_quiet, FINGERPRINT_RATE_HZ, _SILENCE_SECONDS))


def detect_logos(features: FrameFeatures, black: list[Interval]) -> list[Interval]:
    """Detect logos: intervals of 1 to 15 s between black at the start, mostly still, without a cut.

    Args:
        features: Features of the item's frames.
        black: The result of `detect_black` for the item.
    """
    logos: list[Interval] = []
    logo_start = 0.0
    for black_start, black_stop in black:
        if black_start > logo_start:
            rate = features.frame_rate
            first, last = round(logo_start * rate), round(black_start * rate)
            difference = features.frame_difference[first + 1 : last]
            if not (
                _LOGO_SECONDS[0] <= black_start - logo_start <= _LOGO_SECONDS[1]
                and logo_start > 0
                and np.mean(difference < _STILL_DIFFERENCE) >= _STILL_SHARE
                and difference.max(initial=0.0) < _LOGO_MAX_DIFFERENCE
            ):
                break  # the film itself has begun
            logos.append((logo_start, black_start))
        logo_start = black_stop
    return logos


def detect_credits(features: FrameFeatures) -> Interval | None:
    """Detect the end credits of a film by their appearance: letters on a flat background.

    A frame has letters if at least 0.3% of its pixels are bright thin strokes and the background is
    flat and not bright. Credits are at least 8 s in which most frames have letters, in the last
    quarter of the item; at most a twentieth of the item, such as a last scene, follows them.
    """
    rate = features.frame_rate
    duration = len(features) / rate
    has_letters = (
        (features.stroke_share >= _LETTERS_STROKES)
        & (features.flat_share >= _LETTERS_FLAT)
        & (features.luma_mean <= _LETTERS_LUMA)
    )
    width = round(_CREDITS_WINDOW_SECONDS * rate)
    mostly = running_mean(has_letters.astype(np.float64), width) >= _CREDITS_WINDOW_SHARE
    after = max(_AFTER_CREDITS_SHARE * duration, _AFTER_CREDITS_SECONDS)
    for start, stop in _runs(mostly, rate, _CREDITS_SECONDS):
        if start < (1 - _CREDITS_LAST_SHARE) * duration or stop < duration - after:
            continue
        # The running mean blurs the edges. They are the first and the last frame with letters.
        first = max(round(start * rate) - width // 2, 0)
        inside = has_letters[first : round(stop * rate) + width // 2]
        frames = first + np.flatnonzero(inside)
        return float(frames[0] / rate), float((frames[-1] + 1) / rate)
    return None


def detect_cuts(features: FrameFeatures) -> NDArray[np.int64]:
    """Detect the frames that begin a new shot, without frame 0. Dissolves and fades are no cuts.

    A cut has a change of at least 1.2 that is 2.5 times the mean change of the two frames before
    and the two frames after it, or a change of at least 0.4 that is four times that mean.
    """
    change = np.sqrt(
        features.frame_difference.astype(np.float64)
        / _CUT_DIFFERENCE
        * features.histogram_distance
        / _CUT_DISTANCE
    )
    if len(change) == 0:
        return np.zeros(0, np.int64)
    padded = np.pad(change, _NEIGHBORS, mode="edge")
    sums = np.convolve(padded, np.ones(2 * _NEIGHBORS + 1), "valid")
    neighbors = (sums - change) / (2 * _NEIGHBORS)
    is_cut = (change >= _LARGE_CHANGE) & (change >= _LARGE_RATIO * neighbors)
    is_cut |= (change >= _SMALL_CHANGE) & (change >= _SMALL_RATIO * neighbors)
    # Of cuts closer than the shortest shot, the one with the larger change counts.
    min_frames = _MIN_SHOT_SECONDS * features.frame_rate
    cuts: list[int] = []
    for frame in np.flatnonzero(is_cut):
        if cuts and frame - cuts[-1] < min_frames:
            if change[frame] > change[cuts[-1]]:
                cuts[-1] = int(frame)
        elif frame >= min_frames:
            cuts.append(int(frame))
    return np.array(cuts, np.int64)


def detect_shots(features: FrameFeatures) -> list[Interval]:
    """Detect the shots. They follow each other without gaps and cover the whole item."""
    edges = [0, *detect_cuts(features).tolist(), len(features)]
    return [
        (start / features.frame_rate, stop / features.frame_rate)
        for start, stop in pairwise(edges)
        if stop > start
    ]


def _runs(condition: NDArray[np.bool_], rate: float, min_seconds: float) -> Iterator[Interval]:
    """Yield the intervals of at least `min_seconds` in which a condition holds."""
    edges = np.flatnonzero(np.diff(condition.astype(np.int8), prepend=0, append=0))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start >= min_seconds * rate:
            yield float(start / rate), float(stop / rate)
