"""Readers of ESC-50, ESC-10, UrbanSound8K, FSD50K and the scenes of DCASE 2013.

ESC-50 (Piczak, ACM Multimedia 2015): `audio/` and `meta/esc50.csv` with filename, fold, target,
category, esc10, src_file, take. ESC-10 is the part with esc10 = True. Clips of one recording are
in one fold. The official names of the files are `<fold>-<src_file>-<take>-<target>`, so that a row
that was edited contradicts its file.

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
    Listing,
    cross_validation,
    first_folder,
    make_benchmark,
    media_below,
    unused_gap,
)
from toomuchtv.evaluation.datasets.official import (
    DCASE2013,
    ESC10,
    ESC50,
    FSD50K,
    URBANSOUND8K,
    Official,
)
from toomuchtv.evaluation.datasets.tables import Problems, Row, RowError, parse_rows, read_table
from toomuchtv.evaluation.errors import BenchmarkError

_ESC_NAME = re.compile(r"(\d+)-(\d+)-([A-Z])-(\d+)")
_URBANSOUND_NAME = re.compile(r"(\d+)-(\d+)-\d+-\d+")
_DCASE_NAME = re.compile(r"([a-z]+)(\d\d)")


def read_esc(root: Path, name: str) -> Benchmark:
    """Read `esc50`, or the part of it that is `esc10`.

    A table whose classes are all of its own is read as well, with the same five folds. The rendered
    sounds have such a table.

    Raises:
        BenchmarkError: The table is missing or malformed, or has no row of ESC-10.
    """
    problems = Problems(name)
    path = root / "meta" / "esc50.csv"
    rows = read_table(path, ["filename", "fold", "category"], problems, benchmark="ESC-50")
    if name == "esc10":
        flags = parse_rows(rows, _esc10_flag, problems)
        problems.check()
        rows = [row for row, flag in zip(rows, flags, strict=True) if flag]
        if not rows:
            raise BenchmarkError(f"{str(path)!r} marks no row as ESC-10")
    benchmark = {"esc50": ESC50, "esc10": ESC10}[name]
    official = benchmark.if_named(row.optional("category") for row in rows)
    listed = parse_rows(rows, lambda row: _esc_clip(row, root, benchmark, official), problems)
    own_folds = {fold for fold, _ in listed} if official is None else set()
    if own_folds and len(own_folds) < 5:
        problems.add(str(path), f"the layout of ESC-50 has 5 folds, got {len(own_folds)}")
    return _with_official_folds(name, root, listed, problems, benchmark, official)


def _esc10_flag(row: Row) -> bool:
    return row.one_of("esc10", ("True", "False", "TRUE", "FALSE")).lower() == "true"


def _esc_clip(
    row: Row, root: Path, benchmark: Official, official: Official | None
) -> tuple[str, LabeledClip]:
    path = row.file("filename", root / "audio")
    fold = benchmark.fold(row.whole_number("fold"))
    label = row.text("category")
    if official is not None:
        label = official.label(label)
        target = row.whole_number("target")
        stated = ESC50.classes.index(label)
        if target != stated:
            raise RowError(f"{label} has the target {stated} in ESC-50, got {target}")
        cells = (fold, row.text("src_file"), row.text("take"), str(target))
        match = _ESC_NAME.fullmatch(path.stem)
        if match is not None and match.groups() != cells:
            raise RowError(
                f"the name {path.name} states fold, src_file, take and target as "
                f"{', '.join(match.groups())}, and the columns as {', '.join(cells)}"
            )
    source = row.optional("src_file") or path.name
    clip = LabeledClip(path=path, labels=(label,), source=source, group=fold, listed_at=str(row))
    return fold, clip


def read_urbansound8k(root: Path) -> Benchmark:
    """Read UrbanSound8K with its ten official folds.

    Raises:
        BenchmarkError: The table is missing or malformed.
    """
    columns = ["slice_file_name", "fsID", "fold", "classID", "class"]
    problems = Problems("urbansound8k")
    path = root / "metadata" / "UrbanSound8K.csv"
    rows = read_table(path, columns, problems, benchmark="UrbanSound8K")

    def parse(row: Row) -> tuple[str, LabeledClip]:
        fold = URBANSOUND8K.fold(row.whole_number("fold"))
        label = URBANSOUND8K.label(row.text("class"))
        file = row.file("slice_file_name", root / "audio" / f"fold{fold}")
        number = URBANSOUND8K.classes.index(label)
        match = _URBANSOUND_NAME.fullmatch(file.stem)
        cells = (row.text("fsID"), str(row.whole_number("classID")))
        if cells[1] != str(number) or (match is not None and match.groups() != cells):
            raise RowError(
                f"{label} has the classID {number}; the columns have fsID {cells[0]} and classID "
                f"{cells[1]} for {file.name}"
            )
        return fold, LabeledClip(
            path=file, labels=(label,), source=cells[0], group=fold, listed_at=str(row)
        )

    listed = parse_rows(rows, parse, problems)
    return _with_official_folds("urbansound8k", root, listed, problems, URBANSOUND8K, URBANSOUND8K)


def _with_official_folds(
    name: str,
    root: Path,
    listed: Listing,
    problems: Problems,
    benchmark: Official,
    official: Official | None,
) -> Benchmark:
    """Return a benchmark whose folds are the groups of the clips.

    `official` is None if all classes are the user's own.
    """
    folds, rows, notes = cross_validation(listed, problems)
    if official is None:
        notes = [*notes, benchmark.own_classes_note()]
    return make_benchmark(
        name, root, folds, problems, rows=rows, modalities=("audio",), official=official,
        notes=notes,
    )  # fmt: skip


def read_fsd50k(root: Path) -> Benchmark:
    """Read FSD50K with its official training, validation and evaluation sets.

    Raises:
        BenchmarkError: A table is missing or malformed.
    """
    truth = root / "FSD50K.ground_truth"
    problems = Problems("fsd50k")
    names = read_table(
        truth / "vocabulary.csv", ["index", "label", "mid"], problems, benchmark="FSD50K",
        header=False,
    )  # fmt: skip
    vocabulary = [row.text("label") for row in names]
    dev = read_table(truth / "dev.csv", ["fname", "labels", "split"], problems, benchmark="FSD50K")
    test = read_table(truth / "eval.csv", ["fname", "labels"], problems, benchmark="FSD50K")

    def parse(row: Row) -> tuple[str, LabeledClip]:
        name = row.text("fname").removesuffix(".wav")
        labels = _vocabulary_labels(row.text("labels"), vocabulary)
        side = "test"
        if row.path.name == "dev.csv":
            side = {"train": "train", "val": "validation"}[row.one_of("split", ("train", "val"))]
        folder = f"FSD50K.{row.path.stem}_audio"
        path = root / folder / f"{name}.wav"
        return side, LabeledClip(
            path=path, labels=labels, source=name, group=name, listed_at=str(row)
        )

    listed = parse_rows([*dev, *test], parse, problems)
    return make_benchmark(
        "fsd50k", root, {"eval": listed}, problems, classes=vocabulary, task="multi_label",
        modalities=("audio",), official=FSD50K,
    )  # fmt: skip


def _vocabulary_labels(cell: str, vocabulary: Sequence[str]) -> tuple[str, ...]:
    labels = tuple(label.strip() for label in cell.split(","))
    unknown = [label for label in labels if label not in vocabulary]
    if unknown:
        raise RowError(f"vocabulary.csv does not have the label {unknown[0]!r}")
    return labels


def read_dcase2013(root: Path) -> Benchmark:
    """Read the scenes of DCASE 2013: 100 recordings to train on and 100 to test on.

    Raises:
        BenchmarkError: A folder is missing, or a file's name has no class and number.
    """
    problems = Problems("dcase2013")
    listed: list[tuple[str, LabeledClip]] = []
    unused: list[Path] = []
    for side, names in (
        ("train", ["scenes_stereo", "train"]),
        ("test", ["scenes_stereo_testset", "val"]),
    ):
        media, unknown = media_below(first_folder(root, names, benchmark="DCASE 2013"))
        unused += unknown
        for path in media:
            match = _DCASE_NAME.fullmatch(path.stem)
            try:
                if match is None:
                    raise RowError("its name is not <class><NN>.wav, as bus01.wav is")
                label = DCASE2013.label(match[1])
            except RowError as error:
                problems.add(path.relative_to(root), error)
                continue
            source = f"{side}/{path.stem}"
            listed.append(
                (side, LabeledClip(
                    path=path, labels=(label,), source=source, group=source,
                    listed_at=str(path.relative_to(root)),
                ))
            )  # fmt: skip
    return make_benchmark(
        "dcase2013", root, {"test": listed}, problems, modalities=("audio",), official=DCASE2013,
        gaps=unused_gap(unused, root),
    )  # fmt: skip
