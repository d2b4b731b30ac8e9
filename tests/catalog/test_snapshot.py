"""Laws of snapshots: which items they have, independently of the order of scanning."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest

from toomuchtv.catalog.records import (
    SEGMENT_KINDS,
    Item,
    Probe,
    Proxy,
    ProxyAudio,
    Segment,
    TitleKind,
    VideoStream,
)
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.media.clip import ClipFormat

PROBE = Probe(
    duration_seconds=50.0,
    video=VideoStream(
        codec="h264", width=64, height=48, rotation_degrees=0, pixel_format="yuv420p",
        frame_rate=24.0, start_seconds=0.0,
    ),
    audio_tracks=(),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Entry:
    """An item. It has no proxy if `tracks` is None."""

    name: str
    title: str
    season: int | None = None
    tracks: int | None = 1
    extra: str | None = None
    is_current: bool = True
    segments: tuple[tuple[float, float, str, int | None], ...] = ()


KINDS = {"a show": TitleKind.SHOW, "a film": TitleKind.MOVIE, "a clip": TitleKind.CLIP}
ENTRIES = [
    Entry("film", "a film", tracks=0),
    Entry("trailer", "a film", extra="trailer"),
    Entry("one", "a show", season=1, tracks=3, segments=(
        (9.0, 12.5, "opening", 5), (0.0, 1.0, "black", None), (0.0, 9.0, "shot", None),
    )),
    Entry("two", "a show", season=2, segments=((1.0, 4.5, "opening", 5),)),
    Entry("changed", "a clip", is_current=False, segments=((0.0, 1.0, "black", None),)),
    Entry("not prepared", "a clip", tracks=None),
    Entry("clip", "a clip"),
]  # fmt: skip


def fill(folder: Path, entries: list[Entry]) -> Catalog:
    """Make a catalog of entries, in this order."""
    catalog = open_catalog(folder, create=True)
    ids: dict[str, int] = {}
    for number, entry in enumerate(entries):
        with catalog.transaction():
            kind = KINDS[entry.title]
            found = catalog.find_title(entry.title, kinds=[kind])
            title = found or catalog.add_title(entry.title, kind=kind, name=entry.title, year=None)
            ids[entry.name] = catalog.put_item(
                Item(
                    id=0, title_id=title.id, path=Path(entry.name), season=entry.season,
                    episode=None, extra=entry.extra, size_bytes=1, modified_ns=1,
                    fingerprint=entry.name, missing=False, probe=PROBE,
                )
            )  # fmt: skip
        if entry.tracks is not None:
            audio_files = tuple(
                ProxyAudio(audio_track=track, language=None, path=Path(f"{number}.{track}"))
                for track in range(entry.tracks)
            )
            catalog.record_proxy(
                Proxy(
                    item_id=ids[entry.name],
                    fingerprint=entry.name if entry.is_current else "what was there before",
                    format_id="r", video_path=Path("v"), num_frames=400 + len(entry.name),
                    frame_rate=8.0, width=32, height=32, audio_files=audio_files,
                    num_samples=80_000, sample_rate_hz=16_000, size_bytes=10,
                )
            )  # fmt: skip
        segments = [
            Segment(item_id=ids[entry.name], start_seconds=start, stop_seconds=stop, kind=name)
            for start, stop, name, _ in entry.segments
        ]
        item_id = ids[entry.name]
        catalog.record_segments(f"item {item_id}", "a", [item_id], SEGMENT_KINDS, segments)
    return catalog


def facts(snapshot: CatalogSnapshot) -> list[tuple[object, ...]]:
    """Return the content of the rows, in their order, without ids."""
    return [
        (
            int(snapshot.num_frames[row]),
            str(tuple(TitleKind)[snapshot.kind[row]]),
            int(snapshot.season[row]),
            int(snapshot.num_tracks[row]),
            *(
                (float(start), float(stop), SEGMENT_KINDS[kind])
                for of_row, start, stop, kind in zip(
                    snapshot.segments.row.tolist(),
                    snapshot.segments.start_seconds,
                    snapshot.segments.stop_seconds,
                    snapshot.segments.kind,
                    strict=True,
                )
                if of_row == row
            ),
        )
        for row in range(len(snapshot))
    ]


#: By kind, title and path.
EXPECTED = [
    (404, "clip", -1, 1),
    (404, "movie", -1, 0),
    (403, "show", 1, 3, (0.0, 1.0, "black"), (0.0, 9.0, "shot"), (9.0, 12.5, "opening")),
    (403, "show", 2, 1, (1.0, 4.5, "opening")),
]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> CatalogSnapshot:
    with fill(tmp_path_factory.mktemp("catalog"), ENTRIES) as catalog:
        return catalog.snapshot()


def test_batches_do_not_depend_on_the_order_in_which_a_scan_recorded_the_files(
    tmp_path: Path,
) -> None:
    """Files are probed side by side, so that each scan of a library numbers them differently."""
    entries = [
        Entry(f"{title} {number}", title, season=number)
        for title in KINDS for number in range(4)
    ]  # fmt: skip
    drawn = []
    for number in range(3):
        random.Random(number).shuffle(entries)
        with fill(tmp_path / str(number), entries) as catalog:
            snapshot = catalog.snapshot()
            path_of = {item.id: str(item.path) for item in catalog.items()}
        paths = [path_of[one] for one in snapshot.item_id.tolist()]
        clips = []
        for level in ("show", "season", "episode"):
            policy = SamplingConfig(batch_size=8, clips_per_item=4, level=level)
            sampler = ClipSampler(snapshot, policy, ClipFormat())
            for step in range(3):
                batch = sampler.draw(seed=7, step=step)
                clips.append([paths[row] for row in batch.item.tolist()])
                clips.append(batch.start_seconds.tolist())
                clips.append(batch.title.tolist())
        drawn.append((paths, clips))
    assert drawn[0] == drawn[1] == drawn[2]


def test_a_snapshot_has_the_prepared_items(snapshot: CatalogSnapshot) -> None:
    assert facts(snapshot) == EXPECTED
    assert repr(snapshot) == "CatalogSnapshot(3 titles, 4 items, 0.06 h, 4 segments)"
    assert snapshot.title_number.tolist() == [0, 1, 2, 2]
    starts = snapshot.segments.start_seconds
    places = list(zip(snapshot.segments.row.tolist(), starts.tolist(), strict=True))
    assert places == sorted(places)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_scanning_does_not_matter(tmp_path: Path, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(ENTRIES))
    with fill(tmp_path, [ENTRIES[place] for place in order]) as catalog:
        assert facts(catalog.snapshot()) == EXPECTED


def test_only_segments_of_the_requested_kinds_are_returned(snapshot: CatalogSnapshot) -> None:
    few = snapshot.segments.of_kinds(["opening"])
    assert few.stop_seconds.tolist() == [12.5, 4.5]
    assert few.row.tolist() == [row for row in few.row if snapshot.season[row] > 0]
    assert {SEGMENT_KINDS[kind] for kind in few.kind} == {"opening"}
    with pytest.raises(
        ValueError, match=r"unknown kinds of segments \['ending'\]: choose from ope"
    ):
        snapshot.segments.of_kinds(["ending", "opening"])


@pytest.mark.parametrize("kinds", [(), ("opening",), ("shot", "black"), SEGMENT_KINDS])
def test_a_snapshot_of_some_kinds_is_the_whole_one_without_the_others(
    tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    with fill(tmp_path, ENTRIES) as catalog:
        some, whole = catalog.snapshot(kinds=kinds), catalog.snapshot()
    expected = dataclasses.replace(whole, segments=whole.segments.of_kinds(kinds))
    np.testing.assert_equal(dataclasses.asdict(some), dataclasses.asdict(expected))


def test_of_titles_keeps_whole_titles_and_their_segments(snapshot: CatalogSnapshot) -> None:
    show = snapshot.title_id[snapshot.kind == list(TitleKind).index(TitleKind.SHOW)][0]
    part = snapshot.of_titles({int(show)})
    assert facts(part) == [fact for fact in EXPECTED if fact[1] == "show"]
    assert part.segments.row.tolist() == [0, 0, 0, 1]
    assert len(snapshot.of_titles(())) == len(snapshot.of_titles(()).segments) == 0


def test_an_empty_catalog_has_an_empty_snapshot(tmp_path: Path) -> None:
    with open_catalog(tmp_path, create=True) as catalog:
        snapshot = catalog.snapshot()
    assert len(snapshot) == len(snapshot.segments) == 0
    assert snapshot.item_id.dtype == np.int32


def test_a_row_is_small(snapshot: CatalogSnapshot) -> None:
    assert snapshot.num_bytes / len(snapshot) < 100


def test_of_a_real_catalog(prepared_catalog: Path) -> None:
    with open_catalog(prepared_catalog) as catalog:
        snapshot, again = catalog.snapshot(), catalog.snapshot()
        items = {item.id: item for item in catalog.items()}
    np.testing.assert_equal(dataclasses.asdict(snapshot), dataclasses.asdict(again))
    assert sorted(snapshot.item_id.tolist()) == sorted(items)
    for row, item_id in enumerate(snapshot.item_id.tolist()):
        assert snapshot.title_id[row] == items[item_id].title_id
        seconds = items[item_id].probe.duration_seconds
        assert abs(snapshot.duration_seconds[row] - seconds) <= 0.25
