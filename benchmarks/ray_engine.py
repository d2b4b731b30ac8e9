"""Preparing a library with the engine ray against the engine local, on the same cores.

    python -m benchmarks.ray_engine --out DIR --json FILE                     10 minutes

A Ray cluster of one node has as many processors as this machine; `make test-ray` installs Ray. Both
engines prepare the same films with one job per processor, one after the other and in turn, so that
other work on the machine slows both. Jobs of a few seconds are the hardest for Ray, whose cost is
per job: an hour of film takes about a minute.
"""

from __future__ import annotations

import os
import shutil
import statistics
import time
from pathlib import Path

from benchmarks.figures import Figures, argument_parser, median_and_range
from tests.engines.ray_clusters import ray_cluster
from tests.media_files import write_film
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.engines import Engine, LocalEngine, RayEngine


def prepare_rate(library: Path, folder: Path, engine: Engine) -> float:
    """Prepare a library in a new catalog and return the seconds of film per second."""
    shutil.rmtree(folder, ignore_errors=True)
    scan_library(library, folder)
    begun = time.perf_counter()
    result = prepare_catalog(folder, engine=engine)
    return result.film_seconds / (time.perf_counter() - begun)


def main() -> None:
    """Run the benchmark."""
    parser = argument_parser(__doc__)
    parser.add_argument("--films", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=120.0, help="duration of a film")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    num_cores = len(os.sched_getaffinity(0))
    library: Path = options.out / "library"
    for number in range(options.films):
        path = library / f"Film {number} ({2000 + number}).mp4"
        if not path.exists():
            write_film(path, seconds=options.seconds, first_frame=number, size=(640, 360))
    figures = Figures("ray_engine", options.json)
    rates: dict[str, list[float]] = {"local": [], "ray": []}
    with ray_cluster(1, num_cores) as cluster, RayEngine(cluster.address) as ray:
        engines: dict[str, Engine] = {"local": LocalEngine(num_cores), "ray": ray}
        for engine in engines.values():  # imports, and the workers of Ray, are started once
            prepare_rate(library, options.out / "catalog", engine)
        for _ in range(options.repeats):
            for name, engine in engines.items():
                rates[name].append(prepare_rate(library, options.out / "catalog", engine))
    for name, values in rates.items():
        figures.add(median_and_range(f"{name}_times_real_time", values))
    ratios = [ray / local for ray, local in zip(rates["ray"], rates["local"], strict=True)]
    figures.add(median_and_range("ray_over_local", ratios))
    figures.add({"load_average": os.getloadavg()[0], "film_seconds_of_a_job": options.seconds,
                 "spread": statistics.pstdev(ratios)})  # fmt: skip


if __name__ == "__main__":
    main()
