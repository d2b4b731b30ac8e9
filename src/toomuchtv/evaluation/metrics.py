"""Metrics of classifiers and of scene boundaries, computed from scores and targets.

NaN compares as smaller than everything, so that a metric of values that are not finite would be a
number without meaning, and sometimes a perfect score. Every metric of this package, here, in
`retrieval`, in `summary` and in `bootstrap`, therefore begins with `require_finite`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toomuchtv.evaluation.benchmark import ScoreArray, TargetArray


def require_finite(**values: ArrayLike) -> None:
    """Check that no value is NaN or infinite.

    Args:
        values: Arrays `[n, ...]` by the name that the error gives them.

    Raises:
        ValueError: A value is not finite.
    """
    for name, given in values.items():
        array = np.asarray(given)
        is_bad = (~np.isfinite(array)).any(axis=tuple(range(1, array.ndim)))
        if is_bad.any():
            raise ValueError(
                f"{is_bad.sum()} of {len(array)} {name.replace('_', ' ')} are not finite: check "
                "the encoder, its features and the training of the classifier"
            )


def primary_score(scores: ScoreArray, targets: TargetArray, *, multi_label: bool) -> float:
    """Return the accuracy, or the mean average precision of a multi-label task.

    Args:
        scores: Scores `[n, K]`; higher means more likely.
        targets: Multi-hot targets `[n, K]`.
        multi_label: True for mean average precision.
    """
    if multi_label:
        return float(np.nanmean(average_precisions(scores, targets)))
    return float(top1_correct(scores, targets).mean())


def top1_correct(scores: ScoreArray, targets: TargetArray) -> NDArray[np.float64]:
    """Return 1.0 for each correctly classified clip and 0.0 for the others, `[n]`.

    Classes that tie for the highest score share the hit equally, so that a constant classifier
    has an accuracy of 1 / K.

    Raises:
        ValueError: A score is not finite.
    """
    require_finite(scores=scores)
    best = scores == scores.max(axis=1, keepdims=True)
    hits: NDArray[np.float64] = (best & targets).sum(axis=1) / best.sum(axis=1)
    return hits


def average_precisions(
    scores: ScoreArray, targets: TargetArray, weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return the average precision of each class, `[K]`; NaN for a class without positive clips.

    Args:
        scores: Scores `[n, K]`.
        targets: Multi-hot targets `[n, K]`.
        weights: Weight of each clip, `[n]`; all are 1 by default.

    Raises:
        ValueError: A score or a weight is not finite.
    """
    require_finite(scores=scores, weights=() if weights is None else weights)
    present = targets if weights is None else targets & (weights > 0)[:, None]
    result = np.full(targets.shape[1], np.nan)
    for k in np.flatnonzero(present.any(axis=0)):
        result[k] = _average_precision(scores[:, k], targets[:, k], weights)
    return result


def _average_precision(
    scores: NDArray[np.float32], targets: NDArray[np.bool_], weights: NDArray[np.float64] | None
) -> float:
    """Return the mean precision at the positive clips; clips of equal score are found at once.

    scikit-learn's function returns the same in twenty times the time, for lists of usual length.
    """
    order = np.argsort(-scores, kind="stable")
    weight = np.ones(len(scores)) if weights is None else weights[order]
    is_last = np.append(np.diff(scores[order]) != 0, True)
    found = np.cumsum(weight)[is_last]
    hits = np.cumsum(weight * targets[order])[is_last]
    new_hits = np.diff(hits, prepend=0.0)
    used = new_hits > 0
    return float((hits[used] / found[used] * new_hits[used]).sum() / hits[-1])


def confusion_matrix(scores: ScoreArray, targets: TargetArray) -> NDArray[np.float64]:
    """Return the number of clips by true class (rows) and predicted class (columns), `[K, K]`.

    A clip whose highest score is tied counts in equal parts for the tied classes.

    Raises:
        ValueError: A score is not finite.
    """
    require_finite(scores=scores)
    best = scores == scores.max(axis=1, keepdims=True)
    true = np.eye(targets.shape[1])[targets.argmax(axis=1)]
    matrix: NDArray[np.float64] = true.T @ (best / best.sum(axis=1, keepdims=True))
    return matrix


def scene_coverage(
    true_cuts: Sequence[float], predicted_cuts: Sequence[float], end_seconds: float
) -> float:
    """Return the mean intersection over union of predicted and true scenes of a film, 0 to 1.

    For each true scene, take the largest intersection over union with any predicted scene, and
    average over the true scenes. Do the same with the roles exchanged, and average both (Baraldi
    et al., "A deep siamese network for scene detection in broadcast videos", ACM MM 2015; used by
    Rao et al., CVPR 2020).

    Args:
        true_cuts: Times of the boundaries between scenes, in seconds.
        predicted_cuts: The predicted times, in seconds.
        end_seconds: Duration of the film.

    Raises:
        ValueError: A time is not finite.
    """
    require_finite(true_cuts=true_cuts, predicted_cuts=predicted_cuts, durations=[end_seconds])
    true, predicted = _scenes(true_cuts, end_seconds), _scenes(predicted_cuts, end_seconds)
    start = np.maximum(true[:, None, 0], predicted[None, :, 0])
    stop = np.minimum(true[:, None, 1], predicted[None, :, 1])
    intersection = np.maximum(0.0, stop - start)
    lengths = np.diff(true, axis=1), np.diff(predicted, axis=1)
    ratio = intersection / (lengths[0] + lengths[1].T - intersection)
    return float((ratio.max(axis=1).mean() + ratio.max(axis=0).mean()) / 2)


def _scenes(cuts: Sequence[float], end_seconds: float) -> NDArray[np.float64]:
    """Return the intervals between cuts, `[scenes, 2]`."""
    edges = np.array([0.0, *sorted({cut for cut in cuts if 0.0 < cut < end_seconds}), end_seconds])
    return np.stack([edges[:-1], edges[1:]], axis=1)
