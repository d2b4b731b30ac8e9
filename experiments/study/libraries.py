"""Worlds and transfer sets: rendered, scanned and prepared once, for all arms that use them."""

from __future__ import annotations

from pathlib import Path

from experiments.rendered_tv import render_library
from experiments.study.condition import Library
from experiments.study.scale import Scale
from experiments.study.settings import proxy_recipe, transfer_studio, world_studio
from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.detection.detect import detect_segments
from toomuchtv.errors import CatalogError

_READY = "ready"


def catalog_path(out: Path, world: Library) -> Path:
    """Where a world's catalog lies."""
    return out / "worlds" / world.name / "cat"


def transfer_path(out: Path, seed: int) -> Path:
    """Where a seed's transfer sets lie: `actions` and `sounds`."""
    return out / "worlds" / f"transfer-seed{seed}" / "transfer"


def make_world(
    out: Path,
    scale: Scale,
    world: Library,
    *,
    num_workers: int,
    progress: ProgressCallback = no_progress,
) -> None:
    """Make a world, or what is left to make of it: as `studio`, `scan` and `prepare` would.

    Raises:
        CatalogError: An item of it cannot be used.
        ValueError: There is another world in its folder.
    """
    folder = out / "worlds" / world.name
    mark = folder / _READY
    # Rendering says itself whether what is there is this world.
    render_library(
        folder / "studio", world_studio(scale, world), num_workers=num_workers, progress=progress
    )
    if mark.exists():
        return
    catalog = catalog_path(out, world)
    scanned = scan_library(folder / "studio" / "library", catalog, num_workers=num_workers)
    with open_catalog(catalog) as opened:
        recipe = proxy_recipe(scale.detail)
        prepared = prepare_catalog(opened, recipe, num_workers=num_workers, progress=progress)
        found = detect_segments(opened, num_workers=num_workers, progress=progress)
    bad = [*scanned.skipped, *prepared.failed, *found.failed]
    if bad:
        raise CatalogError(
            f"{len(bad)} files of the world {world.name} cannot be used, the first "
            f"{bad[0].path}: {bad[0].reason}; delete {folder} and run the study again"
        )
    mark.touch()


def make_transfer(
    out: Path,
    scale: Scale,
    seed: int,
    *,
    num_workers: int,
    progress: ProgressCallback = no_progress,
) -> None:
    """Render the labeled clips that a seed's arms are judged on.

    Raises:
        ValueError: There are others in their folder.
    """
    folder = transfer_path(out, seed).parent
    render_library(folder, transfer_studio(scale, seed), num_workers=num_workers, progress=progress)
