"""What was found inside the items: segments, duplicates, and what each was found from.

Functions on an open connection; `Catalog` begins the transactions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import fields

from toomuchtv.catalog.records import Duplicate, Segment

_SEGMENT_COLUMNS = ", ".join(field.name for field in fields(Segment))
_DUPLICATE_COLUMNS = ", ".join(field.name for field in fields(Duplicate))


def select_segments(item_id: int | None) -> tuple[str, int | None]:
    """The query for the segments of one item, or of all, and its value."""
    return (
        f"SELECT {_SEGMENT_COLUMNS} FROM segments WHERE ?1 IS NULL OR item_id = ?1 "
        "ORDER BY item_id, start_seconds, stop_seconds, kind",
        item_id,
    )


def select_duplicates() -> str:
    """The query for all duplicates."""
    return f"SELECT {_DUPLICATE_COLUMNS} FROM duplicates ORDER BY {_DUPLICATE_COLUMNS}"


def check_segments(
    item_ids: Collection[int], kinds: Collection[str], segments: Iterable[Segment]
) -> None:
    """See that the segments are of these items and kinds.

    Raises:
        ValueError: One is not, or does not run forward.
    """
    for segment in segments:
        if segment.item_id not in item_ids or segment.kind not in kinds:
            items = ", ".join(map(str, sorted(item_ids)))
            raise ValueError(f"{segment} is not of item {items} and kinds {sorted(kinds)}")
        if not 0 <= segment.start_seconds < segment.stop_seconds:
            raise ValueError(f"{segment} must start at 0 or later and stop after its start")


def put_segments(
    connection: sqlite3.Connection,
    item_ids: Collection[int],
    kinds: Collection[str],
    segments: Iterable[Segment],
) -> None:
    """Put `segments` in place of all that the items have of these kinds.

    Their recurrence numbers only tell them apart from each other; each gets a new number, used
    nowhere else in the catalog.
    """
    connection.executemany(
        "DELETE FROM segments WHERE item_id = ? AND kind = ?",
        [(item_id, kind) for item_id in item_ids for kind in kinds],
    )
    (free,) = connection.execute("SELECT COALESCE(MAX(recurrence) + 1, 0) FROM segments").fetchone()
    segments = list(segments)
    given = {segment.recurrence for segment in segments if segment.recurrence is not None}
    number: dict[int | None, int | None] = {
        old: free + new for new, old in enumerate(sorted(given))
    }
    connection.executemany(
        f"INSERT INTO segments ({_SEGMENT_COLUMNS}) VALUES (?, ?, ?, ?, ?)",
        [
            (s.item_id, s.start_seconds, s.stop_seconds, s.kind, number.get(s.recurrence))
            for s in segments
        ],
    )


def put_duplicates(connection: sqlite3.Connection, duplicates: Iterable[Duplicate]) -> None:
    """Put `duplicates` in place of all there are."""
    connection.execute("DELETE FROM duplicates")
    connection.executemany(
        f"INSERT INTO duplicates ({_DUPLICATE_COLUMNS}) VALUES (?, ?, ?, ?, ?)",
        [
            (d.item_id, d.other_item_id, d.start_seconds, d.stop_seconds, d.other_start_seconds)
            for d in duplicates
        ],
    )


def put_source(connection: sqlite3.Connection, scope: str, source: str) -> None:
    """Note what the findings of a scope were found from."""
    connection.execute("INSERT OR REPLACE INTO analyses VALUES (?, ?)", [scope, source])


def forget_item(connection: sqlite3.Connection, item_id: int) -> None:
    """Forget all that was found in an item."""
    connection.execute("DELETE FROM segments WHERE item_id = ?", [item_id])
    connection.execute("DELETE FROM duplicates WHERE item_id = ?1 OR other_item_id = ?1", [item_id])
    connection.execute("DELETE FROM analyses WHERE scope = ?", [f"item {item_id}"])
