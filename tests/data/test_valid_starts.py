"""Valid starts against looking at every frame of every item."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from toomuchtv.data.valid_starts import ValidStarts, valid_starts

Interval = tuple[int, float, float]
ITEMS = st.lists(st.integers(0, 25), min_size=1, max_size=5)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[int], list[int], list[Interval]]:
    """Starts of each item, frames of a clip of each, and intervals: item, begin, stop."""
    num_frames = draw(ITEMS)
    clip_frames = draw(
        st.lists(st.integers(1, 6), min_size=len(num_frames), max_size=len(num_frames))
    )
    edge = st.integers(-10, 80).map(lambda quarter: quarter / 4)
    interval = st.tuples(st.integers(0, len(num_frames) - 1), edge, edge)
    intervals = [
        (item, min(one, two), max(one, two)) for item, one, two in draw(st.lists(interval))
    ]
    return num_frames, clip_frames, intervals


def build(num_frames: list[int], clip_frames: list[int], intervals: list[Interval]) -> ValidStarts:
    columns = list(zip(*intervals, strict=True)) or [(), (), ()]
    return valid_starts(
        np.array(num_frames),
        item=np.array(columns[0], np.int64),
        begin_frame=np.array(columns[1], np.float64),
        stop_frame=np.array(columns[2], np.float64),
        clip_frames=np.array(clip_frames),
    )


def by_brute_force(
    num_frames: list[int], clip_frames: list[int], intervals: list[Interval]
) -> list[list[int]]:
    """Return the valid starts of each item."""
    valid = []
    for item, (count, length) in enumerate(zip(num_frames, clip_frames, strict=True)):
        starts = []
        for start in range(count):
            shown = range(start, start + length)
            touched = False
            for of_item, begin, stop in intervals:
                if of_item == item:
                    on_both_sides = shown[0] < begin <= shown[-1]
                    touched |= on_both_sides or any(begin <= frame < stop for frame in shown)
            if not touched:
                starts.append(start)
        valid.append(starts)
    return valid


@given(cases())
def test_indices_and_frames(case: tuple[list[int], list[int], list[Interval]]) -> None:
    starts, valid = build(*case), by_brute_force(*case)
    assert starts.count.tolist() == [len(frames) for frames in valid]
    for item, frames in enumerate(valid):
        items = np.full(len(frames), item)
        assert starts.frame_at(items, np.arange(len(frames))).tolist() == frames
        probes = np.arange(-3, 40)
        before = [sum(frame < probe for frame in frames) for probe in probes]
        assert starts.index_of(np.full(len(probes), item), probes).tolist() == before


@given(cases(), st.lists(st.integers(1, 30), min_size=5, max_size=5))
def test_the_best_window(
    case: tuple[list[int], list[int], list[Interval]], windows: list[int]
) -> None:
    starts, valid = build(*case), by_brute_force(*case)
    window = np.array(windows[: len(valid)])
    first, held = starts.best_window(window)
    for item, frames in enumerate(valid):
        counts = [
            sum(begin <= frame < begin + windows[item] for frame in frames) for begin in frames
        ]
        assert held[item] == max(counts, default=0)
        if frames:
            assert counts[first[item]] == held[item]


def test_the_best_of_several_windows_of_one_item_wins_in_any_order() -> None:
    """NumPy promises no order for `a[i] = b` with repeated i; the maximum must not depend on it."""
    rng = np.random.default_rng(0)
    # One item with many free intervals of different lengths, cut apart by blocked frames.
    cuts = np.cumsum(rng.integers(2, 9, 400))
    intervals = [(0, float(cut), float(cut + 1)) for cut in cuts.tolist()]
    num_frames = int(cuts[-1]) + 10
    for window in (3, 7, 20):
        starts = build([num_frames], [1], intervals)
        valid = np.array(by_brute_force([num_frames], [1], intervals)[0])
        held = np.searchsorted(valid, valid + window) - np.arange(len(valid))
        first, most = starts.best_window(np.array([window]))
        assert most.tolist() == [held.max()]
        assert held[first[0]] == held.max()
