"""Accuracy, average precision, confusion: what a table of scores says, in NumPy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ScoreArray = NDArray[np.float32]
TargetArray = NDArray[np.bool_]


def primary_score(scores: ScoreArray, targets: TargetArray, *, multi_label: bool) -> float:
    """Accuracy, or mean average precision where clips have several labels.

    Args:
        scores: `[n, K]`, higher is likelier.
        targets: `[n, K]`.
        multi_label: Which of the two.
    """
    if multi_label:
        return float(np.nanmean(average_precisions(scores, targets)))
    return float(top1_correct(scores, targets).mean())


def top1_correct(scores: ScoreArray, targets: TargetArray) -> NDArray[np.float64]:
    """Which clips got their class: 1.0 or 0.0, `[n]`.

    Classes tied for the first place share it: a constant classifier is right one time in K.
    """
    best = scores == scores.max(axis=1, keepdims=True)
    hits: NDArray[np.float64] = (best & targets).sum(axis=1) / best.sum(axis=1)
    return hits


def average_precisions(
    scores: ScoreArray, targets: TargetArray, weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Average precision of each class, `[K]`; NaN where no clip has it.

    The mean of the precision at each hit, where all clips of one score count as found at once:
    `sklearn.metrics.average_precision_score`.

    Args:
        scores: `[n, K]`.
        targets: `[n, K]`.
        weights: How often each clip counts, `[n]`.
    """
    num, classes = scores.shape
    weight = np.ones(num) if weights is None else weights
    out = np.full(classes, np.nan)
    for k in range(classes):
        order = np.argsort(-scores[:, k], kind="stable")
        value, hit, w = scores[order, k], targets[order, k], weight[order]
        found = np.cumsum(w * hit)
        if num == 0 or found[-1] == 0:
            continue
        # The last of each run of equal scores.
        last = np.append(value[1:] != value[:-1], True)
        found_at, seen_at = found[last], np.cumsum(w)[last]
        gained = np.diff(found_at, prepend=0.0)
        precision = np.divide(found_at, seen_at, out=np.zeros_like(found_at), where=seen_at > 0)
        out[k] = (precision * gained).sum() / found[-1]
    return out


def confusion_matrix(scores: ScoreArray, targets: TargetArray) -> NDArray[np.int64]:
    """Count true class (rows) against named class (columns), `[K, K]`."""
    classes = scores.shape[1]
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (targets.argmax(axis=1), scores.argmax(axis=1)), 1)
    return matrix
