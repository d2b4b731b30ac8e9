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
    make_benchmark,
    media_index,
    read_lines,
)
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.media.containers import find_video_stream, open_media

LVU_CLASS_TASKS = ("relationship", "way_speaking", "scene", "director", "genre", "writer", "year")
LVU_VALUE_TASKS = ("like_ratio", "view_count")

_SPLITS = (1, 2, 3)
_UCF_GROUP = re.compile(r"_g(\d+)_c\d+$")
# Visible part, camera motion, number of people, point of view, quality, number.
_HMDB_PROPERTIES = re.compile(r"_[a-z]_[a-z]{2}_np\d_[a-z]{2}_[a-z]{3}_\d+$")
_FOLD_SIDES = {"train": "train", "val": "validation", "test": "test"}
_CONTEXT_SECONDS = 4.0
_DEFAULT_FRAME_RATE = 24.0


def read_ucf101(root: Path) -> Benchmark:
    """Read UCF101, or a dataset with the same files.

    The group of a clip is its g<NN> without the class. In UCF101 that is finer than needed; in the
    rendered datasets of `experiments/` it is the title, whose clips have many classes.

    Raises:
        BenchmarkError: A list is missing or malformed.
    """
    videos = first_folder(root, ["videos", "UCF-101", "UCF101"], benchmark="UCF101")

    def read_list(side: str, split: int) -> list[LabeledClip]:
        path = root / "ucfTrainTestlist" / f"{side}list0{split}.txt"
        return [_ucf101_clip(videos, line, path) for line in read_lines(path, benchmark="UCF101")]

    folds = {
        f"split {split}": {side: read_list(side, split) for side in ("train", "test")}
        for split in _SPLITS
    }
    return make_benchmark("ucf101", root, folds)


def _ucf101_clip(videos: Path, line: str, path: Path) -> LabeledClip:
    # Training lists have the path and the class number, test lists have the path alone.
    name = line.split(maxsplit=1)[0]
    group = _UCF_GROUP.search(Path(name).stem)
    if name.count("/") != 1 or group is None:
        raise BenchmarkError(
            f"{str(path)!r} has the line {line!r}; expected Class/v_Class_gNN_cMM.avi"
        )
    label = name.partition("/")[0]
    return LabeledClip(
        path=videos / name, labels=(label,), source=f"{label}_g{group[1]}", group=f"g{group[1]}"
    )


def read_hmdb51(root: Path) -> Benchmark:
    """Read HMDB51.

    Raises:
        BenchmarkError: The files of a split are missing or malformed.
    """
    lists = root / "testTrainMulti_7030_splits"
    videos = first_folder(root, ["videos", "hmdb51_org", "hmdb51"], benchmark="HMDB51")
    folds = {}
    for split in _SPLITS:
        suffix = f"_test_split{split}.txt"
        paths = sorted(lists.glob(f"*{suffix}"))
        if not paths:
            raise BenchmarkError(
                f"there is no HMDB51 at {str(root)!r}: {str(lists)!r} has no <class>{suffix}"
            )
        sides: dict[str, list[LabeledClip]] = {"0": [], "1": [], "2": []}
        for path in paths:
            label = path.name.removesuffix(suffix)
            for line in read_lines(path, benchmark="HMDB51"):
                name, _, side = line.strip().rpartition(" ")
                if side not in sides or not name:
                    raise BenchmarkError(
                        f"{str(path)!r} has the line {line!r}; expected a file and 0, 1 or 2"
                    )
                file = videos / label / name.strip()
                film = _HMDB_PROPERTIES.sub("", file.stem).removesuffix(f"_{label}")
                sides[side].append(LabeledClip(path=file, labels=(label,), source=film, group=film))
        folds[f"split {split}"] = {"train": sides["1"], "test": sides["2"]}
    return make_benchmark("hmdb51", root, folds, modalities=("video",))


def read_lvu(root: Path, task: str) -> Benchmark:
    """Read one of `LVU_CLASS_TASKS` or `LVU_VALUE_TASKS`.

    Raises:
        BenchmarkError: A list is missing or malformed.
    """
    is_value = task in LVU_VALUE_TASKS
    index = media_index(root)
    sides: dict[str, list[LabeledClip]] = {}
    for side, name in _FOLD_SIDES.items():
        path = root / "lvu_1.0" / task / f"{side}.csv"
        sides[name] = []
        for line in read_lines(path, benchmark="LVU")[1:]:
            labels = () if is_value else (_lvu_class(line, path),)
            value = _lvu_value(line, task, path) if is_value else None
            video, film = line.split()[-2:]
            file = index.get(video, root / "videos" / f"{video}.mp4")
            sides[name].append(
                LabeledClip(path=file, labels=labels, source=film, group=film, value=value)
            )
    return make_benchmark(
        f"lvu-{task.replace('_', '-') if is_value else task}", root, {"test": sides},
        task="regression" if is_value else "single_label",
    )  # fmt: skip


def _lvu_class(line: str, path: Path) -> str:
    fields = line.split()
    if len(fields) < 4 or not fields[0].isdigit():
        raise BenchmarkError(
            f"{str(path)!r} has the line {line!r}; expected class number, class name, YouTube id, "
            "film"
        )
    return " ".join(fields[1:-2])


def _lvu_value(line: str, task: str, path: Path) -> float:
    num_counts = 2 if task == "like_ratio" else 1
    fields = line.split()
    counts = [int(field) for field in fields[:num_counts] if field.isdigit()]
    if len(fields) != num_counts + 2 or len(counts) < num_counts or sum(counts) == 0:
        raise BenchmarkError(
            f"{str(path)!r} has the line {line!r}; expected "
            + ("likes, dislikes" if num_counts == 2 else "views")
            + ", not all zero, YouTube id, film"
        )
    return 10.0 * counts[0] / sum(counts) if num_counts == 2 else math.log(counts[0])


def read_movienet_scenes(root: Path) -> Benchmark:
    """Read the scene boundaries of MovieNet: each end of a shot is a clip, which may be a `scene`.

    The scores are the average precision over all boundaries (the AP of Rao et al.) and the mIoU.

    Raises:
        BenchmarkError: A file is missing or malformed.
    """
    try:
        split = json.loads((root / "meta" / "split318.json").read_text("utf-8"))
        films = {side: [str(name) for name in split[side]] for side in _FOLD_SIDES}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchmarkError(
            f"there is no MovieNet at {str(root)!r}: meta/split318.json must map train, val and "
            f"test to lists of films ({error})"
        ) from error
    index = media_index(root / "videos")
    end_seconds: dict[str, float] = {}
    sides = {
        name: [clip for film in films[side] for clip in _boundaries(root, film, index, end_seconds)]
        for side, name in _FOLD_SIDES.items()
    }
    note = f"a boundary is judged by {2 * _CONTEXT_SECONDS:g} s around it, not by whole shots"
    return make_benchmark(
        "movienet-scenes", root, {"test": sides}, classes=["scene"], task="multi_label",
        notes=(note,), end_seconds=end_seconds,
    )  # fmt: skip


def _boundaries(
    root: Path, film: str, index: dict[str, Path], end_seconds: dict[str, float]
) -> Iterator[LabeledClip]:
    """Yield the boundaries of a film, and store the end of its last shot in `end_seconds`."""
    path = index.get(film, root / "videos" / f"{film}.mp4")
    rate = _frame_rate(path) if path.is_file() else _DEFAULT_FRAME_RATE
    shots = root / "shot_movie318" / f"{film}.txt"
    labels = root / "label318" / f"{film}.txt"
    stops = []
    for line in read_lines(shots, benchmark="MovieNet"):
        frames = line.split()
        if len(frames) < 2 or not frames[1].isdigit():
            raise BenchmarkError(
                f"{str(shots)!r} has the line {line!r}; expected the first and the last frame of "
                "a shot"
            )
        stops.append((int(frames[1]) + 1) / rate)
    end_seconds[film] = stops[-1] if stops else 0.0
    for line in read_lines(labels, benchmark="MovieNet"):
        fields = line.split()
        if len(fields) < 2 or not fields[0].isdigit() or int(fields[0]) >= len(stops):
            raise BenchmarkError(
                f"{str(labels)!r} has the line {line!r}; expected the number of a shot, which is "
                f"less than {len(stops)}, and 0 or 1"
            )
        boundary_seconds = stops[int(fields[0])]
        yield LabeledClip(
            path=path,
            labels=("scene",) if fields[1] == "1" else (),
            source=film,
            group=film,
            start_seconds=max(0.0, boundary_seconds - _CONTEXT_SECONDS),
            stop_seconds=min(boundary_seconds + _CONTEXT_SECONDS, end_seconds[film]),
            value=boundary_seconds,
        )


def _frame_rate(path: Path) -> float:
    try:
        with open_media(path) as container:
            stream = find_video_stream(container)
            return float(stream.average_rate or stream.guessed_rate or _DEFAULT_FRAME_RATE)
    except MediaError as error:
        raise BenchmarkError(str(error)) from error
