"""Find the content that items of different titles share: a film twice, or a trailer in a film."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toomuchtv.catalog.records import Duplicate
from toomuchtv.detection.fingerprints import FINGERPRINT_RATE_HZ, words_to_seconds
from toomuchtv.detection.frame_features import FrameFeatures
from toomuchtv.detection.matching import Fingerprints, Match, find_matches

#: Version of the rules. It is raised when the same features would give other duplicates.
DUPLICATES_VERSION = 1

_MIN_SECONDS = 8.0
# One in four words is enough to find intervals of this duration.
_SPARSITY = 4
_MIN_CORRELATION = 0.7
# A frame sequence with a smaller deviation is a still image, whose correlation means nothing.
_STILL_STD, _STILL_MAX_DIFFERENCE = 1.0, 16.0
_COMPARISONS_HZ = 4


def find_duplicates(
    item_ids: Sequence[int],
    title_ids: Sequence[int],
    fingerprints: Fingerprints,
    frames_of: Callable[[int], FrameFeatures],
    *,
    scratch: Path | None = None,
) -> Iterator[Duplicate]:
    """Find intervals of 8 s or more that items of different titles share in audio and video.

    The audio finds the candidates. The brightness of the video, which must rise and fall together,
    distinguishes a shared scene from a shared song. If an interval is in many titles, such as the
    logo of a studio, not every pair is reported, but the pairs connect all these titles.

    Args:
        item_ids: The items. Items of one title must be consecutive.
        title_ids: Title of each item.
        fingerprints: Fingerprint of each item.
        frames_of: Returns the frame features of an item, given its index in these sequences.
        scratch: Folder for what does not fit in memory, see `find_matches`.
    """
    for match in find_matches(
        fingerprints,
        groups=title_ids,
        sparsity=_SPARSITY,
        min_seconds=_MIN_SECONDS,
        scratch=scratch,
    ):
        if not _has_same_brightness(frames_of(match.first), frames_of(match.second), match):
            continue
        first, second = item_ids[match.first], item_ids[match.second]
        start, stop = match.start, match.stop
        other_start = start + match.offset
        if first > second:
            first, second = second, first
            start, stop, other_start = other_start, other_start + stop - start, start
        yield Duplicate(
            item_id=first,
            other_item_id=second,
            start_seconds=words_to_seconds(start),
            stop_seconds=words_to_seconds(stop),
            other_start_seconds=words_to_seconds(other_start),
        )


def _has_same_brightness(one: FrameFeatures, other: FrameFeatures, match: Match) -> bool:
    here = _brightness(one, match.start, match.stop)
    there = _brightness(other, match.start + match.offset, match.stop + match.offset)
    deviations = here.std(), there.std()
    if min(deviations) < _STILL_STD:
        difference = abs(float(here.mean() - there.mean()))
        return max(deviations) < _STILL_STD and difference < _STILL_MAX_DIFFERENCE
    return float(np.corrcoef(here, there)[0, 1]) >= _MIN_CORRELATION


def _brightness(frames: FrameFeatures, start: int, stop: int) -> NDArray[np.float64]:
    """Return the mean luma at the times of words `[start, stop)`, four times per second."""
    step = FINGERPRINT_RATE_HZ // _COMPARISONS_HZ
    times = np.arange(start, stop, step) / FINGERPRINT_RATE_HZ
    indices = np.minimum((times * frames.frame_rate).astype(np.int64), len(frames) - 1)
    return frames.luma_mean[indices].astype(np.float64)
