"""Snapshots: what is in one, and that the order in which it was found does not show."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from toomuchtv.catalog.records import Item, Probe, Proxy, ProxySound, Title, TitleKind, VideoStream
from toomuchtv.catalog.snapshot import CatalogSnapshot, build_snapshot
from toomuchtv.catalog.store import open_catalog

PROBE = Probe(
    duration_seconds=5.0,
    video=VideoStream(
        codec="h264", width=64, height=48, rotation_degrees=0, pixel_format="yuv420p",
        frame_rate=24.0, start_seconds=0.0,
    ),
    audio_tracks=(),
)  # fmt: skip

TITLES = [
    Title(id=4, kind=TitleKind.SHOW, name="A", year=None),
    Title(id=2, kind=TitleKind.MOVIE, name="B", year=1999),
    Title(id=9, kind=TitleKind.CLIP, name="C", year=None),
]


def item(number: int, title: int, season: int | None = None) -> Item:
    return Item(
        id=number, title_id=title, path=Path(f"{number}.mkv"), season=season, episode=None,
        extra=None, size_bytes=1, modified_ns=1, fingerprint=f"print {number}", missing=False,
        probe=PROBE,
    )  # fmt: skip


def proxy(number: int, audio_track: int | None = 0) -> Proxy:
    sound = ProxySound(audio_track=audio_track or 0, language=None, path=Path("a"))
    return Proxy(
        item_id=number, fingerprint=f"print {number}", recipe="r", video_path=Path("v"),
        num_frames=40 + number, frame_rate=8.0, width=32, height=32,
        sounds=() if audio_track is None else (sound,),
        num_samples=80_000, sample_rate_hz=16_000, size_bytes=10,
    )  # fmt: skip


ITEMS = [item(7, 4, season=2), item(3, 4, season=1), item(5, 2), item(8, 9), item(1, 9)]
PROXIES = {
    7: proxy(7),
    3: proxy(3, audio_track=2),
    5: proxy(5, audio_track=None),
    8: dataclasses.replace(proxy(8), fingerprint="of what was there before"),
}  # and none of item 1


def equal(one: CatalogSnapshot, two: CatalogSnapshot) -> bool:
    return all(
        np.array_equal(getattr(one, field.name), getattr(two, field.name))
        for field in dataclasses.fields(one)
    )


def test_it_holds_what_is_prepared_and_current() -> None:
    snapshot = build_snapshot(TITLES, ITEMS, PROXIES)
    assert len(snapshot) == 3
    assert snapshot.title_id.tolist() == [2, 4, 4]
    assert snapshot.item_id.tolist() == [5, 3, 7]
    assert snapshot.season.tolist() == [-1, 1, 2]
    assert snapshot.audio_track.tolist() == [-1, 2, 0]
    assert snapshot.num_frames.tolist() == [45, 43, 47]
    assert [list(TitleKind)[kind] for kind in snapshot.kind] == ["movie", "show", "show"]
    np.testing.assert_allclose(snapshot.duration_seconds, [45 / 8, 43 / 8, 47 / 8])
    assert repr(snapshot) == "CatalogSnapshot(2 titles, 3 items, 0.00 h)"


@given(st.permutations(ITEMS), st.permutations(TITLES), st.permutations(list(PROXIES)))
def test_order_does_not_show(items: list[Item], titles: list[Title], order: list[int]) -> None:
    shuffled = build_snapshot(titles, items, {number: PROXIES[number] for number in order})
    assert equal(shuffled, build_snapshot(TITLES, ITEMS, PROXIES))


def test_of_titles_keeps_whole_titles() -> None:
    snapshot = build_snapshot(TITLES, ITEMS, PROXIES)
    assert snapshot.of_titles((4,)).item_id.tolist() == [3, 7]
    assert snapshot.of_titles({2, 4}).item_id.tolist() == [5, 3, 7]
    assert len(snapshot.of_titles(())) == 0


def test_an_empty_catalog_has_an_empty_snapshot() -> None:
    snapshot = build_snapshot([], [], {})
    assert len(snapshot) == 0
    assert snapshot.item_id.dtype == np.int32


def test_a_row_is_small() -> None:
    snapshot = build_snapshot(TITLES, ITEMS, PROXIES)
    size = sum(getattr(snapshot, field.name).nbytes for field in dataclasses.fields(snapshot))
    assert size / len(snapshot) < 100


def test_of_a_real_catalog(prepared_catalog: Path) -> None:
    with open_catalog(prepared_catalog) as catalog:
        snapshot, again = catalog.snapshot(), catalog.snapshot()
        items = {item.id: item for item in catalog.items()}
    assert equal(snapshot, again)
    assert sorted(snapshot.item_id.tolist()) == sorted(items)
    for row, item_id in enumerate(snapshot.item_id.tolist()):
        assert snapshot.title_id[row] == items[item_id].title_id
        seconds = items[item_id].probe.duration_seconds
        assert abs(snapshot.duration_seconds[row] - seconds) <= 0.25
