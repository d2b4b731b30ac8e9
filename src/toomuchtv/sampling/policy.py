"""The sampling policy: its settings, and the groups of items it draws from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.media.clip import ClipFormat


class PolicyConfig(BaseModel):
    """Which clips make a batch.

    `uniform` draws every clip independently, each item weighted by its usable duration.
    `hierarchical` draws titles, then items inside each, then clips inside each item: the policy
    of "Watching Too Much Television is Good" (arXiv 2106.08513), in this project's own reading.

    Attributes:
        batch_size: Clips of one step over all processes:
            titles x items_per_title x clips_per_item.
        level: What counts as one title. Films are titles of their own at every level.
        title_weight: How likely a title is: alike, by the root of its duration, or by it.
        min_gap_seconds: Least distance between the starts of two clips of one item.
        window_seconds: All clips of one item start within such a window; None: anywhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["uniform", "hierarchical"] = "hierarchical"
    batch_size: int = Field(default=64, ge=2)
    items_per_title: int = Field(default=1, ge=1)
    clips_per_item: int = Field(default=16, ge=1)
    level: Literal["show", "season", "episode"] = "show"
    title_weight: Literal["uniform", "sqrt", "duration"] = "uniform"
    min_gap_seconds: float = Field(default=2.0, ge=0.0)
    window_seconds: float | None = Field(default=None, gt=0.0)

    @model_validator(mode="after")
    def _batch_is_whole_titles(self) -> PolicyConfig:
        if self.name == "hierarchical" and self.batch_size % self.clips_per_title:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of items_per_title x "
                f"clips_per_item ({self.items_per_title} x {self.clips_per_item})"
            )
        return self

    @property
    def clips_per_title(self) -> int:
        """Clips that one draw of a title gives."""
        return self.items_per_title * self.clips_per_item

    @property
    def titles(self) -> int:
        """Draws of titles a batch."""
        return self.batch_size // self.clips_per_title


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemGroups:
    """The usable items of a snapshot, sorted by the title they count for.

    Attributes:
        rows: int32 `[U]`, row of each usable item in the snapshot.
        group_of: int32 `[U]`, the group each belongs to; ascending.
        offsets: int64 `[G + 1]`, where each group starts in `rows`.
        starts: int64 `[U]`, in how many places of its frame grid a clip of the item can start.
        frame_rate: float64 `[U]`.
        cumulative: float64 `[U + 1]`, usable seconds before each item.
        weights: float64 `[G]`, of the groups; they sum to 1.
        num_unusable: Items left out: no sound, or shorter than one clip.
    """

    rows: NDArray[np.int32]
    group_of: NDArray[np.int32]
    offsets: NDArray[np.int64]
    starts: NDArray[np.int64]
    frame_rate: NDArray[np.float64]
    cumulative: NDArray[np.float64]
    weights: NDArray[np.float64]
    num_unusable: int

    @property
    def num_groups(self) -> int:
        """How many titles there are, at the policy's level."""
        return len(self.offsets) - 1


def group_items(
    snapshot: CatalogSnapshot, policy: PolicyConfig, clip_format: ClipFormat
) -> ItemGroups:
    """Sort the usable items of a snapshot by what counts as their title.

    Raises:
        ValueError: No item can give a clip.
    """
    rate = snapshot.frame_rate.astype(np.float64)
    stride = np.rint(rate / clip_format.frame_rate).astype(np.int64)
    # Frame 0 may be any but the last (frames - 1) * stride frames of the proxy.
    starts = snapshot.num_frames - (clip_format.frames - 1) * stride
    usable = np.flatnonzero((starts > 0) & (snapshot.audio_track >= 0))
    if len(usable) == 0:
        raise ValueError(
            f"none of the {len(snapshot)} prepared items has sound and at least "
            f"{clip_format.span_seconds:g} s of picture, which one clip needs"
        )
    key = [snapshot.title_id[usable].astype(np.int64)]
    if policy.level == "season":
        key.append(snapshot.season[usable].astype(np.int64))
    elif policy.level == "episode":
        key.append(snapshot.item_id[usable].astype(np.int64))
    order = np.lexsort(key[::-1])
    sorted_key = np.stack(key)[:, order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (sorted_key[:, 1:] != sorted_key[:, :-1]).any(axis=0)
    rows = usable[order]
    seconds = starts[rows] / rate[rows]
    offsets = np.append(np.flatnonzero(is_first), len(rows)).astype(np.int64)
    cumulative = np.concatenate([[0.0], np.cumsum(seconds)])
    total = cumulative[offsets[1:]] - cumulative[offsets[:-1]]
    weights = {"uniform": np.ones_like(total), "sqrt": np.sqrt(total), "duration": total}
    chosen = weights[policy.title_weight]
    return ItemGroups(
        rows=rows.astype(np.int32),
        group_of=(np.cumsum(is_first) - 1).astype(np.int32),
        offsets=offsets,
        starts=starts[rows],
        frame_rate=rate[rows],
        cumulative=cumulative,
        weights=chosen / chosen.sum(),
        num_unusable=len(snapshot) - len(usable),
    )
