"""Laws of the assignment of a catalog's items to titles. No file is opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from toomuchtv.catalog.description import describe_catalog
from toomuchtv.catalog.records import Item, Probe, TitleKind, VideoStream
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.catalog.titles import assign_catalog_titles, merge_warnings


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with open_catalog(tmp_path / "cat", create=True) as opened:
        opened.set_library(tmp_path / "lib")
        yield opened


def add(catalog: Catalog, paths: dict[str, float]) -> None:
    """Add items with lengths in minutes, all of one wrong title, and assign them."""
    with catalog.transaction():
        wrong = catalog.add_title("wrong", kind=TitleKind.MOVIE, name="Wrong", year=None)
        for path, minutes in paths.items():
            catalog.put_item(item_at(path, wrong.id, minutes))
    assign_catalog_titles(catalog)


def item_at(path: str, title_id: int, minutes: float) -> Item:
    video = VideoStream(
        codec="h264", width=64, height=48, rotation_degrees=0, pixel_format="yuv420p",
        frame_rate=25.0, start_seconds=0.0,
    )  # fmt: skip
    return Item(
        id=0, title_id=title_id, path=Path(path), season=None, episode=None, extra=None,
        size_bytes=1, modified_ns=1, fingerprint=path, missing=False,
        probe=Probe(duration_seconds=60 * minutes, video=video, audio_tracks=()),
    )  # fmt: skip


def titles_of(catalog: Catalog) -> dict[str, tuple[str, str, int]]:
    titles = {title.id: title for title in catalog.titles()}
    found = [(item, titles.get(item.title_id)) for item in catalog.items(include_extras=True)]
    return {str(item.path): (t.kind.value, t.name, t.id) for item, t in found if t}


def test_items_are_assigned_from_the_paths_of_all_of_them(catalog: Catalog) -> None:
    paths = ["TV/A/S01E01.mkv", "B/B 01.mkv", "B/B 02.mkv", "C/C.mkv", "C/Extras/a.mkv"]
    add(catalog, dict.fromkeys(paths, 20.0))
    found = titles_of(catalog)
    assert [found[path][:2] for path in paths] == [
        ("show", "A"),
        ("show", "B"),
        ("show", "B"),
        ("movie", "C"),
        ("movie", "C"),
    ]
    assert found["C/C.mkv"] == found["C/Extras/a.mkv"]
    assert assign_catalog_titles(catalog).changed == ()
    assert [title.name for title in catalog.titles()] == ["A", "B", "C"]


def test_short_files_in_numbered_folders_are_clips(catalog: Catalog) -> None:
    add(catalog, {"dog/01.mp4": 0.1, "dog/02.mp4": 0.1, "cat/01.mp4": 0.1, "cat/02.mp4": 0.1})
    found = list(titles_of(catalog).values())
    assert [(kind, name) for kind, name, _ in found] == [
        ("clip", "01"),
        ("clip", "02"),
        ("clip", "01"),
        ("clip", "02"),
    ]
    assert len({number for *_, number in found}) == 4


def test_a_short_film_with_a_year_and_short_episodes_are_no_clips(catalog: Catalog) -> None:
    add(catalog, {"Film (2001).mkv": 0.5, "TV/Show/S01E01.mkv": 0.5, "TV/Show/02.mkv": 0.5})
    kinds = [kind for kind, *_ in titles_of(catalog).values()]
    assert kinds == ["movie", "show", "show"]


def test_unlikely_merges_are_named_once_per_episode(catalog: Catalog) -> None:
    add(
        catalog,
        {
            "TV/A/S01E01 x.mkv": 20.0,
            "TV/A/S01E01 y.mkv": 45.0,
            "TV/A/S01E02 x.mkv": 20.0,
            "TV/A/S01E02 y.mkv": 21.0,
            "TV/A/Season 1/pilot.mkv": 90.0,  # without a number, it may be anything
            "F (2001)/a.mkv": 90.0,
            "F (2001)/b.mkv": 120.0,
            "G (2001)/a.mkv": 5.0,
            "G (2001)/b.mkv": 120.0,
            "G (2001)/b-trailer.mkv": 2.0,
        },
    )
    warnings = merge_warnings(catalog.titles(), catalog.items(include_extras=True))
    assert len(warnings) == 2
    assert "TV/A/S01E01 x.mkv (20.0 min)" in warnings[1]
    assert "TV/A/S01E01 y.mkv (45.0 min)" in warnings[1]
    assert "G (2001)/a.mkv (5.0 min)" in warnings[0]


def test_a_title_is_found_as_the_table_shows_it(catalog: Catalog) -> None:
    add(catalog, {"Name (1978)/a.mkv": 90.0, "Name (2018)/a.mkv": 90.0, "Other/Other.mkv": 90.0})

    def years(title: str) -> list[int | None]:
        return [found.year for found in describe_catalog(catalog, title).titles]

    assert years("name (1978)") == [1978]
    assert years("Name") == [1978, 2018]
    assert years("Other") == [None]
    with pytest.raises(ValueError, match=r"did you mean Name \(1978\), Name \(2018\)"):
        describe_catalog(catalog, "Name (1979)")
