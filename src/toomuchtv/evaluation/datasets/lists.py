"""Helpers of dataset readers: lists and tables, an index of media files, and `make_benchmark`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from toomuchtv.evaluation.benchmark import Benchmark, ClipList, Fold, Modality, Task
from toomuchtv.evaluation.errors import BenchmarkError

_VIDEO = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts")
_AUDIO = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff")
#: Suffixes of the files that a search through a folder regards as media.
MEDIA_SUFFIXES = frozenset((*_VIDEO, *_AUDIO))


def make_benchmark(
    name: str,
    root: Path,
    clips: ClipList,
    folds: Sequence[Fold],
    classes: Iterable[str],
    *,
    task: Task = "single_label",
    modalities: tuple[Modality, ...] = ("video", "audio"),
    notes: tuple[str, ...] = (),
    end_seconds: Mapping[str, float] | None = None,
) -> Benchmark:
    """Return a benchmark of the clips that a reader collected, with sorted classes."""
    return Benchmark(
        name=name,
        root=root,
        task=task,
        modalities=modalities,
        clips=tuple(clips.clips),
        folds=tuple(folds),
        classes=tuple(sorted(set(classes))),
        missing=clips.missing,
        notes=notes,
        end_seconds=end_seconds or {},
    )


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
