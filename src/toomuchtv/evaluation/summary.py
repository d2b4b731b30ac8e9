"""From answers to figures: mean, spread, interval, per class, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from toomuchtv.evaluation.benchmark import Benchmark
from toomuchtv.evaluation.bootstrap import ClipScores, accuracy_interval, map_interval
from toomuchtv.evaluation.metrics import (
    average_precisions,
    confusion_matrix,
    primary_score,
    top1_correct,
)
from toomuchtv.evaluation.result import FoldPredictions


def fold_summary(folds: Sequence[float]) -> dict[str, Any]:
    """Mean and standard deviation (n - 1) over folds or splits, and each of them."""
    deviation = float(np.std(folds, ddof=1)) if len(folds) > 1 else 0.0
    return {"mean": float(np.mean(folds)), "std": deviation, "folds": list(folds)}


def correct_by_clip(answers: Sequence[FoldPredictions]) -> list[ClipScores]:
    """Which clips got their class, fold by fold."""
    return [
        ClipScores(
            source=fold.sources, value=top1_correct(fold.scores, fold.targets.astype(np.bool_))
        )
        for fold in answers
    ]


def classification_figures(
    benchmark: Benchmark, answers: Sequence[FoldPredictions]
) -> dict[str, Any]:
    """Figures of a classifier: `metrics`, `chance`, `per_class`, `confusion`, `classes`."""
    multi_label = benchmark.task == "multi_label"
    folds = [
        primary_score(fold.scores, fold.targets.astype(np.bool_), multi_label=multi_label)
        for fold in answers
    ]
    scores = np.concatenate([fold.scores for fold in answers])
    targets = np.concatenate([fold.targets for fold in answers]).astype(np.bool_)
    if multi_label:
        sources = [source for fold in answers for source in fold.sources]
        each = average_precisions(scores, targets)
        figures = {**fold_summary(folds), "interval": map_interval(scores, targets, sources)}
        return {
            "metrics": {"map": figures},
            "chance": {"map": float(targets.mean(axis=0)[targets.any(axis=0)].mean())},
            "per_class": _named(benchmark.classes, each),
            "confusion": None,
            "classes": benchmark.classes,
        }
    figures = {**fold_summary(folds), "interval": accuracy_interval(correct_by_clip(answers))}
    hits = top1_correct(scores, targets)
    with np.errstate(invalid="ignore"):
        recall = (targets * hits[:, None]).sum(axis=0) / targets.sum(axis=0)
    return {
        "metrics": {"accuracy": figures, "mean_class_recall": float(np.nanmean(recall))},
        "chance": {"accuracy": 1.0 / len(benchmark.classes)},
        "per_class": _named(benchmark.classes, recall),
        "confusion": confusion_matrix(scores, targets).tolist(),
        "classes": benchmark.classes,
    }


def _named(classes: Sequence[str], values: np.ndarray) -> dict[str, float]:
    """Values by class, without those that no clip tests."""
    return {
        name: float(value)
        for name, value in zip(classes, values, strict=True)
        if not np.isnan(value)
    }
