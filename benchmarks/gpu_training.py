"""The GPU part of benchmarks/training.py: the speed of the preset base.

    python -m benchmarks.training --prepare-gpu --out DIR            renders and prepares, on a CPU
    python -m benchmarks.training --gpu --out DIR --json FILE        two minutes on an H100

The machine with the GPU needs DIR/gpu_data, about 150 MB of proxies. With `--small`, both commands
run on a CPU in a minute, at sizes that test the commands and measure nothing.
"""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.catalogs import open_prepared
from benchmarks.figures import Figures
from experiments.rendered_tv import RenderedTVConfig, render_library
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.media.proxy_writer import ProxyFormat
from toomuchtv.training.metrics import read_metrics
from toomuchtv.training.pretrain import pretrain
from toomuchtv.training.profile import find_chunk_size, flops_per_clip
from toomuchtv.training.run_config import Config, load_config

_WARM_UP_STEPS = 3
_TINY_MODEL = [
    "model.video.width=0.0625", "model.audio.width=0.0625", "transform.size=32", "clip.frames=4",
    "clip.audio_seconds=0.5",
]  # fmt: skip


def prepare_gpu_data(out: Path, *, small: bool) -> None:
    """Render a library, make its proxies, and delete the library."""
    data, cores = out / "gpu_data", os.cpu_count() or 1
    shutil.rmtree(data, ignore_errors=True)
    config = RenderedTVConfig(
        movies=4 if small else 96,
        shows=1 if small else 8,
        episodes=2 if small else 4,
        minutes=0.25 if small else 0.5,
        transfer_clips_per_kind=0,
    )
    render_library(data / "rendered", config, num_workers=cores)
    proxy_format = ProxyFormat(short_side=32 if small else 64)
    library = data / "rendered" / "library"
    open_prepared(library, data / "catalog", proxy_format, num_workers=cores).close()
    shutil.rmtree(data / "rendered")
    size = sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
    print(f"{data}: {size / 1e6:.1f} MB")


def measure_gpu(
    out: Path,
    *,
    small: bool,
    matmul_rate: Callable[[torch.device, torch.dtype, int], list[float]],
    figures: Figures,
) -> None:
    """Measure the largest batch, and the speed with and without torch.compile.

    Args:
        out: Folder that contains `gpu_data`; runs are written there too.
        small: Use a CPU and small sizes.
        matmul_rate: Function that measures the device's rate of matrix products.
        figures: Receives the figures as soon as they are measured.
    """
    device = torch.device("cpu" if small else "cuda")
    dtype = torch.float32 if small else torch.bfloat16
    rate = statistics.median(matmul_rate(device, dtype, 512 if small else 8192))
    base = load_config(preset="base", settings=_settings(small))
    limit, memory = (16, 2e9) if small else (1024, None)
    largest = find_chunk_size(base, device, local_clips=limit, memory_bytes=memory)
    figures.add(
        {
            "matmul_tflop_per_second": rate / 1e12,
            "largest_batch": float(largest),
            "planned_gflop_per_clip": flops_per_clip(base) / 1e9,
        }
    )
    batch = min(largest, 8 if small else 128)
    with open_catalog(out / "gpu_data" / "catalog") as catalog:
        # Compilation alone takes a minute on a CPU.
        for name in ("eager",) if small else ("eager", "compiled"):
            config = _with_batch(base, batch, steps=4 if small else 40, compiled=name == "compiled")
            run_path = out / f"speed_{name}_{time.time_ns()}"
            figures.add(_measure_speed(catalog, config, run_path, name, rate))


def _settings(small: bool) -> list[str]:
    cores = len(os.sched_getaffinity(0))
    return [
        "training.log_every=1", "training.validation_clips=2", "training.checkpoint_every=0",
        "sampling.min_gap_seconds=0.25",
        *(["training.num_workers=1", *_TINY_MODEL] if small
          else [f"training.num_workers={max(1, cores - 2)}", "training.device=cuda"]),
    ]  # fmt: skip


def _with_batch(base: Config, batch: int, *, steps: int, compiled: bool) -> Config:
    sampling = {"batch_size": batch, "clips_per_item": min(16, batch // 2)}
    training = {"steps": steps + _WARM_UP_STEPS, "compile": compiled}
    return base.model_copy(
        update={
            "sampling": base.sampling.model_copy(update=sampling),
            "training": base.training.model_copy(update=training),
        }
    )


def _measure_speed(
    catalog: Catalog, config: Config, run_path: Path, name: str, rate: float
) -> dict[str, float]:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    pretrain(catalog, run_path, config)
    lines = [line for line in read_metrics(run_path) if "loss" in line][_WARM_UP_STEPS:]
    clips = statistics.median(line["clips_per_second"] for line in lines)
    wait = statistics.mean(line["data_wait_share"] for line in lines)
    values = {
        f"clips_per_second_{name}": clips,
        f"data_wait_share_{name}": wait,
        f"matmul_rate_share_{name}": flops_per_clip(config) * clips / (1.0 - wait) / rate,
    }
    if torch.cuda.is_available():
        values[f"peak_memory_gib_{name}"] = torch.cuda.max_memory_allocated() / 2**30
    return values
