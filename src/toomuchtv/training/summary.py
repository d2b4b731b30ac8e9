"""What a pretraining will do, said before it begins."""

from __future__ import annotations

import torch

from toomuchtv.catalog.store import Catalog
from toomuchtv.data.loader import batches_ahead
from toomuchtv.data.schedule import schedule_pairs
from toomuchtv.training.assembly import build_model, split_of
from toomuchtv.training.device import choose_device, choose_precision
from toomuchtv.training.profile import StepProfile, profile_step
from toomuchtv.training.run_config import Config

#: Numbers of the size of a parameter that an optimizer keeps for each.
_MOMENTS = {"adamw": 2, "sgd": 1}


def describe(catalog: Catalog, config: Config, *, world_size: int = 1) -> dict[str, object]:
    """Say what will be trained on, how, where and how long, as names and values for a person.

    Sends a few clips of noise through the model to know its speed and memory, which takes a second
    or two.

    Args:
        catalog: A prepared catalog.
        config: All settings.
        world_size: Processes that train together.
    """
    training, sampling, clip = config.training, config.sampling, config.clip
    snapshot, split = catalog.snapshot(), split_of(catalog, config)
    train = snapshot.of_titles(split.train)
    with torch.device("meta"):
        num_parameters = sum(value.numel() for value in build_model(config).parameters())
    device = choose_device(training.device)
    precision = choose_precision(training.precision, device)
    local_clips = max(1, sampling.batch_size // world_size)
    clips_at_once = min(training.chunk_size or local_clips, local_clips)
    rehearsal = profile_step(config, device, most_clips=clips_at_once)
    hours = train.duration_seconds.sum() / 3600
    shown_seconds = training.steps * sampling.batch_size * clip.span_seconds
    batch = f"{sampling.batch_size} clips, uniform over {len(train)} items"
    if sampling.name == "hierarchical":
        batch = "; ".join(
            f"{'' if step == 0 else f'from step {step} '}{sampling.titles_at(step)} titles x "
            f"{sampling.items_per_title} items x {clips} clips"
            for step, clips in schedule_pairs(sampling.clips_per_item)
        )
    return {
        "trains on": f"{_counted(len(split.train), 'title')}, {_counted(len(train), 'item')}, "
        f"{hours:.2f} hours",
        "holds out": _counted(len(split.held_out), "title"),
        "batch": f"{batch}, {local_clips} a process" if world_size > 1 else batch,
        "clip": f"{clip.frames} frames at {clip.frame_rate:g} a second of {config.transform.size} "
        f"pixels, {clip.audio_seconds:g} s of sound",
        "model": f"{config.model.video.name}-{config.model.video.depth} and "
        f"{config.model.audio.name}-{config.model.audio.depth}, "
        f"{num_parameters / 1e6:.1f} M parameters",
        "steps": f"{training.steps:,}: {shown_seconds / 3600:,.1f} hours of clips, "
        f"{shown_seconds / 3600 / max(hours, 1e-9):,.1f} times what there is",
        "computes on": f"{device}, {str(precision).removeprefix('torch.')}"
        + (f", {world_size} processes" if world_size > 1 else ""),
        "memory": _memory(config, rehearsal, num_parameters, local_clips, clips_at_once),
        "expected time": _time(config, rehearsal, local_clips),
    }


def _memory(
    config: Config, rehearsal: StepProfile, num_parameters: int, clips: int, clips_at_once: int
) -> str:
    copies = 2 + _MOMENTS[config.optimizer.name] + (config.training.ema_decay > 0)
    state = 4 * copies * num_parameters
    kept = clips_at_once * rehearsal.kept_bytes_per_clip
    frame_bytes = 1.5 * max(config.transform.size, 128) ** 2
    decoded = clips * (config.clip.frames * frame_bytes + 4 * config.clip.num_samples)
    ahead = 1 + batches_ahead(config.training.num_workers)
    return (
        f"about {_size(state + kept)} a process, {_size(state)} of it weights, gradients and "
        f"moments; {_size(ahead * decoded)} for decoded batches"
    )


def _time(config: Config, rehearsal: StepProfile, clips: int) -> str:
    # Clips in chunks go forward once more, which is about a third of there and back.
    is_cached = 0 < config.training.chunk_size < clips
    step_seconds = clips * rehearsal.seconds_per_clip * (4 / 3 if is_cached else 1)
    compiled = ", not compiled" if config.training.compile else ""
    return (
        f"{_duration(config.training.steps * step_seconds)}, {step_seconds:.2g} s a step "
        f"(measured now: {rehearsal.num_clips} clips of noise through the model and back, "
        f"{1 / rehearsal.seconds_per_clip:.3g} clips a second{compiled}; decoding goes on beside)"
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _size(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.0f} MiB"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
