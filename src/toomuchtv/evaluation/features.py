"""Extraction of features from the clips of a benchmark, with a cache on disk.

The cache consists of shards of a few clips, so that an interrupted extraction continues where it
stopped. Clips that could not be decoded are never cached: the next run tries them again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from toomuchtv._internal.files import replacing
from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.errors import MediaError
from toomuchtv.evaluation.benchmark import Benchmark, FeatureArray, LabeledClip
from toomuchtv.evaluation.checking import without
from toomuchtv.evaluation.encoders.interface import AudioEncoder, Encoder, VideoEncoder
from toomuchtv.evaluation.errors import BenchmarkError
from toomuchtv.evaluation.reading import ViewReader
from toomuchtv.evaluation.stored_features import StoredFeatures
from toomuchtv.evaluation.views import AudioViews, VideoViews, clip_seed

Views = VideoViews | AudioViews

#: Raise this number whenever the same files are decoded or embedded differently than before.
_FORMAT = 3
_CLIPS_PER_SHARD = 16
# Larger features stay in the cache's files, from which they are read where they are used.
_MAX_BYTES_IN_MEMORY = 512 * 2**20
_MAX_PIXELS_PER_CALL = 8 * 32 * 224 * 224
_MAX_SAMPLES_PER_CALL = 64 * 32_000
_NUM_READERS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Features of a benchmark's clips.

    Attributes:
        rows: Rows of the clips that were decoded.
        values: Their features, float32 `[rows, views, F]`. Those that are too large for memory
            are `StoredFeatures`, which are read by `np.asarray`; this needs a cache.
        failed: The reason for each row that could not be decoded or embedded.
    """

    rows: tuple[int, ...]
    values: FeatureArray
    failed: dict[int, str]

    def select(self, rows: Sequence[int]) -> FeatureArray:
        """Return the features of some rows, in their order."""
        index = {row: number for number, row in enumerate(self.rows)}
        selected: FeatureArray = self.values[[index[row] for row in rows]]
        return selected


def extract_usable(
    encoder: Encoder,
    benchmark: Benchmark,
    views: tuple[Views, Views],
    *,
    output: str,
    allow_missing: bool,
    seed: int = 0,
    cache: Path | None = None,
    progress: ProgressCallback = no_progress,
) -> tuple[Benchmark, tuple[FeatureArray, FeatureArray], tuple[str, ...]]:
    """Extract features in two kinds of views from the clips that can be decoded in both.

    Returns:
        The benchmark without the clips that cannot be decoded; the features of its clips,
        `[clips, views, F]`, for each kind of views; and the clips that cannot be decoded, each
        with the reason.

    Raises:
        BenchmarkError: A clip cannot be decoded and `allow_missing` is not set.
        ValueError: The encoder does not support the modality.
    """

    def extract(one: Views) -> Features:
        return extract_features(
            encoder, benchmark, one, output=output, seed=seed, cache=cache, progress=progress
        )

    first = extract(views[0])
    second = first if views[0] == views[1] else extract(views[1])
    reasons = {**first.failed, **second.failed}
    usable, failed = leave_out(benchmark, reasons, allow_missing=allow_missing)
    rows = [row for row in range(len(benchmark.clips)) if row not in reasons]
    return usable, (first.select(rows), second.select(rows)), failed


def leave_out(
    benchmark: Benchmark, reasons: Mapping[int, str], *, allow_missing: bool
) -> tuple[Benchmark, tuple[str, ...]]:
    """Return the benchmark without the clips that cannot be decoded, and these with the reasons.

    Raises:
        BenchmarkError: There is such a clip and `allow_missing` is not set.
    """
    failed = tuple(
        f"{benchmark.relative_key(row)}: {benchmark.without_paths(reason, row)}"
        for row, reason in sorted(reasons.items())
    )
    if failed and not allow_missing:
        raise BenchmarkError(
            f"{len(failed)} clips cannot be decoded, the first {failed[0]}: repair them, or pass "
            "--allow-missing to continue without them"
        )
    return without(benchmark, reasons.keys()), failed


def extract_features(
    encoder: Encoder,
    benchmark: Benchmark,
    views: Views,
    *,
    output: str = "features",
    seed: int = 0,
    cache: Path | None = None,
    progress: ProgressCallback = no_progress,
) -> Features:
    """Extract the features of every clip.

    Args:
        encoder: Encoder to evaluate.
        benchmark: Benchmark whose clips are embedded.
        views: Views of each clip; fields that are None follow the encoder.
        output: `features`, `feature_map` (audio only), `tokens` or `embed`.
        seed: Seed of random views.
        cache: Folder of the cache; None disables it. The key covers encoder, views and files.
        progress: Called with the number of clips done.

    Raises:
        ValueError: The encoder does not support the modality of the views.
        MediaError: No clip can be decoded, or no features that the encoder returns are finite.
    """
    side = encoder.video if isinstance(views, VideoViews) else encoder.audio
    if side is None:
        modality = "video" if isinstance(views, VideoViews) else "audio"
        raise ValueError(f"the encoder {encoder.name} has no {modality} encoder")
    reader = ViewReader(views, side)

    def read(clip: LabeledClip) -> Tensor:
        name = clip.key.removeprefix(str(benchmark.root))
        return reader.read(clip, seed=clip_seed(name, seed))

    def embed(decoded: Tensor) -> FeatureArray:
        values: FeatureArray = _embed(side, output, decoded).float().numpy()
        if output == "tokens":  # those of all views follow one another, [views * tokens, F]
            return values.reshape(-1, values.shape[2])
        return values.mean(axis=0, keepdims=True) if reader.views.mean else values

    folder = None
    if cache is not None and encoder.is_deterministic:
        folder = cache / _cache_key(encoder, benchmark, reader.views, output, seed)
        folder.mkdir(parents=True, exist_ok=True)
    found: dict[int, FeatureArray] = {}
    stored: dict[int, tuple[Path, int]] = {}
    shape = (0, 0)
    failed: dict[int, str] = {}
    total = len(benchmark.clips)
    for start in range(0, total, _CLIPS_PER_SHARD):
        rows = range(start, min(start + _CLIPS_PER_SHARD, total))
        path = folder / f"{start:06d}.safetensors" if folder is not None else None
        shard = _load_shard(path)
        todo = [row for row in rows if row not in shard]
        clips = [benchmark.clips[row] for row in todo]
        for row, decoded in zip(todo, read_ahead(clips, read), strict=True):
            if isinstance(decoded, MediaError):
                failed[row] = str(decoded)
                continue
            values = embed(decoded)
            if not np.isfinite(values).all():
                failed[row] = "the encoder returned features that are not finite"
                continue
            shard[row] = values
            progress(row, total, "extracting features")
        if path is not None and any(row in shard for row in todo):
            _save_shard(path, shard)
        if shard:
            one = next(iter(shard.values()))
            shape = (one.shape[0], one.shape[1])
        if path is not None and shard and total * one.nbytes > _MAX_BYTES_IN_MEMORY:
            stored |= {row: (path, number) for number, row in enumerate(sorted(shard))}
        else:
            found |= shard
        progress(rows.stop, total, "extracting features")
    if stored:
        values = cast(
            "FeatureArray", StoredFeatures([stored[row] for row in sorted(stored)], shape)
        )
        return Features(rows=tuple(sorted(stored)), values=values, failed=failed)
    if not found:
        raise MediaError("no clip can be decoded: " + next(iter(failed.values()), "there is none"))
    return Features(rows=tuple(sorted(found)), values=_stacked(found), failed=failed)


def _stacked(values: dict[int, FeatureArray]) -> FeatureArray:
    return np.stack([values[row] for row in sorted(values)])


def _embed(side: VideoEncoder | AudioEncoder, output: str, decoded: Tensor) -> Tensor:
    """Embed the views of a clip in parts that fit into memory."""
    method = {"embed": side.embed, "tokens": side.tokens}.get(output, side.features)
    if output == "feature_map" and isinstance(side, AudioEncoder):
        method = side.feature_map
    if isinstance(side, VideoEncoder):
        num_views = _MAX_PIXELS_PER_CALL // (decoded[0].numel() // 3)
    else:
        num_views = _MAX_SAMPLES_PER_CALL // decoded[0].numel()
    return torch.cat([method(part).cpu() for part in torch.split(decoded, max(1, num_views))])


def read_ahead(
    clips: Sequence[LabeledClip], read: Callable[[LabeledClip], Tensor]
) -> Iterator[Tensor | MediaError]:
    """Yield decoded clips or errors, in order, while threads decode the following clips."""

    def attempt(clip: LabeledClip) -> Tensor | MediaError:
        try:
            return read(clip)
        except MediaError as error:
            return error

    with ThreadPoolExecutor(_NUM_READERS) as pool:
        waiting: deque[Future[Tensor | MediaError]] = deque()
        for clip in clips:
            waiting.append(pool.submit(attempt, clip))
            if len(waiting) > _NUM_READERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _cache_key(encoder: Encoder, benchmark: Benchmark, views: Views, output: str, seed: int) -> str:
    """Return a folder name that changes with the encoder, the views and the files."""
    files = []
    for clip in benchmark.clips:
        stat = clip.path.stat()
        name = clip.key.removeprefix(str(benchmark.root))
        files.append([name, stat.st_size, stat.st_mtime_ns])
    facts = {
        "format": _FORMAT,
        "encoder": encoder.fingerprint,
        "views": views.model_dump(),
        "sense": type(views).__name__,
        "output": output,
        # Only random views depend on the seed.
        "seed": seed if views.augment is not None else None,
        "files": files,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return f"{benchmark.name}-{digest[:24]}"


def _save_shard(path: Path, shard: dict[int, FeatureArray]) -> None:
    with replacing(path) as partial:
        save_file({"rows": np.array(sorted(shard), np.int64), "values": _stacked(shard)}, partial)


def _load_shard(path: Path | None) -> dict[int, FeatureArray]:
    """Return the cached features by row; an empty dict if there are none or they are damaged."""
    if path is None or not path.exists():
        return {}
    try:
        stored = load_file(path)
        return dict(zip(stored["rows"].tolist(), stored["values"], strict=True))
    except (OSError, SafetensorError, ValueError, KeyError):
        return {}
