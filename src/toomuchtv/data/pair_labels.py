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
    """

    config: PairLabelConfig
    clips: Tensor

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
        config = self.config
        part = slice(start, stop)

        def equal(name: str) -> Tensor:
            values = self.column(name)
            return values[part, None] == values[None, :]

        same_item = equal("item")
        start_seconds = self.column("start_seconds")
        gap = (start_seconds[part, None] - start_seconds[None, :]).abs()
        label = torch.full_like(same_item, PairLabel.NEGATIVE, dtype=torch.int8)
        label[equal("title")] = _LABELS[config.same_title]
        if config.same_item is not None:
            label[same_item] = _LABELS[config.same_item]
        label[same_item & (gap < config.near_seconds)] = _LABELS[config.near]
        same_recurrence = equal("recurrence") & (self.column("recurrence") >= 0)
        label[same_recurrence & ~same_item] = _LABELS[config.same_recurrence]
        label[same_item & (gap < config.overlap_seconds)] = PairLabel.IGNORE
        # Start times lie on the item's frame grid, so two of them are equal or a frame apart.
        other_language = same_item & (gap == 0) & ~equal("audio_track")
        label[other_language] = _LABELS[config.other_language]
        diagonal = torch.arange(start, stop, device=label.device)
        label[diagonal - start, diagonal] = PairLabel.POSITIVE
        label[~self.valid[part]] = PairLabel.IGNORE
        label[:, ~self.valid] = PairLabel.IGNORE
        return label
