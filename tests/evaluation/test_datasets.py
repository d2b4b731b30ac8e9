"""Dataset readers on real files if there are any, and else on generated ones."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from toomuchtv.evaluation.benchmark import Benchmark
from toomuchtv.evaluation.datasets import DATASETS, read_benchmark
from toomuchtv.evaluation.errors import BenchmarkError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def sides(benchmark: Benchmark) -> list[tuple[int, int, int]]:
    return [(len(f.train), len(f.validation), len(f.test)) for f in benchmark.folds]


def test_the_real_esc10_has_400_clips_in_five_equal_folds(media_root: Path) -> None:
    for name in ("esc10", "esc50"):
        benchmark = read_benchmark(name, media_root / "esc10")
        assert len(benchmark.clips) == 400
        assert sides(benchmark) == [(320, 0, 80)] * 5
        assert set(Counter(clip.labels[0] for clip in benchmark.clips).values()) == {40}
        for fold in benchmark.folds:
            train = {benchmark.clips[row].source for row in fold.train}
            assert not train & {benchmark.clips[row].source for row in fold.test}


def test_the_real_ucf101_sample_never_shares_a_source(media_root: Path) -> None:
    benchmark = read_benchmark("ucf101", media_root / "ucf101")
    assert len(benchmark.clips) == 54
    assert len(benchmark.missing) == 13_320 - 54
    assert len(benchmark.classes) == 101
    tested: set[int] = set()
    for fold in benchmark.folds:
        assert len(fold.train) + len(fold.test) == 54
        train = {benchmark.clips[row].source for row in fold.train}
        assert not train & {benchmark.clips[row].source for row in fold.test}
        tested |= set(fold.test)
    assert len(tested) > 36


def test_the_real_hmdb51_lists_70_and_30_of_each_class(media_root: Path) -> None:
    benchmark = read_benchmark("hmdb51", media_root / "hmdb51")
    assert len(benchmark.clips) == 4
    assert len(benchmark.classes) == 51
    assert "/wave/" not in "".join(clip.source for clip in benchmark.clips)
    films = {clip.path.name: clip.source for clip in benchmark.clips}
    assert films["TrumanShow_wave_f_nm_np1_fr_med_26.avi"] == "TrumanShow"
    assert films["Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi"] == "Turnk_r_Pippi_Michel"


def test_hmdb51_omits_clips_that_a_split_marks_zero(tmp_path: Path) -> None:
    names = [f"Film{i}_wave_f_nm_np1_fr_med_{i}.avi" for i in range(3)]
    touch(*(tmp_path / "videos" / "wave" / name for name in names))
    for split in "123":
        text = "".join(f"{name} {side} \n" for name, side in zip(names, "120", strict=True))
        write(tmp_path / "testTrainMulti_7030_splits" / f"wave_test_split{split}.txt", text)
    benchmark = read_benchmark("hmdb51", tmp_path)
    assert sides(benchmark) == [(1, 0, 1)] * 3
    assert len(benchmark.clips) == 2


def test_urbansound8k_has_one_fold_per_folder(tmp_path: Path) -> None:
    rows = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for fold in range(1, 11):
        name = f"{fold}00-3-0-0.wav"
        touch(tmp_path / "audio" / f"fold{fold}" / name)
        rows.append(f"{name},{fold}00,0.0,4.0,1,{fold},3,dog_bark")
    write(tmp_path / "metadata" / "UrbanSound8K.csv", "\n".join(rows))
    benchmark = read_benchmark("urbansound8k", tmp_path)
    assert [fold.name for fold in benchmark.folds] == [str(fold) for fold in range(1, 11)]
    assert sides(benchmark) == [(9, 0, 1)] * 10
    assert benchmark.clips[0].source == "100"


def test_fsd50k_is_multi_label_and_selects_on_its_own_validation_set(tmp_path: Path) -> None:
    truth = tmp_path / "FSD50K.ground_truth"
    write(truth / "vocabulary.csv", "0,Bark,/m/1\n1,Dog,/m/2\n2,Rain,/m/3\n")
    write(
        truth / "dev.csv",
        'fname,labels,mids,split\n1,"Bark,Dog","/m/1,/m/2",train\n2,Rain,/m/3,val\n',
    )
    write(truth / "eval.csv", 'fname,labels,mids\n3,"Dog,Rain","/m/2,/m/3"\n')
    touch(*(tmp_path / "FSD50K.dev_audio" / f"{n}.wav" for n in (1, 2)))
    touch(tmp_path / "FSD50K.eval_audio" / "3.wav")
    benchmark = read_benchmark("fsd50k", tmp_path)
    assert benchmark.task == "multi_label"
    assert sides(benchmark) == [(1, 1, 1)]
    assert benchmark.label_matrix().tolist() == [[1, 1, 0], [0, 0, 1], [0, 1, 1]]


@pytest.mark.parametrize("nested", [False, True])
def test_dcase2013_trains_on_one_archive_and_tests_on_the_other(
    tmp_path: Path, nested: bool
) -> None:
    for folder in ("scenes_stereo", "scenes_stereo_testset"):
        at = tmp_path / folder / (folder if nested else "")
        touch(at / "bus01.wav", at / "tubestation10.wav")
    benchmark = read_benchmark("dcase2013", tmp_path)
    assert sides(benchmark) == [(2, 0, 2)]
    assert benchmark.classes == ("bus", "tubestation")
    assert len({clip.source for clip in benchmark.clips}) == 4


def test_kinetics_reads_its_tables_or_its_folders(tmp_path: Path) -> None:
    row = "label,youtube_id,time_start,time_end,split\nriding a bike,{},5,15,{}\n"
    write(tmp_path / "a" / "annotations" / "train.csv", row.format("abc", "train"))
    write(tmp_path / "a" / "annotations" / "val.csv", row.format("xyz", "val"))
    touch(tmp_path / "a" / "train" / "abc_000005_000015.mp4")
    touch(tmp_path / "a" / "val" / "xyz_000005_000015.mp4")
    touch(tmp_path / "b" / "train" / "riding a bike" / "abc_000005_000015.mp4")
    touch(tmp_path / "b" / "val" / "riding a bike" / "xyz_000005_000015.mp4")
    for root in (tmp_path / "a", tmp_path / "b"):
        benchmark = read_benchmark("kinetics", root)
        assert sides(benchmark) == [(1, 0, 1)]
        assert [clip.source for clip in benchmark.clips] == ["abc", "xyz"]
        assert benchmark.classes == ("riding a bike",)


def test_vggsound_finds_clips_under_all_names_in_use(tmp_path: Path) -> None:
    rows = ['a_b,30,"barking, dog",train', "e,1,rain,train", "c,0,rain,test", "d,9,rain,test"]
    write(tmp_path / "vggsound.csv", "\n".join(rows) + "\n")
    touch(tmp_path / "v" / "a_b_000030.mp4", tmp_path / "v" / "c_0_10000.mp4")
    benchmark = read_benchmark("vggsound", tmp_path)
    assert sides(benchmark) == [(1, 0, 1)]
    assert benchmark.classes == ("barking, dog", "rain")
    assert benchmark.missing == ("e_000001.mp4", "d_000009.mp4")
    pairs = read_benchmark("vggsound-pairs", tmp_path)
    assert (pairs.task, sides(pairs)) == ("pairs", [(0, 0, 1)])


def test_audioset_is_multi_label_by_display_name(tmp_path: Path) -> None:
    header = "# Segments csv\n# num\n# YTID, start_seconds, end_seconds, positive_labels\n"
    write(
        tmp_path / "class_labels_indices.csv",
        'index,mid,display_name\n0,/m/1,Speech\n1,/m/2,"Dog, bark"\n',
    )
    write(
        tmp_path / "balanced_train_segments.csv",
        header + '--abc, 30.000, 40.000, "/m/1,/m/2"\n',
    )
    write(tmp_path / "eval_segments.csv", header + 'xyz, 0.000, 10.000, "/m/2"\n')
    touch(tmp_path / "audio" / "Y--abc.wav", tmp_path / "audio" / "xyz_0_10000.flac")
    benchmark = read_benchmark("audioset", tmp_path)
    assert benchmark.task == "multi_label"
    assert sides(benchmark) == [(1, 0, 1)]
    assert benchmark.clips[0].labels == ("Speech", "Dog, bark")


def test_lvu_reads_space_separated_tables(tmp_path: Path) -> None:
    for side, video in (("train", "aa"), ("val", "bb"), ("test", "cc")):
        text = f"scene_place label youtube_id movie\n3 living_room {video} tt{video}\n"
        write(tmp_path / "lvu_1.0" / "scene" / f"{side}.csv", text)
        touch(tmp_path / "videos" / f"{video}.mp4")
    benchmark = read_benchmark("lvu-scene", tmp_path)
    assert sides(benchmark) == [(1, 1, 1)]
    assert benchmark.clips[0].labels == ("living_room",)
    assert benchmark.clips[0].source == "ttaa"


def test_movienet_cuts_seconds_around_each_shot_boundary(tmp_path: Path) -> None:
    films = {"train": ["tt1"], "val": ["tt2"], "test": ["tt3"]}
    write(tmp_path / "meta" / "split318.json", json.dumps(films))
    for (film,) in films.values():
        write(tmp_path / "label318" / f"{film}.txt", "0000 0\n0001 1\n")
        write(
            tmp_path / "shot_movie318" / f"{film}.txt", "0 239 1 2 3\n240 479 1 2 3\n480 600 1 2\n"
        )
    benchmark = read_benchmark("movienet-scenes", tmp_path)
    # The films do not exist: all clips are missing, and 24 frames per second are assumed.
    assert len(benchmark.missing) == 3
    assert sides(benchmark) == [(0, 0, 0)]


def test_movienet_quotes_a_malformed_line(tmp_path: Path) -> None:
    films = {"train": ["tt1"], "val": [], "test": []}
    write(tmp_path / "meta" / "split318.json", json.dumps(films))
    write(tmp_path / "label318" / "tt1.txt", "0000 0\n0001 1\n")
    for shots, message in (("0 239 1\n240\n", "the line '240'"), ("0 239 1\n", "less than 1")):
        write(tmp_path / "shot_movie318" / "tt1.txt", shots)
        with pytest.raises(BenchmarkError, match=message):
            read_benchmark("movienet-scenes", tmp_path)


def test_folders_of_classes_have_a_split_or_five_folds(tmp_path: Path) -> None:
    touch(*(tmp_path / "whole" / label / f"{n}.wav" for label in "ab" for n in range(20)))
    benchmark = read_benchmark("folder", tmp_path / "whole")
    assert len(benchmark.folds) == 5
    assert sum(len(fold.test) for fold in benchmark.folds) == 40
    assert "hash" in benchmark.notes[0]
    for side in ("train", "test"):
        touch(*(tmp_path / "split" / side / label / "x.mp4" for label in "ab"))
    assert sides(read_benchmark("folder", tmp_path / "split")) == [(2, 0, 2)]


def test_a_csv_table_has_splits_or_folds(tmp_path: Path) -> None:
    touch(tmp_path / "a.wav", tmp_path / "b.wav")
    write(
        tmp_path / "labels.csv",
        "path,label,split,source,start_seconds,stop_seconds\n"
        "a.wav,dog; rain,train,s1,0,2\na.wav,rain,val,s1,2,4\nb.wav,dog,test,s2,,\n",
    )
    benchmark = read_benchmark("csv", tmp_path)
    assert benchmark.task == "multi_label"
    assert sides(benchmark) == [(1, 1, 1)]
    assert benchmark.clips[1].start_seconds == 2.0
    write(tmp_path / "folds.csv", "path,label,fold\na.wav,dog,1\nb.wav,dog,2\n")
    folds = read_benchmark("csv", tmp_path / "folds.csv")
    assert (folds.task, sides(folds)) == ("single_label", [(1, 0, 1)] * 2)
    assert folds.modalities == ("audio",)


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "folder"])
def test_an_empty_folder_is_refused_with_the_missing_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"no |must"):
        read_benchmark(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "file", "text", "message"),
    [
        ("esc50", "meta/esc50.csv", "file,fold\na.wav,1\n", "columns filename, fold, category"),
        ("vggsound", "vggsound.csv", "a,b,c\n", "line 1: it has 3 cells"),
        ("csv", "labels.csv", "path,label\na,b\n", "needs a column split"),
        ("vggsound", "vggsound.csv", "a,soon,dog,test\n", "line 1: start must be .* 'soon'"),
        ("csv", "labels.csv", "path,label,split\na,b,dev\n", "line 2: split must be one of"),
        ("csv", "labels.csv", "path,label,fold\na,b,1\na,c,2\n", "line 2.* as 'b' and here as 'c'"),
        (
            "csv", "labels.csv", "path,label,fold,start_seconds,stop_seconds\na,b,1,5,3\n",
            "line 2: start_seconds must be",
        ),
    ],
)  # fmt: skip
def test_errors_describe_malformed_lists(
    name: str, file: str, text: str, message: str, tmp_path: Path
) -> None:
    write(tmp_path / file, text)
    touch(tmp_path / "a")
    with pytest.raises(BenchmarkError, match=message):
        read_benchmark(name, tmp_path)


def test_the_error_quotes_a_malformed_line_of_ucf101(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for split in "123":
        for side in ("train", "test"):
            write(tmp_path / "ucfTrainTestlist" / f"{side}list0{split}.txt", "Archery/oops.avi 1\n")
    with pytest.raises(BenchmarkError, match=r"trainlist01.txt, line 1: .*'Archery/oops\.avi 1'"):
        read_benchmark("ucf101", tmp_path)
