"""Time and memory of plans, at catalogs of a hundred to a hundred thousand titles.

Catalogs are made up: one title in ten is a show of up to 191 episodes, twenty items a title in all,
so that a hundred thousand titles have two million items. A batch is 1,024 clips, 64 titles x 16.
Timed: `Planner.plan` at steps spread over an epoch and at step 10,000,000, the same of the uniform
policy, of one that leaves segments out, the making of the `Planner`, and reading the snapshot from
SQLite.

    python -m benchmarks.sampling --out DIR --json FILE
"""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import numpy as np

from benchmarks.figures import Figures, parser, spread
from toomuchtv.catalog.snapshot import SEGMENT_KINDS, CatalogSnapshot, SnapshotSegments, no_segments
from toomuchtv.catalog.store import open_catalog
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.media.clip import ClipFormat

SIZES = (100, 1_000, 10_000, 100_000)
ITEMS_A_TITLE = 20
REPEATS = 100
POLICY = SamplingConfig(batch_size=1024, clips_per_item=16)


def made_up(num_titles: int, *, with_segments: bool = False) -> CatalogSnapshot:
    """Make a catalog up: films of 90 minutes, shows of many episodes of 22."""
    shows = np.arange(num_titles) % 10 == 0
    count = np.where(shows, (ITEMS_A_TITLE - 1) * 10 + 1, 1)
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
        segments=four_segments_an_item(num_items) if with_segments else no_segments(),
    )


def four_segments_an_item(num_items: int) -> SnapshotSegments:
    """An opening, credits and two black stretches in every item."""
    start = np.tile(np.array([0.0, 30.0, 600.0, 1200.0], np.float32), num_items)
    kinds = [SEGMENT_KINDS.index(kind) for kind in ("black", "opening", "black", "credits")]
    return SnapshotSegments(
        row=np.repeat(np.arange(num_items, dtype=np.int32), 4),
        start_seconds=start,
        stop_seconds=start + np.float32(20.0),
        kind=np.tile(np.array(kinds, np.uint8), num_items),
        recurrence=np.tile(np.array([-1, 1, -1, 2], np.int32), num_items),
    )


def plan_ms(planner: ClipSampler, first_step: int, stride: int) -> list[float]:
    """Milliseconds of one plan each."""
    taken = []
    for repeat in range(REPEATS):
        begun = time.perf_counter()
        planner.draw(seed=1, step=first_step + repeat * stride)
        taken.append(1000 * (time.perf_counter() - begun))
    return taken


def plan_peak_bytes(planner: ClipSampler) -> int:
    """The most memory that one plan takes while it is drawn."""
    tracemalloc.start()
    planner.draw(seed=1, step=5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def planning(num_titles: int) -> dict[str, float]:
    """Figures of one size of catalog."""
    snapshot = made_up(num_titles)
    begun = time.perf_counter()
    planner = ClipSampler(snapshot, POLICY, ClipFormat())
    making = time.perf_counter() - begun
    stride = max(1, num_titles // 64 // REPEATS)
    values = {f"planner_seconds_{num_titles}_titles": making}
    values |= spread(f"plan_ms_{num_titles}_titles", plan_ms(planner, 0, stride))
    values[f"plan_peak_kb_{num_titles}_titles"] = plan_peak_bytes(planner) / 1e3
    values["snapshot_bytes_per_item"] = snapshot.num_bytes / len(snapshot)
    if num_titles == SIZES[-1]:
        values |= spread("plan_ms_step_10000000", plan_ms(planner, 10**7, stride))
        uniform = POLICY.model_copy(update={"name": "uniform"})
        values |= spread(
            f"plan_ms_uniform_{num_titles}_titles",
            plan_ms(ClipSampler(snapshot, uniform, ClipFormat()), 0, stride),
        )
        snapshot = made_up(num_titles, with_segments=True)
        skipping = POLICY.model_copy(update={"skip": ("black", "credits"), "window_seconds": 300.0})
        begun = time.perf_counter()
        planner = ClipSampler(snapshot, skipping, ClipFormat())
        values[f"planner_seconds_skipping_{num_titles}_titles"] = time.perf_counter() - begun
        values |= spread(f"plan_ms_skipping_{num_titles}_titles", plan_ms(planner, 0, stride))
    return values


def fill_database(folder: Path, snapshot: CatalogSnapshot) -> None:
    """Write a made-up catalog's database, all rows that a scan and a prepare would leave."""
    open_catalog(folder, create=True).close()
    import sqlite3

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
            "INSERT INTO items VALUES (?, ?, ?, 1, NULL, NULL, 1, 1, ?, 0, 60.0, '[]', 'h264', 64, "
            "48, 0, 'yuv420p', 24.0, 0.0)",
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


def loading(folder: Path, num_titles: int) -> dict[str, float]:
    """Seconds to read the snapshot of a database, and its memory at most."""
    made = made_up(num_titles)
    if not (folder / "catalog.sqlite").exists():
        fill_database(folder, made)
    with open_catalog(folder) as catalog:
        begun = time.perf_counter()
        snapshot = catalog.snapshot()
        seconds = time.perf_counter() - begun
    assert len(snapshot) == len(made)
    return {
        f"snapshot_load_seconds_{num_titles}_titles": seconds,
        f"snapshot_items_{num_titles}_titles": len(snapshot),
        f"snapshot_mb_{num_titles}_titles": snapshot.num_bytes / 1e6,
    }


def main() -> None:
    """Measure and print."""
    options = parser(__doc__).parse_args()
    values: dict[str, float] = {}
    for num_titles in SIZES:
        values |= planning(num_titles)
    for num_titles in (SIZES[-2], SIZES[-1]):
        values |= loading(options.out / f"cat{num_titles}", num_titles)
    Figures(benchmark="sampling", values=values).publish(options.json)


if __name__ == "__main__":
    main()
