"""Settings that change with the step, and how many draws all steps before one made.

A schedule is a value, or pairs `[from_step, value]`: each value holds from its step until the next
one's. What was drawn before step s is a sum over the few stages before it, so that any step is as
near as the first.
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

# So many draws in a row are shared among decks once; shares are met to a thousandth.
_PATTERN_DRAWS = 1000


def stages(value: Scheduled[V]) -> tuple[tuple[int, V], ...]:
    """The stages of a schedule, `(from_step, value)`; a plain value is one stage.

    Raises:
        ValueError: The first stage does not begin at step 0, or the steps do not ascend.
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
    """The value of a schedule at a step."""
    pairs = stages(value)
    return pairs[bisect_right(pairs, step, key=lambda pair: pair[0]) - 1][1]


class Draws:
    """Numbers the draws of a whole run, and shares them among decks.

    Draw n of a run goes to the deck that a fixed pattern names at place n modulo its length. So
    both "which draws of which deck are in step s" and "in which step is draw m of deck d" are
    arithmetic.

    Args:
        counts: Draws a step, `(from_step, count)`.
        shares: Of each deck; they sum to 1.
    """

    def __init__(self, counts: Sequence[tuple[int, int]], shares: Sequence[float]) -> None:
        self._steps = [step for step, _ in counts]
        self._counts = [count for _, count in counts]
        self._before = [0]  # draws before each stage
        for (step, count), (following, _) in pairwise(counts):
            self._before.append(self._before[-1] + (following - step) * count)
        pattern = _pattern(np.asarray(shares, np.float64))
        self._pattern = pattern
        self._places = [np.flatnonzero(pattern == deck) for deck in range(len(shares))]
        # How many of each deck the pattern has before each place, [decks, places].
        self._prefix = np.stack(
            [np.cumsum(pattern == deck) - (pattern == deck) for deck in range(len(shares))]
        )

    def of_step(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The draws of one step: `deck [n]`, and `number [n]` of each among its deck's draws."""
        first, stop = self._range(step)
        cycle, place = np.divmod(np.arange(first, stop), len(self._pattern))
        deck = self._pattern[place]
        a_cycle = np.array([len(places) for places in self._places])
        return deck, cycle * a_cycle[deck] + self._prefix[deck, place]

    def step_bounds(self, deck: int, number: int) -> tuple[int, int]:
        """First and stop of the deck's draws that are in the same step as its draw `number`."""
        places = self._places[deck]
        cycle, place = divmod(number, len(places))
        draw = cycle * len(self._pattern) + int(places[place])
        stage = bisect_right(self._before, draw) - 1
        count = self._counts[stage]
        first = draw - (draw - self._before[stage]) % count
        return self._number(deck, first), self._number(deck, first + count)

    def _range(self, step: int) -> tuple[int, int]:
        stage = bisect_right(self._steps, step) - 1
        count = self._counts[stage]
        first = self._before[stage] + (step - self._steps[stage]) * count
        return first, first + count

    def _number(self, deck: int, draw: int) -> int:
        """How many draws of the deck come before a draw of the run."""
        cycle, place = divmod(draw, len(self._pattern))
        return cycle * len(self._places[deck]) + int(self._prefix[deck, place])


def _pattern(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """The decks of `_PATTERN_DRAWS` draws in a row, as evenly mixed as they can be.

    Each place goes to the deck that is furthest behind its share, so that any stretch of draws
    meets the shares within one draw or so. A single deck needs one place.
    """
    if len(shares) == 1:
        return np.zeros(1, np.int64)
    pattern = np.empty(_PATTERN_DRAWS, np.int64)
    given = np.zeros(len(shares))
    for place in range(_PATTERN_DRAWS):
        pattern[place] = np.argmax(shares * (place + 1) - given)
        given[pattern[place]] += 1
    return pattern


def checked(value: Scheduled[V], is_allowed: Callable[[V], bool], allowed: str) -> Scheduled[V]:
    """Give a schedule back if its stages are in order and each of its values is allowed.

    Raises:
        ValueError: They are not; the message says what is `allowed`.
    """
    for step, part in stages(value):
        if not is_allowed(part):
            raise ValueError(f"must be {allowed}, got {part} from step {step} on")
    return value
