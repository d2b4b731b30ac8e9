"""Measures of how hard the negatives of a batch are, and thus of the paper's "easy negatives"."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from toomuchtv.losses.base import LabelRows, PairLabelsLike, label_rows
from toomuchtv.losses.chunked import LOG_ZERO

# Products of float32 unit vectors are exact to about 1e-7. Differences below this count as ties.
_TIE = 1e-6
# A negative is easy if its share of the softmax is less than this fraction of an even share.
_EASY_FRACTION = 0.01
# Similarities per chunk; some ten matrices of this size exist at a time.
_CHUNK_ELEMENTS = {"cpu": 2**21, "cuda": 2**24}


@dataclass(frozen=True, slots=True, kw_only=True)
class NegativeFigures:
    """How hard the negatives of a batch are, averaged over the anchors of both modalities.

    Each video and each audio is an anchor. The softmax over the similarities of an anchor with its
    negatives gives every negative a share. A figure is NaN if no anchor has it, for example in a
    batch without negatives.

    Attributes:
        mass_same_item: Share of the negatives of the same item.
        mass_same_title: Share of the negatives of the same title, including those of the item.
        mass_other_titles: Share of the other negatives.
        effective_negatives: exp of the entropy of the shares: between 1 and the number of
            negatives.
        easy_negative_share: Fraction of the negatives whose share is less than 1% of an even share.
        top1: Fraction of anchors that are more similar to the other modality of their clip than to
            all negatives. With n negatives of equal similarity, an anchor counts as 1 / (n + 1), so
            that N equal embeddings score 1 / N.
        top1_in_title: The same among the clips of the anchor's title, over anchors whose title has
            other clips.
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
    pair_labels: PairLabelsLike = None,
    *,
    title: Tensor,
    item: Tensor,
    temperature: float,
    chunk_rows: int | None = None,
) -> NegativeFigures:
    """Measure how hard the negatives of a batch are.

    An anchor counts if its video and audio are a positive pair and it has a negative. Other
    positives take no part. Memory grows with N, not with its square.

    Args:
        video: Unit vectors `[N, D]`, on any device.
        audio: Unit vectors `[N, D]`.
        pair_labels: Labels of the pairs (video i, audio j), as the losses take them.
        title: int `[N]`.
        item: int `[N]`.
        temperature: Divisor of the similarities.
        chunk_rows: Rows of the matrix that are in memory at a time.
    """
    num, device = len(video), video.device
    video, audio = video.float(), audio.float()
    labels = label_rows(pair_labels, num, device)
    size = chunk_rows or max(1, _CHUNK_ELEMENTS.get(device.type, 2**21) // max(1, num))
    chunks = [(start, min(num, start + size)) for start in range(0, num, size)]
    own = (video * audio).sum(dim=1)
    softmax = _count_negatives(video, audio, labels, temperature, chunks)
    easy = _EASY_FRACTION / softmax.num_negatives
    # Sums of every anchor, videos (rows) first. A chunk completes the sums of its rows and adds its
    # part to the sums of all columns. Two passes are needed because a share is known only once the
    # sum over the whole column is.
    sums = torch.zeros(2, _NUM_SUMS, num, device=device)
    for start, stop in chunks:
        similarity = video[start:stop] @ audio.T
        masks = _Masks(
            negative=labels(start, stop) == 0,
            same_title=title[start:stop, None] == title,
            same_item=item[start:stop, None] == item,
        )
        for dim, anchors, part in ((1, slice(start, stop), 0), (0, slice(None), 1)):
            of_anchors = [
                values[anchors].unsqueeze(dim)
                for values in (softmax.maximum[part], softmax.log_sum[part], own, easy[part])
            ]
            maximum, log_sum, own_similarity, easy_share = of_anchors
            log_share = similarity / temperature - maximum - log_sum
            sums[part, :, anchors] += _sums(
                log_share, easy_share, similarity - own_similarity, masks, dim
            )
    figures = [
        _figures(sums[part], softmax.num_negatives[part], softmax.has_own_positive)
        for part in (0, 1)
    ]
    # One transfer from the device for all figures.
    item_mass, title_mass, effective, easy, top1, in_title = (
        torch.cat(figures, dim=1).nanmean(dim=1).tolist()
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Softmax:
    """The softmax of each anchor over its negatives, rows first.

    A share is exp(logit - maximum - log_sum). Subtracting two small numbers keeps the precision
    that one large log-sum-exp would lose.

    Attributes:
        maximum: Largest logit, float32 `[2, N]`.
        log_sum: Logarithm of the sum of exp(logit - maximum), float32 `[2, N]`.
        num_negatives: float32 `[2, N]`.
        has_own_positive: Whether the video and the audio of a clip are positive, bool `[N]`.
    """

    maximum: Tensor
    log_sum: Tensor
    num_negatives: Tensor
    has_own_positive: Tensor


def _count_negatives(
    video: Tensor,
    audio: Tensor,
    labels: LabelRows,
    temperature: float,
    chunks: list[tuple[int, int]],
) -> _Softmax:
    shape = 2, len(video)
    maximum = torch.full(shape, LOG_ZERO, device=video.device)
    total, count = torch.zeros(2, *shape, device=video.device)
    own_positive = torch.zeros(len(video), dtype=torch.bool, device=video.device)
    for start, stop in chunks:
        chunk = labels(start, stop)
        negative = chunk == 0
        logits = (video[start:stop] @ audio.T / temperature).masked_fill_(~negative, LOG_ZERO)
        maximum[0, start:stop] = logits.amax(dim=1)
        total[0, start:stop] = (logits - maximum[0, start:stop, None]).exp().sum(dim=1)
        # The sum of a column so far shrinks if this chunk raises the column's maximum.
        new_maximum = torch.maximum(maximum[1], logits.amax(dim=0))
        total[1] *= (maximum[1] - new_maximum).exp()
        total[1] += (logits - new_maximum).exp().sum(dim=0)
        maximum[1] = new_maximum
        count[0, start:stop] = negative.sum(dim=1).float()
        count[1] += negative.sum(dim=0)
        own_positive[start:stop] = chunk.diagonal(start) == 1
    return _Softmax(
        maximum=maximum, log_sum=total.log(), num_negatives=count, has_own_positive=own_positive
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Masks:
    """Properties of the pairs of a chunk, bool `[B, N]` each."""

    negative: Tensor
    same_title: Tensor
    same_item: Tensor


#: Share of the item, share of the title, entropy, number of easy negatives; then the number of
#: negatives that are more similar than the other modality of the clip, and of those that are as
#: similar, among all and in the title; then the number of negatives of the title.
_NUM_SUMS = 9


def _sums(log_share: Tensor, easy: Tensor, margin: Tensor, masks: _Masks, dim: int) -> Tensor:
    """Sum what a chunk contributes to its anchors, `[9, anchors]`; see `_NUM_SUMS`.

    Args:
        log_share: Logarithm of each pair's share of the softmax of its anchor, `[B, N]`.
        easy: Share below which a negative is easy, by anchor.
        margin: Similarity of each pair, less that of the video and audio of the anchor's clip,
            `[B, N]`.
        masks: Properties of the pairs.
        dim: The dimension to sum over: 1 if the anchors are rows, 0 if they are columns.
    """
    negative, in_title = masks.negative, masks.negative & masks.same_title
    log_share = log_share.masked_fill(~negative, 0.0)
    share = log_share.exp().masked_fill_(~negative, 0.0)
    nearer, equal = margin > _TIE, margin.abs() <= _TIE
    parts = [
        share * masks.same_item,
        share * masks.same_title,
        -share * log_share,
        (share < easy) & negative,
        nearer & negative,
        equal & negative,
        nearer & in_title,
        equal & in_title,
        in_title,
    ]
    return torch.stack([part.sum(dim=dim).float() for part in parts])


def _figures(sums: Tensor, num_negatives: Tensor, has_own_positive: Tensor) -> Tensor:
    """Return the figures of each anchor, `[6, N]`: NaN where an anchor does not have one."""
    item_mass, title_mass, entropy, easy, nearer, equal, title_nearer, title_equal, in_title = sums
    figures = torch.stack(
        [
            item_mass,
            title_mass,
            entropy.exp(),
            easy / num_negatives,
            torch.where(nearer > 0, 0.0, 1.0 / (1.0 + equal)),
            torch.where(title_nearer > 0, 0.0, 1.0 / (1.0 + title_equal)),
        ]
    )
    has_figure = (has_own_positive & (num_negatives > 0)).expand(6, -1).clone()
    has_figure[-1] &= in_title > 0
    return figures.where(has_figure, math.nan)
