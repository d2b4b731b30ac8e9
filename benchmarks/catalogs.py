"""Prepared catalogs that several benchmarks read."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.records import Proxy
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.snapshot import CatalogSnapshot, no_segments
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.media.proxy_writer import ProxyFormat


def open_prepared(
    library: Path, folder: Path, proxy_format: ProxyFormat | None = None, *, num_workers: int = 2
) -> Catalog:
    """Scan a library into a folder, make its proxies, and open the catalog.

    Files that are already in the catalog are not read again.
    """
    scan_library(library, folder, num_workers=num_workers)
    catalog = open_catalog(folder)
    prepare_catalog(catalog, proxy_format or ProxyFormat(), num_workers=num_workers)
    return catalog


def repeat_items(catalog: Catalog, times: int) -> tuple[CatalogSnapshot, dict[int, Proxy]]:
    """Return a catalog's items many times over, each with hard links to its proxies.

    The result has more items than a reader keeps open at once.
    """
    snapshot, proxies = catalog.snapshot(), catalog.proxies()
    repeated = {}
    for number in range(times):
        for item_id in snapshot.item_id.tolist():
            proxy = proxies[item_id]
            repeated[item_id + 1000 * number] = replace(
                proxy,
                item_id=item_id + 1000 * number,
                video_path=_link(catalog, proxy.video_path, number),
                audio_files=tuple(
                    replace(audio, path=_link(catalog, audio.path, number))
                    for audio in proxy.audio_files
                ),
            )
    offset = np.repeat(np.arange(times, dtype=np.int32) * 1000, len(snapshot))
    columns = ("kind", "season", "num_frames", "frame_rate", "num_tracks")
    return (
        CatalogSnapshot(
            item_id=np.tile(snapshot.item_id, times) + offset,
            title_id=np.tile(snapshot.title_id, times) + offset,
            segments=no_segments(),
            **{name: np.tile(getattr(snapshot, name), times) for name in columns},
        ),
        repeated,
    )


def _link(catalog: Catalog, path: Path, number: int) -> Path:
    linked = Path("many") / str(number) / path.name
    (catalog.folder / linked).parent.mkdir(parents=True, exist_ok=True)
    if not (catalog.folder / linked).exists():
        os.link(catalog.folder / path, catalog.folder / linked)
    return linked
