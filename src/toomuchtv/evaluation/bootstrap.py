"""How sure a score is, and whether two differ: by sources, for clips of one are not independent.

Intervals are by the percentile bootstrap (Efron and Tibshirani, 1993, chapter 13) over sources
(videos, recordings): all clips of a drawn source come along, in every fold. Two runs on the same
clips are compared by the same draws of both (paired bootstrap) and by a permutation test that swaps
the two runs' answers source by source: all swaps where there are at most 2^16 of them, else 20,000
random ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toomuchtv.evaluation.metrics import ScoreArray, TargetArray, average_precisions

_NUM_DRAWS = 2_000
_NUM_DRAWS_OF_RANKINGS = 200
_NUM_SWAPS = 20_000
_MOST_EXACT = 16
_AT_ONCE = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipScores:
    """What came of one fold's test clips.

    Attributes:
        source: Of each clip, `[n]`.
        value: Of each clip: 1.0 if it got its class, else 0.0 (or a share, if tied), `[n]`.
    """

    source: Sequence[str]
    value: NDArray[np.float64]


def accuracy_interval(
    folds: Sequence[ClipScores], *, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Interval of the mean over folds of the accuracy."""
    hits, counts = _by_source(folds, _sources(folds))
    draws = _draws(hits.shape[1], _NUM_DRAWS, seed)
    return _percentiles(_mean_of_folds(draws @ hits.T, draws @ counts.T), level)


def map_interval(
    scores: ScoreArray,
    targets: TargetArray,
    source: Sequence[str],
    *,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Interval of the mean average precision."""
    index, num = _index(source)
    values = [
        float(np.nanmean(average_precisions(scores, targets, draw[index])))
        for draw in _draws(num, _NUM_DRAWS_OF_RANKINGS, seed)
    ]
    return _percentiles(np.array(values), level)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The difference of two runs, b - a.

    Attributes:
        difference: In the mean over folds.
        interval: 95%, by the paired bootstrap over sources.
        p_value: Two-sided, of the permutation test over sources.
        exact: Whether all swaps were tried.
        num_sources: Sources in the test folds.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float
    exact: bool
    num_sources: int


def compare_accuracy(a: Sequence[ClipScores], b: Sequence[ClipScores], *, seed: int = 0) -> Paired:
    """Compare two runs on the same clips of the same folds.

    Raises:
        ValueError: The clips differ.
    """
    if [list(fold.source) for fold in a] != [list(fold.source) for fold in b]:
        raise ValueError("the two results are not of the same clips in the same folds")
    names = _sources(a)
    hits_a, counts = _by_source(a, names)
    hits_b, _ = _by_source(b, names)
    difference = hits_b - hits_a  # [folds, sources]
    draws = _draws(len(names), _NUM_DRAWS, seed)
    drawn = _mean_of_folds(draws @ difference.T, draws @ counts.T)
    # What a source adds to the mean over folds; swapping its answers turns the sign.
    share = (difference / counts.sum(axis=1, keepdims=True)).mean(axis=0)
    p_value, exact = _sign_test(share[share != 0], seed)
    return Paired(
        difference=float(share.sum()),
        interval=_percentiles(drawn, 0.95),
        p_value=p_value,
        exact=exact,
        num_sources=len(names),
    )


def _sign_test(shares: NDArray[np.float64], seed: int) -> tuple[float, bool]:
    """Two-sided p of the sum of `shares` under random signs, and whether it is exact."""
    observed = abs(shares.sum()) * (1 - 1e-9)
    if len(shares) <= _MOST_EXACT:
        numbers = np.arange(2 ** len(shares))[:, None]
        signs = 1.0 - 2.0 * ((numbers >> np.arange(len(shares))) & 1)
        return float((np.abs(signs @ shares) >= observed).mean()), True
    rng = np.random.default_rng(seed)
    extreme = 0
    for first in range(0, _NUM_SWAPS, _AT_ONCE):
        num = min(_AT_ONCE, _NUM_SWAPS - first)
        signs = 1.0 - 2.0 * rng.integers(0, 2, (num, len(shares)))
        extreme += int((np.abs(signs @ shares) >= observed).sum())
    # The order that was observed is one of them (Phipson and Smyth, 2010).
    return (extreme + 1) / (_NUM_SWAPS + 1), False


def _sources(folds: Sequence[ClipScores]) -> list[str]:
    return sorted({source for fold in folds for source in fold.source})


def _by_source(
    folds: Sequence[ClipScores], names: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum of values and number of clips, `[folds, sources]`."""
    column = {name: number for number, name in enumerate(names)}
    hits, counts = np.zeros((len(folds), len(names))), np.zeros((len(folds), len(names)))
    for row, fold in enumerate(folds):
        at = [column[source] for source in fold.source]
        np.add.at(hits[row], at, fold.value)
        np.add.at(counts[row], at, 1.0)
    return hits, counts


def _index(source: Sequence[str]) -> tuple[NDArray[np.int64], int]:
    names, index = np.unique(np.array(source), return_inverse=True)
    return index, len(names)


def _draws(num: int, times: int, seed: int) -> NDArray[np.float64]:
    """How often each of `num` sources is drawn, `[times, num]`."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(num, np.full(num, 1.0 / num), size=times).astype(np.float64)


def _mean_of_folds(hits: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over folds of hits / counts, leaving out folds of which a draw has nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(counts > 0, hits / counts, np.nan)
    there = ~np.isnan(ratio)
    sums = np.where(there, ratio, 0.0).sum(axis=1)
    means: NDArray[np.float64] = sums / np.maximum(1, there.sum(axis=1))
    return means


def _percentiles(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    low, high = np.percentile(values, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def compare_map(
    a: ScoreArray, b: ScoreArray, targets: TargetArray, source: Sequence[str], *, seed: int = 0
) -> Paired:
    """Compare the mean average precision of two runs on the same clips.

    Args:
        a: Scores of one, `[n, K]`.
        b: Scores of the other.
        targets: `[n, K]`.
        source: Of each clip, `[n]`.
        seed: Of the draws and swaps.
    """
    index, num = _index(source)

    def difference(first: ScoreArray, second: ScoreArray, weight: NDArray[np.float64]) -> float:
        each = average_precisions(second, targets, weight)
        return float(np.nanmean(each - average_precisions(first, targets, weight)))

    ones = np.ones(len(index))
    observed = difference(a, b, ones)
    draws = _draws(num, _NUM_DRAWS_OF_RANKINGS, seed)
    drawn = np.array([difference(a, b, draw[index]) for draw in draws])
    rng = np.random.default_rng(seed)
    extreme = 0
    for _ in range(_NUM_DRAWS_OF_RANKINGS):
        swap = rng.integers(0, 2, num)[index].astype(np.bool_)[:, None]
        swapped = difference(np.where(swap, b, a), np.where(swap, a, b), ones)
        extreme += abs(swapped) >= abs(observed) * (1 - 1e-9)
    return Paired(
        difference=observed,
        interval=_percentiles(drawn, 0.95),
        p_value=(extreme + 1) / (_NUM_DRAWS_OF_RANKINGS + 1),
        exact=False,
        num_sources=num,
    )
