"""Benchmarks by name: each gives its figures, their chance level and its protocol's name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from toomuchtv.catalog.records import Title
from toomuchtv.catalog.store import open_catalog
from toomuchtv.errors import CheckpointError
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.evaluation.esc50 import read_esc50
from toomuchtv.evaluation.features import audio_features, video_features
from toomuchtv.evaluation.labeled import FeatureArray, Labeled, LabeledClip
from toomuchtv.evaluation.linear import LinearProtocol, linear_accuracy
from toomuchtv.evaluation.retrieval import chance_figures, rank_figures, retrieval_ranks
from toomuchtv.evaluation.ucf101 import read_ucf101
from toomuchtv.pretrained import Pretrained, load
from toomuchtv.progress import ProgressHook, no_progress
from toomuchtv.sampling.batches import Batch
from toomuchtv.sampling.moments import draw_moments

Modality = Literal["video", "audio"]

_BLOCK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A score that says what it means.

    `metrics` and `chance` are nested alike. `untrained` says that the weights were fresh.
    `notes` are reservations, such as missing files.
    """

    benchmark: str
    protocol: str
    metrics: Mapping[str, Any]
    chance: Mapping[str, Any]
    untrained: bool
    notes: tuple[str, ...] = ()


def evaluate(
    run_path: Path,
    benchmark: str,
    data: Path,
    *,
    untrained: bool = False,
    modality: Modality = "video",
    allow_missing: bool = False,
    num_clips: int = 256,
    seed: int = 0,
    progress: ProgressHook = no_progress,
) -> Evaluation:
    """Put a run's encoders through a benchmark.

    Args:
        run_path: The run.
        benchmark: One of `BENCHMARKS`.
        data: The benchmark's folder; for `retrieval`, a prepared catalog.
        untrained: Take the same architecture with fresh weights: the floor of the score.
        modality: Of `ucf101`: classify by the picture or by the sound.
        allow_missing: Go on where files that a list names are missing.
        num_clips: Of `retrieval`: moments drawn from each side of the split.
        seed: What fresh weights and the drawn moments follow from.
        progress: Told how far it is.

    Raises:
        BenchmarkError: The folder is not in the benchmark's layout, or incomplete.
        CheckpointError: The run has no model.
        ValueError: The benchmark is unknown.
    """
    if benchmark not in BENCHMARKS:
        raise ValueError(f"unknown benchmark {benchmark!r}: choose one of {', '.join(BENCHMARKS)}")
    pretrained = load(run_path, untrained=untrained, seed=seed)
    if torch.cuda.is_available():
        pretrained = pretrained.to("cuda")
    if benchmark == "retrieval":
        metrics, chance = _retrieval(pretrained, run_path, data, num_clips, seed, progress)
        return Evaluation(
            benchmark=benchmark, protocol="retrieval", metrics=metrics, chance=chance,
            untrained=untrained,
        )  # fmt: skip
    if benchmark == "esc50":
        return _esc50(pretrained, data, untrained=untrained, progress=progress)
    return _ucf101(
        pretrained, data, modality, untrained=untrained, allow_missing=allow_missing,
        progress=progress,
    )  # fmt: skip


BENCHMARKS = ("retrieval", "esc50", "ucf101")


def accuracy_figures(folds: list[float]) -> dict[str, Any]:
    """Mean and standard deviation (n - 1) over folds or splits, and each of them."""
    deviation = float(np.std(folds, ddof=1)) if len(folds) > 1 else 0.0
    return {"mean": float(np.mean(folds)), "std": deviation, "folds": folds}


def _esc50(
    pretrained: Pretrained, data: Path, *, untrained: bool, progress: ProgressHook
) -> Evaluation:
    protocol = LinearProtocol()
    clips = read_esc50(data)
    everything = _labeled(
        clips,
        audio_features(
            pretrained,
            [clip.path for clip in clips],
            num_windows=protocol.audio_windows,
            progress=progress,
        ),
    )
    folds, chosen = [], []
    groups = np.array(everything.groups)
    for fold in sorted(set(everything.groups)):
        accuracy, regularization = linear_accuracy(
            protocol,
            everything.take(np.flatnonzero(groups != fold)),
            everything.take(np.flatnonzero(groups == fold)),
        )
        folds.append(accuracy)
        chosen.append(regularization)
    return Evaluation(
        benchmark="esc50",
        protocol=protocol.name,
        metrics={"accuracy": accuracy_figures(folds), "chosen_c": chosen},
        chance={"accuracy": 1.0 / len(set(everything.labels))},
        untrained=untrained,
    )


def _ucf101(
    pretrained: Pretrained,
    data: Path,
    modality: Modality,
    *,
    untrained: bool,
    allow_missing: bool,
    progress: ProgressHook,
) -> Evaluation:
    protocol = LinearProtocol()
    splits = read_ucf101(data, allow_missing=allow_missing)
    clips = {clip.path: clip for split in splits for clip in (*split.train, *split.test)}
    paths = sorted(clips)
    extract: Callable[..., Any] = video_features if modality == "video" else audio_features
    windows = protocol.video_windows if modality == "video" else protocol.audio_windows
    features = extract(pretrained, paths, num_windows=windows, progress=progress)
    row_of = {path: row for row, path in enumerate(paths)}
    everything = _labeled([clips[path] for path in paths], features)
    folds, chosen = [], []
    for split in splits:
        train, test = (
            everything.take([row_of[clip.path] for clip in side])
            for side in (split.train, split.test)
        )
        accuracy, regularization = linear_accuracy(protocol, train, test)
        folds.append(accuracy)
        chosen.append(regularization)
    missing = max(split.num_missing for split in splits)
    return Evaluation(
        benchmark="ucf101",
        protocol=f"{protocol.name}-{modality}",
        metrics={"accuracy": accuracy_figures(folds), "chosen_c": chosen},
        chance={"accuracy": 1.0 / len(set(everything.labels))},
        untrained=untrained,
        notes=(f"{missing} of the files that a split names are missing",) if missing else (),
    )


def _labeled(clips: list[LabeledClip], features: FeatureArray) -> Labeled:
    return Labeled(
        features=features,
        labels=[clip.label for clip in clips],
        groups=[clip.group for clip in clips],
    )


def _retrieval(
    pretrained: Pretrained,
    run_path: Path,
    data: Path,
    num_clips: int,
    seed: int,
    progress: ProgressHook,
) -> tuple[dict[str, Any], dict[str, Any]]:
    metrics: dict[str, Any] = {}
    chance: dict[str, Any] = {}
    with open_catalog(data) as catalog:
        snapshot = catalog.snapshot()
        for side, title_ids in run_split(run_path, catalog.titles()).items():
            part = snapshot.of_titles(title_ids)
            batch = draw_moments(
                catalog.folder,
                part,
                catalog.proxies(),
                pretrained.config.clip,
                num_clips=num_clips,
                seed=seed,
            )
            if batch is None:
                continue
            video, audio, title = embed_moments(pretrained, batch, progress)
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


def embed_moments(
    pretrained: Pretrained, batch: Batch, progress: ProgressHook = no_progress
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
    return torch.cat(video)[kept], torch.cat(audio)[kept], batch.title[kept]


def retrieval_metrics(
    video: torch.Tensor, audio: torch.Tensor, title: torch.Tensor
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures both ways, over all and within the title, and what guessing gives."""
    metrics: dict[str, Any] = {"num_clips": len(video)}
    chance: dict[str, Any] = {"num_clips": len(video)}
    in_title = (title[:, None] == title[None, :]).sum(dim=1).numpy()
    scopes = {"all": (None, np.full(len(video), len(video))), "within_title": (title, in_title)}
    for scope, (within, candidates) in scopes.items():
        metrics[scope] = {
            "video_to_audio": rank_figures(retrieval_ranks(video, audio, within=within)),
            "audio_to_video": rank_figures(retrieval_ranks(audio, video, within=within)),
        }
        guess = chance_figures(candidates)
        chance[scope] = {"video_to_audio": guess, "audio_to_video": guess}
    return metrics, chance
