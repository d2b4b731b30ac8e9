"""Sums over the matrix of all similarities that never hold more than a few rows of it.

The matrix of `n` own clips against `N` of all processes is made block by block over its rows and
again in the backward pass: memory grows with `n + N`, not with `n * N`. As in Gao et al., "Scaling
Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP 2021, section 3.4, but
inside the loss; recomputing instead of keeping is the idea of FlashAttention (Dao et al., NeurIPS
2022, section 3.1).

Logits are float32 whatever autocast says; sums over them are float64, whose cost is that of
vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

#: Gives the roles `[stop - start, M]` of queries `[start, stop)` with every key.
RoleRows = Callable[[int, int], Tensor]

#: log of a sum of nothing. Finite, for the difference of two infinities is not a number.
NOTHING = -1e30

# A CPU is fastest while a block stays in its cache; a GPU wants long queues.
_BLOCK_ELEMENTS = {"cpu": 2**22, "cuda": 2**26}


class LogSums(NamedTuple):
    """log of sum of exp, float64: over each row `[n]`, and over the own rows of each column."""

    rows: Tensor
    columns: Tensor


def log_sums(queries: Tensor, keys: Tensor, roles: RoleRows, *, role: int = 0) -> LogSums:
    """Log-sum-exp over the pairs of one role, by row and by column.

    Args:
        queries: `[n, D]`, scaled: their product with `keys` is the logits.
        keys: `[M, D]`.
        roles: int `[stop - start, M]` of each block.
        role: The pairs that count.

    Returns:
        `[n]` and `[M]`; `NOTHING` where no pair counts.
    """
    rows, columns = _LogSums.apply(queries.float(), keys.float(), roles, role)  # type: ignore[no-untyped-call]
    return LogSums(rows, columns)


def logistic_sums(queries: Tensor, keys: Tensor, offset: Tensor, roles: RoleRows) -> Tensor:
    """Sum over each row of softplus(-z) for positives and softplus(z) for negatives.

    Args:
        queries: `[n, D]`, scaled: their product with `keys` is the logits.
        keys: `[M, D]`.
        offset: `[n]`; z is the logit less it.
        roles: int `[stop - start, M]` of each block.

    Returns:
        float64 `[n]`.
    """
    sums: Tensor = _LogisticSums.apply(queries.float(), keys.float(), offset.float(), roles)  # type: ignore[no-untyped-call]
    return sums


def _float32(device: torch.device) -> AbstractContextManager[object]:
    return torch.autocast(device.type, enabled=False)


def block_rows(num_keys: int, device: torch.device) -> int:
    """How many rows of `num_keys` logits one block has."""
    return max(1, _BLOCK_ELEMENTS.get(device.type, 2**22) // max(1, num_keys))


def row_blocks(num_rows: int, num_keys: int, device: torch.device) -> Iterator[tuple[int, int]]:
    """The `[start, stop)` of each block; none where there are no keys."""
    size = block_rows(num_keys, device)
    for start in range(0, num_rows if num_keys else 0, size):
        yield start, min(num_rows, start + size)


class _LogSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        queries: Tensor,
        keys: Tensor,
        roles: RoleRows,
        role: int,
    ) -> tuple[Tensor, Tensor]:
        row_max, row_sum = _nothing(len(queries), queries.device)
        col_max, col_sum = _nothing(len(keys), keys.device)
        scratch = _scratch(queries, keys)
        with _float32(queries.device):
            for start, stop in row_blocks(len(queries), len(keys), queries.device):
                logits, work = (memory[: stop - start] for memory in scratch)
                torch.mm(queries[start:stop], keys.T, out=logits)
                logits.masked_fill_(roles(start, stop) != role, NOTHING)
                row_max[start:stop] = logits.amax(dim=1)
                torch.sub(logits, row_max[start:stop, None], out=work)
                row_sum[start:stop] = work.exp_().sum(dim=1)
                here = torch.maximum(col_max, logits.amax(dim=0))
                col_sum *= (col_max - here).double().exp_()
                col_sum += logits.sub_(here).exp_().sum(dim=0)
                col_max = here
        ctx.save_for_backward(queries, keys, row_max, row_sum, col_max, col_sum)
        ctx.roles, ctx.role = roles, role  # type: ignore[attr-defined]
        return (
            row_max.double() + row_sum.clamp(min=1.0).log(),
            col_max.double() + col_sum.clamp(min=1.0).log(),
        )

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grads: Tensor
    ) -> tuple[Tensor, Tensor, None, None]:
        queries, keys, row_max, row_sum, col_max, col_sum = ctx.saved_tensors  # type: ignore[attr-defined]
        # The share of a pair in its row's sum is exp(logit - row_max) / row_sum.
        by_row = (grads[0] / row_sum.clamp(min=1.0)).float()
        by_col = (grads[1] / col_sum.clamp(min=1.0)).float()
        to_queries, to_keys = torch.zeros_like(queries), torch.zeros_like(keys)
        scratch = _scratch(queries, keys)
        with _float32(queries.device):
            for start, stop in row_blocks(len(queries), len(keys), queries.device):
                logits, pull = (memory[: stop - start] for memory in scratch)
                torch.mm(queries[start:stop], keys.T, out=logits)
                counts_not = ctx.roles(start, stop) != ctx.role  # type: ignore[attr-defined]
                logits.masked_fill_(counts_not, NOTHING)
                torch.sub(logits, row_max[start:stop, None], out=pull)
                pull.exp_().mul_(by_row[start:stop, None])
                pull.addcmul_(logits.sub_(col_max).exp_(), by_col)
                # Where nothing counts at all, the greatest logit is NOTHING and exp(0) is 1.
                pull.masked_fill_(counts_not, 0.0)
                to_queries[start:stop] = pull @ keys
                if ctx.needs_input_grad[1]:  # type: ignore[attr-defined]
                    to_keys.addmm_(pull.T, queries[start:stop])
        return to_queries, to_keys, None, None


def _scratch(queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Memory for two blocks, taken once, for fresh pages cost time in every block."""
    rows = min(len(queries), block_rows(len(keys), queries.device))
    shape = rows, len(keys)
    return queries.new_empty(shape), queries.new_empty(shape)


def _nothing(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    return (
        torch.full((count,), NOTHING, device=device),
        torch.zeros(count, dtype=torch.float64, device=device),
    )


class _LogisticSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        queries: Tensor,
        keys: Tensor,
        offset: Tensor,
        roles: RoleRows,
    ) -> Tensor:
        sums = torch.zeros(len(queries), dtype=torch.float64, device=queries.device)
        with _float32(queries.device):
            for start, stop in row_blocks(len(queries), len(keys), queries.device):
                role = roles(start, stop)
                logits = (queries[start:stop] @ keys.T).sub_(offset[start:stop, None])
                logits = torch.where(role == 1, -logits, logits)
                sums[start:stop] = F.softplus(logits).masked_fill_(role < 0, 0.0).sum(dim=1)
        ctx.save_for_backward(queries, keys, offset)
        ctx.roles = roles  # type: ignore[attr-defined]
        return sums

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grads: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None]:
        queries, keys, offset = ctx.saved_tensors  # type: ignore[attr-defined]
        by_row = grads[0].float()
        to_queries, to_keys = torch.zeros_like(queries), torch.zeros_like(keys)
        to_offset = torch.zeros_like(offset)
        with _float32(queries.device):
            for start, stop in row_blocks(len(queries), len(keys), queries.device):
                role = ctx.roles(start, stop)  # type: ignore[attr-defined]
                logits = (queries[start:stop] @ keys.T).sub_(offset[start:stop, None])
                # d softplus(-z) = -sigmoid(-z) for positives, sigmoid(z) for negatives
                pull = torch.where(role == 1, -torch.sigmoid(-logits), torch.sigmoid(logits))
                pull.masked_fill_(role < 0, 0.0).mul_(by_row[start:stop, None])
                to_queries[start:stop] = pull @ keys
                if ctx.needs_input_grad[1]:  # type: ignore[attr-defined]
                    to_keys.addmm_(pull.T, queries[start:stop])
                to_offset[start:stop] = -pull.sum(dim=1)
        return to_queries, to_keys, to_offset, None
