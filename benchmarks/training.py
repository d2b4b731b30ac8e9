"""Speed of training, beside a plain implementation and the machine's rate of matrix products.

    python -m benchmarks.training --out DIR --json FILE              six minutes on two CPU cores
    python -m benchmarks.training --gpu --out DIR --json FILE        see gpu_training.py

The parts of the measurement on a CPU are:

    rate         the machine's rate of matrix products; always measured
    tiny, base   clips per second of the whole training loop, beside the same model in a plain
                 implementation on the same proxies; the share of the time that the loop waits for
                 data; its rate of floating-point operations, computed from shapes, as a share of
                 the machine's. The preset base has a batch of 4 clips, because its own does not fit
    diagnostics  cost of the figures of the negatives
    compile      the preset tiny with torch.compile, and the time of its first step
    dropout      the preset vit-small with 8 clips per step, by the share of video patches that a
                 step leaves out
"""

from __future__ import annotations

import signal
import statistics
import time
import timeit
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.catalogs import open_prepared
from benchmarks.figures import Figures, argument_parser, median_and_range
from benchmarks.gpu_training import measure_gpu, prepare_gpu_data
from benchmarks.plain_training import train_plain
from toomuchtv.catalog.store import Catalog
from toomuchtv.training.metrics import read_metrics
from toomuchtv.training.pretrain import pretrain
from toomuchtv.training.profile import flops_per_clip
from toomuchtv.training.run import open_run
from toomuchtv.training.run_config import Config, load_config

CPU = torch.device("cpu")
PARTS = ("rate", "tiny", "base", "diagnostics", "compile", "dropout")
_COMMON = [
    "training.device=cpu", "training.log_every=1", "training.validation_clips=2",
    "training.checkpoint_every=0",
]  # fmt: skip
#: Settings of each preset, and the time limit of each of its two runs, in seconds.
CASES = {
    "tiny": (["sampling.batch_size=64"], 40.0),
    "base": (["sampling.batch_size=4", "sampling.clips_per_item=4"], 30.0),
    "vit-small": (["sampling.batch_size=8", "sampling.clips_per_item=8"], 30.0),
}
#: Presets that the plain implementation has as well.
_COMPARED = ("tiny", "base")
_PATCH_DROPOUT = (0.0, 0.5, 0.75)
_WARM_UP_STEPS, _MIN_STEPS, _MAX_STEPS = 1, 2, 100


class TimeLimit:
    """A callable that ends a run when it has been timed for long enough.

    Args:
        seconds: Limit of the time after the warm-up.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._begun = seconds, time.monotonic()

    def __call__(self, steps: int) -> bool:
        """Return True if the run should stop after this many steps."""
        if steps <= _WARM_UP_STEPS:
            self._begun = time.monotonic()
        is_over = time.monotonic() - self._begun > self._seconds
        return is_over and steps >= _WARM_UP_STEPS + _MIN_STEPS

    def stop_run(self, done: float, total: float, what: str) -> None:
        """Stop `pretrain` as a user would, with a signal. This is a `ProgressCallback`."""
        if self(int(done)):
            signal.raise_signal(signal.SIGTERM)


def matmul_rate(device: torch.device, dtype: torch.dtype, size: int = 2048) -> list[float]:
    """Measure the floating-point operations per second of large matrix products, five times."""
    left, right = (torch.randn(size, size).to(device, dtype) for _ in range(2))
    rates = []
    for _ in range(6):
        begun = time.perf_counter()
        product = left @ right
        float(product[0, 0])  # waits for a GPU
        rates.append(2.0 * size**3 / (time.perf_counter() - begun))
    return rates[1:]


def case_config(name: str, *settings: str) -> Config:
    """Return the config of one of `CASES`."""
    steps = f"training.steps={_MAX_STEPS}"
    return load_config(preset=name, settings=[*_COMMON, *CASES[name][0], steps, *settings])


def timed_steps(
    catalog: Catalog, config: Config, run_path: Path, seconds: float
) -> list[dict[str, float]]:
    """Train until the time limit, and return the logged metrics of every step, warm-up included."""
    pretrain(catalog, run_path, config, progress=TimeLimit(seconds).stop_run)
    return [line for line in read_metrics(run_path) if "loss" in line]


def measure_preset(
    name: str, catalog: Catalog, out: Path, rate: float, seconds: float, figures: Figures
) -> None:
    """Measure one preset on the CPU, and the plain implementation of the same training."""
    config = case_config(name)
    run_path = out / f"run_{name}_{time.time_ns()}"
    steps = timed_steps(catalog, config, run_path, seconds)[_WARM_UP_STEPS:]
    ours = [step["clips_per_second"] for step in steps]
    # The share of the whole time: slow steps count for more.
    durations = [1.0 / clips_per_second for clips_per_second in ours]
    waited = [
        duration * step["data_wait_share"] for duration, step in zip(durations, steps, strict=True)
    ]
    wait = sum(waited) / sum(durations)
    flops = flops_per_clip(config)
    computing = statistics.median(ours) / (1.0 - wait)
    figures.add(
        {
            **median_and_range(f"clips_per_second_{name}", ours),
            f"data_wait_share_{name}": wait,
            f"planned_gflop_per_clip_{name}": flops / 1e9,
            f"planned_seconds_per_clip_{name}": flops / rate,
            f"matmul_rate_share_{name}": flops * computing / rate,
        }
    )
    taken = train_plain(catalog, config, steps=_MAX_STEPS, is_over=TimeLimit(seconds))
    plain = [config.sampling.batch_size / x for x in taken[_WARM_UP_STEPS:]]
    figures.add(
        {
            **median_and_range(f"plain_clips_per_second_{name}", plain),
            f"over_plain_{name}": statistics.median(ours) / statistics.median(plain),
        }
    )


def measure_diagnostics(catalog: Catalog, out: Path) -> dict[str, float]:
    """Measure the cost of the figures of the negatives, as a share of a step of the preset tiny."""
    config = load_config(preset="tiny", settings=_COMMON)
    folder = out / f"diagnosed_{time.time_ns()}"
    with open_run(catalog, folder, config, resume=False, device=CPU) as run:
        batch = run.batches[0]
        result = run.step(batch, 1e-3)
        step = statistics.median(timeit.repeat(lambda: run.step(batch, 1e-3), number=1, repeat=3))
        figures = statistics.median(
            timeit.repeat(lambda: run.step.metrics(result), number=1, repeat=20)
        )
    share = figures / step
    every = load_config(preset="tiny").training.log_every
    return {
        "diagnostics_milliseconds": 1000 * figures,
        "diagnostics_cost_share_of_a_logged_step": share,
        "diagnostics_cost_share": share / every,
    }


def measure_compile(catalog: Catalog, out: Path, seconds: float, figures: Figures) -> None:
    """Measure the preset tiny with torch.compile, and the time of its first step."""
    eager = figures.values.get("clips_per_second_tiny")
    if eager is None:
        found = timed_steps(catalog, case_config("tiny"), out / f"eager_{time.time_ns()}", seconds)
        eager = statistics.median(step["clips_per_second"] for step in found[_WARM_UP_STEPS:])
    config = case_config("tiny", "training.compile=true")
    found = timed_steps(catalog, config, out / f"compiled_{time.time_ns()}", seconds)
    rates = [step["clips_per_second"] for step in found]
    figures.add(
        {
            **median_and_range("compiled_clips_per_second_tiny", rates[_WARM_UP_STEPS:]),
            "compiled_over_eager_tiny": statistics.median(rates[_WARM_UP_STEPS:]) / eager,
            "first_compiled_step_seconds": config.sampling.batch_size / rates[0],
        }
    )


def measure_patch_dropout(catalog: Catalog, out: Path, seconds: float, figures: Figures) -> None:
    """Measure the preset vit-small with several shares of dropped patches."""
    medians: list[float] = []
    for share in _PATCH_DROPOUT:
        config = case_config("vit-small", f"model.video.patch_dropout={share}")
        run_path = out / f"dropout_{share:g}_{time.time_ns()}"
        steps = timed_steps(catalog, config, run_path, seconds)[_WARM_UP_STEPS:]
        rates = [step["clips_per_second"] for step in steps]
        name = f"vit-small_patch_dropout_{share:g}"
        medians.append(statistics.median(rates))
        figures.add(
            {
                **median_and_range(f"clips_per_second_{name}", rates),
                f"{name}_over_no_dropout": medians[-1] / medians[0],
            }
        )


def measure_cpu(
    out: Path, library: Path, parts: Sequence[str], seconds: float | None, figures: Figures
) -> None:
    """Measure the given parts. Figures without the name of a preset are the worst of all presets.

    Args:
        out: Folder for runs and for the catalog.
        library: Library of which a catalog is prepared, once.
        parts: Some of `PARTS`.
        seconds: Time limit of each run; None: the limits of `CASES`.
        figures: Receives the figures as soon as they are measured.
    """
    figures.add({"threads": float(torch.get_num_threads())})
    rates = matmul_rate(CPU, torch.float32)
    figures.add(median_and_range("matmul_gflop_per_second", [x / 1e9 for x in rates]))
    rate = statistics.median(rates)
    with open_prepared(library, out / "catalog") as catalog:
        names = [name for name in _COMPARED if name in parts]
        for name in names:
            measure_preset(name, catalog, out, rate, seconds or CASES[name][1], figures)
        for key, worst in (
            ("over_plain", min), ("data_wait_share", max), ("matmul_rate_share", min),
        ):  # fmt: skip
            if names:
                figures.add({key: worst(figures.values[f"{key}_{name}"] for name in names)})
        if "diagnostics" in parts:
            figures.add(measure_diagnostics(catalog, out))
        if "compile" in parts:
            measure_compile(catalog, out, seconds or CASES["tiny"][1], figures)
        if "dropout" in parts:
            measure_patch_dropout(catalog, out, seconds or CASES["vit-small"][1], figures)


def main() -> None:
    """Run the benchmark."""
    parser = argument_parser(__doc__)
    parser.add_argument("--library", type=Path, default=Path("../shared/media/library"))
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--seconds", type=float, help="time limit of each run, for a quick test")
    parser.add_argument("--gpu", action="store_true", help="measure on a GPU; see gpu_training.py")
    parser.add_argument("--prepare-gpu", action="store_true", help="make the data of --gpu")
    parser.add_argument("--small", action="store_true", help="test --gpu and --prepare-gpu, no GPU")
    options = parser.parse_args()
    if options.prepare_gpu:
        prepare_gpu_data(options.out, small=options.small)
    if options.gpu:
        figures = Figures("training_gpu", options.json)
        measure_gpu(options.out, small=options.small, matmul_rate=matmul_rate, figures=figures)
    elif not options.prepare_gpu:
        figures = Figures("training", options.json)
        measure_cpu(options.out, options.library, options.parts, options.seconds, figures)


if __name__ == "__main__":
    main()
