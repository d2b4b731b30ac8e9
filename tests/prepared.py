"""A small prepared catalog of real files, and the smallest config that trains on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.media_files import write_film
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.media.proxy_writer import ProxyFormat
from toomuchtv.training.run_config import Config, config_from

RECIPE = ProxyFormat(short_side=32, sample_rate_hz=16_000)

FILMS = {
    "Alpha (2001)/Alpha (2001).mp4": 6.0,
    "Beta (2002)/Beta (2002).mp4": 5.0,
    "Gamma (2003)/Gamma (2003).mp4": 4.0,
    "Delta/Season 01/Delta S01E01.mp4": 4.0,
    "Delta/Season 01/Delta S01E02.mp4": 5.0,
}


def make_prepared_catalog(folder: Path) -> Path:
    """Write `FILMS`, scan and prepare them, and return the catalog's folder."""
    library, catalog_path = folder / "library", folder / "catalog"
    for number, (name, seconds) in enumerate(FILMS.items()):
        write_film(library / name, seconds=seconds, first_frame=7 * number)
    scan_library(library, catalog_path)
    with open_catalog(catalog_path) as catalog:
        result = prepare_catalog(catalog, RECIPE)
        assert result.prepared == len(FILMS)
        assert not result.failed
    return catalog_path


def tiny_config(**changes: Mapping[str, Any]) -> Config:
    """Return settings of a run that takes seconds, with `changes` by section."""
    values: dict[str, dict[str, Any]] = {
        "clip": {"frames": 2, "frame_rate": 8.0, "audio_seconds": 0.25},
        "transform": {"size": 16},
        "model": {
            "video": {"depth": 10, "width": 0.0625},
            "audio": {"depth": 9, "width": 0.0625},
            "embedding_dim": 8,
        },
        "sampling": {"batch_size": 6, "clips_per_item": 2, "min_gap_seconds": 0.25},
        "optimizer": {"warmup_steps": 2},
        "training": {
            "steps": 8,
            "device": "cpu",
            "precision": "float32",
            "num_workers": 0,
            "held_out_share": 0.25,
            "log_every": 1,
            "validation_clips": 2,
            "validate_every": 4,
            "checkpoint_every": 3,
        },
    }
    for section, change in changes.items():
        values.setdefault(section, {}).update(change)
    return config_from(values)
