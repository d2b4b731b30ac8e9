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
from pathlib import Path

from toomuchtv.evaluation.benchmark import (
    Benchmark,
    ClipList,
    Fold,
    LabeledClip,
    cross_validation_folds,
)
from toomuchtv.evaluation.datasets.lists import MEDIA_SUFFIXES, make_benchmark, read_table
from toomuchtv.evaluation.errors import BenchmarkError

_NUM_FOLDS = 5
_FOLD_SIDES = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


def read_folder(root: Path) -> Benchmark:
    """Read folders whose names are the classes of their files.

    Raises:
        BenchmarkError: There are fewer than two classes, or only one of train/ and test/.
    """
    folders = {name: root / name for name in _FOLD_SIDES if (root / name).is_dir()}
    clips = ClipList()
    notes: tuple[str, ...] = ()
    if folders:
        if not {"train", "test"} <= folders.keys():
            raise BenchmarkError(f"{str(root)!r} must have both train/ and test/, or neither")
        sides = {
            _FOLD_SIDES[name]: clips.add_all(_files_of_classes(path))
            for name, path in folders.items()
        }
        folds: tuple[Fold, ...] = (Fold(name="test", **sides),)
    else:
        clips.add_all(_files_of_classes(root))
        folds = cross_validation_folds([str(_hash_fold(clip.path)) for clip in clips.clips])
        notes = (
            f"the folder has no train/ and test/: {_NUM_FOLDS} folds were made by a hash of the "
            "file names, which may separate clips of one recording",
        )
    classes = {clip.labels[0] for clip in clips.clips}
    if len(classes) < 2:
        raise BenchmarkError(
            f"{str(root)!r} has {len(classes)} classes with media files; expected folders <class>/ "
            "with files, or train/<class>/ and test/<class>/"
        )
    return make_benchmark("folder", root, clips, folds, classes, notes=notes)


def _files_of_classes(folder: Path) -> list[LabeledClip]:
    return [
        LabeledClip(path=path, labels=(path.parent.name,), source=path.stem, group=path.stem)
        for path in sorted(folder.glob("*/*"))
        if path.suffix.lower() in MEDIA_SUFFIXES
    ]


def _hash_fold(path: Path) -> int:
    name = f"{path.parent.name}/{path.name}".encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "big") % _NUM_FOLDS + 1


def read_csv(root: Path) -> Benchmark:
    """Read a table of labels.

    Raises:
        BenchmarkError: A column is missing, or a split or a time is invalid.
    """
    table = root if root.is_file() else root / "labels.csv"
    rows = read_table(table, ["path", "label"], benchmark="table of labels")
    if not {"split", "fold"} & rows[0].keys():
        raise BenchmarkError(f"{str(table)!r} needs a column split (train, val, test) or fold")
    clips = ClipList()
    sides: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    groups = []
    for number, row in enumerate(rows, start=2):
        clip_row = clips.add(_csv_clip(table, row, number))
        if clip_row is None:
            continue
        if "split" not in row:
            groups.append(row["fold"])
        elif row["split"] in _FOLD_SIDES:
            sides[_FOLD_SIDES[row["split"]]].append(clip_row)
        else:
            raise BenchmarkError(
                f"{str(table)!r}, line {number}: split must be one of {', '.join(_FOLD_SIDES)}, "
                f"got {row['split']!r}"
            )
    folds = cross_validation_folds(groups)
    if not groups:
        unique = {side: tuple(dict.fromkeys(listed)) for side, listed in sides.items()}
        folds = (Fold(name="test", **unique),)
    is_multi_label = any(len(clip.labels) != 1 for clip in clips.clips)
    return make_benchmark(
        "csv", root, clips, folds, (label for clip in clips.clips for label in clip.labels),
        task="multi_label" if is_multi_label else "single_label",
    )  # fmt: skip


def _csv_clip(table: Path, row: dict[str, str], number: int) -> LabeledClip:
    path = table.parent / row["path"]
    source = row.get("source") or path.stem
    try:
        start = float(row.get("start_seconds") or 0.0)
        stop = float(row["stop_seconds"]) if row.get("stop_seconds") else None
    except ValueError as error:
        raise BenchmarkError(f"{str(table)!r}, line {number}: {error}") from error
    labels = tuple(label.strip() for label in row["label"].split(";") if label.strip())
    return LabeledClip(
        path=path, labels=labels, source=source, group=source, start_seconds=start,
        stop_seconds=stop,
    )  # fmt: skip
