"""A score that says what it means, and the answers it was made from, kept beside each other."""

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

from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.evaluation.metrics import ScoreArray, TargetArray

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A score that says what it means.

    Attributes:
        benchmark: Its name.
        protocol: The protocol's name.
        modality: `video`, `audio`, or None where both take part.
        metrics: Figures; `accuracy`, `map` and `mse` hold mean, std, folds and a 95% interval.
        chance: What guessing gives, nested as `metrics`.
        untrained: Whether the weights were fresh.
        encoder: Its name, fingerprint, and what it was pretrained on.
        data: Where the benchmark lay, how many clips were used, how many files were missing.
        protocol_config: The protocol in full: source, departures, views, selection.
        selection: How the free number was chosen, and what was chosen in each fold.
        per_class: Recall of each class over all folds; average precision if multi-label.
        classes: Rows and columns of `confusion`.
        confusion: Clips of each true class (rows) by the class they were given; None if
            multi-label.
        leakage: How much of the benchmark was found in the pretraining catalog; None: not looked
            for.
        notes: Reservations, such as missing files.
        versions: Of the libraries that it was made with.
        seconds: How long it took.
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
        """The metric that counts, if it is one number."""
        names = ("accuracy", "map", "mse")
        return next((name for name in names if name in self.metrics), None)

    @property
    def label(self) -> str:
        """A name for its folder: benchmark, protocol, sense, fresh weights."""
        parts = [self.benchmark, self.protocol, self.modality or "", "untrained" * self.untrained]
        return "-".join(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldPredictions:
    """What a classifier answered to one fold's test clips.

    Attributes:
        name: The fold's.
        clips: Name of each clip, `[n]`.
        sources: What each was cut from, `[n]`.
        scores: `[n, K]`.
        targets: `[n, K]`: bool; of a benchmark of numbers the numbers, float32 `[n, 1]`.
    """

    name: str
    clips: Sequence[str]
    sources: Sequence[str]
    scores: ScoreArray
    targets: TargetArray | NDArray[np.float32]


def save_evaluation(folder: Path, result: Evaluation, answers: Sequence[FoldPredictions]) -> Path:
    """Write `result.json`, and of a classifier `answers.json` and `answers.safetensors`.

    Returns:
        The path of result.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if answers:
        tensors = {}
        for number, fold in enumerate(answers):
            tensors[f"scores/{number}"] = np.ascontiguousarray(fold.scores, np.float32)
            stored = np.uint8 if fold.targets.dtype == np.bool_ else np.float32
            tensors[f"targets/{number}"] = np.ascontiguousarray(fold.targets, stored)
        partial = folder / "answers.partial"
        save_file(tensors, partial)
        os.replace(partial, folder / "answers.safetensors")
        listed = [
            {"name": fold.name, "clips": list(fold.clips), "sources": list(fold.sources)}
            for fold in answers
        ]
        _write_json(folder / "answers.json", {"folds": listed})
    path = folder / "result.json"
    _write_json(path, asdict(result))
    return path


def _write_json(path: Path, content: Any) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")
    os.replace(partial, path)


def load_evaluation(folder: Path) -> Evaluation:
    """Read a result's folder or its result.json.

    Raises:
        BenchmarkError: It is none.
    """
    path = folder if folder.suffix == ".json" else folder / "result.json"
    try:
        values = json.loads(path.read_text("utf-8"))
        known = {field.name for field in fields(Evaluation)}
        values = {key: value for key, value in values.items() if key in known}
        return Evaluation(**{**values, "notes": tuple(values.get("notes", ()))})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BenchmarkError(f"no result at {str(path)!r}: {error}") from error


def load_predictions(folder: Path) -> list[FoldPredictions]:
    """Read the answers beside a result.

    Raises:
        BenchmarkError: There are none.
    """
    folder = folder.parent if folder.suffix == ".json" else folder
    try:
        listed = json.loads((folder / "answers.json").read_text("utf-8"))["folds"]
        tensors = load_file(folder / "answers.safetensors")
        return [
            FoldPredictions(
                name=fold["name"],
                clips=fold["clips"],
                sources=fold["sources"],
                scores=tensors[f"scores/{number}"],
                targets=_as_targets(tensors[f"targets/{number}"]),
            )
            for number, fold in enumerate(listed)
        ]
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise BenchmarkError(f"no answers beside the result in {str(folder)!r}: {error}") from error


def _as_targets(stored: NDArray[Any]) -> TargetArray | NDArray[np.float32]:
    return stored.astype(np.bool_) if stored.dtype == np.uint8 else stored.astype(np.float32)
