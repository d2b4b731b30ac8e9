"""Leakage searches never see the content that a file had before it was changed."""

from __future__ import annotations

from pathlib import Path

from tests.media_files import write_film
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.evaluation.leakage import catalog_signatures
from toomuchtv.evaluation.sound_leakage import index_catalog_sounds
from toomuchtv.media.proxy import ProxyFormat


def test_leakage_searches_leave_out_items_whose_proxy_is_stale(tmp_path: Path) -> None:
    library, folder = tmp_path / "library", tmp_path / "cat"
    write_film(library / "a (2001).mp4", seconds=1.0, first_frame=0)
    write_film(library / "b (2002).mp4", seconds=1.0, first_frame=10)
    scan_library(library, folder)
    prepare_catalog(folder, ProxyFormat(short_side=32))
    with open_catalog(folder) as catalog:
        names = {"a (2001).mp4", "b (2002).mp4"}
        assert {item.name for item in catalog_signatures(catalog)} == names
        assert set(index_catalog_sounds(catalog).names) == names
    write_film(library / "a (2001).mp4", seconds=1.25, first_frame=30)
    scan_library(library, folder)
    with open_catalog(folder) as catalog:
        assert [item.name for item in catalog_signatures(catalog)] == ["b (2002).mp4"]
        assert index_catalog_sounds(catalog).names == ("b (2002).mp4",)
