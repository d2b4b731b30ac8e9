"""Retrieval between video and audio: on the clips of a benchmark, and on the clips of a catalog."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from toomuchtv.evaluation.identity import digest_of
from toomuchtv.evaluation.protocols import RetrievalProtocol
from toomuchtv.evaluation.result import QueryRanks
from toomuchtv.evaluation.retrieval import chance_figures, class_precision, pair_ranks
from toomuchtv.evaluation.summary import ranking_figures
from toomuchtv.evaluation.views import clip_seed
from toomuchtv.inference.pretrained import PretrainedEncoder
from toomuchtv.training.split import split_of_run

_CLIPS_PER_CALL = 64

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalRun:
    """The outcome of retrieval.

    Attributes:
        metrics: Scores and their intervals.
        chance: Scores of random ranking, nested like `metrics`.
        rankings: The rank of each query, of each ranking in `metrics`.
        benchmark: The benchmark with the clips that were used; None for a catalog.
        failed: Clips that could not be decoded.
        data_fingerprint: Digest of the clips of a catalog; empty for a benchmark.
    """

    metrics: Figures
    chance: Figures
    rankings: list[QueryRanks]
    benchmark: Benchmark | None = None
    failed: tuple[str, ...] = ()
    data_fingerprint: str = ""


def run_pair_retrieval(
    encoder: Encoder,
    benchmark: Benchmark,
    protocol: RetrievalProtocol,
    *,
    allow_missing: bool = False,
    cache: Path | None = None,
    progress: ProgressCallback = no_progress,
) -> RetrievalRun:
    """Embed both modalities of each clip and rank them in both directions.

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
    chance = chance_figures(np.full(num, num))
    # The precision of a random ranking is the share of targets that have a class of the query.
    shares_class = (classes.astype(np.float32) @ classes.T.astype(np.float32)) > 0
    chance["class_map"] = float(shares_class.mean())
    rankings = [
        QueryRanks(
            name=direction,
            clips=[used.relative_key(row) for row in range(num)],
            sources=[clip.source for clip in used.clips],
            ranks=found,
            precision=class_precision(query, target, classes, classes, progress=progress),
        )
        for direction, found, query, target in (
            ("video_to_audio", ranks.video_to_audio, video, audio),
            ("audio_to_video", ranks.audio_to_video, audio, video),
        )
    ]
    return RetrievalRun(
        metrics={"num_pairs": num, **{one.name: ranking_figures(one) for one in rankings}},
        chance={"num_pairs": num, **{one.name: chance for one in rankings}},
        rankings=rankings,
        benchmark=used,
        failed=failed,
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
) -> RetrievalRun:
    """Draw clips of the held-out and of the training titles of a run, and rank each of both sets.

    Raises:
        BenchmarkError: The catalog has no prepared title of the split.
        CheckpointError: The run has no split.
    """
    metrics: Figures = {}
    chance: Figures = {}
    rankings: list[QueryRanks] = []
    contents: list[list[str | int | None]] = []
    with open_catalog(catalog_folder) as catalog:
        snapshot = catalog.snapshot()
        items = {item.id: item for item in catalog.items()}
        proxies = catalog.proxies()
        for side, title_ids in split_of_run(run, catalog).items():
            of_side = snapshot.of_titles(title_ids)
            batch = draw_validation_batch(
                catalog.folder, of_side, proxies, encoder.config.clip,
                num_clips=num_clips, seed=seed,
            )  # fmt: skip
            if batch is None:
                continue
            video, audio, title = embed_clips(encoder, batch, progress)
            specs = batch.specs[batch.valid.numpy()]
            rows = [items[int(of_side.item_id[row])] for row in specs.item]
            clips = [
                f"{item.path}#{start:g}"
                for item, start in zip(rows, specs.start_seconds, strict=True)
            ]
            contents += [
                [side, clip, item.fingerprint, proxies[item.id].audio_track]
                for clip, item in zip(clips, rows, strict=True)
            ]
            metrics[side], chance[side], found = retrieval_metrics(video, audio, title, clips)
            rankings += [replace(one, name=f"{side}/{one.name}") for one in found]
    if not metrics:
        raise BenchmarkError(
            f"{str(catalog_folder)!r} has no prepared title of the run's split: give the catalog "
            "on which the run was trained"
        )
    return RetrievalRun(
        metrics=metrics, chance=chance, rankings=rankings, data_fingerprint=digest_of(contents)
    )


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


def retrieval_metrics(
    video: Tensor, audio: Tensor, title: Tensor, clips: Sequence[str]
) -> tuple[Figures, Figures, list[QueryRanks]]:
    """Rank among all clips and among the clips of the same title.

    Args:
        video: Unit vectors `[N, D]`.
        audio: Unit vectors `[N, D]`.
        title: Title of each clip, `[N]`. Clips of a title are not independent, so titles are the
            sources of intervals.
        clips: Key of each clip, `[N]`.

    Returns:
        The metrics, their chance level, and the rankings.
    """
    num = len(video)
    num_in_title = (title[:, None] == title[None, :]).sum(dim=1).numpy()
    scopes: dict[str, tuple[Tensor | None, NDArray[np.int64]]] = {
        "all": (None, np.full(num, num)),
        "within_title": (title, num_in_title),
    }
    metrics: Figures = {"num_clips": num}
    chance: Figures = {"num_clips": num}
    rankings: list[QueryRanks] = []
    for scope, (within, num_candidates) in scopes.items():
        ranks = pair_ranks(video, audio, within=within)
        both = {
            "video_to_audio": ranks.video_to_audio,
            "audio_to_video": ranks.audio_to_video,
        }
        of_scope = {
            name: QueryRanks(
                name=f"{scope}/{name}", clips=clips, ranks=found,
                sources=tuple(str(one) for one in title.tolist()),
            )
            for name, found in both.items()
        }  # fmt: skip
        metrics[scope] = {name: ranking_figures(one) for name, one in of_scope.items()}
        chance[scope] = dict.fromkeys(both, chance_figures(num_candidates))
        rankings += of_scope.values()
    return metrics, chance, rankings
