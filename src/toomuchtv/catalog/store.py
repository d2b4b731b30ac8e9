"""The catalog: our record of a library, one SQLite file in a folder of its own."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from toomuchtv.catalog import detections as findings
from toomuchtv.catalog.moments import read_proxy_clip
from toomuchtv.catalog.records import (
    AudioTrack,
    Duplicate,
    Item,
    Proxy,
    Segment,
    SkippedFile,
    Title,
    TitleKind,
)
from toomuchtv.catalog.rows import (
    SetAsideFile,
    read_item,
    read_path,
    read_proxy,
    read_set_aside,
    read_title,
    read_track,
    write_item,
    write_proxy,
    write_proxy_audio,
    write_set_aside,
    write_track,
)
from toomuchtv.catalog.schema import connect
from toomuchtv.catalog.snapshot import SEGMENT_KINDS, CatalogSnapshot, read_snapshot
from toomuchtv.errors import CatalogError
from toomuchtv.media.clip import Clip, ClipFormat

_LOCK_NAME = "lock"


class Catalog:
    """An open catalog. A context manager; made by `open_catalog`.

    Any number of processes may read while one writes; writers take turns by `writing`. What is
    returned are plain records that stay valid after `close`.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    # ---- Reading

    @property
    def library(self) -> Path:
        """The root folder of the library; item paths are relative to it.

        Raises:
            CatalogError: if no library was scanned into this catalog yet.
        """
        rows = self._all("SELECT root FROM library")
        if not rows:
            raise CatalogError(f"the catalog in {self.folder} is empty: no library was scanned yet")
        return read_path(rows[0]["root"])

    def titles(self) -> list[Title]:
        """The titles that have a present item which is not an extra, by name, year and id."""
        rows = self._all(
            "SELECT * FROM titles WHERE id IN "
            "(SELECT title_id FROM items WHERE NOT missing AND extra IS NULL) "
            "ORDER BY name, year, id"
        )
        return [read_title(row) for row in rows]

    def title(self, title_id: int) -> Title:
        """One title.

        Raises:
            CatalogError: if there is none with this id.
        """
        rows = self._all("SELECT * FROM titles WHERE id = ?", title_id)
        if not rows:
            raise CatalogError(f"no title {title_id} in the catalog {self.folder}")
        return read_title(rows[0])

    def items(self, *, include_extras: bool = False, include_missing: bool = False) -> list[Item]:
        """The items, by path: the same library gives the same order whatever its history."""
        rows = self._all(
            "SELECT * FROM items WHERE (? OR extra IS NULL) AND (? OR NOT missing) "
            "ORDER BY path, id",
            include_extras,
            include_missing,
        )
        tracks: dict[int, list[AudioTrack]] = {}
        for track in self._all("SELECT * FROM audio_tracks ORDER BY item_id, track"):
            tracks.setdefault(track["item_id"], []).append(read_track(track))
        return [read_item(row, tracks.get(row["id"], [])) for row in rows]

    def item(self, item_id: int) -> Item:
        """One item, extra and missing ones too.

        Raises:
            CatalogError: if there is none with this id.
        """
        rows = self._all("SELECT * FROM items WHERE id = ?", item_id)
        if not rows:
            raise CatalogError(f"no item {item_id} in the catalog {self.folder}")
        tracks = self._all("SELECT * FROM audio_tracks WHERE item_id = ? ORDER BY track", item_id)
        return read_item(rows[0], [read_track(track) for track in tracks])

    def source_path(self, item: Item) -> Path:
        """Where the item's file is."""
        return self.library / item.path

    def set_aside(self) -> list[SkippedFile]:
        """What the last scan could not use, and why, by path."""
        return [SkippedFile(path=file.path, reason=file.reason) for file in self.set_aside_files()]

    def set_aside_files(self) -> list[SetAsideFile]:
        """The same with what a scan needs to recognize the files."""
        rows = self._all("SELECT * FROM set_aside ORDER BY path")
        return [read_set_aside(row) for row in rows]

    def proxies(self) -> dict[int, Proxy]:
        """The recorded proxies by item id, those of missing or changed items too."""
        sounds: dict[int, list[sqlite3.Row]] = {}
        for row in self._all("SELECT * FROM proxy_audio ORDER BY item_id, position"):
            sounds.setdefault(row["item_id"], []).append(row)
        return {
            row["item_id"]: read_proxy(row, sounds.get(row["item_id"], ()))
            for row in self._all("SELECT * FROM proxies ORDER BY item_id")
        }

    def segments(self, item_id: int | None = None) -> list[Segment]:
        """The segments of one item, or of all at once, by item and start."""
        sql, value = findings.select_segments(item_id)
        return [Segment(**dict(row)) for row in self._all(sql, value)]

    def duplicates(self) -> list[Duplicate]:
        """What items of different titles share, by item ids and start."""
        return [Duplicate(**dict(row)) for row in self._all(findings.select_duplicates())]

    def title_duplicates(self) -> list[tuple[int, int]]:
        """Pairs of titles, the smaller id first, with present items that share a stretch."""
        rows = self._all(
            "SELECT DISTINCT MIN(a.title_id, b.title_id) AS one, "
            "MAX(a.title_id, b.title_id) AS two FROM duplicates "
            "JOIN items a ON a.id = item_id JOIN items b ON b.id = other_item_id "
            "WHERE a.title_id <> b.title_id AND NOT a.missing AND NOT b.missing ORDER BY one, two"
        )
        return [(row["one"], row["two"]) for row in rows]

    def analyses(self) -> dict[str, str]:
        """What the findings of each scope (`item 5`, `title 2`, `catalog`) were found from."""
        return dict(map(tuple, self._all("SELECT scope, source FROM analyses")))

    # ---- For training

    def snapshot(self, *, segment_kinds: Collection[str] = SEGMENT_KINDS) -> CatalogSnapshot:
        """What sampling needs to know of every prepared item, as arrays.

        Args:
            segment_kinds: Which kinds of segments to take along.
        """
        try:
            return read_snapshot(self._connection, segment_kinds=segment_kinds)
        except sqlite3.Error as error:
            raise CatalogError(f"cannot read the catalog {self.folder}: {error}") from error

    def clip(
        self, item_id: int, start_seconds: float, clip_format: ClipFormat | None = None
    ) -> Clip:
        """Read a clip from an item's proxy: whole frames, RGB.

        The start is moved back to the proxy's frame grid; the clip says where it really is.

        Args:
            item_id: The item.
            start_seconds: When frame 0 is shown.
            clip_format: Frames and sound; the proxy's rates must fit it.

        Raises:
            CatalogError: There is no such item, or it has no proxy.
            MediaError: The proxy is damaged, or ends before.
            ValueError: The proxy's rates do not fit the format.
        """
        proxy = self.proxies().get(self.item(item_id).id)
        if proxy is None:
            raise CatalogError(f"item {item_id} has no proxy yet: run `toomuchtv prepare`")
        return read_proxy_clip(self.folder, proxy, start_seconds, clip_format or ClipFormat())

    # ---- Writing

    @contextmanager
    def writing(self) -> Generator[None]:
        """Be the catalog's one writer; the lock goes with the process, however that ends.

        Raises:
            CatalogError: at once, if another writer is at work, naming its process.
        """
        try:
            lock = os.open(self.folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise CatalogError(f"cannot write to the catalog {self.folder}: {error}") from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
                raise CatalogError(
                    f"the catalog {self.folder} is being written by process {holder}; wait until "
                    "it is done, or stop it"
                ) from error
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def transaction(self) -> Generator[None]:
        """All of the block's changes or, if it raises or is killed, none."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._connection.in_transaction:  # a full disk has rolled it back already
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise CatalogError(f"cannot write to the catalog {self.folder}: {error}") from error

    def set_library(self, root: Path) -> None:
        """Say where the library is."""
        with self.transaction():
            self._connection.execute("DELETE FROM library")
            self._connection.execute("INSERT INTO library VALUES (?)", [os.fsencode(root)])

    def find_title(self, key: str, *, kinds: Iterable[TitleKind]) -> Title | None:
        """The title with this key of the first of the kinds that has one."""
        for kind in kinds:
            rows = self._all(
                "SELECT * FROM titles WHERE kind = ? AND key = ?", kind.value, os.fsencode(key)
            )
            if rows:
                return read_title(rows[0])
        return None

    def add_title(self, key: str, *, kind: TitleKind, name: str, year: int | None) -> Title:
        """Add a title; call inside `transaction`."""
        added = self._connection.execute(
            "INSERT INTO titles (kind, name, year, key) VALUES (?, ?, ?, ?)",
            [kind.value, name, year, os.fsencode(key)],
        )
        return Title(id=_row_id(added), kind=kind, name=name, year=year)

    def put_item(self, item: Item) -> int:
        """Add an item (id 0) or replace all that is known of one; call inside `transaction`.

        Segments and duplicates of content that is no longer there go. The proxy's record stays:
        its fingerprint says what it was made from.
        """
        row = write_item(item)
        if item.id:
            if self.item(item.id).fingerprint != item.fingerprint:
                findings.forget_item(self._connection, item.id)
            columns = ", ".join(f"{name} = ?" for name in row)
            self._connection.execute(
                f"UPDATE items SET {columns} WHERE id = ?", [*row.values(), item.id]
            )
            item_id = item.id
        else:
            item_id = self._insert("items", row)
        self._connection.execute("DELETE FROM audio_tracks WHERE item_id = ?", [item_id])
        for track in item.probe.audio_tracks:
            self._insert("audio_tracks", {"item_id": item_id, **write_track(track)})
        return item_id

    def set_missing(self, item_id: int) -> None:
        """Mark an item as not in the library now; call inside `transaction`."""
        self._connection.execute("UPDATE items SET missing = 1 WHERE id = ?", [item_id])

    def put_set_aside(self, file: SetAsideFile) -> None:
        """Record a file set aside; call inside `transaction`."""
        self._insert("set_aside", write_set_aside(file), replace=True)

    def remove_set_aside(self, path: Path) -> None:
        """Forget that a file was set aside; call inside `transaction`."""
        self._connection.execute("DELETE FROM set_aside WHERE path = ?", [os.fsencode(path)])

    def remove_empty_titles(self) -> None:
        """Forget titles whose items all went to others; call inside `transaction`."""
        self._connection.execute("DELETE FROM titles WHERE id NOT IN (SELECT title_id FROM items)")

    def record_proxy(self, proxy: Proxy) -> None:
        """Record an item's proxy, in place of an earlier one."""
        with self.transaction():
            self._insert("proxies", write_proxy(proxy), replace=True)
            for row in write_proxy_audio(proxy):
                self._insert("proxy_audio", row)

    def remove_proxy(self, item_id: int) -> None:
        """Forget an item's proxy, if it has one; its files are the caller's to delete."""
        with self.transaction():
            self._connection.execute("DELETE FROM proxies WHERE item_id = ?", [item_id])

    def replace_segments(
        self, item_id: int, kinds: Iterable[str], segments: Iterable[Segment]
    ) -> None:
        """Put `segments` in place of all that the item has of these kinds.

        Equal recurrence numbers stay equal, but each becomes one that the catalog did not have.

        Raises:
            ValueError: if a segment is of another item or kind, or does not run forward.
        """
        kinds, segments = set(kinds), list(segments)
        findings.check_segments([item_id], kinds, segments)
        with self.transaction():
            findings.put_segments(self._connection, [item_id], kinds, segments)

    def record_segments(
        self,
        scope: str,
        source: str,
        item_ids: Iterable[int],
        kinds: Iterable[str],
        segments: Iterable[Segment],
    ) -> None:
        """Replace the segments of several items at once, and note what they were found from.

        Raises:
            ValueError: as `replace_segments`.
        """
        item_ids, kinds, segments = set(item_ids), set(kinds), list(segments)
        findings.check_segments(item_ids, kinds, segments)
        with self.transaction():
            findings.put_segments(self._connection, item_ids, kinds, segments)
            findings.put_source(self._connection, scope, source)

    def record_duplicates(self, source: str, duplicates: Iterable[Duplicate]) -> None:
        """Replace all duplicates, and note what they were found from."""
        with self.transaction():
            findings.put_duplicates(self._connection, duplicates)
            findings.put_source(self._connection, "catalog", source)

    def _all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        # All rows at once: a half-read answer would hold the log that writers want to shorten.
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise CatalogError(f"cannot read the catalog {self.folder}: {error}") from error

    def _insert(self, table: str, row: dict[str, Any], *, replace: bool = False) -> int:
        verb = "INSERT OR REPLACE" if replace else "INSERT"
        marks = ", ".join("?" for _ in row)
        return _row_id(
            self._connection.execute(
                f"{verb} INTO {table} ({', '.join(row)}) VALUES ({marks})",
                list(row.values()),
            )
        )


def open_catalog(path: str | os.PathLike[str], *, create: bool = False) -> Catalog:
    """Open the catalog in folder `path`, or begin one there.

    Raises:
        CatalogError: if there is none (and `create` is off), if it is no catalog, or if a newer
            version of this package wrote it.
    """
    folder = Path(path)
    return Catalog(folder, connect(folder, create=create))


def _row_id(cursor: sqlite3.Cursor) -> int:
    assert cursor.lastrowid is not None  # an INSERT has always one
    return cursor.lastrowid
