"""The files of a benchmark are checked before anything is computed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.media_files import write_film
from toomuchtv.errors import MediaError
from toomuchtv.evaluation.checking import check_benchmark
from toomuchtv.evaluation.datasets import read_benchmark
from toomuchtv.evaluation.encoders.baselines import ColorHistogram, MeanLogMel
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.evaluation.reading import ViewReader
from toomuchtv.evaluation.views import AudioViews, VideoViews


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
    assert "file is empty" in "".join(check.unreadable)
    assert any("1 of the files" in note for note in check.notes())
    assert any("2 clips were skipped" in note for note in check.notes())


def test_a_file_without_the_modality_cannot_be_used(table: Path) -> None:
    write_film(table / "silent.mp4", seconds=1, languages=())
    add(table, "silent.mp4,x,train")
    read = read_benchmark("csv", table)
    check_benchmark(read, "video", allow_missing=False)
    with pytest.raises(BenchmarkError, match="no audio"):
        check_benchmark(read, "audio", allow_missing=False)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.mkv", "ffconcat version 1.0\nfile a.mp4\n"),
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{film}\n#EXT-X-ENDLIST\n"),
    ],
)
def test_playlists_are_refused_by_the_check_and_by_the_readers(
    table: Path, name: str, text: str
) -> None:
    (table / name).write_text(text.format(film=(table / "a.mp4").resolve()))
    add(table, f"{name},x,train")
    read = read_benchmark("csv", table)
    with pytest.raises(BenchmarkError, match="a playlist or manifest"):
        check_benchmark(read, "video", allow_missing=False)
    benchmark, check = check_benchmark(read, "video", allow_missing=True)
    assert (len(benchmark.clips), len(check.unreadable)) == (4, 1)
    for views, encoder in ((VideoViews(), ColorHistogram()), (AudioViews(), MeanLogMel())):
        reader = ViewReader(views, encoder)
        assert len(reader.read(read.clips[0], seed=0)) == 1
        with pytest.raises(MediaError, match="a playlist or manifest"):
            reader.read(read.clips[-1], seed=0)


def test_classes_without_clips_are_removed(table: Path) -> None:
    add(table, "gone.mp4,z,train")
    read = read_benchmark("csv", table)
    assert read.classes == ("x", "y", "z")
    benchmark, _ = check_benchmark(read, "video", allow_missing=True)
    assert benchmark.classes == ("x", "y")
    assert "1 of its 3 classes" in benchmark.notes[-1]
    for name in ("b.mp4", "copy.mp4"):
        (table / name).write_bytes(b"no film")
    with pytest.raises(BenchmarkError, match="one class"):
        check_benchmark(read, "video", allow_missing=True)


def test_a_fold_without_test_clips_is_refused(table: Path) -> None:
    for name in ("c.mp4", "copy.mp4"):
        (table / name).write_bytes(b"no film")
    with pytest.raises(BenchmarkError, match="no clip left to test on"):
        check_benchmark(read_benchmark("csv", table), "video", allow_missing=True)


@pytest.mark.parametrize("side", ["train", "test"])
def test_a_fold_whose_clips_have_no_class_is_refused(table: Path, side: str) -> None:
    text = (table / "labels.csv").read_text().replace("label", "labels")
    read = read_benchmark("csv", _write(table, text))
    check_benchmark(read, "video", allow_missing=False)
    for label in "xy":
        text = text.replace(f"{label},{side}", f",{side}")
    with pytest.raises(BenchmarkError, match=f"class to {side} on"):
        check_benchmark(read_benchmark("csv", _write(table, text)), "video", allow_missing=False)


def _write(table: Path, text: str) -> Path:
    (table / "labels.csv").write_text(text)
    return table
