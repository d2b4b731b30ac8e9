"""Confidence intervals of scores, and significance tests of the difference between two results.

Clips that were cut from one source are not independent. Intervals are therefore percentile
bootstrap intervals over sources (Efron and Tibshirani, 1993, chapter 13): the sources are drawn
with replacement, and all clips of a drawn source, in all folds, are drawn with it. For retrieval
the sources are those of the queries; all targets stay candidates.

A score may be the mean over several replicates, such as training sets that were drawn or runs with
different seeds. They are measured on the same clips, so replicates and sources are drawn with
replacement independently of each other (Owen, "The pigeonhole bootstrap", Annals of Applied
Statistics 1, 2007). With one replicate this is the bootstrap over sources.

Two results on the same clips are compared by the bootstrap of their difference, and by a
permutation test that exchanges both results source by source, in all replicates at once. The test
is exact if there are few enough sources in which the results differ. It asks whether the two
results differ by more than chance; the replicates are taken as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from toomuchtv.evaluation.benchmark import ScoreArray
from toomuchtv.evaluation.metrics import average_precisions, require_finite
from toomuchtv.evaluation.result import FoldPredictions

_LEVEL = 0.95
_NUM_RESAMPLES = 2_000
_NUM_PERMUTATIONS = 20_000
_MAX_EXACT_SOURCES = 16
# The median sorts all queries again for every exchange.
_NUM_MEDIAN_PERMUTATIONS = 2_000
# The mean average precision sorts all clips again for every resample.
_NUM_MAP_RESAMPLES = 200
_RESAMPLES_PER_BATCH = 100
_NUM_VALUES_PER_BATCH = 4_000_000

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipScores:
    """Scores of the test clips of one fold.

    Attributes:
        source: Source of each clip, `[n]`.
        value: Value of each clip, `[n]`: 1.0 or 0.0 for a correct or wrong class, an error, or a
            rank.
    """

    source: Sequence[str]
    value: Array


FoldT = TypeVar("FoldT", ClipScores, FoldPredictions)

#: Scores of the folds of each replicate. All replicates have the same clips in the same folds.
Replicates = Sequence[Sequence[ClipScores]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The difference b - a of two results on the same clips.

    Attributes:
        difference: Difference of the mean over folds and replicates.
        interval: 95% confidence interval of the difference; None if there is one source, of which
            nothing follows for others.
        p_value: Two-sided p-value of the permutation test over sources.
        exact: True if the test tried all exchanges, False if it drew random ones.
        num_sources: Number of sources in the test folds.
        num_replicates: Number of replicates.
    """

    difference: float
    interval: tuple[float, float] | None
    p_value: float
    exact: bool
    num_sources: int
    num_replicates: int


def mean_interval(replicates: Replicates, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95% confidence interval of the mean over folds of the mean value."""
    return _mean_interval(*_sums_by_source(replicates), seed)


def compare_means(a: Replicates, b: Replicates, *, seed: int = 0) -> Paired:
    """Compare the mean values of two results on the same clips in the same folds.

    Raises:
        ValueError: The clips differ.
    """
    _check_same_clips(a, b)
    sums_a, counts = _sums_by_source(a)
    difference = _sums_by_source(b)[0] - sums_a  # [replicates, folds, sources]
    # The contribution of each source to the mean over folds. Exchanging the two results in a
    # source changes its sign.
    contribution = (difference / counts.sum(axis=1, keepdims=True)).mean(axis=(0, 1))
    p_value, exact = _sign_flip_test(contribution, seed)
    return Paired(
        difference=float(contribution.sum()),
        interval=_mean_interval(difference, counts, seed) if counts.shape[1] > 1 else None,
        p_value=p_value,
        exact=exact,
        num_sources=counts.shape[1],
        num_replicates=len(difference),
    )


def median_interval(replicates: Replicates, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95% confidence interval of the median, which is averaged over folds."""
    require_finite(values=np.concatenate([f.value for folds in replicates for f in folds]))
    return _interval(replicates, lambda f, weights: _median(f.value, weights), _NUM_RESAMPLES, seed)


def compare_medians(a: Replicates, b: Replicates, *, seed: int = 0) -> Paired:
    """Compare the medians of two results on the same clips in the same folds.

    Raises:
        ValueError: The clips differ.
    """
    require_finite(values=np.concatenate([f.value for folds in (*a, *b) for f in folds]))

    def difference(one: ClipScores, other: ClipScores, swap: Mask, weights: Array) -> float:
        low = _median(np.where(swap, other.value, one.value), weights)
        return _median(np.where(swap, one.value, other.value), weights) - low

    return _compare(a, b, difference, (_NUM_RESAMPLES, _NUM_MEDIAN_PERMUTATIONS), seed)


#: Predictions of the folds of each replicate.
ReplicatePredictions = Sequence[Sequence[FoldPredictions]]


def map_interval(replicates: ReplicatePredictions, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95% confidence interval of the mean average precision, averaged over folds."""
    for fold in (fold for folds in replicates for fold in folds):
        require_finite(scores=fold.scores)
    return _interval(replicates, _mean_ap, _NUM_MAP_RESAMPLES, seed)


def compare_map(a: ReplicatePredictions, b: ReplicatePredictions, *, seed: int = 0) -> Paired:
    """Compare the mean average precisions of two results on the same clips in the same folds.

    Raises:
        ValueError: The clips differ.
    """
    for fold in (fold for folds in (*a, *b) for fold in folds):
        require_finite(scores=fold.scores)

    def difference(
        one: FoldPredictions, other: FoldPredictions, swap: Mask, weights: Array
    ) -> float:
        rows = swap[:, None]
        low = _mean_ap(one, weights, np.where(rows, other.scores, one.scores))
        return _mean_ap(other, weights, np.where(rows, one.scores, other.scores)) - low

    return _compare(a, b, difference, (_NUM_MAP_RESAMPLES, _NUM_MAP_RESAMPLES), seed)


def _mean_ap(fold: FoldPredictions, weights: Array, scores: ScoreArray | None = None) -> float:
    """Return the mean average precision of a fold; NaN if no class has a positive clip."""
    found = average_precisions(fold.scores if scores is None else scores, fold.labels, weights)
    return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")


def _mean_over_folds(values: Sequence[float]) -> float:
    # A resample may contain no positive clip of a fold. The mean is then over the other folds.
    return float(np.nanmean(values))


def _median(values: Array, weights: Array) -> float:
    """Return the median of values that are repeated as often as their whole-numbered weights.

    It is NaN if all weights are 0.
    """
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    total = reached[-1]
    if total == 0:
        return float("nan")
    # The middle values are those of positions (total - 1) / 2, rounded down and up.
    middle = np.searchsorted(reached, [(total - 1) // 2, total // 2], side="right")
    return float(values[order[middle]].mean())


def _check_same_clips(
    a: Replicates | ReplicatePredictions, b: Replicates | ReplicatePredictions
) -> None:
    clips = [[len(_sources(fold)) for fold in folds] for folds in (*a, *b)]
    if len(a) != len(b) or any(one != clips[0] for one in clips):
        raise ValueError("the two results are not of the same clips in the same folds")


def _sources(fold: ClipScores | FoldPredictions) -> Sequence[str]:
    return fold.source if isinstance(fold, ClipScores) else fold.sources


def _columns(
    folds: Sequence[ClipScores] | Sequence[FoldPredictions],
) -> tuple[NDArray[np.str_], list[NDArray[np.int64]]]:
    """Return the names of all sources, and for each fold the number of each clip's source."""
    names = np.unique([source for fold in folds for source in _sources(fold)])
    return names, [np.searchsorted(names, list(_sources(fold))) for fold in folds]


def _sums_by_source(replicates: Replicates) -> tuple[Array, Array]:
    """Return sums of values `[replicates, folds, sources]` and numbers of clips, `[folds, s]`."""
    names, columns = _columns(replicates[0])
    size = len(names)
    counts = np.stack([np.bincount(column, minlength=size) for column in columns])
    sums = np.empty((len(replicates), *counts.shape))
    for number, folds in enumerate(replicates):
        for row, (fold, column) in enumerate(zip(folds, columns, strict=True)):
            require_finite(values=fold.value)
            sums[number, row] = np.bincount(column, fold.value, minlength=size)
    return sums, counts.astype(np.float64)


def _mean_interval(sums: Array, counts: Array, seed: int) -> tuple[float, float]:
    def mean_over_folds(weights: Array, of_replicate: Array) -> Array:
        totals = np.einsum("rfn,nr->fn", sums @ weights.T, of_replicate)
        num_clips = counts @ weights.T
        # A resample may contain no clip of a fold. The mean is then over the other folds.
        used = num_clips > 0
        means = np.divide(totals, num_clips, out=np.zeros_like(totals), where=used)
        found: Array = means.sum(axis=0) / used.sum(axis=0) / of_replicate.sum(axis=1)
        return found

    return _batch_interval(mean_over_folds, (sums.shape[2], len(sums)), _NUM_RESAMPLES, seed)


def _interval(
    replicates: Sequence[Sequence[FoldT]],
    score: Callable[[FoldT, Array], float],
    num_resamples: int,
    seed: int,
) -> tuple[float, float]:
    """Return the percentile interval of the mean over folds of a score.

    Args:
        replicates: The folds of each replicate.
        score: The score of a fold, given the weight of each of its clips.
        num_resamples: Number of resamples.
        seed: Seed of the resampling.
    """
    names, column = _columns(replicates[0])

    def of_resample(weights: Array, of_replicate: Array) -> float:
        scores = [
            _mean_over_folds([score(f, weights[c]) for f, c in zip(folds, column, strict=True)])
            for folds in replicates
        ]
        return float(np.average(scores, weights=of_replicate))

    return _percentiles(of_resample, (len(names), len(replicates)), num_resamples, seed)


def _percentiles(
    statistic: Callable[[Array, Array], float],
    shape: tuple[int, int],
    num_resamples: int,
    seed: int,
) -> tuple[float, float]:
    """Return the percentile interval of a statistic of one resample at a time."""

    def of_batch(weights: Array, of_replicate: Array) -> Array:
        return np.array([statistic(*pair) for pair in zip(weights, of_replicate, strict=True)])

    return _batch_interval(of_batch, shape, num_resamples, seed)


def _batch_interval(
    statistic: Callable[[Array, Array], Array],
    shape: tuple[int, int],
    num_resamples: int,
    seed: int,
) -> tuple[float, float]:
    """Return the percentile interval of a statistic.

    Args:
        statistic: Maps the weights of sources `[n, sources]` and of replicates `[n, replicates]`
            in n resamples to n values. A weight is the number of times that it was drawn.
        shape: Number of sources and of replicates.
        num_resamples: Number of resamples.
        seed: Seed of the resampling.
    """
    rng = np.random.default_rng(seed)

    def weights(num: int) -> Array:
        drawn = rng.multinomial(num, np.full(num, 1 / num), size=_RESAMPLES_PER_BATCH)
        return drawn.astype(np.float64)

    found = [
        statistic(weights(shape[0]), weights(shape[1]))
        for _ in range(num_resamples // _RESAMPLES_PER_BATCH)
    ]
    tail = (1 - _LEVEL) / 2
    low, high = np.nanquantile(np.concatenate(found), [tail, 1 - tail])
    return float(low), float(high)


def _compare(
    a: Sequence[Sequence[FoldT]],
    b: Sequence[Sequence[FoldT]],
    difference: Callable[[FoldT, FoldT, Mask, Array], float],
    num_draws: tuple[int, int],
    seed: int,
) -> Paired:
    """Compare by a score that is no sum over sources.

    Args:
        a: The folds of each replicate of the one result.
        b: Those of the other one.
        difference: The difference of the scores of two folds, given a mask of the clips whose
            results are exchanged before, and the weight of each clip.
        num_draws: Number of resamples and of exchanges.
        seed: Seed of both.

    Raises:
        ValueError: The clips differ.
    """
    _check_same_clips(a, b)
    names, column = _columns(a[0])
    num_sources, num_replicates = len(names), len(a)

    def of_replicates(is_exchanged: Mask, weights: Array) -> list[float]:
        return [
            _mean_over_folds(
                [
                    difference(first, second, is_exchanged[of_clip], weights[of_clip])
                    for first, second, of_clip in zip(one, other, column, strict=True)
                ]
            )
            for one, other in zip(a, b, strict=True)
        ]

    nothing, everything = np.zeros(num_sources, np.bool_), np.ones(num_sources)
    # A source is drawn as (0, 1) or (1, 0). SciPy requires two observations; the second one of a
    # single source changes nothing.
    padded = max(2, num_sources)

    def exchanged(first: Array, _: Array) -> float:
        # Differences that are equal in exact arithmetic must also be equal here.
        found = of_replicates(first[:num_sources].astype(np.bool_), everything)
        return round(float(np.mean(found)), 9)

    test = stats.permutation_test(
        (np.zeros(padded), np.ones(padded)), exchanged, permutation_type="samples",
        vectorized=False, n_resamples=num_draws[1], random_state=np.random.default_rng(seed),
    )  # fmt: skip
    interval = None
    if num_sources > 1:
        interval = _percentiles(
            lambda weights, of: float(np.average(of_replicates(nothing, weights), weights=of)),
            (num_sources, num_replicates), num_draws[0], seed,
        )  # fmt: skip
    return Paired(
        difference=float(np.mean(of_replicates(nothing, everything))),
        interval=interval,
        p_value=float(test.pvalue),
        exact=2**padded <= num_draws[1],
        num_sources=num_sources,
        num_replicates=num_replicates,
    )  # fmt: skip


def _sign_flip_test(contribution: Array, seed: int) -> tuple[float, bool]:
    """Return the two-sided p-value of a sum under random signs, and whether it is exact."""
    changed = contribution[contribution != 0]
    exact = len(changed) <= _MAX_EXACT_SOURCES
    # Zeros change no sum. They provide the two observations that SciPy requires.
    padded = np.concatenate([changed, np.zeros(max(0, 2 - len(changed)))])
    scale = np.abs(padded).max() or 1.0

    def rounded_sum(a: Array, b: Array, axis: int) -> Array:
        # Sums that are equal in exact arithmetic must also be equal here.
        result: Array = np.round((b - a).sum(axis=axis), 9)
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
