"""Catalog snapshots made up for tests of sampling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.media.clip import ClipFormat

#: Four frames half a second apart: a clip's first and last frame are 1.5 s apart.
FORMAT = ClipFormat(frames=4, frame_rate=2.0, audio_seconds=1.0)
FRAME_RATE = 8.0
#: Frames of a proxy from a clip's first frame to its last one, that included.
CLIP_FRAMES = 13


def snapshot_of(
    num_frames: Sequence[int],
    title: Sequence[int],
    *,
    season: Sequence[int] | None = None,
    silent: Sequence[int] = (),
) -> CatalogSnapshot:
    """Make a snapshot of items that are `num_frames` long, of titles `title`, in that order."""
    count = len(num_frames)
    track = np.zeros(count, np.int16)
    track[list(silent)] = -1
    return CatalogSnapshot(
        item_id=np.arange(count, dtype=np.int32) + 10,
        title_id=np.array(title, np.int32),
        kind=np.zeros(count, np.uint8),
        season=np.full(count, -1, np.int16) if season is None else np.array(season, np.int16),
        num_frames=np.array(num_frames, np.int32),
        frame_rate=np.full(count, FRAME_RATE, np.float32),
        audio_track=track,
    )


@st.composite
def snapshots(draw: st.DrawFn) -> CatalogSnapshot:
    """Any small catalog: films and shows, some items silent, some too short for a clip."""
    num_items = draw(st.integers(1, 12))
    titles = sorted(draw(st.lists(st.integers(0, 5), min_size=num_items, max_size=num_items)))
    lengths = draw(st.lists(st.integers(1, 800), min_size=num_items, max_size=num_items))
    seasons = draw(st.lists(st.integers(-1, 2), min_size=num_items, max_size=num_items))
    silent = draw(st.sets(st.integers(0, num_items - 1), max_size=2))
    return snapshot_of(lengths, titles, season=seasons, silent=sorted(silent))
