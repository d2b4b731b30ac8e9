"""The work of a scan: settle every file of a library as an item or as a file that is skipped.

An item follows its content. A file counts as unchanged only if its path, size and modification time
are as recorded; then it is not opened. Any other file is probed, and its content counts as known
only if the digest of all its bytes is that of an item (see `file_identity`).

A scan settles each file in one of these ways, in this order:

1. unchanged: path, size and time are as recorded; nothing is read.
2. new: no item resembles it. It is recorded at once, while the walk through the library goes on.
3. known content: all of its bytes are those of an item (a rename, a touch), or of a file that was
   settled before (a copy, which is skipped).
4. changed: it is the new content of the item at its path, or of an item that has gone and that it
   resembles.

A fault of the machine (an I/O error, a worker that was killed) and a file that is being written are
reported, and the next scan tries them again.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from toomuchtv._internal.progress import ProgressCallback
from toomuchtv._internal.subprocess_pool import Failure, run_isolated
from toomuchtv.catalog.database import InvalidRecordError
from toomuchtv.catalog.file_identity import FileState, full_digest, sampled_digest
from toomuchtv.catalog.known_items import KnownItems
from toomuchtv.catalog.names import TitleParser, printable
from toomuchtv.catalog.probe import probe_file
from toomuchtv.catalog.records import Item, Probe, SkippedFileRecord
from toomuchtv.catalog.store import Catalog
from toomuchtv.catalog.titles import find_or_add_title
from toomuchtv.catalog.walk import LibraryFiles, walk_library

R = TypeVar("R")

# A probe takes milliseconds. One that gives no sign of life for this long hangs.
_TIMEOUT_SECONDS = 60.0
# More than a decoder takes for the frames that it keeps of a video of 8192 x 4320 pixels.
_MEMORY_BYTES = 3 << 30
# The walk goes on for this long whenever a worker is free.
_WALK_SECONDS = 0.05
# A file that was modified more recently is examined last: it may still be being written.
_RECENT_NS = 5_000_000_000
_CHANGING = "it changed during the scan, as a file does that is still being written"


@dataclass(frozen=True, slots=True)
class _File:
    """A file that was examined and is not settled yet."""

    path: Path
    sampled_digest: str
    probe: Probe
    full_digest: str | None = None


class Scanner:
    """One scan of a library.

    Attributes:
        found: The files that the walk has found.
        added: Number of new items.
        updated: Number of items whose file has new content.
        renamed: Number of items whose content has a new path.
        unchanged: Number of items whose content and path have not changed.
        vanished: Number of items that were in the library before the scan and are not now.
    """

    def __init__(
        self,
        catalog: Catalog,
        root: Path,
        progress: ProgressCallback,
        *,
        follow_links: bool = False,
    ) -> None:
        self.catalog = catalog
        self.root = root
        self.follow_links = follow_links
        self.progress = progress
        self.found = LibraryFiles()
        self.items = KnownItems(catalog.items(include_extras=True, include_missing=True))
        self.skipped_before = {file.path: file for file in catalog.skipped_files()}
        self.parser = TitleParser(root.name)
        self.num_changed = self.num_done = 0
        self.added = self.updated = self.renamed = self.unchanged = self.vanished = 0

    def run(self, num_workers: int) -> None:
        """Settle every file that is found, and then everything that was not found again."""
        later: list[_File] = []
        for path, result in self._in_workers(_examine, self._changed_files(), num_workers):
            if isinstance(result, Failure) or self._has_changed(path):
                self._skip_failed(path, result)
                continue
            file = _File(path, *result)
            if self.items.like(file.sampled_digest) or self.items.at(path):
                later.append(file)
            else:
                self._record(file, None)
        self._settle_known(later, num_workers)
        self._settle_vanished_files()

    # ---- New files, while the walk goes on

    def _changed_files(self) -> Iterator[Path]:
        """Walk through the library, settle the files that have not changed, and yield the others.

        The walk is ahead of the work, so that the progress has a total, but never keeps it waiting.
        """
        walk = walk_library(self.root, self.found, follow_links=self.follow_links)
        changed: deque[Path] = deque()
        recent: list[Path] = []
        known: set[Path] = set()
        now_ns = time.time_ns()
        while True:
            until = time.monotonic() + _WALK_SECONDS
            for folder in walk:
                if folder.path not in known:
                    known.add(folder.path)
                    names = (path.name for path in folder.files)
                    self.parser.add_folder(folder.path, names, folder.subfolders)
                for path in folder.files:
                    if not self._settle_unchanged(path):
                        age_ns = abs(now_ns - self.found.files[path].modified_ns)
                        (recent if age_ns < _RECENT_NS else changed).append(path)
                        self.num_changed += 1
                if time.monotonic() > until:
                    break
            else:
                changed.extend(recent)
                recent.clear()
                if not changed:
                    return
            if changed:
                yield changed.popleft()

    def _settle_unchanged(self, path: Path) -> bool:
        """Settle a file if its path, size and time are as recorded, and return whether they are."""
        state = self.found.files[path]
        for item in self.items.at(path):
            if _state_of(item) == state:
                self.items.settled.add(item.id)
                self.unchanged += 1
                if item.missing:
                    self._put(replace(item, missing=False))
                if path in self.skipped_before:  # such as a link, before links were followed
                    with self.catalog.transaction():
                        self.catalog.remove_skipped_file(path)
                return True
        skipped = self.skipped_before.get(path)
        if skipped is None or _state_of(skipped) != state:
            return False
        if skipped.same_as is None:
            return True
        original = self.items.with_content(skipped.full_digest)
        return original is not None and self._is_in_place(original)

    def _in_workers(
        self,
        function: Callable[[Path, Callable[[float], None]], R],
        paths: Iterable[Path],
        num_workers: int,
    ) -> Iterator[tuple[Path, R | Failure]]:
        """Call a function for files in worker processes; yield the results in the order of `paths`.

        The fixed order makes the catalog independent of the number of workers.
        """
        submitted: deque[Path] = deque()

        def full_paths() -> Iterator[Path]:
            for path in paths:
                submitted.append(path)
                yield self.root / path

        def report(full_path: Path, num_bytes: float) -> None:
            what = f"{printable(full_path.name)}: {num_bytes / 1e6:,.0f} MB read"
            self.progress(self.num_done, self.num_changed, what)

        done: dict[Path, R | Failure] = {}
        jobs = run_isolated(
            function,
            full_paths(),
            num_workers=num_workers,
            silence_seconds=_TIMEOUT_SECONDS,
            memory_bytes=_MEMORY_BYTES,
            on_report=report,
        )
        with closing(jobs) as results:
            for full_path, result in results:
                done[full_path.relative_to(self.root)] = result
                while submitted and submitted[0] in done:
                    path = submitted.popleft()
                    yield path, done.pop(path)

    # ---- Files that resemble an item, or that are at the path of one

    def _settle_known(self, files: list[_File], num_workers: int) -> None:
        """Settle files that may be of an item."""
        rest = self._compare(files, num_workers)
        # There is no record of the content of these. Some keep the id of an item, but with a new
        # fingerprint, so that everything that was made from the old content is made again.
        for find in (self._find_moved, self._find_replaced):
            rest = [file for file in rest if not self._settle(file, find)]
        for file in rest:
            if not self._settle_by_content(file):
                self._record(file, None)

    def _compare(self, files: list[_File], num_workers: int) -> list[_File]:
        """Settle files whose whole content is that of an item, and return the others."""
        files = sorted(files, key=lambda file: self._find_touched(file) is None)
        frequency = Counter(file.sampled_digest for file in files)
        by_path = {
            file.path: file
            for file in files
            if frequency[file.sampled_digest] > 1 or self.items.like(file.sampled_digest)
        }
        rest = [file for file in files if file.path not in by_path]
        originals = {
            item.path: item
            for file in by_path.values()
            for item in self.items.like(file.sampled_digest)
            if item.id in self.items.settled and item.full_digest is None
        }
        # Files at the path of the item that they resemble come before the other ones. Otherwise a
        # copy of such a file would take over its item.
        for path, digest in self._in_workers(_digest_all, [*originals, *by_path], num_workers):
            if path in originals:
                if isinstance(digest, str) and self._is_in_place(originals[path]):
                    self._put(replace(originals[path], full_digest=digest))
                continue
            if isinstance(digest, Failure) or self._has_changed(path):
                self._skip_failed(path, digest)
                continue
            file = replace(by_path[path], full_digest=digest)
            touched = self._find_touched(file)
            if self._settle_by_content(file):
                continue
            if touched is not None and touched.full_digest is None:
                self._record(file, touched)
            else:
                rest.append(file)
        return rest

    def _settle(self, file: _File, find: Callable[[_File], Item | None]) -> bool:
        """Settle a file as an item with its content, or as the item that `find` returns."""
        if self._settle_by_content(file):
            return True
        item = find(file)
        if item is not None:
            self._record(file, item)
        return item is not None

    def _settle_by_content(self, file: _File) -> bool:
        """Settle a file if all of its content is that of an item, and return whether it is."""
        item = self.items.with_content(file.full_digest)
        if item is None:
            return False
        if item.id not in self.items.settled:
            self._record(file, item)
        else:
            self._skip(
                file.path,
                f"same content as {printable(item.path)}",
                state=self.found.files[file.path],
                same_as=item.path,
                digest=file.full_digest,
            )
        return True

    def _find_touched(self, file: _File) -> Item | None:
        """Return the item that had this path and that the file resembles."""
        at = self.items.at(file.path)
        return next((item for item in at if item.sampled_digest == file.sampled_digest), None)

    def _find_moved(self, file: _File) -> Item | None:
        """Return an item that has gone, that the file resembles, and that was never read whole."""
        like = (i for i in self.items.like(file.sampled_digest) if i.id not in self.items.settled)
        return next((item for item in like if item.full_digest is None), None)

    def _find_replaced(self, file: _File) -> Item | None:
        """Return the item that had this path."""
        return next(iter(self.items.at(file.path)), None)

    # ---- The state of files

    def _has_changed(self, path: Path) -> bool:
        """Return whether a file is no longer as the walk found it."""
        return state_at(self.root / path) != self.found.files[path]

    def _is_in_place(self, item: Item) -> bool:
        """Return whether the file of an item is as recorded."""
        return state_at(self.root / item.path) == _state_of(item)

    # ---- Records

    def _record(self, file: _File, item: Item | None) -> None:
        """Record a usable file as an item, or as a new one."""
        path, state, name = file.path, self.found.files[file.path], self.parser.parse(file.path)
        is_same = item is not None and item.full_digest == file.full_digest is not None
        new = Item(
            id=item.id if item else 0,
            title_id=0,
            path=path,
            season=name.season,
            episode=name.episode,
            extra=name.extra,
            size_bytes=state.size_bytes,
            modified_ns=state.modified_ns,
            fingerprint=(
                item.fingerprint if item and is_same else file.full_digest or file.sampled_digest
            ),
            sampled_digest=file.sampled_digest,
            full_digest=file.full_digest,
            missing=False,
            probe=file.probe,
        )
        try:
            with self.catalog.transaction():
                self.catalog.remove_skipped_file(path)
                seconds = file.probe.duration_seconds
                # Only for now: the whole scan decides about titles (`assign_catalog_titles`).
                title_id = find_or_add_title(self.catalog, path, name, seconds)
                new = replace(new, title_id=title_id)
                new = replace(new, id=self.catalog.put_item(new))
        except InvalidRecordError as error:
            self._skip(path, f"it cannot be recorded: {error}")
            return
        self.items.put(new)
        self.items.settled.add(new.id)
        if item is None:
            self.added += 1
        elif item.path != path:
            self.renamed += 1
        elif is_same:
            self.unchanged += 1
        else:
            self.updated += 1
        self._advance(path)

    def _put(self, item: Item) -> None:
        with self.catalog.transaction():
            self.catalog.put_item(item)
        self.items.put(item)

    def _skip_failed(self, path: Path, result: object) -> None:
        """Skip a file that cannot be read, or that has changed since the walk found it."""
        if self._has_changed(path):
            self._skip(path, _CHANGING)
        elif isinstance(result, Failure):
            # Only a fault of the content is recorded with the state of the file, and is believed
            # as long as that stays the same.
            state = self.found.files[path] if result.is_of_input else None
            self._skip(path, result.reason, state=state)

    def _skip(
        self,
        path: Path,
        reason: str,
        *,
        state: FileState | None = None,
        same_as: Path | None = None,
        digest: str | None = None,
    ) -> None:
        file = SkippedFileRecord(
            path=path,
            reason=printable(reason),
            size_bytes=state.size_bytes if state else None,
            modified_ns=state.modified_ns if state else None,
            same_as=same_as,
            full_digest=digest,
        )
        if self.skipped_before.get(path) != file:
            with self.catalog.transaction():
                self.catalog.put_skipped_file(file)
        self._advance(path)

    def _advance(self, path: Path) -> None:
        self.num_done += 1
        self.progress(self.num_done, self.num_changed, printable(path))

    def _settle_vanished_files(self) -> None:
        with self.catalog.transaction():
            for item in self.items.by_id.values():
                if item.id not in self.items.settled and not item.missing:
                    self.catalog.set_missing(item.id)
                    self.vanished += 1
            for path in self.skipped_before:
                if path not in self.found.files:
                    self.catalog.remove_skipped_file(path)
            for path, reason in self.found.unusable.items():
                self.catalog.put_skipped_file(
                    SkippedFileRecord(path=path, reason=printable(reason))
                )


def _state_of(file: Item | SkippedFileRecord) -> FileState | None:
    if file.size_bytes is None or file.modified_ns is None:
        return None
    return FileState(size_bytes=file.size_bytes, modified_ns=file.modified_ns)


def state_at(path: Path) -> FileState | None:
    """Return the state of a file, or None if it is not there or cannot be examined."""
    try:
        return FileState.of(path.stat())
    except OSError:
        return None


# ---- Functions that run in worker processes


def _examine(path: Path, report: Callable[[float], None]) -> tuple[str, Probe]:
    """Return the sampled digest and the probe of a file."""
    digest = sampled_digest(path, path.stat().st_size)
    report(0)
    return digest, probe_file(path, report)


def _digest_all(path: Path, report: Callable[[float], None]) -> str:
    """Return the digest of all bytes of a file."""
    return full_digest(path, report)
