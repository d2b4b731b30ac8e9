"""Libraries and transfer sets, rendered and prepared once for all conditions that use them."""

from __future__ import annotations

from pathlib import Path

from experiments.rendered_tv import render_library
from experiments.study.conditions import Library
from experiments.study.settings import library_config, proxy_format, transfer_config
from experiments.study.size import StudySize
from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.catalog.prepare import prepare_catalog
from toomuchtv.catalog.scan import scan_library
from toomuchtv.catalog.store import open_catalog
from toomuchtv.detection.detect import detect_segments
from toomuchtv.errors import CatalogError


def library_path(out: Path, library: Library) -> Path:
    """Return a library's folder."""
    return out / "libraries" / library.name


def catalog_path(out: Path, library: Library) -> Path:
    """Return the path of a library's catalog."""
    return library_path(out, library) / "cat"


def transfer_path(out: Path, seed: int) -> Path:
    """Return the folder of a seed's transfer sets."""
    return out / "libraries" / f"transfer-seed{seed}"


def benchmarks_path(out: Path, seed: int) -> Path:
    """Return the folder of a seed's benchmarks `actions` and `sounds`, in its transfer sets."""
    return transfer_path(out, seed) / "rendered" / "transfer"


def is_ready(folder: Path) -> bool:
    """Return whether the library or the transfer sets of a folder have been made."""
    return (folder / "ready").exists()


def make_library(
    out: Path,
    size: StudySize,
    library: Library,
    *,
    num_workers: int,
    progress: ProgressCallback = no_progress,
) -> None:
    """Render, scan and prepare a library, except for what exists already.

    Raises:
        CatalogError: If one of its files cannot be used.
        ValueError: If its folder holds another library.
    """
    folder = library_path(out, library)
    # Rendering raises an error if the existing files are of another library.
    config = library_config(size, library)
    render_library(folder / "rendered", config, num_workers=num_workers, progress=progress)
    if is_ready(folder):
        return
    catalog = catalog_path(out, library)
    scanned = scan_library(folder / "rendered" / "library", catalog, num_workers=num_workers)
    with open_catalog(catalog) as opened:
        prepared = prepare_catalog(
            opened, proxy_format(size.detail), num_workers=num_workers, progress=progress
        )
        found = detect_segments(opened, num_workers=num_workers, progress=progress)
    bad = [*scanned.skipped, *prepared.failed, *found.failed]
    if bad:
        raise CatalogError(
            f"{len(bad)} files of the library {library.name} cannot be used, the first "
            f"{bad[0].path}: {bad[0].reason}; delete {folder} and run the study again"
        )
    (folder / "ready").touch()


def make_transfer(
    out: Path,
    size: StudySize,
    seed: int,
    *,
    num_workers: int,
    progress: ProgressCallback = no_progress,
) -> None:
    """Render the labeled clips that a seed's conditions are evaluated on.

    Raises:
        ValueError: If the folder holds other clips.
    """
    folder, config = transfer_path(out, seed), transfer_config(size, seed)
    render_library(folder / "rendered", config, num_workers=num_workers, progress=progress)
    (folder / "ready").touch()
