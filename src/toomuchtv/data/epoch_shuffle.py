"""The titles that each draw of a run takes: shuffled epochs, in constant time and memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from toomuchtv._internal.random_numbers import FloatArray, IntArray, hashed, permuted, uniforms

# Length of the repeated pattern that shares draws out among kinds: shares are exact to 0.001.
_PATTERN_DRAWS = 1000
# The beginning of an epoch's shuffle is repaired over this many batches; see `_repaired_head`.
_HEAD_BATCHES = 3
_TITLE, _JITTER = 0, 1  # streams of random numbers, see sampler.py


class DrawNumbers:
    """Numbers the draws of a whole run, and divides them among kinds of titles by their shares.

    Draw n of the run belongs to the kind that a fixed pattern has at position n modulo its
    length. So both "which draws of which kind are in step s" and "in which step is draw m of kind
    k" are arithmetic, and a late step costs as little as the first one.

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


class EpochShuffle:
    """The shuffled order of a set of titles. An epoch visits each title once.

    The epoch is divided into as many strata of equal weight as there are titles, and one draw is
    made inside each stratum. With equal weights, a stratum is a title. Draw n of the run is in
    epoch `n // size` and takes the stratum that a keyed shuffle puts at position `n % size`, so
    any draw costs the same and nothing has to be remembered.

    Args:
        number: Number of this set among those of the run; it keeps their random numbers apart.
        first: Number of the first title; the titles of a set are consecutive.
        weights: Relative weight of each title.
    """

    def __init__(self, *, number: int, first: int, weights: FloatArray) -> None:
        self.first, self.size = first, len(weights)
        self._number = number
        is_even = bool((weights == weights[0]).all())
        self._cumulative = None if is_even else np.cumsum(weights / weights.sum())

    def titles_of(
        self, draws: IntArray, step_bounds: Callable[[int], tuple[int, int]], *, seed: int
    ) -> IntArray:
        """Return the titles of some consecutive draws of one step, `[n]`.

        Args:
            draws: Numbers of the draws in this set over the whole run, ascending by one, `[n]`.
            step_bounds: Returns the first draw, and the draw after the last, of the step that a
                given draw belongs to.
            seed: Seed of the run.
        """
        if len(draws) == 0:
            return np.zeros(0, np.int64)
        epoch, position = draws // self.size, draws % self.size
        stratum = permuted(position, self.size, hashed(seed, _TITLE, self._number, epoch))
        last = int(epoch[-1])
        if last > 0 and int(position[-1]) < _HEAD_BATCHES * self._draws_at_edge(step_bounds, last):
            head = self._repaired_head(seed, last, step_bounds)
            in_head = (position < len(head)) & (epoch == last)
            stratum[in_head] = head[position[in_head]]
        if self._cumulative is None:
            return self.first + stratum
        jitter = uniforms(seed, _JITTER, self._number, epoch, stratum)
        return self.first + self._title_at((stratum + jitter) / self.size)

    def title_at(self, share: float) -> int:
        """Return the title at a position in [0, 1) of the cumulative weights."""
        if self._cumulative is None:
            return self.first + int(share * self.size)
        return self.first + int(self._title_at(np.array([share]))[0])

    def _title_at(self, share: FloatArray) -> IntArray:
        assert self._cumulative is not None
        titles = np.searchsorted(self._cumulative, share, side="right")
        return np.minimum(titles, self.size - 1).astype(np.int64)

    def _draws_at_edge(self, step_bounds: Callable[[int], tuple[int, int]], epoch: int) -> int:
        """Return the draws of the step in which an epoch begins; 0 if both begin together."""
        first, stop = step_bounds(epoch * self.size)
        return stop - first if first < epoch * self.size else 0

    def _repaired_head(
        self, seed: int, epoch: int, step_bounds: Callable[[int], tuple[int, int]]
    ) -> IntArray:
        """Return the first entries of an epoch's shuffle, changed so that no step repeats a title.

        A step that spans the edge of two epochs takes the last entries of the old shuffle (tail)
        and the first entries of the new one (head). A title that is in both would be twice in the
        step. Each such entry of the head is swapped with a later entry, behind the step, that is
        not in the tail. The epoch remains a permutation, so both laws hold: a step has no title
        twice, and an epoch has every title once.

            old epoch | ... 7 4 | 4 9 2 5 ... | new epoch     the step is [7 4 4 9]
                             becomes 2 9 4 5                  the step is [7 4 2 9]

        Sets of fewer titles than four steps draw are left as they are.
        """
        edge = epoch * self.size
        first, stop = step_bounds(edge)
        length, before, inside = _HEAD_BATCHES * (stop - first), edge - first, stop - edge
        if self.size < length + stop - first:
            return np.zeros(0, np.int64)
        head = permuted(np.arange(length), self.size, hashed(seed, _TITLE, self._number, epoch))
        tail = permuted(
            np.arange(self.size - before, self.size),
            self.size,
            hashed(seed, _TITLE, self._number, epoch - 1),
        )
        in_tail = np.isin(head, tail)
        repeated = np.flatnonzero(in_tail[:inside])
        spare = inside + np.flatnonzero(~in_tail[inside:])[: len(repeated)]
        head[repeated], head[spare] = head[spare], head[repeated]
        return head
