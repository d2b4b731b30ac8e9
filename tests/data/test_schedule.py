"""The draws of a run are numbered without gaps and divided by shares."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from toomuchtv.data.config import value_at
from toomuchtv.data.epoch_shuffle import DrawNumbers


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[float]]:
    steps = sorted(draw(st.sets(st.integers(1, 40), max_size=3)))
    counts = [(step, draw(st.integers(1, 9))) for step in (0, *steps)]
    shares = np.array(draw(st.lists(st.sampled_from([1, 2, 7]), min_size=1, max_size=3)), float)
    return counts, (shares / shares.sum()).tolist()


@settings(max_examples=60)
@given(runs())
def test_draws_are_numbered_without_gaps(run: tuple[list[tuple[int, int]], list[float]]) -> None:
    counts, shares = run
    draws = DrawNumbers(counts, shares)
    seen: Counter[int] = Counter()
    for step in range(60):
        kind, number = draws.of_step(step)
        assert len(kind) == value_at(tuple(counts), step)
        before = dict(seen)
        for of_kind, n in zip(kind.tolist(), number.tolist(), strict=True):
            assert n == seen[of_kind]  # the next one of its kind
            seen[of_kind] += 1
        for of_kind, n in zip(kind.tolist(), number.tolist(), strict=True):
            bounds = draws.step_bounds(of_kind, n)
            assert bounds == (before.get(of_kind, 0), seen[of_kind])
    total = sum(seen.values())
    for index, share in enumerate(shares):
        assert abs(seen[index] - share * total) < len(shares)


def test_a_late_step_has_the_right_numbers() -> None:
    draws = DrawNumbers([(0, 64), (10**6, 16)], [0.5, 0.5])
    _, number = draws.of_step(10**9)
    first = (64 * 10**6 + 16 * (10**9 - 10**6)) // 2
    assert sorted(number.tolist()) == sorted([*range(first, first + 8)] * 2)
