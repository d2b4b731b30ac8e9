"""Retrieval among moments of a catalog: on titles that were held out, and on those trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.catalog.records import Title
from toomuchtv.catalog.store import open_catalog
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.data.validation_batch import draw_validation_batch
from toomuchtv.errors import CheckpointError
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.evaluation.retrieval import chance_figures, pair_ranks, rank_figures
from toomuchtv.inference.pretrained import PretrainedEncoder

_BLOCK = 64


def catalog_retrieval(
    pretrained: PretrainedEncoder,
    run_path: Path,
    data: Path,
    num_clips: int,
    seed: int,
    progress: ProgressCallback,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw moments of each side of the run's split, and rank them.

    Raises:
        BenchmarkError: The catalog has no prepared title of the split.
        CheckpointError: The run has no split.
    """
    metrics: dict[str, Any] = {}
    chance: dict[str, Any] = {}
    with open_catalog(data) as catalog:
        snapshot = catalog.snapshot()
        for side, title_ids in run_split(run_path, catalog.titles()).items():
            part = snapshot.of_titles(title_ids)
            batch = draw_validation_batch(
                catalog.folder,
                part,
                catalog.proxies(),
                pretrained.config.clip,
                num_clips=num_clips,
                seed=seed,
            )
            if batch is None:
                continue
            video, audio, title = embed_clips(pretrained, batch, progress)
            metrics[side], chance[side] = retrieval_metrics(video, audio, title)
    if not metrics:
        raise BenchmarkError(
            f"{str(data)!r} has no prepared title of the run's split: give the catalog the run "
            "was trained on"
        )
    return metrics, chance


def run_split(run_path: Path, titles: list[Title]) -> dict[str, list[int]]:
    """Ids, in this catalog, of the titles a run trained on (`train`) and held out (`held_out`).

    Raises:
        CheckpointError: The run has no split.json.
    """
    path = run_path / "split.json"
    try:
        split = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{str(path)!r} cannot be read: {error}") from error
    ids = {(str(title.kind), title.name, title.year): title.id for title in titles}
    keys = {
        side: [(entry["kind"], entry["name"], entry["year"]) for entry in split[side]]
        for side in ("held_out", "train")
    }
    return {side: [ids[key] for key in names if key in ids] for side, names in keys.items()}


def embed_clips(
    pretrained: PretrainedEncoder, batch: ClipBatch, progress: ProgressCallback = no_progress
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Embed drawn moments: video and audio `[N, D]` and the title `[N]` of each."""
    kept = batch.valid
    video, audio = [], []
    for first in range(0, len(batch), _BLOCK):
        rows = slice(first, first + _BLOCK)
        embeddings = pretrained.embed_planes(batch.video[rows], batch.waveform[rows])
        video.append(embeddings[0].cpu())
        audio.append(embeddings[1].cpu())
        progress(min(first + _BLOCK, len(batch)), len(batch), "embedding")
    return torch.cat(video)[kept], torch.cat(audio)[kept], torch.from_numpy(batch.specs.title)[kept]


def retrieval_metrics(
    video: torch.Tensor, audio: torch.Tensor, title: torch.Tensor
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures both ways, over all and within the title, and what guessing gives."""
    metrics: dict[str, Any] = {"num_clips": len(video)}
    chance: dict[str, Any] = {"num_clips": len(video)}
    in_title = (title[:, None] == title[None, :]).sum(dim=1).numpy()
    scopes = {"all": (None, np.full(len(video), len(video))), "within_title": (title, in_title)}
    for scope, (within, candidates) in scopes.items():
        ranks = pair_ranks(video, audio, within=within)
        metrics[scope] = {
            "video_to_audio": rank_figures(ranks.video_to_audio),
            "audio_to_video": rank_figures(ranks.audio_to_video),
        }
        guess = chance_figures(candidates)
        chance[scope] = {"video_to_audio": guess, "audio_to_video": guess}
    return metrics, chance
