"""How fast training is, and how much of what this machine can do that is.

On the CPU, in parts, each bounded in time, every figure printed and saved as it comes:

    rate         the machine's own rate of matrix products
    tiny, base   clips a second of the whole loop, beside the same model written the plain way, on
                 the same proxies; the share of the time that it waits for data; the rate of its
                 products, planned from shapes, beside the machine's own. The preset base has a
                 batch of few clips: its own does not fit here
    diagnostics  the cost of the figures of the negatives
    compile      tiny with torch.compile, and how long its first step takes

    python -m benchmarks.training --out /tmp/training --json training.json
    python -m benchmarks.training --gpu --out /tmp/training --json gpu.json    (see gpu_training.py)
"""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks.figures import Figures, Notebook, parser, spread
from benchmarks.gpu_training import measure_gpu, prepare_gpu_data, study
from benchmarks.plain_training import train_plainly
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.media.proxy_writer import ProxyFormat
from toomuchtv.training.metrics import read_metrics
from toomuchtv.training.pretrain import pretrain
from toomuchtv.training.profile import flops_per_clip
from toomuchtv.training.run import open_run
from toomuchtv.training.run_config import Config, load_config

CPU = torch.device("cpu")
PARTS = ("rate", "tiny", "base", "diagnostics", "compile")
_COMMON = [
    "training.device=cpu", "training.log_every=1", "training.validation_clips=2",
    "training.checkpoint_every=0",
]  # fmt: skip
#: Settings over each preset, and what bounds each of its two runs: seconds of timed steps.
CASES = {
    "tiny": (["sampling.batch_size=64"], 40.0),
    "base": (["sampling.batch_size=4", "sampling.clips_per_item=4"], 30.0),
}
_WARM_UP_STEPS, _FEWEST_STEPS, _MOST_STEPS = 1, 2, 100


class Enough:
    """Says that a run has been timed for long enough.

    Args:
        seconds: Of timed steps, after the warm-up.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._begun = seconds, time.monotonic()

    def __call__(self, steps: int) -> bool:
        """Whether to stop after so many steps."""
        if steps <= _WARM_UP_STEPS:
            self._begun = time.monotonic()
        is_over = time.monotonic() - self._begun > self._seconds
        return is_over and steps >= _WARM_UP_STEPS + _FEWEST_STEPS

    def stop_run(self, done: float, total: float, what: str) -> None:
        """Have `pretrain` stop, as anybody would; its progress hook."""
        if self(int(done)):
            signal.raise_signal(signal.SIGTERM)


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
            prepare_catalog(catalog, ProxyFormat(short_side=128))
    return catalog_path


def trained(
    catalog: Catalog, config: Config, run_path: Path, seconds: float
) -> dict[str, list[float]]:
    """Clips a second and share of waiting of every step after the warm-up, from the run's log."""
    pretrain(catalog, run_path, config, progress=Enough(seconds).stop_run)
    lines = [line for line in read_metrics(run_path) if "loss" in line][_WARM_UP_STEPS:]
    return {
        "clips_per_second": [line["clips_per_second"] for line in lines],
        "data_wait_share": [line["data_wait_share"] for line in lines],
    }


def overall_wait_share(found: dict[str, list[float]]) -> float:
    """Share of the whole time: steps that took longer count for more."""
    seconds = [1.0 / rate for rate in found["clips_per_second"]]
    waited = [x * share for x, share in zip(seconds, found["data_wait_share"], strict=True)]
    return sum(waited) / sum(seconds)


def config_of(name: str, *settings: str) -> Config:
    """The config of one case."""
    steps = f"training.steps={_MOST_STEPS}"
    return load_config(preset=name, settings=[*_COMMON, *CASES[name][0], steps, *settings])


def measure(
    name: str, catalog: Catalog, out: Path, rate: float, seconds: float, book: Notebook
) -> None:
    """All figures of one preset on the CPU."""
    config = config_of(name)
    found = trained(catalog, config, out / f"run_{name}_{time.time_ns()}", seconds)
    ours, wait = found["clips_per_second"], overall_wait_share(found)
    flops = flops_per_clip(config)
    computing = statistics.median(ours) / (1.0 - wait)
    book.note(
        {
            **spread(f"clips_per_second_{name}", ours),
            f"data_wait_share_{name}": wait,
            f"planned_gflop_per_clip_{name}": flops / 1e9,
            f"planned_seconds_per_clip_{name}": flops / rate,
            f"matmul_rate_share_{name}": flops * computing / rate,
        }
    )
    taken = train_plainly(catalog, config, steps=_MOST_STEPS, enough=Enough(seconds))
    plain = [config.sampling.batch_size / x for x in taken[_WARM_UP_STEPS:]]
    book.note(
        {
            **spread(f"plain_clips_per_second_{name}", plain),
            f"over_plain_{name}": statistics.median(ours) / statistics.median(plain),
        }
    )


def diagnostics_cost(catalog: Catalog, out: Path) -> dict[str, float]:
    """What the figures of the negatives cost, as a share of a step of the preset tiny."""
    config = load_config(preset="tiny", settings=_COMMON)
    run = open_run(catalog, out / f"diagnosed_{time.time_ns()}", config, resume=False, device=CPU)
    batch = run.data.batches[0]
    result = run.step(batch, 1e-3)
    step = statistics.median(_seconds(lambda: run.step(batch, 1e-3), 3))
    figures = statistics.median(_seconds(lambda: run.step.metrics(result), 20))
    every = load_config(preset="tiny").training.log_every
    return {
        "diagnostics_milliseconds": 1000 * figures,
        "diagnostics_cost_share_of_a_logged_step": figures / step,
        "diagnostics_cost_share": figures / step / every,
    }


def compile_gain(catalog: Catalog, out: Path, seconds: float, book: Notebook) -> None:
    """Clips a second of the preset tiny with torch.compile, and how long the first step takes."""
    eager = book.values.get("clips_per_second_tiny")
    if eager is None:
        found = trained(catalog, config_of("tiny"), out / f"eager_{time.time_ns()}", seconds)
        eager = statistics.median(found["clips_per_second"])
    config, run_path = config_of("tiny", "training.compile=true"), out / f"made_{time.time_ns()}"
    found = trained(catalog, config, run_path, seconds)
    first = next(line for line in read_metrics(run_path) if "loss" in line)
    book.note(
        {
            **spread("compiled_clips_per_second_tiny", found["clips_per_second"]),
            "compiled_over_eager_tiny": statistics.median(found["clips_per_second"]) / eager,
            "first_compiled_step_seconds": config.sampling.batch_size / first["clips_per_second"],
        }
    )


def _seconds(run: Callable[[], object], times: int) -> Sequence[float]:
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return taken


def measure_cpu(
    out: Path, library: Path, parts: Sequence[str], seconds: float | None, book: Notebook
) -> None:
    """Every part that is asked for. The figures without a preset's name are the worst.

    Args:
        out: Folder for runs and the catalog.
        library: To prepare a catalog of, once.
        parts: Some of `PARTS`.
        seconds: Of timed steps of each run; None: those of `CASES`.
        book: Where figures go.
    """
    book.note({"threads": float(torch.get_num_threads())})
    rates = matmul_rate(CPU, torch.float32)
    book.note(spread("matmul_gflop_per_second", [x / 1e9 for x in rates]))
    rate = statistics.median(rates)
    with open_catalog(prepared(out, library)) as catalog:
        names = [name for name in CASES if name in parts]
        for name in names:
            measure(name, catalog, out, rate, seconds or CASES[name][1], book)
        for key, worst in (
            ("over_plain", min), ("data_wait_share", max), ("matmul_rate_share", min),
        ):  # fmt: skip
            if names:
                book.note({key: worst(book.values[f"{key}_{name}"] for name in names)})
        if "diagnostics" in parts:
            book.note(diagnostics_cost(catalog, out))
        if "compile" in parts:
            compile_gain(catalog, out, seconds or CASES["tiny"][1], book)


def main() -> None:
    """Run the benchmark."""
    made = parser(__doc__)
    made.add_argument("--library", type=Path, default=Path("../shared/media/library"))
    made.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    made.add_argument("--seconds", type=float, help="of timed steps of each run, for a quick look")
    made.add_argument("--gpu", action="store_true", help="measure the preset base on a GPU")
    made.add_argument("--prepare-gpu", action="store_true", help="make what --gpu reads; on a CPU")
    made.add_argument("--study", action="store_true", help="on a GPU: pretrain, probe transfer")
    made.add_argument("--small", action="store_true", help="a small form of the three, to try them")
    options = made.parse_args()
    if options.prepare_gpu:
        prepare_gpu_data(options.out, small=options.small)
    if options.gpu:
        book = Notebook("training_gpu", options.json)
        measure_gpu(options.out, small=options.small, matmul_rate=matmul_rate, book=book)
        Figures(benchmark="training_gpu", values=book.values).publish(options.json)
    elif options.study:
        values = study(options.out, small=options.small)
        Figures(benchmark="training_gpu_study", values=values).publish(options.json)
    elif not options.prepare_gpu:
        book = Notebook("training", options.json)
        measure_cpu(options.out, options.library, options.parts, options.seconds, book)
        Figures(benchmark="training", values=book.values).publish(options.json)


if __name__ == "__main__":
    main()
