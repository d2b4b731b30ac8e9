"""The catalog: our record of a library, stored in one SQLite file in a folder of its own."""

from __future__ import annotations

import functools
import os
import sqlite3
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from toomuchtv.catalog.database import (
    DATABASE_NAME,
    InvalidRecordError,
    connect,
    insert,
    item_of,
    path_of,
    read_proxies,
    record_of,
    row_of,
    row_of_item,
    title_of,
    write_lock,
    write_proxy,
)
from toomuchtv.catalog.proxies import read_proxy_clip
from toomuchtv.catalog.records import (
    CatalogSize,
    Duplicate,
    Item,
    ItemLabel,
    Proxy,
    Segment,
    SkippedFileRecord,
    Title,
    TitleKind,
)
from toomuchtv.catalog.seal import REMEDY, break_seal, put_seal
from toomuchtv.catalog.segment_table import read_counts, read_segments, write_segments
from toomuchtv.catalog.snapshot import CatalogSnapshot, read_snapshot
from toomuchtv.errors import CatalogError
from toomuchtv.media.clip import Clip, ClipFormat

R = TypeVar("R")
# What the conversion of a damaged row to a record may raise.
_DAMAGED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class Catalog:
    """An open catalog. It is a context manager and is made by `open_catalog`.

    Any number of processes may read while one writes; `writing` makes sure that there is one writer
    at most. All methods return plain records that stay valid after `close`.

    Attributes:
        folder: The catalog's folder. Paths of proxies are relative to it.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._database = folder / DATABASE_NAME
        self._connection = connection
        self._has_changed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    # ---- Reading

    @property
    def library(self) -> Path:
        """The root folder of the library. Paths of items are relative to it.

        Raises:
            CatalogError: No library was scanned into this catalog yet.
        """
        roots = self._all(lambda row: path_of(row["root"]), "SELECT root FROM library")
        if not roots:
            raise CatalogError(f"the catalog in {self.folder} is empty: no library was scanned yet")
        return roots[0]

    def size(self) -> CatalogSize:
        """Return how much is in the library, without extras. It takes little time."""
        return self._all(
            functools.partial(record_of, CatalogSize),
            "SELECT count(DISTINCT title_id) AS titles, count(*) AS items, "
            "coalesce(sum(json_extract(probe, '$.duration_seconds')), 0.0) AS seconds "
            "FROM items WHERE NOT missing AND extra IS NULL",
        )[0]

    def titles(self) -> list[Title]:
        """Return all titles that have a feature (not only extras) in the library.

        They are sorted by name, year and id.
        """
        return self._all(
            title_of,
            "SELECT * FROM titles WHERE id IN "
            "(SELECT title_id FROM items WHERE NOT missing AND extra IS NULL) "
            "ORDER BY name, year, id",
        )

    def title(self, title_id: int) -> Title:
        """Return one title.

        Raises:
            CatalogError: There is no title with this id.
        """
        titles = self._all(title_of, "SELECT * FROM titles WHERE id = ?", title_id)
        if not titles:
            raise CatalogError(f"no title {title_id} in the catalog {self.folder}")
        return titles[0]

    def items(self, *, include_extras: bool = False, include_missing: bool = False) -> list[Item]:
        """Return the items by path, so that the order does not depend on the catalog's history.

        Args:
            include_extras: Include trailers, featurettes and other extras.
            include_missing: Include items that were not in the library at the last scan.
        """
        return self._all(
            item_of,
            "SELECT * FROM items WHERE (? OR extra IS NULL) AND (? OR NOT missing) "
            "ORDER BY path, id",
            include_extras,
            include_missing,
        )

    def item_labels(self) -> list[ItemLabel]:
        """Return what names each item, by path, without extras and missing items.

        It is read many times faster than the items, whose probes are parsed.
        """
        return self._all(
            lambda row: ItemLabel(*row),
            "SELECT id, title_id, season, episode, fingerprint FROM items "
            "WHERE extra IS NULL AND NOT missing ORDER BY path, id",
        )

    def item(self, item_id: int) -> Item:
        """Return one item, which may be an extra or missing.

        Raises:
            CatalogError: There is no item with this id.
        """
        items = self._all(item_of, "SELECT * FROM items WHERE id = ?", item_id)
        if not items:
            raise CatalogError(f"no item {item_id} in the catalog {self.folder}")
        return items[0]

    def source_path(self, item: Item) -> Path:
        """Return the absolute path of an item's file in the library."""
        return self.library / item.path

    def corrected_paths(self) -> dict[int, Path]:
        """Return the paths by which corrections of the owner name items, by item id."""
        sql = "SELECT item_id, path FROM corrected_paths"
        return dict(self._all(lambda row: (row["item_id"], path_of(row["path"])), sql))

    def skipped_files(self) -> list[SkippedFileRecord]:
        """Return the files that the last scan could not use, by path."""
        convert = functools.partial(record_of, SkippedFileRecord)
        return self._all(convert, "SELECT * FROM skipped_files ORDER BY path")

    def proxies(self, *, include_stale: bool = False) -> dict[int, Proxy]:
        """Return the proxies by item id.

        A proxy is stale if its item's file has changed since the proxy was made, that is, if the
        fingerprints of the item and of the proxy differ. Stale proxies are not returned, because
        they show the old content. Items that are missing from the library keep their proxies.

        Args:
            include_stale: Include stale proxies. Only `prepare`, which replaces them, wants this.
        """
        with self._reading():
            proxies = read_proxies(self._connection, include_stale=include_stale)
        return {proxy.item_id: proxy for proxy in proxies}

    def proxy(self, item_id: int) -> Proxy:
        """Return the proxy of one item. It is never stale, see `proxies`.

        Raises:
            CatalogError: There is no such item, or it has no proxy of its present content.
        """
        with self._reading():
            found = read_proxies(self._connection, item_id)
        if not found:
            item = self.item(item_id)
            raise CatalogError(
                f"item {item_id} ({item.path}) has no proxy of its present content: run "
                "`toomuchtv prepare`"
            )
        return found[0]

    def segments(self, item_id: int | None = None) -> list[Segment]:
        """Return the segments of one item, or of all items, sorted by item and start."""
        with self._reading():
            return read_segments(self._connection, item_id)

    def recurring_segments(self) -> list[Segment]:
        """Return the segments that have a recurrence number, sorted by item and start."""
        with self._reading():
            return read_segments(self._connection, only_recurring=True)

    def segment_counts(self) -> dict[int, dict[str, int]]:
        """Return the number of segments of each kind, by item id. No segment is read for it."""
        with self._reading():
            return read_counts(self._connection)

    def duplicates(self) -> list[Duplicate]:
        """Return the intervals that items of different titles share, sorted by all their fields."""
        convert = functools.partial(record_of, Duplicate)
        return self._all(convert, "SELECT * FROM duplicates ORDER BY 1, 2, 3, 4, 5")

    def title_duplicates(self) -> list[tuple[int, int]]:
        """Return pairs of title ids, smaller id first, whose present items share an interval."""
        return self._all(
            lambda row: (row[0], row[1]),
            "SELECT DISTINCT MIN(a.title_id, b.title_id), MAX(a.title_id, b.title_id) "
            "FROM duplicates JOIN items a ON a.id = item_id JOIN items b ON b.id = other_item_id "
            "WHERE a.title_id <> b.title_id AND NOT a.missing AND NOT b.missing ORDER BY 1, 2",
        )

    def detection_sources(self) -> dict[str, str]:
        """Return the digest of what was searched, for each scope (`item 5`, `title 2`, `catalog`).

        Detection of a scope is up to date if its present digest equals the recorded one.
        """
        return dict(self._all(lambda row: (row[0], row[1]), "SELECT scope, source FROM detections"))

    def snapshot(self, *, kinds: Collection[str] | None = None) -> CatalogSnapshot:
        """Return arrays with everything that sampling needs about the prepared items.

        Args:
            kinds: The kinds of segments to read; None for all. Nearly all segments are shots, so
                that large catalogs are read much faster without them.
        """
        with self._reading():
            return read_snapshot(self._connection, kinds)

    def clip(
        self, item_id: int, start_seconds: float, clip_format: ClipFormat | None = None
    ) -> Clip:
        """Read one clip of an item from its proxy.

        Args:
            item_id: The item.
            start_seconds: Time of the first frame. It is rounded down to a frame of the proxy.
            clip_format: Format of the clip. The proxy's frame rate must be a multiple of the
                clip's frame rate and the sample rates must be equal. Defaults to `ClipFormat()`.

        Raises:
            CatalogError: There is no such item, or it has no proxy of its present content.
            MediaError: The proxy is damaged or ends before the clip does.
            ValueError: The start is negative or the proxy's rates do not fit the format.
        """
        proxy = self.proxy(item_id)
        return read_proxy_clip(self.folder, proxy, start_seconds, clip_format or ClipFormat())

    # ---- Writing

    @contextmanager
    def writing(self) -> Generator[None]:
        """Hold the catalog's write lock. The lock ends with the process, however that ends.

        Raises:
            CatalogError: Another process holds the lock. The message has its process id.
        """
        with write_lock(self.folder):
            try:
                yield
            finally:
                # Without a checksum the catalog is good, but damage to it may go unseen.
                with suppress(OSError, sqlite3.Error):
                    if self._has_changed:
                        put_seal(self._database, self._connection)
                        self._has_changed = False

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Commit all changes of the block, or none of them if it raises or the process dies."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                break_seal(self._database)
                self._has_changed = True
                yield
            except BaseException:
                # On a full disk SQLite has already rolled back by itself.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        except (OverflowError, UnicodeError, sqlite3.DataError, sqlite3.IntegrityError) as error:
            raise InvalidRecordError(str(error)) from error
        except (OSError, sqlite3.Error) as error:
            raise CatalogError(f"cannot write to the catalog {self.folder}: {error}") from error

    def set_library(self, root: Path) -> None:
        """Record the root folder of the library."""
        with self.transaction():
            self._connection.execute("DELETE FROM library")
            insert(self._connection, "library", {"root": os.fsencode(root)})

    def find_title(self, key: str, *, kinds: Iterable[TitleKind]) -> Title | None:
        """Return the title with this key, of the first kind that has one, or None."""
        for kind in kinds:
            titles = self._all(
                title_of,
                "SELECT * FROM titles WHERE kind = ? AND key = ?",
                kind.value,
                os.fsencode(key),
            )
            if titles:
                return titles[0]
        return None

    def add_title(self, key: str, *, kind: TitleKind, name: str, year: int | None) -> Title:
        """Add a title and return it. Call this inside `transaction`."""
        row = {"kind": kind.value, "name": name, "year": year, "key": os.fsencode(key)}
        return Title(id=insert(self._connection, "titles", row), kind=kind, name=name, year=year)

    def put_item(self, item: Item) -> int:
        """Add an item (id 0), or replace the record of one. Call this inside `transaction`.

        If the content has changed, the segments and duplicates of the old content are removed, and
        so are the digests of the searches that found them: they must run again even if the file is
        restored later. The record of the proxy stays, because `prepare` needs it to delete the
        files; its fingerprint marks it as stale.

        If the title has changed, the digests of the searches in both titles are removed: in the
        meantime, a search in one title replaces what a search in the other one has found.

        Returns:
            The id of the item.
        """
        row = row_of_item(item)
        if not item.id:
            return insert(self._connection, "items", row)
        old = self.item(item.id)
        run = self._connection.execute
        if old.title_id != item.title_id:
            titles = [f"title {old.title_id}", f"title {item.title_id}"]
            run("DELETE FROM detections WHERE scope IN (?, ?)", titles)
        if old.fingerprint != item.fingerprint:
            run("DELETE FROM segments WHERE item_id = ?", [item.id])
            run("DELETE FROM duplicates WHERE item_id = ?1 OR other_item_id = ?1", [item.id])
            scopes = [f"item {item.id}", f"title {old.title_id}", "catalog"]
            run("DELETE FROM detections WHERE scope IN (?, ?, ?)", scopes)
        columns = ", ".join(f"{name} = ?" for name in row)
        run(f"UPDATE items SET {columns} WHERE id = ?", [*row.values(), item.id])
        return item.id

    def put_corrected_path(self, item_id: int, path: Path | None) -> None:
        """Record the path by which a correction names an item. Call this inside `transaction`."""
        if path is None:
            self._connection.execute("DELETE FROM corrected_paths WHERE item_id = ?", [item_id])
        else:
            row = {"item_id": item_id, "path": os.fsencode(path)}
            insert(self._connection, "corrected_paths", row, replace=True)

    def set_missing(self, item_id: int) -> None:
        """Mark an item as missing from the library. Call this inside `transaction`."""
        self._connection.execute("UPDATE items SET missing = 1 WHERE id = ?", [item_id])

    def put_skipped_file(self, file: SkippedFileRecord) -> None:
        """Record a skipped file. Call this inside `transaction`."""
        insert(self._connection, "skipped_files", row_of(file), replace=True)

    def remove_skipped_file(self, path: Path) -> None:
        """Remove the record of a skipped file, if any. Call this inside `transaction`."""
        self._connection.execute("DELETE FROM skipped_files WHERE path = ?", [os.fsencode(path)])

    def remove_empty_titles(self) -> None:
        """Remove titles whose items now belong to other titles. Call this inside `transaction`."""
        self._connection.execute("DELETE FROM titles WHERE id NOT IN (SELECT title_id FROM items)")

    def record_proxy(self, proxy: Proxy, *, full_digest: str | None = None) -> None:
        """Record the proxy of an item, in place of an earlier one.

        Args:
            proxy: The proxy.
            full_digest: Digest of all bytes of the item's file, if it was computed.
        """
        with self.transaction():
            write_proxy(self._connection, proxy)
            if full_digest is not None:
                self._connection.execute(
                    "UPDATE items SET full_digest = ? WHERE id = ?", [full_digest, proxy.item_id]
                )

    def record_segments(
        self,
        scope: str,
        source: str,
        item_ids: Iterable[int],
        kinds: Iterable[str],
        segments: Iterable[Segment],
    ) -> None:
        """Record the result of detection in a scope, in place of its earlier result.

        Args:
            scope: What was searched: `item 5` or `title 2`.
            source: Digest of what was searched, see `detection_sources`.
            item_ids: The items that were searched.
            kinds: The kinds of segments that were searched for. All segments of these kinds in
                these items are replaced.
            segments: The segments that were found. Segments with equal recurrence numbers keep
                equal numbers, but every number is replaced by one that is new to the catalog.

        Raises:
            ValueError: There is no such kind, a segment belongs to another item or kind, or its
                interval is not valid.
        """
        with self.transaction():
            write_segments(self._connection, set(item_ids), set(kinds), segments)
            self._record_source(scope, source)

    def record_duplicates(self, source: str, duplicates: Iterable[Duplicate]) -> None:
        """Record duplicates in place of all earlier ones.

        Args:
            source: Digest of what was searched, see `detection_sources`.
            duplicates: The duplicates that were found.
        """
        with self.transaction():
            self._connection.execute("DELETE FROM duplicates")
            for duplicate in duplicates:
                insert(self._connection, "duplicates", row_of(duplicate))
            self._record_source("catalog", source)

    def _record_source(self, scope: str, source: str) -> None:
        row = {"scope": scope, "source": source}
        insert(self._connection, "detections", row, replace=True)

    def _all(self, convert: Callable[[sqlite3.Row], R], sql: str, *values: Any) -> list[R]:
        # Rows are fetched all at once: an open cursor would keep the write-ahead log from being
        # shortened.
        with self._reading():
            return [convert(row) for row in self._connection.execute(sql, values).fetchall()]

    @contextmanager
    def _reading(self) -> Generator[None]:
        """Let all queries of the block see one state of the catalog, also while another writes."""
        try:
            if self._connection.in_transaction:  # a writer reads its own changes
                yield
                return
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                with suppress(sqlite3.OperationalError):  # an error may have ended it
                    self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise CatalogError(f"cannot read the catalog {self.folder}: {error}") from error
        except _DAMAGED as error:
            raise CatalogError(
                f"the catalog {self._database} is damaged ({type(error).__name__}: {error}): "
                f"{REMEDY}"
            ) from error


def open_catalog(path: str | os.PathLike[str], *, create: bool = False) -> Catalog:
    """Open the catalog in a folder.

    Args:
        path: The catalog's folder.
        create: Make the folder and an empty catalog if they do not exist.

    Raises:
        CatalogError: There is no catalog (and `create` is off), the database is not a catalog, or
            another version of this package wrote it.
    """
    folder = Path(path)
    return Catalog(folder, connect(folder, create=create))


@contextmanager
def as_open_catalog(catalog: Catalog | str | os.PathLike[str]) -> Generator[Catalog]:
    """Yield a catalog that is open. If a folder is given, close it afterwards."""
    if isinstance(catalog, Catalog):
        yield catalog
    else:
        with open_catalog(catalog) as opened:
            yield opened
