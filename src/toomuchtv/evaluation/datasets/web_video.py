"""Readers of benchmarks whose clips were cut from YouTube: Kinetics, VGGSound, AudioSet.

Kinetics-400, -600, -700 (Kay et al., 2017; Carreira et al., 2018, 2019): either folders
`<split>/<class>/*`, or `<split>.csv` (also under `annotations/`) with label, youtube_id,
time_start, time_end, split, and files named `<id>_<start>_<end>` with six digits each. The
validation set is the test set.

VGGSound (Chen et al., ICASSP 2020): `vggsound.csv` without a header: id, start, label, train|test.

AudioSet (Gemmeke et al., ICASSP 2017): `balanced_train_segments.csv`, optionally
`unbalanced_train_segments.csv`, `eval_segments.csv` and `class_labels_indices.csv`.

Distributors name the files in several ways, and all of them are searched anywhere below the
folder: `<id>_<start>` in six digits, `<id>_<start ms>_<end ms>`, `<id>_<start>_<end>`, `<id>` and
`Y<id>`. A file that is named by the id alone and is longer than its segment is the whole video, of
which only the segment is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from toomuchtv.evaluation.benchmark import Benchmark, LabeledClip
from toomuchtv.evaluation.datasets.lists import (
    Listing,
    indexed_paths,
    make_benchmark,
    media_below,
    media_index,
    unused_gap,
)
from toomuchtv.evaluation.datasets.official import AUDIOSET, KINETICS, VGGSOUND
from toomuchtv.evaluation.datasets.tables import Problems, Row, RowError, parse_rows, read_table
from toomuchtv.evaluation.errors import BenchmarkError

_SPLIT_NAMES = {"train": ("train",), "test": ("val", "validate", "validation", "test")}
_START_AND_END = re.compile(r"_\d{6}_\d{6}$")
_CLIP_SECONDS = 10.0

Index = Mapping[str, Sequence[Path]]


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
    problems = Problems("kinetics")
    listed: list[tuple[str, LabeledClip]] = []
    gaps: list[str] = []
    if len(tables) == 2:
        index = media_index(root)
        columns = ["label", "youtube_id", "time_start", "time_end"]
        for side, path in tables.items():
            rows = read_table(path, columns, problems, benchmark="Kinetics")
            clips = parse_rows(rows, lambda row: _kinetics_clip(row, root, index), problems)
            listed += [(side, clip) for clip in clips]
    elif len(folders) == 2:
        unused: list[Path] = []
        for side, folder in folders.items():
            listed += [(side, clip) for clip in _kinetics_files(folder, root, unused)]
        gaps = unused_gap(unused, root)
    else:
        raise BenchmarkError(
            f"there is no Kinetics at {str(root)!r}: there are neither train.csv and val.csv "
            "(here or in annotations/) nor folders train/<class>/ and val/<class>/"
        )
    return make_benchmark(
        "kinetics", root, {"test": listed}, problems, official=KINETICS, gaps=gaps
    )


def _kinetics_clip(row: Row, root: Path, index: Index) -> LabeledClip:
    start, stop = row.interval("time_start", "time_end")
    source, label = row.text("youtube_id"), row.text("label")
    name = f"{source}_{round(start):06d}_{round(stop):06d}"
    path, others = indexed_paths(index, [name], root / row.path.stem / f"{name}.mp4")
    return LabeledClip(
        path=path, labels=(label,), source=source, group=source, listed_at=str(row),
        other_paths=others,
    )  # fmt: skip


def _kinetics_files(folder: Path, root: Path, unused: list[Path]) -> list[LabeledClip]:
    media, unknown = media_below(folder)
    unused += unknown + [path for path in media if path.parent == folder]
    clips = []
    for path in media:
        if path.parent != folder:
            source = _START_AND_END.sub("", path.stem)
            label = path.relative_to(folder).parts[0]
            place = str(path.relative_to(root))
            clips.append(
                LabeledClip(
                    path=path, labels=(label,), source=source, group=source, listed_at=place
                )
            )
    return clips


def read_vggsound(root: Path, *, pairs: bool = False) -> Benchmark:
    """Read VGGSound for classification, or its test set for retrieval.

    Raises:
        BenchmarkError: vggsound.csv is missing or malformed.
    """
    name = "vggsound-pairs" if pairs else "vggsound"
    problems = Problems(name)
    rows = read_table(
        root / "vggsound.csv", ["id", "start", "label", "split"], problems, benchmark="VGGSound",
        header=False,
    )  # fmt: skip
    index = media_index(root)

    def parse(row: Row) -> tuple[str, LabeledClip]:
        start = row.seconds("start")
        side = row.one_of("split", ("train", "test"))
        clip = _web_clip(row, root, index, start, start + _CLIP_SECONDS, (row.text("label"),))
        return side, clip

    listed = parse_rows(rows, parse, problems)
    classes = {clip.labels[0] for _, clip in listed}
    if pairs:
        return make_benchmark(
            name, root, {"test": _only_test(listed)}, problems, classes=classes, task="pairs",
            official=VGGSOUND,
        )  # fmt: skip
    return make_benchmark(
        name, root, {"test": listed}, problems, modalities=("audio", "video"), official=VGGSOUND
    )


def read_audioset(root: Path, *, pairs: bool = False) -> Benchmark:
    """Read AudioSet for classification, or its evaluation set for retrieval.

    The training set is the balanced one, and also the unbalanced one if its table exists.

    Raises:
        BenchmarkError: A table is missing or malformed.
    """
    name = "audioset-pairs" if pairs else "audioset"
    problems = Problems(name)
    path = root / "class_labels_indices.csv"
    table = read_table(path, ["mid", "display_name"], problems, benchmark="AudioSet")
    names = _display_names(table, problems)
    index = media_index(root)

    def segments(side: str, file: str) -> Listing:
        rows = read_table(
            root / file, ["id", "start", "end", "labels"], problems, benchmark="AudioSet",
            header=False, comment="#",
        )  # fmt: skip
        clips = parse_rows(rows, lambda row: _audioset_clip(row, root, index, names), problems)
        return [(side, clip) for clip in clips]

    listed = [*segments("test", "eval_segments.csv")]
    if not pairs:
        listed += segments("train", "balanced_train_segments.csv")
        if (root / "unbalanced_train_segments.csv").is_file():
            listed += segments("train", "unbalanced_train_segments.csv")
    return make_benchmark(
        name, root, {"test": listed}, problems, classes=names.values(),
        task="pairs" if pairs else "multi_label",
        modalities=("video", "audio") if pairs else ("audio", "video"), official=AUDIOSET,
    )  # fmt: skip


def _display_names(table: Sequence[Row], problems: Problems) -> dict[str, str]:
    """Return the name of each mid; no two mids may have one name."""
    names: dict[str, str] = {}
    for row in table:
        mid, name = row.optional("mid"), row.optional("display_name")
        if not mid or not name or mid in names or name in names.values():
            problems.add(row, f"mid and name must be given once each, got {mid!r} and {name!r}")
        names[mid] = name
    return names


def _audioset_clip(row: Row, root: Path, index: Index, names: Mapping[str, str]) -> LabeledClip:
    start, stop = row.interval("start", "end")
    mids = [mid.strip() for mid in row.text("labels").split(",")]
    unknown = [mid for mid in mids if mid not in names]
    if unknown:
        raise RowError(f"class_labels_indices.csv does not have the label {unknown[0]!r}")
    return _web_clip(row, root, index, start, stop, tuple(names[mid] for mid in mids))


def _only_test(listed: Listing) -> Listing:
    return [(side, clip) for side, clip in listed if side == "test"]


def _web_clip(
    row: Row, root: Path, index: Index, start: float, stop: float, labels: tuple[str, ...]
) -> LabeledClip:
    """Return a clip whose file has one of the names in use."""
    video_id = row.text("id")
    of_segment = [
        f"{video_id}_{round(start):06d}",
        f"{video_id}_{round(start * 1000)}_{round(stop * 1000)}",
        f"{video_id}_{round(start):06d}_{round(stop):06d}",
    ]
    path, others = indexed_paths(index, of_segment, root / f"{of_segment[0]}.mp4")
    may_be_cut = False
    if not any(name in index for name in of_segment):
        path, others = indexed_paths(index, [video_id, f"Y{video_id}"], path)
        may_be_cut = True
    return LabeledClip(
        path=path,
        labels=labels,
        source=video_id,
        group=video_id,
        start_seconds=start if may_be_cut else 0.0,
        stop_seconds=stop if may_be_cut else None,
        listed_at=str(row),
        other_paths=others,
        may_be_cut=may_be_cut,
    )
