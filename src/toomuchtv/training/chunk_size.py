"""How many clips fit in memory at once, found by trying."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path

import torch

from toomuchtv.models import TwoTower
from toomuchtv.training.assembly import build_model
from toomuchtv.training.device import choose_device
from toomuchtv.training.optimizer import build_optimizer
from toomuchtv.training.profile import forward_and_back
from toomuchtv.training.run_config import Config, load_config

#: What is left to the system, to fragments and to decoded batches.
_USABLE_SHARE = 0.8
_FEWEST_CLIPS = 2
#: A peak so far above what was there before is told apart from the noise of the allocator.
_CLEAR_BYTES = 16 * 2**20


def find_chunk_size(
    config: Config,
    device: torch.device,
    *,
    local_clips: int,
    memory_bytes: float | None = None,
) -> int:
    """The largest equal part of a process's clips that goes through the model and back in memory.

    On a GPU parts are tried until memory runs out. On a CPU, where that would end the process, a
    few clips are tried, the peak of the resident memory is measured, and larger numbers follow from
    the slope.

    Args:
        config: Of the run.
        device: That it will compute on.
        local_clips: Clips of one process in one step; the result divides it.
        memory_bytes: What may be used on a CPU; None: 80% of what is free now.

    Raises:
        ValueError: Not even the smallest part fits.
    """
    parts = [count for count in range(1, local_clips + 1) if local_clips % count == 0]
    parts = [count for count in parts if count >= _FEWEST_CLIPS] or [local_clips]
    with_moments = _Trial(config, device)
    fits: Callable[[int], bool] = with_moments.fits_on_gpu
    if device.type == "cpu":
        budget = _USABLE_SHARE * _available_bytes() if memory_bytes is None else memory_bytes
        needs = with_moments.bytes_on_cpu(parts)
        fits = lambda count: needs(count) <= budget  # noqa: E731
    if not fits(parts[0]):
        raise ValueError(
            f"not even {parts[0]} clips at once fit in memory: set a smaller model.video.width, "
            "clip.frames or transform.size, or training.activation_checkpointing=true"
        )
    low, high = 0, len(parts)  # parts[low] fits, parts[high] does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(parts[middle]) else (low, middle)
    return parts[low]


def with_found_chunk_size(config: Config, run_path: Path) -> Config:
    """The config with `training.chunk_size` as it is found here; in a run's folder, as it was.

    Raises:
        ValueError: Not even the smallest part fits.
    """
    own = run_path / "config.toml"
    if own.exists():
        found = load_config(file=own).training.chunk_size
    else:
        device = choose_device(config.training.device)
        found = find_chunk_size(config, device, local_clips=config.sampling.batch_size)
    training = config.training.model_copy(update={"chunk_size": found})
    return config.model_copy(update={"training": training})


class _Trial:
    """A model with its gradients and moments in place, to send clips through."""

    def __init__(self, config: Config, device: torch.device) -> None:
        self._config, self._device = config, device
        self._model: TwoTower = build_model(config).to(device)
        optimizer = build_optimizer([self._model], config.optimizer)
        for parameter in self._model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        self._optimizer = optimizer

    def _run(self, num_clips: int) -> None:
        forward_and_back(self._model, self._config, self._device, num_clips)

    def fits_on_gpu(self, num_clips: int) -> bool:
        """Whether so many clips go through before memory runs out."""
        try:
            self._run(num_clips)
        except torch.cuda.OutOfMemoryError:
            return False
        finally:
            torch.cuda.empty_cache()
        return True

    def bytes_on_cpu(self, parts: list[int]) -> Callable[[int], float]:
        """How much more memory a number of clips needs at its peak, from a few that are tried."""
        measured: list[tuple[int, float]] = []
        self._run(parts[0])  # what the libraries set up once
        for count in parts:
            measured.append((count, _peak_growth(lambda: self._run(count))))  # noqa: B023
            if len(measured) >= 2 and measured[-1][1] > 2 * measured[0][1] + _CLEAR_BYTES:
                break
        (few, little), (many, much) = measured[0], measured[-1]
        slope = (much - little) / (many - few) if many > few else much / many
        return lambda count: max(0.0, much + slope * (count - many))


def _peak_growth(run: Callable[[], object]) -> float:
    """Bytes by which the resident memory rises, at its peak, while something runs (Linux)."""
    gc.collect()
    # Memory that is free but still held would hide how much more is needed.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
    before = _status("VmRSS")
    run()
    return max(0.0, _status("VmHWM") - before)


def _status(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return 1024.0 * float(line.split()[1])
    raise OSError(f"/proc/self/status has no {key}")


def _available_bytes() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return 1024.0 * float(line.split()[1])
    return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
