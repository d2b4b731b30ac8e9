"""How hard the negatives of a batch are: the paper's "overabundance of easy negatives" counted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from toomuchtv.losses.base import Roles

# float32 products of unit vectors are exact to about 1e-7: nearer than this is equally near.
_TIE = 1e-6
# A negative is easy that carries less than this share of what an even split would give it.
_EASY_SHARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class NegativeFigures:
    """Figures over the rows of both directions; shares are of the negatives' softmax mass.

    NaN where no row has such a figure: a batch without negatives, titles with one clip each.

    Attributes:
        mass_same_item: Share on negatives of the same item.
        mass_same_title: Share on negatives of the same title, those of the item included.
        mass_other_titles: The rest. Shares are means over the rows.
        effective_negatives: exp of the entropy of the negatives' shares, mean over the rows;
            between 1 and the number of negatives.
        easy_negative_share: Share of a row's negatives that carry less than 1% of what an even
            split of the mass would give each; mean over the rows.
        top1: How often the own moment is nearest among all. Where others are as near, it counts
            as one of them: embeddings that are all equal find 1 in N.
        top1_in_title: The same among the moments of the own title, over rows that have others.
    """

    mass_same_item: float
    mass_same_title: float
    mass_other_titles: float
    effective_negatives: float
    easy_negative_share: float
    top1: float
    top1_in_title: float


@torch.no_grad()
def negative_figures(
    video: Tensor,
    audio: Tensor,
    role: Tensor | Roles,
    *,
    title: Tensor,
    item: Tensor,
    temperature: float,
    block_size: int = 1024,
) -> NegativeFigures:
    """Count how hard the negatives are.

    A row is a video that asks for its audio, then an audio that asks for its video; it counts
    where its own moment is a positive and it has a negative. Other positives take no part.

    Args:
        video: Unit vectors `[N, D]`, on any device.
        audio: Unit vectors `[N, D]`.
        role: int `[N, N]` of (video i, audio j), or what gives its rows: 1 positive, 0 negative,
            -1 ignored. It need not be symmetric. The diagonal is the own moment.
        title: int `[N]`.
        item: int `[N]`.
        temperature: That of the objective.
        block_size: Rows at once: memory is `block_size x N` floats, and N x N bytes of roles.
    """
    video, audio, num = video.float(), audio.float(), len(video)
    roles = role if isinstance(role, Tensor) else _dense(role, num, block_size)
    rows = []
    for query, target, pairs in ((video, audio, roles), (audio, video, roles.T)):
        for first in range(0, num, block_size):
            block = slice(first, min(first + block_size, num))
            rows.append(
                _rows(
                    query[block] @ target.T,
                    pairs[block],
                    first=first,
                    temperature=temperature,
                    same_title=title[block, None] == title,
                    same_item=item[block, None] == item,
                )
            )
    # One transfer from the device for all figures.
    item_mass, title_mass, effective, easy, top1, in_title = (
        torch.cat(rows).nanmean(dim=0).tolist() if rows else [math.nan] * 6
    )
    return NegativeFigures(
        mass_same_item=item_mass,
        mass_same_title=title_mass,
        mass_other_titles=1.0 - title_mass,
        effective_negatives=effective,
        easy_negative_share=easy,
        top1=top1,
        top1_in_title=in_title,
    )


def _dense(role: Roles, num: int, block_size: int) -> Tensor:
    """All rows, one byte a pair: the other direction asks for columns."""
    return torch.cat(
        [role.rows(first, min(first + block_size, num)) for first in range(0, num, block_size)]
    )


def _rows(
    similarity: Tensor,
    role: Tensor,
    *,
    first: int,
    temperature: float,
    same_title: Tensor,
    same_item: Tensor,
) -> Tensor:
    """Figures of a block of rows, `[B, 6]`, NaN where a row has none; rows count from `first`."""
    is_negative = role == 0
    own = torch.diagonal(similarity, offset=first)[:, None]
    num_negatives = is_negative.sum(dim=1)
    counts = (torch.diagonal(role, offset=first) == 1) & (num_negatives > 0)
    log_share = torch.log_softmax(
        (similarity / temperature).masked_fill(~is_negative, -math.inf), dim=1
    )
    share = log_share.exp()
    entropy = -(share * log_share.masked_fill(~is_negative, 0.0)).sum(dim=1)
    easy = ((share < _EASY_SHARE / num_negatives[:, None]) & is_negative).sum(dim=1) / num_negatives
    in_title = is_negative & same_title
    figures = torch.stack(
        [
            (share * same_item).sum(dim=1),
            (share * same_title).sum(dim=1),
            entropy.exp(),
            easy,
            _is_nearest(similarity - own, is_negative),
            _is_nearest(similarity - own, in_title),
        ],
        dim=1,
    )
    has_figure = counts[:, None].repeat(1, figures.shape[1])
    has_figure[:, -1] &= in_title.any(dim=1)
    return torch.where(has_figure, figures, math.nan)


def _is_nearest(margin: Tensor, among: Tensor) -> Tensor:
    """Whether no other is nearer, `[B]` in 0..1: one of n that are as near counts 1 / n."""
    is_beaten = ((margin > _TIE) & among).any(dim=1)
    num_equal = ((margin.abs() <= _TIE) & among).sum(dim=1)
    return torch.where(is_beaten, 0.0, 1.0 / (1 + num_equal))
