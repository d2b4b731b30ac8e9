"""A fixed batch of clips that do not overlap, to measure a model on."""

from __future__ import annotations

from pathlib import Path

from toomuchtv.catalog.records import Proxy
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.data.batches import PlannedBatches
from toomuchtv.data.clip_reader import ClipReader
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.media.clip import ClipFormat

_MIN_CLIPS = 2


def draw_validation_batch(
    catalog_path: Path,
    snapshot: CatalogSnapshot,
    proxies: dict[int, Proxy],
    clip_format: ClipFormat,
    *,
    num_clips: int,
    seed: int,
) -> ClipBatch | None:
    """Draw and decode clips, uniformly over usable time; fewer if the items are too short.

    Args:
        catalog_path: The catalog's folder.
        snapshot: The items to draw from.
        proxies: Proxy of each item, by item id.
        clip_format: Frames and audio of a clip; no two clips share any of either.
        num_clips: Number of clips, if they fit.
        seed: Seed of the draw.

    Returns:
        The batch, of between 2 and `num_clips` clips, or None if not even 2 fit.

    Raises:
        ValueError: The proxies do not fit the format.
    """
    span = max(clip_format.span_seconds, clip_format.audio_seconds)
    while num_clips >= _MIN_CLIPS:
        policy = SamplingConfig(name="uniform", batch_size=num_clips, min_gap_seconds=span)
        try:
            sampler = ClipSampler(snapshot, policy, clip_format)
        except ValueError:
            num_clips = num_clips * 3 // 4
            continue
        reader = ClipReader(catalog_path, snapshot, proxies, clip_format)
        return PlannedBatches(reader, sampler, seed=seed)[0]
    return None
