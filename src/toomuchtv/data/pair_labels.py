"""Pair labels: whether clips i and j of a batch are positives, negatives or ignored."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from toomuchtv.data.clip_specs import TENSOR_COLUMNS, ClipSpecs

PairLabelName = Literal["negative", "ignore", "positive"]


class PairLabel(IntEnum):
    """Label of the pair (video of clip i, audio of clip j)."""

    IGNORE = -1
    NEGATIVE = 0
    POSITIVE = 1


_LABELS = {label.name.lower(): label for label in PairLabel}


class PairLabelConfig(BaseModel):
    """The labels of pairs of two different clips. If several rules apply, the last one counts.

    A clip is always a positive of itself. A pair that no rule mentions is a negative.

    Attributes:
        same_title: Label of two clips of one title, of the same item or of different items.
        same_item: Label of two clips of one item. If set, it overrides `same_title`.
        near_seconds: Two clips of one item that start less than this apart get the label `near`.
        near: Label of such pairs.
        same_recurrence: Label of two clips of different items that touch the same recurring
            segment, such as the opening of two episodes. As negatives they would be false ones.
        overlap_seconds: Two clips of one item that start less than this apart are ignored, because
            they share content.
        other_language: Label of two clips that share item and start time and differ in language.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    same_title: PairLabelName = "negative"
    same_item: PairLabelName | None = None
    near_seconds: float = Field(default=0.0, ge=0.0, le=1e6)
    near: PairLabelName = "positive"
    same_recurrence: PairLabelName = "ignore"
    overlap_seconds: float = Field(default=0.0, ge=0.0, le=1e6)
    other_language: PairLabelName = "positive"


@dataclass(frozen=True, slots=True, eq=False)
class PairLabels:
    """The pair labels of a batch, computed from its clip specs some rows at a time.

    The dense matrix of a large batch would not fit into memory; `rows` is all that a loss needs.

    Attributes:
        config: The rules.
        clips: float64 `[N, 6]`, the specs of all clips as `ClipSpecs.to_tensor` returns them,
            concatenated over processes. Pairs with an invalid clip are ignored.
        positives: Row and column of each positive pair, int64 `[P]` each, ordered by row and then
            by column, if they are known already; see `find_positives`. A loss that had to count
            them on a GPU would wait for it.
    """

    config: PairLabelConfig
    clips: Tensor
    positives: tuple[Tensor, Tensor] | None = None

    @classmethod
    def from_specs(
        cls, config: PairLabelConfig, specs: ClipSpecs, valid: Tensor | None = None
    ) -> PairLabels:
        """Label the pairs of a batch of one process, on the CPU.

        Args:
            config: The rules.
            specs: The clips.
            valid: bool `[N]`; all clips are valid if omitted.
        """
        return cls(config, specs.to_tensor(valid))

    def __len__(self) -> int:
        return len(self.clips)

    def column(self, name: str) -> Tensor:
        """Return one of `TENSOR_COLUMNS` of all clips, float64 `[N]`."""
        return self.clips[:, TENSOR_COLUMNS.index(name)]

    @property
    def title(self) -> Tensor:
        """int64 `[N]`."""
        return self.column("title").long()

    @property
    def item(self) -> Tensor:
        """int64 `[N]`."""
        return self.column("item").long()

    @property
    def valid(self) -> Tensor:
        """Bool `[N]`."""
        return self.column("valid").bool()

    def dense(self) -> Tensor:
        """Return all labels, int8 `[N, N]`: symmetric, and `POSITIVE` on a valid diagonal."""
        return self.rows(0, len(self))

    def rows(self, start: int, stop: int) -> Tensor:
        """Return the labels of clips `start` to `stop` with all clips, int8 `[stop - start, N]`."""
        part = slice(start, stop)
        label = _label_pairs(
            self.config,
            {name: self.column(name)[part, None] for name in TENSOR_COLUMNS},
            {name: self.column(name)[None, :] for name in TENSOR_COLUMNS},
        )
        # Filled in place of an assignment to an index, which would wait for a GPU.
        label.diagonal(start).fill_(PairLabel.POSITIVE)
        return label.masked_fill_(~(self.valid[part, None] & self.valid), PairLabel.IGNORE)


def find_positives(config: PairLabelConfig, clips: Tensor) -> tuple[Tensor, Tensor]:
    """Find the positive pairs of a batch on the CPU, without a matrix of all pairs.

    Only clips that share the title, the item or the recurring segment can be positive, so the cost
    grows with the pairs inside these groups.

    Args:
        config: The rules.
        clips: As the attribute of `PairLabels`, on the CPU.

    Returns:
        The attribute `positives` of `PairLabels`.
    """
    columns = dict(zip(TENSOR_COLUMNS, clips.unbind(dim=1), strict=True))
    num_clips = len(clips)
    codes = [torch.arange(num_clips) * (num_clips + 1)]  # the diagonal
    for name in _columns_that_make_positives(config):
        left, right = _pairs_of_equal(columns[name])
        codes.append(left * num_clips + right)
    code = torch.unique(torch.cat(codes))  # sorted
    row, column = code // max(1, num_clips), code % max(1, num_clips)
    label = _label_pairs(
        config,
        {name: values[row] for name, values in columns.items()},
        {name: values[column] for name, values in columns.items()},
    )
    valid = columns["valid"].bool()
    is_positive = ((label == PairLabel.POSITIVE) | (row == column)) & valid[row] & valid[column]
    return row[is_positive], column[is_positive]


def _columns_that_make_positives(config: PairLabelConfig) -> list[str]:
    """Return the columns of which two clips of a positive pair may share the value."""
    of_items = (
        config.same_item == "positive"
        or (config.near == "positive" and config.near_seconds > 0)
        or config.other_language == "positive"
    )
    wanted = {
        "title": config.same_title == "positive",
        "item": of_items,
        "recurrence": config.same_recurrence == "positive",
    }
    return [name for name, is_wanted in wanted.items() if is_wanted]


def _pairs_of_equal(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return all pairs of indices whose values are equal, int64 `[P]` each."""
    order = values.argsort(stable=True)
    _, group, sizes = torch.unique(values, return_inverse=True, return_counts=True)
    starts = sizes.cumsum(0) - sizes
    partners = sizes[group]  # of each index
    left = torch.arange(len(values)).repeat_interleave(partners)
    # 0, 1, ... for each index, to count through its group in `order`
    within = torch.arange(len(left)) - (partners.cumsum(0) - partners)[left]
    return left, order[starts[group][left] + within]


def _label_pairs(
    config: PairLabelConfig, left: dict[str, Tensor], right: dict[str, Tensor]
) -> Tensor:
    """Label pairs of different clips, both valid: int8, with the shape of the broadcast columns."""
    same_item = left["item"] == right["item"]
    gap = (left["start_seconds"] - right["start_seconds"]).abs()
    label = torch.full_like(same_item, PairLabel.NEGATIVE, dtype=torch.int8)
    label.masked_fill_(left["title"] == right["title"], _LABELS[config.same_title])
    if config.same_item is not None:
        label.masked_fill_(same_item, _LABELS[config.same_item])
    label.masked_fill_(same_item & (gap < config.near_seconds), _LABELS[config.near])
    same_recurrence = (left["recurrence"] == right["recurrence"]) & (left["recurrence"] >= 0)
    label.masked_fill_(same_recurrence & ~same_item, _LABELS[config.same_recurrence])
    label.masked_fill_(same_item & (gap < config.overlap_seconds), PairLabel.IGNORE)
    # Start times lie on the item's frame grid, so two of them are equal or a frame apart.
    other_language = same_item & (gap == 0) & (left["audio_track"] != right["audio_track"])
    return label.masked_fill_(other_language, _LABELS[config.other_language])
