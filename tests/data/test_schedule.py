"""Draws of a run: numbered without gaps, shared as asked, found from both sides."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from toomuchtv.data.schedule import Draws, value_at


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[float]]:
    steps = sorted(draw(st.sets(st.integers(1, 40), max_size=3)))
    counts = [(step, draw(st.integers(1, 9))) for step in (0, *steps)]
    shares = np.array(draw(st.lists(st.sampled_from([1, 2, 7]), min_size=1, max_size=3)), float)
    return counts, (shares / shares.sum()).tolist()


@settings(max_examples=60)
@given(runs())
def test_draws_are_counted_through(run: tuple[list[tuple[int, int]], list[float]]) -> None:
    counts, shares = run
    draws = Draws(counts, shares)
    seen: Counter[int] = Counter()
    for step in range(60):
        deck, number = draws.of_step(step)
        assert len(deck) == value_at(tuple(counts), step)
        before = dict(seen)
        for of_deck, n in zip(deck.tolist(), number.tolist(), strict=True):
            assert n == seen[of_deck]  # the next one of its deck
            seen[of_deck] += 1
        for of_deck, n in zip(deck.tolist(), number.tolist(), strict=True):
            bounds = draws.step_bounds(of_deck, n)
            assert bounds == (before.get(of_deck, 0), seen[of_deck])
    total = sum(seen.values())
    for index, share in enumerate(shares):
        assert abs(seen[index] - share * total) < len(shares)


def test_far_steps_are_as_near_as_the_first() -> None:
    draws = Draws([(0, 64), (10**6, 16)], [0.5, 0.5])
    _, number = draws.of_step(10**9)
    first = (64 * 10**6 + 16 * (10**9 - 10**6)) // 2
    assert sorted(number.tolist()) == sorted([*range(first, first + 8)] * 2)
