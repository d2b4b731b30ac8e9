"""The GPU part of benchmarks/training.py: speed of the preset base, and what ten minutes teach.

    python -m benchmarks.training --prepare-gpu --out DIR      renders and prepares, on a CPU
    python -m benchmarks.training --gpu --out DIR --json speed.json     under 9 minutes on a GPU
    python -m benchmarks.training --study --out DIR --json study.json   ten minutes more

What the GPU machine needs is DIR/gpu_data, proxies and labeled clips, some 150 MB. With `--small`
all of it runs on a CPU in a minute, at sizes that say nothing: to see that it works.
"""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.figures import Notebook
from experiments.rendered_tv import RenderedTVConfig, render_library
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.evaluation.evaluate import evaluate
from toomuchtv.media.proxy_writer import ProxyFormat
from toomuchtv.training.metrics import read_metrics
from toomuchtv.training.pretrain import pretrain
from toomuchtv.training.profile import find_chunk_size, flops_per_clip
from toomuchtv.training.run_config import Config, load_config

STUDY_SECONDS = 420.0
_WARM_UP_STEPS = 3
_TINY_MODEL = [
    "model.video.width=0.0625", "model.audio.width=0.0625", "transform.size=32", "clip.frames=4",
    "clip.audio_seconds=0.5",
]  # fmt: skip


def prepare_gpu_data(out: Path, *, small: bool) -> None:
    """Render a studio library, make proxies of it, and keep these and the labeled clips alone."""
    data = out / "gpu_data"
    shutil.rmtree(data, ignore_errors=True)
    films = 4 if small else 96
    order = RenderedTVConfig(
        movies=films,
        shows=1 if small else 8,
        episodes=2 if small else 4,
        minutes=0.25 if small else 0.5,
        signature_picture=1.0,
        signature_sound=1.0,
        music_overlap=0.6,
        event_kinds=3 if small else None,
        transfer_titles=5 if small else 10,
        transfer_clips_per_kind=5 if small else 6,
    )
    render_library(data / "studio", order, num_workers=os.cpu_count() or 1)
    scan_library(data / "studio" / "library", data / "catalog")
    with open_catalog(data / "catalog") as catalog:
        prepare_catalog(
            catalog, ProxyFormat(short_side=32 if small else 64), num_workers=os.cpu_count() or 1
        )
    shutil.rmtree(data / "studio" / "library")
    size = sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
    print(f"{data}: {size / 1e6:.1f} MB")


def _settings(small: bool) -> list[str]:
    cores = len(os.sched_getaffinity(0))
    return [
        "training.log_every=1", "training.validation_clips=2", "training.checkpoint_every=0",
        "sampling.min_gap_seconds=0.25",
        *(["training.num_workers=1", *_TINY_MODEL] if small
          else [f"training.num_workers={max(1, cores - 2)}", "training.device=cuda"]),
    ]  # fmt: skip


def measure_gpu(
    out: Path,
    *,
    small: bool,
    matmul_rate: Callable[[torch.device, torch.dtype, int], list[float]],
    book: Notebook,
) -> None:
    """Largest batch, clips a second with and without torch.compile, share of the device's rate.

    Args:
        out: Folder with `gpu_data`, and for runs.
        small: Try it on a CPU.
        matmul_rate: Measures a device's own rate.
        book: Where figures go, as they come.
    """
    device = torch.device("cpu" if small else "cuda")
    dtype = torch.float32 if small else torch.bfloat16
    rate = statistics.median(matmul_rate(device, dtype, 512 if small else 8192))
    base = load_config(preset="base", settings=_settings(small))
    limit, memory = (16, 2e9) if small else (1024, None)
    largest = find_chunk_size(base, device, local_clips=limit, memory_bytes=memory)
    book.note(
        {
            "matmul_tflop_per_second": rate / 1e12,
            "largest_batch": float(largest),
            "planned_gflop_per_clip": flops_per_clip(base) / 1e9,
        }
    )
    batch = min(largest, 8 if small else 128)
    with open_catalog(out / "gpu_data" / "catalog") as catalog:
        for name, compiled in (("eager", False), ("compiled", True)):
            if compiled and small:
                continue  # compiling alone takes a minute on a CPU
            config = _with_batch(base, batch, steps=4 if small else 40, compiled=compiled)
            run_path = out / f"speed_{name}_{time.time_ns()}"
            book.note(_speed(catalog, config, run_path, name, rate))


def _with_batch(base: Config, batch: int, *, steps: int, compiled: bool) -> Config:
    return base.model_copy(
        update={
            "sampling": base.sampling.model_copy(
                update={"batch_size": batch, "clips_per_item": min(16, batch // 2)}
            ),
            "training": base.training.model_copy(
                update={"steps": steps + _WARM_UP_STEPS, "compile": compiled}
            ),
        }
    )


def _speed(
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


def study(out: Path, *, small: bool) -> dict[str, float]:
    """Pretrain for some minutes on the studio; how well do frozen features name its events?"""
    data, run_path = out / "gpu_data", out / f"study_{time.time_ns()}"
    seconds = 5.0 if small else STUDY_SECONDS
    settings = [
        *_settings(small), "training.log_every=5", "optimizer.warmup_steps=20",
        *([] if small else ["transform.size=64", "clip.frames=8", "clip.audio_seconds=1.0"]),
    ]  # fmt: skip
    base = load_config(preset="small", settings=settings)
    batch = 8 if small else 256
    with open_catalog(data / "catalog") as catalog:
        tried = _with_batch(base, batch, steps=4 if small else 20, compiled=False)
        pretrain(catalog, run_path / "tried", tried)
        lines = [line for line in read_metrics(run_path / "tried") if "loss" in line]
        steps = max(10, int(seconds * lines[-1]["clips_per_second"] / batch))
        begun = time.monotonic()
        pretrain(catalog, run_path / "run", _with_batch(base, batch, steps=steps, compiled=False))
    values = {"study_steps": float(steps), "study_seconds": time.monotonic() - begun}
    actions = data / "studio" / "transfer" / "actions"
    for name, untrained in (("trained", False), ("untrained", True)):
        for modality in ("video", "audio"):
            found = evaluate(
                run_path / "run",
                "ucf101",
                actions,
                untrained=untrained,
                modality="video" if modality == "video" else "audio",
            )
            values[f"transfer_{modality}_{name}"] = found.metrics["accuracy"]["mean"]
    return {**values, "transfer_chance": found.chance["accuracy"]}
