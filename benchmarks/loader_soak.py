"""The loader over many batches: memory and open files of this process and of its workers.

More proxies than may be open at once, so that decoders are opened and closed all the time. Flat
means: what the last tenth of the batches needs is what the second tenth needed.

    python -m benchmarks.loader_soak --batches 20000 --out /tmp/soak --json soak.json
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import psutil

from benchmarks.figures import Figures, parser
from benchmarks.mutants import SEEDS, write_whole
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.data.batches import ClipReader, PlannedBatches
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.loader import iterate_batches
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.media.clip import ClipFormat
from toomuchtv.media.proxy_writer import ProxyFormat

FORMAT = ClipFormat(frames=4, frame_rate=8.0, audio_seconds=0.5)
POLICY = SamplingConfig(name="uniform", batch_size=16, min_gap_seconds=0.25)
NUM_FILMS, MAX_OPEN = 24, 8
MIB = 2**20


def prepared_catalog(out: Path) -> Path:
    """Films of six seconds, each a little longer than the one before, and their proxies."""
    library, catalog_path = out / "library", out / "catalog"
    if not (catalog_path / "catalog.sqlite").exists():
        for number in range(NUM_FILMS):
            folder = library / f"Film {number} ({1990 + number})"
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(SEEDS[0], folder / f"{folder.name}.mp4", seconds=6 + number / 8)
        scan_library(library, catalog_path)
        with open_catalog(catalog_path) as catalog:
            prepare_catalog(catalog, ProxyFormat(short_side=64))
    return catalog_path


def main() -> None:
    """Run the benchmark."""
    made = parser(__doc__)
    made.add_argument("--batches", type=int, default=20_000)
    made.add_argument("--workers", type=int, default=1)
    arguments = made.parse_args()
    catalog_path = prepared_catalog(arguments.out)
    with open_catalog(catalog_path) as catalog:
        snapshot, proxies = catalog.snapshot(), catalog.proxies()
    reader = ClipReader(catalog_path, snapshot, proxies, FORMAT, max_open=MAX_OPEN)
    batches = PlannedBatches(reader, ClipSampler(snapshot, POLICY, FORMAT), seed=0)
    here = psutil.Process()
    begun = time.perf_counter()
    seen: dict[str, list[float]] = {
        "parent_mib": [], "worker_mib": [], "parent_files": [], "worker_files": [],
    }  # fmt: skip
    failures = 0
    with_workers = iterate_batches(
        batches, start=0, stop=arguments.batches, num_workers=arguments.workers
    )
    for batch in with_workers:
        failures += len(batch.failures)
        if (batch.step + 1) % max(1, arguments.batches // 100) == 0:
            workers = here.children()
            if not workers:
                break
            seen["parent_mib"].append(here.memory_info().rss / MIB)
            seen["worker_mib"].append(max(w.memory_info().rss for w in workers) / MIB)
            seen["parent_files"].append(here.num_fds())
            seen["worker_files"].append(max(w.num_fds() for w in workers))
            print(batch.step + 1, *(f"{name} {x[-1]:.1f}" for name, x in seen.items()), flush=True)
    seconds = time.perf_counter() - begun
    values: dict[str, float] = {
        "batches": arguments.batches,
        "workers": arguments.workers,
        "clips_per_second": arguments.batches * POLICY.batch_size / seconds,
        "worker_restarts": with_workers.worker_restarts,
        "failures": failures,
    }
    for name, figures in seen.items():
        tenth = max(1, len(figures) // 10)
        early, late = (
            statistics.median(figures[tenth : 2 * tenth]),
            statistics.median(figures[-tenth:]),
        )
        values |= {f"{name}_early": early, f"{name}_late": late, f"{name}_growth": late - early}
    Figures(benchmark="loader_soak", values=values).publish(arguments.json)


if __name__ == "__main__":
    main()
