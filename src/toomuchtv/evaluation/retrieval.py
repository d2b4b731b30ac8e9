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

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from toomuchtv._internal.progress import ProgressCallback, no_progress

RANKS = (1, 5, 10)
_BLOCK = 512
_QUERIES = 128
_LANES, _MOST_IN_A_LANE = 8, 255


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRanks:
    """Rank of each query's own target, from 1, `[N]`: video to audio, and audio to video."""

    video_to_audio: NDArray[np.float64]
    audio_to_video: NDArray[np.float64]


def pair_ranks(
    video: Tensor,
    audio: Tensor,
    *,
    within: Tensor | None = None,
    block_size: int = _BLOCK,
    progress: ProgressCallback = no_progress,
) -> PairRanks:
    """Rank both ways, by counting: nothing is sorted.

    With g candidates more similar than the own target and e at least as similar, itself among
    them, its rank is 1 + g + (e - g - 1) / 2 = (1 + g + e) / 2.

    Args:
        video: Unit vectors `[N, D]`.
        audio: Unit vectors `[N, D]`; row i belongs to row i of `video`.
        within: int `[N]`: candidates are those of the same number only.
        block_size: Rows and columns compared at once; memory is block_size squared.
        progress: Told the blocks done.
    """
    num, size = len(video), -(-block_size // _LANES) * _LANES
    blocks = list(_blocks(num, size))
    pairs = _Pairs(video, audio, within, size)
    own = torch.cat([pairs.own(rows) for rows in blocks])
    to_audio, to_video = torch.zeros(2, num, dtype=torch.int64, device=video.device)
    for done, rows in enumerate(blocks, start=1):
        for columns in blocks:
            similarity = pairs.product(rows, columns)
            thresholds = _padded(own[rows], size)[:, None], _padded(own[columns], size)[None]
            for compare in (torch.gt, torch.ge):
                by_row = pairs.mask(compare, similarity, thresholds[0], rows, columns)
                to_audio[rows] += _count_in_rows(by_row)[: _length(rows)]
                by_column = pairs.mask(compare, similarity, thresholds[1], rows, columns)
                to_video[columns] += _count_in_columns(by_column)[: _length(columns)]
        progress(done, len(blocks), "ranking")
    found = [((1 + count).double() / 2).cpu().numpy() for count in (to_audio, to_video)]
    return PairRanks(video_to_audio=found[0], audio_to_video=found[1])


class _Pairs:
    """Blocks of the similarity matrix, all of one shape: so an entry's sum never depends on it.

    What lies beyond the last row or column is less similar than anything.
    """

    def __init__(self, video: Tensor, audio: Tensor, within: Tensor | None, size: int) -> None:
        self._video, self._audio, self._within, self._size = video, audio, within, size
        self._similarity = torch.empty(size, size, device=video.device)
        self._mask = torch.empty(size, size, dtype=torch.bool, device=video.device)

    def product(self, rows: slice, columns: slice) -> Tensor:
        """Similarities float32 `[size, size]`; overwritten by the next call."""
        left = _padded(self._video[rows].float(), self._size)
        right = _padded(self._audio[columns].float(), self._size)
        torch.mm(left, right.T, out=self._similarity)
        self._similarity[_length(rows) :] = -torch.inf
        self._similarity[:, _length(columns) :] = -torch.inf
        return self._similarity

    def own(self, rows: slice) -> Tensor:
        """Similarity of each pair, out of the same products as all others: equal to the bit."""
        return self.product(rows, rows).diagonal()[: _length(rows)].clone()

    def mask(
        self,
        compare: Callable[..., Tensor],
        similarity: Tensor,
        thresholds: Tensor,
        rows: slice,
        columns: slice,
    ) -> Tensor:
        """Where a candidate counts, bool `[size, size]`; overwritten by the next call."""
        compare(similarity, thresholds, out=self._mask)
        if self._within is not None:
            numbers = self._within[rows, None] == self._within[None, columns]
            self._mask[: _length(rows), : _length(columns)] &= numbers
        return self._mask


def _padded(values: Tensor, size: int) -> Tensor:
    missing = size - len(values)
    return F.pad(values, (*[0] * (2 * values.dim() - 1), missing)) if missing else values


def _length(rows: slice) -> int:
    return int(rows.stop - rows.start)


# A mask's bytes are 0 or 1. Eight of them are added by one addition of 64-bit words, as long as no
# byte goes beyond 255: four times as fast as the mask's own sum.
def _count_in_rows(mask: Tensor) -> Tensor:
    parts = torch.split(mask.view(torch.int64), _MOST_IN_A_LANE, dim=1)
    sums = torch.stack([part.sum(dim=1) for part in parts], dim=1)  # [R, parts]
    return sums.view(torch.uint8).sum(dim=1)


def _count_in_columns(mask: Tensor) -> Tensor:
    parts = torch.split(mask.view(torch.int64), _MOST_IN_A_LANE, dim=0)
    return torch.stack([part.sum(dim=0).view(torch.uint8) for part in parts]).sum(dim=0)


def class_precision(
    query: Tensor,
    target: Tensor,
    query_class: NDArray[np.bool_],
    target_class: NDArray[np.bool_],
    *,
    block_size: int = _QUERIES,
    progress: ProgressCallback = no_progress,
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
    members = [np.flatnonzero(column) for column in target_class.T]
    targets = target.float().T
    for rows in _blocks(len(query), block_size):
        similarity = (query[rows].float() @ targets).cpu().numpy()
        for row, values in enumerate(similarity, start=rows.start):
            own = [members[k] for k in np.flatnonzero(query_class[row])]
            if own:
                relevant = own[0] if len(own) == 1 else np.unique(np.concatenate(own))
                out[row] = _average_precision(values, relevant)
        progress(rows.stop, len(query), "ranking by class")
    return out


def _average_precision(similarity: NDArray[np.float32], relevant: NDArray[np.int64]) -> float:
    hits = np.sort(similarity[relevant])
    if len(hits) == 0:
        return float("nan")
    similarity.sort()  # in place: the block's row is not needed again
    found = len(hits) - np.searchsorted(hits, hits, side="left")
    seen = len(similarity) - np.searchsorted(similarity, hits, side="left")
    return float((found / seen).mean())


def _blocks(num: int, size: int) -> Iterator[slice]:
    return (slice(first, min(first + size, num)) for first in range(0, num, size))


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
