"""Differences with intervals: over seeds by Student's t, over test titles by a paired bootstrap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from experiments.study.scores import Score

_NUM_DRAWS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over repetitions.

    Attributes:
        mean: Of the values.
        low: Lower end of the 95% interval; NaN where there are too few values for one.
        high: Its upper end.
        values: What it was made of.
    """

    mean: float
    low: float
    high: float
    values: tuple[float, ...]

    @property
    def has_interval(self) -> bool:
        """Whether there were values enough for an interval."""
        return math.isfinite(self.low)

    @property
    def is_above_zero(self) -> bool:
        """Whether all of the interval is."""
        return self.has_interval and self.low > 0

    @property
    def is_below_zero(self) -> bool:
        """Whether all of the interval is."""
        return self.has_interval and self.high < 0

    def __str__(self) -> str:
        if not self.has_interval:
            return f"{self.mean:+.3f} (one seed: no interval)"
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def over_seeds(values: Sequence[float]) -> Estimate | None:
    """Mean and 95% interval by Student's t; the values must be independent, as seeds are.

    Returns:
        None where there is no value.
    """
    if not values:
        return None
    mean = float(np.mean(values))
    if len(values) < 2:
        return Estimate(mean=mean, low=math.nan, high=math.nan, values=tuple(values))
    reach = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
    return Estimate(mean=mean, low=mean - reach, high=mean + reach, values=tuple(values))


def over_sources(pairs: Sequence[tuple[Score, Score]], *, seed: int = 0) -> tuple[float, float]:
    """95% interval of the mean of second minus first, by a bootstrap over test titles.

    A title of one seed's transfer set is drawn with all its clips, for both of a pair; so it says
    how much hangs on which titles are tested, with the trainings as they are.

    Raises:
        ValueError: The two of a pair were not tested on the same titles.
    """
    rng = np.random.default_rng(seed)
    drawn = np.zeros(_NUM_DRAWS)
    for one, other in pairs:
        if {k: v[1] for k, v in one.sources.items()} != {k: v[1] for k, v in other.sources.items()}:
            raise ValueError("the two scores are not of the same clips: evaluate both alike")
        gain = np.array([other.sources[name][0] - one.sources[name][0] for name in one.sources])
        count = np.array([one.sources[name][1] for name in one.sources], float)
        draws = rng.multinomial(len(gain), np.full(len(gain), 1 / len(gain)), size=_NUM_DRAWS)
        drawn += (draws @ gain) / (draws @ count)
    low, high = np.percentile(drawn / len(pairs), [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slopes:
    """How a value goes with two others: least squares, with the intervals of the two slopes."""

    first: Estimate
    second: Estimate


def slopes(x: Sequence[tuple[float, float]], y: Sequence[float]) -> Slopes | None:
    """Fit y = a + b x1 + c x2; None where there are too few values, or x1 or x2 does not vary."""
    design = np.array([[1.0, *row] for row in x])
    free = len(y) - 3
    if free < 1 or np.linalg.matrix_rank(design) < 3:
        return None
    solution = np.linalg.lstsq(design, np.array(y), rcond=None)[0]
    rest = np.array(y) - design @ solution
    covariance = np.linalg.inv(design.T @ design) * float(rest @ rest) / free
    reach = stats.t.ppf(0.975, free) * np.sqrt(np.diag(covariance))
    first, second = (
        Estimate(
            mean=float(solution[k]),
            low=float(solution[k] - reach[k]),
            high=float(solution[k] + reach[k]),
            values=(),
        )
        for k in (1, 2)
    )
    return Slopes(first=first, second=second)
