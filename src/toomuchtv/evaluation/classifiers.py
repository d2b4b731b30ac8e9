"""Classifiers on frozen features, their one free number chosen without a look at the test set.

Features are `[clips, views, F]`: each view to train on is a sample, and a clip's scores are the
mean of its views'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from toomuchtv.evaluation.benchmark import FeatureArray
from toomuchtv.evaluation.hear_mlp import fit_mlp
from toomuchtv.evaluation.linear_solver import LinearScores, Loss, fit_linear
from toomuchtv.evaluation.metrics import ScoreArray, TargetArray, primary_score
from toomuchtv.evaluation.protocols.config import (
    ClassifierConfig,
    KnnConfig,
    LogisticConfig,
    MlpConfig,
    ProbeProtocol,
    SvmConfig,
)

Scorer = Callable[[FeatureArray], ScoreArray]

_EPSILON = 1e-12
# Products of this size are done before a second thread has woken up.
_SMALL = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Features `[n, views, F]` with the classes `[n, K]` and the group of each clip."""

    features: FeatureArray
    targets: TargetArray
    groups: Sequence[str]

    def take(self, rows: NDArray[np.int64]) -> Side:
        """The same, of some clips."""
        return Side(
            features=self.features[rows],
            targets=self.targets[rows],
            groups=[self.groups[row] for row in rows],
        )

    def samples(self, num_views: int | None = None) -> tuple[FeatureArray, TargetArray]:
        """Each of the first `num_views` views as a sample: `[n * views, F]`, `[n * views, K]`."""
        features = self.features[:, :num_views]
        targets = np.repeat(self.targets, features.shape[1], axis=0)
        return features.reshape(-1, features.shape[2]), targets


def fit_and_score(
    protocol: ProbeProtocol,
    train: Side,
    test: Side,
    *,
    validation: Side | None = None,
    multi_label: bool = False,
    seed: int = 0,
) -> tuple[ScoreArray, dict[str, float]]:
    """Choose, fit to `train`, and score the clips of `test`.

    Args:
        protocol: What is fitted, and how its free number is chosen.
        train: Views to train on.
        test: Views to test on.
        validation: The official validation set, if there is one, in views to test on.
        multi_label: Whether clips have several classes.
        seed: Of the networks' first weights.

    Returns:
        Scores `[clips, K]`, and what was chosen.
    """
    config = protocol.classifier
    if isinstance(config, MlpConfig):
        return _mlp(config, protocol, train, test, validation, multi_label=multi_label, seed=seed)
    with threadpool_limits(1 if train.features.size < _SMALL else None):
        if protocol.selection == "test":
            return _peek(config, train, test, multi_label=multi_label)
        chosen = choose(protocol, train, validation=validation, multi_label=multi_label)
        scorer = _fit(config, *train.samples(), chosen, multi_label=multi_label)
        return clip_scores(scorer, test.features), {"chosen": chosen}


def clip_scores(scorer: Scorer, features: FeatureArray) -> ScoreArray:
    """Mean over a clip's views of their scores, `[n, K]`."""
    num, views = features.shape[:2]
    scores = scorer(features.reshape(num * views, -1))
    mean: ScoreArray = scores.reshape(num, views, -1).mean(axis=1)
    return mean


def choose(
    protocol: ProbeProtocol, train: Side, *, validation: Side | None, multi_label: bool
) -> float:
    """Choose C or k by the mean score over held-out groups of the training set.

    With a single group there is nothing to hold out: the middle candidate is taken. Of equals the
    first is taken, which is the most regularized.
    """
    config = protocol.classifier
    assert not isinstance(config, MlpConfig)
    candidates = config.candidates
    if protocol.selection == "fixed" or len(candidates) == 1:
        return candidates[0]
    splits = list(_inner_splits(protocol, train, validation, multi_label=multi_label))
    if not splits:
        return candidates[len(candidates) // 2]
    scores = np.zeros((len(candidates), len(splits)))
    for column, (fit, held) in enumerate(splits):
        samples, targets = fit.samples(protocol.selection_views)
        held_views = held.features[:, : protocol.selection_views]
        for row, scorer in enumerate(_fit_path(config, samples, targets, multi_label=multi_label)):
            found = clip_scores(scorer, held_views)
            scores[row, column] = primary_score(found, held.targets, multi_label=multi_label)
    return candidates[int(np.argmax(scores.mean(axis=1)))]


def _inner_splits(
    protocol: ProbeProtocol, train: Side, validation: Side | None, *, multi_label: bool
) -> Iterator[tuple[Side, Side]]:
    if validation is not None and len(validation.features):
        yield train, validation
        return
    num_folds = min(protocol.inner_folds, len(set(train.groups)))
    if num_folds < 2:
        return
    classes = train.targets.argmax(axis=1)
    # Several labels give no one class to stratify by, nor does a class of fewer clips than folds.
    rarest = np.unique(classes, return_counts=True)[1].min()
    stratified = not multi_label and rarest >= num_folds
    made = StratifiedGroupKFold(num_folds) if stratified else GroupKFold(num_folds)
    for fit, held in made.split(train.features, classes, groups=list(train.groups)):
        if len(held) and len(np.unique(classes[fit])) > 1:
            yield train.take(fit), train.take(held)


def _peek(
    config: SvmConfig | LogisticConfig | KnnConfig, train: Side, test: Side, *, multi_label: bool
) -> tuple[ScoreArray, dict[str, float]]:
    """Choose on the test set itself, as the release does: only under a name that says so."""
    path = _fit_path(config, *train.samples(), multi_label=multi_label)
    found = [clip_scores(scorer, test.features) for scorer in path]
    scores = [primary_score(each, test.targets, multi_label=multi_label) for each in found]
    best = int(np.argmax(scores))
    return found[best], {"chosen": config.candidates[best]}


def _mlp(
    config: MlpConfig,
    protocol: ProbeProtocol,
    train: Side,
    test: Side,
    validation: Side | None,
    *,
    multi_label: bool,
    seed: int,
) -> tuple[ScoreArray, dict[str, float]]:
    splits = list(_inner_splits(protocol, train, validation, multi_label=multi_label))
    if not splits:
        raise ValueError("the training set is one group: nothing can be held out to stop on")
    fit, held = splits[0]
    network, chosen = fit_mlp(
        config, fit.samples(), held.samples(), multi_label=multi_label, seed=seed
    )
    return clip_scores(network.scores, test.features), chosen


def _fit(
    config: SvmConfig | LogisticConfig | KnnConfig,
    samples: FeatureArray,
    targets: TargetArray,
    strength: float,
    *,
    multi_label: bool,
) -> Scorer:
    alone = config.model_copy(update={"candidates": (strength,)})
    return next(_fit_path(alone, samples, targets, multi_label=multi_label))


def _fit_path(
    config: SvmConfig | LogisticConfig | KnnConfig,
    samples: FeatureArray,
    targets: TargetArray,
    *,
    multi_label: bool,
) -> Iterator[Scorer]:
    """Fit for each candidate in turn, each beginning where the one before ended."""
    prepare = preparation(config, samples)
    prepared = prepare(samples)
    before: LinearScores | None = None
    for strength in config.candidates:
        scorer: Scorer
        if isinstance(config, KnnConfig):
            scorer = _neighbors(prepared, targets, round(strength), config.temperature)
        elif isinstance(config, LogisticConfig) and not multi_label:
            scorer = _multinomial(prepared, targets, strength)
        else:
            loss: Loss = "squared_hinge" if isinstance(config, SvmConfig) else "logistic"
            before = fit_linear(prepared, targets, strength, loss=loss, start=before)
            scorer = before.scores
        yield _after(prepare, scorer)


def _after(prepare: Callable[[FeatureArray], FeatureArray], scorer: Scorer) -> Scorer:
    return lambda features: scorer(prepare(features))


def preparation(
    config: ClassifierConfig, samples: FeatureArray
) -> Callable[[FeatureArray], FeatureArray]:
    """Unit length, then standardization by the training samples, as the protocol has them.

    Args:
        config: Which of the two.
        samples: To train on, `[n, F]`.
    """

    def unit(values: FeatureArray) -> FeatureArray:
        if not config.unit_length:
            return values
        norm = np.linalg.norm(values, axis=1, keepdims=True)
        scaled: FeatureArray = values / np.maximum(norm, _EPSILON)
        return scaled

    if not config.standardize:
        return unit
    known = unit(samples)
    mean, std = known.mean(axis=0, dtype=np.float64), known.std(axis=0, dtype=np.float64)
    std[std == 0.0] = 1.0
    return lambda values: ((unit(values) - mean) / std).astype(np.float32)


def _multinomial(samples: FeatureArray, targets: TargetArray, strength: float) -> Scorer:
    classes = targets.argmax(axis=1)
    fitted: Any = LogisticRegression(C=strength, max_iter=5000).fit(samples, classes)

    def scores(features: FeatureArray) -> ScoreArray:
        # Classes that the training set lacks are never named.
        out = np.full((len(features), targets.shape[1]), -np.inf, np.float32)
        logits = fitted.decision_function(features)
        if logits.ndim == 1:  # of two classes, the second one's alone
            logits = np.stack([np.zeros_like(logits), logits], axis=1)
        # scikit-learn's predict_log_proba takes the logarithm of a zero where it is sure.
        out[:, fitted.classes_] = torch.log_softmax(torch.from_numpy(logits), dim=1).numpy()
        return out

    return scores


def _neighbors(samples: FeatureArray, targets: TargetArray, k: int, temperature: float) -> Scorer:
    num_neighbors = min(k, len(samples))

    def scores(features: FeatureArray) -> ScoreArray:
        similarity = features @ samples.T
        nearest = np.argpartition(-similarity, num_neighbors - 1, axis=1)[:, :num_neighbors]
        weight = np.exp((np.take_along_axis(similarity, nearest, axis=1) - 1.0) / temperature)
        votes: ScoreArray = np.einsum("nk,nkc->nc", weight, targets[nearest].astype(np.float32))
        return votes

    return scores
