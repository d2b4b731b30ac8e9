"""The positive pairs of the own rows, as a list: they are few, and every objective needs them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from toomuchtv.losses.chunked import RoleRows, row_blocks

_PAIRS_AT_ONCE = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class Positives:
    """Positive pairs `[P]`, in order of row and then of column.

    Attributes:
        row: int64, which of the own queries.
        column: int64, which of all keys.
        logit: float64, with gradient.
    """

    row: Tensor
    column: Tensor
    logit: Tensor


def list_positives(queries: Tensor, keys: Tensor, roles: RoleRows) -> Positives:
    """Find the positive pairs and their logits.

    Memory is at most 44 bytes a pair; a dense matrix is never held.

    Args:
        queries: `[n, D]`, scaled: their product with `keys` is the logits.
        keys: `[M, D]`.
        roles: int `[stop - start, M]` of each block of rows.
    """
    # One list that doubles when it is full. Kept block by block, the few pairs of each would lie
    # between the blocks' large tensors, whose memory the C library then cannot use again:
    # 8 GB for 65,536 clips.
    pairs = torch.empty(2, 2 * len(queries) + 1, dtype=torch.int64, device=queries.device)
    count = 0
    for start, stop in row_blocks(len(queries), len(keys), queries.device):
        found = (roles(start, stop) == 1).nonzero().T
        while count + found.shape[1] > pairs.shape[1]:
            pairs = torch.cat([pairs, torch.empty_like(pairs)], dim=1)
        here = pairs[:, count : count + found.shape[1]]
        here.copy_(found)
        here[0] += start
        count += found.shape[1]
    row, column = pairs[0, :count], pairs[1, :count]
    return Positives(row=row, column=column, logit=pair_logits(queries, keys, row, column))


def pair_logits(queries: Tensor, keys: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Inner products of `queries[row]` and `keys[column]`, float64 `[P]`, with gradient."""
    logit: Tensor = _PairLogits.apply(queries.float(), keys.float(), row, column)  # type: ignore[no-untyped-call]
    return logit.double()


class _PairLogits(torch.autograd.Function):
    """Inner products of listed pairs, some at a time; the vectors are gathered anew backwards."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        queries: Tensor,
        keys: Tensor,
        row: Tensor,
        column: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(queries, keys, row, column)
        parts = [
            (queries[rows] * keys[columns]).sum(dim=1)
            for rows, columns in zip(
                torch.split(row, _PAIRS_AT_ONCE), torch.split(column, _PAIRS_AT_ONCE), strict=True
            )
        ]
        return torch.cat(parts)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grads: Tensor
    ) -> tuple[Tensor, Tensor, None, None]:
        queries, keys, row, column = ctx.saved_tensors  # type: ignore[attr-defined]
        to_queries, to_keys = torch.zeros_like(queries), torch.zeros_like(keys)
        for rows, columns, grad in zip(
            torch.split(row, _PAIRS_AT_ONCE),
            torch.split(column, _PAIRS_AT_ONCE),
            torch.split(grads[0], _PAIRS_AT_ONCE),
            strict=True,
        ):
            to_queries.index_add_(0, rows, grad[:, None] * keys[columns])
            to_keys.index_add_(0, columns, grad[:, None] * queries[rows])
        return to_queries, to_keys, None, None
