"""A catalog as arrays: all that sampling needs to know, one row an item."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from toomuchtv.catalog.records import Item, Proxy, Title, TitleKind

_KINDS = tuple(TitleKind)


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
        audio_track: int16 `[I]`, -1 for a silent item.
    """

    item_id: NDArray[np.int32]
    title_id: NDArray[np.int32]
    kind: NDArray[np.uint8]
    season: NDArray[np.int16]
    num_frames: NDArray[np.int32]
    frame_rate: NDArray[np.float32]
    audio_track: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.item_id)

    def __repr__(self) -> str:
        return (
            f"CatalogSnapshot({len(np.unique(self.title_id))} titles, {len(self)} items, "
            f"{self.duration_seconds.sum() / 3600:.2f} h)"
        )

    @property
    def duration_seconds(self) -> NDArray[np.float64]:
        """Seconds of each item, `[I]`."""
        return self.num_frames / self.frame_rate.astype(np.float64)

    def of_titles(self, title_ids: Collection[int]) -> CatalogSnapshot:
        """The same, of some titles only."""
        return self.where(np.isin(self.title_id, np.fromiter(title_ids, np.int32)))

    def where(self, keep: NDArray[np.bool_]) -> CatalogSnapshot:
        """The same, of the rows where `keep` `[I]` is true."""
        return CatalogSnapshot(
            **{field.name: getattr(self, field.name)[keep] for field in fields(self)}
        )


def build_snapshot(
    titles: list[Title], items: list[Item], proxies: dict[int, Proxy]
) -> CatalogSnapshot:
    """Take the snapshot: every item that has a proxy of its present content."""
    kinds = {title.id: _KINDS.index(title.kind) for title in titles}
    rows = sorted(
        (item.title_id, item.id, item, proxies[item.id])
        for item in items
        if item.id in proxies and proxies[item.id].fingerprint == item.fingerprint
    )
    return CatalogSnapshot(
        item_id=np.array([row[1] for row in rows], np.int32),
        title_id=np.array([row[0] for row in rows], np.int32),
        kind=np.array([kinds[row[0]] for row in rows], np.uint8),
        season=np.array([-1 if row[2].season is None else row[2].season for row in rows], np.int16),
        num_frames=np.array([row[3].num_frames for row in rows], np.int32),
        frame_rate=np.array([row[3].frame_rate for row in rows], np.float32),
        audio_track=np.array(
            [-1 if row[3].audio_track is None else row[3].audio_track for row in rows], np.int16
        ),
    )
