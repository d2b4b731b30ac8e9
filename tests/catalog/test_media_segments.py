"""Segments in the shape of Jellyfin's, with ids that real servers have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.prepared import make_prepared_catalog
from toomuchtv.catalog.media_segments import (
    jellyfin_item_id,
    media_segments,
    write_media_segments,
)
from toomuchtv.catalog.records import Segment
from toomuchtv.catalog.store import open_catalog


def test_ids_are_those_of_jellyfin() -> None:
    # Every server has these ids for its collections, its libraries named Movies and Shows, and its
    # playlists: they are in the addresses of its web client.
    folder = "MediaBrowser.Controller.Entities.CollectionFolder"
    known = {
        "root\\default\\Collections": "9d7ad6afe9afa2dab1a2f6e00ad28fa6",
        "root\\default\\Movies": "f137a2dd21bbc1b99aa5c0f6bf02a805",
        "root\\default\\Shows": "a656b907eb3a73532e40e44b968d0225",
    }
    assert {path: jellyfin_item_id(folder, path) for path in known} == known
    playlists = "Emby.Server.Implementations.Playlists.PlaylistsFolder"
    expected = "1071671e7bffa0532e930debee501d2e"
    assert jellyfin_item_id(playlists, "data\\playlists") == expected


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog with an opening, credits, a recap, a shot and black."""
    folder = make_prepared_catalog(tmp_path_factory.mktemp("segments"))
    with open_catalog(folder) as opened, opened.writing():
        for item in opened.items():
            if item.season is not None:
                kinds = {"opening": (0.5, 1.25), "credits": (3.0, 4.0), "recap": (0.0, 0.5)}
            else:
                kinds = {"credits": (1.0, 2.0), "shot": (0.0, 1.0), "black": (2.0, 2.5)}
            found = [
                Segment(item_id=item.id, start_seconds=start, stop_seconds=stop, kind=kind)
                for kind, (start, stop) in kinds.items()
            ]
            opened.record_segments(f"item {item.id}", "test", [item.id], list(kinds), found)
    return folder


def test_openings_credits_and_recaps_are_written(catalog: Path, tmp_path: Path) -> None:
    write_media_segments(media_segments(catalog, server_library="/media/"), tmp_path / "out.json")
    content = json.loads((tmp_path / "out.json").read_text("utf-8"))
    items = content["Items"]
    assert content["TotalRecordCount"] == len(items) == 2 * 3 + 3
    path = "/media/Delta/Season 01/Delta S01E01.mp4"
    episode = [item for item in items if item["Path"] == path]
    assert [(one["Type"], one["StartTicks"], one["EndTicks"]) for one in episode] == [
        ("Recap", 0, 5_000_000),
        ("Intro", 5_000_000, 12_500_000),
        ("Outro", 30_000_000, 40_000_000),
    ]
    class_name = "MediaBrowser.Controller.Entities.TV.Episode"
    assert {one["ItemId"] for one in episode} == {jellyfin_item_id(class_name, path)}
    films = [one for one in items if "Delta" not in one["Path"]]
    assert {one["Type"] for one in films} == {"Outro"}
    movie = "MediaBrowser.Controller.Entities.Movies.Movie"
    assert all(one["ItemId"] == jellyfin_item_id(movie, one["Path"]) for one in films)


def test_a_server_on_windows_has_other_separators(catalog: Path) -> None:
    paths = {one.path for one in media_segments(catalog, server_library="D:\\Media")}
    assert "D:\\Media\\Delta\\Season 01\\Delta S01E01.mp4" in paths


def test_the_library_is_where_it_is_by_default(catalog: Path) -> None:
    assert all(Path(one.path).is_file() for one in media_segments(catalog))
