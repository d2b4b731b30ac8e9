"""Benchmarks by name, and the readers of their official files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from toomuchtv.evaluation.benchmark import Benchmark
from toomuchtv.evaluation.datasets import audio, custom, video, web_video


@dataclass(frozen=True, slots=True)
class DatasetReader:
    """A reader of a benchmark.

    Attributes:
        read: Function from the benchmark's folder to the benchmark.
        expected_files: Description of the files that the folder must have.
    """

    read: Callable[[Path], Benchmark]
    expected_files: str


_LVU_FILES = "lvu_1.0/{}/, videos/<id>.mp4"

DATASETS: dict[str, DatasetReader] = {
    "ucf101": DatasetReader(video.read_ucf101, "videos/<Class>/*.avi, ucfTrainTestlist/"),
    "hmdb51": DatasetReader(
        video.read_hmdb51, "videos/<class>/*.avi, testTrainMulti_7030_splits/"),
    "kinetics": DatasetReader(
        web_video.read_kinetics, "train.csv and val.csv, or train/<class>/ and val/<class>/"),
    "esc50": DatasetReader(partial(audio.read_esc, name="esc50"), "audio/, meta/esc50.csv"),
    "esc10": DatasetReader(
        partial(audio.read_esc, name="esc10"),
        "audio/, meta/esc50.csv; the rows with esc10 = True"),
    "urbansound8k": DatasetReader(
        audio.read_urbansound8k, "audio/fold<1-10>/, metadata/UrbanSound8K.csv"),
    "fsd50k": DatasetReader(
        audio.read_fsd50k, "FSD50K.dev_audio/, FSD50K.eval_audio/, FSD50K.ground_truth/"),
    "dcase2013": DatasetReader(audio.read_dcase2013, "scenes_stereo/, scenes_stereo_testset/"),
    "vggsound": DatasetReader(web_video.read_vggsound, "vggsound.csv and the clips"),
    "vggsound-pairs": DatasetReader(
        partial(web_video.read_vggsound, pairs=True), "as vggsound; retrieval on the test set"),
    "audioset": DatasetReader(
        web_video.read_audioset, "*_segments.csv, class_labels_indices.csv and the clips"),
    "audioset-pairs": DatasetReader(
        partial(web_video.read_audioset, pairs=True),
        "as audioset; retrieval on the evaluation set"),
    **{
        f"lvu-{task}": DatasetReader(partial(video.read_lvu, task=task), _LVU_FILES.format(task))
        for task in video.LVU_CLASS_TASKS
    },
    **{
        f"lvu-{task.replace('_', '-')}": DatasetReader(
            partial(video.read_lvu, task=task), f"{_LVU_FILES.format(task)}; a value")
        for task in video.LVU_VALUE_TASKS
    },
    "movienet-scenes": DatasetReader(
        video.read_movienet_scenes,
        "label318/, shot_movie318/, meta/split318.json, videos/"),
    "folder": DatasetReader(custom.read_folder, "train/<class>/ and test/<class>/, or <class>/"),
    "csv": DatasetReader(
        custom.read_csv, "labels.csv: path, label, split or fold, optional source"),
}  # fmt: skip


def read_benchmark(name: str, root: str | os.PathLike[str]) -> Benchmark:
    """Read a benchmark's lists.

    Args:
        name: One of `DATASETS`.
        root: Folder of the benchmark; see `DatasetReader.expected_files`.

    Raises:
        BenchmarkError: Files are missing or malformed.
        ValueError: There is no benchmark with this name.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown benchmark {name!r}: choose one of {', '.join(DATASETS)}")
    return DATASETS[name].read(Path(root))
