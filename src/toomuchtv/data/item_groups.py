"""The items that a sampling policy draws from, grouped by the title that they count for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toomuchtv._internal.random_numbers import FloatArray, IntArray
from toomuchtv.catalog.records import TitleKind
from toomuchtv.catalog.snapshot import CatalogSnapshot
from toomuchtv.data.config import KindShares, SamplingConfig
from toomuchtv.data.valid_starts import ValidStarts, valid_starts
from toomuchtv.media.clip import ClipFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemGroups:
    """The usable items of a snapshot, sorted by the title that they count for.

    An item is usable if it has audio and a frame at which a clip may start.

    If kinds of titles have shares of their own, the titles of one kind are consecutive.

    Attributes:
        rows: int32 `[U]`, row of each usable item in the snapshot.
        group_of: int32 `[U]`, number of each item's title; ascending.
        offsets: int64 `[G + 1]`, index of the first item of each title.
        starts: Frames at which a clip of each item may start; `U` items.
        frame_rate: float64 `[U]`, frames per second of each item's proxy.
        cumulative: float64 `[U + 1]`, usable seconds of all items before each item.
        weights: float64 `[G]`, relative weight of each title.
        kind_offsets: int64 `[K + 1]`, first title of each kind that has a share.
        kind_shares: float64 `[K]`, the shares of these kinds; they sum to 1.
    """

    rows: NDArray[np.int32]
    group_of: NDArray[np.int32]
    offsets: NDArray[np.int64]
    starts: ValidStarts
    frame_rate: NDArray[np.float64]
    cumulative: NDArray[np.float64]
    weights: NDArray[np.float64]
    kind_offsets: NDArray[np.int64]
    kind_shares: NDArray[np.float64]

    @property
    def num_groups(self) -> int:
        """Number of titles, at the level of the policy."""
        return len(self.offsets) - 1

    def at_share(self, share: FloatArray, first: IntArray | int, stop: IntArray | int) -> IntArray:
        """Return the items at positions in [0, 1) of the usable seconds of items `first` to `stop`.

        The usable seconds of all items lie one after another on a line, and `cumulative` has the
        borders. A position drawn uniformly on a title's part of the line hits each of its items
        with a probability proportional to its usable seconds.
        """
        low, high = self.cumulative[first], self.cumulative[stop]
        items = np.searchsorted(self.cumulative, low + share * (high - low), side="right") - 1
        return np.clip(items, first, np.asarray(stop) - 1)


def group_items(
    snapshot: CatalogSnapshot, policy: SamplingConfig, clip_format: ClipFormat
) -> ItemGroups:
    """Group the usable items of a snapshot by title.

    Raises:
        ValueError: No item has a valid start, or no title is of a kind that has a share.
    """
    every_row = np.arange(len(snapshot))
    starts = _valid_starts(snapshot, policy, clip_format, every_row)
    usable = np.flatnonzero(starts.count > 0)
    if policy.kind_shares is not None:
        shares = np.array([policy.kind_shares.of(kind) for kind in TitleKind])
        usable = usable[shares[snapshot.kind[usable]] > 0]
    if len(usable) == 0:
        raise ValueError(_explain_no_items(snapshot, policy, clip_format))
    key = [snapshot.title_number[usable]]
    if policy.kind_shares is not None:
        key.insert(0, snapshot.kind[usable].astype(np.int64))
    if policy.level == "season":
        key.append(snapshot.season[usable].astype(np.int64))
    elif policy.level == "episode":
        key.append(usable)
    order = np.lexsort(key[::-1])
    rows = usable[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = np.any([part[order][1:] != part[order][:-1] for part in key], axis=0)
    offsets = np.append(np.flatnonzero(is_first), len(rows)).astype(np.int64)
    starts = _valid_starts(snapshot, policy, clip_format, rows)
    rate = snapshot.frame_rate[rows].astype(np.float64)
    cumulative = np.concatenate([[0.0], np.cumsum(starts.count / rate)])
    total = cumulative[offsets[1:]] - cumulative[offsets[:-1]]
    weights = {"uniform": np.ones_like(total), "sqrt": np.sqrt(total), "duration": total}
    kind_offsets, kind_shares = np.array([0, len(total)]), np.ones(1)
    if policy.kind_shares is not None:
        kind_offsets, kind_shares = _divide_by_kind(
            snapshot.kind[rows[offsets[:-1]]], policy.kind_shares
        )
    return ItemGroups(
        rows=rows.astype(np.int32),
        group_of=(np.cumsum(is_first) - 1).astype(np.int32),
        offsets=offsets,
        starts=starts,
        frame_rate=rate,
        cumulative=cumulative,
        weights=weights[policy.title_weight],
        kind_offsets=kind_offsets,
        kind_shares=kind_shares,
    )


def audio_overhang_seconds(clip_format: ClipFormat) -> float:
    """Return by how much the audio of a clip begins before its frames, and ends after them.

    Audio is centered on the span of the frames, so a clip with longer audio covers
    `[start - overhang, start + span + overhang)`. This is the interval that counts for skipped
    and for recurring segments.
    """
    return max(0.0, (clip_format.audio_seconds - clip_format.span_seconds) / 2)


def _valid_starts(
    snapshot: CatalogSnapshot, policy: SamplingConfig, clip_format: ClipFormat, rows: IntArray
) -> ValidStarts:
    """Return the valid starts of some rows of the snapshot, in their order."""
    rate = snapshot.frame_rate[rows].astype(np.float64)
    stride = np.rint(rate / clip_format.frame_rate)
    length = ((clip_format.frames - 1) * stride + 1).astype(np.int64)
    has_audio = snapshot.num_tracks[rows] > 0
    num_frames = np.maximum(snapshot.num_frames[rows] - length + 1, 0) * has_audio
    index = np.full(len(snapshot), -1, np.int64)
    index[rows] = np.arange(len(rows))
    segments = snapshot.segments.where(index[snapshot.segments.row] >= 0)
    skipped = segments.of_kinds(policy.skip)
    item = index[skipped.row]
    # The audio of a clip must not touch a skipped segment either. `valid_starts` compares frames,
    # but a clip covers more: its last frame is shown for one more period of the clip's frame rate,
    # and fractions of a proxy frame count as well. So the segment begins earlier by that much.
    overhang = audio_overhang_seconds(clip_format)
    begin = (skipped.start_seconds.astype(np.float64) - overhang) * rate[item]
    begin = np.floor(begin) - stride[item] + 1
    stop = (skipped.stop_seconds.astype(np.float64) + overhang) * rate[item]
    # A cut has no length, and concerns frames alone. The seconds of cuts are rounded; the frame at
    # the cut belongs to the shot after it.
    shots = segments.of_kinds(("shot",) if policy.shots == "inside" else ())
    cut_item = np.tile(index[shots.row], 2)
    cut = np.concatenate([shots.start_seconds, shots.stop_seconds]).astype(np.float64) - 1e-3
    cut *= rate[cut_item]
    return valid_starts(
        num_frames.astype(np.int64),
        item=np.concatenate([item, cut_item]),
        begin_frame=np.concatenate([begin, cut]),
        stop_frame=np.concatenate([stop, cut]),
        clip_frames=length,
    )


def _divide_by_kind(
    kind: NDArray[np.uint8], kind_shares: KindShares
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the first title of each kind that has a share, `[K + 1]`, and the shares, `[K]`."""
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


def _explain_no_items(
    snapshot: CatalogSnapshot, policy: SamplingConfig, clip_format: ClipFormat
) -> str:
    text = (
        f"none of the {len(snapshot)} prepared items has audio and at least "
        f"{clip_format.span_seconds:g} s of video, which one clip needs"
    )
    if policy.kind_shares is not None:
        text += ", and is of a kind to which sampling.kind_shares gives a share"
    if len(snapshot.segments) and (policy.skip or policy.shots == "inside"):
        text += (
            "; skipped segments do not count: skip fewer kinds with sampling.skip, or set "
            "sampling.shots to cross"
        )
    return text
