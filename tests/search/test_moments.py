"""Which windows are one moment, and the interval of a hit."""

from __future__ import annotations

import numpy as np
import pytest

from toomuchtv.catalog.records import Duplicate, Segment
from toomuchtv.search.moments import MomentFinder, Place, SeenPlaces


def segment(
    item: int, start: float, stop: float, kind: str, recurrence: int | None = None
) -> Segment:
    return Segment(
        item_id=item, start_seconds=start, stop_seconds=stop, kind=kind, recurrence=recurrence
    )


FINDER = MomentFinder(
    [
        segment(1, 0.0, 4.0, "shot"),
        segment(1, 4.0, 40.0, "shot"),
        segment(1, 10.0, 20.0, "opening", 7),
        segment(2, 30.0, 40.0, "opening", 7),
        segment(2, 50.0, 60.0, "black"),
    ],
    [
        Duplicate(
            item_id=1, other_item_id=3, start_seconds=100.0, stop_seconds=110.0,
            other_start_seconds=5.0,
        )
    ],
)  # fmt: skip


def test_a_hit_is_its_shot_if_that_is_short() -> None:
    assert FINDER.extent(1, 1.0, 3.0) == (0.0, 4.0)
    assert FINDER.extent(1, 3.5, 5.5) == (4.0, 5.5)  # within the long shot
    assert FINDER.extent(9, 3.5, 5.5) == (3.5, 5.5)


def test_the_same_second_of_an_opening_is_one_place() -> None:
    assert FINDER.place(1, 12.0) == FINDER.place(2, 32.0) == Place(("recurrence", 7), 2.0)
    assert FINDER.place(1, 25.0) == Place(("item", 1), 25.0)
    assert FINDER.place(3, 7.0) == FINDER.place(1, 102.0)
    assert FINDER.place(3, 15.0) == Place(("item", 3), 15.0)


@pytest.mark.parametrize("seed", range(3))
def test_all_copies_are_one_place_if_pairs_connect_them(seed: int) -> None:
    # Item n has at n * 100 s what the others have there. The pairs are a tree of random order.
    rng = np.random.default_rng(seed)
    order = rng.permutation(np.arange(1, 9)).tolist()
    pairs = []
    for number, one in enumerate(order[1:], start=1):
        first, other = sorted([one, order[int(rng.integers(number))]])
        pairs.append(
            Duplicate(
                item_id=first, other_item_id=other, start_seconds=first * 100.0,
                stop_seconds=first * 100.0 + 10.0, other_start_seconds=other * 100.0,
            )
        )  # fmt: skip
    finder = MomentFinder([segment(1, 106.0, 110.0, "opening", 7)], pairs)
    items = rng.permutation(np.arange(1, 9)).tolist()
    for offset in (2.5, 5.5, 9.9):
        expected = Place(("item", 1), 100.0 + offset)
        if offset > 6.0:
            expected = Place(("recurrence", 7), offset - 6.0)
        for item in items:
            place = finder.place(item, item * 100.0 + offset)
            assert place.key == expected.key
            assert place.seconds == pytest.approx(expected.seconds)
    for item in items:
        for seconds in (item * 100.0 - 0.1, item * 100.0 + 10.0):
            assert finder.place(item, seconds) == Place(("item", item), seconds)


def test_seen_places() -> None:
    seen = SeenPlaces(FINDER, 2.0)
    assert seen.find(1, 11.0, 13.0) is None
    seen.add(1, 11.0, 13.0, 5)
    assert seen.find(2, 31.0, 33.0) == 5
    assert seen.find(2, 34.0, 36.0) is None  # another moment of the same opening
    assert seen.find(3, 11.0, 13.0) is None
    seen.add(1, 0.0, 1.0, 6)
    assert seen.find(1, 2.9, 3.9) == 6  # the same shot
    assert seen.find(1, 4.0, 5.0) is None


def test_segment_kinds_of_times() -> None:
    times = np.array([9.9, 10.0, 19.9, 20.0])
    assert FINDER.is_in(1, times, ["opening", "black"]).tolist() == [False, True, True, False]
    assert FINDER.is_in(2, np.array([55.0]), ["black"]).tolist() == [True]
    assert FINDER.is_in(2, np.array([55.0]), ["credits"]).tolist() == [False]
