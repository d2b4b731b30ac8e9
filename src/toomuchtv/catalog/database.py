"""The SQLite database of a catalog: its tables, how it is opened, and rows as records.

Paths are stored as the bytes that the file system has (BLOB), because they need not be valid text.
"""

from __future__ import annotations

import fcntl
import functools
import json
import logging
import os
import sqlite3
import time
from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from toomuchtv.catalog.records import (
    AudioTrack,
    Item,
    Probe,
    Proxy,
    ProxyAudio,
    Title,
    TitleKind,
    VideoStream,
)
from toomuchtv.catalog.seal import REMEDY, break_seal, check_seal, has_seal, put_seal
from toomuchtv.catalog.segment_table import SEGMENT_SCHEMA, upgrade_segments
from toomuchtv.errors import CatalogError
from toomuchtv.media.damage import DamagedInterval

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")

_log = logging.getLogger(__name__)


class InvalidRecordError(CatalogError):
    """The database refuses a record, whose values it cannot store."""


#: Version of the tables. It is raised when they change; other versions are refused.
SCHEMA_VERSION = 6
DATABASE_NAME = "catalog.sqlite"
_LOCK_NAME = "lock"
# How long a process waits for another one that changes the catalog to this version.
_UPGRADE_PATIENCE_SECONDS = 600.0
_SECONDS_BETWEEN_ATTEMPTS = 0.1
# Rows of segments whose upgrade takes more than two seconds.
_MANY_ROWS = 300_000
_DAMAGE = ("video_damage", "audio_damage")

_SCHEMA = """
CREATE TABLE library (root BLOB NOT NULL);

CREATE TABLE titles (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    year INTEGER,
    key BLOB NOT NULL,             -- equal for all spellings of one title, see names.title_key
    UNIQUE (kind, key)
);

-- Two rows may have the same path for an instant, while two files that swapped names are recorded.
CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title_id INTEGER NOT NULL REFERENCES titles (id),
    path BLOB NOT NULL,
    season INTEGER,
    episode INTEGER,
    extra TEXT,
    size_bytes INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    fingerprint TEXT NOT NULL UNIQUE,
    missing INTEGER NOT NULL,
    probe TEXT NOT NULL,           -- JSON of a Probe
    sampled_digest TEXT NOT NULL,  -- of eight blocks, see file_identity
    full_digest TEXT               -- of all bytes; NULL until somebody has read them
);
CREATE INDEX items_title_id ON items (title_id);

-- The path that an item had when a correction of its owner (titles.toml) was about it. The
-- correction stays with the item when its file is renamed.
CREATE TABLE corrected_paths (
    item_id INTEGER PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE,
    path BLOB NOT NULL
);

-- Size and time are NULL if the next scan shall try the file again.
CREATE TABLE skipped_files (
    path BLOB PRIMARY KEY,
    reason TEXT NOT NULL,
    size_bytes INTEGER,
    modified_ns INTEGER,
    same_as BLOB,                  -- path with the same content that is used instead
    full_digest TEXT               -- digest of all bytes of such a copy
);

CREATE TABLE duplicates (
    item_id INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    other_item_id INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    start_seconds REAL NOT NULL,
    stop_seconds REAL NOT NULL,
    other_start_seconds REAL NOT NULL
);

-- What segments and duplicates were detected in, so that the same work is not done again.
CREATE TABLE detections (
    scope TEXT PRIMARY KEY,        -- 'item 5', 'title 2' or 'catalog'
    source TEXT NOT NULL           -- digest of the input files and of the detectors' versions
) WITHOUT ROWID;

CREATE TABLE proxies (
    item_id INTEGER PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE,
    fingerprint TEXT NOT NULL,
    format_id TEXT NOT NULL,
    video_path BLOB NOT NULL,
    num_frames INTEGER NOT NULL,
    frame_rate REAL NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    num_samples INTEGER NOT NULL,
    sample_rate_hz INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    video_damage TEXT NOT NULL,    -- JSON: [[start_seconds, stop_seconds], ...] of the original
    audio_damage TEXT NOT NULL
);
CREATE TABLE proxy_audio (
    item_id INTEGER NOT NULL REFERENCES proxies (item_id) ON DELETE CASCADE,
    position INTEGER NOT NULL,     -- 0 is the preferred track
    audio_track INTEGER NOT NULL,
    language TEXT,
    path BLOB NOT NULL,
    PRIMARY KEY (item_id, position)
);
"""


# Errors whose cause is not the content of the database. All codes of a kind share the low byte.
_NOT_DAMAGE = frozenset(
    {
        sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY,
    }
)  # fmt: skip


def connect(folder: Path, *, create: bool) -> sqlite3.Connection:
    """Open the database of a catalog folder, for reading only where it cannot be written.

    Raises:
        CatalogError: There is no database (and `create` is off), it is not a catalog, or another
            version of this package wrote it.
    """
    path = folder / DATABASE_NAME
    if create:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CatalogError(f"cannot make the catalog folder {folder}: {error}") from error
    elif not path.is_file():
        raise CatalogError(
            f"no catalog in {folder}; make one with: toomuchtv scan LIBRARY --catalog {folder}"
        )
    try:
        connection = sqlite3.connect(_uri(path, create=create), uri=True, timeout=60.0)
    except sqlite3.Error as error:
        raise CatalogError(f"cannot open {path}: {error}") from error
    try:
        _prepare(connection, path, create=create)
    except (sqlite3.Error, ValueError) as error:  # such as damaged bytes, which SQLite quotes
        connection.close()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_DAMAGE:
            raise CatalogError(
                f"cannot open {path}: {error}: check that its folder can be written to and that "
                "its disk is not full"
            ) from error
        raise CatalogError(f"{path} is not a catalog or is damaged: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _uri(path: Path, *, create: bool) -> str:
    uri = path.absolute().as_uri()
    if create:
        return uri + "?mode=rwc"
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return uri + "?mode=rw"
    # A reader in write-ahead mode must create files beside the database. Where it may not, and
    # there is no log, nobody is writing either, so the file can be read as immutable.
    log = path.with_name(path.name + "-wal")
    return uri + ("?mode=ro" if log.exists() else "?immutable=1")


def _prepare(connection: sqlite3.Connection, path: Path, *, create: bool) -> None:
    """Set up a connection, check the version, and create the tables of an empty database."""
    connection.isolation_level = None  # `Catalog.transaction` begins transactions explicitly
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version in (SCHEMA_VERSION, SCHEMA_VERSION - 1):
        check_seal(path, connection)
        if version != SCHEMA_VERSION:
            _upgrade(connection, path)
        return
    if version > SCHEMA_VERSION:
        raise CatalogError(
            f"{path} was written by a newer toomuchtv (catalog version {version}; this one reads "
            f"version {SCHEMA_VERSION}): upgrade toomuchtv to use it"
        )
    if version:
        raise CatalogError(
            f"{path} was written by an older toomuchtv (catalog version {version}; this one reads "
            f"version {SCHEMA_VERSION}): run `toomuchtv scan` and `toomuchtv prepare` with a new "
            "catalog folder"
        )
    if not create or connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
        raise CatalogError(f"{path} is a database, but not a catalog")
    if has_seal(path):
        raise CatalogError(f"{path} was a catalog and is empty now: {REMEDY}")
    try:
        # Write-ahead logging lets readers continue while a scan or prepare writes.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(
            f"BEGIN IMMEDIATE; {_SCHEMA} {'; '.join(SEGMENT_SCHEMA)}; "
            f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
    except sqlite3.OperationalError:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != SCHEMA_VERSION:  # otherwise another process has just created the tables
            raise


def _upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Change the tables of the version before to those of this version.

    Raises:
        CatalogError: The catalog cannot be written, or another process is writing it.
    """
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        raise CatalogError(
            f"{path} was written by an older toomuchtv (catalog version {SCHEMA_VERSION - 1}): run "
            "`toomuchtv catalog show` once where its folder can be written, which changes it to "
            f"version {SCHEMA_VERSION}"
        )
    # All processes of a training open the catalog at the same time: one changes it, others wait.
    with write_lock(path.parent, patience_seconds=_UPGRADE_PATIENCE_SECONDS):
        if connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION:
            return  # another process has just done it
        (last_row,) = connection.execute("SELECT max(rowid) FROM segments").fetchone()
        if (last_row or 0) >= _MANY_ROWS:
            _log.warning(
                "the catalog %s is changed to version %d, once: millions of segments take a minute",
                path.parent,
                SCHEMA_VERSION,
            )
        break_seal(path)
        with connection:  # commits, or undoes everything after an error
            connection.execute("BEGIN IMMEDIATE")
            upgrade_segments(connection)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        with suppress(sqlite3.OperationalError):  # a full disk: the file stays as large as it was
            connection.execute("VACUUM")
        put_seal(path, connection)


@contextmanager
def write_lock(folder: Path, *, patience_seconds: float = 0.0) -> Generator[None]:
    """Hold the write lock of a catalog folder; see `Catalog.writing`.

    The lock belongs to an open file, so that it ends with the process.

    Args:
        folder: The catalog's folder.
        patience_seconds: How long to wait for another process that holds the lock.

    Raises:
        CatalogError: Another process holds the lock, the folder cannot be written, or its file
            system has no locks.
    """
    try:
        lock = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise CatalogError(f"cannot write to the catalog {folder}: {error}") from error
    try:
        try:
            _lock_file(lock, patience_seconds)
        except BlockingIOError as error:
            holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
            raise CatalogError(
                f"the catalog {folder} is being written by process {holder}; wait until it is "
                "done, or stop it"
            ) from error
        except OSError as error:  # such as ENOLCK, ENOTSUP or EINVAL
            raise CatalogError(
                f"the file system of the catalog {folder} has no file locks ({error.strerror}), "
                "without which two processes could write to it at the same time: put the catalog "
                "on a local disk, or mount the file system with locks"
            ) from error
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise CatalogError(f"cannot write to the catalog {folder}: {error}") from error
        yield
    finally:
        os.close(lock)


def _lock_file(lock: int, patience_seconds: float) -> None:
    """Lock an open file.

    Raises:
        BlockingIOError: Another process has held the lock all the time.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_SECONDS_BETWEEN_ATTEMPTS)
        else:
            return


# ---- Records and rows


def insert(
    connection: sqlite3.Connection, table: str, row: dict[str, Any], *, replace: bool = False
) -> int:
    """Insert a row, in place of one with the same key if `replace` is set; return its id."""
    cursor = connection.execute(
        f"INSERT {'OR REPLACE ' if replace else ''}INTO {table} ({', '.join(row)}) "
        f"VALUES ({', '.join('?' * len(row))})",
        list(row.values()),
    )
    assert cursor.lastrowid is not None  # SQLite sets it after every INSERT
    return cursor.lastrowid


def row_of(record: DataclassInstance, *, without: Collection[str] = ()) -> dict[str, Any]:
    """Return the columns of a record, paths as bytes, but for the fields in `without`."""
    values = {f.name: getattr(record, f.name) for f in fields(record) if f.name not in without}
    return {k: os.fsencode(v) if isinstance(v, Path) else v for k, v in values.items()}


def record_of(record_type: type[R], row: sqlite3.Row, /, **values: object) -> R:
    """Return the record of a row, with `values` in addition to or in place of its columns."""
    columns: dict[str, Any] = {**dict(row), **values}
    decoded = {
        name: path_of(columns[name]) if is_path and columns[name] is not None else columns[name]
        for name, is_path in _fields_of(record_type)
    }
    return record_type(**decoded)


@functools.cache
def _fields_of(record_type: type[DataclassInstance]) -> tuple[tuple[str, bool], ...]:
    """Return the name of each field of a record, and whether it is a path."""
    return tuple((one.name, str(one.type).startswith("Path")) for one in fields(record_type))


def path_of(value: bytes) -> Path:
    """Return the path that is stored as `value`."""
    return Path(os.fsdecode(value))


def title_of(row: sqlite3.Row) -> Title:
    """Return the title of a row."""
    return record_of(Title, row, kind=TitleKind(row["kind"]))


def item_of(row: sqlite3.Row) -> Item:
    """Return the item of a row."""
    values = json.loads(row["probe"])
    tracks = [
        AudioTrack(**{**track, "dispositions": frozenset(track["dispositions"])})
        for track in values["audio_tracks"]
    ]
    probe = Probe(
        duration_seconds=values["duration_seconds"],
        video=VideoStream(**values["video"]),
        audio_tracks=tuple(tracks),
        warnings=tuple(values["warnings"]),
    )
    return record_of(Item, row, missing=bool(row["missing"]), probe=probe)


def row_of_item(item: Item) -> dict[str, Any]:
    """Return the row of an item, without its id."""
    # `default=sorted` writes the set of dispositions as a sorted list.
    probe = json.dumps(asdict(item.probe), default=sorted)
    return {**row_of(item, without={"id", "probe"}), "probe": probe}


def read_proxies(
    connection: sqlite3.Connection, item_id: int | None = None, *, include_stale: bool = False
) -> list[Proxy]:
    """Return the proxies of one item or of all items, by item id.

    A proxy is stale if its fingerprint differs from that of its item.
    """
    selected = (
        "FROM proxies JOIN items ON items.id = proxies.item_id "
        "WHERE (?1 OR proxies.fingerprint = items.fingerprint) "
        "AND (?2 IS NULL OR proxies.item_id = ?2)"
    )
    values = [include_stale, item_id]
    audio_files: dict[int, list[ProxyAudio]] = {}
    for row in connection.execute(
        f"SELECT * FROM proxy_audio WHERE item_id IN (SELECT proxies.item_id {selected}) "
        "ORDER BY item_id, position",
        values,
    ).fetchall():
        audio_files.setdefault(row["item_id"], []).append(record_of(ProxyAudio, row))
    rows = connection.execute(f"SELECT proxies.* {selected} ORDER BY proxies.item_id", values)
    return [
        record_of(
            Proxy,
            row,
            audio_files=tuple(audio_files.get(row["item_id"], ())),
            **{name: _intervals_of(row[name]) for name in _DAMAGE},
        )
        for row in rows.fetchall()
    ]


def _intervals_of(text: str) -> tuple[DamagedInterval, ...]:
    return tuple(DamagedInterval(start, stop) for start, stop in json.loads(text))


def write_proxy(connection: sqlite3.Connection, proxy: Proxy) -> None:
    """Write the rows of a proxy, in place of an earlier proxy of the item."""
    damage = {
        name: json.dumps([[one.start_seconds, one.stop_seconds] for one in getattr(proxy, name)])
        for name in _DAMAGE
    }
    row = {**row_of(proxy, without={"audio_files", *_DAMAGE}), **damage}
    insert(connection, "proxies", row, replace=True)
    for position, audio in enumerate(proxy.audio_files):
        row = {"item_id": proxy.item_id, "position": position, **row_of(audio)}
        insert(connection, "proxy_audio", row)
