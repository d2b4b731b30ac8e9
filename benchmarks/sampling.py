"""Time and memory of drawing clip specs, for catalogs of 100 to 100,000 titles.

    python -m benchmarks.sampling --out DIR --json FILE      two minutes, 1 GB on disk

The catalogs are synthetic: one title in ten is a show of 191 episodes, and there are 20 items per
title on average, so that 100,000 titles have two million items. A batch has 1,024 clips: 64 titles
with 16 clips each. Measured are `ClipSampler.draw` at steps of a whole epoch and at step
10,000,000, with hierarchical sampling, uniform sampling, and sampling that skips segments; the
construction of the sampler; and reading the snapshot from SQLite.
"""

from __future__ import annotations

import itertools
import sqlite3
import time
import timeit
import tracemalloc
from pathlib import Path

import numpy as np

from benchmarks.figures import Figures, argument_parser, median_and_range
from toomuchtv.catalog.records import SEGMENT_KINDS
from toomuchtv.catalog.snapshot import CatalogSnapshot, SnapshotSegments, no_segments
from toomuchtv.catalog.store import open_catalog
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.media.clip import ClipFormat

SIZES = (100, 1_000, 10_000, 100_000)
ITEMS_PER_TITLE = 20
REPETITIONS = 100
SAMPLING = SamplingConfig(batch_size=1024, clips_per_item=16)


def synthetic_snapshot(num_titles: int, *, with_segments: bool = False) -> CatalogSnapshot:
    """Return a catalog of films of 90 minutes and shows whose episodes have 22 minutes."""
    shows = np.arange(num_titles) % 10 == 0
    count = np.where(shows, (ITEMS_PER_TITLE - 1) * 10 + 1, 1)
    title = np.repeat(np.arange(num_titles, dtype=np.int32), count)
    minutes = np.where(shows, 22, 90)[title]
    num_items = len(title)
    return CatalogSnapshot(
        item_id=np.arange(num_items, dtype=np.int32),
        title_id=title,
        kind=shows[title].astype(np.uint8),
        season=(np.arange(num_items) // 12 % 10).astype(np.int16),
        num_frames=(minutes * 60 * 8).astype(np.int32),
        frame_rate=np.full(num_items, 8.0, np.float32),
        num_tracks=np.ones(num_items, np.uint8),
        segments=_four_segments_per_item(num_items) if with_segments else no_segments(),
    )


def _four_segments_per_item(num_items: int) -> SnapshotSegments:
    """Return an opening, credits and two black stretches for every item."""
    start = np.tile(np.array([0.0, 30.0, 600.0, 1200.0], np.float32), num_items)
    kinds = [SEGMENT_KINDS.index(kind) for kind in ("black", "opening", "black", "credits")]
    return SnapshotSegments(
        row=np.repeat(np.arange(num_items, dtype=np.int32), 4),
        start_seconds=start,
        stop_seconds=start + np.float32(20.0),
        kind=np.tile(np.array(kinds, np.uint8), num_items),
        recurrence=np.tile(np.array([-1, 1, -1, 2], np.int32), num_items),
    )


def build_sampler(snapshot: CatalogSnapshot, **changes: object) -> tuple[ClipSampler, float]:
    """Return a sampler and the seconds that its construction took."""
    begun = time.perf_counter()
    sampler = ClipSampler(snapshot, SAMPLING.model_copy(update=changes), ClipFormat())
    return sampler, time.perf_counter() - begun


def measure_draw(name: str, sampler: ClipSampler, first_step: int, stride: int) -> dict[str, float]:
    """Measure the milliseconds of one draw."""
    steps = itertools.count(first_step, stride)
    seconds = timeit.repeat(
        lambda: sampler.draw(seed=1, step=next(steps)), number=1, repeat=REPETITIONS
    )
    return median_and_range(name, [1000 * x for x in seconds])


def measure_peak_bytes(sampler: ClipSampler) -> int:
    """Return the peak of the memory that one draw allocates."""
    tracemalloc.start()
    sampler.draw(seed=1, step=5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def measure_size(num_titles: int) -> dict[str, float]:
    """Measure the sampler for a catalog of one size."""
    snapshot, titles = synthetic_snapshot(num_titles), f"{num_titles}_titles"
    sampler, seconds = build_sampler(snapshot)
    stride = max(1, num_titles // 64 // REPETITIONS)
    values = {
        f"planner_seconds_{titles}": seconds,
        **measure_draw(f"plan_ms_{titles}", sampler, 0, stride),
        f"plan_peak_kb_{titles}": measure_peak_bytes(sampler) / 1e3,
        "snapshot_bytes_per_item": snapshot.num_bytes / len(snapshot),
    }
    if num_titles < SIZES[-1]:
        return values
    values |= measure_draw("plan_ms_step_10000000", sampler, 10**7, stride)
    sampler, _ = build_sampler(snapshot, name="uniform")
    values |= measure_draw(f"plan_ms_uniform_{titles}", sampler, 0, stride)
    sampler, seconds = build_sampler(
        synthetic_snapshot(num_titles, with_segments=True),
        skip=("black", "credits"),
        window_seconds=300.0,
    )
    values[f"planner_seconds_skipping_{titles}"] = seconds
    return values | measure_draw(f"plan_ms_skipping_{titles}", sampler, 0, stride)


def fill_database(folder: Path, snapshot: CatalogSnapshot) -> None:
    """Write the database of a synthetic catalog, with all rows that scan and prepare write."""
    open_catalog(folder, create=True).close()
    connection = sqlite3.connect(folder / "catalog.sqlite")
    titles = np.unique(snapshot.title_id).tolist()
    items = list(zip(snapshot.item_id.tolist(), snapshot.title_id.tolist(), strict=True))
    kind = dict(zip(snapshot.title_id.tolist(), snapshot.kind.tolist(), strict=True))
    with connection:
        connection.executemany(
            "INSERT INTO titles VALUES (?, ?, ?, NULL, ?)",
            (
                (title, "show" if kind[title] else "movie", f"t{title}", f"{title}")
                for title in titles
            ),
        )
        connection.executemany(
            # The last value stands for the JSON of a probe, which has about 400 characters.
            "INSERT INTO items VALUES (?, ?, ?, 1, NULL, NULL, 1, 1, ?, 0, printf('%400s', ''))",
            ((item, title, b"%d" % item, str(item)) for item, title in items),
        )
        connection.executemany(
            "INSERT INTO proxies VALUES (?, ?, 'r', ?, 480, 8.0, 228, 128, 960000, 16000, 1)",
            ((item, str(item), b"%d.mp4" % item) for item, _ in items),
        )
        connection.executemany(
            "INSERT INTO proxy_audio VALUES (?, 0, 0, NULL, ?)",
            ((item, b"%d.a.mp4" % item) for item, _ in items),
        )
    connection.close()


def measure_loading(folder: Path, num_titles: int) -> dict[str, float]:
    """Measure the time to read the snapshot of a database, and the snapshot's size."""
    written = synthetic_snapshot(num_titles)
    if not (folder / "catalog.sqlite").exists():
        fill_database(folder, written)
    with open_catalog(folder) as catalog:
        begun = time.perf_counter()
        snapshot = catalog.snapshot()
        seconds = time.perf_counter() - begun
    assert len(snapshot) == len(written)
    return {
        f"snapshot_load_seconds_{num_titles}_titles": seconds,
        f"snapshot_items_{num_titles}_titles": len(snapshot),
        f"snapshot_mb_{num_titles}_titles": snapshot.num_bytes / 1e6,
    }


def main() -> None:
    """Measure all sizes."""
    options = argument_parser(__doc__).parse_args()
    figures = Figures("sampling", options.json)
    for num_titles in SIZES:
        figures.add(measure_size(num_titles))
    for num_titles in SIZES[-2:]:
        figures.add(measure_loading(options.out / f"cat{num_titles}", num_titles))


if __name__ == "__main__":
    main()
