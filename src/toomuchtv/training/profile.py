"""What a step will cost: planned from shapes, and tried beforehand on a few clips of noise."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from toomuchtv.data.log_mel import LogMel
from toomuchtv.models import TwoTower
from toomuchtv.training.assembly import build_model
from toomuchtv.training.device import choose_precision
from toomuchtv.training.run_config import Config

#: Batch norm needs two.
_FEWEST_CLIPS = 2
_LONG_ENOUGH_SECONDS = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProfile:
    """What was tried.

    Attributes:
        num_clips: Clips of noise that went through the model and back at once.
        seconds_per_clip: Of both ways, decoding and optimizer left out.
        kept_bytes_per_clip: What the forward pass keeps for the backward pass.
    """

    num_clips: int
    seconds_per_clip: float
    kept_bytes_per_clip: float


def input_shapes(config: Config, num_clips: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of what the encoders take: `[N, 3, T, H, W]` and `[N, 1, bands, frames]`."""
    size = config.transform.size
    spectrogram = LogMel(config.transform.log_mel)(torch.zeros(1, config.clip.num_samples))
    return (num_clips, 3, config.clip.frames, size, size), (num_clips, *spectrogram.shape[1:])


def flops_per_clip(config: Config) -> float:
    """Floating-point operations of a clip's way through the model and back, planned from shapes.

    A product and a sum count as two; convolutions and matrix products are counted, nothing else.
    With activation checkpointing what is computed twice counts twice.
    """
    from torch.utils.flop_counter import FlopCounterMode

    shapes = input_shapes(config, _FEWEST_CLIPS)
    with torch.device("meta"):
        model = build_model(config)
        video, log_mel = (torch.empty(shape) for shape in shapes)
    with FlopCounterMode(display=False) as counter:
        embeddings = model(_channels_last(video), log_mel)
        (embeddings.video * embeddings.audio).sum().backward()
    return float(counter.get_total_flops()) / _FEWEST_CLIPS


def profile_step(config: Config, device: torch.device, *, most_clips: int) -> StepProfile:
    """Send noise through a fresh model and back: more and more clips until the clock is sure.

    Takes about a second, or as long as two clips need twice. Nothing is compiled: every size
    that is tried would be compiled anew, for minutes.

    Args:
        config: Of the run.
        device: That it will compute on.
        most_clips: Of one process at once.
    """
    model = build_model(config).to(device)
    num_clips = min(_FEWEST_CLIPS, most_clips)
    kept = _kept_bytes(model, config, device, num_clips)
    while True:
        seconds = _seconds(model, config, device, num_clips)
        if seconds > _LONG_ENOUGH_SECONDS or 2 * num_clips > most_clips:
            break
        num_clips *= 2
    return StepProfile(
        num_clips=num_clips,
        seconds_per_clip=seconds / num_clips,
        kept_bytes_per_clip=kept,
    )


def noise(config: Config, device: torch.device, num_clips: int) -> tuple[Tensor, Tensor]:
    """Standard normal inputs of the encoders."""
    generator = torch.Generator().manual_seed(0)
    video, log_mel = (
        torch.randn(shape, generator=generator) for shape in input_shapes(config, num_clips)
    )
    return _channels_last(video).to(device), log_mel.to(device)


def _channels_last(video: Tensor) -> Tensor:
    return video.contiguous(memory_format=torch.channels_last_3d)


def forward_and_back(model: TwoTower, config: Config, device: torch.device, num_clips: int) -> None:
    """Send noise through a model and back; gradients add up in its parameters."""
    _pass(model, config, device, num_clips).backward()  # type: ignore[no-untyped-call]


def _pass(model: TwoTower, config: Config, device: torch.device, num_clips: int) -> Tensor:
    video, log_mel = noise(config, device, num_clips)
    precision = choose_precision(config.training.precision, device)
    with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
        embeddings = model(video, log_mel)
    return torch.sum(embeddings.video * embeddings.audio)


def _seconds(model: TwoTower, config: Config, device: torch.device, num_clips: int) -> float:
    begun = time.perf_counter()
    forward_and_back(model, config, device, num_clips)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def _kept_bytes(model: TwoTower, config: Config, device: torch.device, num_clips: int) -> float:
    """Bytes a clip that the forward pass keeps, weights left out. Also the warm-up of the clock."""
    weights = {value.untyped_storage().data_ptr() for value in model.parameters()}
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        loss = _pass(model, config, device, num_clips)
    loss.backward()  # type: ignore[no-untyped-call]
    return sum(kept.values()) / num_clips
