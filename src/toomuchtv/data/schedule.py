"""Settings that change with the step, and the number of draws that all earlier steps made.

A schedule is one value, or pairs `[from_step, value]`: each value holds from its step until the
step of the next pair. The number of draws before step s is a sum over the few pairs before it, so
that a late step costs as little as the first one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

V = TypeVar("V", int, float)
Scheduled: TypeAlias = tuple[tuple[int, V], ...] | V

# Length of the repeated pattern that shares draws out among kinds: shares are exact to 0.001.
_PATTERN_DRAWS = 1000


def schedule_pairs(value: Scheduled[V]) -> tuple[tuple[int, V], ...]:
    """Return a schedule as pairs `(from_step, value)`; a plain value is one pair.

    Raises:
        ValueError: The first pair is not of step 0, or the steps do not ascend.
    """
    if not isinstance(value, tuple):
        return ((0, value),)
    steps = [step for step, _ in value]
    if not steps or steps[0] != 0 or any(one >= two for one, two in pairwise(steps)):
        raise ValueError(
            f"a schedule is pairs [from_step, value] that begin at step 0 and ascend, got {steps}"
        )
    return value


def value_at(value: Scheduled[V], step: int) -> V:
    """Return the value of a schedule at a step."""
    pairs = schedule_pairs(value)
    return pairs[bisect_right(pairs, step, key=lambda pair: pair[0]) - 1][1]


def checked(value: Scheduled[V], is_allowed: Callable[[V], bool], allowed: str) -> Scheduled[V]:
    """Return a schedule unchanged if each of its values is allowed.

    Raises:
        ValueError: A value is not; the message says what is `allowed`.
    """
    for step, part in schedule_pairs(value):
        if not is_allowed(part):
            raise ValueError(f"must be {allowed}, got {part} from step {step} on")
    return value


class DrawNumbers:
    """Numbers the draws of a whole run, and divides them among kinds of titles by their shares.

    Draw n of the run belongs to the kind that a fixed pattern has at position n modulo its
    length. So both "which draws of which kind are in step s" and "in which step is draw m of kind
    k" are arithmetic, and nothing is counted.

    Args:
        counts: Pairs `(from_step, draws in each step)`.
        shares: Share of each kind; they sum to 1.
    """

    def __init__(self, counts: Sequence[tuple[int, int]], shares: Sequence[float]) -> None:
        self._steps = [step for step, _ in counts]
        self._counts = [count for _, count in counts]
        self._draws_before = [0]  # draws of the run before each pair's first step
        for (step, count), (next_step, _) in pairwise(counts):
            self._draws_before.append(self._draws_before[-1] + (next_step - step) * count)
        pattern = _pattern(np.asarray(shares, np.float64))
        self._pattern = pattern
        self._positions = [np.flatnonzero(pattern == kind) for kind in range(len(shares))]
        # Draws of each kind before each position of the pattern, [kinds, positions].
        self._prefix = np.stack(
            [np.cumsum(pattern == kind) - (pattern == kind) for kind in range(len(shares))]
        )

    def of_step(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the draws of one step: `kind [n]`, and `number [n]` among the kind's draws."""
        pair = bisect_right(self._steps, step) - 1
        count = self._counts[pair]
        first = self._draws_before[pair] + (step - self._steps[pair]) * count
        cycle, position = np.divmod(np.arange(first, first + count), len(self._pattern))
        kind = self._pattern[position]
        draws_per_cycle = np.array([len(positions) for positions in self._positions])
        return kind, cycle * draws_per_cycle[kind] + self._prefix[kind, position]

    def step_bounds(self, kind: int, number: int) -> tuple[int, int]:
        """Return first and stop of the kind's draws in the step of its draw `number`."""
        positions = self._positions[kind]
        cycle, nth = divmod(number, len(positions))
        draw = cycle * len(self._pattern) + int(positions[nth])
        pair = bisect_right(self._draws_before, draw) - 1
        count = self._counts[pair]
        first = draw - (draw - self._draws_before[pair]) % count
        return self._number(kind, first), self._number(kind, first + count)

    def _number(self, kind: int, draw: int) -> int:
        """Return how many draws of the kind come before a draw of the run."""
        cycle, position = divmod(draw, len(self._pattern))
        return cycle * len(self._positions[kind]) + int(self._prefix[kind, position])


def _pattern(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the kinds of `_PATTERN_DRAWS` draws in a row, mixed as evenly as possible.

    Each position goes to the kind that is furthest behind its share, so that any stretch of draws
    meets the shares within about one draw. A single kind needs one position.
    """
    if len(shares) == 1:
        return np.zeros(1, np.int64)
    pattern = np.empty(_PATTERN_DRAWS, np.int64)
    given = np.zeros(len(shares))
    for position in range(_PATTERN_DRAWS):
        pattern[position] = np.argmax(shares * (position + 1) - given)
        given[pattern[position]] += 1
    return pattern
