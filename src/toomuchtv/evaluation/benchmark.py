"""A benchmark as data: its labeled clips, and the folds in which they are used."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Modality = Literal["video", "audio"]
Task = Literal["single_label", "multi_label", "regression", "pairs"]

FeatureArray = NDArray[np.float32]
ScoreArray = NDArray[np.float32]
TargetArray = NDArray[np.bool_]


def relative_name(path: Path, root: Path) -> str:
    """Return a file's path relative to a folder, so that results do not hold absolute paths.

    A file outside of the folder is named by a hash of its folder and its own name.
    """
    relative = os.path.relpath(path, root)
    if relative.startswith(".."):
        folder = hashlib.sha256(os.path.abspath(path.parent).encode("utf-8", "surrogateescape"))
        return f"outside-{folder.hexdigest()[:12]}/{path.name}"
    return relative


def shareable_name(folder: str | os.PathLike[str]) -> str:
    """Return the name of a folder without its place; `~` for the home, which has a user's name."""
    path = Path(os.path.abspath(folder))
    return "~" if path == Path.home() else path.name


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledClip:
    """A labeled interval of a media file.

    Attributes:
        path: The media file.
        labels: Names of its classes: exactly one for a single-label task, any number for a
            multi-label task.
        source: The video or recording that the clip was cut from. Clips of one source are not
            independent, so confidence intervals resample sources and not clips.
        group: Clips of one group are never separated when the training set is split for model
            selection. It is the source, or an official fold.
        start_seconds: Start of the clip in the file, in seconds.
        stop_seconds: End of the clip in the file, in seconds. None means the end of the file.
        value: The regression target. For a scene boundary it is the time of the boundary in
            seconds.
        listed_at: The file and the line that list the clip, for messages.
        other_paths: Files with the same name in other folders or formats. The first file that has
            the evaluated modality is used.
        may_be_cut: The file may hold the interval alone instead of the whole video.
    """

    path: Path
    labels: tuple[str, ...]
    source: str
    group: str
    start_seconds: float = 0.0
    stop_seconds: float | None = None
    value: float | None = None
    listed_at: str = ""
    other_paths: tuple[Path, ...] = ()
    may_be_cut: bool = False

    @property
    def key(self) -> str:
        """A string that identifies the clip within its benchmark."""
        stop = "" if self.stop_seconds is None else f"{self.stop_seconds:g}"
        interval = f"#{self.start_seconds:g}-{stop}" if self.start_seconds or stop else ""
        return f"{self.path}{interval}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Row numbers of the clips to train on, to test on and, if official, to validate on."""

    name: str
    train: tuple[int, ...]
    test: tuple[int, ...]
    validation: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """Labeled clips with their official folds or splits.

    Attributes:
        name: Name of the benchmark on the command line.
        root: Folder that it was read from.
        task: `single_label` is scored by accuracy, `multi_label` by mean average precision,
            `regression` by the mean squared error of the clips' values, and `pairs` by retrieval
            between video and audio, where the labels define the classes.
        modalities: Modalities of the files. The first one is evaluated by default.
        clips: All clips that any fold uses, each once.
        folds: Folds; the score is the mean over them.
        classes: Sorted names of all classes. They are the columns of scores and targets.
        missing: Files that the lists name and that do not exist, relative to the root.
        notes: Remarks that every result on this benchmark must repeat.
        gaps: What the lists lack of the official benchmark, and files that are not used. A result
            repeats them and is not complete.
        end_seconds: For benchmarks of scene boundaries, the duration of each source in seconds.
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
    gaps: tuple[str, ...] = ()
    end_seconds: Mapping[str, float] = field(default_factory=dict)

    def keep(self, rows: Sequence[int]) -> Benchmark:
        """Return the benchmark with only these clips, in this order; classes stay unchanged."""
        new_row = {old: new for new, old in enumerate(rows)}

        def kept(old_rows: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(new_row[row] for row in old_rows if row in new_row)

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

    def relative_key(self, row: int) -> str:
        """Return the key of a clip relative to the root, so that the folder can be moved."""
        clip = self.clips[row]
        return clip.key.replace(str(clip.path), relative_name(clip.path, self.root), 1)

    def without_paths(self, text: str, row: int | None = None) -> str:
        """Return a message without the place of the benchmark's folder, which nobody may share.

        Args:
            text: The message.
            row: Row of the clip that it is about.
        """
        if row is not None:
            path = self.clips[row].path
            # Some readers name the absolute path, which contains a relative one.
            for name in (os.path.abspath(path), str(path)):
                text = text.replace(name, relative_name(path, self.root))
        for root in sorted({str(self.root), os.path.abspath(self.root)}, key=len, reverse=True):
            if root not in (".", "/"):
                text = text.replace(f"{root}/", "").replace(root, shareable_name(self.root))
        return text

    def label_matrix(self) -> TargetArray:
        """Return the multi-hot labels of all clips, bool `[clips, classes]`."""
        column = {name: index for index, name in enumerate(self.classes)}
        matrix = np.zeros((len(self.clips), len(self.classes)), np.bool_)
        for row, clip in enumerate(self.clips):
            for label in clip.labels:
                matrix[row, column[label]] = True
        return matrix
