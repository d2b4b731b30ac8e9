"""Retrieval between video and audio: does a moment's picture find its own sound, and back?"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

RANKS = (1, 5, 10)


def retrieval_ranks(
    query: Tensor, target: Tensor, *, within: Tensor | None = None, block_size: int = 1024
) -> NDArray[np.float64]:
    """Rank of each query's own target among the candidates, from 1.

    Candidates as similar as the own target count half: a constant embedding ranks in the middle,
    not first.

    Args:
        query: Unit vectors `[N, D]`.
        target: Unit vectors `[N, D]`; row i is query i's own.
        within: int `[N]`: candidates are those of the same number only.
        block_size: Queries compared at once; memory is block_size x N.
    """
    ranks = []
    for first in range(0, len(query), block_size):
        rows = slice(first, first + block_size)
        similarity = query[rows].float() @ target.float().T
        # Taken out of the same product, so that equal is equal to the bit.
        own = similarity.gather(
            1, torch.arange(first, first + len(similarity), device=query.device)[:, None]
        )
        allowed = torch.ones_like(similarity, dtype=torch.bool)
        if within is not None:
            allowed = within[rows, None] == within[None, :]
        better = ((similarity > own) & allowed).sum(dim=1)
        equal = ((similarity == own) & allowed).sum(dim=1) - 1
        ranks.append(1.0 + better.double() + 0.5 * equal.double())
    return torch.cat(ranks).cpu().numpy()


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
