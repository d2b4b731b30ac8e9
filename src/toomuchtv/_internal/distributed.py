"""Everything this package asks of `torch.distributed`; one process walks the same path as many.

Each process computes its share of the loss of the whole batch: the terms of its own clips against
everybody's. Where its share depends on another process's embeddings, the gather's gradient sends
what is due back to their owner, so every process has the whole gradient of its own embeddings.
Summing the processes' parameter gradients then gives the gradient of one process that holds the
whole batch: no scaling by world size anywhere. Processes may hold unequal numbers of clips.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store, _set_pg_timeout
from torch.distributed.rendezvous import rendezvous

from toomuchtv.errors import DistributedError

_MEETING_SECONDS = 900.0

_alone: ContextVar[bool] = ContextVar("alone", default=False)


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if _together() else 1


def rank() -> int:
    """Number of this process among them, from 0."""
    return dist.get_rank() if _together() else 0


def place_of_process() -> tuple[int, int]:
    """Rank of this process and their number, as torchrun says before they have met; else 0, 1."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _together() -> bool:
    return dist.is_available() and dist.is_initialized() and not _alone.get()


@contextmanager
def alone() -> Iterator[None]:
    """Inside, this process is the only one: to compute a loss of clips that no other has.

    Not for a backward pass, part of which may run outside of the context.
    """
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


@contextmanager
def process_group(device: torch.device, timeout_seconds: float = 600.0) -> Iterator[None]:
    """Join the other processes if started by torchrun; leave them at the end.

    A wait for another process is given up after `timeout_seconds`.

    Raises:
        DistributedError: It was, or the other process is gone.
    """
    if "WORLD_SIZE" not in os.environ or dist.is_initialized():
        yield
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        store, number, count = _meet()
        dist.init_process_group(
            backend,
            store=store,
            rank=number,
            world_size=count,
            timeout=timedelta(seconds=timeout_seconds),
        )
        yield
    except RuntimeError as error:
        if not _is_of_exchange(error):
            raise
        raise DistributedError(
            f"lost contact with another process of this job, or waited for it in vain ({error}). "
            "Look at what that process says; then start all of them again with --resume"
        ) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def set_timeout(timeout_seconds: float) -> None:
    """Set the timeout of all later collective calls."""
    if world_size() > 1:
        # PyTorch has no public name for this; a group made anew would have to be met for again.
        _set_pg_timeout(timedelta(seconds=timeout_seconds))


def _meet() -> tuple[Store, int, int]:
    """Wait until every process has come this far; gives what they share, own rank, and number.

    One may come minutes after another: it had a model to try first, or more files to open. That is
    no sign of a loss, so it is not measured by the patience for an exchange.
    """
    patience = timedelta(seconds=_MEETING_SECONDS)
    store, number, count = next(rendezvous("env://", timeout=patience))
    store.set(f"toomuchtv/here/{number}", "yes")
    store.wait([f"toomuchtv/here/{other}" for other in range(count)], patience)
    return PrefixStore("toomuchtv", store), number, count


def _is_of_exchange(error: RuntimeError) -> bool:
    """Whether an error came up inside of torch.distributed, which has no type of its own for it."""
    return any(
        frame.filename.startswith(os.path.dirname(dist.__file__))
        for frame in traceback.extract_tb(error.__traceback__)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """How the rows of the whole batch lie on the processes.

    Attributes:
        sizes: Rows of each process, in order of rank.
        rank: Of this process.
    """

    sizes: tuple[int, ...]
    rank: int

    @property
    def start(self) -> int:
        """The first of the own rows."""
        return sum(self.sizes[: self.rank])

    @property
    def stop(self) -> int:
        """The end of the own rows."""
        return sum(self.sizes[: self.rank + 1])

    @property
    def total(self) -> int:
        """Rows of the whole batch."""
        return sum(self.sizes)


def parts(count: int, device: torch.device) -> Parts:
    """Ask every process how many rows it has; this one has `count`."""
    if world_size() == 1:
        return Parts(sizes=(count,), rank=0)
    own = torch.tensor([count], device=device)
    counts = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(counts, own)
    return Parts(sizes=tuple(torch.cat(counts).tolist()), rank=rank())


def gather(local: Tensor, parts_of: Parts | None = None) -> Tensor:
    """Join `[n, ...]` of every rank to `[N, ...]`, in order of rank; no gradient.

    Args:
        local: The own rows; every rank may have another number of them.
        parts_of: How they lie, where that is known already; else the ranks are asked.
    """
    if world_size() == 1:
        return local.detach()
    known = parts_of or parts(len(local), local.device)
    values = local.detach().contiguous()
    as_bytes = values.dtype == torch.bool
    if as_bytes:
        values = values.to(torch.uint8)
    # The exchange is of equal shapes: all are filled up to the longest.
    sent = values.new_zeros(max(known.sizes), *values.shape[1:])
    sent[: len(values)] = values
    received = [torch.empty_like(sent) for _ in range(world_size())]
    dist.all_gather(received, sent)
    joined = torch.cat([part[:size] for part, size in zip(received, known.sizes, strict=True)])
    return joined.bool() if as_bytes else joined


def gather_with_gradient(local: Tensor, parts_of: Parts | None = None) -> Tensor:
    """Join `[n, D]` of every rank to `[N, D]`; each row's gradient comes back to its owner.

    It is the sum of what every rank's share of the loss makes of that row.
    """
    if world_size() == 1:
        return local
    known = parts_of or parts(len(local), local.device)
    joined: Tensor = _GatherWithGradient.apply(local, known)  # type: ignore[no-untyped-call]
    return joined


class _GatherWithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, local: Tensor, known: Parts) -> Tensor:
        ctx.known = known  # type: ignore[attr-defined]
        return gather(local, known)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        known: Parts = ctx.known  # type: ignore[attr-defined]
        # All of it goes round, though a rank needs only its rows: gloo has no reduce-scatter of
        # unequal parts, and this is small beside the model's gradient.
        summed = grads[0].contiguous().clone()
        dist.all_reduce(summed)
        return summed[known.start : known.stop], None


def all_sum(value: Tensor) -> Tensor:
    """Sum over the ranks, the same on each; no gradient."""
    if world_size() == 1:
        return value.detach()
    summed = value.detach().clone()
    dist.all_reduce(summed)
    return summed


def max_over_ranks(value: Tensor) -> Tensor:
    """Greatest over the ranks, element by element; no gradient."""
    if world_size() == 1:
        return value.detach()
    greatest = value.detach().clone()
    dist.all_reduce(greatest, op=dist.ReduceOp.MAX)
    return greatest


def sum_over_ranks(value: Tensor) -> Tensor:
    """Sum over the ranks of what each one's share of the loss depends on.

    Its gradient is the sum of the ranks' gradients: a change of `value` here is felt by all.
    """
    if world_size() == 1:
        return value
    summed: Tensor = _SumOverRanks.apply(value)  # type: ignore[no-untyped-call]
    return summed


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, value: Tensor) -> Tensor:
        return all_sum(value)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> Tensor:
        return all_sum(grads[0].contiguous())


def log_sum_over_ranks(log_value: Tensor) -> Tensor:
    """Log of the sum over the ranks of exp, with gradient as `sum_over_ranks`."""
    greatest = max_over_ranks(log_value)
    return greatest + sum_over_ranks((log_value - greatest).exp()).log()


def sum_of_shares(share: Tensor) -> Tensor:
    """The whole loss from every rank's share of it; the gradient is that of the own share."""
    if world_size() == 1:
        return share
    total: Tensor = _SumOfShares.apply(share)  # type: ignore[no-untyped-call]
    return total


class _SumOfShares(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, share: Tensor) -> Tensor:
        return all_sum(share)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> Tensor:
        return grads[0]


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add up the gradients of all ranks, in place."""
    if world_size() == 1:
        return
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not grads:
        return
    flat = torch.cat([grad.reshape(-1) for grad in grads])
    dist.all_reduce(flat)
    parts = torch.split(flat, [grad.numel() for grad in grads])
    for grad, part in zip(grads, parts, strict=True):
        grad.copy_(part.view_as(grad))


def average_tensors(tensors: Sequence[Tensor]) -> None:
    """Replace tensors of one dtype by their means over the ranks, in place."""
    if world_size() == 1 or not tensors:
        return
    flat = all_sum(torch.cat([value.reshape(-1) for value in tensors])) / world_size()
    parts = torch.split(flat, [value.numel() for value in tensors])
    for value, part in zip(tensors, parts, strict=True):
        value.copy_(part.view_as(value))


def barrier() -> None:
    """Wait until every process is here."""
    if world_size() > 1:
        dist.barrier()


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any rank; all ranks get the same answer."""
    if world_size() == 1:
        return flag
    value = torch.tensor([int(flag)], device=device)
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return bool(value.item())


def broadcast_int(value: int, device: torch.device) -> int:
    """Return the value of rank 0 on every rank."""
    if world_size() == 1:
        return value
    shared = torch.tensor([value], device=device)
    dist.broadcast(shared, 0)
    return int(shared.item())
