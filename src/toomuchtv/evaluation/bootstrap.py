"""Confidence intervals of scores, and significance tests of the difference between two results.

Clips that were cut from one source are not independent. Intervals are therefore percentile
bootstrap intervals over sources (Efron and Tibshirani, 1993, chapter 13): SciPy resamples the
numbers of the sources, and all clips of a drawn source, in all folds, are drawn with it. Two
results on the same clips are compared by the bootstrap of their difference, and by a permutation
test that exchanges the predictions of both results source by source. The test is exact if there
are few enough sources in which the results differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from toomuchtv.evaluation.benchmark import ScoreArray, TargetArray
from toomuchtv.evaluation.metrics import average_precisions

_LEVEL = 0.95
_NUM_RESAMPLES = 2_000
_NUM_PERMUTATIONS = 20_000
_MAX_EXACT_SOURCES = 16
# The mean average precision sorts all clips again for every resample.
_NUM_MAP_RESAMPLES = 200
_RESAMPLES_PER_BATCH = 100
_NUM_VALUES_PER_BATCH = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipScores:
    """Scores of the test clips of one fold.

    Attributes:
        source: Source of each clip, `[n]`.
        value: Value of each clip, `[n]`: 1.0 or 0.0 for a correct or wrong class, or an error.
    """

    source: Sequence[str]
    value: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The difference b - a of two results on the same clips.

    Attributes:
        difference: Difference of the mean over folds.
        interval: 95% confidence interval of the difference.
        p_value: Two-sided p-value of the permutation test over sources.
        exact: True if the test tried all exchanges, False if it drew random ones.
        num_sources: Number of sources in the test folds.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float
    exact: bool
    num_sources: int


def mean_interval(folds: Sequence[ClipScores], *, seed: int = 0) -> tuple[float, float]:
    """Return the 95% confidence interval of the mean over folds of the mean value."""
    return _mean_interval(*_sums_by_source(folds), seed)


def compare_means(a: Sequence[ClipScores], b: Sequence[ClipScores], *, seed: int = 0) -> Paired:
    """Compare the mean values of two results on the same clips in the same folds.

    Raises:
        ValueError: The clips differ.
    """
    if [list(fold.source) for fold in a] != [list(fold.source) for fold in b]:
        raise ValueError("the two results are not of the same clips in the same folds")
    sums_a, counts = _sums_by_source(a)
    difference = _sums_by_source(b)[0] - sums_a  # [folds, sources]
    # The contribution of each source to the mean over folds. Exchanging the two results in a
    # source changes its sign.
    contribution = (difference / counts.sum(axis=1, keepdims=True)).mean(axis=0)
    p_value, exact = _sign_flip_test(contribution, seed)
    return Paired(
        difference=float(contribution.sum()),
        interval=_mean_interval(difference, counts, seed),
        p_value=p_value,
        exact=exact,
        num_sources=counts.shape[1],
    )


def map_interval(
    scores: ScoreArray, targets: TargetArray, source: Sequence[str], *, seed: int = 0
) -> tuple[float, float]:
    """Return the 95% confidence interval of the mean average precision.

    Args:
        scores: Scores `[n, K]`.
        targets: Multi-hot targets `[n, K]`.
        source: Source of each clip, `[n]`.
        seed: Seed of the resampling.
    """
    names, source_of_clip = np.unique(np.array(source), return_inverse=True)

    def mean_ap(weights: NDArray[np.float64]) -> float:
        return float(np.nanmean(average_precisions(scores, targets, weights[source_of_clip])))

    return _interval(mean_ap, len(names), _NUM_MAP_RESAMPLES, seed)


def compare_map(
    a: ScoreArray, b: ScoreArray, targets: TargetArray, source: Sequence[str], *, seed: int = 0
) -> Paired:
    """Compare the mean average precisions of two results on the same clips.

    Args:
        a: Scores of the first result, `[n, K]`.
        b: Scores of the second result, `[n, K]`.
        targets: Multi-hot targets `[n, K]`.
        source: Source of each clip, `[n]`.
        seed: Seed of the resampling.
    """
    names, source_of_clip = np.unique(np.array(source), return_inverse=True)

    def difference(
        first: ScoreArray, second: ScoreArray, weights: NDArray[np.float64] | None = None
    ) -> float:
        each = average_precisions(second, targets, weights)
        return float(np.nanmean(each - average_precisions(first, targets, weights)))

    def resampled(weights: NDArray[np.float64]) -> float:
        return difference(a, b, weights[source_of_clip])

    def exchanged(use_b_first: NDArray[np.float64], _: NDArray[np.float64]) -> float:
        mask = use_b_first[source_of_clip].astype(np.bool_)[:, None]
        return difference(np.where(mask, b, a), np.where(mask, a, b))

    test = stats.permutation_test(
        (np.zeros(len(names)), np.ones(len(names))), exchanged, permutation_type="samples",
        vectorized=False, n_resamples=_NUM_MAP_RESAMPLES, random_state=np.random.default_rng(seed),
    )  # fmt: skip
    return Paired(
        difference=difference(a, b),
        interval=_interval(resampled, len(names), _NUM_MAP_RESAMPLES, seed),
        p_value=float(test.pvalue),
        exact=2 ** len(names) <= _NUM_MAP_RESAMPLES,
        num_sources=len(names),
    )


def _sums_by_source(
    folds: Sequence[ClipScores],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum of values and the number of clips, `[folds, sources]` each."""
    names = np.unique([source for fold in folds for source in fold.source])
    sums, counts = np.zeros((2, len(folds), len(names)))
    for row, fold in enumerate(folds):
        column = np.searchsorted(names, list(fold.source))
        sums[row] = np.bincount(column, fold.value, minlength=len(names))
        counts[row] = np.bincount(column, minlength=len(names))
    return sums, counts


def _mean_interval(
    sums: NDArray[np.float64], counts: NDArray[np.float64], seed: int
) -> tuple[float, float]:
    def mean_over_folds(weights: NDArray[np.float64]) -> float:
        totals, num_clips = sums @ weights, counts @ weights
        # A resample may contain no clip of a fold. The mean is then over the other folds.
        used = num_clips > 0
        return float((totals[used] / num_clips[used]).mean())

    return _interval(mean_over_folds, sums.shape[1], _NUM_RESAMPLES, seed)


def _interval(
    statistic: Callable[[NDArray[np.float64]], float],
    num_sources: int,
    num_resamples: int,
    seed: int,
) -> tuple[float, float]:
    """Return the percentile interval of a statistic of the weights of the sources, `[sources]`."""

    def of_drawn(drawn: NDArray[np.int64]) -> float:
        return statistic(np.bincount(drawn, minlength=num_sources).astype(np.float64))

    numbers = np.arange(num_sources)
    if num_sources < 2:  # SciPy refuses a single observation; all resamples are equal
        return of_drawn(numbers), of_drawn(numbers)
    found = stats.bootstrap(
        (numbers,), of_drawn, n_resamples=num_resamples, batch=_RESAMPLES_PER_BATCH,
        vectorized=False, confidence_level=_LEVEL, method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def _sign_flip_test(contribution: NDArray[np.float64], seed: int) -> tuple[float, bool]:
    """Return the two-sided p-value of a sum under random signs, and whether it is exact."""
    changed = contribution[contribution != 0]
    exact = len(changed) <= _MAX_EXACT_SOURCES
    # Zeros change no sum. They provide the two observations that SciPy requires.
    padded = np.concatenate([changed, np.zeros(max(0, 2 - len(changed)))])
    scale = np.abs(padded).max() or 1.0

    def rounded_sum(
        a: NDArray[np.float64], b: NDArray[np.float64], axis: int
    ) -> NDArray[np.float64]:
        # Sums that are equal in exact arithmetic must also be equal here.
        result: NDArray[np.float64] = np.round((b - a).sum(axis=axis), 9)
        return result

    test = stats.permutation_test(
        (np.zeros(len(padded)), padded / scale),
        rounded_sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**_MAX_EXACT_SOURCES if exact else _NUM_PERMUTATIONS,
        batch=max(1, _NUM_VALUES_PER_BATCH // len(padded)),
        random_state=np.random.default_rng(seed),
    )
    return float(test.pvalue), exact
