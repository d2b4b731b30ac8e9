"""The search for leakage never sees the content that a file had before it was changed."""

from __future__ import annotations

from functools import partialmethod
from pathlib import Path

import pytest

from tests.media_files import write_film
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.evaluation.benchmark import Modality
from toomuchtv.evaluation.signatures import catalog_words
from toomuchtv.media.proxy_writer import ProxyFormat


@pytest.mark.parametrize("modality", ["video", "audio"])
def test_leakage_search_never_reads_a_stale_proxy(
    tmp_path: Path, modality: Modality, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, folder = tmp_path / "library", tmp_path / "cat"
    write_film(library / "a (2001).mp4", seconds=1.0, first_frame=0)
    write_film(library / "b (2002).mp4", seconds=1.0, first_frame=10)
    scan_library(library, folder)
    prepare_catalog(folder, ProxyFormat(short_side=32))
    with open_catalog(folder) as catalog:
        paths = [path for path, _ in catalog_words(catalog, modality)]
        assert paths == ["a (2001).mp4", "b (2002).mp4"]
    write_film(library / "a (2001).mp4", seconds=1.25, first_frame=30)
    scan_library(library, folder)
    with open_catalog(folder) as catalog:
        assert [path for path, _ in catalog_words(catalog, modality)] == ["b (2002).mp4"]
        # Without the check of fingerprints, the search would see the old content of the first file.
        monkeypatch.setattr(Catalog, "proxies", partialmethod(Catalog.proxies, include_stale=True))
        assert [path for path, _ in catalog_words(catalog, modality)] == paths
