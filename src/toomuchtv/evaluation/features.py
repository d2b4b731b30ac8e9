"""Features of a benchmark's clips: taken once, kept on disk, gone on with after an interruption."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.errors import MediaError
from toomuchtv.evaluation.benchmark import Benchmark, FeatureArray, LabeledClip
from toomuchtv.evaluation.encoders.interface import AudioEncoder, Encoder, VideoEncoder
from toomuchtv.evaluation.reading import read_views, resolved_views
from toomuchtv.evaluation.views import AudioViews, VideoViews, clip_seed

#: Of cached features; another wherever the same files are read or embedded otherwise than before.
_FORMAT = 2
_SHARD_CLIPS = 16
_MOST_PIXELS_AT_ONCE = 8 * 32 * 224 * 224
_MOST_SAMPLES_AT_ONCE = 64 * 32_000
_READERS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Features `[rows, views, F]` of the rows that could be read, and why others could not."""

    rows: tuple[int, ...]
    values: FeatureArray
    failed: dict[int, str]


def extract(
    encoder: Encoder,
    benchmark: Benchmark,
    views: VideoViews | AudioViews,
    *,
    output: str = "features",
    seed: int = 0,
    cache: Path | None = None,
    progress: ProgressCallback = no_progress,
) -> Features:
    """Take the features of every clip.

    Args:
        encoder: Whose.
        benchmark: Of which clips.
        views: Of what; what is None in it follows the encoder.
        output: `features`, `feature_map` (audio) or `embed`.
        seed: What random views follow from.
        cache: Folder where they are kept; the same encoder, views and files are not done again.
        progress: Told the clips done.

    Raises:
        ValueError: The encoder lacks the sense.
        MediaError: It gave features that are not finite.
    """
    side = _side(encoder, views)
    give = _giver(side, output)
    resolved = resolved_views(views, side)
    read = _reader(side, resolved, benchmark.root, seed)
    folder = None
    if cache is not None:
        folder = cache / _key(encoder, benchmark, resolved, output, seed)
        folder.mkdir(parents=True, exist_ok=True)
    shards = []
    total = len(benchmark.clips)
    for first in range(0, total, _SHARD_CLIPS):
        rows = range(first, min(first + _SHARD_CLIPS, total))
        path = folder / f"{first:06d}.safetensors" if folder is not None else None
        shard = _load_shard(path)
        if shard is None:
            shard = _take(benchmark, rows, read, give, mean=resolved.mean, progress=progress)
            if path is not None:
                _save_shard(path, shard)
        shards.append(shard)
        progress(rows.stop, total, "watching" if isinstance(views, VideoViews) else "listening")
    with_rows = [shard.values for shard in shards if shard.rows]
    if not with_rows:
        raise MediaError("not one clip could be read: " + next(iter(shards[0].failed.values()), ""))
    return Features(
        rows=tuple(row for shard in shards for row in shard.rows),
        values=np.concatenate(with_rows),
        failed={row: reason for shard in shards for row, reason in shard.failed.items()},
    )


Reader = Callable[[LabeledClip], Tensor]
Giver = Callable[[Tensor], Tensor]


def _side(encoder: Encoder, views: VideoViews | AudioViews) -> VideoEncoder | AudioEncoder:
    side = encoder.video if isinstance(views, VideoViews) else encoder.audio
    if side is None:
        sense = "video" if isinstance(views, VideoViews) else "audio"
        raise ValueError(f"the encoder {encoder.name} has no {sense}")
    return side


def _giver(side: VideoEncoder | AudioEncoder, output: str) -> Giver:
    """The encoder's method, called on as many views at once as memory bears."""
    methods: dict[str, Giver] = {"features": side.features, "embed": side.embed}
    methods["feature_map"] = side.feature_map if isinstance(side, AudioEncoder) else side.features
    method = methods[output]

    def give(batch: Tensor) -> Tensor:
        most = _MOST_PIXELS_AT_ONCE if batch.dim() == 5 else _MOST_SAMPLES_AT_ONCE
        each = batch[0].numel() // (3 if batch.dim() == 5 else 1)
        at_once = max(1, most // each)
        return torch.cat([method(part).cpu() for part in torch.split(batch, at_once)])

    return give


def _reader(
    side: VideoEncoder | AudioEncoder, views: VideoViews | AudioViews, root: Path, seed: int
) -> Reader:
    def read(clip: LabeledClip) -> Tensor:
        return read_views(clip, views, side, seed=clip_seed(_name(clip, root), seed))

    return read


def _name(clip: LabeledClip, root: Path) -> str:
    """The clip's name wherever the benchmark lies."""
    return clip.key.removeprefix(str(root))


def _take(
    benchmark: Benchmark,
    rows: range,
    read: Reader,
    give: Giver,
    *,
    mean: bool,
    progress: ProgressCallback,
) -> Features:
    good, values, failed = [], [], {}
    clips = [benchmark.clips[row] for row in rows]
    for row, views in zip(rows, _read_ahead(clips, read), strict=True):
        if isinstance(views, str):
            failed[row] = views
            continue
        features = give(views).float().numpy()
        if not np.isfinite(features).all():
            raise MediaError(
                f"the encoder gave features that are not finite for {benchmark.clips[row].key!r}"
            )
        values.append(features.mean(axis=0, keepdims=True) if mean else features)
        good.append(row)
        progress(row, len(benchmark.clips), benchmark.clips[row].path.name)
    stacked = np.stack(values) if values else np.zeros((0, 1, 1), np.float32)
    return Features(rows=tuple(good), values=stacked, failed=failed)


def _read_ahead(clips: list[LabeledClip], read: Reader) -> Iterator[Tensor | str]:
    """Decode the next clips while the encoder is at work; text says why one could not be read."""

    def attempt(clip: LabeledClip) -> Tensor | str:
        try:
            return read(clip)
        except MediaError as error:
            return str(error)

    with ThreadPoolExecutor(_READERS) as pool:
        waiting: deque[Future[Tensor | str]] = deque()
        for clip in clips:
            waiting.append(pool.submit(attempt, clip))
            if len(waiting) > _READERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _key(
    encoder: Encoder,
    benchmark: Benchmark,
    views: VideoViews | AudioViews,
    output: str,
    seed: int,
) -> str:
    """A name for these features: any change of encoder, views or files gives another."""
    files = []
    for clip in benchmark.clips:
        stat = clip.path.stat()
        files.append([_name(clip, benchmark.root), stat.st_size, stat.st_mtime_ns])
    # Which views are random decides whether the seed matters.
    facts = {
        "format": _FORMAT,
        "encoder": encoder.fingerprint,
        "views": views.model_dump(),
        "sense": type(views).__name__,
        "output": output,
        "seed": seed if views.augment is not None else None,
        "files": files,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return f"{benchmark.name}-{digest[:24]}"


def _save_shard(path: Path, shard: Features) -> None:
    partial = path.with_suffix(f".partial{os.getpid()}")
    tensors: dict[str, NDArray[Any]] = {
        "rows": np.array(shard.rows, np.int64),
        "values": shard.values,
    }
    failed = {str(row): reason for row, reason in shard.failed.items()}
    save_file(tensors, partial, metadata={"failed": json.dumps(failed)})
    os.replace(partial, path)


def _load_shard(path: Path | None) -> Features | None:
    """A shard that was kept; None if there is none, or it is damaged and to be made anew."""
    if path is None or not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            rows, values = file.get_tensor("rows"), file.get_tensor("values")
            failed = json.loads((file.metadata() or {}).get("failed", "{}"))
    except (OSError, SafetensorError, ValueError):
        return None
    return Features(
        rows=tuple(int(row) for row in rows),
        values=values,
        failed={int(row): str(reason) for row, reason in failed.items()},
    )
