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
from collections.abc import Sequence
from pathlib import Path

from toomuchtv.evaluation.benchmark import Benchmark, LabeledClip
from toomuchtv.evaluation.datasets.lists import (
    MEDIA_SUFFIXES,
    cross_validation,
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
    listed = [
        LabeledClip(
            path=root / "audio" / row["filename"],
            labels=(row["category"],),
            source=row.get("src_file") or row["filename"],
            group=row["fold"],
        )
        for row in rows
    ]
    return _with_official_folds(name, root, listed)


def read_urbansound8k(root: Path) -> Benchmark:
    """Read UrbanSound8K with its ten official folds.

    Raises:
        BenchmarkError: The table is missing or malformed.
    """
    columns = ["slice_file_name", "fsID", "fold", "class"]
    path = root / "metadata" / "UrbanSound8K.csv"
    listed = [
        LabeledClip(
            path=root / "audio" / f"fold{row['fold']}" / row["slice_file_name"],
            labels=(row["class"],),
            source=row["fsID"],
            group=row["fold"],
        )
        for row in read_table(path, columns, benchmark="UrbanSound8K")
    ]
    return _with_official_folds("urbansound8k", root, listed)


def _with_official_folds(name: str, root: Path, listed: Sequence[LabeledClip]) -> Benchmark:
    """Return a benchmark whose folds are the groups of the clips."""
    folds = cross_validation([(clip.group, clip) for clip in listed])
    return make_benchmark(name, root, folds, rows=listed, modalities=("audio",))


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

    def clip_of(row: dict[str, str], folder: str) -> LabeledClip:
        name = row["fname"]
        path = root / folder / f"{name}.wav"
        labels = tuple(row["labels"].split(","))
        return LabeledClip(path=path, labels=labels, source=name, group=name)

    sides = {
        name: [clip_of(row, "FSD50K.dev_audio") for row in dev if row["split"] == split]
        for name, split in (("train", "train"), ("validation", "val"))
    }
    sides["test"] = [clip_of(row, "FSD50K.eval_audio") for row in test]
    return make_benchmark(
        "fsd50k", root, {"eval": sides}, classes=vocabulary, task="multi_label",
        modalities=("audio",),
    )  # fmt: skip


def read_dcase2013(root: Path) -> Benchmark:
    """Read the scenes of DCASE 2013: 100 recordings to train on and 100 to test on.

    Raises:
        BenchmarkError: A folder is missing, or a file's name has no class and number.
    """
    sides: dict[str, list[LabeledClip]] = {"train": [], "test": []}
    for side, names in (
        ("train", ["scenes_stereo", "train"]),
        ("test", ["scenes_stereo_testset", "val"]),
    ):
        folder = first_folder(root, names, benchmark="DCASE 2013")
        # The archives unpack to a folder of their own name.
        nested = folder / names[0]
        for path in sorted((nested if nested.is_dir() else folder).iterdir()):
            if path.suffix.lower() not in MEDIA_SUFFIXES:
                continue
            match = _DCASE_NAME.match(path.stem)
            if match is None:
                raise BenchmarkError(f"{str(path)!r} is not named <class><NN>.wav, as bus01.wav")
            source = f"{side}/{path.stem}"
            sides[side].append(
                LabeledClip(path=path, labels=(match[1],), source=source, group=source)
            )
    return make_benchmark("dcase2013", root, {"test": sides}, modalities=("audio",))
