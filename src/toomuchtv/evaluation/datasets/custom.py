"""Readers of the user's own labels: folders named after classes, or a table.

`folder`: `train/<class>/*` and `test/<class>/*`, optionally `val/<class>/*` for selection; or
`<class>/*` alone, which is split into five folds by a hash of the file names.

`csv`: a table, or a folder with `labels.csv`, with the columns `path` (relative to the table),
`label` (several labels separated by `;` make the task multi-label), and `split` (train, val, test)
or `fold`; optional are `source` (the recording that the clip was cut from), `start_seconds` and
`stop_seconds`.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

from toomuchtv.evaluation.benchmark import Benchmark, LabeledClip
from toomuchtv.evaluation.datasets.lists import (
    MEDIA_SUFFIXES,
    cross_validation,
    make_benchmark,
    read_table,
)
from toomuchtv.evaluation.errors import BenchmarkError

_NUM_FOLDS = 5
_FOLD_SIDES = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


def read_folder(root: Path) -> Benchmark:
    """Read folders whose names are the classes of their files.

    Raises:
        BenchmarkError: There are fewer than two classes, or only one of train/ and test/.
    """
    folders = {name: root / name for name in _FOLD_SIDES if (root / name).is_dir()}
    if folders and not {"train", "test"} <= folders.keys():
        raise BenchmarkError(f"{str(root)!r} must have both train/ and test/, or neither")
    if folders:
        sides = {_FOLD_SIDES[name]: _files_of_classes(path) for name, path in folders.items()}
        benchmark = make_benchmark("folder", root, {"test": sides})
    else:
        listed = _files_of_classes(root)
        folds = cross_validation([(_hash_fold(clip.path), clip) for clip in listed])
        note = (
            f"the folder has no train/ and test/: {_NUM_FOLDS} folds were made by a hash of the "
            "file names, which may separate clips of one recording"
        )
        benchmark = make_benchmark("folder", root, folds, rows=listed, notes=(note,))
    if len(benchmark.classes) < 2:
        raise BenchmarkError(
            f"{str(root)!r} must have at least two classes with media files, got "
            f"{len(benchmark.classes)}; expected folders <class>/ with files, or train/<class>/ "
            "and test/<class>/"
        )
    return benchmark


def _files_of_classes(folder: Path) -> list[LabeledClip]:
    return [
        LabeledClip(path=path, labels=(path.parent.name,), source=path.stem, group=path.stem)
        for path in sorted(folder.glob("*/*"))
        if path.suffix.lower() in MEDIA_SUFFIXES
    ]


def _hash_fold(path: Path) -> str:
    name = f"{path.parent.name}/{path.name}".encode()
    return str(int.from_bytes(hashlib.sha256(name).digest()[:8], "big") % _NUM_FOLDS + 1)


def read_csv(root: Path) -> Benchmark:
    """Read a table of labels.

    Raises:
        BenchmarkError: A column is missing, a split or an interval is invalid, or two rows label
            the same clip differently.
    """
    table = root if root.is_file() else root / "labels.csv"
    rows = read_table(table, ["path", "label"], benchmark="table of labels")
    column = "split" if "split" in rows[0] else "fold"
    if column not in rows[0]:
        raise BenchmarkError(f"{str(table)!r} needs a column split (train, val, test) or fold")
    listed: list[tuple[str, LabeledClip]] = []
    labels_of: dict[str, tuple[str, ...]] = {}
    for number, row in enumerate(rows, start=2):
        clip = _csv_clip(table, row, number)
        if column == "split" and row["split"] not in _FOLD_SIDES:
            raise BenchmarkError(
                f"{str(table)!r}, line {number}: split must be one of {', '.join(_FOLD_SIDES)}, "
                f"got {row['split']!r}"
            )
        is_first = clip.key not in labels_of
        if labels_of.setdefault(clip.key, clip.labels) != clip.labels:
            raise BenchmarkError(
                f"{str(table)!r}, line {number}: the clip {clip.key!r} has the label "
                f"{row['label']!r}, and others in an earlier line; write several labels in one "
                "line, separated by ;"
            )
        if column == "split" or is_first:  # a clip is in one fold only
            listed.append((row[column], clip))
    clips = [clip for _, clip in listed]
    if column == "fold":
        folds = cross_validation(listed)
    else:
        folds = {"test": {"train": [], "validation": [], "test": []}}
        for split, clip in listed:
            folds["test"][_FOLD_SIDES[split]].append(clip)
    return make_benchmark(
        "csv",
        root,
        folds,
        classes=(label for clip in clips if clip.path.is_file() for label in clip.labels),
        rows=clips,
        task="single_label" if all(len(clip.labels) == 1 for clip in clips) else "multi_label",
    )


def _csv_clip(table: Path, row: dict[str, str], number: int) -> LabeledClip:
    path = table.parent / row["path"]
    source = row.get("source") or path.stem
    try:
        start = float(row.get("start_seconds") or 0.0)
        stop = float(row["stop_seconds"]) if row.get("stop_seconds") else None
    except ValueError as error:
        raise BenchmarkError(f"{str(table)!r}, line {number}: {error}") from error
    if not 0.0 <= start < (start + 1 if stop is None else stop) < math.inf:
        raise BenchmarkError(
            f"{str(table)!r}, line {number}: start_seconds must be at least 0 and less than "
            f"stop_seconds, got {start} and {stop}"
        )
    labels = tuple(label.strip() for label in row["label"].split(";") if label.strip())
    return LabeledClip(
        path=path, labels=labels, source=source, group=source, start_seconds=start,
        stop_seconds=stop,
    )  # fmt: skip
