"""Everything that this package uses of `torch.distributed`. One process runs the same code.

The law of gradients: all processes hold equally many clips. Every process computes the loss of the
whole batch from gathered embeddings (see `toomuchtv.losses.GatheredLoss`), and the backward pass of
the gather keeps the rows of its own clips. The sum of the processes' parameter gradients is then
the gradient of one process that holds the whole batch.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store, _set_pg_timeout
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from toomuchtv.errors import DistributedError, ToomuchtvError

_RENDEZVOUS_SECONDS = 900.0


def world_size() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if _is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if _is_initialized() else 0


def launched_rank_and_world_size() -> tuple[int, int]:
    """Return rank and world size as torchrun sets them; (0, 1) without torchrun.

    They are known before `process_group` connects the processes.
    """
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _is_initialized() -> bool:
    return dist.is_available() and dist.is_initialized()


@contextmanager
def process_group(device: torch.device, timeout_seconds: float = 600.0) -> Iterator[None]:
    """Connect the processes that torchrun started, and disconnect them at the end.

    Without torchrun, or inside another process group, this does nothing.

    Args:
        device: Device that trains. Tensors on a GPU are exchanged by NCCL, all others by gloo.
        timeout_seconds: Timeout of every collective call.

    Raises:
        DistributedError: Another process is gone, or did not answer within the timeout.
    """
    if "WORLD_SIZE" not in os.environ or dist.is_initialized():
        yield
        return
    # Facts about the clips of a batch are exchanged between hosts, with gloo on a GPU too.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        store, own_rank, size = _rendezvous()
        timeout = timedelta(seconds=timeout_seconds)
        dist.init_process_group(
            backend, store=store, rank=own_rank, world_size=size, timeout=timeout
        )
        yield
    except RuntimeError as error:
        if not _is_from_torch_distributed(error):
            raise
        raise DistributedError(
            f"lost contact with another process of this job, or its answer timed out ({error}). "
            "Read the output of that process, then start all processes again with --resume"
        ) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def set_timeout(timeout_seconds: float) -> None:
    """Set the timeout of all later collective calls."""
    if world_size() > 1:
        # PyTorch has no public function for this, and a new group would need a new rendezvous.
        _set_pg_timeout(timedelta(seconds=timeout_seconds))


def _rendezvous() -> tuple[Store, int, int]:
    """Wait for every process; return the shared store, the rank and the world size.

    One process may arrive minutes after another, because it has more files to open. That is no
    failure, so this wait has its own, longer timeout.
    """
    timeout = timedelta(seconds=_RENDEZVOUS_SECONDS)
    store, own_rank, size = next(rendezvous("env://", timeout=timeout))
    store.set(f"toomuchtv/here/{own_rank}", "yes")
    store.wait([f"toomuchtv/here/{other}" for other in range(size)], timeout)
    return PrefixStore("toomuchtv", store), own_rank, size


def _is_from_torch_distributed(error: RuntimeError) -> bool:
    """Return True if torch.distributed raised an error, for which it has no common type."""
    return any(
        frame.filename.startswith(os.path.dirname(dist.__file__))
        for frame in traceback.extract_tb(error.__traceback__)
    )


def gather(local: Tensor) -> Tensor:
    """Join `[n, ...]` of every rank to `[N, ...]` in the order of ranks, without gradient.

    The shape of `local` must be equal on all ranks.
    """
    if world_size() == 1:
        return local.detach()
    values = local.detach().contiguous()
    if values.dtype == torch.bool:  # gloo does not exchange booleans
        return gather(values.to(torch.uint8)).bool()
    received = [torch.empty_like(values) for _ in range(world_size())]
    dist.all_gather(received, values)
    return torch.cat(received)


def gather_with_gradient(local: Tensor) -> Tensor:
    """Join `[n, D]` of every rank to `[N, D]`; n must be equal on all ranks.

    The gradient of `local` is the gradient of its own rows of the result. Nothing is exchanged in
    the backward pass.
    """
    if world_size() == 1:
        return local
    joined, start = gather(local), rank() * len(local)
    return torch.cat([joined[:start], local, joined[start + len(local) :]])


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace the gradients of parameters by their sums over the ranks, in place."""
    if world_size() > 1:
        _all_reduce([value.grad for value in parameters if value.grad is not None])


def sum_gradients_in_backward(model: nn.Module) -> DistributedDataParallel:
    """Wrap a model so that its gradients are summed over the ranks while backward still runs.

    PyTorch's `DistributedDataParallel` exchanges buckets of gradients as soon as they are complete.
    It would divide them by the number of ranks; the hook leaves the sum. After the first step it
    makes other buckets, so that a resumed run would add in another order than an uninterrupted one.
    On a CPU, where resuming is exact, a search for unused parameters prevents that. PyTorch writes
    a remark about it to stderr.
    """
    for value in model.parameters():
        value.requires_grad_(value.requires_grad and value.numel() > 0)  # or it would be waited for
    wrapped = DistributedDataParallel(
        model,
        forward_sync_buffers=False,
        init_sync=False,
        gradient_as_bucket_view=True,
        find_unused_parameters=next(model.parameters()).device.type == "cpu",
    )
    # It refuses a function whose annotations are text, as in this module.
    wrapped.register_comm_hook(None, lambda state, bucket: _sum_later(bucket.buffer()))
    return wrapped


def _sum_later(values: Tensor) -> torch.futures.Future[Tensor]:
    work = dist.all_reduce(values, async_op=True)
    assert work is not None
    found: torch.futures.Future[Tensor] = work.get_future().then(lambda done: done.value()[0])
    return found


def average_tensors(tensors: Sequence[Tensor]) -> None:
    """Replace tensors of one dtype by their means over the ranks, in place."""
    if world_size() > 1:
        _all_reduce(tensors, factor=1.0 / world_size())


def _all_reduce(tensors: Sequence[Tensor], factor: float = 1.0) -> None:
    """Replace tensors by their sums over the ranks times a factor, in one collective call."""
    if not tensors:
        return
    flat = torch.cat([value.reshape(-1) for value in tensors])
    dist.all_reduce(flat)
    flat *= factor
    parts = torch.split(flat, [value.numel() for value in tensors])
    for value, part in zip(tensors, parts, strict=True):
        value.copy_(part.view_as(value))


def broadcast_module(module: nn.Module) -> None:
    """Replace the parameters and buffers of a module by those of rank 0, in place."""
    if world_size() > 1:
        for value in module.state_dict().values():
            if value.numel() == 0:
                continue
            # A collective call reads memory in its order, which channels-last layouts permute.
            values = value.contiguous()
            dist.broadcast(values, 0)
            value.copy_(values)


def barrier() -> None:
    """Wait until every process has reached this point."""
    if world_size() > 1:
        dist.barrier()


def any_rank(flag: bool, device: torch.device) -> bool:
    """Return True on every rank if the flag is set on any rank."""
    if world_size() == 1:
        return flag
    value = torch.tensor([int(flag)], device=device)
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return bool(value.item())


def count_ranks(flag: bool, device: torch.device) -> Tensor:
    """Return on how many ranks the flag is set, as a scalar on the device that is read later."""
    value = torch.full((), float(flag), device=device)
    if world_size() > 1:
        dist.all_reduce(value)
    return value


def on_first_rank(function: Callable[[], Iterable[int]], device: torch.device) -> list[int]:
    """Call a function on rank 0 and return its result, some integers, on every rank.

    Raises:
        Exception: What the function raised, on rank 0.
        DistributedError: The function failed on rank 0, on the other ranks.
    """
    if world_size() == 1:
        return list(function())
    values: list[int] = []
    problem: Exception | None = None
    if rank() == 0:
        try:
            values = list(function())
        except (ToomuchtvError, ValueError, OSError) as error:
            problem = error
    num_values = torch.tensor([len(values) if problem is None else -1], device=device)
    dist.broadcast(num_values, 0)
    if int(num_values) < 0:
        raise problem or DistributedError("rank 0 could not begin; read its output")
    shared = torch.zeros(int(num_values), dtype=torch.int64, device=device)
    if rank() == 0:
        shared.copy_(torch.tensor(values, dtype=torch.int64))
    dist.broadcast(shared, 0)
    return [int(value) for value in shared.tolist()]
