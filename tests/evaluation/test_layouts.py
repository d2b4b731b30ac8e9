"""Reading benchmarks in their official layouts, and saying what is wrong with a folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.evaluation.esc50 import read_esc50
from toomuchtv.evaluation.ucf101 import read_ucf101


def test_the_real_esc10_has_400_sounds_in_five_equal_folds(media_root: Path) -> None:
    clips = read_esc50(media_root / "esc10")
    assert len(clips) == 400
    assert Counter(clip.group for clip in clips) == dict.fromkeys("12345", 80)
    assert set(Counter(clip.label for clip in clips).values()) == {40}


def test_a_folder_that_is_no_esc50_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"no ESC-50 at .* cannot be read"):
        read_esc50(tmp_path)


def test_missing_sounds_are_counted(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/esc50.csv").write_text("filename,fold,target,category\na.wav,1,0,dog\n")
    with pytest.raises(BenchmarkError, match=r"1 of the 1 sounds .* missing, the first 'a.wav'"):
        read_esc50(tmp_path)


def test_a_table_without_the_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/esc50.csv").write_text("file,fold\na.wav,1\n")
    with pytest.raises(BenchmarkError, match="columns category, filename, fold, target"):
        read_esc50(tmp_path)


def test_the_real_ucf101_sample_wants_allow_missing(media_root: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"names \d+ files that are not in .*--allow-missing"):
        read_ucf101(media_root / "ucf101")


def test_the_real_ucf101_sample_never_shares_a_group(media_root: Path) -> None:
    splits = read_ucf101(media_root / "ucf101", allow_missing=True)
    assert len(splits) == 3
    for split in splits:
        assert len(split.train) + len(split.test) == 54
        assert split.num_missing > 13_000
        train = {(clip.label, clip.group) for clip in split.train}
        test = {(clip.label, clip.group) for clip in split.test}
        assert not train & test


def test_a_malformed_line_is_shown(tmp_path: Path) -> None:
    (tmp_path / "ucfTrainTestlist").mkdir()
    (tmp_path / "ucfTrainTestlist/trainlist01.txt").write_text("Archery/oops.avi 1\n")
    with pytest.raises(BenchmarkError, match=r"has the line 'Archery/oops\.avi 1'"):
        read_ucf101(tmp_path)
