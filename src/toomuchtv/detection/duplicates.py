"""The same film twice, a trailer inside a film: what items of different titles share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toomuchtv.catalog.records import Duplicate
from toomuchtv.detection.fingerprints import FINGERPRINT_RATE_HZ, AudioFingerprint, words_to_seconds
from toomuchtv.detection.frame_features import FrameFeatures
from toomuchtv.detection.matching import Match, find_matches

#: Raised when the same traces would give other duplicates.
DUPLICATES_VERSION = 1

_MIN_SECONDS = 8.0
# One of so many words is enough for stretches this long.
_SPARSITY = 4
_ALIKE = 0.7


def find_duplicates(
    item_ids: Sequence[int],
    title_ids: Sequence[int],
    prints: Sequence[AudioFingerprint],
    traits_of: Callable[[int], FrameFeatures],
    *,
    scratch: Path | None = None,
) -> Iterator[Duplicate]:
    """Find stretches of 8 s or more that items of different titles share, in sound and picture.

    The sound finds them; the picture's brightness, which must rise and fall alike, tells a shared
    scene from a shared song. Where a stretch is in many titles, as a studio's logo is, not every
    pair is given, but the pairs connect all of them.

    Args:
        item_ids: The items, those of a title together.
        title_ids: The title of each.
        prints: The fingerprint of each.
        traits_of: Gives the traits of an item by its place in these lists.
        scratch: See `find_matches`.
    """
    for match in find_matches(
        prints, groups=title_ids, sparsity=_SPARSITY, min_seconds=_MIN_SECONDS, scratch=scratch
    ):
        if not looks_alike(traits_of(match.first), traits_of(match.second), match):
            continue
        first, second = item_ids[match.first], item_ids[match.second]
        there = words_to_seconds(match.start + match.offset)
        start, stop = words_to_seconds(match.start), words_to_seconds(match.stop)
        if first > second:
            first, second = second, first
            start, stop, there = there, there + stop - start, start
        yield Duplicate(
            item_id=first,
            other_item_id=second,
            start_seconds=start,
            stop_seconds=stop,
            other_start_seconds=there,
        )


def looks_alike(one: FrameFeatures, other: FrameFeatures, match: Match) -> bool:
    """Whether the brightness of both pictures goes alike over a match of their sounds."""
    here = _curve(one, match.start, match.stop)
    there = _curve(other, match.start + match.offset, match.stop + match.offset)
    spreads = here.std(), there.std()
    if min(spreads) < 1.0:  # a still: its brightness says all there is to say
        return max(spreads) < 1.0 and abs(float(here.mean() - there.mean())) < 16.0
    return float(np.corrcoef(here, there)[0, 1]) >= _ALIKE


def _curve(traits: FrameFeatures, start: int, stop: int) -> NDArray[np.float64]:
    """Mean luma at each print from `start` to `stop`, four a second."""
    times = np.arange(start, stop, FINGERPRINT_RATE_HZ // 4) / FINGERPRINT_RATE_HZ
    frames = np.minimum((times * traits.frame_rate).astype(np.int64), len(traits) - 1)
    return traits.luma[frames].astype(np.float64)
