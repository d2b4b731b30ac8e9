"""The table of segments: one row for each item and kind, with all its intervals as one array.

Nearly all segments are shots: eleven million in 12,000 hours. As arrays they are read ten times
as fast as with a row for each, and counted without being read.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toomuchtv.catalog.records import SEGMENT_KINDS, Segment

#: Statements that make the table.
SEGMENT_SCHEMA = (
    """
CREATE TABLE segments (
    item_id INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    num_segments INTEGER NOT NULL,
    max_recurrence INTEGER,        -- NULL if no segment recurs
    intervals BLOB NOT NULL,       -- starts and stops in seconds, float64 [num_segments, 2]
    recurrences BLOB,              -- equal for the same content; -1 for none; int32 [num_segments]
    PRIMARY KEY (item_id, kind)
)""",
    "CREATE INDEX segments_recurrence ON segments (max_recurrence) "
    "WHERE max_recurrence IS NOT NULL",
)
_INTERVALS, _RECURRENCES = np.dtype("<f8"), np.dtype("<i4")
_COLUMNS = "item_id, kind, num_segments, intervals, recurrences"


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRow:
    """The S segments of one kind of one item, by start and then by stop.

    Attributes:
        item_id: The item.
        kind: The kind.
        intervals: float64 `[S, 2]`, start and stop of each in seconds.
        recurrences: int32 `[S]`, -1 for none.
    """

    item_id: int
    kind: str
    intervals: NDArray[np.float64]
    recurrences: NDArray[np.int32]

    @classmethod
    def of(cls, row: Sequence[Any]) -> SegmentRow:
        """Return the segments of a row of the table.

        Raises:
            ValueError: The row does not fit together.
        """
        item_id, kind, num_segments, intervals, recurrences = row
        if kind not in SEGMENT_KINDS:
            raise ValueError(f"segments of item {item_id} are of an unknown kind")
        found = cls(
            item_id=item_id,
            kind=kind,
            intervals=np.frombuffer(intervals, _INTERVALS).reshape(-1, 2),
            recurrences=np.full(num_segments, -1, _RECURRENCES)
            if recurrences is None
            else np.frombuffer(recurrences, _RECURRENCES),
        )
        if not len(found.intervals) == len(found.recurrences) == num_segments:
            raise ValueError(f"segments of item {item_id} are not as many as they should be")
        return found

    def values(self) -> tuple[Any, ...]:
        """Return the row of the table."""
        last = int(self.recurrences.max(initial=-1))
        return (
            self.item_id,
            self.kind,
            len(self.intervals),
            None if last < 0 else last,
            self.intervals.astype(_INTERVALS).tobytes(),
            None if last < 0 else self.recurrences.astype(_RECURRENCES).tobytes(),
        )

    def records(self) -> Iterator[Segment]:
        """Yield the segments."""
        numbers = self.recurrences.tolist()
        for (start, stop), number in zip(self.intervals.tolist(), numbers, strict=True):
            yield Segment(
                item_id=self.item_id,
                start_seconds=start,
                stop_seconds=stop,
                kind=self.kind,
                recurrence=None if number < 0 else number,
            )


def read_segments(
    connection: sqlite3.Connection, item_id: int | None = None, *, only_recurring: bool = False
) -> list[Segment]:
    """Return the segments of one item or of all items, by item, start, stop and kind."""
    found = read_rows(connection, item_id, only_recurring=only_recurring)
    segments = [
        one for row in found for one in row.records()
        if not only_recurring or one.recurrence is not None
    ]  # fmt: skip
    segments.sort(key=lambda one: (one.item_id, one.start_seconds, one.stop_seconds, one.kind))
    return segments


def read_counts(connection: sqlite3.Connection) -> dict[int, dict[str, int]]:
    """Return the number of segments of each kind, by item id. No segment is read for it."""
    counts: dict[int, dict[str, int]] = {}
    cursor = connection.execute("SELECT item_id, kind, num_segments FROM segments")
    for item_id, kind, count in cursor.fetchall():
        counts.setdefault(item_id, {})[kind] = count
    return counts


def read_rows(
    connection: sqlite3.Connection,
    item_id: int | None = None,
    *,
    kinds: Collection[str] | None = None,
    only_recurring: bool = False,
) -> Iterator[SegmentRow]:
    """Yield rows of the table, by item and kind.

    Args:
        connection: The database.
        item_id: The item; None for all.
        kinds: The kinds to read; None for all.
        only_recurring: Leave out rows in which nothing recurs.
    """
    cursor = connection.execute(
        f"SELECT {_COLUMNS} FROM segments WHERE (?1 IS NULL OR item_id = ?1) "
        "AND (?2 IS NULL OR kind IN (SELECT value FROM json_each(?2))) "
        "AND (max_recurrence IS NOT NULL OR NOT ?3) ORDER BY item_id, kind",
        [item_id, None if kinds is None else json.dumps(list(kinds)), only_recurring],
    )
    cursor.row_factory = None
    yield from map(SegmentRow.of, cursor)


def write_segments(
    connection: sqlite3.Connection,
    item_ids: Collection[int],
    kinds: Collection[str],
    segments: Iterable[Segment],
) -> None:
    """Write segments in place of all segments that the items have of these kinds.

    The recurrence numbers of `segments` only have to differ from each other. Every one is replaced
    by a number that no other segment of the catalog has.

    Raises:
        ValueError: There is no such kind, a segment belongs to another item or kind, or its
            interval is not valid.
    """
    if not set(SEGMENT_KINDS).issuperset(kinds):
        raise ValueError(
            f"segments have the kinds {', '.join(SEGMENT_KINDS)}, but {sorted(kinds)} were given"
        )
    segments = list(segments)
    for segment in segments:
        if segment.item_id not in item_ids or segment.kind not in kinds:
            items = ", ".join(map(str, sorted(item_ids)))
            raise ValueError(f"{segment} is not of item {items} and kinds {sorted(kinds)}")
        if not 0 <= segment.start_seconds < segment.stop_seconds:
            raise ValueError(f"{segment} must start at 0 or later and stop after its start")
    connection.executemany(
        "DELETE FROM segments WHERE item_id = ? AND kind = ?",
        [(item_id, kind) for item_id in item_ids for kind in kinds],
    )
    numbers = _new_recurrences(connection, segments)
    segments.sort(key=lambda one: (one.item_id, one.kind, one.start_seconds, one.stop_seconds))
    groups = itertools.groupby(segments, lambda one: (one.item_id, one.kind))
    insert_rows(connection, (_row_of(*key, list(group), numbers) for key, group in groups))


def insert_rows(connection: sqlite3.Connection, rows: Iterable[SegmentRow]) -> None:
    """Insert rows into the table."""
    connection.executemany(
        "INSERT INTO segments (item_id, kind, num_segments, max_recurrence, intervals, recurrences)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (row.values() for row in rows),
    )


def _row_of(
    item_id: int, kind: str, segments: Sequence[Segment], numbers: dict[int | None, int]
) -> SegmentRow:
    return SegmentRow(
        item_id=item_id,
        kind=kind,
        intervals=np.array([(one.start_seconds, one.stop_seconds) for one in segments]),
        recurrences=np.array([numbers[one.recurrence] for one in segments], np.int32),
    )


def _new_recurrences(
    connection: sqlite3.Connection, segments: Iterable[Segment]
) -> dict[int | None, int]:
    """Return a number that is new to the catalog for each recurrence of some segments."""
    numbers: dict[int | None, int] = {None: -1}
    found = dict.fromkeys(one.recurrence for one in segments if one.recurrence is not None)
    if found:
        (free,) = connection.execute(
            "SELECT COALESCE(MAX(max_recurrence) + 1, 0) FROM segments "
            "WHERE max_recurrence IS NOT NULL"
        ).fetchone()
        numbers |= {number: free + position for position, number in enumerate(found)}
    return numbers


def upgrade_segments(connection: sqlite3.Connection) -> None:
    """Change the table of version 5, which had a row for each segment, to the present one.

    Call this inside a transaction.
    """
    connection.execute("ALTER TABLE segments RENAME TO segments_5")
    for (name,) in connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'segments_5' "
        "AND sql IS NOT NULL"
    ).fetchall():
        connection.execute(f'DROP INDEX "{name}"')
    for statement in SEGMENT_SCHEMA:
        connection.execute(statement)
    cursor = connection.execute(
        "SELECT item_id, kind, start_seconds, stop_seconds, coalesce(recurrence, -1) "
        "FROM segments_5 ORDER BY 1, 2, 3, 4"
    )
    cursor.row_factory = None
    insert_rows(
        connection,
        (
            SegmentRow(
                item_id=item_id,
                kind=kind,
                intervals=(table := np.array([row[2:] for row in rows], np.float64))[:, :2],
                recurrences=table[:, 2].astype(np.int32),
            )
            for (item_id, kind), rows in itertools.groupby(cursor, lambda row: row[:2])
        ),
    )
    connection.execute("DROP TABLE segments_5")
