"""Comparison of two results on the same clips: the difference, its interval and its p-value."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toomuchtv.evaluation.bootstrap import Paired, compare_map, compare_means
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.evaluation.result import Evaluation, find_results, load_predictions
from toomuchtv.evaluation.summary import correct_by_clip, squared_errors_by_clip


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two results of the same benchmark, protocol and modality.

    Attributes:
        benchmark: Name of the benchmark.
        protocol: Name of the protocol.
        modality: `video` or `audio`.
        metric: `accuracy`, `map` or `mse`.
        a: Score of the first result.
        b: Score of the second result.
        paired: The difference b - a, its confidence interval and its p-value.
    """

    benchmark: str
    protocol: str
    modality: str | None
    metric: str
    a: float
    b: float
    paired: Paired

    def row(self) -> list[object]:
        """Return the cells of a table row."""
        low, high = self.paired.interval
        kind = "exact" if self.paired.exact else "random swaps"
        return [
            self.benchmark,
            self.protocol,
            self.modality or "-",
            f"{self.a:.3f}",
            f"{self.b:.3f}",
            f"{self.paired.difference:+.3f}",
            f"{low:+.3f} to {high:+.3f}",
            f"{self.paired.p_value:.3g} ({kind})",
            self.paired.num_sources,
        ]


def compare_results(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> list[Comparison]:
    """Compare two results, or all results that two runs have in common.

    Args:
        a: A run, a folder of results, or the folder of one result.
        b: What to compare it with.

    Raises:
        BenchmarkError: There is no result, the two have no benchmark, protocol and modality in
            common, or they are of different clips.
    """
    results_a = {_key(result): (path, result) for path, result in find_results(a) if result.primary}
    results_b = {_key(result): (path, result) for path, result in find_results(b) if result.primary}
    shared = [key for key in results_a if key in results_b]
    if not shared:
        raise BenchmarkError(
            f"{str(a)!r} and {str(b)!r} have no benchmark and protocol with predictions in common: "
            "evaluate both with the same --benchmark, --protocol and --modality"
        )
    return [_compare(*results_a[key], *results_b[key]) for key in shared]


def _key(result: Evaluation) -> tuple[str, str, str | None]:
    return result.benchmark, result.protocol, result.modality


def _compare(path_a: Path, a: Evaluation, path_b: Path, b: Evaluation) -> Comparison:
    both = (load_predictions(path_a), load_predictions(path_b))
    clips = [[(fold.name, list(fold.clips)) for fold in side] for side in both]
    if clips[0] != clips[1]:
        raise BenchmarkError(
            f"{a.benchmark}: the two results are not of the same clips in the same folds: evaluate "
            "both on the same folder"
        )
    metric = a.primary
    assert metric is not None
    if metric == "map":
        targets = np.concatenate([fold.labels for fold in both[0]])
        sources = [source for fold in both[0] for source in fold.sources]
        scores = [np.concatenate([fold.scores for fold in side]) for side in both]
        paired = compare_map(scores[0], scores[1], targets, sources)
    else:
        by_clip = correct_by_clip if metric == "accuracy" else squared_errors_by_clip
        paired = compare_means(by_clip(both[0]), by_clip(both[1]))
    return Comparison(
        benchmark=a.benchmark,
        protocol=a.protocol,
        modality=a.modality,
        metric=metric,
        a=a.metrics[metric]["mean"],
        b=b.metrics[metric]["mean"],
        paired=paired,
    )
