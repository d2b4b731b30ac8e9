"""A fixed set of moments to measure on: one batch, drawn uniformly, none overlapping another."""

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

_FEWEST_CLIPS = 2


def draw_validation_batch(
    catalog_path: Path,
    snapshot: CatalogSnapshot,
    proxies: dict[int, Proxy],
    clip_format: ClipFormat,
    *,
    num_clips: int,
    seed: int,
) -> ClipBatch | None:
    """Draw and decode moments, uniformly over usable time; fewer where there is no room.

    Args:
        catalog_path: The catalog's folder.
        snapshot: The items to draw from.
        proxies: By item id.
        clip_format: Frames and sound; no two moments share any of either.
        num_clips: How many, if they fit.
        seed: What they follow from.

    Returns:
        The batch, of between 2 and `num_clips` clips, or None if not even 2 fit.

    Raises:
        ValueError: The proxies do not fit the format.
    """
    span = max(clip_format.span_seconds, clip_format.audio_seconds)
    while num_clips >= _FEWEST_CLIPS:
        policy = SamplingConfig(name="uniform", batch_size=num_clips, min_gap_seconds=span)
        try:
            planner = ClipSampler(snapshot, policy, clip_format)
        except ValueError:
            num_clips = num_clips * 3 // 4
            continue
        reader = ClipReader(catalog_path, snapshot, proxies, clip_format)
        return PlannedBatches(reader, planner, seed=seed)[0]
    return None
