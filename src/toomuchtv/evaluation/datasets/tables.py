"""Reading a benchmark's lists: text files and tables, and an index of the media beside them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from toomuchtv.evaluation.errors import BenchmarkError

_VIDEO = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts")
_AUDIO = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff")
#: Files that count as media where a folder is searched.
MEDIA_SUFFIXES = frozenset((*_VIDEO, *_AUDIO))


def read_lines(path: Path, *, what: str) -> list[str]:
    """Read the lines of a list, without the empty ones.

    Raises:
        BenchmarkError: It cannot be read; `what` says which benchmark wants it.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BenchmarkError(_unreadable(path, what, error)) from error
    return [line for line in lines if line.strip()]


def read_table(path: Path, columns: Sequence[str], *, what: str) -> list[dict[str, str]]:
    """Read a CSV table with a header.

    Raises:
        BenchmarkError: It cannot be read, or lacks one of `columns`.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [{key: value or "" for key, value in row.items() if key} for row in reader]
            header = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BenchmarkError(_unreadable(path, what, error)) from error
    lacking = [column for column in columns if column not in header]
    if lacking or not rows:
        raise BenchmarkError(
            f"{str(path)!r} must be a table with the columns {', '.join(columns)}"
            + (f"; it lacks {', '.join(lacking)}" if lacking else "; it has no row")
        )
    return rows


def _unreadable(path: Path, what: str, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return f"no {what} here: {str(path)!r} cannot be read ({reason})"


def media_index(folders: Iterable[Path]) -> dict[str, Path]:
    """Find every media file below some folders, by its name without the suffix."""
    found: dict[str, Path] = {}
    for folder in folders:
        if folder.is_dir():
            for path in sorted(folder.rglob("*")):
                if path.suffix.lower() in MEDIA_SUFFIXES:
                    found.setdefault(path.stem, path)
    return found


def first_folder(root: Path, names: Sequence[str], *, what: str) -> Path:
    """Find the first of some folders that is there.

    Raises:
        BenchmarkError: None is.
    """
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise BenchmarkError(
        f"no {what} at {str(root)!r}: none of the folders {', '.join(names)} is there"
    )
