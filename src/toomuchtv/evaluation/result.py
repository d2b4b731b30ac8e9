"""The result of an evaluation and the predictions it was computed from, and how both are stored."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from toomuchtv._internal.files import replacing, write_text
from toomuchtv.evaluation.benchmark import ScoreArray, TargetArray
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.evaluation.identity import ResultIdentity

_FORMAT = 3  # 3: results have an identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The scores of an encoder on a benchmark, with everything that is needed to interpret them.

    Attributes:
        identity: What was measured; see `ResultIdentity`.
        metrics: Scores by metric. `accuracy`, `map` and `mse` hold mean, std, folds and the 95%
            confidence interval. Retrieval has, for each direction, the scores and their intervals.
            There are no intervals if all clips are of one source.
        chance: Scores of guessing, nested like `metrics`.
        encoder: Name, pretraining and kind of weights of the encoder.
        data: Folder of the benchmark and the numbers of used, missing and unreadable clips.
        protocol_config: All settings of the protocol, its source and its departures from it.
        settings: Sentences on the views that the encoder saw and on the classifier.
        selection: How the hyperparameter was selected, and the selected value of each fold.
        per_class: Recall of each class over all folds, or its average precision for a multi-label
            task.
        classes: Names of the rows and columns of `confusion`.
        confusion: Number of clips by true class (rows) and predicted class (columns), in parts for
            clips whose highest score is tied and as a mean over drawn training sets. None for
            other tasks than single-label classification.
        leakage: How many clips of the benchmark were found in the pretraining catalog. None if no
            catalog was searched.
        notes: Remarks about the result, such as missing files.
        versions: Versions of the libraries.
        seconds: Duration of the evaluation.
        format: Format number of the stored result.
    """

    identity: ResultIdentity
    metrics: Mapping[str, Any]
    chance: Mapping[str, Any]
    encoder: Mapping[str, str] | None = None
    data: Mapping[str, Any] | None = None
    protocol_config: Mapping[str, Any] | None = None
    settings: Mapping[str, str] | None = None
    selection: Mapping[str, Any] | None = None
    per_class: Mapping[str, float] | None = None
    classes: Sequence[str] = ()
    confusion: Sequence[Sequence[float]] | None = None
    leakage: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] | None = None
    seconds: float = 0.0
    format: int = _FORMAT

    @property
    def benchmark(self) -> str:
        """Name of the benchmark."""
        return self.identity.benchmark

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return self.identity.protocol

    @property
    def modality(self) -> str | None:
        """`video`, `audio`, or None if both take part."""
        return self.identity.modality

    @property
    def untrained(self) -> bool:
        """True if the encoder had random weights."""
        return self.identity.untrained

    @property
    def primary(self) -> str | None:
        """Name of the main metric, or None for retrieval, which has several."""
        names = ("accuracy", "map", "mse")
        return next((name for name in names if name in self.metrics), None)

    @property
    def label(self) -> str:
        """Name of the result's folder."""
        return self.identity.label


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldPredictions:
    """Predictions for the test clips of one fold, by a classifier that was fitted once.

    Attributes:
        name: Name of the fold.
        draw: Number of the drawn training set, if a protocol draws several for each fold.
        clips: Key of each clip relative to the benchmark's folder, `[n]`.
        sources: Source of each clip, `[n]`.
        scores: Predicted scores `[n, K]`, or predicted values `[n, 1]` for a regression task.
        targets: Multi-hot targets, bool `[n, K]`, or true values, float32 `[n, 1]`.
    """

    name: str
    clips: Sequence[str]
    sources: Sequence[str]
    scores: ScoreArray
    targets: TargetArray | NDArray[np.float32]
    draw: int = 0

    @property
    def labels(self) -> TargetArray:
        """The targets of a classification task, bool `[n, K]`."""
        return self.targets.astype(np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRanks:
    """The outcome of each query of one ranking, such as all videos against all audio.

    Attributes:
        name: Where the scores of this ranking are in `Evaluation.metrics`: keys joined by "/".
        clips: Key of each query's clip, `[n]`.
        sources: Source of each query's clip, `[n]`.
        ranks: Rank of the query's own partner, from 1, float64 `[n]`.
        precision: Average precision of the targets of the query's class, float64 `[n]`, NaN where
            there is none; None if the clips have no classes.
    """

    name: str
    clips: Sequence[str]
    sources: Sequence[str]
    ranks: NDArray[np.float64]
    precision: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What the scores of a result were computed from: one of the two is empty."""

    folds: Sequence[FoldPredictions] = ()
    rankings: Sequence[QueryRanks] = ()


def save_evaluation(
    folder: str | os.PathLike[str], result: Evaluation, predictions: Predictions
) -> Path:
    """Write `result.json`, `predictions.json` and `predictions.safetensors`.

    Returns:
        The path of result.json.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, NDArray[Any]] = {}
    for number, fold in enumerate(predictions.folds):
        tensors[f"scores/{number}"] = np.ascontiguousarray(fold.scores, np.float32)
        stored = np.uint8 if fold.targets.dtype == np.bool_ else np.float32
        tensors[f"targets/{number}"] = np.ascontiguousarray(fold.targets, stored)
    for number, ranking in enumerate(predictions.rankings):
        tensors[f"ranks/{number}"] = np.ascontiguousarray(ranking.ranks)
        if ranking.precision is not None:
            tensors[f"precision/{number}"] = np.ascontiguousarray(ranking.precision)
    with replacing(folder / "predictions.safetensors") as partial:
        save_file(tensors, partial)
    listed = {
        "folds": [
            {
                "name": fold.name, "draw": fold.draw,
                "clips": list(fold.clips), "sources": list(fold.sources),
            }
            for fold in predictions.folds
        ],
        "rankings": [
            {"name": one.name, "clips": list(one.clips), "sources": list(one.sources)}
            for one in predictions.rankings
        ],
    }  # fmt: skip
    write_text(folder / "predictions.json", json.dumps(listed, indent=1) + "\n")
    path = folder / "result.json"
    write_text(path, json.dumps(asdict(result), indent=1, default=str) + "\n")
    return path


def load_evaluation(path: str | os.PathLike[str]) -> Evaluation:
    """Read a result from its folder or from its result.json.

    Raises:
        BenchmarkError: There is no readable result.
    """
    path = Path(path)
    path = path if path.suffix == ".json" else path / "result.json"
    try:
        values = json.loads(path.read_text("utf-8"))
        if values.get("format") != _FORMAT:
            raise BenchmarkError(
                f"{str(path)!r} was written by another version (format {values.get('format')}, "
                f"this one reads {_FORMAT}): delete its folder and evaluate again"
            )
        known = {field.name for field in fields(Evaluation)}
        values = {key: value for key, value in values.items() if key in known}
        identity = ResultIdentity(**values.pop("identity"))
        return Evaluation(
            **{**values, "identity": identity, "notes": tuple(values.get("notes", ()))}
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BenchmarkError(f"no result at {str(path)!r}: {error}") from error


def load_predictions(path: str | os.PathLike[str]) -> Predictions:
    """Read the predictions that are stored beside a result.

    Raises:
        BenchmarkError: There are no readable predictions.
    """
    path = Path(path)
    folder = path.parent if path.suffix == ".json" else path
    try:
        listed = json.loads((folder / "predictions.json").read_text("utf-8"))
        tensors = load_file(folder / "predictions.safetensors")
        return Predictions(
            folds=[
                FoldPredictions(
                    **fold,
                    scores=tensors[f"scores/{number}"],
                    targets=_restored_targets(tensors[f"targets/{number}"]),
                )
                for number, fold in enumerate(listed["folds"])
            ],
            rankings=[
                QueryRanks(
                    **one,
                    ranks=tensors[f"ranks/{number}"],
                    precision=tensors.get(f"precision/{number}"),
                )
                for number, one in enumerate(listed["rankings"])
            ],
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise BenchmarkError(
            f"no predictions beside the result in {str(folder)!r}: {error}. Evaluate again"
        ) from error


def _restored_targets(stored: NDArray[Any]) -> TargetArray | NDArray[np.float32]:
    return stored.astype(np.bool_) if stored.dtype == np.uint8 else stored.astype(np.float32)


def is_run(path: str | os.PathLike[str]) -> bool:
    """Return whether a folder is a run, whose results are in its folder `evaluations`."""
    return not is_result(path) and (Path(path) / "evaluations").is_dir()


def is_result(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is the folder of one result, or its result.json."""
    path = Path(path)
    return path.suffix == ".json" or (path / "result.json").is_file()


def find_results(path: str | os.PathLike[str]) -> list[tuple[Path, Evaluation]]:
    """Return the results of a run, the results in a folder, or the one result that `path` is.

    Raises:
        BenchmarkError: There is no result, or one of them cannot be read.
    """
    path = Path(path)
    if is_result(path):
        return [(path, load_evaluation(path))]
    for folder in (path / "evaluations", path):
        found = sorted(folder.glob("*/result.json"))
        if found:
            return [(file.parent, load_evaluation(file)) for file in found]
    raise BenchmarkError(
        f"no result in {str(path)!r}: give a run that `toomuchtv evaluate` was called on, a folder "
        "of results, or the folder of one result"
    )
