"""Two runs on the same clips: is one better, or is it luck?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toomuchtv.evaluation.bootstrap import Paired, compare_accuracy, compare_map
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.evaluation.regression import squared_errors_by_clip
from toomuchtv.evaluation.result import Evaluation, FoldPredictions, load_predictions
from toomuchtv.evaluation.summary import correct_by_clip
from toomuchtv.evaluation.table import results_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two results of one benchmark, protocol and sense; `paired` is b - a."""

    benchmark: str
    protocol: str
    modality: str | None
    metric: str
    a: float
    b: float
    paired: Paired

    def row(self) -> list[object]:
        """For a table."""
        low, high = self.paired.interval
        exact = "exact" if self.paired.exact else "random swaps"
        return [
            self.benchmark,
            self.protocol,
            self.modality or "-",
            f"{self.a:.3f}",
            f"{self.b:.3f}",
            f"{self.paired.difference:+.3f}",
            f"{low:+.3f} to {high:+.3f}",
            f"{self.paired.p_value:.3g} ({exact})",
            self.paired.num_sources,
        ]


def compare_results(a: Path, b: Path) -> list[Comparison]:
    """Compare what two runs, or two results, have in common.

    Raises:
        BenchmarkError: A place has no result, nothing is in common, or the clips differ.
    """
    of_a = {_key(result): (place, result) for place, result in results_of(a) if result.primary}
    of_b = {_key(result): (place, result) for place, result in results_of(b) if result.primary}
    shared = [key for key in of_a if key in of_b]
    if not shared:
        raise BenchmarkError(
            f"{str(a)!r} and {str(b)!r} share no benchmark and protocol with answers: evaluate "
            "both with the same --benchmark, --protocol and --modality"
        )
    return [_compared(*of_a[key], *of_b[key]) for key in shared]


def _key(result: Evaluation) -> tuple[str, str, str | None]:
    return result.benchmark, result.protocol, result.modality


def _compared(path_a: Path, a: Evaluation, path_b: Path, b: Evaluation) -> Comparison:
    answers = (load_predictions(path_a), load_predictions(path_b))
    if _clips(answers[0]) != _clips(answers[1]):
        raise BenchmarkError(
            f"{a.benchmark}: the two results are not of the same clips in the same folds: evaluate "
            "both on the same folder"
        )
    metric = a.primary
    assert metric is not None
    if metric == "accuracy":
        paired = compare_accuracy(correct_by_clip(answers[0]), correct_by_clip(answers[1]))
    elif metric == "mse":
        paired = compare_accuracy(
            squared_errors_by_clip(answers[0]), squared_errors_by_clip(answers[1])
        )
    else:
        targets = np.concatenate([fold.targets for fold in answers[0]]).astype(np.bool_)
        sources = [source for fold in answers[0] for source in fold.sources]
        scores = [np.concatenate([fold.scores for fold in side]) for side in answers]
        paired = compare_map(scores[0], scores[1], targets, sources)
    return Comparison(
        benchmark=a.benchmark,
        protocol=a.protocol,
        modality=a.modality,
        metric=metric,
        a=a.metrics[metric]["mean"],
        b=b.metrics[metric]["mean"],
        paired=paired,
    )


def _clips(answers: list[FoldPredictions]) -> list[tuple[str, list[str]]]:
    return [(fold.name, list(fold.clips)) for fold in answers]
