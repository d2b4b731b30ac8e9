"""Cosine similarities of queries to vectors in float16, exact and in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

#: A product of unit vectors in half precision is wrong by less than this: the query is rounded
#: (relative error 2**-11), and so is the result.
HALF_ERROR = 2.0**-10
_ROWS_PER_BLOCK = 4096


def similarities(vectors: Tensor, queries: Tensor) -> Tensor:
    """Return all similarities in float32.

    Args:
        vectors: float16 `[N, D]`.
        queries: float32 `[Q, D]`.

    Returns:
        float32 `[N, Q]`.
    """
    columns = queries.T.contiguous()
    if len(vectors) <= _ROWS_PER_BLOCK:
        return vectors.float() @ columns
    return torch.cat([block.float() @ columns for block in torch.split(vectors, _ROWS_PER_BLOCK)])


def coarse_similarities(arrays: Sequence[Tensor], query: Tensor, num_threads: int) -> Tensor:
    """Return the similarities of one query to all vectors, wrong by less than `HALF_ERROR`.

    The product is computed in half precision, which reads each vector once and converts nothing.
    One thread reads about 5 GB/s, so threads share the arrays.

    Args:
        arrays: float16 `[N_i, D]`.
        query: A vector of at most unit length, float32 `[D]`.
        num_threads: Number of threads.

    Returns:
        float32 `[sum of N_i]`, in the order of the arrays.
    """
    half = query.half()
    total = sum(map(len, arrays))
    parts: list[list[Tensor]] = [[]]
    rows = 0
    for array in arrays:
        # Each thread gets consecutive arrays with about the same number of rows.
        if rows >= total * len(parts) / num_threads:
            parts.append([])
        parts[-1].append(array)
        rows += len(array)

    def work(part: list[Tensor]) -> Tensor:
        # This sets the number of threads that PyTorch uses inside one call in this thread only.
        torch.set_num_threads(1)
        return torch.cat([array @ half for array in part]).float()

    if not total:
        return torch.zeros(0)
    before = torch.get_num_threads()
    with ThreadPoolExecutor(len(parts)) as pool:
        found = torch.cat(list(pool.map(work, parts)))
    torch.set_num_threads(before)
    return found
