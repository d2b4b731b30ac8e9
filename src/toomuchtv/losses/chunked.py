"""Sums over the matrix of all similarities that hold only a chunk of its rows in memory.

The logits of N queries with M keys are computed chunk by chunk, and computed again in the backward
pass, so that memory grows with N + M and not with N * M. Gao et al., "Scaling Deep Contrastive
Learning Batch Size under Memory Limited Setup", RepL4NLP 2021, section 3.4, do this with the
encoders; recomputing logits instead of keeping them is the idea of FlashAttention (Dao et al.,
NeurIPS 2022, section 3.1).

Logits are float32 even under autocast. Sums over logits are kept in float64, which costs little
because they are vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from toomuchtv.losses.base import LabelRows

#: The logarithm of an empty sum. It is finite because the difference of two infinities is NaN.
LOG_ZERO = -1e30

# Logits per chunk. A CPU is fastest if a chunk fits into its cache; a GPU needs large kernels.
_CHUNK_ELEMENTS = {"cpu": 2**22, "cuda": 2**26}
_PAIRS_PER_CHUNK = 2**16


class LogSums(NamedTuple):
    """Log-sum-exp of each row `[N]` and of each column `[M]`, float64."""

    rows: Tensor
    columns: Tensor


def log_sums(queries: Tensor, keys: Tensor, labels: LabelRows, *, label: int = 0) -> LogSums:
    """Compute the log-sum-exp of the logits of all pairs that have one label, by row and column.

    Args:
        queries: `[N, D]`, divided by the temperature: `queries @ keys.T` are the logits.
        keys: `[M, D]`.
        labels: Labels of a range of rows, int `[stop - start, M]`.
        label: The label of the pairs that are summed.

    Returns:
        `[N]` and `[M]`. The entry of a row or column without such a pair is `LOG_ZERO`.
    """
    rows, columns = _LogSums.apply(queries.float(), keys.float(), labels, label)  # type: ignore[no-untyped-call]
    return LogSums(rows, columns)


def rows_per_chunk(num_keys: int, device: torch.device) -> int:
    """Return how many rows of `num_keys` logits one chunk has."""
    return max(1, _CHUNK_ELEMENTS.get(device.type, 2**22) // max(1, num_keys))


def row_chunks(num_rows: int, num_keys: int, device: torch.device) -> Iterator[tuple[int, int]]:
    """Yield the `[start, stop)` of each chunk of rows; yield nothing if there are no keys."""
    size = rows_per_chunk(num_keys, device)
    for start in range(0, num_rows if num_keys else 0, size):
        yield start, min(num_rows, start + size)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which matrix products keep the dtype of their inputs."""
    return torch.autocast(device.type, enabled=False)


class _LogSums(torch.autograd.Function):
    """Log-sum-exp with a running maximum.

    `torch.logsumexp` of each chunk under `torch.utils.checkpoint` would be shorter, but took 3 to 8
    times the memory and twice the time (docs/experiments/2026-11-losses.md): every chunk adds a
    vector of M column sums to the graph, and temporary tensors cannot be reused.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        queries: Tensor,
        keys: Tensor,
        labels: LabelRows,
        label: int,
    ) -> tuple[Tensor, Tensor]:
        row_max, row_sum = _empty_sum(len(queries), queries.device)
        column_max, column_sum = _empty_sum(len(keys), keys.device)
        buffers = _chunk_buffers(queries, keys)
        with without_autocast(queries.device):
            for start, stop in row_chunks(len(queries), len(keys), queries.device):
                logits, shifted = (buffer[: stop - start] for buffer in buffers)
                torch.mm(queries[start:stop], keys.T, out=logits)
                logits.masked_fill_(labels(start, stop) != label, LOG_ZERO)
                # A row is complete within its chunk: sum exp(logit - max) directly.
                row_max[start:stop] = logits.amax(dim=1)
                torch.sub(logits, row_max[start:stop, None], out=shifted)
                row_sum[start:stop] = shifted.exp_().sum(dim=1)
                # A column is spread over all chunks. Its sum so far is relative to the maximum so
                # far; when this chunk raises the maximum, the old sum shrinks by exp(old - new).
                new_max = torch.maximum(column_max, logits.amax(dim=0))
                column_sum *= (column_max - new_max).double().exp_()
                column_sum += logits.sub_(new_max).exp_().sum(dim=0)
                column_max = new_max
        ctx.save_for_backward(queries, keys, row_max, row_sum, column_max, column_sum)
        ctx.labels, ctx.label = labels, label  # type: ignore[attr-defined]
        return (
            row_max.double() + row_sum.clamp(min=1.0).log(),
            column_max.double() + column_sum.clamp(min=1.0).log(),
        )

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grads: Tensor
    ) -> tuple[Tensor, Tensor, None, None]:
        queries, keys, row_max, row_sum, column_max, column_sum = ctx.saved_tensors  # type: ignore[attr-defined]
        # d logsumexp / d logit is the softmax: exp(logit - max) / sum. The gradient of a pair is
        # its softmax in its row times the row's gradient plus the same for its column. Dividing
        # the vectors first saves one pass over the matrix.
        by_row = (grads[0] / row_sum.clamp(min=1.0)).float()
        by_column = (grads[1] / column_sum.clamp(min=1.0)).float()
        grad_queries, grad_keys = torch.zeros_like(queries), torch.zeros_like(keys)
        buffers = _chunk_buffers(queries, keys)
        with without_autocast(queries.device):
            for start, stop in row_chunks(len(queries), len(keys), queries.device):
                logits, grad = (buffer[: stop - start] for buffer in buffers)
                torch.mm(queries[start:stop], keys.T, out=logits)
                excluded = ctx.labels(start, stop) != ctx.label  # type: ignore[attr-defined]
                logits.masked_fill_(excluded, LOG_ZERO)
                torch.sub(logits, row_max[start:stop, None], out=grad)
                grad.exp_().mul_(by_row[start:stop, None])
                grad.addcmul_(logits.sub_(column_max).exp_(), by_column)
                # In an empty row or column the maximum is LOG_ZERO itself, and exp(0) is 1.
                grad.masked_fill_(excluded, 0.0)
                grad_queries[start:stop] = grad @ keys
                if ctx.needs_input_grad[1]:  # type: ignore[attr-defined]
                    grad_keys.addmm_(grad.T, queries[start:stop])
        return grad_queries, grad_keys, None, None


def _chunk_buffers(queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Allocate memory for two chunks once, because fresh pages in every chunk cost time."""
    rows = min(len(queries), rows_per_chunk(len(keys), queries.device))
    shape = rows, len(keys)
    return queries.new_empty(shape), queries.new_empty(shape)


def _empty_sum(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    return (
        torch.full((count,), LOG_ZERO, device=device),
        torch.zeros(count, dtype=torch.float64, device=device),
    )


def positive_pairs(
    labels: LabelRows, num_rows: int, num_columns: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the row and the column of each positive pair, int64 `[P]`, ordered by row."""
    # One list that doubles when it is full. If each chunk kept a list of its own, these small
    # tensors would lie between the large temporary ones, whose memory the C library could then
    # not use again: 8 GB at 65,536 clips.
    pairs = torch.empty(2, 2 * num_rows + 1, dtype=torch.int64, device=device)
    count = 0
    for start, stop in row_chunks(num_rows, num_columns, device):
        found = (labels(start, stop) == 1).nonzero().T
        while count + found.shape[1] > pairs.shape[1]:
            pairs = torch.cat([pairs, torch.empty_like(pairs)], dim=1)
        chunk = pairs[:, count : count + found.shape[1]]
        chunk.copy_(found)
        chunk[0] += start
        count += found.shape[1]
    return pairs[0, :count], pairs[1, :count]


def pair_logits(queries: Tensor, keys: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Return the inner products of `queries[row]` and `keys[column]`, float64 `[P]`.

    The gathered vectors are not kept for the backward pass.
    """

    def products(queries: Tensor, keys: Tensor, row: Tensor, column: Tensor) -> Tensor:
        return (queries[row] * keys[column]).sum(dim=1)

    queries, keys = queries.float(), keys.float()
    logits = [
        checkpoint(products, queries, keys, *pair, use_reentrant=False, preserve_rng_state=False)
        for pair in zip(
            torch.split(row, _PAIRS_PER_CHUNK), torch.split(column, _PAIRS_PER_CHUNK), strict=True
        )
    ]
    return torch.cat(logits).double()
