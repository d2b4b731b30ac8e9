"""Readers of the user's own labels: folders named after classes, or a table.

`folder`: `train/<class>/**` and `test/<class>/**`, optionally `val/<class>/**` for selection; or
`<class>/**` alone, which is split into five folds by a hash of the file names. Files may lie in
further folders below that of their class.

`csv`: a table, or a folder with `labels.csv`, with the columns `path` (relative to the table),
`label` (several labels separated by `;` make the task multi-label), and `split` (train, val, test)
or `fold`; optional are `source` (the recording that the clip was cut from), `start_seconds` and
`stop_seconds`. A table with the column `labels` instead of `label` is multi-label: the rows of one
clip add up, and a row without a label is a clip without a class.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from toomuchtv.evaluation.benchmark import Benchmark, LabeledClip, Modality, relative_name
from toomuchtv.evaluation.datasets.lists import (
    AUDIO_SUFFIXES,
    Listing,
    cross_validation,
    examples,
    is_sidecar,
    make_benchmark,
    media_below,
    unused_gap,
)
from toomuchtv.evaluation.datasets.tables import Problems, Row, RowError, parse_rows, read_table
from toomuchtv.evaluation.errors import BenchmarkError

_NUM_FOLDS = 5
_FOLD_SIDES = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
_COLUMNS = ("path", "label", "labels", "split", "fold", "source", "start_seconds", "stop_seconds")


def read_folder(root: Path) -> Benchmark:
    """Read folders whose names are the classes of their files.

    Raises:
        BenchmarkError: There are fewer than two classes, or only one of train/ and test/, or a
            class to test on has no file to train on.
    """
    if not root.is_dir():
        raise BenchmarkError(f"{str(root)!r} must be a folder of the folders of classes")
    folders = {name: root / name for name in _FOLD_SIDES if (root / name).is_dir()}
    if folders and not {"train", "test"} <= folders.keys():
        raise BenchmarkError(f"{str(root)!r} must have both train/ and test/, or neither")
    problems = Problems("folder")
    unused: list[Path] = []
    notes: list[str] = []
    if folders:
        listed = []
        for name, folder in folders.items():
            clips = _files_of_classes(folder, root, unused, notes)
            listed += [(_FOLD_SIDES[name], clip) for clip in clips]
        folds: dict[str, Listing] = {"test": listed}
        rows = [clip for _, clip in listed]
        for entry in sorted(root.iterdir()):
            if entry.name not in folders and not entry.name.startswith("."):
                unused += media_below(entry)[0] if entry.is_dir() else _media_file(entry)
    else:
        rows = _files_of_classes(root, root, unused, notes)
        hashed = [(_hash_fold(clip, root), clip) for clip in rows]
        folds, rows, _ = cross_validation(hashed, problems)
        notes.append(
            f"the folder has no train/ and test/: {_NUM_FOLDS} folds were made by a hash of the "
            "file names, which may separate clips of one recording"
        )
    gaps = unused_gap(unused, root)
    classes = {clip.labels[0] for clip in rows}
    if len(classes) < 2:
        raise BenchmarkError(
            f"{str(root)!r} must have at least two classes with media files, got {len(classes)}; "
            "expected folders <class>/ with files, or train/<class>/ and test/<class>/"
            + "".join(f"; {text}" for text in [*notes[:3], *gaps])
        )
    return make_benchmark(
        "folder", root, folds, problems, rows=rows, modalities=_modalities(rows), notes=notes,
        gaps=gaps,
    )  # fmt: skip


def _files_of_classes(
    folder: Path, root: Path, unused: list[Path], notes: list[str]
) -> list[LabeledClip]:
    """Return the files below the folders of classes, and collect those that are not used."""
    clips: list[LabeledClip] = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            unused += _media_file(entry)
            continue
        media, unknown = media_below(entry)
        unused += unknown
        if not media:
            notes.append(f"the folder {relative_name(entry, root)} has no media file")
        for path in media:
            name = relative_name(path, root)
            clips.append(
                LabeledClip(
                    path=path, labels=(entry.name,), source=name, group=name, listed_at=name
                )
            )
    return clips


def _media_file(path: Path) -> list[Path]:
    """Return a file that lies in no folder of a class, unless it is a text or a table."""
    return [] if is_sidecar(path) else [path]


def _hash_fold(clip: LabeledClip, root: Path) -> str:
    name = relative_name(clip.path, root).encode("utf-8", "surrogateescape")
    return str(int.from_bytes(hashlib.sha256(name).digest()[:8], "big") % _NUM_FOLDS + 1)


def _modalities(clips: Sequence[LabeledClip]) -> tuple[Modality, ...]:
    """Return the modalities that files with these suffixes can have."""
    if all(clip.path.suffix.lower() in AUDIO_SUFFIXES for clip in clips):
        return ("audio",)
    return ("video", "audio")


def read_csv(root: Path) -> Benchmark:
    """Read a table of labels.

    Raises:
        BenchmarkError: A column is missing, or rows are malformed or contradict each other.
    """
    table = root if root.is_file() else root / "labels.csv"
    problems = Problems("csv")
    rows = read_table(table, ["path"], problems, benchmark="table of labels")
    columns = rows[0].cells.keys()
    split, label = (
        _one_column(table, rows[0], "split", "fold"),
        _one_column(table, rows[0], "label", "labels"),
    )
    unknown = [column for column in columns if column and column not in _COLUMNS]
    notes = []
    if unknown:
        notes.append(f"the columns {examples(unknown)} of the table are not used")
    listed = parse_rows(rows, lambda row: _csv_clip(row, split, label), problems)
    if label == "labels":
        listed = _joined_labels(listed)
    clips = [clip for _, clip in listed]
    is_single = label == "label" and all(len(clip.labels) == 1 for clip in clips)
    if split == "fold":
        folds, clips, found = cross_validation(listed, problems)
        notes += found
    else:
        folds = {"test": listed}
    return make_benchmark(
        "csv", table.parent, folds, problems, rows=clips, modalities=_modalities(clips),
        task="single_label" if is_single else "multi_label", notes=notes,
    )  # fmt: skip


def _one_column(table: Path, row: Row, *names: str) -> str:
    """Return which of two columns a table has.

    Raises:
        BenchmarkError: It has none or both.
    """
    found = [name for name in names if name in row.cells]
    if len(found) != 1:
        raise BenchmarkError(
            f"{str(table)!r} needs a column {' or '.join(names)}, "
            + ("got both: rename one of them" if found else f"got {', '.join(row.cells)}")
        )
    return found[0]


def _csv_clip(row: Row, split: str, label: str) -> tuple[str, LabeledClip]:
    path = row.file("path", row.path.parent)
    side = row.text(split)
    if split == "split":
        side = _FOLD_SIDES[row.one_of(split, tuple(_FOLD_SIDES))]
    elif side.replace(".", "", 1).isdigit():
        side = str(row.whole_number(split))
    start = row.seconds("start_seconds") if row.optional("start_seconds") else 0.0
    stop = None
    if row.optional("stop_seconds"):
        stop = row.seconds("stop_seconds")
        if stop <= start:
            raise RowError(
                f"start_seconds must be less than stop_seconds, got {start:g} and {stop:g}"
            )
    labels = [one for one in map(str.strip, row.optional(label).split(";")) if one]
    if not labels and label == "label":
        raise RowError("the column label is blank")
    source = row.optional("source") or relative_name(path, row.path.parent)
    return side, LabeledClip(
        path=path,
        labels=tuple(dict.fromkeys(unicodedata.normalize("NFC", one) for one in labels)),
        source=source,
        group=source,
        start_seconds=start,
        stop_seconds=stop,
        listed_at=str(row),
    )


def _joined_labels(listed: Sequence[tuple[str, LabeledClip]]) -> list[tuple[str, LabeledClip]]:
    """Return one row per clip and side, with the labels of all of its rows."""
    groups: dict[tuple[str, str], list[LabeledClip]] = defaultdict(list)
    for side, clip in listed:
        groups[side, clip.key].append(clip)
    joined = []
    for (side, _), clips in groups.items():
        labels = tuple(dict.fromkeys(label for clip in clips for label in clip.labels))
        joined.append((side, replace(clips[0], labels=labels)))
    return joined
