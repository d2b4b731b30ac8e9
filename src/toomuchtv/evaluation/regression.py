"""Benchmarks of numbers, as LVU's like ratio and view count: features once, a line or neighbors.

The score is the mean squared error, as in LVU's paper: the smaller, the better. Of the frozen
protocols `linear` (ridge regression, its penalty 1 / C) and `knn` (the mean of the neighbors'
numbers, weighted as their votes are) tell numbers; what is chosen is chosen as there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.evaluation.benchmark import Benchmark, FeatureArray, Fold, Modality
from toomuchtv.evaluation.bootstrap import ClipScores, accuracy_interval
from toomuchtv.evaluation.classifiers import clip_scores, preparation
from toomuchtv.evaluation.encoders import Encoder
from toomuchtv.evaluation.linear_probe import ProbeRun, extract_both_views, fold_predictions
from toomuchtv.evaluation.protocols import ProbeProtocol
from toomuchtv.evaluation.protocols.config import KnnConfig, LogisticConfig
from toomuchtv.evaluation.result import FoldPredictions
from toomuchtv.evaluation.summary import fold_summary

Values = NDArray[np.float32]
Teller = Callable[[FeatureArray], Values]


def run_regression(
    encoder: Encoder,
    benchmark: Benchmark,
    protocol: ProbeProtocol,
    modality: Modality,
    *,
    allow_missing: bool = False,
    seed: int = 0,
    cache: Path | None = None,
    progress: ProgressCallback = no_progress,
) -> ProbeRun:
    """Take features, then choose, fit and tell the numbers of the test clips.

    Raises:
        BenchmarkError: A clip cannot be decoded and `allow_missing` is not set.
        ValueError: The encoder or the protocol lacks the sense, or tells classes only.
    """
    config = protocol.classifier
    if not isinstance(config, LogisticConfig | KnnConfig) or protocol.selection != "inner":
        raise ValueError(
            f"{benchmark.name} asks for numbers, and the protocol {protocol.name} tells classes: "
            "choose linear or knn"
        )
    kept, (train, test), failed = extract_both_views(
        encoder, benchmark, protocol, modality, allow_missing=allow_missing, seed=seed, cache=cache,
        progress=progress,
    )  # fmt: skip
    values = np.array([clip.value for clip in kept.clips], np.float32)
    answers, chosen = [], []
    for fold in kept.folds:
        candidate = _choose(config, protocol.inner_folds, kept, fold, train, test, values)
        rows = np.array(fold.train)
        tell = fit_teller(config, train[rows], values[rows], candidate)
        told = clip_scores(tell, test[list(fold.test)])
        asked = values[list(fold.test), None]
        answers.append(fold_predictions(kept, fold.name, fold.test, told, asked))
        chosen.append({"chosen": candidate})
    return ProbeRun(benchmark=kept, answers=answers, chosen=chosen, failed=failed)


def _choose(
    config: LogisticConfig | KnnConfig,
    inner_folds: int,
    benchmark: Benchmark,
    fold: Fold,
    train: FeatureArray,
    test: FeatureArray,
    values: Values,
) -> float:
    """The candidate with the least error on the validation set, or on held-out groups."""
    splits = list(_splits(inner_folds, benchmark, fold, train, test))
    if not splits or len(config.candidates) == 1:
        return config.candidates[len(config.candidates) // 2]
    errors = []
    for candidate in config.candidates:
        of_splits = []
        for fit, held, views in splits:
            tell = fit_teller(config, train[fit], values[fit], candidate)
            of_splits.append(squared_errors(clip_scores(tell, views), values[held]).mean())
        errors.append(float(np.mean(of_splits)))
    return config.candidates[int(np.argmin(errors))]


def _splits(
    inner_folds: int, benchmark: Benchmark, fold: Fold, train: FeatureArray, test: FeatureArray
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], FeatureArray]]:
    """Rows to fit to, rows held out, and the views of those."""
    rows = np.array(fold.train)
    if fold.validation:
        held = np.array(fold.validation)
        yield rows, held, test[held]
        return
    groups = [benchmark.clips[row].group for row in rows]
    num = min(inner_folds, len(set(groups)))
    if num < 2:
        return
    for fit, held in GroupKFold(num).split(rows, groups=groups):
        yield rows[fit], rows[held], train[rows[held]]


def fit_teller(
    config: LogisticConfig | KnnConfig, features: FeatureArray, values: Values, candidate: float
) -> Teller:
    """Fit to clips' views `[n, views, F]` and their numbers `[n]`.

    Returns:
        A function from features `[m, F]` to numbers `[m, 1]`.
    """
    samples = features.reshape(-1, features.shape[2])
    numbers = np.repeat(values, features.shape[1])
    prepare = preparation(config, samples)
    prepared = prepare(samples)
    if isinstance(config, LogisticConfig):
        fitted = Ridge(alpha=1.0 / candidate).fit(prepared, numbers)
        return lambda asked: fitted.predict(prepare(asked)).astype(np.float32)[:, None]
    k, temperature = min(round(candidate), len(prepared)), config.temperature

    def neighbors(asked: FeatureArray) -> Values:
        similarity = prepare(asked) @ prepared.T
        nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        weight = np.exp((np.take_along_axis(similarity, nearest, axis=1) - 1.0) / temperature)
        told = (weight * numbers[nearest]).sum(axis=1) / weight.sum(axis=1)
        return np.asarray(told, np.float32)[:, None]

    return neighbors


def squared_errors(told: Values, asked: Values) -> NDArray[np.float64]:
    """Of each clip, `[n]`."""
    return (told[:, 0].astype(np.float64) - asked) ** 2


def regression_figures(benchmark: Benchmark, answers: list[FoldPredictions]) -> dict[str, Any]:
    """Figures of told numbers: `metrics` and `chance`, which tells the training set's mean."""
    outcomes = squared_errors_by_clip(answers)
    guesses = []
    for fold in benchmark.folds:
        known = np.array([benchmark.clips[row].value for row in fold.train], np.float64)
        asked = np.array([benchmark.clips[row].value for row in fold.test], np.float64)
        guesses.append(float(np.square(asked - known.mean()).mean()))
    figures = fold_summary([float(outcome.value.mean()) for outcome in outcomes])
    return {
        "metrics": {"mse": {**figures, "interval": accuracy_interval(outcomes)}},
        "chance": {"mse": float(np.mean(guesses))},
    }


def squared_errors_by_clip(answers: list[FoldPredictions]) -> list[ClipScores]:
    """The squared error of each clip, fold by fold."""
    return [
        ClipScores(
            source=fold.sources,
            value=squared_errors(fold.scores, np.asarray(fold.targets[:, 0], np.float32)),
        )
        for fold in answers
    ]
