"""People's own labels: folders of files, or a table.

`folder`: `train/<class>/*` and `test/<class>/*` (and `val/<class>/*` to select on), or `<class>/*`
alone, which is then cut into five folds by a hash of each file's name.

`csv`: DATA is a table, or a folder with `labels.csv`: `path` (relative to the table), `label`
(several with `;` between them make it multi-label), and `split` (train, val, test) or `fold`;
optional `source` (what a clip was cut from), `start_seconds`, `stop_seconds`.
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
from toomuchtv.evaluation.datasets.tables import MEDIA_SUFFIXES, read_table
from toomuchtv.evaluation.errors import BenchmarkError

_NUM_FOLDS = 5
_SIDES = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


def read_folder(root: Path) -> Benchmark:
    """Read folders that are named after their files' class.

    Raises:
        BenchmarkError: There are fewer than two classes, or a test folder without a training one.
    """
    split = {name: root / name for name in _SIDES if (root / name).is_dir()}
    listed = ClipList()
    if not split:
        clips = _of_classes(root)
        listed.add_all(clips)
        folds = cross_validation_folds([str(_hash_fold(clip.path)) for clip in listed.clips])
        notes: tuple[str, ...] = (
            f"the folder has no train/ and test/: {_NUM_FOLDS} folds were made by a hash of the "
            "file names, which may put clips of one recording on both sides",
        )
    else:
        if not {"train", "test"} <= split.keys():
            raise BenchmarkError(f"{str(root)!r} must have both train/ and test/, or neither")
        sides = {side: listed.add_all(_of_classes(path)) for side, path in split.items()}
        by_role = {_SIDES[side]: rows for side, rows in sides.items()}
        folds, notes = (Fold(name="test", **by_role),), ()
    classes = {clip.labels[0] for clip in listed.clips}
    if len(classes) < 2:
        raise BenchmarkError(
            f"{str(root)!r} has {len(classes)} classes with media in them; expected folders "
            "<class>/ with files, or train/<class>/ and test/<class>/"
        )
    return Benchmark(
        name="folder", root=root, task="single_label", modalities=("video", "audio"),
        clips=tuple(listed.clips), folds=folds, classes=tuple(sorted(classes)), notes=notes,
    )  # fmt: skip


def _of_classes(folder: Path) -> list[LabeledClip]:
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
        BenchmarkError: Columns are missing, or a split or time makes no sense.
    """
    table = root if root.is_file() else root / "labels.csv"
    rows = read_table(table, ["path", "label"], what="table of labels")
    if not {"split", "fold"} & rows[0].keys():
        raise BenchmarkError(f"{str(table)!r} needs a column split (train, val, test) or fold")
    listed = ClipList()
    sides: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    groups = []
    for number, row in enumerate(rows, start=2):
        clip = _table_clip(table, row, number)
        taken = listed.add(clip)
        if taken is None:
            continue
        if "split" in row:
            if row["split"] not in _SIDES:
                raise BenchmarkError(
                    f"{str(table)!r}, line {number}: split must be one of {', '.join(_SIDES)}, "
                    f"got {row['split']!r}"
                )
            sides[_SIDES[row["split"]]].append(taken)
        else:
            groups.append(row["fold"])
    if groups:
        folds = cross_validation_folds(groups)
    else:
        folds = (
            Fold(name="test", **{side: tuple(dict.fromkeys(of)) for side, of in sides.items()}),
        )
    labels = [label for clip in listed.clips for label in clip.labels]
    several = any(len(clip.labels) != 1 for clip in listed.clips)
    return Benchmark(
        name="csv", root=root, task="multi_label" if several else "single_label",
        modalities=("video", "audio"), clips=tuple(listed.clips), folds=folds,
        classes=tuple(sorted(set(labels))), missing=listed.missing,
    )  # fmt: skip


def _table_clip(table: Path, row: dict[str, str], number: int) -> LabeledClip:
    path = table.parent / row["path"]
    source = row.get("source") or path.stem
    try:
        start = float(row.get("start_seconds") or 0.0)
        stop = float(row["stop_seconds"]) if row.get("stop_seconds") else None
    except ValueError as error:
        raise BenchmarkError(f"{str(table)!r}, line {number}: {error}") from error
    labels = tuple(label.strip() for label in row["label"].split(";") if label.strip())
    return LabeledClip(
        path=path,
        labels=labels,
        source=source,
        group=source,
        start_seconds=start,
        stop_seconds=stop,
    )
