"""Differences between conditions, with confidence intervals.

Intervals over seeds use Student's t. Intervals over test titles use a paired bootstrap. Whether an
effect is claimed is decided by p-values that are corrected for all estimates of a question.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from experiments.study.conditions import Condition, Design
from experiments.study.scores import ConditionScores, Score

#: Returns a condition for a seed.
OfSeed = Callable[[int], Condition]

_NUM_DRAWS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean with its 95% confidence interval.

    Attributes:
        mean: Mean of the values, or a regression slope.
        low: Lower end of the interval; NaN if there are too few values.
        high: Upper end of the interval; NaN if there are too few values.
        values: The values, one per seed; empty for a slope.
        p_value: p of the t-test against zero, which is below 0.05 where the interval excludes
            zero; NaN if there are too few values.
    """

    mean: float
    low: float
    high: float
    values: tuple[float, ...]
    p_value: float = math.nan

    @property
    def has_interval(self) -> bool:
        """True if there were enough values for an interval."""
        return math.isfinite(self.low)

    def __str__(self) -> str:
        if not self.has_interval:
            return f"{self.mean:+.3f} (one seed: no interval)"
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The score of one condition minus that of another, paired by seed.

    Attributes:
        estimate: The difference, with an interval over seeds.
        by_titles: 95% interval over test titles, for the given trainings; None if the scores of
            single titles are not known.
        base: Mean score of the condition that is subtracted.
        score: Mean score of the other condition.
    """

    estimate: Estimate
    by_titles: tuple[float, float] | None
    base: float
    score: float

    def row(self, p_holm: float | None) -> list[str]:
        """Return the cells of a table with the columns `DIFFERENCE_HEADER`.

        Args:
            p_holm: p after Holm's correction; None if no sentence judges this difference.
        """
        one = self.estimate
        interval = f"{one.low:+.3f} to {one.high:+.3f}" if one.has_interval else "one seed: none"
        titles = "-"
        if self.by_titles is not None:
            titles = f"{self.by_titles[0]:+.3f} to {self.by_titles[1]:+.3f}"
        return [
            f"{self.base:.3f}",
            f"{self.score:.3f}",
            f"{one.mean:+.3f}",
            interval,
            "-" if p_holm is None else f"{p_holm:.4f}",
            titles,
            str(len(one.values)),
        ]


DIFFERENCE_HEADER = [
    "base", "score", "difference", "95%, seeds", "p, Holm", "95%, test titles", "seeds"
]  # fmt: skip


class Measurements:
    """The scores of a study, looked up by condition.

    Args:
        design: The planned study.
        scores: The scores so far; conditions may be missing.
    """

    def __init__(self, design: Design, scores: Sequence[ConditionScores]) -> None:
        self.design = design
        self._by_name = {one.condition.name: one for one in scores}

    def of(self, condition: Condition) -> ConditionScores | None:
        """Return the scores of one condition, or None if it has not finished."""
        return self._by_name.get(condition.name)

    def finished(self, condition: OfSeed) -> list[ConditionScores]:
        """Return the scores of a condition for every seed for which it has finished."""
        found = (self.of(condition(seed)) for seed in self.design.seeds)
        return [one for one in found if one is not None]

    def accuracies(self, condition: OfSeed, benchmark: str = "actions") -> dict[int, float]:
        """Return the linear-probe accuracy of a condition for every seed that has one."""
        found = {}
        for seed in self.design.seeds:
            scores = self.of(condition(seed))
            value = None if scores is None else scores.accuracy(benchmark)
            if value is not None:
                found[seed] = value
        return found

    def gains(self, base: OfSeed, other: OfSeed, benchmark: str = "actions") -> dict[int, float]:
        """Return the accuracy of `other` minus that of `base` for every seed that has both."""
        first, second = (self.accuracies(one, benchmark) for one in (base, other))
        return {seed: second[seed] - first[seed] for seed in first if seed in second}

    def difference(
        self, base: OfSeed, other: OfSeed, benchmark: str = "actions", protocol: str = "linear"
    ) -> Difference | None:
        """Return the score of `other` minus that of `base`, or None if no seed has both."""
        pairs: list[tuple[Score, Score]] = []
        for seed in self.design.seeds:
            sides = [self.of(condition(seed)) for condition in (base, other)]
            scores = [None if one is None else one.score(benchmark, protocol) for one in sides]
            if scores[0] is not None and scores[1] is not None:
                pairs.append((scores[0], scores[1]))
        return paired_difference(pairs)


def paired_difference(pairs: Sequence[tuple[Score, Score]]) -> Difference | None:
    """Return the second score of each pair minus the first, one pair per seed; None for none."""
    estimate = over_seeds([second.accuracy - first.accuracy for first, second in pairs])
    if estimate is None:
        return None
    return Difference(
        estimate=estimate,
        by_titles=over_titles(pairs),
        base=sum(first.accuracy for first, _ in pairs) / len(pairs),
        score=sum(second.accuracy for _, second in pairs) / len(pairs),
    )


def over_seeds(values: Sequence[float]) -> Estimate | None:
    """Return the mean of independent values with Student's 95% interval, or None for no values."""
    if not values:
        return None
    mean, free = float(np.mean(values)), len(values) - 1
    error = float(stats.sem(values)) if free else math.nan
    return _with_interval(mean, error, free, tuple(values))


def _with_interval(
    mean: float, error: float, free: int, values: tuple[float, ...] = ()
) -> Estimate:
    """Return an estimate from its standard error and its degrees of freedom."""
    if math.isnan(error):
        return Estimate(mean=mean, low=math.nan, high=math.nan, values=values)
    reach = float(stats.t.ppf(0.975, free)) * error
    p_value = float(2 * stats.t.sf(abs(mean) / error, free)) if error else float(mean == 0)
    return Estimate(mean=mean, low=mean - reach, high=mean + reach, values=values, p_value=p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number by Holm's method.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics 1979. The smallest of m is multiplied by m, the next one by m - 1, and so on. None
    becomes smaller than one before it, or larger than 1. If those below 0.05 are claimed, the
    probability that any of the claims is wrong is at most 0.05.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def over_titles(
    pairs: Sequence[tuple[Score, Score]], *, seed: int = 0
) -> tuple[float, float] | None:
    """Return a bootstrap 95% interval over test titles of the mean of second minus first.

    A draw resamples the test titles of each seed's transfer set, and takes all clips of a title
    for both scores of a pair. The interval describes how much depends on the choice of test
    titles, for the given trainings.

    Returns:
        The lower and the upper end; None if a score has no figures of single titles.

    Raises:
        ValueError: If the scores of a pair were computed on different titles.
    """
    if not all(score.sources for pair in pairs for score in pair):
        return None
    rng = np.random.default_rng(seed)
    drawn = np.zeros(_NUM_DRAWS)
    for one, other in pairs:
        if {k: v[1] for k, v in one.sources.items()} != {k: v[1] for k, v in other.sources.items()}:
            raise ValueError("the two scores are not of the same clips: evaluate both alike")
        gain = np.array([other.sources[name][0] - one.sources[name][0] for name in one.sources])
        count = np.array([one.sources[name][1] for name in one.sources], float)
        # A multinomial draw counts how often each title occurs in a resample.
        draws = rng.multinomial(len(gain), np.full(len(gain), 1 / len(gain)), size=_NUM_DRAWS)
        drawn += (draws @ gain) / (draws @ count)
    low, high = np.percentile(drawn / len(pairs), [2.5, 97.5])
    return float(low), float(high)


def slopes(
    x: Sequence[tuple[float, float]], y: Sequence[float]
) -> tuple[Estimate | None, Estimate | None]:
    """Fit y = a + b x1 + c x2 by least squares and return b and c with their 95% intervals.

    The slope of an x that does not vary is None, as both are with too few values.
    """
    varies = [len({row[k] for row in x}) > 1 for k in (0, 1)]
    design = np.array([[1.0, *(value for value, v in zip(row, varies, strict=True) if v)]
                       for row in x])  # fmt: skip
    free = len(y) - 1 - sum(varies)
    if free < 1 or np.linalg.matrix_rank(design) < 1 + sum(varies):
        return None, None
    solution = np.linalg.lstsq(design, np.array(y), rcond=None)[0]
    rest = np.array(y) - design @ solution
    covariance = np.linalg.inv(design.T @ design) * float(rest @ rest) / free
    errors = np.sqrt(np.diag(covariance))
    found = [
        _with_interval(float(b), float(error), free)
        for b, error in zip(solution[1:], errors[1:], strict=True)
    ]
    first, second = (found.pop(0) if varied else None for varied in varies)
    return first, second
