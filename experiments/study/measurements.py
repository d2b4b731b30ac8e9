"""What was measured, by arm; and the pairs of arms that a question compares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from experiments.study.charts import Interval
from experiments.study.condition import Condition
from experiments.study.design import Design
from experiments.study.scores import ConditionScores, Score
from experiments.study.statistics import Estimate, over_seeds, over_sources

#: An arm of a seed.
OfSeed = Callable[[int], Condition]

CONTENT_NAMES = {"movies": "Films", "shows": "Shows", "both": "Half of each"}
SENSES = {"actions": "actions, from video", "sounds": "sounds, from audio"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How much more one arm scores than another, paired by seed.

    Attributes:
        estimate: Over seeds.
        by_titles: 95% interval over test titles, the trainings as they are.
        base: Mean score of the arm that is subtracted.
        score: Mean score of the other.
    """

    estimate: Estimate
    by_titles: tuple[float, float]
    base: float
    score: float

    def interval(self, name: str) -> Interval:
        """For a chart."""
        one = self.estimate
        return Interval(name=name, mean=one.mean, low=one.low, high=one.high)

    def row(self) -> list[str]:
        """For a table: both scores, the difference, both intervals, seeds."""
        one = self.estimate
        inside = f"{one.low:+.3f} to {one.high:+.3f}" if one.has_interval else "one seed: none"
        return [
            f"{self.base:.3f}",
            f"{self.score:.3f}",
            f"{one.mean:+.3f}",
            inside,
            f"{self.by_titles[0]:+.3f} to {self.by_titles[1]:+.3f}",
            str(len(one.values)),
        ]


#: Names of what `Difference.row` gives.
DIFFERENCE_HEADER = ["base", "score", "difference", "95%, seeds", "95%, test titles", "seeds"]


class Measurements:
    """The scores of a study, found by arm.

    Args:
        design: What was to be done.
        scores: What was done; arms may be missing.
    """

    def __init__(self, design: Design, scores: Sequence[ConditionScores]) -> None:
        self.design = design
        self._by_name = {one.arm.name: one for one in scores}

    def of(self, arm: Condition) -> ConditionScores | None:
        """Of one arm; None if it is not done."""
        return self._by_name.get(arm.name)

    def done(self, arm: OfSeed) -> list[ConditionScores]:
        """Of an arm in every seed in which it is done."""
        found = (self.of(arm(seed)) for seed in self.design.seeds)
        return [one for one in found if one is not None]

    def accuracy(
        self, arm: OfSeed, benchmark: str = "actions", protocol: str = "linear"
    ) -> Estimate | None:
        """Mean score of an arm over seeds; None where there is none."""
        scores = (one.accuracy(benchmark, protocol) for one in self.done(arm))
        return over_seeds([score for score in scores if score is not None])

    def difference(
        self, base: OfSeed, other: OfSeed, benchmark: str = "actions", protocol: str = "linear"
    ) -> Difference | None:
        """How much more `other` scores than `base`; None where no seed has both."""
        pairs: list[tuple[Score, Score]] = []
        for seed in self.design.seeds:
            sides = [self.of(arm(seed)) for arm in (base, other)]
            scores = [None if one is None else one.score(benchmark, protocol) for one in sides]
            if scores[0] is not None and scores[1] is not None:
                pairs.append((scores[0], scores[1]))
        estimate = over_seeds([second.accuracy - first.accuracy for first, second in pairs])
        if estimate is None:
            return None
        return Difference(
            estimate=estimate,
            by_titles=over_sources(pairs),
            base=sum(first.accuracy for first, _ in pairs) / len(pairs),
            score=sum(second.accuracy for _, second in pairs) / len(pairs),
        )
