"""How hard the negatives of a batch are: the paper's "overabundance of easy negatives" counted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class NegativeFigures:
    """Figures over the rows of both directions; shares are of the negatives' softmax mass.

    Attributes:
        mass_same_item: Share on negatives of the same item.
        mass_same_title: Share on negatives of the same title, those of the item included.
        mass_other_titles: The rest. Shares are means over the rows.
        effective_negatives: exp of the entropy of the negatives' shares, mean over the rows;
            between 1 and the number of negatives.
        top1: How often the own moment is nearest among all.
        top1_in_title: The same among the moments of the own title, over rows that have others.
    """

    mass_same_item: float
    mass_same_title: float
    mass_other_titles: float
    effective_negatives: float
    top1: float
    top1_in_title: float


@torch.no_grad()
def negative_figures(
    video: Tensor, audio: Tensor, role: Tensor, *, title: Tensor, item: Tensor, temperature: float
) -> NegativeFigures:
    """Count how hard the negatives are.

    Args:
        video: Unit vectors `[N, D]`.
        audio: Unit vectors `[N, D]`.
        role: int `[N, N]`: 1 positive, 0 negative, -1 ignored. The diagonal is the own moment.
        title: int `[N]`.
        item: int `[N]`.
        temperature: That of the objective.
    """
    similarity = video.float() @ audio.float().T
    same_title = title[:, None] == title[None, :]
    same_item = item[:, None] == item[None, :]
    rows = [
        _one_way(logits, roles, same_title, same_item)
        for logits, roles in (
            (similarity / temperature, role),
            (similarity.T / temperature, role.T),
        )
    ]
    means = [torch.cat(values)[~torch.cat(values).isnan()] for values in zip(*rows, strict=True)]
    figures = [value.mean().item() if len(value) else math.nan for value in means]
    return NegativeFigures(
        mass_same_item=figures[0],
        mass_same_title=figures[1],
        mass_other_titles=1.0 - figures[1],
        effective_negatives=figures[2],
        top1=figures[3],
        top1_in_title=figures[4],
    )


def _one_way(
    logits: Tensor, role: Tensor, same_title: Tensor, same_item: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Per row, NaN where it has no such figure: item mass, title mass, effective, both top-1."""
    is_negative = role == 0
    own = torch.diagonal(logits)[:, None]
    counts = (torch.diagonal(role) == 1) & is_negative.any(dim=1)
    log_share = torch.log_softmax(logits.masked_fill(~is_negative, -math.inf), dim=1)
    share = log_share.exp()
    entropy = -(share * log_share.masked_fill(~is_negative, 0.0)).sum(dim=1)
    nearest = ((logits < own) | ~is_negative).all(dim=1).float()
    in_title = is_negative & same_title
    nearest_in_title = ((logits < own) | ~in_title).all(dim=1).float()

    def where(condition: Tensor, values: Tensor) -> Tensor:
        return torch.where(condition, values, math.nan)

    return (
        where(counts, (share * same_item).sum(dim=1)),
        where(counts, (share * same_title).sum(dim=1)),
        where(counts, entropy.exp()),
        where(counts, nearest),
        where(counts & in_title.any(dim=1), nearest_in_title),
    )
