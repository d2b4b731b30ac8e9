"""What a benchmark is: labeled clips, and the folds in which they are trained and tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Modality = Literal["video", "audio"]
Task = Literal["single_label", "multi_label", "regression", "pairs"]

FeatureArray = NDArray[np.float32]
RowArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledClip:
    """One labeled stretch of a file.

    Attributes:
        path: The file.
        labels: Its classes: one, or any number in a multi-label benchmark.
        source: What it was recorded or cut from. Clips of one source are no independent evidence:
            confidence intervals draw sources, not clips.
        group: What selection inside the training set must not tear apart: the source, or a fold.
        start_seconds: Where it starts in the file.
        stop_seconds: Where it ends; None is the file's end.
        value: The number to be told, in a benchmark of numbers; of a clip that stands for a
            boundary inside a film, when that is, in seconds.
    """

    path: Path
    labels: tuple[str, ...]
    source: str
    group: str
    start_seconds: float = 0.0
    stop_seconds: float | None = None
    value: float | None = None

    @property
    def key(self) -> str:
        """What tells it from every other clip of its benchmark."""
        stop = "" if self.stop_seconds is None else f"{self.stop_seconds:g}"
        cut = f"#{self.start_seconds:g}-{stop}" if self.start_seconds or stop else ""
        return f"{self.path}{cut}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Rows of a benchmark's clips: to train on, to test on, and to select on if such are given."""

    name: str
    train: tuple[int, ...]
    test: tuple[int, ...]
    validation: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """Labeled clips and their official folds or splits.

    Attributes:
        name: As on the command line.
        root: Its folder.
        task: `single_label` (accuracy), `multi_label` (mean average precision), `regression` (mean
            squared error of the clips' values), or `pairs` (retrieval between video and audio; the
            labels say what counts as the same class).
        modalities: What its files have, and what it is usually scored on first.
        clips: Every clip that a fold names, once.
        folds: Trained and tested on one after the other; a score is their mean.
        classes: All classes, sorted; chance and columns of a confusion matrix.
        missing: Names of files that its lists name and that are not there.
        notes: Reservations about the layout, such as folds of our own making.
        ends: Where the clips are boundaries inside films: when each source ends, in seconds.
    """

    name: str
    root: Path
    task: Task
    modalities: tuple[Modality, ...]
    clips: tuple[LabeledClip, ...]
    folds: tuple[Fold, ...]
    classes: tuple[str, ...]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    ends: Mapping[str, float] = field(default_factory=dict)

    def keep(self, rows: Sequence[int]) -> Benchmark:
        """Keep some clips, in their order; classes and folds stay, folds lose what is dropped."""
        new_row = {old: new for new, old in enumerate(rows)}

        def kept(of_fold: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(new_row[row] for row in of_fold if row in new_row)

        folds = [
            replace(
                fold,
                train=kept(fold.train),
                test=kept(fold.test),
                validation=kept(fold.validation),
            )
            for fold in self.folds
        ]
        return replace(self, clips=tuple(self.clips[row] for row in rows), folds=tuple(folds))

    def label_matrix(self) -> NDArray[np.bool_]:
        """Which clip has which class: `[clips, classes]`."""
        column = {name: index for index, name in enumerate(self.classes)}
        matrix = np.zeros((len(self.clips), len(self.classes)), np.bool_)
        for row, clip in enumerate(self.clips):
            for label in clip.labels:
                matrix[row, column[label]] = True
        return matrix


class ListedClips:
    """Gathers clips and folds while a layout's lists are read; each clip is kept once."""

    def __init__(self) -> None:
        self._row_of: dict[str, int] = {}
        self.clips: list[LabeledClip] = []
        self.missing: list[str] = []

    def add(self, clip: LabeledClip) -> int | None:
        """Take a clip; its row, or None where its file is not there."""
        row = self._row_of.get(clip.key)
        if row is not None:
            return row
        if not clip.path.is_file():
            self.missing.append(str(clip.path))
            return None
        self._row_of[clip.key] = len(self.clips)
        self.clips.append(clip)
        return len(self.clips) - 1

    def add_all(self, clips: Sequence[LabeledClip]) -> tuple[int, ...]:
        """Take clips; the rows of those whose files are there, each once, in order."""
        rows = (self.add(clip) for clip in clips)
        return tuple(dict.fromkeys(row for row in rows if row is not None))


def cross_validation_folds(groups: Sequence[str]) -> tuple[Fold, ...]:
    """Test on each group in turn, train on all others; `groups` names each clip's."""
    return tuple(
        Fold(
            name=name,
            train=tuple(row for row, group in enumerate(groups) if group != name),
            test=tuple(row for row, group in enumerate(groups) if group == name),
        )
        for name in sorted(set(groups), key=_by_number)
    )


def _by_number(name: str) -> tuple[int, str]:
    return (int(name) if name.isdigit() else 0, name)
