"""Readers of ESC-50, ESC-10, UrbanSound8K, FSD50K and the scenes of DCASE 2013.

ESC-50 (Piczak, ACM Multimedia 2015): `audio/` and `meta/esc50.csv` with filename, fold, target,
category, esc10, src_file, take. ESC-10 is the part with esc10 = True. Clips of one recording are
in one fold.

UrbanSound8K (Salamon et al., ACM Multimedia 2014): `audio/fold<1-10>/` and
`metadata/UrbanSound8K.csv` with slice_file_name, fsID, start, end, salience, fold, classID, class.

FSD50K (Fonseca et al., TASLP 2022): `FSD50K.dev_audio/`, `FSD50K.eval_audio/` and
`FSD50K.ground_truth/{dev,eval,vocabulary}.csv`; dev.csv has fname, labels, mids, split (train,
val).

DCASE 2013, task 1 (Stowell et al., IEEE Transactions on Multimedia 2015), which result tables call
DCASE2014: `scenes_stereo/<class><NN>.wav` to train on, `scenes_stereo_testset/` to test on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from toomuchtv.evaluation.benchmark import (
    Benchmark,
    ClipList,
    Fold,
    LabeledClip,
    cross_validation_folds,
)
from toomuchtv.evaluation.datasets.lists import (
    MEDIA_SUFFIXES,
    first_folder,
    make_benchmark,
    read_lines,
    read_table,
)
from toomuchtv.evaluation.errors import BenchmarkError

_DCASE_NAME = re.compile(r"([a-z]+)(\d\d)$")


def read_esc(root: Path, name: str) -> Benchmark:
    """Read `esc50`, a dataset with the same files, or the part of it that is `esc10`.

    Raises:
        BenchmarkError: The table is missing or malformed, or has no row of ESC-10.
    """
    columns = ["filename", "fold", "category", *(["esc10"] if name == "esc10" else [])]
    path = root / "meta" / "esc50.csv"
    rows = read_table(path, columns, benchmark="ESC-50")
    if name == "esc10":
        rows = [row for row in rows if row["esc10"].lower() == "true"]
        if not rows:
            raise BenchmarkError(f"{str(path)!r} marks no row as ESC-10")
    return _with_official_folds(
        name,
        root,
        (
            LabeledClip(
                path=root / "audio" / row["filename"],
                labels=(row["category"],),
                source=row.get("src_file") or row["filename"],
                group=row["fold"],
            )
            for row in rows
        ),
    )


def read_urbansound8k(root: Path) -> Benchmark:
    """Read UrbanSound8K with its ten official folds.

    Raises:
        BenchmarkError: The table is missing or malformed.
    """
    rows = read_table(
        root / "metadata" / "UrbanSound8K.csv", ["slice_file_name", "fsID", "fold", "class"],
        benchmark="UrbanSound8K",
    )  # fmt: skip
    return _with_official_folds(
        "urbansound8k",
        root,
        (
            LabeledClip(
                path=root / "audio" / f"fold{row['fold']}" / row["slice_file_name"],
                labels=(row["class"],),
                source=row["fsID"],
                group=row["fold"],
            )
            for row in rows
        ),
    )


def _with_official_folds(name: str, root: Path, listed: Iterable[LabeledClip]) -> Benchmark:
    """Return a benchmark whose folds are the groups of the clips."""
    every = list(listed)
    clips = ClipList()
    clips.add_all(every)
    folds = cross_validation_folds([clip.group for clip in clips.clips])
    classes = (clip.labels[0] for clip in every)
    return make_benchmark(name, root, clips, folds, classes, modalities=("audio",))


def read_fsd50k(root: Path) -> Benchmark:
    """Read FSD50K with its official training, validation and evaluation sets.

    Raises:
        BenchmarkError: A table is missing or malformed.
    """
    truth = root / "FSD50K.ground_truth"
    lines = read_lines(truth / "vocabulary.csv", benchmark="FSD50K")
    vocabulary = {line.split(",")[1] for line in lines if line.count(",") >= 2}
    dev = read_table(truth / "dev.csv", ["fname", "labels", "split"], benchmark="FSD50K")
    test = read_table(truth / "eval.csv", ["fname", "labels"], benchmark="FSD50K")
    unknown = {label for row in [*dev, *test] for label in row["labels"].split(",")} - vocabulary
    if unknown:
        raise BenchmarkError(f"labels that vocabulary.csv does not have: {sorted(unknown)[:5]}")
    clips = ClipList()

    def add(rows: Iterable[dict[str, str]], folder: str) -> tuple[int, ...]:
        return clips.add_all(
            LabeledClip(
                path=root / folder / f"{row['fname']}.wav",
                labels=tuple(row["labels"].split(",")),
                source=row["fname"],
                group=row["fname"],
            )
            for row in rows
        )

    fold = Fold(
        name="eval",
        train=add((row for row in dev if row["split"] == "train"), "FSD50K.dev_audio"),
        validation=add((row for row in dev if row["split"] == "val"), "FSD50K.dev_audio"),
        test=add(test, "FSD50K.eval_audio"),
    )
    return make_benchmark(
        "fsd50k", root, clips, [fold], vocabulary, task="multi_label", modalities=("audio",)
    )


def read_dcase2013(root: Path) -> Benchmark:
    """Read the scenes of DCASE 2013: 100 recordings to train on and 100 to test on.

    Raises:
        BenchmarkError: A folder is missing, or a file's name has no class and number.
    """
    clips = ClipList()
    sides = {}
    for side, names in (
        ("train", ["scenes_stereo", "train"]),
        ("test", ["scenes_stereo_testset", "val"]),
    ):
        folder = first_folder(root, names, benchmark="DCASE 2013")
        # The archives unpack to a folder of their own name.
        nested = folder / names[0]
        listed = []
        for path in sorted((nested if nested.is_dir() else folder).iterdir()):
            if path.suffix.lower() not in MEDIA_SUFFIXES:
                continue
            match = _DCASE_NAME.match(path.stem)
            if match is None:
                raise BenchmarkError(f"{str(path)!r} is not named <class><NN>.wav, as bus01.wav")
            source = f"{side}/{path.stem}"
            listed.append(LabeledClip(path=path, labels=(match[1],), source=source, group=source))
        sides[side] = clips.add_all(listed)
    classes = (clip.labels[0] for clip in clips.clips)
    folds = [Fold(name="test", **sides)]
    return make_benchmark("dcase2013", root, clips, folds, classes, modalities=("audio",))
