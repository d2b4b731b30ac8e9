"""A linear classifier on frozen features, its regularization chosen inside the training set."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from toomuchtv.evaluation.labeled import Labeled


class LinearProtocol(BaseModel):
    """The protocol `linear`: this project's own.

    Features before the projection head, averaged over windows; standardized; multinomial
    logistic regression. C is chosen by cross-validation over the groups (folds, source videos)
    of the training set alone, then the classifier is fitted to all of that set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "linear"
    audio_windows: int = Field(default=5, ge=1)
    video_windows: int = Field(default=4, ge=1)
    candidates: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    inner_folds: int = Field(default=4, ge=2)


def linear_accuracy(protocol: LinearProtocol, train: Labeled, test: Labeled) -> tuple[float, float]:
    """Fit to `train`, score on `test`.

    Returns:
        Accuracy in 0..1, and the C that was chosen without a look at `test`.
    """
    # Products of this size are done before a second thread has woken up.
    with threadpool_limits(1):
        chosen = choose_regularization(protocol, train)
        classifier = _classifier(chosen).fit(train.features, list(train.labels))
        return float(classifier.score(test.features, list(test.labels))), chosen


def choose_regularization(protocol: LinearProtocol, train: Labeled) -> float:
    """Choose C by the mean accuracy over held-out groups of the training set.

    With a single group there is nothing to hold out: the middle candidate is taken.
    """
    num_folds = min(protocol.inner_folds, len(set(train.groups)))
    if num_folds < 2:
        return protocol.candidates[len(protocol.candidates) // 2]
    folds = list(GroupKFold(num_folds).split(train.features, groups=list(train.groups)))
    labels = np.array(train.labels)
    scores = []
    for candidate in protocol.candidates:
        accuracies = [
            _classifier(candidate)
            .fit(train.features[fit], labels[fit])
            .score(train.features[held], labels[held])
            for fit, held in folds
            if len(set(labels[fit])) > 1
        ]
        scores.append(float(np.mean(accuracies)) if accuracies else 0.0)
    # The first of equals: the most regularized.
    return protocol.candidates[int(np.argmax(scores))]


def _classifier(regularization: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=regularization, max_iter=5000))
