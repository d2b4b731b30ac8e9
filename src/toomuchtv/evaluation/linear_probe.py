"""A frozen protocol on a benchmark: features once, a classifier a fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.evaluation.benchmark import Benchmark, FeatureArray, Modality
from toomuchtv.evaluation.checking import without
from toomuchtv.evaluation.classifiers import Side, fit_and_score
from toomuchtv.evaluation.encoders import Encoder
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.evaluation.features import Features, extract
from toomuchtv.evaluation.protocols import ProbeProtocol
from toomuchtv.evaluation.result import FoldPredictions
from toomuchtv.evaluation.views import AudioViews, VideoViews


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRun:
    """What a frozen protocol came to.

    Attributes:
        benchmark: What it was run on: without the clips that could not be decoded.
        answers: Of each fold.
        chosen: What was chosen in each fold.
        failed: Clips that could not be decoded, each with the reason.
    """

    benchmark: Benchmark
    answers: list[FoldPredictions]
    chosen: list[dict[str, float]]
    failed: tuple[str, ...]


def views_of(
    protocol: ProbeProtocol, modality: Modality
) -> tuple[VideoViews | AudioViews, VideoViews | AudioViews]:
    """Views to train and to test on.

    Raises:
        ValueError: The protocol is not of that sense.
    """
    train, test = (
        (protocol.video_train, protocol.video_test)
        if modality == "video"
        else (protocol.audio_train, protocol.audio_test)
    )
    if train is None or test is None:
        raise ValueError(
            f"the protocol {protocol.name} does not judge {modality}: leave --modality away, or "
            "choose linear or knn"
        )
    return train, test


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
    """Take features, then choose, fit and score fold by fold.

    Raises:
        BenchmarkError: A clip cannot be decoded and `allow_missing` is not set.
        ValueError: The encoder or the protocol lacks the sense.
    """
    kept, values, failed = extract_both_views(
        encoder, benchmark, protocol, modality, allow_missing=allow_missing, seed=seed, cache=cache,
        progress=progress,
    )  # fmt: skip
    answers, chosen = [], []
    for number, fold in enumerate(kept.folds):
        progress(number, len(kept.folds), f"fitting {fold.name}")
        sides = [
            _side(kept, values[which], of)
            for which, of in ((0, fold.train), (1, fold.test), (1, fold.validation))
        ]
        scores, found = fit_and_score(
            protocol,
            sides[0],
            sides[1],
            validation=sides[2] if fold.validation else None,
            multi_label=kept.task == "multi_label",
            seed=seed,
        )
        answers.append(fold_predictions(kept, fold.name, fold.test, scores, sides[1].targets))
        chosen.append(found)
    return ProbeRun(benchmark=kept, answers=answers, chosen=chosen, failed=failed)


def extract_both_views(
    encoder: Encoder,
    benchmark: Benchmark,
    protocol: ProbeProtocol,
    modality: Modality,
    *,
    allow_missing: bool,
    seed: int,
    cache: Path | None,
    progress: ProgressCallback,
) -> tuple[Benchmark, tuple[FeatureArray, FeatureArray], tuple[str, ...]]:
    """Take the features of the views to train and to test on.

    Returns:
        The benchmark without the clips that could not be decoded; features `[clips, views, F]` of
        all its clips in views to train on, and in views to test on; and what could not be decoded.

    Raises:
        BenchmarkError: A clip cannot be decoded and `allow_missing` is not set.
        ValueError: The encoder or the protocol lacks the sense.
    """
    of_train, of_test = views_of(protocol, modality)

    def taken(views: VideoViews | AudioViews) -> Features:
        return extract(
            encoder, benchmark, views, output=protocol.output, seed=seed, cache=cache,
            progress=progress,
        )  # fmt: skip

    test = taken(of_test)
    train = test if of_train == of_test else taken(of_train)
    reasons = {**train.failed, **test.failed}
    failed = tuple(f"{benchmark.clips[row].key}: {reason}" for row, reason in reasons.items())
    if failed and not allow_missing:
        raise BenchmarkError(
            f"{len(failed)} clips cannot be decoded, the first {failed[0]}: mend them, or pass "
            "--allow-missing to go on without"
        )
    kept = without(benchmark, reasons)
    rows = [row for row in range(len(benchmark.clips)) if row not in reasons]
    return kept, (_rows_of(train, rows), _rows_of(test, rows)), failed


def _rows_of(features: Features, rows: Sequence[int]) -> FeatureArray:
    at = {row: index for index, row in enumerate(features.rows)}
    taken: FeatureArray = features.values[[at[row] for row in rows]]
    return taken


def _side(benchmark: Benchmark, values: FeatureArray, rows: tuple[int, ...]) -> Side:
    index = np.array(rows, np.int64)
    return Side(
        features=values[index],
        targets=benchmark.label_matrix()[index],
        groups=[benchmark.clips[row].group for row in rows],
    )


def fold_predictions(
    benchmark: Benchmark,
    name: str,
    rows: tuple[int, ...],
    scores: np.ndarray,
    targets: np.ndarray,
) -> FoldPredictions:
    """Answers with the names and sources of their clips."""
    root = f"{benchmark.root}/"
    return FoldPredictions(
        name=name,
        clips=[benchmark.clips[row].key.removeprefix(root) for row in rows],
        sources=[benchmark.clips[row].source for row in rows],
        scores=scores,
        targets=targets,
    )
