"""Bring a catalog up to date with its library.

Every file is recorded in a transaction of its own while the walk through the library goes on, so
that a scan that was killed keeps what it has and can be repeated.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.catalog.corrections import read_corrections
from toomuchtv.catalog.names import printable
from toomuchtv.catalog.records import SkippedFile
from toomuchtv.catalog.scanner import Scanner, state_at
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.catalog.titles import AssignedTitles, assign_catalog_titles, merge_warnings
from toomuchtv.errors import CatalogError


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResult:
    """What the catalog holds after a scan, and what the scan changed.

    Attributes:
        titles: Number of titles in the library now.
        items: Number of items in the library now, without extras.
        extras: Number of extras in the library now.
        extra_kinds: Number of extras of each kind, such as "trailer", the most frequent first.
        seconds: Duration of the items, without extras.
        skipped: Files that cannot be used, with reasons.
        added: Number of new items.
        updated: Number of items whose file has new content.
        renamed: Number of items whose content has a new path.
        unchanged: Number of items whose content and path have not changed.
        vanished: Number of items that were in the library at the last scan and are not now.
        ignored: Number of files that libraries hold beside films: hidden files, subtitles, artwork.
        warnings: "path: warning" for files that are used although something is wrong with them, and
            sentences on files that count as one film or episode and do not look like it.
    """

    titles: int
    items: int
    extras: int
    extra_kinds: Mapping[str, int]
    seconds: float
    skipped: tuple[SkippedFile, ...]
    added: int
    updated: int
    renamed: int
    unchanged: int
    vanished: int
    ignored: int
    warnings: tuple[str, ...]


def scan_library(
    library: str | os.PathLike[str],
    catalog_path: str | os.PathLike[str],
    *,
    num_workers: int = 1,
    follow_links: bool = False,
    progress: ProgressCallback = no_progress,
) -> ScanResult:
    """Bring a catalog up to date with a library. The library is only read.

    Args:
        library: The folder of films and series.
        catalog_path: The catalog's folder, outside of the library. It is made if it does not exist.
        num_workers: Number of files to probe at the same time, each in a separate process.
        follow_links: Use the files and folders outside of the library that links in it lead to.
        progress: Receives the number of changed files that are done.

    Raises:
        CatalogError: The library is not a folder; or the catalog would be inside the library, is of
            another library that still exists, or is being written by another process.
    """
    root = Path(library)
    if not root.is_dir():
        raise CatalogError(f"the library {root} is not a folder")
    root = root.resolve()
    folder = Path(catalog_path)
    if folder.resolve().is_relative_to(root):
        raise CatalogError(
            f"the catalog {folder} would lie inside the library {root}, which is never written "
            "to; choose a folder outside it"
        )
    with open_catalog(folder, create=True) as catalog, catalog.writing():
        _check_library(catalog, root)
        corrections = read_corrections(folder)
        scanner = Scanner(catalog, root, progress, follow_links=follow_links)
        scanner.run(num_workers)
        titles = assign_catalog_titles(catalog, corrections)
        return _result(catalog, scanner, titles)


def _check_library(catalog: Catalog, root: Path) -> None:
    """Record the library of a new catalog, or of one whose library was moved."""
    try:
        recorded = catalog.library
    except CatalogError:  # the catalog is new
        catalog.set_library(root)
        return
    if recorded == root:
        return
    # A folder that does not exist any more was moved, or its disk is not connected. Files tell.
    items = catalog.items(include_extras=True)
    is_moved = not items or any(
        (state := state_at(root / item.path)) and state.size_bytes == item.size_bytes
        for item in items
    )
    if recorded.is_dir() or not is_moved:
        raise CatalogError(
            f"the catalog {catalog.folder} is of the library {recorded}, not of {root}: use "
            "another catalog folder for this library"
        )
    catalog.set_library(root)


def _result(catalog: Catalog, scanner: Scanner, titles: AssignedTitles) -> ScanResult:
    """Return the content of the catalog and the changes of this scan."""
    items = catalog.items(include_extras=True)
    features = [item for item in items if item.extra is None]
    kinds = Counter(item.extra for item in items if item.extra is not None)
    return ScanResult(
        titles=len(catalog.titles()),
        items=len(features),
        extras=kinds.total(),
        extra_kinds=dict(sorted(kinds.items(), key=lambda entry: (-entry[1], entry[0]))),
        seconds=sum(item.probe.duration_seconds for item in features),
        skipped=tuple(
            SkippedFile(path=file.path, reason=file.reason) for file in catalog.skipped_files()
        ),
        added=scanner.added,
        updated=scanner.updated,
        renamed=scanner.renamed,
        unchanged=scanner.unchanged,
        vanished=scanner.vanished,
        ignored=scanner.found.num_ignored,
        warnings=(
            *(
                f"{printable(item.path)}: {warning}"
                for item in items
                for warning in item.probe.warnings
            ),
            *merge_warnings(catalog.titles(), features),
            *titles.warnings,
        ),
    )
