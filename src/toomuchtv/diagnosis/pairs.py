"""All pairs of one pool of moments, a block of rows at a time: never all of them in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

RELATIONS = ("positives", "same item", "same title", "other titles")
NUM_BINS = 160
_BLOCK = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Embedded moments and where they are from.

    Attributes:
        video: Unit vectors float32 `[M, D]`.
        audio: Unit vectors float32 `[M, D]`.
        title: int64 `[M]`, 0 to T - 1.
        item: int64 `[M]`.
        role: int8 `[M, M]` of (video i, audio j): 1 positive, 0 negative, -1 ignored.
    """

    video: Tensor
    audio: Tensor
    title: Tensor
    item: Tensor
    role: Tensor

    def relation(self, rows: slice) -> Tensor:
        """Index into `RELATIONS` of a block of rows, `[B, M]`; -1 for what is ignored."""
        same_item = self.item[rows, None] == self.item
        same_title = self.title[rows, None] == self.title
        relation = torch.where(same_item, 1, torch.where(same_title, 2, 3))
        relation[self.role[rows] == 1] = 0
        relation[self.role[rows] == -1] = -1
        return relation


@dataclass(frozen=True, slots=True, kw_only=True)
class Histograms:
    """By relation: `counts` int64 `[4, NUM_BINS]` over -1..1, and float64 `[4]` each of the rest.

    `nearer_than_own` is NaN for positives; all but the counts are where there are no pairs.
    """

    counts: NDArray[np.int64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    nearer_than_own: NDArray[np.float64]


def histograms(pool: Pool) -> Histograms:
    """Count similarities by relation."""
    counts = torch.zeros(len(RELATIONS) * NUM_BINS, dtype=torch.int64)
    sums, squares, nearer = (torch.zeros(len(RELATIONS), dtype=torch.float64) for _ in range(3))
    own = (pool.video * pool.audio).sum(dim=1)
    for rows in _blocks(len(pool.video)):
        similarity = pool.video[rows] @ pool.audio.T
        relation = pool.relation(rows)
        # Half for each of the two moments whose own is farther.
        beats = 0.5 * (
            (similarity > own[rows, None]).double() + (similarity > own[None, :]).double()
        )
        known = relation >= 0
        index, values = relation[known], similarity[known].double()
        bins = ((values + 1) / 2 * NUM_BINS).long().clamp(0, NUM_BINS - 1)
        counts += torch.bincount(index * NUM_BINS + bins, minlength=len(counts))
        sums.index_add_(0, index, values)
        squares.index_add_(0, index, values.square())
        nearer.index_add_(0, index, beats[known])
    by_relation = counts.view(len(RELATIONS), NUM_BINS)
    pairs = by_relation.sum(dim=1).double()
    mean = sums / pairs
    share = nearer / pairs
    share[0] = math.nan
    return Histograms(
        counts=by_relation.numpy(),
        mean=mean.numpy(),
        std=(squares / pairs - mean.square()).clamp(min=0).sqrt().numpy(),
        nearer_than_own=share.numpy(),
    )


def hardest_pairs(pool: Pool, num: int) -> list[tuple[int, int]]:
    """Negatives with the most similar picture and sound, each moment in one pair at most.

    Returns:
        Up to `num` pairs (video i, audio j), most similar first.
    """
    best = _Best(keep=20 * num)
    for rows in _blocks(len(pool.video)):
        similarity = pool.video[rows] @ pool.audio.T
        best.offer(similarity.masked_fill(pool.role[rows] != 0, -math.inf), rows.start)
    return _disjoint(best.pairs(), num)


def likely_false_pairs(pool: Pool, num: int) -> list[tuple[int, int]]:
    """Negatives whose two pictures are alike and whose two sounds are alike.

    Where both senses agree that two moments are the same, they likely show the same thing: the
    agreement by which AVID-CMA chooses positives (Morgado et al., CVPR 2021, eq. 6).

    Returns:
        Up to `num` pairs (i, j), most alike first, each moment in one pair at most.
    """
    best = _Best(keep=20 * num)
    column = torch.arange(len(pool.video))
    for rows in _blocks(len(pool.video)):
        alike = agreement(pool, rows)
        once = column[rows, None] < column  # a pair and its mirror image are one
        best.offer(alike.masked_fill((pool.role[rows] != 0) | ~once, -math.inf), rows.start)
    return _disjoint(best.pairs(), num)


def agreement(pool: Pool, rows: slice) -> Tensor:
    """The lesser of video-video and audio-audio similarity, `[B, M]`."""
    return torch.minimum(pool.video[rows] @ pool.video.T, pool.audio[rows] @ pool.audio.T)


def title_lift(pool: Pool, temperature: float) -> NDArray[np.float64]:
    """Softmax mass from title to title over what an even split gives, `[T, T]`; both directions."""
    num_titles = int(pool.title.max()) + 1
    of_title = torch.nn.functional.one_hot(pool.title, num_titles).double()
    mass, even = (torch.zeros(num_titles, num_titles, dtype=torch.float64) for _ in range(2))
    for query, target, role in (
        (pool.video, pool.audio, pool.role),
        (pool.audio, pool.video, pool.role.T),
    ):
        for rows in _blocks(len(query)):
            is_negative = role[rows] == 0
            has_negative = is_negative.any(dim=1)
            logits = (query[rows] @ target.T / temperature).masked_fill(~is_negative, -math.inf)
            share = torch.softmax(logits.double(), dim=1)[has_negative]
            flat = is_negative.double()[has_negative]
            flat /= flat.sum(dim=1, keepdim=True)
            origin = of_title[rows][has_negative]
            mass += origin.T @ (share @ of_title)
            even += origin.T @ (flat @ of_title)
    return torch.where(even > 0, mass / even, math.nan).numpy()


def confusable_pairs(lift: NDArray[np.float64], num: int) -> list[tuple[int, int, float]]:
    """The pairs of different titles with the greatest lift, mean of both ways."""
    both = (lift + lift.T) / 2
    first, second = np.triu_indices(len(lift), k=1)
    values = both[first, second]
    order = [index for index in np.argsort(-values, kind="stable") if np.isfinite(values[index])]
    return [(int(first[at]), int(second[at]), float(values[at])) for at in order[:num]]


class _Best:
    """The highest of all values offered block by block, with their places."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._values = torch.empty(0)
        self._places = torch.empty(0, 2, dtype=torch.int64)

    def offer(self, values: Tensor, first_row: int) -> None:
        """Look at a block `[B, M]`; -inf is never kept."""
        flat = values.flatten()
        top = torch.topk(flat, min(self._keep, len(flat)))
        width = values.shape[1]
        places = torch.stack([first_row + top.indices // width, top.indices % width], dim=1)
        joined = torch.cat([self._values, top.values.cpu()])
        finite = joined > -math.inf
        joined = joined.masked_fill(~finite, -math.inf)
        order = torch.topk(joined, min(self._keep, int(finite.sum()))).indices
        self._places = torch.cat([self._places, places.cpu()])[order]
        self._values = joined[order]

    def pairs(self) -> list[tuple[int, int]]:
        """Places, highest first."""
        return [(first, second) for first, second in self._places.tolist()]


def _disjoint(pairs: list[tuple[int, int]], num: int) -> list[tuple[int, int]]:
    seen: set[int] = set()
    chosen: list[tuple[int, int]] = []
    for first, second in pairs:
        if first not in seen and second not in seen and len(chosen) < num:
            chosen.append((first, second))
            seen |= {first, second}
    return chosen


def _blocks(num: int) -> list[slice]:
    return [slice(first, min(first + _BLOCK, num)) for first in range(0, num, _BLOCK)]
