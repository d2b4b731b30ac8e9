"""Predictors on frozen features: linear classifiers, nearest neighbors, ridge regression.

Features have the shape `[clips, views, F]`. Every training view is a sample, and the scores of a
clip are the mean of the scores of its views.

The one-vs-rest classifiers minimize, for each class,

    1/2 |w|^2 + C * sum_i loss(y_i * w . (x_i, 1)),

which is the objective of liblinear (Fan et al., JMLR 2008), whose intercept is regularized too:
scikit-learn's `LinearSVC` and `LogisticRegression(solver="liblinear")`. Those fit one class after
the other. Here SciPy's L-BFGS fits all classes at once, with one matrix product per evaluation,
because protocols with 100 views per clip have many samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression, Ridge

from toomuchtv.evaluation.benchmark import FeatureArray, ScoreArray, TargetArray, Task
from toomuchtv.evaluation.protocols.config import (
    KnnConfig,
    LogisticConfig,
    SvmConfig,
)
from toomuchtv.evaluation.stored_features import SampleBlocks, clip_blocks

Scorer = Callable[[FeatureArray], ScoreArray]
PathConfig = SvmConfig | LogisticConfig | KnnConfig
Loss = Literal["squared_hinge", "logistic"]

_EPSILON = 1e-12
# The score of classes that the training set lacks, which is lower than any other but finite.
_NEVER = -1e30
# Cosines of float32 vectors that differ by less than this are equal.
_TIE = 1e-6
_SIMILARITIES_PER_BLOCK = 4_000_000
# A smaller tolerance is below the rounding of float32 gradients, and the search does not end.
_TOLERANCE = 3e-4
_MAX_ITERATIONS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSet:
    """Features of clips with their targets.

    Attributes:
        features: Features `[n, views, F]`.
        targets: Multi-hot targets, bool `[n, K]`, or values, float32 `[n, 1]`.
        groups: Group of each clip, which a split for selection keeps together.
    """

    features: FeatureArray
    targets: TargetArray | NDArray[np.float32]
    groups: Sequence[str]

    def take(self, rows: NDArray[np.int64]) -> FeatureSet:
        """Return the set with only these clips."""
        return FeatureSet(
            features=self.features[rows],
            targets=self.targets[rows],
            groups=[self.groups[row] for row in rows],
        )

    def samples(self, num_views: int | None = None) -> tuple[FeatureArray, NDArray[Any]]:
        """Return the first `num_views` views as samples: `[n * views, F]` and their targets."""
        features = np.asarray(self.features[:, :num_views])
        targets = np.repeat(self.targets, features.shape[1], axis=0)
        return features.reshape(-1, features.shape[2]), targets


def score_clips(scorer: Scorer, features: FeatureArray) -> ScoreArray:
    """Return the mean over the views of each clip of their scores, `[n, K]`."""
    views, width = features.shape[1:]
    means = []
    for clips in clip_blocks(features):
        scores = scorer(np.asarray(features[clips]).reshape(-1, width))
        means.append(scores.reshape(-1, views, scores.shape[1]).mean(axis=1))
    return np.concatenate(means)


def fit(
    config: PathConfig,
    samples: FeatureArray | SampleBlocks,
    targets: NDArray[Any],
    candidate: float,
    task: Task,
) -> Scorer:
    """Fit one predictor.

    Args:
        config: Kind of the predictor.
        samples: Samples `[n, F]`; blocks of them for an SVM only.
        targets: Multi-hot targets `[n, K]`, or values `[n, 1]` for a regression task.
        candidate: C of a linear classifier, 1 / penalty of ridge regression, or k.
        task: Task of the benchmark.

    Returns:
        A function from features `[m, F]` to scores `[m, K]`.
    """
    alone = config.model_copy(update={"candidates": (candidate,)})
    return next(fit_path(alone, samples, targets, task))


def fit_path(
    config: PathConfig, samples: FeatureArray | SampleBlocks, targets: NDArray[Any], task: Task
) -> Iterator[Scorer]:
    """Fit one predictor for each candidate in turn; each starts at the solution of the previous."""
    blocks = _in_blocks(samples)
    prepare = preparation(config, blocks)
    if isinstance(config, SvmConfig) or (
        isinstance(config, LogisticConfig) and task == "multi_label"
    ):
        loss: Loss = "squared_hinge" if isinstance(config, SvmConfig) else "logistic"
        prepared_blocks = blocks.prepared(prepare)
        weights: NDArray[np.float32] | None = None
        for candidate in config.candidates:
            weights = fit_one_vs_rest(prepared_blocks, targets, candidate, loss=loss, start=weights)
            yield _after(prepare, _linear(weights))
        return
    assert not isinstance(samples, SampleBlocks)
    prepared = prepare(samples)
    for candidate in config.candidates:
        if isinstance(config, KnnConfig):
            scorer = _nearest_neighbors(
                prepared, targets, round(candidate), config.temperature,
                is_mean=task == "regression",
            )  # fmt: skip
        elif task == "regression":
            scorer = _ridge(prepared, targets, penalty=1.0 / candidate)
        else:
            scorer = _multinomial(prepared, targets, candidate)
        yield _after(prepare, scorer)


def _in_blocks(samples: FeatureArray | SampleBlocks) -> SampleBlocks:
    return samples if isinstance(samples, SampleBlocks) else SampleBlocks(samples[:, None])


def _after(prepare: Callable[[FeatureArray], FeatureArray], scorer: Scorer) -> Scorer:
    return lambda features: scorer(prepare(features))


def preparation(
    config: PathConfig, samples: SampleBlocks
) -> Callable[[FeatureArray], FeatureArray]:
    """Return the preprocessing of features: unit length, then standardization, as configured.

    Args:
        config: States which of the two steps are done.
        samples: Training samples `[n, F]`, which define mean and standard deviation.
    """

    def unit(values: FeatureArray) -> FeatureArray:
        if not config.unit_length:
            return values
        norm = np.linalg.norm(values, axis=1, keepdims=True)
        scaled: FeatureArray = values / np.maximum(norm, _EPSILON)
        return scaled

    if not config.standardize:
        return unit
    num = samples.shape[0]
    mean = sum(unit(block).sum(axis=0, dtype=np.float64) for _, block in samples) / num
    variance = sum(np.square(unit(block) - mean).sum(axis=0) for _, block in samples) / num
    std = np.sqrt(np.asarray(variance))
    std[std == 0.0] = 1.0
    return lambda values: ((unit(values) - mean) / std).astype(np.float32)


def fit_one_vs_rest(
    features: FeatureArray | SampleBlocks,
    targets: TargetArray,
    cost: float,
    *,
    loss: Loss = "squared_hinge",
    start: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Fit one linear classifier for each class; see the module's docstring for the objective.

    Args:
        features: Samples `[n, F]`, which may be in blocks that are read in every iteration.
        targets: Multi-hot targets `[n, K]`.
        cost: C, the weight of the loss against the norm.
        loss: Loss of a margin.
        start: Weights to start at. They change the time and not the solution.

    Returns:
        Weights `[F + 1, K]` with the intercepts in the last row.
    """
    blocks = _in_blocks(features)
    num_classes, width = targets.shape[1], blocks.shape[1]
    # Classes are rows, because products with few columns are slow.
    signs = torch.from_numpy(np.where(targets.T, 1.0, -1.0).astype(np.float32))

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = torch.from_numpy(flat.astype(np.float32)).view(num_classes, -1)
        gradient = torch.zeros_like(weights)
        total = 0.0
        for rows, block in blocks:
            inputs, sign = torch.from_numpy(block), signs[:, rows]
            margin = torch.addmm(weights[:, -1:], weights[:, :-1], inputs.T).mul_(sign)
            if loss == "squared_hinge":
                violation = (1 - margin).clamp_(min=0)
                total += float(violation.square().sum(dtype=torch.float64))
                slope = violation.mul_(-2)
            else:
                total += float(F.softplus(-margin).sum(dtype=torch.float64))
                slope = -torch.sigmoid(-margin)
            slope.mul_(sign)
            gradient[:, :-1] += slope @ inputs
            gradient[:, -1] += slope.sum(dim=1)
        gradient = weights + cost * gradient
        return 0.5 * float(flat @ flat) + cost * total, gradient.flatten().double().numpy()

    zero = np.zeros(num_classes * (width + 1))
    # Like liblinear, stop relative to the gradient at zero.
    gradient_at_zero = np.sqrt(np.square(objective(zero)[1]).mean())
    solution = minimize(
        objective,
        zero if start is None else start.T.astype(np.float64).flatten(),
        jac=True,
        method="L-BFGS-B",
        options={
            "maxiter": _MAX_ITERATIONS, "maxfun": 2 * _MAX_ITERATIONS,
            "gtol": _TOLERANCE * gradient_at_zero, "ftol": 0.0,
        },
    ).x  # fmt: skip
    weights: NDArray[np.float32] = solution.reshape(num_classes, -1).T.astype(np.float32)
    return weights


def _linear(weights: NDArray[np.float32]) -> Scorer:
    return lambda features: features @ weights[:-1] + weights[-1]


def _multinomial(samples: FeatureArray, targets: TargetArray, cost: float) -> Scorer:
    fitted: Any = LogisticRegression(C=cost, max_iter=5000).fit(samples, targets.argmax(axis=1))

    def scores(features: FeatureArray) -> ScoreArray:
        # Classes that the training set lacks are never predicted.
        out = np.full((len(features), targets.shape[1]), _NEVER, np.float32)
        logits = fitted.decision_function(features)
        if logits.ndim == 1:  # for two classes scikit-learn returns the logit of the second
            logits = np.stack([np.zeros_like(logits), logits], axis=1)
        # scikit-learn's predict_log_proba takes the logarithm of 0 for very confident predictions.
        out[:, fitted.classes_] = torch.log_softmax(torch.from_numpy(logits), dim=1).numpy()
        return out

    return scores


def _ridge(samples: FeatureArray, values: NDArray[np.float32], penalty: float) -> Scorer:
    fitted: Any = Ridge(alpha=penalty).fit(samples, values[:, 0])
    return lambda features: fitted.predict(features).astype(np.float32)[:, None]


def _nearest_neighbors(
    samples: FeatureArray, targets: NDArray[Any], k: int, temperature: float, *, is_mean: bool
) -> Scorer:
    """Return the weighted sum, or the weighted mean, of the targets of the k nearest samples.

    Samples that are as similar as the k-th one share the places that are left, so that the result
    does not depend on their order and a constant feature predicts no class.
    """
    k = min(k, len(samples))
    values = targets.astype(np.float64)

    def votes(features: FeatureArray) -> ScoreArray:
        similarity = features @ samples.T
        last = np.partition(similarity, -k, axis=1)[:, -k, None]
        is_nearer = similarity > last + _TIE
        is_tied = ~is_nearer & (similarity > last - _TIE)
        num_left = k - is_nearer.sum(axis=1, keepdims=True)
        share = is_nearer + is_tied * (num_left / is_tied.sum(axis=1, keepdims=True))
        weight = share * np.exp((similarity - 1.0) / temperature)
        found: ScoreArray = weight @ values
        return found / weight.sum(axis=1, keepdims=True) if is_mean else found

    def scores(features: FeatureArray) -> ScoreArray:
        size = max(1, _SIMILARITIES_PER_BLOCK // len(samples))
        blocks = [votes(features[at : at + size]) for at in range(0, len(features), size)]
        return np.concatenate(blocks).astype(np.float32)

    return scores
