"""The checksum of a catalog's database, by which damage and changes by others are noticed.

SQLite checks the form of a file and not its content: most damaged bits would be read as data. So
the checksum of the whole file lies beside it while nobody writes. A writer removes it before its
first change and writes a new one when it is done; it costs up to a second for each gigabyte. After
a writer that was killed there is none, and then only the form of the file is checked.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from pathlib import Path

from toomuchtv.catalog.file_identity import full_digest
from toomuchtv.errors import CatalogError

#: What to do about a damaged catalog.
REMEDY = (
    "restore a copy of the catalog folder, or run `toomuchtv scan` and `toomuchtv prepare` with a "
    "new catalog folder"
)

# Checksums of earlier versions are digests of BLAKE2, which takes twice as long as SHA-256 on
# processors with instructions for that.
_OLD_LENGTH = 32


def break_seal(database: Path) -> None:
    """Remove the checksum, before a change."""
    _seal_of(database).unlink(missing_ok=True)


def put_seal(database: Path, connection: sqlite3.Connection) -> None:
    """Write the checksum, if the whole content is in one file now. Hold the write lock.

    Raises:
        OSError: The checksum cannot be written.
        sqlite3.Error: The database cannot be read.
    """
    (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_busy:  # a reader needs the log, so that it cannot be moved into the file
        return
    seal = _seal_of(database)
    partial = seal.with_name(seal.name + ".partial")
    partial.write_text(_checksum(database) + "\n")
    os.replace(partial, seal)


def has_seal(database: Path) -> bool:
    """Return whether there is a checksum, which the first writer that finishes leaves."""
    return _seal_of(database).exists()


def check_seal(database: Path, connection: sqlite3.Connection) -> None:
    """Check that a database is as the last writer left it.

    Raises:
        CatalogError: The file was damaged, or another program has changed it.
    """
    seal = _seal_of(database)
    log = database.with_name(database.name + "-wal")
    expected = _read(seal)
    if expected is None or (log.exists() and log.stat().st_size > 0):
        (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if result != "ok":
            raise CatalogError(f"{database} is damaged ({result}): {REMEDY}")
        return
    # If a writer began meanwhile, it has removed the checksum.
    found = full_digest if len(expected.strip()) == _OLD_LENGTH else _checksum
    if found(database) != expected.strip() and _read(seal) == expected:
        raise CatalogError(
            f"{database} was damaged, or another program has changed it: {REMEDY}. If you have "
            f"changed it yourself, delete {seal}"
        )


def _checksum(database: Path) -> str:
    with database.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal_of(database: Path) -> Path:
    return database.with_name(database.name + ".sum")


def _read(seal: Path) -> str | None:
    try:
        return seal.read_text(errors="replace")
    except FileNotFoundError:
        return None
