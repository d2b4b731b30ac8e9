"""Readers of benchmarks whose clips were cut from YouTube: Kinetics, VGGSound, AudioSet.

Kinetics-400, -600, -700 (Kay et al., 2017; Carreira et al., 2018, 2019): either folders
`<split>/<class>/*`, or `<split>.csv` (also under `annotations/`) with label, youtube_id,
time_start, time_end, split, and files named `<id>_<start>_<end>` with six digits each. The
validation set is the test set.

VGGSound (Chen et al., ICASSP 2020): `vggsound.csv` without a header: id, start, label, train|test.

AudioSet (Gemmeke et al., ICASSP 2017): `balanced_train_segments.csv`, optionally
`unbalanced_train_segments.csv`, `eval_segments.csv` and `class_labels_indices.csv`.

Distributors name the files in several ways, and all of them are searched anywhere below the
folder: `<id>_<start>` in six digits, `<id>_<start ms>_<end ms>`, `<id>`, `Y<id>`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from toomuchtv.evaluation.benchmark import Benchmark, LabeledClip
from toomuchtv.evaluation.datasets.lists import (
    MEDIA_SUFFIXES,
    make_benchmark,
    media_index,
    read_lines,
    read_table,
)
from toomuchtv.evaluation.errors import BenchmarkError

_SPLIT_NAMES = {"train": ("train",), "test": ("val", "validate", "validation", "test")}
_START_AND_END = re.compile(r"_\d{6}_\d{6}$")
_CLIP_SECONDS = 10.0


def read_kinetics(root: Path) -> Benchmark:
    """Read Kinetics of any size, from its CSV files or, if there are none, from its folders.

    Raises:
        BenchmarkError: There are neither CSV files nor folders, or a row is malformed.
    """
    tables, folders = {}, {}
    for side, names in _SPLIT_NAMES.items():
        for name in reversed(names):  # the first name that exists wins
            for path in (root / "annotations" / f"{name}.csv", root / f"{name}.csv"):
                if path.is_file():
                    tables[side] = path
            if (root / name).is_dir():
                folders[side] = root / name
    if len(tables) == 2:
        index = media_index(root)
        sides = {side: _kinetics_rows(root / side, path, index) for side, path in tables.items()}
    elif len(folders) == 2:
        sides = {side: _kinetics_files(path) for side, path in folders.items()}
    else:
        raise BenchmarkError(
            f"there is no Kinetics at {str(root)!r}: there are neither train.csv and val.csv "
            "(here or in annotations/) nor folders train/<class>/ and val/<class>/"
        )
    return make_benchmark("kinetics", root, {"test": sides})


def _kinetics_rows(folder: Path, table: Path, index: dict[str, Path]) -> Iterator[LabeledClip]:
    columns = ["label", "youtube_id", "time_start", "time_end"]
    for row in read_table(table, columns, benchmark="Kinetics"):
        start, stop = (_seconds(row[key], table) for key in ("time_start", "time_end"))
        source = row["youtube_id"]
        name = f"{source}_{round(start):06d}_{round(stop):06d}"
        path = index.get(name, folder / f"{name}.mp4")
        yield LabeledClip(path=path, labels=(row["label"],), source=source, group=source)


def _kinetics_files(folder: Path) -> Iterator[LabeledClip]:
    for path in sorted(folder.glob("*/*")):
        if path.suffix.lower() in MEDIA_SUFFIXES:
            source = _START_AND_END.sub("", path.stem)
            yield LabeledClip(path=path, labels=(path.parent.name,), source=source, group=source)


def read_vggsound(root: Path, *, pairs: bool = False) -> Benchmark:
    """Read VGGSound for classification, or its test set for retrieval.

    Raises:
        BenchmarkError: vggsound.csv is missing or malformed.
    """
    path = root / "vggsound.csv"
    index = media_index(root)
    sides: dict[str, list[LabeledClip]] = {"train": [], "test": []}
    for row in csv.reader(read_lines(path, benchmark="VGGSound")):
        if len(row) != 4 or row[3] not in sides:
            raise BenchmarkError(f"{str(path)!r} has the row {row}; expected id,start,label,split")
        start = _seconds(row[1], path)
        sides[row[3]].append(_web_clip(root, index, row[0], start, (row[2],)))
    classes = {clip.labels[0] for listed in sides.values() for clip in listed}
    if pairs:
        folds = {"test": {"test": sides["test"]}}
        return make_benchmark("vggsound-pairs", root, folds, classes=classes, task="pairs")
    return make_benchmark(
        "vggsound", root, {"test": sides}, classes=classes, modalities=("audio", "video")
    )


def read_audioset(root: Path, *, pairs: bool = False) -> Benchmark:
    """Read AudioSet for classification, or its evaluation set for retrieval.

    The training set is the balanced one, and also the unbalanced one if its table exists.

    Raises:
        BenchmarkError: A table is missing or malformed.
    """
    path = root / "class_labels_indices.csv"
    table = read_table(path, ["mid", "display_name"], benchmark="AudioSet")
    names = {row["mid"]: row["display_name"] for row in table}
    index = media_index(root)

    def segments(file: str) -> list[LabeledClip]:
        return list(_audioset_segments(root, index, file, names))

    sides = {"test": segments("eval_segments.csv")}
    classes = names.values()
    if pairs:
        return make_benchmark(
            "audioset-pairs", root, {"test": sides}, classes=classes, task="pairs"
        )
    train = segments("balanced_train_segments.csv")
    if (root / "unbalanced_train_segments.csv").is_file():
        train += segments("unbalanced_train_segments.csv")
    return make_benchmark(
        "audioset", root, {"test": {"train": train, **sides}}, classes=classes,
        task="multi_label", modalities=("audio", "video"),
    )  # fmt: skip


def _audioset_segments(
    root: Path, index: dict[str, Path], file: str, names: dict[str, str]
) -> Iterator[LabeledClip]:
    path = root / file
    lines = [line for line in read_lines(path, benchmark="AudioSet") if not line.startswith("#")]
    for row in csv.reader(lines, skipinitialspace=True):
        mids = row[3].split(",") if len(row) == 4 else []
        if not mids or not set(mids) <= names.keys():
            raise BenchmarkError(
                f"{str(path)!r} has the row {row}; expected id, start, end and labels that are "
                "in class_labels_indices.csv"
            )
        labels = tuple(names[mid] for mid in mids)
        yield _web_clip(root, index, row[0], _seconds(row[1], path), labels)


def _web_clip(
    root: Path, index: dict[str, Path], video_id: str, start: float, labels: tuple[str, ...]
) -> LabeledClip:
    """Return a clip whose file has one of the names in use."""
    stop = start + _CLIP_SECONDS
    names = (
        f"{video_id}_{round(start):06d}",
        f"{video_id}_{round(start * 1000)}_{round(stop * 1000)}",
        f"{video_id}_{round(start):06d}_{round(stop):06d}",
        video_id,
        f"Y{video_id}",
    )
    path = next((index[name] for name in names if name in index), root / f"{names[0]}.mp4")
    return LabeledClip(path=path, labels=labels, source=video_id, group=video_id)


def _seconds(text: str, table: Path) -> float:
    """Return a time that a table states in seconds.

    Raises:
        BenchmarkError: It is not a number.
    """
    try:
        return float(text)
    except ValueError as error:
        raise BenchmarkError(f"{str(table)!r} has the time {text!r}; expected seconds") from error
