"""The benchmarks by name, each read from its official layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from toomuchtv.evaluation.benchmark import Benchmark
from toomuchtv.evaluation.datasets.action_lists import read_hmdb51, read_ucf101
from toomuchtv.evaluation.datasets.films import (
    LVU_NUMBERS,
    LVU_TASKS,
    read_lvu,
    read_lvu_number,
    read_movienet_scenes,
)
from toomuchtv.evaluation.datasets.own import read_csv, read_folder
from toomuchtv.evaluation.datasets.sounds import (
    read_dcase2013,
    read_esc10,
    read_esc50,
    read_fsd50k,
    read_urbansound8k,
)
from toomuchtv.evaluation.datasets.web_clips import (
    read_audioset,
    read_audioset_pairs,
    read_kinetics,
    read_vggsound,
    read_vggsound_pairs,
)


@dataclass(frozen=True, slots=True)
class DatasetReader:
    """How a benchmark is read, and what its folder must hold, for a person."""

    read: Callable[[Path], Benchmark]
    expected_files: str


DATASETS: dict[str, DatasetReader] = {
    "ucf101": DatasetReader(read_ucf101, "videos/<Class>/*.avi, ucfTrainTestlist/"),
    "hmdb51": DatasetReader(read_hmdb51, "videos/<class>/*.avi, testTrainMulti_7030_splits/"),
    "kinetics": DatasetReader(
        read_kinetics, "train.csv and val.csv, or train/<class>/ and val/<class>/"
    ),
    "esc50": DatasetReader(read_esc50, "audio/, meta/esc50.csv"),
    "esc10": DatasetReader(read_esc10, "audio/, meta/esc50.csv; the part marked esc10"),
    "urbansound8k": DatasetReader(
        read_urbansound8k, "audio/fold<1-10>/, metadata/UrbanSound8K.csv"
    ),
    "fsd50k": DatasetReader(
        read_fsd50k, "FSD50K.dev_audio/, FSD50K.eval_audio/, FSD50K.ground_truth/"
    ),
    "dcase2013": DatasetReader(read_dcase2013, "scenes_stereo/, scenes_stereo_testset/"),
    "vggsound": DatasetReader(read_vggsound, "vggsound.csv and the clips"),
    "vggsound-pairs": DatasetReader(
        read_vggsound_pairs, "as vggsound; retrieval over the test side"
    ),
    "audioset": DatasetReader(
        read_audioset, "*_segments.csv, class_labels_indices.csv and the clips"
    ),
    "audioset-pairs": DatasetReader(
        read_audioset_pairs, "as audioset; retrieval over the eval side"
    ),
    **{
        f"lvu-{task}": DatasetReader(
            partial(read_lvu, task=task), f"lvu_1.0/{task}/, videos/<id>.mp4"
        )
        for task in LVU_TASKS
    },
    **{
        f"lvu-{task.replace('_', '-')}": DatasetReader(
            partial(read_lvu_number, task=task), f"lvu_1.0/{task}/, videos/<id>.mp4; a number"
        )
        for task in LVU_NUMBERS
    },
    "movienet-scenes": DatasetReader(
        read_movienet_scenes, "label318/, shot_movie318/, meta/split318.json, videos/"
    ),
    "folder": DatasetReader(read_folder, "train/<class>/ and test/<class>/, or <class>/"),
    "csv": DatasetReader(read_csv, "labels.csv: path, label, split or fold, optional source"),
}


def read_benchmark(name: str, root: Path) -> Benchmark:
    """Read a benchmark's lists.

    Raises:
        BenchmarkError: Its folder is not laid out as it should be.
        ValueError: There is no benchmark of that name.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown benchmark {name!r}: choose one of {', '.join(DATASETS)}")
    return DATASETS[name].read(root)
