"""How well scenes that were told cover the true ones: mIoU, the second score of MovieNet's scenes.

Rao et al., CVPR 2020, after Baraldi et al., "A deep siamese network for scene detection in
broadcast videos", ACM MM 2015: of each true scene the largest intersection over union with a told
one, in time, and the mean over the scenes; the same of each told scene with the true ones; the mean
of both, and the mean over films.

    true   |-----------|--------------|
    told   |--------|-----------------|
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toomuchtv.evaluation.benchmark import Benchmark
from toomuchtv.evaluation.result import FoldPredictions


def coverage(true_cuts: Sequence[float], told_cuts: Sequence[float], end: float) -> float:
    """The mIoU of one film, 0 to 1.

    Args:
        true_cuts: When one scene ends and another begins, inside 0 to `end`.
        told_cuts: The same, as told.
        end: When the film ends.
    """
    true, told = _scenes(true_cuts, end), _scenes(told_cuts, end)
    begin = np.maximum(true[:, None, 0], told[None, :, 0])
    stop = np.minimum(true[:, None, 1], told[None, :, 1])
    shared = np.maximum(0.0, stop - begin)
    lengths = (true[:, 1] - true[:, 0])[:, None], (told[:, 1] - told[:, 0])[None]
    ratio = shared / (lengths[0] + lengths[1] - shared)
    return float((ratio.max(axis=1).mean() + ratio.max(axis=0).mean()) / 2)


def _scenes(cuts: Sequence[float], end: float) -> NDArray[np.float64]:
    inside = sorted({cut for cut in cuts if 0.0 < cut < end})
    edges = np.array([0.0, *inside, end])
    return np.stack([edges[:-1], edges[1:]], axis=1)


def scene_miou(benchmark: Benchmark, answers: Sequence[FoldPredictions]) -> float:
    """The mIoU over the test folds' films; a boundary is told where its score is above 0.

    Scores must have their decision at 0: logits or distances, as those of `linear` and the SVMs.
    """
    of_films = []
    for fold, answer in zip(benchmark.folds, answers, strict=True):
        cuts: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
        for row, score, target in zip(
            fold.test, answer.scores[:, 0], answer.targets[:, 0], strict=True
        ):
            clip = benchmark.clips[row]
            assert clip.value is not None
            true, told = cuts[clip.source]
            if target:
                true.append(clip.value)
            if score > 0:
                told.append(clip.value)
        of_films += [coverage(*both, benchmark.ends[film]) for film, both in cuts.items()]
    return float(np.mean(of_films))
