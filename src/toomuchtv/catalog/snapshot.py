"""A catalog as arrays: everything that sampling needs to know, one row for every item."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from toomuchtv.catalog.records import SEGMENT_KINDS, TitleKind
from toomuchtv.catalog.segment_table import read_counts, read_rows

_ROWS_PER_CHUNK = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSegments:
    """The S segments of a snapshot's items, sorted by row and start.

    Attributes:
        row: int32 `[S]`, row of the item in the snapshot.
        start_seconds: float32 `[S]`, start of the interval.
        stop_seconds: float32 `[S]`, end of the interval, exclusive.
        kind: uint8 `[S]`, index into `SEGMENT_KINDS`.
        recurrence: int32 `[S]`, equal for segments with the same content; -1 for none.
    """

    row: NDArray[np.int32]
    start_seconds: NDArray[np.float32]
    stop_seconds: NDArray[np.float32]
    kind: NDArray[np.uint8]
    recurrence: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.row)

    def of_kinds(self, kinds: Collection[str]) -> SnapshotSegments:
        """Return the segments of some kinds.

        Raises:
            ValueError: A kind is not one of `SEGMENT_KINDS`.
        """
        unknown = set(kinds).difference(SEGMENT_KINDS)
        if unknown:
            raise ValueError(
                f"unknown kinds of segments {sorted(unknown)}: choose from "
                f"{', '.join(SEGMENT_KINDS)}"
            )
        return self.where(np.isin(self.kind, [SEGMENT_KINDS.index(kind) for kind in kinds]))

    def where(self, keep: NDArray[np.bool_]) -> SnapshotSegments:
        """Return the segments where `keep` `[S]` is true."""
        return SnapshotSegments(
            **{field.name: getattr(self, field.name)[keep] for field in fields(self)}
        )


def no_segments() -> SnapshotSegments:
    """Return an empty set of segments."""
    return SnapshotSegments(
        **{name: np.zeros(0, dtype) for name, dtype in _SEGMENT_COLUMNS.items()}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSnapshot:
    """The I prepared items of a catalog at one point in time, sorted by title and then by path.

    The order does not depend on ids, which follow from the history of a catalog: a scan probes
    files side by side, so that two scans of one library number them differently.

    An item is prepared if it is in the library, is not an extra, and has a proxy that was made from
    its present content.

    Attributes:
        item_id: int32 `[I]`.
        title_id: int32 `[I]`.
        kind: uint8 `[I]`, index into `tuple(TitleKind)`.
        season: int16 `[I]`, -1 for none.
        num_frames: int32 `[I]`, number of frames of the proxy.
        frame_rate: float32 `[I]`, frames per second of the proxy.
        num_tracks: uint8 `[I]`, number of audio files of the proxy; 0 for a silent item.
        segments: The segments of the items.
    """

    item_id: NDArray[np.int32]
    title_id: NDArray[np.int32]
    kind: NDArray[np.uint8]
    season: NDArray[np.int16]
    num_frames: NDArray[np.int32]
    frame_rate: NDArray[np.float32]
    num_tracks: NDArray[np.uint8]
    segments: SnapshotSegments

    def __len__(self) -> int:
        return len(self.item_id)

    def __repr__(self) -> str:
        return (
            f"CatalogSnapshot({len(np.unique(self.title_id))} titles, {len(self)} items, "
            f"{self.duration_seconds.sum() / 3600:.2f} h, {len(self.segments)} segments)"
        )

    @property
    def title_number(self) -> NDArray[np.int64]:
        """Number of each item's title, `[I]`, from 0 in the order of the snapshot."""
        _, first, which = np.unique(self.title_id, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[which]

    @property
    def duration_seconds(self) -> NDArray[np.float64]:
        """Duration of each item in seconds, `[I]`."""
        return self.num_frames / self.frame_rate.astype(np.float64)

    @property
    def num_bytes(self) -> int:
        """Memory of the arrays of items, without segments."""
        return sum(getattr(self, name).nbytes for name in _ITEM_COLUMNS)

    def of_titles(self, title_ids: Collection[int]) -> CatalogSnapshot:
        """Return a snapshot of some titles only."""
        return self.where(np.isin(self.title_id, np.fromiter(title_ids, np.int32)))

    def where(self, keep: NDArray[np.bool_]) -> CatalogSnapshot:
        """Return a snapshot of the rows where `keep` `[I]` is true."""
        segments = self.segments.where(keep[self.segments.row])
        new_row = np.cumsum(keep, dtype=np.int32) - np.int32(1)
        return CatalogSnapshot(
            **{name: getattr(self, name)[keep] for name in _ITEM_COLUMNS},
            segments=replace(segments, row=new_row[segments.row]),
        )


_SEGMENT_COLUMNS: dict[str, type[np.generic]] = {
    "row": np.int32,
    "start_seconds": np.float32,
    "stop_seconds": np.float32,
    "kind": np.uint8,
    "recurrence": np.int32,
}
_ITEM_COLUMNS = tuple(field.name for field in fields(CatalogSnapshot) if field.name != "segments")
_ITEM_ROW = np.dtype(
    [
        ("item_id", np.int32),
        ("title_id", np.int32),
        ("kind", np.uint8),
        ("season", np.int16),
        ("num_frames", np.int32),
        ("frame_rate", np.float32),
        ("num_tracks", np.uint8),
    ]
)
_SELECT_ITEMS = """
SELECT items.id, items.title_id, titles.kind,
    coalesce(items.season, -1), proxies.num_frames, proxies.frame_rate,
    (SELECT count(*) FROM proxy_audio WHERE proxy_audio.item_id = items.id)
FROM items JOIN proxies ON proxies.item_id = items.id AND proxies.fingerprint = items.fingerprint
JOIN titles ON titles.id = items.title_id
WHERE NOT items.missing AND items.extra IS NULL
ORDER BY titles.kind, titles.key, titles.id, items.path, items.id
"""


def read_snapshot(
    connection: sqlite3.Connection, kinds: Collection[str] | None = None
) -> CatalogSnapshot:
    """Read the snapshot of a catalog from its database.

    Rows are converted to arrays part by part, so that two million items, or the eleven million
    segments of 12,000 hours, need little more memory than their arrays.

    Args:
        connection: The database.
        kinds: The kinds of segments to read; None for all.
    """
    items = _read_items(connection)
    return CatalogSnapshot(
        **{name: np.ascontiguousarray(items[name]) for name in _ITEM_COLUMNS},
        segments=_read_segments(connection, items["item_id"], kinds),
    )


def _read_items(connection: sqlite3.Connection) -> NDArray[np.void]:
    number = {str(kind): index for index, kind in enumerate(TitleKind)}
    cursor = connection.execute(_SELECT_ITEMS)
    cursor.row_factory = None
    chunks = (
        [(*row[:2], number[row[2]], *row[3:]) for row in rows]
        for rows in iter(lambda: cursor.fetchmany(_ROWS_PER_CHUNK), [])
    )
    return np.concatenate([np.zeros(0, _ITEM_ROW), *(np.array(rows, _ITEM_ROW) for rows in chunks)])


def _read_segments(
    connection: sqlite3.Connection, item_id: NDArray[np.int32], kinds: Collection[str] | None
) -> SnapshotSegments:
    """Read the segments of the items `item_id`; those of other items are dropped."""
    row_of = {item: row for row, item in enumerate(item_id.tolist())}
    found = read_counts(connection)
    count = np.array(
        [
            sum(n for kind, n in found.get(item, {}).items() if kinds is None or kind in kinds)
            for item in row_of
        ],
        np.int64,
    )
    begin = np.cumsum(count) - count
    columns = {name: np.empty(count.sum(), dtype) for name, dtype in _SEGMENT_COLUMNS.items()}
    columns["row"][:] = np.repeat(np.arange(len(item_id)), count)
    rows = (one for one in read_rows(connection, kinds=kinds) if one.item_id in row_of)
    for item, group in itertools.groupby(rows, lambda one: one.item_id):
        of_kinds = list(group)
        lengths = [len(one.recurrences) for one in of_kinds]
        intervals = np.concatenate([one.intervals for one in of_kinds])
        # Of equal intervals, the kinds stay in the order of their names.
        order = np.lexsort((intervals[:, 1], intervals[:, 0]))
        values = {
            "start_seconds": intervals[:, 0],
            "stop_seconds": intervals[:, 1],
            "kind": np.repeat([SEGMENT_KINDS.index(one.kind) for one in of_kinds], lengths),
            "recurrence": np.concatenate([one.recurrences for one in of_kinds]),
        }
        first = begin[row_of[item]]
        for name, value in values.items():
            columns[name][first : first + len(order)] = value[order]
    return SnapshotSegments(**columns)
