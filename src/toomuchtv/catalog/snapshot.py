"""A catalog as arrays: all that sampling needs to know, one row an item."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toomuchtv.catalog.records import TitleKind

_KINDS = tuple(TitleKind)
_ROWS_AT_ONCE = 50_000

#: What a segment can be; `SnapshotSegments.kind` counts in this order.
SEGMENT_KINDS = (
    "opening", "credits", "recap", "recurring", "black", "silence", "logo", "shot",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSegments:
    """The segments of a snapshot's items, in order of row and start.

    Attributes:
        row: int32 `[S]`, row of the item in the snapshot.
        start_seconds: float32 `[S]`.
        stop_seconds: float32 `[S]`.
        kind: uint8 `[S]`, index into `SEGMENT_KINDS`.
        recurrence: int32 `[S]`, which recurring thing it is; -1 for none.
    """

    row: NDArray[np.int32]
    start_seconds: NDArray[np.float32]
    stop_seconds: NDArray[np.float32]
    kind: NDArray[np.uint8]
    recurrence: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.row)

    def of_kinds(self, kinds: Collection[str]) -> SnapshotSegments:
        """The segments of some kinds only.

        Raises:
            ValueError: There is no such kind.
        """
        unknown = set(kinds).difference(SEGMENT_KINDS)
        if unknown:
            raise ValueError(
                f"unknown kinds of segments {sorted(unknown)}: choose of {', '.join(SEGMENT_KINDS)}"
            )
        return self.where(np.isin(self.kind, [SEGMENT_KINDS.index(kind) for kind in kinds]))

    def where(self, keep: NDArray[np.bool_]) -> SnapshotSegments:
        """The segments where `keep` `[S]` is true."""
        return SnapshotSegments(
            **{field.name: getattr(self, field.name)[keep] for field in fields(self)}
        )


def no_segments() -> SnapshotSegments:
    """No segments at all."""
    return _segments_of(np.zeros(0, _SEGMENT_ROW))


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSnapshot:
    """The prepared items of a catalog at one moment; row order is that of (title, item) ids.

    Attributes:
        item_id: int32 `[I]`.
        title_id: int32 `[I]`.
        kind: uint8 `[I]`, index into `TitleKind`.
        season: int16 `[I]`, -1 where there is none.
        num_frames: int32 `[I]`, frames of the proxy.
        frame_rate: float32 `[I]`, of the proxy.
        num_tracks: uint8 `[I]`, sound tracks of the proxy; 0 for a silent item.
        segments: What parts of the items are.
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
    def duration_seconds(self) -> NDArray[np.float64]:
        """Seconds of each item, `[I]`."""
        return self.num_frames / self.frame_rate.astype(np.float64)

    @property
    def num_bytes(self) -> int:
        """Memory that the arrays of items take; segments come on top."""
        return sum(getattr(self, name).nbytes for name in _ITEM_COLUMNS)

    def of_titles(self, title_ids: Collection[int]) -> CatalogSnapshot:
        """The same, of some titles only."""
        return self.where(np.isin(self.title_id, np.fromiter(title_ids, np.int32)))

    def where(self, keep: NDArray[np.bool_]) -> CatalogSnapshot:
        """The same, of the rows where `keep` `[I]` is true."""
        segments = self.segments.where(keep[self.segments.row])
        new_row = np.cumsum(keep, dtype=np.int32) - np.int32(1)
        return CatalogSnapshot(
            **{name: getattr(self, name)[keep] for name in _ITEM_COLUMNS},
            segments=SnapshotSegments(
                row=new_row[segments.row],
                start_seconds=segments.start_seconds,
                stop_seconds=segments.stop_seconds,
                kind=segments.kind,
                recurrence=segments.recurrence,
            ),
        )


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
_SEGMENT_ROW = np.dtype(
    [
        ("item_id", np.int32),
        ("start_seconds", np.float32),
        ("stop_seconds", np.float32),
        ("kind", np.uint8),
        ("recurrence", np.int32),
    ]
)

# An item counts while it is there, no extra, and its proxy is of what it holds now.
_ITEMS = """
FROM items JOIN proxies ON proxies.item_id = items.id AND proxies.fingerprint = items.fingerprint
WHERE NOT items.missing AND items.extra IS NULL
"""
_SELECT_ITEMS = f"""
SELECT items.id, items.title_id,
    (SELECT kind FROM titles WHERE titles.id = items.title_id),
    coalesce(items.season, -1), proxies.num_frames, proxies.frame_rate,
    (SELECT count(*) FROM proxy_audio WHERE proxy_audio.item_id = items.id)
{_ITEMS} ORDER BY items.title_id, items.id
"""
_SELECT_SEGMENTS = """
SELECT item_id, start_seconds, stop_seconds, kind, coalesce(recurrence, -1) FROM segments
WHERE kind IN ({marks}) ORDER BY item_id, start_seconds, stop_seconds, kind
"""


def read_snapshot(
    connection: sqlite3.Connection, *, segment_kinds: Collection[str] = SEGMENT_KINDS
) -> CatalogSnapshot:
    """Take the snapshot of a catalog's database: every item that has a proxy of what it holds.

    Rows go straight into arrays, some at a time, so that two million items need no more memory
    than their arrays.

    Args:
        connection: The database.
        segment_kinds: Of `SEGMENT_KINDS`, which to take along.
    """
    items = _read(connection.execute(_SELECT_ITEMS), _ITEM_ROW, 2, [str(kind) for kind in _KINDS])
    kinds = list(segment_kinds)
    marks = ", ".join("?" for _ in kinds)
    cursor = connection.execute(_SELECT_SEGMENTS.format(marks=marks), kinds)
    segments = _read(cursor, _SEGMENT_ROW, 3, SEGMENT_KINDS)
    by_id = np.argsort(items["item_id"], kind="stable")
    place = np.searchsorted(items["item_id"], segments["item_id"], sorter=by_id)
    here = np.isin(segments["item_id"], items["item_id"])
    row = by_id[place[here]]
    in_order = np.argsort(row, kind="stable")
    return CatalogSnapshot(
        **{name: np.ascontiguousarray(items[name]) for name in _ITEM_COLUMNS},
        segments=_segments_of(segments[here][in_order], row[in_order]),
    )


def _read(
    cursor: sqlite3.Cursor, dtype: np.dtype[np.void], words_at: int, words: Collection[str]
) -> NDArray[np.void]:
    """All rows of a query as one structured array; a column of words becomes their numbers."""
    number = {word: index for index, word in enumerate(words)}
    cursor.row_factory = None
    chunks = (
        [(*row[:words_at], number[row[words_at]], *row[words_at + 1 :]) for row in rows]
        for rows in _chunks(cursor)
    )
    return np.concatenate([np.zeros(0, dtype), *(np.array(rows, dtype) for rows in chunks)])


def _chunks(cursor: sqlite3.Cursor) -> Iterator[list[Any]]:
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        yield rows


def _segments_of(
    rows: NDArray[np.void], row: NDArray[np.integer] | None = None
) -> SnapshotSegments:
    return SnapshotSegments(
        row=np.zeros(0, np.int32) if row is None else row.astype(np.int32),
        start_seconds=np.ascontiguousarray(rows["start_seconds"]),
        stop_seconds=np.ascontiguousarray(rows["stop_seconds"]),
        kind=np.ascontiguousarray(rows["kind"]),
        recurrence=np.ascontiguousarray(rows["recurrence"]),
    )
