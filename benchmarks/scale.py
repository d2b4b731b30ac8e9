"""Does every part stand at the size of the paper's collection?

    python -m benchmarks.scale --library LIBRARY --out DIR --json FILE [--parts scan show ...]

The collection has 3,600 films and 9,200 episodes of 12,000 hours (`benchmarks/paper_collection.py`
says what of it is real). The first call makes it, which takes an hour and 25 GB. The parts are:

    scan        a scan in which nothing has changed; its memory, and that of the first scan
    prepare     memory of the process that drives `prepare`, with all items to do, and with none
    snapshot    memory and time of reading the snapshot of the catalog
    show        `catalog show`: time to the first line, and to the end
    start       from the call of `pretrain` to the end of the first step, beyond a small catalog
    show_500    recurring segments of a show of 500 episodes, from fingerprints
    duplicates  `detect_segments` where only the search of duplicates is left
    headroom    scan, snapshot and show with 100,000 items, whose segments are openings and credits
    simulate    1 to 256 nodes that prepare the collection, from measured times of tasks

Each measurement runs in a process of its own. Its memory is the peak of that process alone, without
workers, with Python and all imports. `..._cpu_seconds` is its processor time with that of workers.
"""

from __future__ import annotations

import heapq
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.catalogs import open_prepared
from benchmarks.figures import Figures, argument_parser
from benchmarks.paper_collection import (
    SHARED_SCENES,
    PaperItem,
    catalog_of_links,
    loop_proxy,
    paper_items,
    record_as_prepared,
    write_drawn_features,
    write_library,
)
from toomuchtv._internal.progress import no_progress
from toomuchtv.catalog.prepare import _jobs, _make_proxy, _Preparation
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.detection.features_on_disk import compute_features
from toomuchtv.media.proxy_writer import ProxyFormat

PARTS = (
    "scan", "snapshot", "show", "start", "show_500", "duplicates", "prepare", "headroom",
    "simulate",
)  # fmt: skip
HEADROOM_ITEMS = 100_000


def main() -> None:
    """Make the collection, and run the parts that were asked for."""
    parser = argument_parser(__doc__)
    parser.add_argument("--library", type=Path, required=True, help="a small library of real films")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--items", type=int, default=12_800, help="fewer for a trial")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    figures = Figures("scale", options.json)
    figures.add({"load_average": os.getloadavg()[0]})
    world = World(options.out.resolve(), options.library, options.items, options.workers, figures)
    for part in options.parts:
        getattr(world, part)()
    figures.add({"load_average_at_the_end": os.getloadavg()[0]})


# ---- Measuring in another process

_CHILD = """
import json, os, resource, sys, time
arguments, values = sys.argv[2:], {}
begun = time.perf_counter()
exec(sys.argv[1])
values.setdefault("seconds", time.perf_counter() - begun)
for line in open("/proc/self/status"):
    if line.startswith("VmHWM:"):  # unlike ru_maxrss, it does not count the parent before exec
        values["mb"] = int(line.split()[1]) * 1024 / 1e6
usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
values["cpu_seconds"] = sum(usage.ru_utime + usage.ru_stime for usage in usages)
print(json.dumps(values))
"""


def in_process(code: str, *arguments: object) -> dict[str, float]:
    """Run code in a new process, and return what it measured.

    Args:
        code: Python code. It finds its arguments in `arguments`, and may add to `values`.
        arguments: They are passed as text.

    Returns:
        `seconds` of the code, `cpu_seconds` and `mb` of the process, and what it added.
    """
    command = [sys.executable, "-c", _CHILD, code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"a measurement failed:\n{done.stderr}")
    values: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return values


_SCAN = """
from toomuchtv.catalog.scan import scan_library
result = scan_library(arguments[0], arguments[1], num_workers=int(arguments[2]))
values["unchanged"] = result.unchanged
"""
_SNAPSHOT = """
from toomuchtv.catalog.store import open_catalog
with open_catalog(arguments[0]) as catalog:
    begun = time.perf_counter()
    snapshot = catalog.snapshot()
    values["items"], values["segments"] = len(snapshot), len(snapshot.segments)
"""
# The progress raises once enough items are done, as Ctrl-C would.
_PREPARE = """
from toomuchtv._internal.progress import no_progress
from toomuchtv.catalog.prepare import prepare_catalog
names, limit = set(), int(arguments[2])
def progress(done, total, what):
    names.add(what)
    if len(names) > limit:
        raise KeyboardInterrupt
try:
    prepare_catalog(
        arguments[0], num_workers=int(arguments[1]), check_disk=False, progress=progress
    )
except KeyboardInterrupt:
    pass
values["items"] = len(names)
"""
_DETECT = """
from toomuchtv.detection.detect import detect_segments
result = detect_segments(arguments[0], num_workers=int(arguments[1]))
values["analyzed"], values["duplicates"] = result.analyzed, result.duplicates
values["failed"] = len(result.failed)
"""
_START = """
from toomuchtv import load_config, pretrain
settings = ["training.steps=1", "training.num_workers=1", "training.held_out_share=0.1",
            "training.device=cpu", "sampling.batch_size=16", "sampling.clips_per_item=4"]
steps = []
def progress(done, total, what):
    steps.append(done)
    if done == 1:
        values.setdefault("seconds", time.perf_counter() - begun)
begun = time.perf_counter()
config = load_config(preset="tiny", settings=settings)
pretrain(arguments[0], arguments[1], config, progress=progress)
"""
_RECURRING = """
from benchmarks.paper_collection import draw_episodes
from toomuchtv.detection.recurrence import detect_recurring
episodes = draw_episodes(int(arguments[0]))
begun, cpu = time.perf_counter(), time.process_time()
found = detect_recurring(episodes)
values["search_cpu_seconds"] = time.process_time() - cpu
values["seconds"] = time.perf_counter() - begun
values["openings"] = sum(one.kind == "opening" for one in found)
values["others"] = sum(one.kind in ("recap", "recurring") for one in found)
"""


@dataclass(frozen=True, slots=True)
class World:
    """The collection, and the parts of the benchmark.

    Attributes:
        out: Folder for everything.
        library: A small library of real films.
        num_items: Items of the collection.
        num_workers: Processes of scan, prepare and detection.
        figures: Where the figures go.
    """

    out: Path
    library: Path
    num_items: int
    num_workers: int
    figures: Figures

    # ---- The collection

    def scanned(self) -> tuple[Path, Path]:
        """Return the library and its catalog after the first scan. Make them unless they exist."""
        library, catalog = self.out / "library", self.out / "catalog"
        if not (catalog / "catalog.sqlite").exists():
            write_library(library, paper_items(self.num_items), distinct=True)
            self._add("first_scan", in_process(_SCAN, library, catalog, self.num_workers))
        return library, catalog

    def prepared(self) -> Path:
        """Return the catalog with proxies and segments. Make it unless it exists."""
        folder = self.out / "prepared"
        if not folder.exists():
            shutil.copytree(self.scanned()[1], partial := self.out / "prepared.partial")
            self._record(partial, paper_items(self.num_items), only_recurring=False)
            partial.rename(folder)
        return folder

    def _record(self, folder: Path, items: Sequence[PaperItem], *, only_recurring: bool) -> None:
        with open_prepared(self.library, self.out / "real") as real:
            model = max(real.proxies().values(), key=lambda proxy: proxy.num_frames)
            files = loop_proxy(real.folder, model, self.out / "long")
        with open_catalog(folder) as catalog, catalog.writing():
            record_as_prepared(catalog, items, files, model, only_recurring=only_recurring)

    def _add(self, name: str, values: dict[str, float]) -> None:
        self.figures.add({f"{name}_{key}": value for key, value in values.items()})

    # ---- The parts

    def scan(self) -> None:
        """Scan again where nothing has changed, in the catalog with all segments."""
        library, _ = self.scanned()
        first = self.figures.values.get("first_scan_mb", 0.0)
        found = in_process(_SCAN, library, self.prepared(), self.num_workers)
        assert found.pop("unchanged") == self.num_items
        self._add("rescan", found)
        self.figures.add({"scan_mb": max(first, found["mb"])})

    def prepare(self) -> None:
        """Prepare the first items with all others waiting, and find nothing to do for all."""
        shutil.copytree(self.scanned()[1], copy := self.out / "preparing", dirs_exist_ok=True)
        begun = in_process(_PREPARE, copy, self.num_workers, 100)
        done = in_process(_PREPARE, self.prepared(), self.num_workers, 100)
        self._add("prepare_begun", begun)
        self._add("prepare_done", done)
        shutil.rmtree(copy)
        most = max(begun["mb"], done["mb"], self.figures.values.get("detect_driver_mb", 0.0))
        self.figures.add({"prepare_driver_mb": most})

    def snapshot(self) -> None:
        """Read the snapshot."""
        self._add("snapshot", in_process(_SNAPSHOT, self.prepared()))

    def show(self) -> None:
        """Show the catalog."""
        self._add("show", _show(self.prepared()))

    def start(self) -> None:
        """Start a run on a catalog of 16 items, and on the whole one."""
        small = self.out / "small"
        if not small.exists():
            items = paper_items(16, seed=1)
            write_library(self.out / "small_library", items, distinct=True)
            scan_library(self.out / "small_library", small)
            self._record(small, items, only_recurring=False)
        seconds = {}
        for name, catalog in (("small", small), ("large", self.prepared())):
            shutil.rmtree(self.out / "run", ignore_errors=True)
            found = in_process(_START, catalog, self.out / "run")
            self._add(f"start_{name}", found)
            seconds[name] = found["seconds"]
        self.figures.add({"start_extra_seconds": seconds["large"] - seconds["small"]})

    def show_500(self) -> None:
        """Find what recurs in 500 episodes of 22 minutes."""
        found = in_process(_RECURRING, 500)
        self.figures.add({"show_500_minutes": found["seconds"] / 60})
        self._add("show_500", found)

    def duplicates(self) -> None:
        """Find what titles share, by `detect_segments` on features of the whole collection."""
        with open_catalog(self.prepared()) as catalog, catalog.writing():
            write_drawn_features(catalog)
            catalog.record_duplicates("", [])  # or an earlier search would count
        found = in_process(_DETECT, self.prepared(), self.num_workers)
        self.figures.add({"duplicates_minutes": found["seconds"] / 60})
        self.figures.add({"detect_driver_mb": found["mb"]})
        self._add("detect", found)
        with open_catalog(self.prepared()) as catalog:
            minute = [
                one for one in catalog.duplicates() if one.stop_seconds - one.start_seconds > 50
            ]
        self.figures.add({"shared_scenes_found": len(minute) / SHARED_SCENES})

    def headroom(self) -> None:
        """Scan, read and show 100,000 items."""
        library, catalog = self.out / "many_library", self.out / "many"
        items = paper_items(HEADROOM_ITEMS)
        if not catalog.exists():
            write_library(library, items, distinct=False)
            catalog_of_links(library, partial := self.out / "many.partial", items)
            partial.rename(catalog)
            scan_library(library, catalog)
            self._record(catalog, items, only_recurring=True)
        found = in_process(_SCAN, library, catalog, self.num_workers)
        assert found.pop("unchanged") == HEADROOM_ITEMS
        self._add("headroom_rescan", found)
        self._add("headroom_snapshot", in_process(_SNAPSHOT, catalog))
        self._add("headroom_show", _show(catalog))

    def simulate(self) -> None:
        """Simulate nodes that prepare the collection."""
        times = self._measure_tasks()
        self.figures.add(
            {
                "task_fixed_seconds": times.fixed_seconds,
                "task_times_real_time": 1 / float(np.mean(times.per_second)),
                "task_times_real_time_lowest": 1 / max(times.per_second),
                "task_times_real_time_highest": 1 / min(times.per_second),
                "record_seconds": times.record_seconds,
                **{
                    f"task_times_real_time_film_{number}": 1 / rate
                    for number, rate in enumerate(times.per_second, 1)
                },
            }
        )
        self.figures.add(simulate_nodes(times, self.num_items))

    def _measure_tasks(self) -> TaskTimes:
        """Measure what a worker does for an item, in processor time of one thread, and the driver.

        The work is that of `prepare`: the proxy, and the features in which segments are detected.
        """
        shutil.rmtree(folder := self.out / "tasks", ignore_errors=True)
        scan_library(self.library, folder / "real")
        write_library(folder / "library", paper_items(8), distinct=True)
        scan_library(folder / "library", folder / "short")
        measured: dict[str, list[tuple[float, float]]] = {"real": [], "short": []}
        record_seconds = []
        for name, times in measured.items():
            with open_catalog(folder / name) as catalog, catalog.writing():
                driver = _Preparation(catalog, ProxyFormat(), [], None, no_progress)
                for job in _jobs(catalog, ProxyFormat()):
                    begun = time.process_time()
                    result = _make_proxy(
                        catalog.folder, ProxyFormat(), 1, None, job, lambda done: None
                    )
                    made = time.process_time()
                    assert driver._record(job, *result) is None
                    recorded = time.process_time()
                    compute_features(catalog.folder, catalog.proxy(job.item.id))
                    seconds = made - begun + time.process_time() - recorded
                    times.append((seconds, job.duration_seconds))
                    record_seconds.append(recorded - made)
        fixed = float(np.median([seconds for seconds, _ in measured["short"]]))
        return TaskTimes(
            fixed_seconds=fixed,
            per_second=[(seconds - fixed) / length for seconds, length in measured["real"]],
            record_seconds=float(np.mean(record_seconds)),
        )


_SHOW = """
import contextlib
from toomuchtv.cli import app
with contextlib.redirect_stdout(open(os.devnull, "w")):
    app(["catalog", "show", arguments[0]], standalone_mode=False)
"""


def _show(catalog: Path) -> dict[str, float]:
    """Measure `catalog show`: seconds to the first line and to the end, and memory."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "toomuchtv", "catalog", "show", str(catalog)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        first = time.perf_counter() - begun
        ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        cpu_seconds = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
        process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"`catalog show` ended with {process.returncode}")
    whole = in_process(_SHOW, catalog)
    return {
        "seconds": first,
        "cpu_seconds": cpu_seconds,
        "whole_seconds": whole["seconds"],
        "whole_cpu_seconds": whole["cpu_seconds"],
        "mb": whole["mb"],
    }


# ---- Simulation


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTimes:
    """Measured processor time of the work on an item.

    Attributes:
        fixed_seconds: What a film of one second takes.
        per_second: What a second of each real film takes, one number for each film.
        record_seconds: What the driver takes to record a result.
    """

    fixed_seconds: float
    per_second: Sequence[float]
    record_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What is assumed of a cluster and not measured.

    Attributes:
        cores_per_node: Tasks that a node runs at a time, each on one core.
        dispatch_seconds: Time of the driver to send one task and to receive its result.
        node_bytes_per_second: Network of a node.
        storage_bytes_per_second: Network of the storage.
        bytes_per_film_second: Bit rate of the films, in bytes.
        num_reads: How often each file is read from the storage: once with `--scratch`; twice
            without it, for the digest of its content and to be decoded.
    """

    cores_per_node: int = 16
    dispatch_seconds: float = 0.002
    node_bytes_per_second: float = 1.25e9
    storage_bytes_per_second: float = 20e9
    bytes_per_film_second: float = 1e6
    num_reads: int = 1


def simulate(lengths: Sequence[float], times: TaskTimes, cluster: Cluster, num_nodes: int) -> float:
    """Return the seconds that a cluster takes to prepare items.

    The driver sends the longest item first, one at a time, to the core that is free first. A task
    reads its file for the digest, and then works while it reads the file again, or its local copy.
    The network of a node and that of the storage serve one read after the other, each at its full
    rate.
    """
    rng = np.random.default_rng(0)
    rates = rng.choice(np.asarray(times.per_second), len(lengths))
    order = np.argsort(-np.asarray(lengths), kind="stable")
    free = [(0.0, core) for core in range(num_nodes * cluster.cores_per_node)]
    node_is_free = [0.0] * num_nodes
    storage_is_free = sent = last = 0.0
    for item in order.tolist():
        start, core = heapq.heappop(free)
        sent = max(sent, start) + cluster.dispatch_seconds + times.record_seconds
        num_bytes, node = (
            cluster.bytes_per_film_second * lengths[item],
            core // cluster.cores_per_node,
        )
        read_at = []
        for _ in range(cluster.num_reads):
            storage_is_free = (
                max(storage_is_free, sent) + num_bytes / cluster.storage_bytes_per_second
            )
            node_is_free[node] = (
                max(node_is_free[node], sent) + num_bytes / cluster.node_bytes_per_second
            )
            read_at.append(max(storage_is_free, node_is_free[node]))
        work = times.fixed_seconds + rates[item] * lengths[item]
        end = max(read_at[0] + work, read_at[-1])
        heapq.heappush(free, (end, core))
        last = max(last, end)
    return last


def simulate_nodes(times: TaskTimes, num_items: int) -> dict[str, float]:
    """Return hours and efficiency of 1 to 256 nodes, relative to one node.

    The command is that of the guide, with `--scratch`. The efficiency of 64 nodes is also returned
    with half and twice the rate of the storage, for tasks that take half as long, and without
    `--scratch`.
    """
    lengths = [item.seconds for item in paper_items(num_items)]
    cluster = Cluster()
    one = simulate(lengths, times, cluster, 1)
    figures = {}
    for num_nodes in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        seconds = simulate(lengths, times, cluster, num_nodes)
        unit = "nodes" if num_nodes > 1 else "node"
        figures[f"hours_{num_nodes}_{unit}"] = seconds / 3600
        figures[f"efficiency_{num_nodes}_{unit}"] = one / (num_nodes * seconds)
    storage = cluster.storage_bytes_per_second
    faster = replace(times, per_second=[rate / 2 for rate in times.per_second])
    for name, changed_times, rate, num_reads in (
        ("half_the_storage", times, storage / 2, 1),
        ("twice_the_storage", times, storage * 2, 1),
        ("tasks_twice_as_fast", faster, storage, 1),
        ("without_scratch", times, storage, 2),
    ):
        changed = replace(cluster, storage_bytes_per_second=rate, num_reads=num_reads)
        alone, many = (simulate(lengths, changed_times, changed, count) for count in (1, 64))
        figures[f"efficiency_64_nodes_{name}"] = alone / (64 * many)
    return figures


if __name__ == "__main__":
    main()
