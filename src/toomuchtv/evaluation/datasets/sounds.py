"""Benchmarks of sound: ESC-50 and ESC-10, UrbanSound8K, FSD50K, the scenes of DCASE 2013.

ESC-50 (Piczak, ACM Multimedia 2015): `audio/` and `meta/esc50.csv` with filename, fold, target,
category, esc10, src_file, take. ESC-10 is the part with esc10 = True. Folds keep recordings whole.

UrbanSound8K (Salamon et al., ACM Multimedia 2014): `audio/fold<1-10>/` and
`metadata/UrbanSound8K.csv` with slice_file_name, fsID, start, end, salience, fold, classID, class.

FSD50K (Fonseca et al., TASLP 2022): `FSD50K.dev_audio/`, `FSD50K.eval_audio/` and
`FSD50K.ground_truth/{dev,eval,vocabulary}.csv`; dev.csv has fname, labels, mids, split (train,
val).

DCASE 2013, task 1 (Stowell et al., IEEE Transactions on Multimedia 2015), which the field's tables
call DCASE2014: `scenes_stereo/<class><NN>.wav` to train on, `scenes_stereo_testset/` to test on.
"""

from __future__ import annotations

import re
from pathlib import Path

from toomuchtv.evaluation.benchmark import (
    Benchmark,
    ClipList,
    Fold,
    LabeledClip,
    cross_validation_folds,
)
from toomuchtv.evaluation.datasets.tables import (
    MEDIA_SUFFIXES,
    first_folder,
    read_lines,
    read_table,
)
from toomuchtv.evaluation.errors import BenchmarkError

_SCENE = re.compile(r"([a-z]+)(\d\d)$")


def read_esc50(root: Path) -> Benchmark:
    """Read ESC-50, or anything in its layout.

    Raises:
        BenchmarkError: The layout is another.
    """
    return _esc(root, name="esc50", only_esc10=False)


def read_esc10(root: Path) -> Benchmark:
    """Read the part of ESC-50 that is ESC-10.

    Raises:
        BenchmarkError: The layout is another, or no row is of ESC-10.
    """
    return _esc(root, name="esc10", only_esc10=True)


def _esc(root: Path, *, name: str, only_esc10: bool) -> Benchmark:
    columns = ["filename", "fold", "category", *(["esc10"] if only_esc10 else [])]
    rows = read_table(root / "meta" / "esc50.csv", columns, what="ESC-50")
    if only_esc10:
        rows = [row for row in rows if row["esc10"].lower() == "true"]
        if not rows:
            raise BenchmarkError(f"{str(root / 'meta' / 'esc50.csv')!r} marks no row as ESC-10")
    clips = [
        LabeledClip(
            path=root / "audio" / row["filename"],
            labels=(row["category"],),
            source=row.get("src_file") or row["filename"],
            group=row["fold"],
        )
        for row in rows
    ]
    return _folded(root, name, clips)


def read_urbansound8k(root: Path) -> Benchmark:
    """Read UrbanSound8K: ten folds, never to be shuffled.

    Raises:
        BenchmarkError: The layout is another.
    """
    rows = read_table(
        root / "metadata" / "UrbanSound8K.csv",
        ["slice_file_name", "fsID", "fold", "class"],
        what="UrbanSound8K",
    )
    clips = [
        LabeledClip(
            path=root / "audio" / f"fold{row['fold']}" / row["slice_file_name"],
            labels=(row["class"],),
            source=row["fsID"],
            group=row["fold"],
        )
        for row in rows
    ]
    return _folded(root, "urbansound8k", clips)


def _folded(root: Path, name: str, clips: list[LabeledClip]) -> Benchmark:
    listed = ClipList()
    listed.add_all(clips)
    return Benchmark(
        name=name,
        root=root,
        task="single_label",
        modalities=("audio",),
        clips=tuple(listed.clips),
        folds=cross_validation_folds([clip.group for clip in listed.clips]),
        classes=tuple(sorted({clip.labels[0] for clip in clips})),
        missing=listed.missing,
    )


def read_fsd50k(root: Path) -> Benchmark:
    """Read FSD50K: trained on dev/train, selected on dev/val, tested on eval.

    Raises:
        BenchmarkError: The layout is another.
    """
    truth = root / "FSD50K.ground_truth"
    dev = read_table(truth / "dev.csv", ["fname", "labels", "split"], what="FSD50K")
    test = read_table(truth / "eval.csv", ["fname", "labels"], what="FSD50K")
    vocabulary = [
        line.split(",")[1] for line in read_lines(truth / "vocabulary.csv", what="FSD50K")
    ]
    listed = ClipList()

    def taken(rows: list[dict[str, str]], folder: str) -> tuple[int, ...]:
        return listed.add_all(
            [
                LabeledClip(
                    path=root / folder / f"{row['fname']}.wav",
                    labels=tuple(row["labels"].split(",")),
                    source=row["fname"],
                    group=row["fname"],
                )
                for row in rows
            ]
        )

    unknown = {label for row in [*dev, *test] for label in row["labels"].split(",")}
    unknown -= set(vocabulary)
    if unknown:
        raise BenchmarkError(f"labels that vocabulary.csv does not have: {sorted(unknown)[:5]}")
    train = taken([row for row in dev if row["split"] == "train"], "FSD50K.dev_audio")
    validation = taken([row for row in dev if row["split"] == "val"], "FSD50K.dev_audio")
    tested = taken(test, "FSD50K.eval_audio")
    return Benchmark(
        name="fsd50k",
        root=root,
        task="multi_label",
        modalities=("audio",),
        clips=tuple(listed.clips),
        folds=(Fold(name="eval", train=train, validation=validation, test=tested),),
        classes=tuple(sorted(vocabulary)),
        missing=listed.missing,
    )


def read_dcase2013(root: Path) -> Benchmark:
    """Read the scenes of DCASE 2013 (the tables' DCASE2014): 100 to train, 100 to test.

    Raises:
        BenchmarkError: A folder is missing, or a file's name has no class and number.
    """
    listed = ClipList()
    sides = []
    for side, names in (
        ("train", ["scenes_stereo", "train"]),
        ("test", ["scenes_stereo_testset", "val"]),
    ):
        folder = first_folder(root, names, what="DCASE 2013")
        # The archives unpack to a folder of their own name.
        nested = folder / names[0]
        folder = nested if nested.is_dir() else folder
        clips = []
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in MEDIA_SUFFIXES:
                continue
            match = _SCENE.match(path.stem)
            if match is None:
                raise BenchmarkError(f"{str(path)!r} is not named <class><NN>.wav, as bus01.wav")
            source = f"{side}/{path.stem}"
            clips.append(LabeledClip(path=path, labels=(match[1],), source=source, group=source))
        sides.append(listed.add_all(clips))
    return Benchmark(
        name="dcase2013",
        root=root,
        task="single_label",
        modalities=("audio",),
        clips=tuple(listed.clips),
        folds=(Fold(name="test", train=sides[0], test=sides[1]),),
        classes=tuple(sorted({clip.labels[0] for clip in listed.clips})),
        missing=listed.missing,
    )
