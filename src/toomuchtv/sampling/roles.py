"""What clip i is to clip j: the pair roles of a batch."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

RoleName = Literal["negative", "ignore", "positive"]


class PairRole(IntEnum):
    """Role of the pair (video of clip i, audio of clip j) in the objective."""

    IGNORE = -1
    NEGATIVE = 0
    POSITIVE = 1


_ROLES = {
    "ignore": PairRole.IGNORE,
    "negative": PairRole.NEGATIVE,
    "positive": PairRole.POSITIVE,
}


class PairRoleConfig(BaseModel):
    """Roles of pairs that are not of the same moment.

    Attributes:
        same_title: Pairs of one title, be they of one item or of two.
        same_item: Pairs of one item; where set, it goes before `same_title`.
        overlap_seconds: Pairs of one item nearer than this share content and are ignored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    same_title: RoleName = "negative"
    same_item: RoleName | None = None
    overlap_seconds: float = Field(default=0.0, ge=0.0)


def pair_roles(
    config: PairRoleConfig, *, title: Tensor, item: Tensor, start_seconds: Tensor, valid: Tensor
) -> Tensor:
    """Give every pair its role.

    Args:
        config: The rules.
        title: int64 `[N]`.
        item: int64 `[N]`.
        start_seconds: float64 `[N]`.
        valid: bool `[N]`; pairs with an invalid clip are ignored.

    Returns:
        int8 `[N, N]` of `PairRole`; symmetric, with `POSITIVE` on the diagonal of valid clips.
    """
    same_title = title[:, None] == title[None, :]
    same_item = item[:, None] == item[None, :]
    role = torch.full(same_title.shape, PairRole.NEGATIVE, dtype=torch.int8, device=title.device)
    role[same_title] = _ROLES[config.same_title]
    if config.same_item is not None:
        role[same_item] = _ROLES[config.same_item]
    gap = (start_seconds[:, None] - start_seconds[None, :]).abs()
    role[same_item & (gap < config.overlap_seconds)] = PairRole.IGNORE
    role.fill_diagonal_(PairRole.POSITIVE)
    role[~valid] = PairRole.IGNORE
    role[:, ~valid] = PairRole.IGNORE
    return role
