"""Everything this package asks of `torch.distributed`; one process walks the same path as many.

Every process computes the loss of the whole batch from gathered embeddings (see
`toomuchtv.losses.GatheredLoss`), and the gradient of a gather is that of the process's own rows.
Summing the parameter gradients of all processes then gives the gradient of one process that holds
the whole batch.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store, _set_pg_timeout
from torch.distributed.rendezvous import rendezvous

from toomuchtv.errors import DistributedError

_MEETING_SECONDS = 900.0


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
    return dist.is_available() and dist.is_initialized()


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


def set_patience(timeout_seconds: float) -> None:
    """Wait so long for another process in an exchange, from now on."""
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


def gather_with_gradient(local: Tensor) -> Tensor:
    """Join `[n, D]` of every rank to `[N, D]`, n being equal on all ranks.

    The gradient of `local` is the gradient of its own rows of the result. Nothing is exchanged in
    the backward pass.
    """
    if world_size() == 1:
        return local
    joined, start = gather(local), rank() * len(local)
    return torch.cat([joined[:start], local, joined[start + len(local) :]])


def all_sum(value: Tensor) -> Tensor:
    """Sum over the ranks, the same on each; no gradient."""
    if world_size() == 1:
        return value.detach()
    summed = value.detach().clone()
    dist.all_reduce(summed)
    return summed


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


def average_buffers(module: nn.Module) -> None:
    """Make the running statistics of batch norm alike on every rank: their mean."""
    if world_size() == 1:
        return
    buffers = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
    flat = all_sum(torch.cat([buffer.reshape(-1) for buffer in buffers])) / world_size()
    parts = torch.split(flat, [buffer.numel() for buffer in buffers])
    for buffer, part in zip(buffers, parts, strict=True):
        buffer.copy_(part.view_as(buffer))


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


def text_of_first_rank(text: str, device: torch.device) -> str:
    """What rank 0 says; all ranks get it."""
    if world_size() == 1:
        return text
    content = text.encode("utf-8", "surrogateescape")
    length = torch.tensor([len(content)], device=device)
    dist.broadcast(length, 0)
    if rank() == 0:
        letters = torch.tensor(list(content), dtype=torch.uint8, device=device)
    else:
        letters = torch.empty(int(length), dtype=torch.uint8, device=device)
    if len(letters):
        dist.broadcast(letters, 0)
    return bytes(letters.tolist()).decode("utf-8", "surrogateescape")
