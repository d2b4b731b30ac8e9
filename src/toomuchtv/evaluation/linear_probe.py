"""Probing protocols: extract frozen features, select a hyperparameter, fit and test per fold.

The hyperparameter is selected on held-out groups of the training set or on the official validation
set. Only protocols whose name says "peeking" select it on the test fold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.evaluation.attentive import AttentiveProbe, fit_attentive
from toomuchtv.evaluation.benchmark import (
    Benchmark,
    FeatureArray,
    Modality,
    ScoreArray,
    TargetArray,
    Task,
)
from toomuchtv.evaluation.classifiers import FeatureSet, PathConfig, fit, fit_path, score_clips
from toomuchtv.evaluation.encoders import Encoder
from toomuchtv.evaluation.features import extract_usable
from toomuchtv.evaluation.hear_mlp import fit_mlp
from toomuchtv.evaluation.metrics import primary_score
from toomuchtv.evaluation.protocols import ProbeProtocol
from toomuchtv.evaluation.protocols.config import (
    AttentiveConfig,
    KnnConfig,
    LogisticConfig,
    MlpConfig,
    SvmConfig,
)
from toomuchtv.evaluation.result import FoldPredictions
from toomuchtv.evaluation.stored_features import SampleBlocks
from toomuchtv.evaluation.views import AudioViews, VideoViews, clip_seed

# Below this number of values a second thread costs more time than it saves.
_MIN_VALUES_FOR_THREADS = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRun:
    """The outcome of a probing protocol.

    Attributes:
        benchmark: The benchmark without the clips that could not be decoded.
        predictions: Predictions of each fold.
        chosen: Selected hyperparameters of each fold.
        failed: Clips that could not be decoded, each with the reason.
        notes: Remarks that the result must contain.
    """

    benchmark: Benchmark
    predictions: list[FoldPredictions]
    chosen: list[dict[str, float]]
    failed: tuple[str, ...]
    notes: tuple[str, ...] = ()


def run_probe(
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
    """Run a probing protocol on a benchmark with class labels or values.

    Args:
        encoder: Encoder with frozen weights.
        benchmark: Benchmark to train and test on.
        protocol: Views, classifier and selection.
        modality: Modality whose encoder is evaluated.
        allow_missing: Continue without clips that cannot be decoded.
        seed: Seed of random views and of the initial weights of networks.
        cache: Folder of cached features; None disables the cache.
        progress: Called with the number of clips or folds done.

    Raises:
        BenchmarkError: A clip cannot be decoded and `allow_missing` is not set.
        ValueError: The encoder or the protocol does not support the modality or the task.
    """
    _check_task(protocol, benchmark)
    train_views, test_views = probe_views(protocol, modality)
    usable, (train_features, test_features), failed = extract_usable(
        encoder, benchmark, (train_views, test_views), output=protocol.output,
        allow_missing=allow_missing, seed=seed, cache=cache, progress=progress,
    )  # fmt: skip
    predictions, chosen = [], []
    notes: dict[str, None] = {}
    for number, fold in enumerate(usable.folds):
        test = _feature_set(usable, test_features, fold.test)
        validation = _feature_set(usable, test_features, fold.validation)
        for draw in range(protocol.draws):
            done, total = number * protocol.draws + draw, len(usable.folds) * protocol.draws
            progress(done, total, f"fitting {fold.name}")
            rows = fold.train
            if protocol.shots is not None:
                rows = draw_shots(usable, rows, protocol.shots, seed=clip_seed(f"{draw}", seed))
            train = _feature_set(usable, train_features, rows)
            scores, found = fit_and_score(
                protocol, train, test, validation=validation if fold.validation else None,
                task=usable.task, seed=seed,
            )  # fmt: skip
            one = fold_predictions(usable, fold.name, fold.test, scores, test.targets)
            predictions.append(replace(one, draw=draw))
            chosen.append(found)
            notes |= dict.fromkeys(_notes(protocol, train, found))
    return ProbeRun(
        benchmark=usable,
        predictions=predictions,
        chosen=chosen,
        failed=failed,
        notes=tuple(notes),
    )


def _check_task(protocol: ProbeProtocol, benchmark: Benchmark) -> None:
    """Check that a protocol can predict what a benchmark asks for.

    Raises:
        ValueError: It cannot.
    """
    if benchmark.task == "regression" and not (
        isinstance(protocol.classifier, LogisticConfig | KnnConfig)
        and protocol.selection == "inner"
    ):
        raise ValueError(
            f"{benchmark.name} has values to predict, and the protocol {protocol.name} predicts "
            "classes only: choose linear or knn"
        )
    if protocol.shots is not None and benchmark.task != "single_label":
        raise ValueError(
            f"the protocol {protocol.name} draws clips of each class, and the clips of "
            f"{benchmark.name} have several classes each: choose linear or knn"
        )


def draw_shots(
    benchmark: Benchmark, rows: Sequence[int], shots: int, *, seed: int
) -> tuple[int, ...]:
    """Draw clips of each class, from as many different sources as possible.

    The draw depends on the names of the clips and on the seed only, so that different encoders get
    the same clips.

    Args:
        benchmark: Benchmark with one class per clip.
        rows: Rows to draw from.
        shots: Number of clips per class. A class with fewer clips gives all of them.
        seed: Seed of the draw.

    Returns:
        The drawn rows in their order in `rows`.
    """
    taken: dict[str, int] = defaultdict(int)
    earlier: dict[tuple[str, str], int] = defaultdict(int)
    ranked: list[tuple[int, int, int]] = []
    for row in sorted(rows, key=lambda row: clip_seed(benchmark.relative_key(row), seed)):
        clip = benchmark.clips[row]
        of_source = clip.labels[0], clip.source
        ranked.append((earlier[of_source], len(ranked), row))
        earlier[of_source] += 1
    drawn = set()
    for _, _, row in sorted(ranked):
        label = benchmark.clips[row].labels[0]
        if taken[label] < shots:
            drawn.add(row)
            taken[label] += 1
    return tuple(row for row in rows if row in drawn)


def _notes(protocol: ProbeProtocol, train: FeatureSet, chosen: dict[str, float]) -> Iterator[str]:
    """Yield what a result must say about the training set of a fold."""
    if isinstance(protocol.classifier, KnnConfig) and protocol.selection == "fixed":
        asked = protocol.classifier.candidates[0]
        if chosen["chosen"] < asked:
            yield (
                f"k is {chosen['chosen']:g} instead of {asked:g}, because a training set has no "
                "more samples"
            )
    if protocol.shots is not None and train.targets.sum(axis=0).min() < protocol.shots:
        yield (
            f"some classes have fewer than {protocol.shots} training clips in a fold; all that "
            "they have were taken"
        )


def probe_views(
    protocol: ProbeProtocol, modality: Modality
) -> tuple[VideoViews | AudioViews, VideoViews | AudioViews]:
    """Return the views to train on and to test on.

    Raises:
        ValueError: The protocol does not evaluate the modality.
    """
    train, test = (
        (protocol.video_train, protocol.video_test)
        if modality == "video"
        else (protocol.audio_train, protocol.audio_test)
    )
    if train is None or test is None:
        raise ValueError(
            f"the protocol {protocol.name} does not evaluate {modality}: omit --modality, or "
            "choose linear or knn"
        )
    return train, test


def _feature_set(benchmark: Benchmark, features: FeatureArray, rows: tuple[int, ...]) -> FeatureSet:
    index = np.array(rows, np.int64)
    if benchmark.task == "regression":
        values = np.array([[benchmark.clips[row].value] for row in rows], np.float32)
        targets: TargetArray | NDArray[np.float32] = values.reshape(-1, 1)
    else:
        targets = benchmark.label_matrix()[index]
    return FeatureSet(
        features=features[index],
        targets=targets,
        groups=[benchmark.clips[row].group for row in rows],
    )


def fold_predictions(
    benchmark: Benchmark,
    name: str,
    rows: tuple[int, ...],
    scores: ScoreArray,
    targets: TargetArray | NDArray[np.float32],
) -> FoldPredictions:
    """Return the scores of a fold's test clips with the names and sources of the clips."""
    return FoldPredictions(
        name=name,
        clips=[benchmark.relative_key(row) for row in rows],
        sources=[benchmark.clips[row].source for row in rows],
        scores=scores,
        targets=targets,
    )


def fit_and_score(
    protocol: ProbeProtocol,
    train: FeatureSet,
    test: FeatureSet,
    *,
    validation: FeatureSet | None = None,
    task: Task = "single_label",
    seed: int = 0,
) -> tuple[ScoreArray, dict[str, float]]:
    """Select the hyperparameter, fit to the training set, and score the test clips.

    Args:
        protocol: Classifier and selection.
        train: Training set, in training views.
        test: Test set, in test views.
        validation: Official validation set in test views, if there is one.
        task: Task of the benchmark.
        seed: Seed of the initial weights of networks.

    Returns:
        Scores `[clips, K]`, and the selected hyperparameters.
    """
    config = protocol.classifier
    multi_label = task == "multi_label"
    if isinstance(config, MlpConfig):
        splits = _inner_splits(protocol, train, validation, task)
        fit_set, held_out = next(splits, (None, None))
        if fit_set is None or held_out is None:
            raise ValueError(
                "the training set has one group, or classes in one alone: nothing can be held out "
                "to stop on"
            )
        scorer, chosen = fit_mlp(
            config, fit_set.samples(), held_out.samples(), multi_label=multi_label, seed=seed
        )
        return score_clips(scorer, test.features), chosen
    with threadpool_limits(1 if train.features.size < _MIN_VALUES_FOR_THREADS else None):
        if isinstance(config, AttentiveConfig):

            def attend(number: int, fit_set: FeatureSet) -> AttentiveProbe:
                return fit_attentive(
                    config, np.asarray(fit_set.features), fit_set.targets.astype(np.bool_),
                    multi_label=multi_label, seed=seed, **config.candidates[number],
                )  # fmt: skip

            best = _select_probe(protocol, attend, train, validation, task)
            return attend(best, train).scores(np.asarray(test.features)), config.candidates[best]
        if protocol.selection == "test":
            return _select_on_test(config, train, test, task)
        candidate = select(protocol, train, validation=validation, task=task)
        samples, targets = _samples(config, train)
        scorer = fit(config, samples, targets, candidate, task)
        used = min(candidate, samples.shape[0]) if isinstance(config, KnnConfig) else candidate
        return score_clips(scorer, test.features), {"chosen": used}


def _select_probe(
    protocol: ProbeProtocol,
    attend: Callable[[int, FeatureSet], AttentiveProbe],
    train: FeatureSet,
    validation: FeatureSet | None,
    task: Task,
) -> int:
    """Return the number of the candidate with the best mean score on held-out groups."""
    assert isinstance(protocol.classifier, AttentiveConfig)
    num = len(protocol.classifier.candidates)
    splits = list(_inner_splits(protocol, train, validation, task))
    if num == 1 or not splits:
        return num // 2
    scores = [
        np.mean(
            [
                _selection_score(
                    attend(number, fit_set).scores(np.asarray(held_out.features)), held_out, task
                )
                for fit_set, held_out in splits
            ]
        )
        for number in range(num)
    ]
    return int(np.argmax(scores))


def select(
    protocol: ProbeProtocol,
    train: FeatureSet,
    *,
    validation: FeatureSet | None = None,
    task: Task = "single_label",
) -> float:
    """Select C or k by the mean score on held-out groups of the training set.

    The first of several equally good candidates is selected, which is the most regularized one.
    If the training set is a single group, nothing can be held out, and the middle candidate is
    returned.
    """
    config = protocol.classifier
    assert not isinstance(config, MlpConfig | AttentiveConfig)
    candidates = config.candidates
    if protocol.selection == "fixed" or len(candidates) == 1:
        return candidates[0]
    splits = list(_inner_splits(protocol, train, validation, task))
    if not splits:
        return candidates[len(candidates) // 2]
    scores = np.zeros((len(candidates), len(splits)))
    for column, (fit_set, held_out) in enumerate(splits):
        samples, targets = _samples(config, fit_set, protocol.selection_views)
        held_out_views = held_out.features[:, : protocol.selection_views]
        for row, scorer in enumerate(fit_path(config, samples, targets, task)):
            found = score_clips(scorer, held_out_views)
            scores[row, column] = _selection_score(found, held_out, task)
    return candidates[int(np.argmax(scores.mean(axis=1)))]


def _samples(
    config: PathConfig, side: FeatureSet, num_views: int | None = None
) -> tuple[FeatureArray | SampleBlocks, NDArray[Any]]:
    """Return samples and targets; SVM protocols have many views, which are read in blocks."""
    if isinstance(config, SvmConfig):
        features = side.features[:, :num_views]
        return SampleBlocks(features), np.repeat(side.targets, features.shape[1], axis=0)
    return side.samples(num_views)


def _selection_score(scores: ScoreArray, expected: FeatureSet, task: Task) -> float:
    if task == "regression":
        return -float(np.square(scores.astype(np.float64) - expected.targets).mean())
    targets = expected.targets.astype(np.bool_)
    return primary_score(scores, targets, multi_label=task == "multi_label")


def _inner_splits(
    protocol: ProbeProtocol, train: FeatureSet, validation: FeatureSet | None, task: Task
) -> Iterator[tuple[FeatureSet, FeatureSet]]:
    """Yield the sets to fit and to validate on, where a fitted predictor has a score."""
    if validation is not None and _has_score(train, validation, task):
        yield train, validation
        return
    num_folds = min(protocol.inner_folds, len(set(train.groups)))
    if num_folds < 2:
        return
    classes = train.targets.argmax(axis=1)
    # Folds are stratified if each clip has one class and each class has a clip for every fold.
    rarest = np.unique(classes, return_counts=True)[1].min()
    is_stratified = task == "single_label" and rarest >= num_folds
    splitter = StratifiedGroupKFold(num_folds) if is_stratified else GroupKFold(num_folds)
    for rows in splitter.split(train.features, classes, groups=list(train.groups)):
        fit_set, held_out = (train.take(of_side) for of_side in rows)
        if _has_score(fit_set, held_out, task):
            yield fit_set, held_out


def _has_score(fit_set: FeatureSet, held_out: FeatureSet, task: Task) -> bool:
    """Return whether a predictor can be fitted to one set and scored on the other."""
    if task == "multi_label":  # no clip may have a class, and then there is no precision
        return bool(held_out.targets.any())
    if task == "single_label" and len(np.unique(fit_set.targets.argmax(axis=1))) < 2:
        return False
    return len(held_out.targets) > 0


def _select_on_test(
    config: PathConfig, train: FeatureSet, test: FeatureSet, task: Task
) -> tuple[ScoreArray, dict[str, float]]:
    """Select on the test set, as the release does; the score is optimistically biased."""
    path = fit_path(config, *_samples(config, train), task)
    found = [score_clips(scorer, test.features) for scorer in path]
    best = int(np.argmax([_selection_score(scores, test, task) for scores in found]))
    return found[best], {"chosen": config.candidates[best]}
