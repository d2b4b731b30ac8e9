"""From a library to a catalog: find, recognize, probe, record.

What is known of a file is tied to its content, by fingerprint: a renamed file keeps its item,
with its proxy and segments. A file whose size and time are as recorded is not even opened.

Each file is one transaction, so a scan that is killed goes on where it stopped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv._internal.subprocess_pool import Failure, run_isolated
from toomuchtv.catalog.names import ParsedName, parse_name, readable, title_key
from toomuchtv.catalog.probe import probe_file
from toomuchtv.catalog.records import Item, Probe, SkippedFile, TitleKind
from toomuchtv.catalog.rows import SetAsideFile
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.catalog.walk import FileState, Walk, fingerprint_file, walk_library
from toomuchtv.errors import CatalogError

#: A file with neither year nor episode number that is shorter than this is a clip: a title of its
#: own, as in a folder of short labeled videos, not a film.
CLIP_SECONDS = 90.0
#: A probe takes milliseconds; one that says nothing for this long hangs.
PROBE_SILENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResult:
    """What the catalog holds after a scan, and what the scan changed.

    `titles`, `items`, `extras` and `seconds` (of picture, extras not counted) are of what is in
    the library now. `renamed` files are known content under a new name, `vanished` ones were there
    at the last scan. `ignored` counts what a library holds beside films: hidden files, subtitles,
    artwork. `warnings` are "path: what" for files that are used with a reservation.
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
    """Bring the catalog in folder `catalog_path` up to date with a library, which is only read.

    Args:
        library: the folder of films and series.
        catalog_path: the catalog's folder, outside the library; made if it is not there.
        num_workers: how many files to probe at a time, each in a process of its own.
        progress: told how many of the files that are not as recorded are done.

    Raises:
        CatalogError: if the library is no folder, if the catalog lies inside it, is of another
            library that still exists, or is being written by another process.
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
        return scan.result()


def _check_library(catalog: Catalog, root: Path) -> None:
    try:
        known = catalog.library
    except CatalogError:  # a fresh catalog
        known = root
        catalog.set_library(root)
    if known == root:
        return
    if known.is_dir():
        raise CatalogError(
            f"the catalog {catalog.folder} is of the library {known}, not of {root}; use another "
            "catalog folder for this library"
        )
    catalog.set_library(root)  # the library moved


class _Scan:
    """One scan at work: what was known, what was found, what is still to be settled."""

    def __init__(
        self, catalog: Catalog, root: Path, walk: Walk, progress: ProgressCallback
    ) -> None:
        self.catalog = catalog
        self.root = root
        self.walk = walk
        self.progress = progress
        self.known = {
            item.fingerprint: item
            for item in catalog.items(include_extras=True, include_missing=True)
        }
        self.by_path = {item.path: item for item in self.known.values() if not item.missing}
        self.aside = {file.path: file for file in catalog.set_aside_files()}
        self.settled: dict[str, Path] = {}  # fingerprint -> the path that stands for it now
        self.updated: set[int] = set()  # items whose path holds new content
        self.added = self.renamed = self.unchanged = self.vanished = 0

    def run(self, num_workers: int) -> None:
        """Settle every file found, then what was not found."""
        self._settle_unchanged()
        settled = set(self.settled.values())
        open_paths = [path for path in self.walk.files if path not in settled]
        fingerprints = self._fingerprint(open_paths)
        probable = self._recognize(fingerprints)
        # Features before extras, so that a trailer finds the film's title and not the reverse.
        names = {path: parse_name(path) for path in probable}
        probable.sort(key=lambda path: names[path].extra is not None)
        done = len(open_paths) - len(probable)
        for number, (path, result) in enumerate(self._probe(probable, num_workers), start=1):
            fingerprint = fingerprints[path]
            if isinstance(result, Failure):
                self._put_aside(path, result.reason, fingerprint)
            else:
                self._record(path, names[path], fingerprint, result)
            self.progress(done + number, len(open_paths), readable(path))
        self._settle_vanished()

    def _settle_unchanged(self) -> None:
        for path, item in self.by_path.items():
            if self.walk.files.get(path) == _state_of(item):
                self.settled[item.fingerprint] = path
                self.unchanged += 1

    def _fingerprint(self, paths: list[Path]) -> dict[Path, str]:
        fingerprints = {}
        for number, path in enumerate(paths):
            state, before = self.walk.files[path], self.aside.get(path)
            if before and before.fingerprint and _state_of(before) == state:
                fingerprints[path] = before.fingerprint
                continue
            self.progress(0, len(paths), f"{number + 1} of {len(paths)}: {readable(path)}")
            try:
                fingerprints[path] = fingerprint_file(self.root / path, state.size_bytes)
            except OSError as error:
                self.walk.refused[path] = f"cannot be read: {error.strerror or error}"
        return fingerprints

    def _recognize(self, fingerprints: dict[Path, str]) -> list[Path]:
        """Settle known content, whatever its name is now; return the paths left to probe."""
        bad = {file.fingerprint: file for file in self.aside.values() if not file.same_as}
        probable: list[Path] = []
        # A file whose time alone changed is at its path still; only then may copies claim it.
        stays = [p for p in fingerprints if self._is_at(p, fingerprints[p])]
        for path in dict.fromkeys([*stays, *fingerprints]):
            fingerprint = fingerprints[path]
            twin = self.settled.get(fingerprint)
            if twin is not None:
                self._put_aside(
                    path, f"same content as {readable(twin)}", fingerprint, same_as=twin
                )
            elif item := self.known.get(fingerprint):
                if path == item.path:
                    self.unchanged += 1
                else:
                    self.renamed += 1
                self._record(path, parse_name(path), fingerprint, item.probe)
            elif fingerprint in bad:
                self.settled[fingerprint] = path
                self._put_aside(path, bad[fingerprint].reason, fingerprint)
            else:
                self.settled[fingerprint] = path
                probable.append(path)
        return sorted(probable, key=os.fsencode)

    def _is_at(self, path: Path, fingerprint: str) -> bool:
        item = self.known.get(fingerprint)
        return item is not None and item.path == path

    def _probe(self, paths: list[Path], num_workers: int) -> Iterator[tuple[Path, Probe | Failure]]:
        """Probe in processes of their own; yield in the order of `paths`, whoever is first."""
        early: dict[Path, Probe | Failure] = {}
        jobs = run_isolated(
            _probe_isolated,
            [self.root / path for path in paths],
            num_workers=num_workers,
            silence_seconds=PROBE_SILENCE_SECONDS,
        )
        with closing(jobs) as results:
            for path in paths:
                while path not in early:
                    full, result = next(results)
                    early[full.relative_to(self.root)] = result
                yield path, early.pop(path)

    def _record(self, path: Path, name: ParsedName, fingerprint: str, probe: Probe) -> None:
        """Write down a usable file as the item that its content, or else its path, makes it."""
        item = self.known.get(fingerprint)
        if item is None:
            item = self.by_path.get(path)
            if item and item.fingerprint in self.settled:
                item = None  # its content went elsewhere, and it with it
            if item:
                self.updated.add(item.id)
            else:
                self.added += 1
        state = self.walk.files[path]
        self.settled[fingerprint] = path
        with self.catalog.transaction():
            self.catalog.remove_set_aside(path)
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
        kind, key, text = name.kind, title_key(name.title, name.year), name.title
        kinds = [kind]
        if name.extra:  # of a film or show, whichever of the two has this name
            kinds += [TitleKind.SHOW if kind is TitleKind.MOVIE else TitleKind.MOVIE]
        elif (
            kind is TitleKind.MOVIE and name.year is None and probe.duration_seconds < CLIP_SECONDS
        ):
            kind, key = TitleKind.CLIP, os.fspath(path)
            kinds = [kind]
        title = self.catalog.find_title(key, kinds=kinds)
        if title is None:
            title = self.catalog.add_title(key, kind=kind, name=text, year=name.year)
        return title.id

    def _put_aside(
        self, path: Path, reason: str, fingerprint: str, *, same_as: Path | None = None
    ) -> None:
        state = self.walk.files[path]
        file = SetAsideFile(
            path=path,
            reason=reason,
            size_bytes=state.size_bytes,
            modified_ns=state.modified_ns,
            fingerprint=fingerprint,
            same_as=same_as,
        )
        if self.aside.get(path) != file:
            with self.catalog.transaction():
                self.catalog.put_set_aside(file)

    def _settle_vanished(self) -> None:
        with self.catalog.transaction():
            for item in self.known.values():
                gone = item.fingerprint not in self.settled and item.id not in self.updated
                if gone and not item.missing:
                    self.catalog.set_missing(item.id)
                    self.vanished += 1
            for path in self.aside:
                if path not in self.walk.files:
                    self.catalog.remove_set_aside(path)
            for path, reason in self.walk.refused.items():
                self.catalog.put_set_aside(SetAsideFile(path=path, reason=reason))
            self.catalog.remove_empty_titles()

    def result(self) -> ScanResult:
        """What the catalog says now."""
        items = self.catalog.items(include_extras=True)
        features = [item for item in items if item.extra is None]
        return ScanResult(
            titles=len(self.catalog.titles()),
            items=len(features),
            extras=len(items) - len(features),
            seconds=sum(item.probe.duration_seconds for item in features),
            skipped=tuple(self.catalog.set_aside()),
            added=self.added,
            updated=len(self.updated),
            renamed=self.renamed,
            unchanged=self.unchanged,
            vanished=self.vanished,
            ignored=self.walk.num_ignored,
            warnings=tuple(
                f"{readable(item.path)}: {warning}"
                for item in items
                for warning in item.probe.warnings
            ),
        )


def _state_of(file: Item | SetAsideFile) -> FileState | None:
    if file.size_bytes is None or file.modified_ns is None:
        return None
    return FileState(size_bytes=file.size_bytes, modified_ns=file.modified_ns)


def _probe_isolated(path: Path, tell: Callable[[float], None]) -> Probe:
    return probe_file(path)
