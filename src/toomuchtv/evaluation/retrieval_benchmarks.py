"""Retrieval between video and audio: on the clips of a benchmark, and on the clips of a catalog."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.catalog.store import open_catalog
from toomuchtv.data.batches import draw_validation_batch
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.evaluation.benchmark import Benchmark
from toomuchtv.evaluation.encoders import Encoder
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.evaluation.features import extract_usable
from toomuchtv.evaluation.protocols import RetrievalProtocol
from toomuchtv.evaluation.retrieval import (
    chance_figures,
    class_precision,
    pair_ranks,
    rank_figures,
)
from toomuchtv.evaluation.views import clip_seed
from toomuchtv.inference.pretrained import PretrainedEncoder
from toomuchtv.training.split import split_of_run

_CLIPS_PER_CALL = 64

Figures = dict[str, Any]


def run_pair_retrieval(
    encoder: Encoder,
    benchmark: Benchmark,
    protocol: RetrievalProtocol,
    *,
    allow_missing: bool = False,
    cache: Path | None = None,
    progress: ProgressCallback = no_progress,
) -> tuple[Benchmark, Figures, Figures, tuple[str, ...]]:
    """Embed both modalities of each clip and rank them in both directions.

    Returns:
        The benchmark with the clips that were used, the metrics, their chance level, and the clips
        that could not be decoded.

    Raises:
        BenchmarkError: A clip cannot be decoded and `allow_missing` is not set.
        ValueError: Video and audio embeddings of the encoder do not share a space.
    """
    if not encoder.shares_space:
        raise ValueError(
            f"the video and audio embeddings of the encoder {encoder.name} do not share a space: "
            "one cannot be retrieved by the other"
        )
    used, features, failed = extract_usable(
        encoder, _draw_per_class(benchmark, protocol.per_class), (protocol.video, protocol.audio),
        output="embed", allow_missing=allow_missing, cache=cache, progress=progress,
    )  # fmt: skip
    video, audio = (F.normalize(torch.from_numpy(one[:, 0]), dim=1) for one in features)
    ranks = pair_ranks(video, audio, progress=progress)
    classes = used.label_matrix()
    num = len(video)
    metrics: Figures = {"num_pairs": num}
    chance = chance_figures(np.full(num, num))
    # The precision of a random ranking is the share of targets that have a class of the query.
    shares_class = (classes.astype(np.float32) @ classes.T.astype(np.float32)) > 0
    chance["class_map"] = float(shares_class.mean())
    for direction, found, query, target in (
        ("video_to_audio", ranks.video_to_audio, video, audio),
        ("audio_to_video", ranks.audio_to_video, audio, video),
    ):
        precision = class_precision(query, target, classes, classes, progress=progress)
        metrics[direction] = {**rank_figures(found), "class_map": float(np.nanmean(precision))}
    return (
        used,
        metrics,
        {"num_pairs": num, "video_to_audio": chance, "audio_to_video": chance},
        failed,
    )


def _draw_per_class(benchmark: Benchmark, num_per_class: int) -> Benchmark:
    """Keep the first clips of each class in the order of a hash of their names; 0 keeps all."""
    if num_per_class == 0:
        return benchmark
    by_class: dict[str, list[int]] = defaultdict(list)
    root = str(benchmark.root)
    order = sorted(
        range(len(benchmark.clips)),
        key=lambda row: clip_seed(benchmark.clips[row].key.removeprefix(root), 0),
    )
    for row in order:
        by_class[benchmark.clips[row].labels[0]].append(row)
    return benchmark.keep(sorted(row for rows in by_class.values() for row in rows[:num_per_class]))


def run_catalog_retrieval(
    encoder: PretrainedEncoder,
    run: Path,
    catalog_folder: Path,
    num_clips: int,
    seed: int,
    progress: ProgressCallback = no_progress,
) -> tuple[Figures, Figures]:
    """Draw clips of the held-out and of the training titles of a run, and rank each of both sets.

    Returns:
        The metrics and their chance level, by side of the split.

    Raises:
        BenchmarkError: The catalog has no prepared title of the split.
        CheckpointError: The run has no split.
    """
    metrics: Figures = {}
    chance: Figures = {}
    with open_catalog(catalog_folder) as catalog:
        snapshot = catalog.snapshot()
        for side, title_ids in split_of_run(run, catalog).items():
            batch = draw_validation_batch(
                catalog.folder, snapshot.of_titles(title_ids), catalog.proxies(),
                encoder.config.clip, num_clips=num_clips, seed=seed,
            )  # fmt: skip
            if batch is not None:
                embeddings = embed_clips(encoder, batch, progress)
                metrics[side], chance[side] = retrieval_metrics(*embeddings)
    if not metrics:
        raise BenchmarkError(
            f"{str(catalog_folder)!r} has no prepared title of the run's split: give the catalog "
            "on which the run was trained"
        )
    return metrics, chance


def embed_clips(
    encoder: PretrainedEncoder, batch: ClipBatch, progress: ProgressCallback = no_progress
) -> tuple[Tensor, Tensor, Tensor]:
    """Embed the valid clips of a batch.

    Returns:
        Video and audio embeddings `[N, D]`, and the title of each clip `[N]`.
    """
    video, audio = [], []
    for start in range(0, len(batch), _CLIPS_PER_CALL):
        rows = slice(start, start + _CLIPS_PER_CALL)
        embeddings = encoder.embed_planes(batch.video[rows], batch.waveform[rows])
        video.append(embeddings[0].cpu())
        audio.append(embeddings[1].cpu())
        progress(min(start + _CLIPS_PER_CALL, len(batch)), len(batch), "embedding clips")
    valid, title = batch.valid, torch.from_numpy(batch.specs.title)
    return torch.cat(video)[valid], torch.cat(audio)[valid], title[valid]


def retrieval_metrics(video: Tensor, audio: Tensor, title: Tensor) -> tuple[Figures, Figures]:
    """Return retrieval metrics among all clips and among the clips of the same title.

    Args:
        video: Unit vectors `[N, D]`.
        audio: Unit vectors `[N, D]`.
        title: Title of each clip, `[N]`.

    Returns:
        The metrics and their chance level.
    """
    num = len(video)
    num_in_title = (title[:, None] == title[None, :]).sum(dim=1).numpy()
    scopes: dict[str, tuple[Tensor | None, NDArray[np.int64]]] = {
        "all": (None, np.full(num, num)),
        "within_title": (title, num_in_title),
    }
    metrics: Figures = {"num_clips": num}
    chance: Figures = {"num_clips": num}
    for scope, (within, num_candidates) in scopes.items():
        ranks = pair_ranks(video, audio, within=within)
        metrics[scope] = {
            "video_to_audio": rank_figures(ranks.video_to_audio),
            "audio_to_video": rank_figures(ranks.audio_to_video),
        }
        guess = chance_figures(num_candidates)
        chance[scope] = {"video_to_audio": guess, "audio_to_video": guess}
    return metrics, chance
