"""The GPU part of benchmarks/training.py: the speed of base, vit-small and vit-base.

    python -m benchmarks.training --prepare-gpu --out DIR            renders and prepares, on a CPU
    python -m benchmarks.training --gpu --out DIR --json FILE        under six minutes on an H200

The machine with the GPU needs DIR/gpu_data, at most 40 MB of proxies 128 pixels high. For each
preset the second command measures

    clips_per_second      end to end: proxies, loader, both towers, loss, logging every 10 steps
    data_wait_share       share of the time in which the GPU had nothing to do for lack of data
    matmul_rate_share     rate of floating-point operations, as a share of the measured one
    over_synthetic        the same as a share of the rate on one batch that is on the device already
    compile_seconds       until the first step can be taken, with an empty cache and with a full one
    host_synchronizations of an unlogged step, of those that PyTorch notices

and the loader alone on all cores. With `--small`, both commands run on a CPU in a minute or two, at
sizes that test the commands and measure nothing.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import torch

from benchmarks.catalogs import open_prepared
from benchmarks.figures import Figures
from experiments.rendered_tv import RenderedTVConfig, render_library
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.data.batches import PlannedBatches
from toomuchtv.data.clip_reader import ClipReader
from toomuchtv.data.loader import iterate_batches
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.media.proxy_writer import ProxyFormat
from toomuchtv.training.device import cuda_arithmetic
from toomuchtv.training.metrics import read_metrics
from toomuchtv.training.pretrain import pretrain
from toomuchtv.training.profile import flops_per_clip
from toomuchtv.training.run import Run, open_run
from toomuchtv.training.run_config import Config, load_config

#: Clips per step of each preset. Each fits into 80 GB.
BATCHES = {"base": 128, "vit-small": 256, "vit-base": 128}
_LOG_EVERY = 10
_INTERVALS, _SMALL_INTERVALS = 7, 2  # of which the first is not counted
_SYNTHETIC_STEPS = 40
_LOADER_SECONDS = 15.0
_SMALL = [
    "transform.size=32", "clip.frames=4", "clip.audio_seconds=0.5", "training.num_workers=1",
    "training.device=cpu",
]  # fmt: skip
_SMALL_MODEL = {
    "base": ["model.video.width=0.0625", "model.audio.width=0.0625"],
    "vit-small": ["model.video.size=micro", "model.audio.size=micro"],
    "vit-base": ["model.video.size=micro", "model.audio.size=micro"],
}


def prepare_gpu_data(out: Path, *, small: bool) -> None:
    """Render a library, make its proxies, and delete the library."""
    data, cores = out / "gpu_data", os.cpu_count() or 1
    shutil.rmtree(data, ignore_errors=True)
    config = RenderedTVConfig(
        movies=4 if small else 32,
        shows=1 if small else 2,
        episodes=2,
        minutes=0.25 if small else 0.4,
        transfer_clips_per_kind=0,
    )
    render_library(data / "rendered", config, num_workers=cores)
    proxy_format = ProxyFormat(short_side=32 if small else 128)
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
    """Measure every preset, and the loader alone.

    Args:
        out: Folder that contains `gpu_data`; runs are written there too.
        small: Use a CPU and small sizes.
        matmul_rate: Function that measures the device's rate of matrix products.
        figures: Receives the figures as soon as they are measured.
    """
    device = torch.device("cpu" if small else "cuda")
    dtype = torch.float32 if small else torch.bfloat16
    rate = statistics.median(matmul_rate(device, dtype, 512 if small else 8192))
    figures.add({"matmul_tflop_per_second": rate / 1e12})
    with (
        open_catalog(out / "gpu_data" / "catalog") as catalog,
        # Nothing that an earlier run has compiled.
        tempfile.TemporaryDirectory() as compiled,
    ):
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = compiled
        for preset in BATCHES:
            _measure_preset(catalog, preset, out, rate, device, small=small, figures=figures)
        config = _config("base", small=small)
        figures.add({"loader_clips_per_second": _loader_rate(catalog, config, small=small)})


def _config(preset: str, *, small: bool) -> Config:
    cores = len(os.sched_getaffinity(0))
    intervals = _SMALL_INTERVALS if small else _INTERVALS
    batch = 8 if small else BATCHES[preset]
    return load_config(
        preset=preset,
        settings=[
            f"training.log_every={_LOG_EVERY}", f"training.steps={_LOG_EVERY * intervals}",
            "training.validation_clips=2", "training.checkpoint_every=0",
            "training.validate_every=0", f"sampling.batch_size={batch}",
            f"sampling.clips_per_item={min(16, batch // 2)}", "sampling.min_gap_seconds=0.25",
            *([*_SMALL, *_SMALL_MODEL[preset]] if small
              else [f"training.num_workers={max(1, cores - 2)}", "training.device=cuda"]),
        ],
    )  # fmt: skip


def _measure_preset(
    catalog: Catalog,
    preset: str,
    out: Path,
    rate: float,
    device: torch.device,
    *,
    small: bool,
    figures: Figures,
) -> None:
    config, name = _config(preset, small=small), preset.replace("-", "_")
    folder = out / f"{preset}_{time.time_ns()}"
    if device.type == "cuda":
        torch.compiler.reset()  # the compiler gives up after some variants of one function
    begun = time.perf_counter()
    with (
        cuda_arithmetic(device),
        open_run(catalog, folder / "synthetic", config, resume=False, device=device) as run,
    ):
        _wait_for(run)
        compile_seconds = time.perf_counter() - begun
        synthetic = _synthetic_rate(run, steps=4 if small else _SYNTHETIC_STEPS)
        synchronizations = _host_synchronizations(run)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    first_step_seconds: list[float] = []
    begun = time.perf_counter()

    def note(done: float, total: float, what: str) -> None:
        if done == 0:
            first_step_seconds.append(time.perf_counter() - begun)

    pretrain(catalog, folder / "end_to_end", config, progress=note)
    lines = [line for line in read_metrics(folder / "end_to_end") if "loss" in line][1:]
    clips = statistics.median(line["clips_per_second"] for line in lines)
    flops = flops_per_clip(config)
    figures.add(
        {
            f"{name}_clips_per_second": clips,
            f"{name}_clips_per_second_lowest": min(line["clips_per_second"] for line in lines),
            f"{name}_clips_per_second_highest": max(line["clips_per_second"] for line in lines),
            f"{name}_matmul_rate_share": flops * clips / rate,
            f"{name}_data_wait_share": statistics.mean(line["data_wait_share"] for line in lines),
            f"{name}_synthetic_clips_per_second": synthetic,
            f"{name}_over_synthetic": clips / synthetic,
            f"{name}_compile_seconds": compile_seconds,
            f"{name}_compile_seconds_with_cache": first_step_seconds[0],
            f"{name}_planned_gflop_per_clip": flops / 1e9,
            f"{name}_host_synchronizations": float(synchronizations),
        }
    )
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**30
        figures.add({f"{name}_peak_memory_gib": peak})


def _wait_for(run: Run) -> None:
    if run.device.type == "cuda":
        torch.cuda.synchronize(run.device)


def _synthetic_rate(run: Run, *, steps: int) -> float:
    """Return clips per second on one batch that is on the device already, logging included."""
    batch = run.step.prepare(run.batches[0])
    for _ in range(3):
        run.step(batch, 1e-4).values.read()
    begun, before = time.perf_counter(), run.step(batch, 1e-4)
    for number in range(1, steps):
        result = run.step(batch, 1e-4)
        assert before.is_finite  # read one step later, as a run does
        before = result
        if number % _LOG_EVERY == 0:
            run.step.metrics(result)
    assert before.is_finite
    _wait_for(run)
    return steps * len(batch) / (time.perf_counter() - begun)


def _host_synchronizations(run: Run) -> int:
    """Count how often the host waits for the device in an unlogged step, as PyTorch notices."""
    batch = run.step.prepare(run.batches[0])
    is_cuda = run.device.type == "cuda"
    with warnings.catch_warnings(record=True) as noticed:
        warnings.simplefilter("always")
        if is_cuda:
            torch.cuda.set_sync_debug_mode("warn")
        try:
            run.step(batch, 1e-4)
        finally:
            if is_cuda:
                torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(one.message) for one in noticed)


def _loader_rate(catalog: Catalog, config: Config, *, small: bool) -> float:
    """Return clips per second of the loader with a decoding process on every core."""
    snapshot = catalog.snapshot()
    reader = ClipReader(catalog.folder, snapshot, catalog.proxies(), config.clip)
    sampler = ClipSampler(snapshot, config.sampling, config.clip)
    workers = 1 if small else len(os.sched_getaffinity(0))
    limit = 1.0 if small else _LOADER_SECONDS
    stream = iterate_batches(
        PlannedBatches(reader, sampler, seed=0),
        start=0,
        stop=1_000_000,
        num_workers=workers,
        pin_memory=not small,
    )
    with closing(stream):
        for _ in range(4 * workers):  # what was decoded while nobody was waiting
            next(stream)
        begun, clips = time.perf_counter(), 0
        while time.perf_counter() - begun < limit:
            clips += len(next(stream))
        return clips / (time.perf_counter() - begun)
