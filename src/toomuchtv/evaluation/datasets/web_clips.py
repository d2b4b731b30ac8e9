"""Benchmarks cut from YouTube: Kinetics, VGGSound, AudioSet. Many of their files are gone by now.

Kinetics-400, -600, -700 (Kay et al., 2017; Carreira et al., 2018, 2019): either folders
`<split>/<class>/*`, or `<split>.csv` (also under `annotations/`) with label, youtube_id,
time_start, time_end, split beside files named `<id>_<start>_<end>` in six digits each. Train
against val.

VGGSound (Chen et al., ICASSP 2020): `vggsound.csv` without a header: id, start, label, train|test.

AudioSet (Gemmeke et al., ICASSP 2017): `balanced_train_segments.csv`,
`unbalanced_train_segments.csv` where it is there, `eval_segments.csv`, `class_labels_indices.csv`.
Multi-label.

Those who offer the files name them in several ways, all of which are looked for anywhere below the
folder: `<id>_<start>` in six digits, `<id>_<start ms>_<end ms>`, `<id>`, `Y<id>`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path

from toomuchtv.evaluation.benchmark import Benchmark, ClipList, Fold, LabeledClip, Task
from toomuchtv.evaluation.datasets.tables import MEDIA_SUFFIXES, media_index, read_lines, read_table
from toomuchtv.evaluation.errors import BenchmarkError

_TRAIN_NAMES, _TEST_NAMES = ("train",), ("val", "validate", "validation", "test")
_CUT = re.compile(r"_\d{6}_\d{6}$")
_CLIP_SECONDS = 10.0


def read_kinetics(root: Path) -> Benchmark:
    """Read Kinetics of any size, from its CSVs or, where there are none, from its folders.

    Raises:
        BenchmarkError: Neither is there.
    """
    tables = _split_tables(root)
    if not tables:
        return _kinetics_folders(root)
    listed = ClipList()
    index = media_index([root])
    rows = {
        side: read_table(path, ["label", "youtube_id", "time_start", "time_end"], what="Kinetics")
        for side, path in tables.items()
    }
    sides = {
        side: listed.add_all(
            [
                LabeledClip(
                    path=index.get(name, root / side / f"{name}.mp4"),
                    labels=(row["label"],),
                    source=row["youtube_id"],
                    group=row["youtube_id"],
                )
                for row in of_side
                for name in [_kinetics_name(row)]
            ]
        )
        for side, of_side in rows.items()
    }
    classes = {row["label"] for of_side in rows.values() for row in of_side}
    return _train_against_test(root, "kinetics", listed, sides, classes, ("video", "audio"))


def _kinetics_name(row: dict[str, str]) -> str:
    start, stop = (round(float(row[key])) for key in ("time_start", "time_end"))
    return f"{row['youtube_id']}_{start:06d}_{stop:06d}"


def _split_tables(root: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for side, names in (("train", _TRAIN_NAMES), ("test", _TEST_NAMES)):
        for name in names:
            for path in (root / f"{name}.csv", root / "annotations" / f"{name}.csv"):
                if path.is_file() and side not in found:
                    found[side] = path
    return found if len(found) == 2 else {}


def _kinetics_folders(root: Path) -> Benchmark:
    listed = ClipList()
    sides: dict[str, tuple[int, ...]] = {}
    classes: set[str] = set()
    for side, names in (("train", _TRAIN_NAMES), ("test", _TEST_NAMES)):
        folder = next((root / name for name in names if (root / name).is_dir()), None)
        if folder is None:
            raise BenchmarkError(
                f"no Kinetics at {str(root)!r}: there are neither train.csv and val.csv (here or "
                "in annotations/) nor folders train/<class>/ and val/<class>/"
            )
        clips = []
        for path in sorted(folder.glob("*/*")):
            if path.suffix.lower() in MEDIA_SUFFIXES:
                classes.add(path.parent.name)
                source = _CUT.sub("", path.stem)
                clips.append(
                    LabeledClip(path=path, labels=(path.parent.name,), source=source, group=source)
                )
        sides[side] = listed.add_all(clips)
    return _train_against_test(root, "kinetics", listed, sides, classes, ("video", "audio"))


def read_vggsound(root: Path) -> Benchmark:
    """Read VGGSound for classification.

    Raises:
        BenchmarkError: vggsound.csv is missing or malformed.
    """
    listed, sides, classes = _vggsound(root)
    return _train_against_test(root, "vggsound", listed, sides, classes, ("audio", "video"))


def read_vggsound_pairs(root: Path) -> Benchmark:
    """Read the test side of VGGSound, for retrieval.

    Raises:
        BenchmarkError: As `read_vggsound`.
    """
    listed, sides, classes = _vggsound(root, only_test=True)
    return _pairs(root, "vggsound-pairs", listed, sides["test"], classes)


def _vggsound(
    root: Path, *, only_test: bool = False
) -> tuple[ClipList, dict[str, tuple[int, ...]], set[str]]:
    path = root / "vggsound.csv"
    rows = list(csv.reader(read_lines(path, what="VGGSound")))
    index = media_index([root])
    listed = ClipList()
    by_side: dict[str, list[LabeledClip]] = {"train": [], "test": []}
    for row in rows:
        if len(row) != 4 or row[3] not in by_side:
            raise BenchmarkError(f"{str(path)!r} has the row {row}; expected id,start,label,split")
        by_side[row[3]].append(_web_clip(root, index, row[0], float(row[1]), (row[2],)))
    taken = {"test": by_side["test"]} if only_test else by_side
    sides = {side: listed.add_all(clips) for side, clips in taken.items()}
    return listed, sides, {row[2] for row in rows}


def read_audioset(root: Path) -> Benchmark:
    """Read AudioSet for classification: the balanced and, if there, the unbalanced training side.

    Raises:
        BenchmarkError: A table is missing or malformed.
    """
    names = _audioset_names(root)
    listed = ClipList()
    index = media_index([root])
    train = _segments(root, index, "balanced_train_segments.csv", names)
    if (root / "unbalanced_train_segments.csv").is_file():
        train += _segments(root, index, "unbalanced_train_segments.csv", names)
    test = _segments(root, index, "eval_segments.csv", names)
    sides = {"train": listed.add_all(train), "test": listed.add_all(test)}
    return _train_against_test(
        root, "audioset", listed, sides, set(names.values()), ("audio", "video"), "multi_label"
    )


def read_audioset_pairs(root: Path) -> Benchmark:
    """Read AudioSet's evaluation side, for retrieval.

    Raises:
        BenchmarkError: As `read_audioset`.
    """
    names = _audioset_names(root)
    listed = ClipList()
    rows = listed.add_all(_segments(root, media_index([root]), "eval_segments.csv", names))
    return _pairs(root, "audioset-pairs", listed, rows, set(names.values()))


def _audioset_names(root: Path) -> dict[str, str]:
    table = read_table(root / "class_labels_indices.csv", ["mid", "display_name"], what="AudioSet")
    return {row["mid"]: row["display_name"] for row in table}


def _segments(
    root: Path, index: dict[str, Path], table: str, names: dict[str, str]
) -> list[LabeledClip]:
    path = root / table
    lines = [line for line in read_lines(path, what="AudioSet") if not line.startswith("#")]
    clips = []
    for row in csv.reader(lines, skipinitialspace=True):
        mids = row[3].split(",") if len(row) == 4 else []
        if not mids or not set(mids) <= names.keys():
            raise BenchmarkError(
                f"{str(path)!r} has the row {row}; expected id, start, end and labels that "
                "class_labels_indices.csv knows"
            )
        labels = tuple(names[mid] for mid in mids)
        clips.append(_web_clip(root, index, row[0], float(row[1]), labels))
    return clips


def _web_clip(
    root: Path, index: dict[str, Path], video_id: str, start: float, labels: tuple[str, ...]
) -> LabeledClip:
    stop = start + _CLIP_SECONDS
    names: Iterable[str] = (
        f"{video_id}_{round(start):06d}",
        f"{video_id}_{round(start * 1000)}_{round(stop * 1000)}",
        f"{video_id}_{round(start):06d}_{round(stop):06d}",
        video_id,
        f"Y{video_id}",
    )
    found = next((index[name] for name in names if name in index), None)
    path = found or root / f"{video_id}_{round(start):06d}.mp4"
    return LabeledClip(path=path, labels=labels, source=video_id, group=video_id)


def _train_against_test(
    root: Path,
    name: str,
    listed: ClipList,
    sides: dict[str, tuple[int, ...]],
    classes: set[str],
    modalities: tuple[str, ...],
    task: Task = "single_label",
) -> Benchmark:
    return Benchmark(
        name=name,
        root=root,
        task=task,
        modalities=("audio", "video") if modalities[0] == "audio" else ("video", "audio"),
        clips=tuple(listed.clips),
        folds=(Fold(name="test", train=sides["train"], test=sides["test"]),),
        classes=tuple(sorted(classes)),
        missing=listed.missing,
    )


def _pairs(
    root: Path, name: str, listed: ClipList, rows: tuple[int, ...], classes: set[str]
) -> Benchmark:
    return Benchmark(
        name=name,
        root=root,
        task="pairs",
        modalities=("video", "audio"),
        clips=tuple(listed.clips),
        folds=(Fold(name="test", train=(), test=rows),),
        classes=tuple(sorted(classes)),
        missing=listed.missing,
    )
