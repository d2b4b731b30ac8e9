"""Retrieval between two senses: does a moment's picture find its own sound, and back?

Both ways come out of one pass over blocks of the similarity matrix, which is never whole in memory:
100,000 pairs are 10^10 similarities. Two scores are kept apart:

- of the pair itself: rank of a query's own target, R@1, R@5, R@10, median rank. Candidates as
  similar as the own target count half: a constant embedding ranks in the middle, not first.
- of its class: mean average precision over all targets of the query's class. Candidates of one
  similarity count as found at once, as in scikit-learn: a constant embedding gets the class's
  share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toomuchtv.progress import ProgressHook, no_progress

RANKS = (1, 5, 10)
_BLOCK = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BothWays:
    """Rank of each query's own target, from 1, `[N]`: video to audio, and audio to video."""

    video_to_audio: NDArray[np.float64]
    audio_to_video: NDArray[np.float64]


def pair_ranks(
    video: Tensor,
    audio: Tensor,
    *,
    within: Tensor | None = None,
    block_size: int = _BLOCK,
    progress: ProgressHook = no_progress,
) -> BothWays:
    """Rank both ways.

    Args:
        video: Unit vectors `[N, D]`.
        audio: Unit vectors `[N, D]`; row i belongs to row i of `video`.
        within: int `[N]`: candidates are those of the same number only.
        block_size: Rows and columns compared at once; memory is block_size squared.
        progress: Told the blocks done.
    """
    num = len(video)
    own = _own_similarity(video, audio, block_size)
    counts = torch.zeros(4, num, dtype=torch.int64, device=video.device)
    better_audio, equal_audio, better_video, equal_video = counts
    blocks = list(_blocks(num, block_size))
    for done, rows in enumerate(blocks, start=1):
        for columns in blocks:
            similarity = _product(video, audio, rows, columns)
            by_row, by_column = own[rows, None], own[None, columns]
            higher, same = similarity > by_row, similarity == by_row
            higher_of_column, same_of_column = similarity > by_column, similarity == by_column
            if within is not None:
                allowed = within[rows, None] == within[None, columns]
                higher, same = higher & allowed, same & allowed
                higher_of_column &= allowed
                same_of_column &= allowed
            better_audio[rows] += higher.sum(dim=1)
            equal_audio[rows] += same.sum(dim=1)
            better_video[columns] += higher_of_column.sum(dim=0)
            equal_video[columns] += same_of_column.sum(dim=0)
        progress(done, len(blocks), "ranking")

    def ranks(better: Tensor, equal: Tensor) -> NDArray[np.float64]:
        # The own target is among the equal ones.
        found: NDArray[np.float64] = (1.0 + better + 0.5 * (equal - 1)).cpu().double().numpy()
        return found

    return BothWays(
        video_to_audio=ranks(better_audio, equal_audio),
        audio_to_video=ranks(better_video, equal_video),
    )


def class_precision(
    query: Tensor,
    target: Tensor,
    query_class: NDArray[np.bool_],
    target_class: NDArray[np.bool_],
    *,
    block_size: int = _BLOCK,
    progress: ProgressHook = no_progress,
) -> NDArray[np.float64]:
    """Average precision of each query over the targets that share a class with it, `[N]`.

    NaN where none does.

    Args:
        query: Unit vectors `[N, D]`.
        target: Unit vectors `[M, D]`.
        query_class: `[N, K]`.
        target_class: `[M, K]`.
        block_size: Queries at once; memory is block_size x M.
        progress: Told the queries done.
    """
    out = np.full(len(query), np.nan)
    targets_as_float = torch.from_numpy(target_class.astype(np.float32))
    for rows in _blocks(len(query), block_size):
        similarity = (query[rows].float() @ target.float().T).cpu().numpy()
        shared = torch.from_numpy(query_class[rows].astype(np.float32)) @ targets_as_float.T
        relevant = shared.numpy() > 0
        for index in range(len(similarity)):
            out[rows.start + index] = _average_precision(similarity[index], relevant[index])
        progress(rows.start + len(similarity), len(query), "ranking by class")
    return out


def _average_precision(similarity: NDArray[np.float32], relevant: NDArray[np.bool_]) -> float:
    hits = np.sort(similarity[relevant])
    if len(hits) == 0:
        return float("nan")
    everything = np.sort(similarity)
    found = len(hits) - np.searchsorted(hits, hits, side="left")
    seen = len(everything) - np.searchsorted(everything, hits, side="left")
    return float((found / seen).mean())


def _blocks(num: int, size: int) -> Iterator[slice]:
    return (slice(first, min(first + size, num)) for first in range(0, num, size))


def _product(video: Tensor, audio: Tensor, rows: slice, columns: slice) -> Tensor:
    return video[rows].float() @ audio[columns].float().T


def _own_similarity(video: Tensor, audio: Tensor, block_size: int) -> Tensor:
    """Similarity of each pair, out of the same products as all others: equal to the bit."""
    return torch.cat(
        [_product(video, audio, rows, rows).diagonal() for rows in _blocks(len(video), block_size)]
    )


def rank_figures(ranks: NDArray[np.float64]) -> dict[str, float]:
    """Recall at 1, 5 and 10, and the median rank."""
    figures = {f"recall_at_{rank}": float((ranks <= rank).mean()) for rank in RANKS}
    return {**figures, "median_rank": float(np.median(ranks))}


def chance_figures(num_candidates: NDArray[np.int64]) -> dict[str, float]:
    """What guessing gives, from each query's number of candidates `[N]`."""
    figures = {
        f"recall_at_{rank}": float(np.minimum(1.0, rank / num_candidates).mean()) for rank in RANKS
    }
    return {**figures, "median_rank": float(np.median((num_candidates + 1) / 2))}
