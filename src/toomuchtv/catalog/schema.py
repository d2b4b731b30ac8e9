"""The catalog's database: its tables, its version, and how it is opened.

Paths are kept as the bytes the file system has (BLOB): they need not be text.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from toomuchtv.errors import CatalogError

#: Raised when the tables change; a database with a higher one is left alone.
SCHEMA_VERSION = 4
DATABASE_NAME = "catalog.sqlite"

_SCHEMA = """
CREATE TABLE library (root BLOB NOT NULL);

CREATE TABLE titles (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    year INTEGER,
    key BLOB NOT NULL,             -- what its spellings have in common, see names.title_key
    UNIQUE (kind, key)
);

-- A path may stand in two rows for a moment, while two files that swapped names are recognized.
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
    duration_seconds REAL NOT NULL,
    warnings TEXT NOT NULL,        -- JSON list
    codec TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    rotation_degrees INTEGER NOT NULL,
    pixel_format TEXT NOT NULL,
    frame_rate REAL,
    start_seconds REAL NOT NULL
);
CREATE INDEX items_title_id ON items (title_id);

CREATE TABLE audio_tracks (
    item_id INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    track INTEGER NOT NULL,
    codec TEXT NOT NULL,
    channels INTEGER NOT NULL,
    sample_rate_hz INTEGER NOT NULL,
    language TEXT,
    title TEXT,
    dispositions TEXT NOT NULL,    -- names, sorted, with blanks between
    start_seconds REAL NOT NULL,
    PRIMARY KEY (item_id, track)
) WITHOUT ROWID;

-- Without size, time and fingerprint the file or folder could not even be looked at.
CREATE TABLE set_aside (
    path BLOB PRIMARY KEY,
    reason TEXT NOT NULL,
    size_bytes INTEGER,
    modified_ns INTEGER,
    fingerprint TEXT,
    same_as BLOB                   -- the path with the same content that is used in its place
);

CREATE TABLE segments (
    item_id INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    start_seconds REAL NOT NULL,
    stop_seconds REAL NOT NULL,
    kind TEXT NOT NULL,
    recurrence INTEGER             -- equal where the same thing comes again
);
CREATE INDEX segments_item_id ON segments (item_id);

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
    size_bytes INTEGER NOT NULL
);
CREATE TABLE proxy_audio (
    item_id INTEGER NOT NULL REFERENCES proxies (item_id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    audio_track INTEGER NOT NULL,
    language TEXT,
    path BLOB NOT NULL,
    PRIMARY KEY (item_id, position)
);
"""

_SCHEMA_OF_FINDINGS = """
CREATE TABLE duplicates (
    item_id INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    other_item_id INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    start_seconds REAL NOT NULL,
    stop_seconds REAL NOT NULL,
    other_start_seconds REAL NOT NULL
);

-- What segments and duplicates were found from, so that they are not looked for again.
CREATE TABLE analyses (
    scope TEXT PRIMARY KEY,        -- 'item 5', 'title 2', 'catalog'
    source TEXT NOT NULL
) WITHOUT ROWID;
"""


def connect(folder: Path, *, create: bool) -> sqlite3.Connection:
    """Open the database of a catalog folder; where nobody can write it, for reading.

    Raises:
        CatalogError: if there is none (and `create` is off), if it is no catalog, or if a newer
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
    except sqlite3.Error as error:
        connection.close()
        # A good catalog cannot be opened on a disk without a free byte either.
        hint = ", or its disk is full" if "disk" in str(error) else ""
        raise CatalogError(f"{path} is not a catalog or is damaged{hint}: {error}") from error
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
    # A reader of a write-ahead log wants to write beside it. Where it may not, and no log is
    # there, nobody else is writing either: the file can be read as it lies.
    log = path.with_name(path.name + "-wal")
    return uri + ("?mode=ro" if log.exists() else "?immutable=1")


def _prepare(connection: sqlite3.Connection, path: Path, *, create: bool) -> None:
    connection.isolation_level = None  # transactions are begun by name, in Catalog.transaction
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise CatalogError(
            f"{path} was written by a newer toomuchtv (catalog version {version}; this one reads "
            f"up to {SCHEMA_VERSION}); upgrade toomuchtv to use it"
        )
    if version == SCHEMA_VERSION:
        return
    if version:
        raise CatalogError(
            f"{path} was written by an older toomuchtv (catalog version {version}; this one reads "
            f"version {SCHEMA_VERSION}): run `toomuchtv scan` and `toomuchtv prepare` with a new "
            "catalog folder"
        )
    if not create or connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
        raise CatalogError(f"{path} is a database, but not a catalog")
    try:
        # Readers go on reading while a scan or prepare writes.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(
            f"BEGIN IMMEDIATE; {_SCHEMA} {_SCHEMA_OF_FINDINGS} "
            f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
    except sqlite3.OperationalError:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != SCHEMA_VERSION:  # if it is, another process made the tables just now
            raise
