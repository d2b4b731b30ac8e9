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

from toomuchtv.evaluation.benchmark import ScoreArray, TargetArray
from toomuchtv.evaluation.errors import BenchmarkError

_FORMAT = 2  # 2: predictions are stored in predictions.*, before they were stored in answers.*


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The scores of an encoder on a benchmark, with everything that is needed to interpret them.

    Attributes:
        benchmark: Name of the benchmark.
        protocol: Name of the protocol.
        modality: `video`, `audio`, or None if both take part.
        metrics: Scores by metric. `accuracy`, `map` and `mse` hold mean, std, folds and the 95%
            confidence interval.
        chance: Scores of guessing, nested like `metrics`.
        untrained: True if the encoder had random weights.
        encoder: Name, fingerprint and pretraining of the encoder.
        data: Folder of the benchmark and the numbers of used, missing and unreadable clips.
        protocol_config: All settings of the protocol, its source and its departures from it.
        selection: How the hyperparameter was selected, and the selected value of each fold.
        per_class: Recall of each class over all folds, or its average precision for a multi-label
            task.
        classes: Names of the rows and columns of `confusion`.
        confusion: Number of clips by true class (rows) and predicted class (columns). None for
            other tasks than single-label classification.
        leakage: How many clips of the benchmark were found in the pretraining catalog. None if no
            catalog was searched.
        notes: Remarks about the result, such as missing files.
        versions: Versions of the libraries.
        seconds: Duration of the evaluation.
        format: Format number of the stored result.
    """

    benchmark: str
    protocol: str
    metrics: Mapping[str, Any]
    chance: Mapping[str, Any]
    untrained: bool
    modality: str | None = None
    encoder: Mapping[str, str] | None = None
    data: Mapping[str, Any] | None = None
    protocol_config: Mapping[str, Any] | None = None
    selection: Mapping[str, Any] | None = None
    per_class: Mapping[str, float] | None = None
    classes: Sequence[str] = ()
    confusion: Sequence[Sequence[int]] | None = None
    leakage: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] | None = None
    seconds: float = 0.0
    format: int = _FORMAT

    @property
    def primary(self) -> str | None:
        """Name of the main metric, or None for retrieval, which has several."""
        names = ("accuracy", "map", "mse")
        return next((name for name in names if name in self.metrics), None)

    @property
    def label(self) -> str:
        """Name of the result's folder."""
        parts = [self.benchmark, self.protocol, self.modality or "", "untrained" * self.untrained]
        return "-".join(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldPredictions:
    """Predictions for the test clips of one fold.

    Attributes:
        name: Name of the fold.
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

    @property
    def labels(self) -> TargetArray:
        """The targets of a classification task, bool `[n, K]`."""
        return self.targets.astype(np.bool_)


def save_evaluation(
    folder: str | os.PathLike[str], result: Evaluation, predictions: Sequence[FoldPredictions]
) -> Path:
    """Write `result.json` and, if there are predictions, `predictions.json` and `.safetensors`.

    Returns:
        The path of result.json.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if predictions:
        tensors = {}
        for number, fold in enumerate(predictions):
            tensors[f"scores/{number}"] = np.ascontiguousarray(fold.scores, np.float32)
            stored = np.uint8 if fold.targets.dtype == np.bool_ else np.float32
            tensors[f"targets/{number}"] = np.ascontiguousarray(fold.targets, stored)
        partial = folder / "predictions.partial"
        save_file(tensors, partial)
        os.replace(partial, folder / "predictions.safetensors")
        listed = [
            {"name": fold.name, "clips": list(fold.clips), "sources": list(fold.sources)}
            for fold in predictions
        ]
        _write_json(folder / "predictions.json", {"folds": listed})
    path = folder / "result.json"
    _write_json(path, asdict(result))
    return path


def _write_json(path: Path, content: Any) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")
    os.replace(partial, path)


def load_evaluation(path: str | os.PathLike[str]) -> Evaluation:
    """Read a result from its folder or from its result.json.

    Raises:
        BenchmarkError: There is no readable result.
    """
    path = Path(path)
    path = path if path.suffix == ".json" else path / "result.json"
    try:
        values = json.loads(path.read_text("utf-8"))
        known = {field.name for field in fields(Evaluation)}
        values = {key: value for key, value in values.items() if key in known}
        return Evaluation(**{**values, "notes": tuple(values.get("notes", ()))})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BenchmarkError(f"no result at {str(path)!r}: {error}") from error


def load_predictions(path: str | os.PathLike[str]) -> list[FoldPredictions]:
    """Read the predictions that are stored beside a result.

    Raises:
        BenchmarkError: There are no readable predictions.
    """
    path = Path(path)
    folder = path.parent if path.suffix == ".json" else path
    try:
        listed = json.loads((folder / "predictions.json").read_text("utf-8"))["folds"]
        tensors = load_file(folder / "predictions.safetensors")
        return [
            FoldPredictions(
                name=fold["name"],
                clips=fold["clips"],
                sources=fold["sources"],
                scores=tensors[f"scores/{number}"],
                targets=_restored_targets(tensors[f"targets/{number}"]),
            )
            for number, fold in enumerate(listed)
        ]
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise BenchmarkError(
            f"no predictions beside the result in {str(folder)!r}: {error}. Evaluate again if the "
            "result is from an earlier version"
        ) from error


def _restored_targets(stored: NDArray[Any]) -> TargetArray | NDArray[np.float32]:
    return stored.astype(np.bool_) if stored.dtype == np.uint8 else stored.astype(np.float32)


def find_results(path: str | os.PathLike[str]) -> list[tuple[Path, Evaluation]]:
    """Return the results of a run, the results in a folder, or the one result that `path` is.

    Raises:
        BenchmarkError: There is no result.
    """
    path = Path(path)
    if path.suffix == ".json" or (path / "result.json").is_file():
        return [(path, load_evaluation(path))]
    for folder in (path / "evaluations", path):
        found = sorted(folder.glob("*/result.json"))
        if found:
            return [(file.parent, load_evaluation(file)) for file in found]
    raise BenchmarkError(
        f"no result in {str(path)!r}: give a run that `toomuchtv evaluate` was called on, a folder "
        "of results, or the folder of one result"
    )
