"""The sampling policy: its settings, and the groups of items it draws from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from toomuchtv._internal.random_numbers import FloatArray
from toomuchtv.catalog.records import TitleKind
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.data.schedule import Scheduled, checked, stages, value_at
from toomuchtv.data.valid_starts import IntArray, ValidStarts, valid_starts
from toomuchtv.media.clip import ClipFormat

SegmentKind = Literal[
    "opening", "credits", "recap", "recurring", "black", "silence", "logo", "shot"
]


class KindShares(BaseModel):
    """Shares of films, shows and short clips in what is drawn; what they sum to does not matter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    movie: float = Field(default=0.0, ge=0.0)
    show: float = Field(default=0.0, ge=0.0)
    clip: float = Field(default=0.0, ge=0.0)

    @model_validator(mode="after")
    def _something(self) -> KindShares:
        if self.movie + self.show + self.clip <= 0:
            raise ValueError("at least one kind of title needs a share above 0")
        return self

    def of(self, kind: TitleKind) -> float:
        """The share of a kind, of 1."""
        return float(getattr(self, kind)) / (self.movie + self.show + self.clip)


class SamplingConfig(BaseModel):
    """Which clips make a batch.

    `uniform` draws every clip independently, each item weighted by its usable duration.
    `hierarchical` draws titles, then items inside each, then clips inside each item: the policy
    of "Watching Too Much Television is Good" (arXiv 2106.08513), in this project's own reading.

    `clips_per_item` and `window_seconds` may change as a run goes on: instead of a value, pairs
    `[from_step, value]`, such as `[[0, 4], [2000, 16]]`.

    Attributes:
        batch_size: Clips of one step over all processes:
            titles x items_per_title x clips_per_item.
        level: What counts as one title. Films are titles of their own at every level.
        title_weight: How likely a title is: alike, by the root of its duration, or by it.
        kind_shares: How much of what is drawn are films, shows and short clips; unset: as it comes.
            Titles of each kind are dealt without replacement of their own.
        min_gap_seconds: Least distance between the starts of two clips of one item.
        window_seconds: All clips of one item start within such a window; unset or inf: anywhere.
        skip: Kinds of segments that no clip may touch, with its frames or its sound.
        shots: Whether the frames of a clip may lie on both sides of a cut.
        languages: Which sound of an item with several: the preferred one; any, drawn for each
            clip; or pairs, where two clips are of the same moment in two languages.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["uniform", "hierarchical"] = "hierarchical"
    batch_size: int = Field(default=64, ge=2)
    items_per_title: int = Field(default=1, ge=1)
    clips_per_item: Scheduled[int] = 16
    level: Literal["show", "season", "episode"] = "show"
    title_weight: Literal["uniform", "sqrt", "duration"] = "uniform"
    kind_shares: KindShares | None = None
    min_gap_seconds: float = Field(default=2.0, ge=0.0)
    window_seconds: Scheduled[float] | None = None
    skip: Annotated[tuple[SegmentKind, ...], Field(description="kinds")] = (
        "credits", "logo", "black", "silence",
    )  # fmt: skip
    shots: Literal["cross", "inside"] = "cross"
    languages: Literal["preferred", "any", "pairs"] = "preferred"

    @field_validator("clips_per_item")
    @classmethod
    def _clips_in_order(cls, value: Scheduled[int]) -> Scheduled[int]:
        return checked(value, lambda clips: clips >= 1, "at least 1")

    @field_validator("window_seconds")
    @classmethod
    def _windows_in_order(cls, value: Scheduled[float] | None) -> Scheduled[float] | None:
        return value if value is None else checked(value, lambda window: window > 0, "above 0")

    @model_validator(mode="after")
    def _batch_is_whole_titles(self) -> SamplingConfig:
        for _, clips in stages(self.clips_per_item):
            if self.name == "hierarchical" and self.batch_size % (self.items_per_title * clips):
                raise ValueError(
                    f"batch_size ({self.batch_size}) must be a multiple of items_per_title x "
                    f"clips_per_item ({self.items_per_title} x {clips})"
                )
        return self

    def clips_per_item_at(self, step: int) -> int:
        """Clips that a draw of an item gives at a step."""
        return value_at(self.clips_per_item, step)

    def titles_at(self, step: int) -> int:
        """Draws of titles in the batch of a step."""
        return self.batch_size // (self.items_per_title * self.clips_per_item_at(step))

    def window_seconds_at(self, step: int) -> float:
        """The window of a step; inf for none."""
        return math.inf if self.window_seconds is None else value_at(self.window_seconds, step)

    def fixed_at(self, step: int) -> SamplingConfig:
        """The same policy with the values of one step instead of schedules."""
        window = self.window_seconds_at(step)
        return self.model_copy(
            update={
                "clips_per_item": self.clips_per_item_at(step),
                "window_seconds": None if math.isinf(window) else window,
            }
        )

    def draws(self) -> list[tuple[int, int]]:
        """What is dealt in a step, `(from_step, how many)`: titles, or for `uniform` clips."""
        if self.name == "uniform":
            return [(0, self.batch_size)]
        return [(step, self.titles_at(step)) for step, _ in stages(self.clips_per_item)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemGroups:
    """The usable items of a snapshot, sorted by the title they count for.

    Where kinds of titles have shares of their own, titles of one kind lie together.

    Attributes:
        rows: int32 `[U]`, row of each usable item in the snapshot.
        group_of: int32 `[U]`, the group each belongs to; ascending.
        offsets: int64 `[G + 1]`, where each group starts in `rows`.
        starts: Where in each item a clip can start, on the frame grid of its proxy; `U` items.
        frame_rate: float64 `[U]`.
        cumulative: float64 `[U + 1]`, usable seconds before each item.
        weights: float64 `[G]`, of the groups, relative.
        decks: int64 `[K + 1]`, where each kind with a share starts among the groups.
        shares: float64 `[K]`, of these kinds; they sum to 1.
        num_unusable: Items left out: no sound, or nowhere room for one clip.
    """

    rows: NDArray[np.int32]
    group_of: NDArray[np.int32]
    offsets: NDArray[np.int64]
    starts: ValidStarts
    frame_rate: NDArray[np.float64]
    cumulative: NDArray[np.float64]
    weights: NDArray[np.float64]
    decks: NDArray[np.int64]
    shares: NDArray[np.float64]
    num_unusable: int

    @property
    def num_groups(self) -> int:
        """How many titles there are, at the policy's level."""
        return len(self.offsets) - 1

    def at_share(self, share: FloatArray, first: IntArray | int, stop: IntArray | int) -> IntArray:
        """Items at places in [0, 1) of the usable seconds of items `first` to `stop`."""
        low, high = self.cumulative[first], self.cumulative[stop]
        places = np.searchsorted(self.cumulative, low + share * (high - low), side="right") - 1
        return np.clip(places, first, np.asarray(stop) - 1)


def group_items(
    snapshot: CatalogSnapshot, policy: SamplingConfig, clip_format: ClipFormat
) -> ItemGroups:
    """Sort the usable items of a snapshot by what counts as their title.

    Raises:
        ValueError: No item can give a clip, or none of a kind that is to have a share.
    """
    usable = np.flatnonzero(_starts(snapshot, policy, clip_format).count > 0)
    if policy.kind_shares is not None:
        shares = np.array([policy.kind_shares.of(kind) for kind in TitleKind])
        usable = usable[shares[snapshot.kind[usable]] > 0]
    if len(usable) == 0:
        raise ValueError(_why_nothing(snapshot, policy, clip_format))
    key = [snapshot.title_id[usable].astype(np.int64)]
    if policy.kind_shares is not None:
        key.insert(0, snapshot.kind[usable].astype(np.int64))
    if policy.level == "season":
        key.append(snapshot.season[usable].astype(np.int64))
    elif policy.level == "episode":
        key.append(snapshot.item_id[usable].astype(np.int64))
    order = np.lexsort(key[::-1])
    rows = usable[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = np.any([part[order][1:] != part[order][:-1] for part in key], axis=0)
    offsets = np.append(np.flatnonzero(is_first), len(rows)).astype(np.int64)
    starts = _starts(snapshot, policy, clip_format, rows)
    rate = snapshot.frame_rate[rows].astype(np.float64)
    cumulative = np.concatenate([[0.0], np.cumsum(starts.count / rate)])
    total = cumulative[offsets[1:]] - cumulative[offsets[:-1]]
    weights = {"uniform": np.ones_like(total), "sqrt": np.sqrt(total), "duration": total}
    decks, deck_shares = np.array([0, len(total)]), np.ones(1)
    if policy.kind_shares is not None:
        decks, deck_shares = _decks(snapshot.kind[rows[offsets[:-1]]], policy.kind_shares)
    return ItemGroups(
        rows=rows.astype(np.int32),
        group_of=(np.cumsum(is_first) - 1).astype(np.int32),
        offsets=offsets,
        starts=starts,
        frame_rate=rate,
        cumulative=cumulative,
        weights=weights[policy.title_weight],
        decks=decks,
        shares=deck_shares,
        num_unusable=len(snapshot) - len(rows),
    )


def clip_frames(frame_rate: NDArray[np.float64], clip_format: ClipFormat) -> NDArray[np.int64]:
    """Frames of proxies from a clip's first to its last, that included, by their rates."""
    stride = np.rint(frame_rate / clip_format.frame_rate).astype(np.int64)
    return (clip_format.frames - 1) * stride + 1


def _starts(
    snapshot: CatalogSnapshot,
    policy: SamplingConfig,
    clip_format: ClipFormat,
    rows: NDArray[np.int64] | None = None,
) -> ValidStarts:
    """Where clips can start in some rows of the snapshot, in that order; without: in all."""
    rows = np.arange(len(snapshot)) if rows is None else rows
    rate = snapshot.frame_rate[rows].astype(np.float64)
    length = clip_frames(rate, clip_format)
    has_sound = snapshot.num_tracks[rows] > 0
    num_frames = np.maximum(snapshot.num_frames[rows] - length + 1, 0) * has_sound
    skipped, cuts = _stretches(snapshot, policy, clip_format)
    place = np.full(len(snapshot), -1, np.int64)
    place[rows] = np.arange(len(rows))
    row = np.concatenate([skipped[0], cuts[0]])
    here = place[row] >= 0
    item = place[row[here]]
    begin, stop = (np.concatenate([skipped[edge], cuts[edge]])[here] for edge in (1, 2))
    return valid_starts(
        num_frames.astype(np.int64),
        item=item,
        begin_frame=begin * rate[item],
        stop_frame=stop * rate[item],
        clip_frames=length,
    )


Stretches = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]


def _stretches(
    snapshot: CatalogSnapshot, policy: SamplingConfig, clip_format: ClipFormat
) -> tuple[Stretches, Stretches]:
    """What clips may not touch, and the cuts that they may not cross: rows, begins, stops."""
    skipped = snapshot.segments.of_kinds(policy.skip)
    # Sound that reaches further than the frames must not touch it either.
    overhang = max(0.0, (clip_format.audio_seconds - clip_format.span_seconds) / 2)
    cuts = snapshot.segments.of_kinds(("shot",) if policy.shots == "inside" else ())
    edges = np.concatenate([cuts.start_seconds, cuts.stop_seconds]).astype(np.float64)
    # The seconds of cuts are rounded; a frame at the cut belongs to what comes after it.
    edges -= 1e-3
    return (
        (
            skipped.row.astype(np.int64),
            skipped.start_seconds.astype(np.float64) - overhang,
            skipped.stop_seconds.astype(np.float64) + overhang,
        ),
        (np.concatenate([cuts.row, cuts.row]).astype(np.int64), edges, edges),
    )


def _decks(
    kind: NDArray[np.uint8], kind_shares: KindShares
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where each kind begins among the groups, `[K + 1]`, and its share, `[K]`."""
    wanted = [kind_of for kind_of in TitleKind if kind_shares.of(kind_of) > 0]
    numbers = [tuple(TitleKind).index(kind_of) for kind_of in wanted]
    missing = [
        str(name) for name, number in zip(wanted, numbers, strict=True) if number not in kind
    ]
    if missing:
        raise ValueError(
            f"sampling.kind_shares gives a share to {', '.join(missing)}, of which the catalog has "
            "no usable title: set it to 0"
        )
    return (
        np.append(np.searchsorted(kind, numbers), len(kind)),
        np.array([kind_shares.of(kind_of) for kind_of in wanted]),
    )


def _why_nothing(snapshot: CatalogSnapshot, policy: SamplingConfig, clip_format: ClipFormat) -> str:
    text = (
        f"none of the {len(snapshot)} prepared items has sound and at least "
        f"{clip_format.span_seconds:g} s of picture, which one clip needs"
    )
    if policy.kind_shares is not None:
        text += ", and is of a kind that sampling.kind_shares gives a share"
    if len(snapshot.segments) and (policy.skip or policy.shots == "inside"):
        text += "; what sampling.skip and sampling.shots leave out is not counted: allow more of it"
    return text
