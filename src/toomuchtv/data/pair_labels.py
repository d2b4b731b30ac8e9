"""What clip i is to clip j: the pair roles of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from toomuchtv.data.sampler import ClipSpecs

PairLabelName = Literal["negative", "ignore", "positive"]


class PairLabel(IntEnum):
    """Role of the pair (video of clip i, audio of clip j) in the objective."""

    IGNORE = -1
    NEGATIVE = 0
    POSITIVE = 1


_ROLES = {
    "ignore": PairLabel.IGNORE,
    "negative": PairLabel.NEGATIVE,
    "positive": PairLabel.POSITIVE,
}


class PairLabelConfig(BaseModel):
    """Roles of pairs that are not of one clip. Where several of these apply, the last one counts.

    Attributes:
        same_title: Pairs of one title, be they of one item or of two.
        same_item: Pairs of one item; where set, it goes before `same_title`.
        near_seconds: Pairs of one item whose starts are less than this apart are `near`.
        near: Their role.
        same_recurrence: Pairs of two items of which both lie in the same recurring thing: in the
            opening of two episodes, say. As negatives they would be false ones.
        overlap_seconds: Pairs of one item nearer than this share content and are ignored.
        other_language: Pairs of one moment in two languages.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    same_title: PairLabelName = "negative"
    same_item: PairLabelName | None = None
    near_seconds: float = Field(default=0.0, ge=0.0)
    near: PairLabelName = "positive"
    same_recurrence: PairLabelName = "ignore"
    overlap_seconds: float = Field(default=0.0, ge=0.0)
    other_language: PairLabelName = "positive"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairLabels:
    """The roles of a batch's pairs, worked out some rows at a time from what each clip is.

    Attributes:
        config: The rules.
        title: int64 `[N]`.
        item: int64 `[N]`.
        start_seconds: float64 `[N]`.
        audio_track: int64 `[N]`, which of the item's sounds.
        recurrence: int64 `[N]`, which recurring thing a clip lies in; -1 for none.
        valid: bool `[N]`; pairs with an invalid clip are ignored.
    """

    config: PairLabelConfig
    title: Tensor
    item: Tensor
    start_seconds: Tensor
    audio_track: Tensor
    recurrence: Tensor
    valid: Tensor

    @classmethod
    def of_plan(cls, config: PairLabelConfig, plan: ClipSpecs) -> PairLabels:
        """The roles of a planned batch of which every clip can be read."""
        names = ("title", "item", "start_seconds", "audio_track", "recurrence")
        columns = {name: torch.from_numpy(getattr(plan, name)) for name in names}
        return cls(config=config, **columns, valid=torch.ones(len(plan), dtype=torch.bool))

    def __len__(self) -> int:
        return len(self.title)

    def dense(self) -> Tensor:
        """All roles, int8 `[N, N]`: symmetric; each valid clip is `POSITIVE` to itself."""
        return self.rows(0, len(self))

    def rows(self, start: int, stop: int) -> Tensor:
        """The roles of clips `start` to `stop` with all others, int8 `[stop - start, N]`."""
        config = self.config
        cut = slice(start, stop)

        def alike(values: Tensor) -> Tensor:
            return values[cut, None] == values[None, :]

        same_item = alike(self.item)
        gap = (self.start_seconds[cut, None] - self.start_seconds[None, :]).abs()
        role = torch.full(
            same_item.shape, PairLabel.NEGATIVE, dtype=torch.int8, device=self.title.device
        )
        role[alike(self.title)] = _ROLES[config.same_title]
        if config.same_item is not None:
            role[same_item] = _ROLES[config.same_item]
        role[same_item & (gap < config.near_seconds)] = _ROLES[config.near]
        recurs = alike(self.recurrence) & (self.recurrence >= 0)
        role[recurs & ~same_item] = _ROLES[config.same_recurrence]
        role[same_item & (gap < config.overlap_seconds)] = PairLabel.IGNORE
        # Starts lie on the frame grid of the item: moments are equal or a frame apart.
        role[same_item & (gap == 0) & ~alike(self.audio_track)] = _ROLES[config.other_language]
        own = torch.arange(start, stop, device=role.device)
        role[own - start, own] = PairLabel.POSITIVE
        role[~self.valid[cut]] = PairLabel.IGNORE
        role[:, ~self.valid] = PairLabel.IGNORE
        return role
