"""Everything this package asks of `torch.distributed`; one process walks the same path as many.

Every rank computes the loss of the whole global batch from gathered embeddings. The gather's
gradient hands each rank the slice of its own embeddings, and summing the ranks' parameter
gradients gives the gradient of one process that holds the whole batch: no scaling by world size
anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process among them, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


@contextmanager
def process_group(device: torch.device, timeout_seconds: float = 600.0) -> Iterator[None]:
    """Join the other processes if started by torchrun; leave them at the end.

    A wait for another process is given up after `timeout_seconds`.
    """
    if "WORLD_SIZE" not in os.environ or dist.is_initialized():
        yield
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(seconds=timeout_seconds))
    try:
        yield
    finally:
        dist.destroy_process_group()


class _GatherWithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, local: Tensor) -> Tensor:
        return gather(local)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> Tensor:
        # Every rank computed the same loss of the same gathered rows, so its gradient of this
        # rank's rows is complete here already: nothing to add up across ranks.
        size = grads[0].shape[0] // world_size()
        return grads[0][rank() * size : (rank() + 1) * size]


def gather(local: Tensor) -> Tensor:
    """Join `[n, ...]` of every rank to `[world_size * n, ...]`, in order of rank; no gradient."""
    if world_size() == 1:
        return local
    values = local.detach().contiguous()
    as_bytes = values.dtype == torch.bool
    if as_bytes:
        values = values.to(torch.uint8)
    parts = [torch.empty_like(values) for _ in range(world_size())]
    dist.all_gather(parts, values)
    joined = torch.cat(parts)
    return joined.bool() if as_bytes else joined


def gather_with_gradient(local: Tensor) -> Tensor:
    """Join `[n, D]` of every rank to `[world_size * n, D]`; its gradient reaches the own rows."""
    if world_size() == 1:
        return local
    joined: Tensor = _GatherWithGradient.apply(local)  # type: ignore[no-untyped-call]
    return joined


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add up the gradients of all ranks, in place."""
    if world_size() == 1:
        return
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([grad.reshape(-1) for grad in grads])
    dist.all_reduce(flat)
    parts = torch.split(flat, [grad.numel() for grad in grads])
    for grad, part in zip(grads, parts, strict=True):
        grad.copy_(part.view_as(grad))


def average_buffers(module: nn.Module) -> None:
    """Make the running statistics of batch norm alike on every rank: their mean."""
    if world_size() == 1:
        return
    for buffer in module.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer.div_(world_size())


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
