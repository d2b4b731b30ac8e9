"""Cosine similarities of queries to vectors in float16, exact and in blocks."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

#: A product of unit vectors in half precision is wrong by less than this: the query is rounded
#: (relative error 2**-11), and so is the result.
HALF_ERROR = 2.0**-10
_ROWS_PER_BLOCK = 4096
# 1 MB in float32, which stays in the cache of a core.
_ROWS_PER_SHARED_BLOCK = 1024
# Further queries of one pass, and how many it takes to be faster than one after the other.
_MAX_SHARED, _MIN_SHARED = 7, 4


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
    if not sum(map(len, arrays)):
        return torch.zeros(0)

    def work(part: Sequence[Tensor]) -> Tensor:
        return torch.cat([array @ half for array in part]).float()

    parts = _split(arrays, num_threads)
    return torch.cat(list(_pool(num_threads).map(work, parts)))


class SharedScan:
    """Compares queries of several threads with the same vectors in one pass over them.

    The queries that arrive while a pass is under way wait for the next one, which is for all of
    them. From four queries on, the vectors are converted to float32 and multiplied as matrices: one
    pass for eight queries takes less time than eight passes.

    Args:
        arrays: float16 `[N_i, D]`.
        num_threads: Number of threads of a pass.
    """

    def __init__(self, arrays: Sequence[Tensor], num_threads: int) -> None:
        self._arrays = arrays
        self._num_threads = num_threads
        self._working = threading.Lock()
        self._lock = threading.Lock()
        self._waiting: list[_Job] = []

    def similarities(self, query: Tensor) -> Tensor:
        """Return the similarities of a query to all vectors; see `coarse_similarities`.

        Their rounding depends on how many queries share the pass.
        """
        job = _Job(query)
        with self._lock:
            self._waiting.append(job)
        with self._working:
            if job.result is None:  # otherwise the thread before has done it
                with self._lock:
                    others = [one for one in self._waiting if one is not job]
                    jobs, self._waiting = [job, *others[:_MAX_SHARED]], others[_MAX_SHARED:]
                self._scan(jobs)
        assert job.result is not None
        return job.result

    def _scan(self, jobs: Sequence[_Job]) -> None:
        if len(jobs) < _MIN_SHARED:
            for job in jobs:
                job.result = coarse_similarities(self._arrays, job.query, self._num_threads)
            return
        queries = torch.stack([job.query for job in jobs])
        out = torch.empty(len(jobs), sum(map(len, self._arrays)))

        def work(part: Sequence[Tensor], start: int) -> None:
            # One buffer for all blocks: it stays in the cache, and costs no page faults.
            buffer = torch.empty(_ROWS_PER_SHARED_BLOCK, queries.shape[1])
            for array in part:
                for block in torch.split(array, _ROWS_PER_SHARED_BLOCK):
                    values = buffer[: len(block)]
                    values.copy_(block)
                    out[:, start : start + len(block)] = queries @ values.T
                    start += len(block)

        parts = _split(self._arrays, self._num_threads)
        starts = itertools.accumulate((sum(map(len, part)) for part in parts), initial=0)
        list(_pool(self._num_threads).map(work, parts, starts))
        for job, row in zip(jobs, out, strict=True):
            job.result = row


@dataclass(slots=True, eq=False)
class _Job:
    query: Tensor
    result: Tensor | None = None


def _split(arrays: Sequence[Tensor], num_parts: int) -> list[list[Tensor]]:
    """Return at most so many lists of consecutive arrays with about the same number of rows."""
    total = sum(map(len, arrays))
    parts: list[list[Tensor]] = [[]]
    rows = 0
    for array in arrays:
        if rows >= total * len(parts) / num_parts:
            parts.append([])
        parts[-1].append(array)
        rows += len(array)
    return parts


@functools.cache
def _pool(num_threads: int) -> ThreadPoolExecutor:
    """Return the threads that all searches share, in each of which PyTorch uses one thread."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(num_threads, "scoring", torch.set_num_threads, (1,))
    # All of them start now: setting the number in one thread changes what new threads begin with.
    barrier = threading.Barrier(num_threads)
    list(pool.map(lambda _: barrier.wait(), range(num_threads)))
    torch.set_num_threads(before)
    return pool
