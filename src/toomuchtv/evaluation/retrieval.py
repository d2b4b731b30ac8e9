"""Metrics of retrieval between video and audio: ranks, recall and mean average precision.

Two scores are computed separately:

- Pair retrieval: the rank of the query's own partner, R@1, R@5, R@10 and the median rank.
  Candidates that are as similar as the partner count half, so that a constant embedding gets the
  middle rank and not the first.
- Class retrieval: the mean average precision over all targets of the query's class. Targets with
  equal similarity are found at once, as in scikit-learn, so that a constant embedding gets the
  share of the class.

The similarity matrix is processed in blocks and is never in memory as a whole: 100,000 pairs have
10^10 similarities.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.evaluation.metrics import require_finite

RECALL_RANKS = (1, 5, 10)
_BLOCK_SIZE = 512
_QUERIES_PER_BLOCK = 128
# Similarities closer than this are equal. Sums of products of float32 values in float64 differ by
# much less when only their order differs.
_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRanks:
    """Ranks of the partners, starting at 1, float64 `[N]` for each direction."""

    video_to_audio: NDArray[np.float64]
    audio_to_video: NDArray[np.float64]


def pair_ranks(
    video: Tensor,
    audio: Tensor,
    *,
    within: Tensor | None = None,
    block_size: int = _BLOCK_SIZE,
    progress: ProgressCallback = no_progress,
) -> PairRanks:
    """Return the rank of each clip's partner in both directions.

    Nothing is sorted. With g candidates that are more similar than the partner and e that are at
    least as similar, including the partner, its rank is 1 + g + (e - g - 1) / 2 = (1 + g + e) / 2.

    Args:
        video: Unit vectors `[N, D]`.
        audio: Unit vectors `[N, D]`; row i is the partner of row i of `video`.
        within: Group numbers `[N]`. If given, only clips of the same group are candidates.
        block_size: Number of rows and columns of a block of similarities.
        progress: Called with the number of row blocks done.

    Raises:
        ValueError: An embedding is not finite.
    """
    require_finite(video_embeddings=video.cpu(), audio_embeddings=audio.cpu())
    video, audio = video.double(), audio.double()
    own = (video * audio).sum(dim=1)
    # g + e of each query
    counts = torch.zeros(2, len(video), dtype=torch.int64, device=video.device)
    blocks = list(_blocks(len(video), block_size))
    for done, rows in enumerate(blocks, start=1):
        for columns in blocks:
            similarity = video[rows] @ audio[columns].T
            if within is not None:
                is_candidate = within[rows, None] == within[None, columns]
                similarity = similarity.masked_fill(~is_candidate, -torch.inf)
            for margin in (_TOLERANCE, -_TOLERANCE):
                counts[0, rows] += (similarity > own[rows, None] + margin).sum(dim=1)
                counts[1, columns] += (similarity > own[None, columns] + margin).sum(dim=0)
        progress(done, len(blocks), "ranking pairs")
    to_audio, to_video = ((1 + counts).double() / 2).cpu().numpy()
    return PairRanks(video_to_audio=to_audio, audio_to_video=to_video)


def class_precision(
    query: Tensor,
    target: Tensor,
    query_classes: NDArray[np.bool_],
    target_classes: NDArray[np.bool_],
    *,
    block_size: int = _QUERIES_PER_BLOCK,
    progress: ProgressCallback = no_progress,
) -> NDArray[np.float64]:
    """Return the average precision of each query, `[N]`, where targets that share a class count.

    It is NaN for a query without such a target. scikit-learn's function computes the same but
    takes several times as long for 100,000 targets.

    Args:
        query: Unit vectors `[N, D]`.
        target: Unit vectors `[M, D]`.
        query_classes: Multi-hot classes `[N, K]`.
        target_classes: Multi-hot classes `[M, K]`.
        block_size: Number of queries in a block of similarities.
        progress: Called with the number of queries done.

    Raises:
        ValueError: An embedding is not finite.
    """
    require_finite(query_embeddings=query.cpu(), target_embeddings=target.cpu())
    out = np.full(len(query), np.nan)
    members = [np.flatnonzero(column) for column in target_classes.T]
    targets = target.float().T
    for rows in _blocks(len(query), block_size):
        similarity = (query[rows].float() @ targets).cpu().numpy()
        for row, values in enumerate(similarity, start=rows.start):
            of_classes = [members[k] for k in np.flatnonzero(query_classes[row])]
            if of_classes:
                out[row] = _average_precision(values, np.unique(np.concatenate(of_classes)))
        progress(rows.stop, len(query), "ranking classes")
    return out


def _average_precision(similarity: NDArray[np.float32], relevant: NDArray[np.int64]) -> float:
    """Return the mean precision at the relevant targets; sorts `similarity` in place."""
    if len(relevant) == 0:
        return float("nan")
    hits = np.sort(similarity[relevant])
    similarity.sort()
    num_hits = len(hits) - np.searchsorted(hits, hits, side="left")
    num_found = len(similarity) - np.searchsorted(similarity, hits, side="left")
    return float((num_hits / num_found).mean())


def _blocks(num: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, num)) for start in range(0, num, size))


def rank_figures(ranks: NDArray[np.float64]) -> dict[str, float]:
    """Return recall at 1, 5 and 10, and the median rank.

    Raises:
        ValueError: A rank is not finite.
    """
    require_finite(ranks=ranks)
    figures = {f"recall_at_{rank}": float((ranks <= rank).mean()) for rank in RECALL_RANKS}
    return {**figures, "median_rank": float(np.median(ranks))}


def chance_figures(num_candidates: NDArray[np.int64]) -> dict[str, float]:
    """Return the figures of random ranking, given each query's number of candidates `[N]`.

    Raises:
        ValueError: A number is not finite.
    """
    require_finite(numbers_of_candidates=num_candidates)
    figures = {
        f"recall_at_{rank}": float(np.minimum(1.0, rank / num_candidates).mean())
        for rank in RECALL_RANKS
    }
    return {**figures, "median_rank": float(np.median((num_candidates + 1) / 2))}
