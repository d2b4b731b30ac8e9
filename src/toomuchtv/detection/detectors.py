"""Stretches that say nothing or only who made it: black, silence, logos, the credits of a film.

All from traits and levels that one pass over a proxy gave; precision before recall.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from toomuchtv.detection.fingerprints import (
    FINGERPRINT_RATE_HZ,
    QUIET_DBFS,
    AudioFingerprint,
    running_mean,
)
from toomuchtv.detection.frame_features import FrameFeatures

#: Raised when the same traits would give other stretches.
DETECTORS_VERSION = 1

#: `[start_seconds, stop_seconds)`.
Span = tuple[float, float]

# Black is coded as 16; encoders leave a few levels of noise on it.
_BLACK_LUMA, _BLACK_HIGHLIGHT, _BLACK_DEVIATION = 22.0, 40.0, 4.0
_BLACK_SECONDS = 0.25
_SILENCE_SECONDS = 0.5

_LOGO_SECONDS = (1.0, 15.0)
_STILL_LEVELS, _STILL_SHARE = 1.0, 0.5
_CUT_LEVELS = 12.0

_LETTERS_INK = 0.003
_LETTERS_FLAT = 0.85
_LETTERS_LUMA = 130.0
_LETTERS_SPAN_SECONDS, _LETTERS_SHARE = 6.0, 0.6
_CREDITS_SECONDS = 8.0
# They begin in the last quarter, and not much comes after them.
_CREDITS_SHARE, _AFTER_SHARE, _AFTER_SECONDS = 0.25, 0.05, 10.0


def find_black(traits: FrameFeatures) -> list[Span]:
    """Where the picture is black: near the floor of luma, with hardly any variance, 0.25 s long."""
    black = (
        (traits.luma <= _BLACK_LUMA)
        & (traits.highlight <= _BLACK_HIGHLIGHT)
        & (traits.deviation <= _BLACK_DEVIATION)
    )
    return list(_spans(black, traits.frame_rate, _BLACK_SECONDS))


def find_silence(prints: AudioFingerprint) -> list[Span]:
    """Where the sound stays below -60 dBFS for half a second."""
    return list(_spans(prints.level_dbfs < QUIET_DBFS, FINGERPRINT_RATE_HZ, _SILENCE_SECONDS))


def find_logos(traits: FrameFeatures, black: list[Span]) -> list[Span]:
    """Pictures of 1 to 15 s between blacks at the very beginning, mostly still, without a cut.

    Args:
        traits: Of the item.
        black: What `find_black` gave of it.
    """
    logos: list[Span] = []
    at = 0.0
    for start, stop in black:
        if start > at:
            first, last = round(at * traits.frame_rate), round(start * traits.frame_rate)
            moved = traits.moved[first + 1 : last]
            if not (
                _LOGO_SECONDS[0] <= start - at <= _LOGO_SECONDS[1]
                and at > 0
                and np.mean(moved < _STILL_LEVELS) >= _STILL_SHARE
                and moved.max(initial=0.0) < _CUT_LEVELS
            ):
                break  # the film has begun
            logos.append((at, start))
        at = stop
    return logos


def find_film_credits(traits: FrameFeatures) -> Span | None:
    """The end credits, by their look: letters on flat ground, long, in the last quarter.

    A frame is lettered where 0.3% of its pixels or more are bright strokes as thin as letters,
    and what is behind them is flat and not bright. Credits are at least 8 s in which most frames
    are; at most a twentieth of the item, as a last scene, comes after.
    """
    seconds = len(traits) / traits.frame_rate
    lettered = (
        (traits.ink >= _LETTERS_INK)
        & (traits.flat >= _LETTERS_FLAT)
        & (traits.luma <= _LETTERS_LUMA)
    )
    width = round(_LETTERS_SPAN_SECONDS * traits.frame_rate)
    mostly = running_mean(lettered.astype(np.float64), width) >= _LETTERS_SHARE
    after = max(_AFTER_SHARE * seconds, _AFTER_SECONDS)
    for start, stop in _spans(mostly, traits.frame_rate, _CREDITS_SECONDS):
        if start < (1 - _CREDITS_SHARE) * seconds or stop < seconds - after:
            continue
        # The smoothing blurs the edges: they are at the first and last lettered frame.
        first = max(round(start * traits.frame_rate) - width // 2, 0)
        inside = first + np.flatnonzero(
            lettered[first : round(stop * traits.frame_rate) + width // 2]
        )
        return float(inside[0] / traits.frame_rate), float((inside[-1] + 1) / traits.frame_rate)
    return None


def _spans(is_so: NDArray[np.bool_], rate: float, min_seconds: float) -> Iterator[Span]:
    """Yield the runs that are long enough."""
    edges = np.flatnonzero(np.diff(is_so.astype(np.int8), prepend=0, append=0))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start >= min_seconds * rate:
            yield float(start / rate), float(stop / rate)
