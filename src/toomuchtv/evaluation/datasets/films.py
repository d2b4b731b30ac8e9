"""Benchmarks of long films: LVU's nine tasks, and MovieNet's scene boundaries.

LVU (Wu and Kraehenbuehl, "Towards Long-Form Video Understanding", CVPR 2021): `lvu_1.0/<task>/
{train,val,test}.csv`, columns parted by spaces: class number, class name, YouTube id, film; videos
of one to three minutes as `videos/<id>.mp4`. Two of the tasks are numbers, scored by mean squared
error: `like_ratio` with the columns likes, dislikes, id, film, of which 10 likes / (likes +
dislikes) is to be told, and `view_count` with views, id, film: the natural logarithm of the views.

MovieNet (Huang et al., ECCV 2020; Rao et al., CVPR 2020): `label318/<film>.txt` with a shot's
number and 1 where a scene ends with it, `shot_movie318/<film>.txt` with each shot's first and last
frame, `meta/split318.json` with the films of train, val and test, and the films, which are not
given away, as `videos/<film>.*`. A clip is a boundary between two shots: the seconds around it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from toomuchtv.errors import MediaError
from toomuchtv.evaluation.benchmark import Benchmark, ClipList, Fold, LabeledClip
from toomuchtv.evaluation.datasets.tables import media_index, read_lines
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.media.containers import find_video_stream, open_media

LVU_TASKS = ("relationship", "way_speaking", "scene", "director", "genre", "writer", "year")
LVU_NUMBERS = ("like_ratio", "view_count")

_SIDES = {"train": "train", "val": "validation", "test": "test"}
_AROUND_SECONDS = 4.0


def read_lvu(root: Path, task: str) -> Benchmark:
    """Read one of `LVU_TASKS`.

    Raises:
        BenchmarkError: A list is missing or malformed.
    """
    folder = root / "lvu_1.0" / task
    index = media_index([root])
    listed = ClipList()
    classes: set[str] = set()
    sides: dict[str, tuple[int, ...]] = {}
    for side, role in _SIDES.items():
        path = folder / f"{side}.csv"
        clips = []
        for line in read_lines(path, what="LVU")[1:]:
            fields = line.split()
            if len(fields) < 4 or not fields[0].isdigit():
                raise BenchmarkError(
                    f"{str(path)!r} has the line {line!r}; expected class number, class name, "
                    "YouTube id, film"
                )
            label, video, film = " ".join(fields[1:-2]), fields[-2], fields[-1]
            classes.add(label)
            found = index.get(video, root / "videos" / f"{video}.mp4")
            clips.append(LabeledClip(path=found, labels=(label,), source=film, group=film))
        sides[role] = listed.add_all(clips)
    return Benchmark(
        name=f"lvu-{task}", root=root, task="single_label", modalities=("video", "audio"),
        clips=tuple(listed.clips), folds=(Fold(name="test", **sides),),
        classes=tuple(sorted(classes)), missing=listed.missing,
    )  # fmt: skip


def read_lvu_number(root: Path, task: str) -> Benchmark:
    """Read one of `LVU_NUMBERS`.

    Raises:
        BenchmarkError: A list is missing or malformed.
    """
    num_counts = 2 if task == "like_ratio" else 1
    index = media_index([root])
    listed = ClipList()
    sides: dict[str, tuple[int, ...]] = {}
    for side, role in _SIDES.items():
        path = root / "lvu_1.0" / task / f"{side}.csv"
        clips = []
        for line in read_lines(path, what="LVU")[1:]:
            fields = line.split()
            counts = [int(field) for field in fields[:num_counts] if field.isdigit()]
            if len(fields) != num_counts + 2 or len(counts) < num_counts or sum(counts) == 0:
                raise BenchmarkError(
                    f"{str(path)!r} has the line {line!r}; expected "
                    + ("likes, dislikes" if num_counts == 2 else "views")
                    + ", not all zero, YouTube id, film"
                )
            video, film = fields[num_counts:]
            value = 10.0 * counts[0] / sum(counts) if num_counts == 2 else math.log(counts[0])
            found = index.get(video, root / "videos" / f"{video}.mp4")
            clips.append(LabeledClip(path=found, labels=(), source=film, group=film, value=value))
        sides[role] = listed.add_all(clips)
    return Benchmark(
        name=f"lvu-{task.replace('_', '-')}", root=root, task="regression",
        modalities=("video", "audio"), clips=tuple(listed.clips),
        folds=(Fold(name="test", **sides),), classes=(),
        missing=listed.missing,
    )  # fmt: skip


def read_movienet_scenes(root: Path) -> Benchmark:
    """Read MovieNet's scene boundaries: each shot's end is a clip, labeled `scene` or `shot`.

    Scored by average precision over all boundaries (Rao et al.'s AP), and by their mIoU.

    Raises:
        BenchmarkError: A file is missing or malformed.
    """
    try:
        split = json.loads((root / "meta" / "split318.json").read_text("utf-8"))
        films = {side: [str(name) for name in split[side]] for side in _SIDES}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchmarkError(
            f"no MovieNet at {str(root)!r}: meta/split318.json must map train, val and test to "
            f"lists of films ({error})"
        ) from error
    index = media_index([root / "videos"])
    listed = ClipList()
    ends: dict[str, float] = {}
    sides = {
        role: listed.add_all(
            [clip for film in films[side] for clip in _boundaries(root, film, index, ends)]
        )
        for side, role in _SIDES.items()
    }
    return Benchmark(
        name="movienet-scenes", root=root, task="multi_label", modalities=("video", "audio"),
        clips=tuple(listed.clips), folds=(Fold(name="test", **sides),), classes=("scene",),
        missing=listed.missing,
        notes=(f"a boundary is judged by {2 * _AROUND_SECONDS:g} s around it, not by whole shots",),
        end_seconds=ends,
    )  # fmt: skip


def _boundaries(
    root: Path, film: str, index: dict[str, Path], ends: dict[str, float]
) -> list[LabeledClip]:
    """The boundaries of a film; notes in `ends` when its last shot ends."""
    path = index.get(film, root / "videos" / f"{film}.mp4")
    rate = _frame_rate(path) if path.is_file() else 24.0
    labels = root / "label318" / f"{film}.txt"
    listed = [line.split() for line in read_lines(labels, what="MovieNet")]
    shots = [
        line.split() for line in read_lines(root / "shot_movie318" / f"{film}.txt", what="MovieNet")
    ]
    ends[film] = (int(shots[-1][1]) + 1) / rate if shots else 0.0
    clips = []
    for fields in listed:
        if len(fields) < 2 or not fields[0].isdigit() or int(fields[0]) >= len(shots):
            raise BenchmarkError(f"{str(labels)!r} has the line {' '.join(fields)!r}")
        cut_seconds = (int(shots[int(fields[0])][1]) + 1) / rate
        clips.append(
            LabeledClip(
                path=path,
                labels=("scene",) if fields[1] == "1" else (),
                source=film,
                group=film,
                start_seconds=max(0.0, cut_seconds - _AROUND_SECONDS),
                stop_seconds=min(cut_seconds + _AROUND_SECONDS, ends[film]),
                value=cut_seconds,
            )
        )
    return clips


def _frame_rate(path: Path) -> float:
    try:
        with open_media(path) as container:
            stream = find_video_stream(container)
            return float(stream.average_rate or stream.guessed_rate or 24)
    except MediaError as error:
        raise BenchmarkError(str(error)) from error
