"""Titles dealt without replacement: any draw of a run in constant time and no memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from toomuchtv._internal.random_numbers import FloatArray, hashed, permuted, uniforms

IntArray = NDArray[np.int64]

# A batch is mended against another epoch's end within so many times its titles.
_HEAD_BATCHES = 3
_TITLE, _JITTER = 0, 1  # streams of random numbers, see plan.py


class EpochShuffle:
    """The titles of one kind. An epoch deals each of them once, in shuffled order.

    The epoch is cut into as many strata of equal weight as there are titles, and one draw is made
    inside each: under equal weights, that is every title once.

    Args:
        number: Which deck of the run it is.
        first: Group of its first title; its titles are consecutive groups.
        weights: Of its titles; None for equal ones.
        size: How many titles it has.
    """

    def __init__(self, *, number: int, first: int, size: int, weights: FloatArray | None) -> None:
        self.first, self.size = first, size
        self._number = number
        self._cumulative = None if weights is None else np.cumsum(weights / weights.sum())

    def deal(
        self, numbers: IntArray, step_bounds: Callable[[int], tuple[int, int]], *, seed: int
    ) -> IntArray:
        """The groups of some consecutive draws of one step, `[n]`.

        Args:
            numbers: Which draws of this deck, `[n]`, ascending by one.
            step_bounds: First and stop of the draws that share a step with a draw.
            seed: Of the run.
        """
        if len(numbers) == 0:
            return np.zeros(0, np.int64)
        epoch, position = numbers // self.size, numbers % self.size
        stratum = permuted(position, self.size, hashed(seed, _TITLE, self._number, epoch))
        last = int(epoch[-1])
        if last > 0 and int(position[-1]) < _HEAD_BATCHES * self._largest(step_bounds, last):
            head = self._head(seed, last, step_bounds)
            in_head = (position < len(head)) & (epoch == last)
            stratum[in_head] = head[position[in_head]]
        if self._cumulative is None:
            return self.first + stratum
        jitter = uniforms(seed, _JITTER, self._number, epoch, stratum)
        return self.first + self._at((stratum + jitter) / self.size)

    def draw(self, share: float) -> int:
        """The group at a place in [0, 1) of the weights."""
        if self._cumulative is None:
            return self.first + int(share * self.size)
        return self.first + int(self._at(np.array([share]))[0])

    def _at(self, share: FloatArray) -> IntArray:
        assert self._cumulative is not None
        titles = np.searchsorted(self._cumulative, share, side="right")
        return np.minimum(titles, self.size - 1).astype(np.int64)

    def _largest(self, step_bounds: Callable[[int], tuple[int, int]], epoch: int) -> int:
        """Draws of the step in which an epoch begins; 0 where it begins with the step."""
        first, stop = step_bounds(epoch * self.size)
        return stop - first if first < epoch * self.size else 0

    def _head(
        self, seed: int, epoch: int, step_bounds: Callable[[int], tuple[int, int]]
    ) -> IntArray:
        """The first entries of an epoch's shuffle, mended at the epoch's edge.

        A step that lies across the edge takes the last entries of the epoch before and the first
        of this one. Of these, what the step has already changes places with entries after the
        step, so that both hold: a step has no title twice, an epoch has every title once. Decks
        of less than four steps are left as they are.
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
        is_taken = np.isin(head, tail)
        twice = np.flatnonzero(is_taken[:inside])
        spare = inside + np.flatnonzero(~is_taken[inside:])[: len(twice)]
        head[twice], head[spare] = head[spare], head[twice]
        return head
