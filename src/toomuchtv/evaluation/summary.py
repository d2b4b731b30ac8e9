"""From predictions to the figures of a result: mean, interval, chance, per class, confusion."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toomuchtv.evaluation.benchmark import Benchmark
from toomuchtv.evaluation.bootstrap import (
    ClipScores,
    map_interval,
    mean_interval,
    median_interval,
)
from toomuchtv.evaluation.metrics import (
    average_precisions,
    confusion_matrix,
    primary_score,
    require_finite,
    scene_coverage,
    top1_correct,
)
from toomuchtv.evaluation.result import FoldPredictions, QueryRanks
from toomuchtv.evaluation.retrieval import RECALL_RANKS, rank_figures


def fold_summary(folds: Sequence[float]) -> dict[str, Any]:
    """Return mean and standard deviation (n - 1) over folds, and the value of each fold."""
    deviation = float(np.std(folds, ddof=1)) if len(folds) > 1 else 0.0
    return {"mean": float(np.mean(folds)), "std": deviation, "folds": list(folds)}


def by_draw(predictions: Sequence[FoldPredictions]) -> list[list[FoldPredictions]]:
    """Return the predictions of each drawn training set; most protocols have one."""
    draws = sorted({fold.draw for fold in predictions})
    return [[fold for fold in predictions if fold.draw == draw] for draw in draws]


def correct_by_clip(predictions: Sequence[FoldPredictions]) -> list[ClipScores]:
    """Return which clips of each fold are classified correctly."""
    return [
        ClipScores(source=fold.sources, value=top1_correct(fold.scores, fold.labels))
        for fold in predictions
    ]


def squared_errors_by_clip(predictions: Sequence[FoldPredictions]) -> list[ClipScores]:
    """Return the squared error of each clip of each fold."""
    for fold in predictions:
        require_finite(predicted_values=fold.scores, true_values=fold.targets)
    return [
        ClipScores(
            source=fold.sources,
            value=(fold.scores[:, 0].astype(np.float64) - fold.targets[:, 0]) ** 2,
        )
        for fold in predictions
    ]


def classification_figures(
    benchmark: Benchmark, predictions: Sequence[FoldPredictions]
) -> dict[str, Any]:
    """Return the fields `metrics`, `chance`, `per_class`, `confusion` and `classes` of a result."""
    multi_label = benchmark.task == "multi_label"
    draws = by_draw(predictions)
    # With several drawn training sets, the value of a fold is the mean over its draws.
    folds = np.mean(
        [
            [primary_score(one.scores, one.labels, multi_label=multi_label) for one in of_draw]
            for of_draw in draws
        ],
        axis=0,
    ).tolist()
    scores = np.concatenate([fold.scores for fold in predictions])
    targets = np.concatenate([fold.labels for fold in predictions])
    figures = fold_summary(folds)
    if multi_label:
        if _has_interval(predictions):
            figures["interval"] = map_interval(draws)
        return {
            "metrics": {"map": figures},
            # The precision of a random ranking is the share of positive clips.
            "chance": {"map": float(targets.mean(axis=0)[targets.any(axis=0)].mean())},
            "per_class": _by_class(benchmark.classes, average_precisions(scores, targets)),
            "confusion": None,
            "classes": benchmark.classes,
        }
    if _has_interval(predictions):
        figures["interval"] = mean_interval([correct_by_clip(of_draw) for of_draw in draws])
    if len(draws) > 1:
        figures["draws"] = [
            float(np.mean([top1_correct(one.scores, one.labels).mean() for one in of_draw]))
            for of_draw in draws
        ]
    hits = top1_correct(scores, targets)
    with np.errstate(invalid="ignore"):
        recall = (targets * hits[:, None]).sum(axis=0) / targets.sum(axis=0)
    return {
        "metrics": {"accuracy": figures, "mean_class_recall": float(np.nanmean(recall))},
        "chance": {"accuracy": 1.0 / len(benchmark.classes)},
        "per_class": _by_class(benchmark.classes, recall),
        "confusion": (confusion_matrix(scores, targets) / len(draws)).tolist(),
        "classes": benchmark.classes,
    }


def _has_interval(folds: Sequence[FoldPredictions]) -> bool:
    """Return whether there are several sources, without which an interval would have no width."""
    return len({source for fold in folds for source in fold.sources}) > 1


def _by_class(classes: Sequence[str], values: NDArray[np.float64]) -> dict[str, float]:
    """Return the values by class, without classes that have no test clip."""
    return {
        name: float(value)
        for name, value in zip(classes, values, strict=True)
        if not np.isnan(value)
    }


def ranking_values(ranking: QueryRanks) -> dict[str, ClipScores]:
    """Return the value of each query by metric; `median_rank` has ranks, the others are means."""
    values = {f"recall_at_{k}": (ranking.ranks <= k).astype(np.float64) for k in RECALL_RANKS}
    values["median_rank"] = ranking.ranks
    found = {
        name: ClipScores(source=ranking.sources, value=value) for name, value in values.items()
    }
    if ranking.precision is not None:
        defined = np.flatnonzero(~np.isnan(ranking.precision)).tolist()
        found["class_map"] = ClipScores(
            source=[ranking.sources[row] for row in defined], value=ranking.precision[defined]
        )
    return found


def ranking_figures(ranking: QueryRanks) -> dict[str, Any]:
    """Return the scores of a ranking, and their 95% confidence intervals under `interval`.

    The intervals resample the sources of the queries. They are left out if there is one source.
    """
    values = ranking_values(ranking)
    figures: dict[str, Any] = rank_figures(ranking.ranks)
    if "class_map" in values:
        figures["class_map"] = float(values["class_map"].value.mean())
    if len(set(ranking.sources)) > 1:
        figures["interval"] = {
            name: median_interval([[scores]])
            if name == "median_rank"
            else mean_interval([[scores]])
            for name, scores in values.items()
        }
    return figures


def regression_figures(
    benchmark: Benchmark, predictions: Sequence[FoldPredictions]
) -> dict[str, Any]:
    """Return the fields `metrics` and `chance` of a result of a regression task.

    Chance is the mean squared error of predicting the mean value of the training set.
    """
    errors = squared_errors_by_clip(predictions)
    chance = []
    for fold in benchmark.folds:
        train = np.array([benchmark.clips[row].value for row in fold.train], np.float64)
        test = np.array([benchmark.clips[row].value for row in fold.test], np.float64)
        chance.append(float(np.square(test - train.mean()).mean()))
    figures = fold_summary([float(fold.value.mean()) for fold in errors])
    if _has_interval(predictions):
        figures["interval"] = mean_interval([errors])
    return {
        "metrics": {"mse": figures},
        "chance": {"mse": float(np.mean(chance))},
    }


def scene_miou(benchmark: Benchmark, predictions: Sequence[FoldPredictions]) -> float:
    """Return the mean over the test films of `scene_coverage`.

    A boundary is predicted where the score is above 0. The scores must therefore have their
    decision threshold at 0, as logits and SVM margins do.
    """
    coverages = []
    require_finite(scores=np.concatenate([fold.scores for fold in predictions]))
    for fold, predicted in zip(benchmark.folds, predictions, strict=True):
        cuts: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
        for row, score, target in zip(
            fold.test, predicted.scores[:, 0], predicted.targets[:, 0], strict=True
        ):
            clip = benchmark.clips[row]
            assert clip.value is not None
            true_cuts, predicted_cuts = cuts[clip.source]
            if target:
                true_cuts.append(clip.value)
            if score > 0:
                predicted_cuts.append(clip.value)
        coverages += [
            scene_coverage(*both, benchmark.end_seconds[film]) for film, both in cuts.items()
        ]
    return float(np.mean(coverages))
