"""How fast training is, and how much of what this machine can do that is.

On the CPU, for the presets tiny and base: clips a second of the whole loop, beside the same model
written the plain way on the same proxies; the share of the time that it waits for data; the rate at
which it computes, planned from shapes, beside the machine's own rate of matrix products, measured;
the cost of the figures of the negatives. The preset base is measured with a batch of few clips: its
own does not fit here.

    python -m benchmarks.training --out /tmp/training --json training.json
    python -m benchmarks.training --gpu --out /tmp/training --json gpu.json    (see gpu_training.py)
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from benchmarks.figures import Figures, parser, spread
from benchmarks.gpu_training import measure_gpu, prepare_gpu_data, study
from benchmarks.plain_training import train_plainly
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.config import Config, load_config
from toomuchtv.media.proxy import ProxyRecipe
from toomuchtv.training.assembly import assemble
from toomuchtv.training.metrics import read_metrics
from toomuchtv.training.pretrain import pretrain
from toomuchtv.training.rehearsal import flops_per_clip

CPU = torch.device("cpu")
_COMMON = [
    "training.device=cpu", "training.log_every=1", "training.validation_clips=2",
    "training.checkpoint_every=0",
]  # fmt: skip
#: Settings over each preset, and how many steps are timed after the warm-up.
CASES = {
    "tiny": (["sampling.batch_size=64"], 12),
    "base": (["sampling.batch_size=4", "sampling.clips_per_item=4"], 3),
}
WARM_UP_STEPS = 2


def matmul_rate(device: torch.device, dtype: torch.dtype, size: int = 2048) -> list[float]:
    """Floating-point operations a second of large matrix products, several times."""
    left, right = (torch.randn(size, size).to(device, dtype) for _ in range(2))
    rates = []
    for _ in range(6):
        begun = time.perf_counter()
        product = left @ right
        float(product[0, 0])  # waits for a GPU
        rates.append(2.0 * size**3 / (time.perf_counter() - begun))
    return rates[1:]


def prepared(out: Path, library: Path) -> Path:
    """A catalog of the library with proxies, made once."""
    catalog_path = out / "catalog"
    if not (catalog_path / "catalog.sqlite").exists():
        scan_library(library, catalog_path)
        with open_catalog(catalog_path) as catalog:
            prepare_catalog(catalog, ProxyRecipe(short_side=128))
    return catalog_path


def trained(catalog: Catalog, config: Config, run_path: Path) -> dict[str, list[float]]:
    """Clips a second and share of waiting of every step after the warm-up, from the run's log."""
    pretrain(catalog, run_path, config)
    lines = [line for line in read_metrics(run_path) if "loss" in line][WARM_UP_STEPS:]
    return {
        "clips_per_second": [line["clips_per_second"] for line in lines],
        "data_wait_share": [line["data_wait_share"] for line in lines],
    }


def overall_wait_share(found: dict[str, list[float]]) -> float:
    """Share of the whole time: steps that took longer count for more."""
    seconds = [1.0 / rate for rate in found["clips_per_second"]]
    waited = [x * share for x, share in zip(seconds, found["data_wait_share"], strict=True)]
    return sum(waited) / sum(seconds)


def measure(name: str, catalog: Catalog, out: Path, rate: float, steps: int) -> dict[str, float]:
    """All figures of one preset on the CPU."""
    settings, _ = CASES[name]
    total = f"training.steps={steps + WARM_UP_STEPS}"
    config = load_config(preset=name, settings=[*_COMMON, *settings, total])
    found = trained(catalog, config, out / f"run_{name}_{time.time_ns()}")
    ours = found["clips_per_second"]
    plain_seconds = train_plainly(catalog, config, steps=steps + WARM_UP_STEPS)[WARM_UP_STEPS:]
    plain = [config.sampling.batch_size / seconds for seconds in plain_seconds]
    wait = overall_wait_share(found)
    flops = flops_per_clip(config)
    computing = statistics.median(ours) / (1.0 - wait)
    return {
        **spread(f"clips_per_second_{name}", ours),
        **spread(f"plain_clips_per_second_{name}", plain),
        f"over_plain_{name}": statistics.median(ours) / statistics.median(plain),
        f"data_wait_share_{name}": wait,
        f"planned_gflop_per_clip_{name}": flops / 1e9,
        f"planned_seconds_per_clip_{name}": flops / rate,
        f"matmul_rate_share_{name}": flops * computing / rate,
    }


def diagnostics_cost(catalog: Catalog, out: Path) -> dict[str, float]:
    """What the figures of the negatives cost, as a share of a step of the preset tiny."""
    config = load_config(preset="tiny", settings=_COMMON)
    run = assemble(catalog, out / f"diagnosed_{time.time_ns()}", config, resume=False, device=CPU)
    batch = run.data.batches[0]
    _, _, gathered = run.step(batch, 1e-3)
    step = statistics.median(_seconds(lambda: run.step(batch, 1e-3), 3))
    figures = statistics.median(_seconds(lambda: run.step.negatives(gathered), 20))
    every = load_config(preset="tiny").training.log_every
    return {
        "diagnostics_milliseconds": 1000 * figures,
        "diagnostics_cost_share_of_a_logged_step": figures / step,
        "diagnostics_cost_share": figures / step / every,
    }


def compile_gain(catalog: Catalog, out: Path, steps: int) -> dict[str, float]:
    """Clips a second of the preset tiny with torch.compile, and how long the first step takes."""
    settings = [*CASES["tiny"][0], f"training.steps={steps + WARM_UP_STEPS}"]
    rates = {}
    for compiled in ("false", "true"):
        config = load_config(
            preset="tiny", settings=[*_COMMON, *settings, f"training.compile={compiled}"]
        )
        run_path = out / f"compiled_{compiled}_{time.time_ns()}"
        found = trained(catalog, config, run_path)
        rates[compiled] = statistics.median(found["clips_per_second"])
        first = next(line for line in read_metrics(run_path) if "loss" in line)
    return {
        "compiled_over_eager_tiny": rates["true"] / rates["false"],
        "first_compiled_step_seconds": config.sampling.batch_size / first["clips_per_second"],
    }


def _seconds(run: Callable[[], object], times: int) -> Sequence[float]:
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return taken


def main() -> None:
    """Run the benchmark."""
    made = parser(__doc__)
    made.add_argument("--library", type=Path, default=Path("../shared/media/library"))
    made.add_argument("--presets", nargs="+", default=list(CASES), choices=list(CASES))
    made.add_argument("--steps", type=int, help="timed steps of each preset, for a quick look")
    made.add_argument("--compile", action="store_true", help="measure torch.compile instead")
    made.add_argument("--gpu", action="store_true", help="measure the preset base on a GPU")
    made.add_argument("--prepare-gpu", action="store_true", help="make what --gpu reads; on a CPU")
    made.add_argument("--study", action="store_true", help="with --gpu: pretrain, probe transfer")
    made.add_argument("--small", action="store_true", help="a small form of the same, to try it")
    options = made.parse_args()
    if options.prepare_gpu:
        prepare_gpu_data(options.out, small=options.small)
    if options.gpu:
        values = measure_gpu(options.out, small=options.small, matmul_rate=matmul_rate)
        Figures(benchmark="training_gpu", values=values).publish(options.json)
    elif options.study:
        values = study(options.out, small=options.small)
        Figures(benchmark="training_gpu_study", values=values).publish(options.json)
    elif options.compile:
        with open_catalog(prepared(options.out, options.library)) as catalog:
            values = compile_gain(catalog, options.out, options.steps or CASES["tiny"][1])
        Figures(benchmark="training_compiled", values=values).publish(options.json)
    elif not options.prepare_gpu:
        values = measure_cpu(
            options.out,
            options.library,
            {name: options.steps or CASES[name][1] for name in options.presets},
        )
        Figures(benchmark="training", values=values).publish(options.json)


def measure_cpu(out: Path, library: Path, steps: Mapping[str, int]) -> dict[str, float]:
    """All that is measured without a GPU. The figures without a preset's name are the worst.

    Args:
        out: Folder for runs and the catalog.
        library: To prepare a catalog of.
        steps: Timed steps of each preset.
    """
    rates = matmul_rate(CPU, torch.float32)
    rate = statistics.median(rates)
    values = {"threads": float(torch.get_num_threads())}
    values |= spread("matmul_gflop_per_second", [x / 1e9 for x in rates])
    with open_catalog(prepared(out, library)) as catalog:
        for name, count in steps.items():
            values |= measure(name, catalog, out, rate, count)
            print(values, flush=True)
        values |= diagnostics_cost(catalog, out)
    for key, worst in (("over_plain", min), ("data_wait_share", max), ("matmul_rate_share", min)):
        values[key] = worst(values[f"{key}_{name}"] for name in steps)
    return values


if __name__ == "__main__":
    main()
