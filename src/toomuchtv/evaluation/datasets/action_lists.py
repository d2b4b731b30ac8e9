"""UCF101 and HMDB51: short labeled videos in three official splits given as lists.

UCF101 (Soomro et al., 2012): `videos/<Class>/v_<Class>_g<NN>_c<MM>.avi` and
`ucfTrainTestlist/{train,test}list0<S>.txt`; clips of one group g<NN> are cut from one video.

HMDB51 (Kuehne et al., ICCV 2011): `videos/<class>/<film>_<class>_<six properties>_<number>.avi` and
`testTrainMulti_7030_splits/<class>_test_split<S>.txt`, each line a file and 1 (train), 2 (test) or
0 (neither). Clips of one film share the part of the name before the class.
"""

from __future__ import annotations

import re
from pathlib import Path

from toomuchtv.evaluation.benchmark import Benchmark, ClipList, Fold, LabeledClip
from toomuchtv.evaluation.datasets.tables import first_folder, read_lines
from toomuchtv.evaluation.errors import BenchmarkError

_NUM_SPLITS = 3
_UCF_GROUP = re.compile(r"_g(\d+)_c\d+$")
# visible part, camera motion, number of people, point of view, quality, number
_HMDB_PROPERTIES = re.compile(r"_[a-z]_[a-z]{2}_np\d_[a-z]{2}_[a-z]{3}_\d+$")


def read_ucf101(root: Path) -> Benchmark:
    """Read UCF101, or anything in its layout, such as the studio's labeled actions.

    `group` is g<NN> alone: in the studio it is the title, whose clips are of many classes.

    Raises:
        BenchmarkError: A list is missing or malformed.
    """
    lists = root / "ucfTrainTestlist"
    videos = first_folder(root, ["videos", "UCF-101", "UCF101"], what="UCF101")
    listed = ClipList()
    classes: set[str] = set()
    folds = []
    for number in range(1, _NUM_SPLITS + 1):
        sides = []
        for side in ("train", "test"):
            clips = [
                _ucf_clip(videos, line, lists / f"{side}list0{number}.txt")
                for line in read_lines(lists / f"{side}list0{number}.txt", what="UCF101")
            ]
            classes.update(clip.labels[0] for clip in clips)
            sides.append(listed.add_all(clips))
        folds.append(Fold(name=f"split {number}", train=sides[0], test=sides[1]))
    return Benchmark(
        name="ucf101",
        root=root,
        task="single_label",
        modalities=("video", "audio"),
        clips=tuple(listed.clips),
        folds=tuple(folds),
        classes=tuple(sorted(classes)),
        missing=listed.missing,
    )


def _ucf_clip(videos: Path, line: str, path: Path) -> LabeledClip:
    # Training lists give "path label-number", test lists the path alone.
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
        BenchmarkError: Split files are missing or malformed.
    """
    lists = root / "testTrainMulti_7030_splits"
    videos = first_folder(root, ["videos", "hmdb51_org", "hmdb51"], what="HMDB51")
    listed = ClipList()
    folds = []
    classes: set[str] = set()
    for number in range(1, _NUM_SPLITS + 1):
        paths = sorted(lists.glob(f"*_test_split{number}.txt"))
        if not paths:
            raise BenchmarkError(
                f"no HMDB51 at {str(root)!r}: {str(lists)!r} has no <class>_test_split{number}.txt"
            )
        sides: dict[str, list[LabeledClip]] = {"0": [], "1": [], "2": []}
        for path in paths:
            label = path.name.removesuffix(f"_test_split{number}.txt")
            classes.add(label)
            for line in read_lines(path, what="HMDB51"):
                name, _, side = line.strip().rpartition(" ")
                if side not in sides or not name:
                    raise BenchmarkError(
                        f"{str(path)!r} has the line {line!r}; expected a file and 0, 1 or 2"
                    )
                sides[side].append(_hmdb_clip(videos, label, name.strip()))
        train, test = listed.add_all(sides["1"]), listed.add_all(sides["2"])
        folds.append(Fold(name=f"split {number}", train=train, test=test))
    return Benchmark(
        name="hmdb51",
        root=root,
        task="single_label",
        modalities=("video",),
        clips=tuple(listed.clips),
        folds=tuple(folds),
        classes=tuple(sorted(classes)),
        missing=listed.missing,
    )


def _hmdb_clip(videos: Path, label: str, name: str) -> LabeledClip:
    """A clip; its source is the film, told by what stands before the class in the name."""
    stem = Path(name).stem
    trimmed = _HMDB_PROPERTIES.sub("", stem)
    film = trimmed.removesuffix(f"_{label}")
    return LabeledClip(path=videos / label / name, labels=(label,), source=film, group=film)
