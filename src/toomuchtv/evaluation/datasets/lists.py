"""What all dataset readers share: `make_benchmark`, lists, tables, and an index of media files."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from toomuchtv.evaluation.benchmark import Benchmark, Fold, LabeledClip, Modality, Task
from toomuchtv.evaluation.errors import BenchmarkError

_VIDEO = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts")
_AUDIO = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff")
#: Suffixes of the files that a search through a folder regards as media.
MEDIA_SUFFIXES = frozenset((*_VIDEO, *_AUDIO))


def make_benchmark(
    name: str,
    root: Path,
    folds: Mapping[str, Mapping[str, Iterable[LabeledClip]]],
    *,
    classes: Iterable[str] | None = None,
    rows: Iterable[LabeledClip] = (),
    task: Task = "single_label",
    modalities: tuple[Modality, ...] = ("video", "audio"),
    notes: tuple[str, ...] = (),
    end_seconds: Mapping[str, float] | None = None,
) -> Benchmark:
    """Return a benchmark of the listed clips whose files exist, each once.

    Args:
        name: See `Benchmark`, also for the arguments that are not described here.
        root: See `Benchmark`.
        folds: For each fold, the clips to train on, to test on and, if official, to validate on,
            by the name of the attribute of `Fold`.
        classes: Names of the classes. None takes the labels of all listed clips.
        rows: Clips in the order of their rows. By default they have the order of `folds`.
        task: See `Benchmark`.
        modalities: See `Benchmark`.
        notes: See `Benchmark`.
        end_seconds: See `Benchmark`.
    """
    row_of: dict[str, int] = {}
    clips: list[LabeledClip] = []
    missing: dict[str, None] = {}
    labels: set[str] = set()

    def add(listed: Iterable[LabeledClip]) -> tuple[int, ...]:
        used: dict[int, None] = {}
        for clip in listed:
            labels.update(clip.labels)
            if clip.key not in row_of:
                if not clip.path.is_file():
                    missing[str(clip.path)] = None
                    continue
                row_of[clip.key] = len(clips)
                clips.append(clip)
            used[row_of[clip.key]] = None
        return tuple(used)

    add(rows)
    built = [
        Fold(name=fold, **{"train": (), **{side: add(listed) for side, listed in sides.items()}})
        for fold, sides in folds.items()
    ]
    return Benchmark(
        name=name,
        root=root,
        task=task,
        modalities=modalities,
        clips=tuple(clips),
        folds=tuple(built),
        classes=tuple(sorted(labels if classes is None else set(classes))),
        missing=tuple(missing),
        notes=notes,
        end_seconds=end_seconds or {},
    )


def cross_validation(
    listed: Sequence[tuple[str, LabeledClip]],
) -> dict[str, dict[str, list[LabeledClip]]]:
    """Return folds for `make_benchmark`: each one tests on its clips and trains on all others.

    Args:
        listed: Clips with the name of the fold in which they are tested.
    """
    names = {fold for fold, _ in listed}
    return {
        name: {
            "train": [clip for fold, clip in listed if fold != name],
            "test": [clip for fold, clip in listed if fold == name],
        }
        for name in sorted(names, key=lambda name: (int(name) if name.isdigit() else 0, name))
    }


def read_lines(path: Path, *, benchmark: str) -> list[str]:
    """Return the lines of a list, without empty ones.

    Raises:
        BenchmarkError: The file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchmarkError(_unreadable(path, benchmark, error)) from error
    return [line for line in lines if line.strip()]


def read_table(path: Path, columns: Sequence[str], *, benchmark: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header.

    Raises:
        BenchmarkError: The file cannot be read, has no row, or lacks one of the columns.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [{key: value or "" for key, value in row.items() if key} for row in reader]
            header = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BenchmarkError(_unreadable(path, benchmark, error)) from error
    lacking = [column for column in columns if column not in header]
    if lacking or not rows:
        raise BenchmarkError(
            f"{str(path)!r} must be a table with the columns {', '.join(columns)}"
            + (f"; it lacks {', '.join(lacking)}" if lacking else "; it has no row")
        )
    return rows


def _unreadable(path: Path, benchmark: str, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return f"there is no {benchmark} here: {str(path)!r} cannot be read ({reason})"


def media_index(*folders: Path) -> dict[str, Path]:
    """Return the path of every media file below the folders, by its name without the suffix."""
    index: dict[str, Path] = {}
    for folder in folders:
        if folder.is_dir():
            for path in sorted(folder.rglob("*")):
                if path.suffix.lower() in MEDIA_SUFFIXES:
                    index.setdefault(path.stem, path)
    return index


def first_folder(root: Path, names: Sequence[str], *, benchmark: str) -> Path:
    """Return the first of several folders that exists.

    Raises:
        BenchmarkError: None exists.
    """
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise BenchmarkError(
        f"there is no {benchmark} at {str(root)!r}: none of the folders {', '.join(names)} exists"
    )
