"""Statistics of all pairs in a pool of clips.

A pool of M clips has M x M pairs of a video and an audio. Every function here computes the
similarities of `_CHUNK` rows at a time, so that memory grows with M and not with its square.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toomuchtv.data.pair_labels import PairLabel
from toomuchtv.diagnosis.results import RelationSimilarity

RELATIONS = ("positives", "same item", "same title", "other titles")
NUM_BINS = 160
_CHUNK = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The embeddings of M clips and where they come from.

    Attributes:
        video: Unit vectors, float32 `[M, D]`.
        audio: Unit vectors, float32 `[M, D]`.
        title: int64 `[M]`, from 0 to T - 1.
        item: int64 `[M]`.
        labels: int8 `[M, M]`, the `PairLabel` of (video i, audio j).
    """

    video: Tensor
    audio: Tensor
    title: Tensor
    item: Tensor
    labels: Tensor

    def relation(self, rows: slice) -> Tensor:
        """Return the index into `RELATIONS` for some rows, `[B, M]`; -1 for ignored pairs."""
        same_item = self.item[rows, None] == self.item
        same_title = self.title[rows, None] == self.title
        relation = torch.where(same_item, 1, torch.where(same_title, 2, 3))
        relation[self.labels[rows] == PairLabel.POSITIVE] = 0
        relation[self.labels[rows] == PairLabel.IGNORE] = -1
        return relation

    def agreement(self, rows: slice) -> Tensor:
        """Return the smaller of video-video and audio-audio similarity for some rows, `[B, M]`."""
        return torch.minimum(self.video[rows] @ self.video.T, self.audio[rows] @ self.audio.T)


def measure_relations(pool: Pool) -> tuple[RelationSimilarity, ...]:
    """Compute the distribution of the similarities for each of `RELATIONS`.

    The histograms have `NUM_BINS` bins. A relation without pairs has NaN statistics, and
    `nearer_than_own` is NaN for positives.
    """
    num_relations = len(RELATIONS)
    counts = torch.zeros(num_relations * NUM_BINS, dtype=torch.int64)
    sums, squares, nearer = (torch.zeros(num_relations, dtype=torch.float64) for _ in range(3))
    own = (pool.video * pool.audio).sum(dim=1)
    for rows in _chunks(len(pool.video)):
        similarity = pool.video[rows] @ pool.audio.T
        relation = pool.relation(rows)
        # A pair belongs to the query of its video and to that of its audio; each counts half.
        is_nearer = 0.5 * ((similarity > own[rows, None]).double() + (similarity > own).double())
        known = relation >= 0
        index, values = relation[known], similarity[known].double()
        bins = ((values + 1) / 2 * NUM_BINS).long().clamp(0, NUM_BINS - 1)
        counts += torch.bincount(index * NUM_BINS + bins, minlength=len(counts))
        sums.index_add_(0, index, values)
        squares.index_add_(0, index, values.square())
        nearer.index_add_(0, index, is_nearer[known])
    histograms = counts.view(num_relations, NUM_BINS)
    num_pairs = histograms.sum(dim=1)
    mean = sums / num_pairs
    std = (squares / num_pairs - mean.square()).clamp(min=0).sqrt()
    nearer[0] = math.nan
    return tuple(
        RelationSimilarity(
            relation=relation,
            num_pairs=int(num_pairs[index]),
            mean=float(mean[index]),
            std=float(std[index]),
            nearer_than_own=float(nearer[index] / num_pairs[index]),
            histogram=tuple(histograms[index].tolist()),
        )
        for index, relation in enumerate(RELATIONS)
    )


def hardest_negatives(pool: Pool, num_pairs: int) -> list[tuple[int, int]]:
    """Return the negatives whose video and audio are the most similar.

    Returns:
        Up to `num_pairs` pairs (video i, audio j), the most similar first. Each clip is in at most
        one pair.
    """
    return _best_negatives(pool, lambda rows: pool.video[rows] @ pool.audio.T, num_pairs)


def likely_false_negatives(pool: Pool, num_pairs: int) -> list[tuple[int, int]]:
    """Return the negatives whose two videos are similar and whose two audios are similar.

    If both modalities agree that two clips are similar, they probably show the same thing. AVID-CMA
    chooses positives by the same agreement (Morgado et al., CVPR 2021, equation 6).

    Returns:
        Up to `num_pairs` pairs (i, j) with i < j, the highest agreement first. Each clip is in at
        most one pair.
    """
    column = torch.arange(len(pool.video))

    def scores(rows: slice) -> Tensor:
        # The agreement is symmetric, so only the upper triangle is searched.
        return pool.agreement(rows).masked_fill(column[rows, None] >= column, -math.inf)

    return _best_negatives(pool, scores, num_pairs)


def title_lift(pool: Pool, temperature: float) -> NDArray[np.float64]:
    """Compute the softmax mass from title to title relative to an equal split, `[T, T]`.

    The rows are queries of both modalities: videos that search audios, and audios that search
    videos. An equal split gives the same mass to every negative of a query.
    """
    num_titles = int(pool.title.max()) + 1
    of_title = torch.nn.functional.one_hot(pool.title, num_titles).double()
    mass, equal = (torch.zeros(num_titles, num_titles, dtype=torch.float64) for _ in range(2))
    for query, target, labels in (
        (pool.video, pool.audio, pool.labels),
        (pool.audio, pool.video, pool.labels.T),
    ):
        for rows in _chunks(len(query)):
            is_negative = labels[rows] == PairLabel.NEGATIVE
            has_negative = is_negative.any(dim=1)
            logits = (query[rows] @ target.T / temperature).masked_fill(~is_negative, -math.inf)
            share = torch.softmax(logits.double(), dim=1)[has_negative]
            equal_share = is_negative.double()[has_negative]
            equal_share /= equal_share.sum(dim=1, keepdim=True)
            query_title = of_title[rows][has_negative]
            mass += query_title.T @ (share @ of_title)
            equal += query_title.T @ (equal_share @ of_title)
    return torch.where(equal > 0, mass / equal, math.nan).numpy()


def most_confusable(lift: NDArray[np.float64], num_pairs: int) -> list[tuple[int, int, float]]:
    """Return the pairs of different titles with the highest lift, averaged over directions."""
    symmetric = (lift + lift.T) / 2
    first, second = np.triu_indices(len(lift), k=1)
    values = symmetric[first, second]
    order = [index for index in np.argsort(-values, kind="stable") if np.isfinite(values[index])]
    return [(int(first[k]), int(second[k]), float(values[k])) for k in order[:num_pairs]]


def _best_negatives(
    pool: Pool, scores: Callable[[slice], Tensor], num: int
) -> list[tuple[int, int]]:
    """Return the negatives with the highest scores, each clip in at most one of them.

    Args:
        pool: The clips.
        scores: Returns the scores of some rows, float32 `[B, M]`; -inf is never returned.
        num: Number of pairs.
    """
    num_clips = len(pool.video)
    is_free = torch.ones(num_clips, dtype=torch.bool)
    chosen: list[tuple[int, int]] = []
    # One pass for each pair: one clip may be in more of the best pairs than could be kept.
    for _ in range(num):
        best, pair = -math.inf, None
        for rows in _chunks(num_clips):
            may_be_chosen = (
                is_free[rows, None] & is_free & (pool.labels[rows] == PairLabel.NEGATIVE)
            )
            values = scores(rows).masked_fill(~may_be_chosen, -math.inf).flatten()
            place = int(values.argmax())
            if float(values[place]) > best:
                best, pair = float(values[place]), divmod(rows.start * num_clips + place, num_clips)
        if pair is None:
            break
        chosen.append(pair)
        is_free[list(pair)] = False
    return chosen


def _chunks(num_rows: int) -> list[slice]:
    return [slice(start, min(start + _CHUNK, num_rows)) for start in range(0, num_rows, _CHUNK)]
