"""What a pretraining will do, said before it begins."""

from __future__ import annotations

import torch

from toomuchtv.catalog.splits import split_titles
from toomuchtv.catalog.store import Catalog
from toomuchtv.config import Config
from toomuchtv.models import TwoTower
from toomuchtv.sampling.schedule import stages
from toomuchtv.training.device import choose_device, choose_precision


def describe(catalog: Catalog, config: Config) -> dict[str, object]:
    """Say what will be trained on, how and where, as names and values for a person."""
    snapshot = catalog.snapshot()
    prepared = set(snapshot.title_id.tolist())
    split = split_titles(
        [title for title in catalog.titles() if title.id in prepared],
        held_out_share=config.training.held_out_share,
        seed=config.training.seed,
        duplicates=catalog.title_duplicates(),
    )
    train = snapshot.of_titles(split.train)
    sampling, clip = config.sampling, config.clip
    with torch.device("meta"):
        model = TwoTower(config.model)
    device = choose_device(config.training.device)
    precision = choose_precision(config.training.precision, device)
    batch = f"{sampling.batch_size} clips, uniform over {len(train)} items"
    if sampling.name == "hierarchical":
        batch = "; ".join(
            f"{'' if step == 0 else f'from step {step} '}{sampling.titles_at(step)} titles x "
            f"{sampling.items_per_title} items x {clips} clips"
            for step, clips in stages(sampling.clips_per_item)
        )
    return {
        "trains on": f"{len(split.train)} titles, {len(train)} items, "
        f"{train.duration_seconds.sum() / 3600:.2f} hours",
        "holds out": f"{len(split.held_out)} titles",
        "batch": batch,
        "clip": f"{clip.frames} frames at {clip.frame_rate:g} a second of {config.input.size} "
        f"pixels, {clip.audio_seconds:g} s of sound",
        "model": f"{config.model.video.name}-{config.model.video.depth} and "
        f"{config.model.audio.name}-{config.model.audio.depth}, "
        f"{sum(value.numel() for value in model.parameters()) / 1e6:.1f} M parameters",
        "steps": config.training.steps,
        "computes on": f"{device}, {str(precision).removeprefix('torch.')}",
    }
