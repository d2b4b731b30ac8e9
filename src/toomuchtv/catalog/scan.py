"""Bring a catalog up to date with its library: find, identify, probe and record every file.

An item follows its content, which is identified by a fingerprint: a renamed file keeps its item,
its proxy and its segments. A file whose size and modification time have not changed is not opened.
Every file is recorded in a transaction of its own, so that a scan that was killed can be repeated.

A scan settles each file in one of these ways, in this order:

1. unchanged: size and time are as recorded; nothing is read.
2. known content: the fingerprint is as recorded for this or another path (a rename, or a touch).
3. copy: the content is that of a file that was settled before; the copy is skipped.
4. new: the file is probed, and becomes a new item or the new content of the item at its path.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv._internal.subprocess_pool import Failure, run_isolated
from toomuchtv.catalog.names import ParsedName, parse_name, printable, title_key
from toomuchtv.catalog.probe import probe_file
from toomuchtv.catalog.records import Item, Probe, SkippedFile, SkippedFileRecord, TitleKind
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.catalog.titles import assign_catalog_titles, merge_warnings
from toomuchtv.catalog.walk import FileState, LibraryFiles, fingerprint_file, walk_library
from toomuchtv.errors import CatalogError

#: A file without year and episode number that is shorter than this is a clip and a title of its
#: own, as in a folder of short labeled videos. A longer one is a film.
CLIP_SECONDS = 90.0
# A probe takes milliseconds. One that takes this long hangs.
_PROBE_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResult:
    """What the catalog holds after a scan, and what the scan changed.

    Attributes:
        titles: Number of titles in the library now.
        items: Number of items in the library now, without extras.
        extras: Number of extras in the library now.
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
    progress: ProgressCallback = no_progress,
) -> ScanResult:
    """Bring a catalog up to date with a library. The library is only read.

    Args:
        library: The folder of films and series.
        catalog_path: The catalog's folder, outside of the library. It is made if it does not exist.
        num_workers: Number of files to probe at the same time, each in a separate process.
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
        scan = _Scan(catalog, root, walk_library(root), progress)
        scan.run(num_workers)
        assign_catalog_titles(catalog)
        return scan.result()


def _check_library(catalog: Catalog, root: Path) -> None:
    """Record the library of a new catalog, or of one whose library was moved."""
    try:
        recorded = catalog.library
    except CatalogError:  # the catalog is new
        catalog.set_library(root)
        return
    if recorded == root:
        return
    if recorded.is_dir():
        raise CatalogError(
            f"the catalog {catalog.folder} is of the library {recorded}, not of {root}; use "
            "another catalog folder for this library"
        )
    catalog.set_library(root)


class _Scan:
    """One scan of a library: the catalog before it, and the files that are settled so far."""

    def __init__(
        self, catalog: Catalog, root: Path, files: LibraryFiles, progress: ProgressCallback
    ) -> None:
        self.catalog = catalog
        self.root = root
        self.found = files
        self.progress = progress
        self.items = {
            item.fingerprint: item
            for item in catalog.items(include_extras=True, include_missing=True)
        }
        self.items_by_path = {item.path: item for item in self.items.values() if not item.missing}
        self.skipped_before = {file.path: file for file in catalog.skipped_files()}
        self.settled: dict[str, Path] = {}  # the path that is used, by fingerprint
        self.updated: set[int] = set()  # ids of items whose path holds new content
        self.added = self.renamed = self.unchanged = self.vanished = 0

    def run(self, num_workers: int) -> None:
        """Settle every file that was found, and then everything that was not found again."""
        self._settle_unchanged_files()
        settled = set(self.settled.values())
        changed = [path for path in self.found.files if path not in settled]
        fingerprints = self._fingerprint(changed)
        new = self._settle_known_content(fingerprints)
        # Features come before extras, so that a trailer joins the title of its film.
        names = {path: parse_name(path) for path in new}
        new.sort(key=lambda path: names[path].extra is not None)
        num_done = len(changed) - len(new)
        for path, result in self._probe(new, num_workers):
            if isinstance(result, Failure):
                self._skip(path, result.reason, fingerprints[path])
            else:
                self._record(path, names[path], fingerprints[path], result)
            num_done += 1
            self.progress(num_done, len(changed), printable(path))
        self._settle_vanished_files()

    def _settle_unchanged_files(self) -> None:
        for path, item in self.items_by_path.items():
            if self.found.files.get(path) == _state_of(item):
                self.settled[item.fingerprint] = path
                self.unchanged += 1

    def _fingerprint(self, paths: list[Path]) -> dict[Path, str]:
        fingerprints = {}
        for number, path in enumerate(paths):
            state, before = self.found.files[path], self.skipped_before.get(path)
            if before and before.fingerprint and _state_of(before) == state:
                fingerprints[path] = before.fingerprint
                continue
            self.progress(0, len(paths), f"{number + 1} of {len(paths)}: {printable(path)}")
            try:
                fingerprints[path] = fingerprint_file(self.root / path, state.size_bytes)
            except OSError as error:
                self.found.unusable[path] = f"cannot be read: {error.strerror or error}"
        return fingerprints

    def _settle_known_content(self, fingerprints: dict[Path, str]) -> list[Path]:
        """Settle all files with known content. Return the paths of the others."""
        reasons = {f.fingerprint: f.reason for f in self.skipped_before.values() if not f.same_as}
        new: list[Path] = []
        # Of several files with the content of one item, the file at the item's recorded path is
        # settled first. Otherwise a copy would take over the item.
        in_place = [
            path
            for path, fingerprint in fingerprints.items()
            if (item := self.items.get(fingerprint)) and item.path == path
        ]
        for path in dict.fromkeys([*in_place, *fingerprints]):
            fingerprint = fingerprints[path]
            if original := self.settled.get(fingerprint):
                reason = f"same content as {printable(original)}"
                self._skip(path, reason, fingerprint, same_as=original)
            elif item := self.items.get(fingerprint):
                if path == item.path:
                    self.unchanged += 1
                else:
                    self.renamed += 1
                self._record(path, parse_name(path), fingerprint, item.probe)
            else:
                self.settled[fingerprint] = path
                if fingerprint in reasons:
                    self._skip(path, reasons[fingerprint], fingerprint)
                else:
                    new.append(path)
        return sorted(new, key=os.fsencode)

    def _probe(self, paths: list[Path], num_workers: int) -> Iterator[tuple[Path, Probe | Failure]]:
        """Probe files in separate processes; yield in the order of `paths`.

        The fixed order makes the catalog independent of the number of workers.
        """
        waiting: dict[Path, Probe | Failure] = {}
        jobs = run_isolated(
            _probe_in_worker,
            [self.root / path for path in paths],
            num_workers=num_workers,
            silence_seconds=_PROBE_TIMEOUT_SECONDS,
        )
        with closing(jobs) as results:
            for path in paths:
                while path not in waiting:
                    full_path, result = next(results)
                    waiting[full_path.relative_to(self.root)] = result
                yield path, waiting.pop(path)

    def _record(self, path: Path, name: ParsedName, fingerprint: str, probe: Probe) -> None:
        """Record a usable file as the item of its content, else of its path, else as a new item."""
        item = self.items.get(fingerprint)
        if item is None:
            item = self.items_by_path.get(path)
            if item and item.fingerprint in self.settled:
                item = None  # the content of that item has moved to another path
            if item:
                self.updated.add(item.id)
            else:
                self.added += 1
        state = self.found.files[path]
        self.settled[fingerprint] = path
        with self.catalog.transaction():
            self.catalog.remove_skipped_file(path)
            self.catalog.put_item(
                Item(
                    id=item.id if item else 0,
                    title_id=self._title_id(path, name, probe),
                    path=path,
                    season=name.season,
                    episode=name.episode,
                    extra=name.extra,
                    size_bytes=state.size_bytes,
                    modified_ns=state.modified_ns,
                    fingerprint=fingerprint,
                    missing=False,
                    probe=probe,
                )
            )

    def _title_id(self, path: Path, name: ParsedName, probe: Probe) -> int:
        """Return the id of the title of a file. Add the title if it is new."""
        kind, key = name.kind, title_key(name.title, name.year)
        kinds = [kind]
        if name.extra:  # the path of an extra does not state whether it is of a film or of a show
            kinds += [TitleKind.SHOW if kind is TitleKind.MOVIE else TitleKind.MOVIE]
        elif (
            kind is TitleKind.MOVIE and name.year is None and probe.duration_seconds < CLIP_SECONDS
        ):
            kind, key = TitleKind.CLIP, os.fspath(path)
            kinds = [kind]
        title = self.catalog.find_title(key, kinds=kinds)
        if title is None:
            title = self.catalog.add_title(key, kind=kind, name=name.title, year=name.year)
        return title.id

    def _skip(
        self, path: Path, reason: str, fingerprint: str, *, same_as: Path | None = None
    ) -> None:
        state = self.found.files[path]
        file = SkippedFileRecord(
            path=path,
            reason=reason,
            size_bytes=state.size_bytes,
            modified_ns=state.modified_ns,
            fingerprint=fingerprint,
            same_as=same_as,
        )
        if self.skipped_before.get(path) != file:
            with self.catalog.transaction():
                self.catalog.put_skipped_file(file)

    def _settle_vanished_files(self) -> None:
        with self.catalog.transaction():
            for item in self.items.values():
                is_gone = item.fingerprint not in self.settled and item.id not in self.updated
                if is_gone and not item.missing:
                    self.catalog.set_missing(item.id)
                    self.vanished += 1
            for path in self.skipped_before:
                if path not in self.found.files:
                    self.catalog.remove_skipped_file(path)
            for path, reason in self.found.unusable.items():
                self.catalog.put_skipped_file(SkippedFileRecord(path=path, reason=reason))
            self.catalog.remove_empty_titles()

    def result(self) -> ScanResult:
        """Return the content of the catalog and the changes of this scan."""
        items = self.catalog.items(include_extras=True)
        features = [item for item in items if item.extra is None]
        return ScanResult(
            titles=len(self.catalog.titles()),
            items=len(features),
            extras=len(items) - len(features),
            seconds=sum(item.probe.duration_seconds for item in features),
            skipped=tuple(
                SkippedFile(path=file.path, reason=file.reason)
                for file in self.catalog.skipped_files()
            ),
            added=self.added,
            updated=len(self.updated),
            renamed=self.renamed,
            unchanged=self.unchanged,
            vanished=self.vanished,
            ignored=self.found.num_ignored,
            warnings=(
                *(
                    f"{printable(item.path)}: {warning}"
                    for item in items
                    for warning in item.probe.warnings
                ),
                *merge_warnings(self.catalog.titles(), features),
            ),
        )


def _state_of(file: Item | SkippedFileRecord) -> FileState | None:
    if file.size_bytes is None or file.modified_ns is None:
        return None
    return FileState(size_bytes=file.size_bytes, modified_ns=file.modified_ns)


def _probe_in_worker(path: Path, report: Callable[[float], None]) -> Probe:
    return probe_file(path)
