"""Cost estimate of a run before it begins: time and memory of a step, measured on noise.

The estimate sends a few clips of noise through the model and back. It also finds the number of
clips whose activations fit into memory at once.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from toomuchtv.catalog.store import Catalog
from toomuchtv.data.config import SamplingConfig, schedule_pairs
from toomuchtv.data.loader import batches_ahead
from toomuchtv.data.log_mel import LogMel
from toomuchtv.models import TwoTower
from toomuchtv.training.device import choose_device, choose_precision
from toomuchtv.training.optimizer import build_optimizer
from toomuchtv.training.run import build_model, titles_of_run
from toomuchtv.training.run_config import Config, load_config

#: Batch norm needs at least two clips.
_MIN_CLIPS = 2
#: A measurement doubles the number of clips until it takes this long.
_MIN_SECONDS = 0.4
#: Tensors per parameter: its value, its gradient, and what the optimizer keeps.
_COPIES = {"adamw": 4, "sgd": 3}
#: Share of the free memory to plan with. The rest is for fragmentation and decoded batches.
_USABLE_SHARE = 0.8
#: On a CPU, the backward pass needs temporary tensors besides the activations that are kept. We
#: assume at most as many bytes again.
_PEAK_FACTOR = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProfile:
    """The measured cost of the model's forward and backward pass.

    Attributes:
        num_clips: Number of clips of noise in the timed pass.
        seconds_per_clip: Seconds of forward and backward pass, without decoding and optimizer.
        kept_bytes_per_clip: Bytes that the forward pass keeps for the backward pass.
    """

    num_clips: int
    seconds_per_clip: float
    kept_bytes_per_clip: float


def describe_run(
    catalog: Catalog, config: Config, *, world_size: int = 1, run: Path | None = None
) -> dict[str, object]:
    """Describe what a run will train on, how, and at what cost, as names and values for a person.

    This profiles the model, which takes a second or two.

    Args:
        catalog: A prepared catalog.
        config: All settings.
        world_size: Number of training processes.
        run: Folder of the run. If it exists, it has a split already.
    """
    training, sampling, clip = config.training, config.sampling, config.clip
    snapshot, split = titles_of_run(catalog, config, run)
    train = snapshot.of_titles(split.train)
    device = choose_device(training.device)
    precision = str(choose_precision(training.precision, device)).removeprefix("torch.")
    local_clips = max(1, sampling.batch_size // world_size)
    chunk_size = min(training.chunk_size or local_clips, local_clips)
    profile = profile_step(config, device, most_clips=chunk_size)
    num_parameters = count_parameters(config)
    state_bytes = _state_bytes(config, num_parameters)
    kept_bytes = chunk_size * profile.kept_bytes_per_clip
    # Of the step that runs and of the one before, whose outcome is read next.
    ahead_bytes = (2 + batches_ahead(training.num_workers)) * decoded_batch_bytes(
        catalog, config, local_clips
    )
    # Gradient caching adds a forward pass, about a third of forward and backward together.
    cache_factor = 4 / 3 if chunk_size < local_clips else 1.0
    step_seconds = local_clips * profile.seconds_per_clip * cache_factor
    train_hours = train.duration_seconds.sum() / 3600
    shown_hours = training.steps * sampling.batch_size * clip.span_seconds / 3600
    processes = f", {world_size} processes" if world_size > 1 else ""
    compiled = ", without torch.compile" if training.compiles_on(device.type) else ""
    return {
        "training data": f"{_count(len(split.train), 'title')}, {_count(len(train), 'item')}, "
        f"{train_hours:.2f} hours",
        "held out": _count(len(split.held_out), "title"),
        "batch": _describe_batch(sampling, len(train))
        + (f", {local_clips} per process" if world_size > 1 else ""),
        "clip": f"{clip.frames} frames of {config.transform.size} pixels at {clip.frame_rate:g} "
        f"frames per second, {clip.audio_seconds:g} s of audio",
        "model": f"{config.model.video.label} and {config.model.audio.label}, "
        f"{num_parameters / 1e6:.1f} M parameters",
        "steps": f"{training.steps:,}: {shown_hours:,.1f} hours of clips, "
        f"{shown_hours / max(train_hours, 1e-9):,.1f} times the training data",
        "device": f"{device}, {precision}{processes}",
        "memory": f"about {_size(state_bytes + kept_bytes)} per process, of which "
        f"{_size(state_bytes)} for weights, gradients and optimizer state; and "
        f"{_size(ahead_bytes)} for decoded batches",
        "expected time": f"{_duration(training.steps * step_seconds)}, {step_seconds:.2g} s per "
        f"step (measured on {profile.num_clips} clips of noise{compiled}: "
        f"{1 / profile.seconds_per_clip:.3g} clips per second; decoding runs in parallel)",
    }


def _describe_batch(sampling: SamplingConfig, num_items: int) -> str:
    if sampling.name == "uniform":
        return f"{sampling.batch_size} clips, uniform over {num_items} items"
    return "; ".join(
        f"{'' if step == 0 else f'from step {step} '}{sampling.titles_at(step)} titles x "
        f"{sampling.items_per_title} items x {clips} clips"
        for step, clips in schedule_pairs(sampling.clips_per_item)
    )


def count_parameters(config: Config) -> int:
    """Return the number of parameters of the model."""
    with torch.device("meta"):
        return sum(value.numel() for value in _meta_model(config).parameters())


def decoded_batch_bytes(catalog: Catalog, config: Config, num_clips: int) -> int:
    """Return the bytes of a decoded batch: 12-bit YUV 4:2:0 frames and float32 audio.

    The frames have the size of the catalog's proxies. They are resized on the device.
    """
    side = min(min(proxy.width, proxy.height) for proxy in catalog.proxies().values())
    frame_bytes = side * 3 // 2 * side
    return num_clips * (config.clip.frames * frame_bytes + 4 * config.clip.num_samples)


def flops_per_clip(config: Config) -> float:
    """Return the floating-point operations of one clip's forward and backward pass.

    They are computed from shapes. A product and a sum count as two. Only convolutions and matrix
    products count. With activation checkpointing, what is computed twice counts twice.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        model = _meta_model(config)
        video, log_mel = (torch.empty(shape) for shape in _input_shapes(config, _MIN_CLIPS))
    with FlopCounterMode(display=False) as counter:
        embeddings = model(_channels_last(video), log_mel)
        (embeddings.video * embeddings.audio).sum().backward()
    return float(counter.get_total_flops()) / _MIN_CLIPS


def profile_step(config: Config, device: torch.device, *, most_clips: int) -> StepProfile:
    """Measure forward and backward pass of a fresh model on noise.

    The number of clips doubles until a pass takes 0.4 s. The model is not compiled, because every
    number of clips would be compiled anew, for minutes.

    Args:
        config: Config of the run.
        device: Device that it will train on.
        most_clips: Largest number of clips to try.
    """
    model = build_model(config, device).to(device)
    num_clips = min(_MIN_CLIPS, most_clips)
    kept = _kept_bytes(model, config, device, num_clips) / num_clips  # this is also the warm-up
    while True:
        begun = time.perf_counter()
        forward_backward(model, config, device, num_clips)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - begun
        if seconds > _MIN_SECONDS or 2 * num_clips > most_clips:
            break
        num_clips *= 2
    return StepProfile(
        num_clips=num_clips,
        seconds_per_clip=seconds / num_clips,
        kept_bytes_per_clip=kept,
    )


def find_chunk_size(
    config: Config,
    device: torch.device,
    *,
    local_clips: int,
    memory_bytes: float | None = None,
) -> int:
    """Return the largest chunk size, a divisor of `local_clips`, whose activations fit in memory.

    On a GPU chunk sizes are tried until memory runs out. On a CPU, where that would kill the
    process, memory is estimated from the activations of two clips.

    Args:
        config: Config of the run.
        device: Device that it will train on.
        local_clips: Clips per process and step.
        memory_bytes: Memory for activations on a CPU; None for 80% of what is free now, less
            weights, gradients and optimizer state.

    Raises:
        ValueError: Not even the smallest chunk fits.
    """
    sizes = [size for size in range(1, local_clips + 1) if local_clips % size == 0]
    sizes = [size for size in sizes if size >= _MIN_CLIPS] or [local_clips]
    if device.type == "cpu":
        profile = profile_step(config, device, most_clips=_MIN_CLIPS)
        if memory_bytes is None:
            state_bytes = _state_bytes(config, count_parameters(config))
            memory_bytes = _USABLE_SHARE * _available_bytes() - state_bytes
        needed = _PEAK_FACTOR * profile.kept_bytes_per_clip
        fitting = [size for size in sizes if size * needed <= memory_bytes]
    else:
        fitting = _fitting_on_gpu(config, device, sizes)
    if not fitting:
        raise ValueError(
            f"not even {sizes[0]} clips at once fit into memory: set a smaller model.video.width, "
            "clip.frames or transform.size, or training.activation_checkpointing=true"
        )
    return fitting[-1]


def with_found_chunk_size(config: Config, run_path: str | os.PathLike[str]) -> Config:
    """Return the config with the largest `training.chunk_size` that fits into memory.

    If the run exists already, its chunk size is kept, because a resumed run needs the same one.

    Raises:
        ValueError: Not even the smallest chunk fits.
    """
    existing = Path(run_path) / "config.toml"
    if existing.exists():
        found = load_config(file=existing).training.chunk_size
    else:
        device = choose_device(config.training.device)
        found = find_chunk_size(config, device, local_clips=config.sampling.batch_size)
    training = config.training.model_copy(update={"chunk_size": found})
    return config.model_copy(update={"training": training})


def noise(config: Config, device: torch.device, num_clips: int) -> tuple[Tensor, Tensor]:
    """Return normally distributed inputs of the video encoder and the audio encoder."""
    generator = torch.Generator().manual_seed(0)
    video, log_mel = (
        torch.randn(shape, generator=generator) for shape in _input_shapes(config, num_clips)
    )
    return _channels_last(video).to(device), log_mel.to(device)


def forward_backward(model: TwoTower, config: Config, device: torch.device, num_clips: int) -> None:
    """Send noise through a model and back; gradients accumulate in its parameters."""
    torch.autograd.backward(_forward(model, config, device, num_clips))


def _fitting_on_gpu(config: Config, device: torch.device, sizes: list[int]) -> list[int]:
    """Return the sizes, in ascending order, up to the first one that runs out of memory."""
    model = build_model(config, device).to(device)
    optimizer = build_optimizer([model], config.optimizer)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # allocates the optimizer state
    fitting = []
    for size in sizes:
        try:
            forward_backward(model, config, device, size)
        except torch.cuda.OutOfMemoryError:
            break
        finally:
            torch.cuda.empty_cache()
        fitting.append(size)
    return fitting


def _meta_model(config: Config) -> TwoTower:
    """Build the model without memory; to be called under `torch.device("meta")`."""
    return build_model(config, torch.device("cpu"))


def _input_shapes(config: Config, num_clips: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes `[N, 3, T, H, W]` and `[N, 1, bands, frames]` of the encoders' inputs."""
    size = config.transform.size
    with torch.device("cpu"):
        spectrogram = LogMel(config.transform.log_mel)(torch.zeros(1, config.clip.num_samples))
    return (num_clips, 3, config.clip.frames, size, size), (num_clips, *spectrogram.shape[1:])


def _channels_last(video: Tensor) -> Tensor:
    return video.contiguous(memory_format=torch.channels_last_3d)


def _forward(model: TwoTower, config: Config, device: torch.device, num_clips: int) -> Tensor:
    video, log_mel = noise(config, device, num_clips)
    precision = choose_precision(config.training.precision, device)
    with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
        embeddings = model(video, log_mel)
    return torch.sum(embeddings.video * embeddings.audio)


def _kept_bytes(model: TwoTower, config: Config, device: torch.device, num_clips: int) -> int:
    """Return the bytes that the forward pass keeps for the backward pass, without weights."""
    weights = {value.untyped_storage().data_ptr() for value in model.parameters()}
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        loss = _forward(model, config, device, num_clips)
    torch.autograd.backward(loss)
    return sum(kept.values())


def _state_bytes(config: Config, num_parameters: int) -> int:
    copies = _COPIES[config.optimizer.name] + (config.training.ema_decay > 0)
    return 4 * copies * num_parameters


def _available_bytes() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return 1024.0 * float(line.split()[1])
    return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _size(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.0f} MiB"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
