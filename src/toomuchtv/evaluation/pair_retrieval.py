"""Retrieval over a benchmark's clips that have both picture and sound (VGGSound, AudioSet)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.evaluation.benchmark import Benchmark
from toomuchtv.evaluation.checking import without
from toomuchtv.evaluation.encoders import Encoder
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.evaluation.features import Features, extract
from toomuchtv.evaluation.protocols import RetrievalProtocol
from toomuchtv.evaluation.retrieval import (
    chance_figures,
    class_precision,
    pair_ranks,
    rank_figures,
)
from toomuchtv.evaluation.views import clip_seed


def draw_pairs(benchmark: Benchmark, per_class: int) -> Benchmark:
    """Keep `per_class` clips of each class, by a hash of their names; 0 keeps all."""
    if per_class == 0:
        return benchmark
    by_class: dict[str, list[int]] = defaultdict(list)
    root = str(benchmark.root)
    order = sorted(
        range(len(benchmark.clips)),
        key=lambda row: clip_seed(benchmark.clips[row].key.removeprefix(root), 0),
    )
    for row in order:
        by_class[benchmark.clips[row].labels[0]].append(row)
    kept = sorted(row for rows in by_class.values() for row in rows[:per_class])
    return benchmark.keep(kept)


def run_pair_retrieval(
    encoder: Encoder,
    benchmark: Benchmark,
    protocol: RetrievalProtocol,
    *,
    allow_missing: bool = False,
    cache: Path | None = None,
    progress: ProgressCallback = no_progress,
) -> tuple[Benchmark, dict[str, Any], dict[str, Any], tuple[str, ...]]:
    """Embed both senses of each clip, and rank both ways.

    Returns:
        The clips used, the metrics, their chance level, and what could not be decoded.

    Raises:
        BenchmarkError: A clip cannot be decoded and `allow_missing` is not set.
        ValueError: The encoder has no space shared by both senses.
    """
    if not encoder.shares_space:
        raise ValueError(
            f"the encoder {encoder.name} has no space that video and audio share: there is nothing "
            "to retrieve with"
        )
    drawn = draw_pairs(benchmark, protocol.per_class)
    seen = extract(encoder, drawn, protocol.video, output="embed", cache=cache, progress=progress)
    heard = extract(encoder, drawn, protocol.audio, output="embed", cache=cache, progress=progress)
    reasons = {**seen.failed, **heard.failed}
    failed = tuple(f"{drawn.clips[row].key}: {reason}" for row, reason in reasons.items())
    if failed and not allow_missing:
        raise BenchmarkError(f"{len(failed)} clips cannot be decoded, the first {failed[0]}")
    used = without(drawn, reasons)
    rows = [row for row in range(len(drawn.clips)) if row not in reasons]
    video, audio = _unit_rows(seen, rows), _unit_rows(heard, rows)
    ranks = pair_ranks(video, audio, progress=progress)
    classes = used.label_matrix()
    num = len(video)
    metrics: dict[str, Any] = {"num_pairs": num}
    guess = chance_figures(np.full(num, num))
    # A random order finds the class's targets as often as they are there.
    shared = (classes.astype(np.float32) @ classes.T.astype(np.float32)) > 0
    guess["class_map"] = float(shared.mean())
    for way, found, query, target in (
        ("video_to_audio", ranks.video_to_audio, video, audio),
        ("audio_to_video", ranks.audio_to_video, audio, video),
    ):
        precision = class_precision(query, target, classes, classes, progress=progress)
        metrics[way] = {**rank_figures(found), "class_map": float(np.nanmean(precision))}
    chance = {"num_pairs": num, "video_to_audio": guess, "audio_to_video": guess}
    return used, metrics, chance, failed


def _unit_rows(features: Features, rows: list[int]) -> Tensor:
    at = {row: index for index, row in enumerate(features.rows)}
    return F.normalize(torch.from_numpy(features.values[[at[row] for row in rows], 0]), dim=1)
