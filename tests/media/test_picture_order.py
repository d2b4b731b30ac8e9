"""Times of MPEG-1 and MPEG-2 pictures are mended by the order that the pictures state."""

from __future__ import annotations

import numpy as np
import pytest

from toomuchtv.media.picture_order import mend_times

ORDER = [2, 0, 1, 5, 3, 4, 8, 6, 7]  # of a group I B B P B B P B B
FRAME = 1001 / 30_000


def groups(num: int) -> tuple[np.ndarray, list[int | None], list[int]]:
    """Return times in frames, references and keyframes of groups in file order."""
    references = ORDER * num
    starts = np.repeat(np.arange(num) * len(ORDER), len(ORDER))
    return starts + np.array(references), [*references], [*range(0, len(references), len(ORDER))]


@pytest.mark.parametrize("zero_seconds", [0.0, 0.5 * FRAME, 3600.0123])
@pytest.mark.parametrize("group", [1, 2, 3])
def test_a_time_that_went_to_the_picture_before_is_mended(group: int, zero_seconds: float) -> None:
    true, references, keyframes = groups(4)
    stated = true.copy()
    # The keyframe gets the time of the B-frame after it, and FFmpeg counts on from there.
    first = keyframes[group]
    stated[[first, *range(first + 3, first + len(ORDER))]] -= 2
    seconds = zero_seconds + np.round(stated * FRAME * 90_000) / 90_000
    found = mend_times(seconds, references, keyframes, FRAME)
    np.testing.assert_allclose(found, zero_seconds + true * FRAME, atol=2e-5)


def test_what_does_not_contradict_itself_stays() -> None:
    true, references, keyframes = groups(4)
    seconds = true * FRAME
    later = np.where(true >= 2 * len(ORDER), seconds + 100.0, seconds)  # a discontinuity
    lost = [reference if row != 13 else None for row, reference in enumerate(references)]
    pulled_down = np.floor(true * 1.25) * FRAME  # 24 frames shown as 30
    for times, known in ((seconds, references), (later, references), (pulled_down, references),
                         (seconds - np.arange(36) % 7 * FRAME, lost)):  # fmt: skip
        if known is lost:
            assert (mend_times(times, lost, keyframes, FRAME)[9:18] == times[9:18]).all()
        else:
            assert (mend_times(times, known, keyframes, FRAME) == times).all()


@pytest.mark.parametrize(
    ("references", "keyframes", "frame_seconds"),
    [([None] * 3, [0, 1, 2], 0.0), ([0, 1, 2], [], 0.04), ([0, 1, 2], [0], 0.0)],
)
def test_times_without_an_order_are_kept(
    references: list[int | None], keyframes: list[int], frame_seconds: float
) -> None:
    """Audio has neither pictures nor a frame rate; damaged video may lack a key frame."""
    seconds = np.array([0.0, 0.02, 0.04])
    assert np.array_equal(mend_times(seconds, references, keyframes, frame_seconds), seconds)
