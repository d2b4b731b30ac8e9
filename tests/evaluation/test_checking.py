"""The files of a benchmark are checked before anything is computed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.media_files import write_film
from toomuchtv.evaluation.checking import check_benchmark
from toomuchtv.evaluation.datasets import read_benchmark
from toomuchtv.evaluation.errors import BenchmarkError


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two films to train on and two to test on, of which one is a copy of a training film."""
    for number, name in enumerate("abc"):
        write_film(tmp_path / f"{name}.mp4", seconds=1 + number * 0.2)
    shutil.copy(tmp_path / "a.mp4", tmp_path / "copy.mp4")
    rows = ["a.mp4,x,train", "b.mp4,y,train", "c.mp4,x,test", "copy.mp4,y,test"]
    (tmp_path / "labels.csv").write_text("path,label,split\n" + "\n".join(rows) + "\n")
    return tmp_path


def add(table: Path, row: str) -> None:
    with (table / "labels.csv").open("a") as file:
        file.write(row + "\n")


def test_equal_files_in_training_and_test_sets_are_reported(table: Path) -> None:
    benchmark, check = check_benchmark(read_benchmark("csv", table), "video", allow_missing=False)
    assert len(benchmark.clips) == 4
    assert [(Path(a).name, Path(b).name) for a, b in check.duplicates] == [("copy.mp4", "a.mp4")]
    assert "byte for byte" in check.notes()[0]


def test_missing_and_unreadable_files_are_listed_and_refused(table: Path) -> None:
    add(table, "gone.mp4,x,train")
    (table / "broken.mp4").write_bytes(b"no film")
    (table / "empty.mp4").touch()
    add(table, "broken.mp4,x,train")
    add(table, "empty.mp4,y,test")
    read = read_benchmark("csv", table)
    with pytest.raises(BenchmarkError, match=r"1 files .*gone\.mp4.* 2 unusable.*--allow-missing"):
        check_benchmark(read, "video", allow_missing=False)
    benchmark, check = check_benchmark(read, "video", allow_missing=True)
    assert len(benchmark.clips) == 4
    assert len(check.missing) == 1
    assert "it is empty" in "".join(check.unreadable)
    assert any("1 of the files" in note for note in check.notes())
    assert any("2 files were left out" in note for note in check.notes())


def test_a_file_without_the_modality_cannot_be_used(table: Path) -> None:
    write_film(table / "silent.mp4", seconds=1, languages=())
    add(table, "silent.mp4,x,train")
    read = read_benchmark("csv", table)
    check_benchmark(read, "video", allow_missing=False)
    with pytest.raises(BenchmarkError, match="it has no audio"):
        check_benchmark(read, "audio", allow_missing=False)


def test_classes_without_clips_are_removed(table: Path) -> None:
    add(table, "gone.mp4,z,train")
    read = read_benchmark("csv", table)
    assert read.classes == ("x", "y")
    for name in ("b.mp4", "copy.mp4"):
        (table / name).write_bytes(b"no film")
    benchmark, _ = check_benchmark(read, "video", allow_missing=True)
    assert benchmark.classes == ("x",)
    assert "1 of its 2 classes" in benchmark.notes[-1]


def test_a_fold_without_test_clips_is_refused(table: Path) -> None:
    for name in ("c.mp4", "copy.mp4"):
        (table / name).write_bytes(b"no film")
    with pytest.raises(BenchmarkError, match="no clip left to test on"):
        check_benchmark(read_benchmark("csv", table), "video", allow_missing=True)
