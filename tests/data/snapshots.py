"""Synthetic catalog snapshots for the tests of sampling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from toomuchtv.catalog.records import SEGMENT_KINDS
from toomuchtv.catalog.snapshot import CatalogSnapshot, SnapshotSegments
from toomuchtv.media.clip import ClipFormat

#: Four frames half a second apart: a clip's first and last frame are 1.5 s apart.
FORMAT = ClipFormat(frames=4, frame_rate=2.0, audio_seconds=1.0)
FRAME_RATE = 8.0
#: Number of proxy frames that a clip spans, inclusive.
CLIP_FRAMES = 13


#: Item, start and stop in seconds, kind, recurrence.
SegmentRow = tuple[int, float, float, str, int]


def segments_of(rows: Sequence[SegmentRow]) -> SnapshotSegments:
    """Return the segments of a snapshot in its order."""
    item, start, stop, kind, recurrence = zip(*sorted(rows), strict=True) if rows else ([],) * 5
    return SnapshotSegments(
        row=np.array(item, np.int32),
        start_seconds=np.array(start, np.float32),
        stop_seconds=np.array(stop, np.float32),
        kind=np.array([SEGMENT_KINDS.index(name) for name in kind], np.uint8),
        recurrence=np.array(recurrence, np.int32),
    )


def snapshot_of(
    num_frames: Sequence[int],
    title: Sequence[int],
    *,
    season: Sequence[int] | None = None,
    silent: Sequence[int] = (),
    kind: Sequence[int] | None = None,
    num_tracks: Sequence[int] | None = None,
    segments: Sequence[SegmentRow] = (),
) -> CatalogSnapshot:
    """Return a snapshot of items of `num_frames` frames and of titles `title`, in order."""
    count = len(num_frames)
    tracks = np.ones(count, np.uint8) if num_tracks is None else np.array(num_tracks, np.uint8)
    tracks[list(silent)] = 0
    return CatalogSnapshot(
        item_id=np.arange(count, dtype=np.int32) + 10,
        title_id=np.array(title, np.int32),
        kind=np.zeros(count, np.uint8) if kind is None else np.array(kind, np.uint8),
        season=np.full(count, -1, np.int16) if season is None else np.array(season, np.int16),
        num_frames=np.array(num_frames, np.int32),
        frame_rate=np.full(count, FRAME_RATE, np.float32),
        num_tracks=tracks,
        segments=segments_of(segments),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> CatalogSnapshot:
    """Draw a small catalog of films, shows and clips; some items are silent or too short."""
    num_items = draw(st.integers(1, 12))
    titles = sorted(draw(st.lists(st.integers(0, 5), min_size=num_items, max_size=num_items)))
    lengths = draw(st.lists(st.integers(1, 800), min_size=num_items, max_size=num_items))
    seasons = draw(st.lists(st.integers(-1, 2), min_size=num_items, max_size=num_items))
    silent = draw(st.sets(st.integers(0, num_items - 1), max_size=2))
    kinds = draw(st.lists(st.integers(0, 2), min_size=6, max_size=6))
    tracks = draw(st.lists(st.integers(1, 3), min_size=num_items, max_size=num_items))
    return snapshot_of(
        lengths, titles, season=seasons, silent=sorted(silent),
        kind=[kinds[title] for title in titles], num_tracks=tracks,
        segments=draw(st.lists(_segments(num_items), max_size=12)),
    )  # fmt: skip


@st.composite
def _segments(draw: st.DrawFn, num_items: int) -> SegmentRow:
    start = draw(st.floats(0.0, 90.0, width=32))
    return (
        draw(st.integers(0, num_items - 1)), start, start + draw(st.floats(0.125, 20.0, width=32)),
        draw(st.sampled_from(SEGMENT_KINDS)), draw(st.integers(-1, 2)),
    )  # fmt: skip
