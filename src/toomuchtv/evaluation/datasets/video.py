"""Readers of UCF101, HMDB51, LVU and MovieNet scenes.

UCF101 (Soomro et al., 2012): `videos/<Class>/v_<Class>_g<NN>_c<MM>.avi` and
`ucfTrainTestlist/{train,test}list0<S>.txt`. Clips of one group g<NN> are cut from one video.

HMDB51 (Kuehne et al., ICCV 2011): `videos/<class>/<film>_<class>_<six properties>_<number>.avi` and
`testTrainMulti_7030_splits/<class>_test_split<S>.txt`, whose lines are a file and 1 (train), 2
(test) or 0 (neither). Clips of one film have the same name up to the class.

LVU (Wu and Kraehenbuehl, "Towards Long-Form Video Understanding", CVPR 2021):
`lvu_1.0/<task>/{train,val,test}.csv` with columns separated by spaces, and videos of one to three
minutes as `videos/<id>.mp4`. Tasks with classes have the columns class number, class name, YouTube
id, film. The task `like_ratio` has likes, dislikes, id, film, and the value to predict is
10 likes / (likes + dislikes). The task `view_count` has views, id, film, and the value is the
natural logarithm of the views.

MovieNet (Huang et al., ECCV 2020; scenes: Rao et al., CVPR 2020): `label318/<film>.txt` with the
number of each shot and 1 if a scene ends with it, `shot_movie318/<film>.txt` with the first and the
last frame of each shot, `meta/split318.json` with the films of train, val and test, and the films
as `videos/<film>.*`. A clip is the interval around a boundary between two shots.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

from toomuchtv.errors import MediaError
from toomuchtv.evaluation.benchmark import Benchmark, LabeledClip
from toomuchtv.evaluation.datasets.lists import (
    first_folder,
    indexed_paths,
    make_benchmark,
    media_index,
)
from toomuchtv.evaluation.datasets.official import HMDB51, UCF101, Official
from toomuchtv.evaluation.datasets.tables import Problems, Row, RowError, parse_rows, read_lines
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.media.containers import find_video_stream, open_media

LVU_CLASS_TASKS = ("relationship", "way_speaking", "scene", "director", "genre", "writer", "year")
LVU_VALUE_TASKS = ("like_ratio", "view_count")

_SPLITS = (1, 2, 3)
_UCF_NAME = re.compile(r"([^/]+)/v_([^/]+)_g(\d+)_c\d+\.\w+")
# Visible part, camera motion, number of people, point of view, quality, number.
_HMDB_PROPERTIES = re.compile(r"_[a-z]_[a-z]{2}_np\d_[a-z]{2}_[a-z]{3}_\d+$")
_HMDB_SIDES = {"1": "train", "2": "test"}
_FOLD_SIDES = {"train": "train", "val": "validation", "test": "test"}
_CONTEXT_SECONDS = 4.0
_DEFAULT_FRAME_RATE = 24.0


def read_ucf101(root: Path) -> Benchmark:
    """Read UCF101, or data whose classes are all of its own in the layout of UCF101.

    The group of a clip is its g<NN> without the class. In UCF101 that is finer than needed; in the
    rendered actions it is the title, whose clips have many classes.

    Raises:
        BenchmarkError: A list is missing or malformed.
    """
    videos = first_folder(root, ["videos", "UCF-101", "UCF101"], benchmark="UCF101")
    problems = Problems("ucf101")
    lines = {
        (split, side): read_lines(
            root / "ucfTrainTestlist" / f"{side}list0{split}.txt", benchmark="UCF101"
        )
        for split in _SPLITS
        for side in ("train", "test")
    }
    labels = (row.optional("line").partition("/")[0] for rows in lines.values() for row in rows)
    official = UCF101.if_named(labels)
    folds: dict[str, list[tuple[str, LabeledClip]]] = {f"split {split}": [] for split in _SPLITS}
    for (split, side), rows in lines.items():
        clips = parse_rows(rows, lambda row: _ucf101_clip(row, videos, official), problems)
        folds[f"split {split}"] += [(side, clip) for clip in clips]
    notes = [] if official is not None else [UCF101.own_classes_note()]
    return make_benchmark("ucf101", root, folds, problems, official=official, notes=notes)


def _ucf101_clip(row: Row, videos: Path, official: Official | None) -> LabeledClip:
    # Training lists have the path and the class number, test lists have the path alone.
    line = row.text("line")
    name, *numbers = line.split()
    match = _UCF_NAME.fullmatch(name)
    # UCF101 has HandstandPushups/v_HandStandPushups_g01_c01.avi.
    if match is None or match[1].casefold() != match[2].casefold() or len(numbers) > 1:
        raise RowError(
            f"the line {line!r} must be Class/v_Class_gNN_cMM.avi, in training lists with the "
            "number of the class"
        )
    label = match[1]
    if official is not None:
        label = official.label(label)
        number = str(official.classes.index(label) + 1)
        if numbers and numbers != [number]:
            raise RowError(f"{label} has the number {number}, got {numbers[0]}")
    return LabeledClip(
        path=videos / name, labels=(label,), source=f"{label}_g{match[3]}", group=f"g{match[3]}",
        listed_at=str(row),
    )  # fmt: skip


def read_hmdb51(root: Path) -> Benchmark:
    """Read HMDB51.

    Raises:
        BenchmarkError: The files of a split are missing or malformed.
    """
    lists = root / "testTrainMulti_7030_splits"
    videos = first_folder(root, ["videos", "hmdb51_org", "hmdb51"], benchmark="HMDB51")
    problems = Problems("hmdb51")
    folds = {}
    for split in _SPLITS:
        suffix = f"_test_split{split}.txt"
        paths = sorted(lists.glob(f"*{suffix}"))
        if not paths:
            raise BenchmarkError(
                f"there is no HMDB51 at {str(root)!r}: {str(lists)!r} has no <class>{suffix}"
            )
        rows = [row for path in paths for row in read_lines(path, benchmark="HMDB51")]
        listed = parse_rows(rows, lambda row: _hmdb51_clip(row, videos), problems)
        folds[f"split {split}"] = [(side, clip) for side, clip in listed if side]
    return make_benchmark("hmdb51", root, folds, problems, modalities=("video",), official=HMDB51)


def _hmdb51_clip(row: Row, videos: Path) -> tuple[str, LabeledClip]:
    """Return a clip with its side, which is empty for a clip that the split does not use."""
    folder = row.path.name.rpartition("_test_split")[0]
    label = HMDB51.label(folder)
    line = row.text("line")
    name, _, mark = line.rpartition(" ")
    name = name.strip()
    if mark not in ("0", "1", "2") or f"_{label}_" not in name or "/" in name:
        raise RowError(f"the line {line!r} must be <film>_{label}_<properties>.avi and 0, 1 or 2")
    film = _HMDB_PROPERTIES.sub("", Path(name).stem).removesuffix(f"_{label}")
    return _HMDB_SIDES.get(mark, ""), LabeledClip(
        path=videos / folder / name, labels=(label,), source=film, group=film, listed_at=str(row)
    )


def read_lvu(root: Path, task: str) -> Benchmark:
    """Read one of `LVU_CLASS_TASKS` or `LVU_VALUE_TASKS`.

    Raises:
        BenchmarkError: A list is missing or malformed.
    """
    is_value = task in LVU_VALUE_TASKS
    name = f"lvu-{task.replace('_', '-') if is_value else task}"
    index = media_index(root)
    problems = Problems(name)

    def parse(row: Row) -> LabeledClip:
        fields = row.text("line").split()
        labels = () if is_value else (_lvu_class(fields),)
        value = _lvu_value(fields, task) if is_value else None
        video, film = fields[-2:]
        path, others = indexed_paths(index, [video], root / "videos" / f"{video}.mp4")
        return LabeledClip(
            path=path, labels=labels, source=film, group=film, value=value, listed_at=str(row),
            other_paths=others,
        )  # fmt: skip

    listed = []
    for file, side in _FOLD_SIDES.items():
        rows = read_lines(root / "lvu_1.0" / task / f"{file}.csv", benchmark="LVU")
        if rows and not rows[0].text("line")[0].isdigit():  # the header
            del rows[0]
        listed += [(side, clip) for clip in parse_rows(rows, parse, problems)]
    return make_benchmark(
        name, root, {"test": listed}, problems, task="regression" if is_value else "single_label"
    )


def _lvu_class(fields: list[str]) -> str:
    if len(fields) < 4 or not fields[0].isdigit():
        raise RowError(
            f"got {' '.join(fields)!r}, expected class number, class name, YouTube id and film"
        )
    return " ".join(fields[1:-2])


def _lvu_value(fields: list[str], task: str) -> float:
    num_counts = 2 if task == "like_ratio" else 1
    counts = [int(field) for field in fields[:num_counts] if field.isdecimal()]
    if len(fields) != num_counts + 2 or len(counts) < num_counts or sum(counts) == 0:
        raise RowError(
            f"got {' '.join(fields)!r}, expected "
            + ("likes, dislikes" if num_counts == 2 else "views")
            + ", not all zero, YouTube id and film"
        )
    return 10.0 * counts[0] / sum(counts) if num_counts == 2 else math.log(counts[0])


def read_movienet_scenes(root: Path) -> Benchmark:
    """Read the scene boundaries of MovieNet: each end of a shot is a clip, which may be a `scene`.

    The scores are the average precision over all boundaries (the AP of Rao et al.) and the mIoU.

    Raises:
        BenchmarkError: A file is missing or malformed.
    """
    try:
        split = json.loads((root / "meta" / "split318.json").read_text("utf-8-sig"))
        films = {side: [str(name).strip() for name in split[side]] for side in _FOLD_SIDES}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchmarkError(
            f"there is no MovieNet at {str(root)!r}: meta/split318.json must map train, val and "
            f"test to lists of films ({error})"
        ) from error
    index = media_index(root / "videos")
    problems = Problems("movienet-scenes")
    end_seconds: dict[str, float] = {}
    listed = []
    for file, side in _FOLD_SIDES.items():
        for film in films[file]:
            if film in end_seconds:
                problems.add("split318.json", f"the film {film} is listed twice")
                continue
            found = _boundaries(root, film, index, end_seconds, problems)
            listed += [(side, clip) for clip in found]
    note = f"a boundary is judged by {2 * _CONTEXT_SECONDS:g} s around it, not by whole shots"
    return make_benchmark(
        "movienet-scenes", root, {"test": listed}, problems, classes=["scene"],
        task="multi_label", notes=(note,), end_seconds=end_seconds,
    )  # fmt: skip


def _boundaries(
    root: Path,
    film: str,
    index: dict[str, list[Path]],
    end_seconds: dict[str, float],
    problems: Problems,
) -> Iterator[LabeledClip]:
    """Yield the boundaries of a film, and store the end of its last shot in `end_seconds`."""
    path, others = indexed_paths(index, [film], root / "videos" / f"{film}.mp4")
    rate = _frame_rate(path) if path.is_file() else _DEFAULT_FRAME_RATE
    shots = read_lines(root / "shot_movie318" / f"{film}.txt", benchmark="MovieNet")
    frames = parse_rows(shots, _last_frame, problems)
    if frames != sorted(frames):
        problems.add(f"{film}.txt", "the shots are not in the order of their frames")
    stops = [(frame + 1) / rate for frame in frames]
    end_seconds[film] = stops[-1] if stops else 0.0

    def parse(row: Row) -> LabeledClip:
        fields = row.text("line").split()
        if len(fields) < 2 or not fields[0].isdecimal() or int(fields[0]) >= len(stops):
            raise RowError(
                f"the line {row.text('line')!r} must be the number of a shot, which is less than "
                f"{len(stops)}, and 0 or 1"
            )
        if fields[1] not in ("0", "1"):
            raise RowError(f"a boundary is 0 or 1, got {fields[1]!r}")
        boundary_seconds = stops[int(fields[0])]
        return LabeledClip(
            path=path,
            labels=("scene",) if fields[1] == "1" else (),
            source=film,
            group=film,
            start_seconds=max(0.0, boundary_seconds - _CONTEXT_SECONDS),
            stop_seconds=min(boundary_seconds + _CONTEXT_SECONDS, end_seconds[film]),
            value=boundary_seconds,
            listed_at=str(row),
            other_paths=others,
        )

    labels = read_lines(root / "label318" / f"{film}.txt", benchmark="MovieNet")
    yield from parse_rows(labels, parse, problems)


def _last_frame(row: Row) -> int:
    fields = row.text("line").split()
    if len(fields) < 2 or not (fields[0].isdecimal() and fields[1].isdecimal()):
        raise RowError(
            f"the line {row.text('line')!r} must be the first and the last frame of a shot"
        )
    if int(fields[0]) > int(fields[1]):
        raise RowError(f"the shot ends before it begins: {row.text('line')!r}")
    return int(fields[1])


def _frame_rate(path: Path) -> float:
    """Return the frame rate of a film, 24 if it cannot be opened, which a check reports."""
    try:
        with open_media(path) as container:
            stream = find_video_stream(container)
            return float(stream.average_rate or stream.guessed_rate or _DEFAULT_FRAME_RATE)
    except MediaError:
        return _DEFAULT_FRAME_RATE
