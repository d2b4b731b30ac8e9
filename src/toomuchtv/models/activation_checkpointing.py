"""Activation checkpointing: blocks that are computed twice, so that what is inside need not stay.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016 (arXiv 1604.06174).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def run_block(block: nn.Module, x: Tensor, *, recompute: bool) -> Tensor:
    """Run a block; with `recompute`, keep its input alone and run it again in the backward pass.

    The gradients are the same to the bit, and so are batch norm's running statistics, which the
    second pass leaves alone.
    """
    if not (recompute and torch.is_grad_enabled()):
        out: Tensor = block(x)
        return out

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), running_statistics_kept(block)

    return torch.as_tensor(
        checkpoint(block, x, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)
    )


@contextmanager
def running_statistics_kept(module: nn.Module) -> Iterator[None]:
    """Within, a pass in training mode leaves the running statistics of batch norm as they are."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        # Counted up in a copy: the buffer itself may be part of a graph's or a checkpoint's state.
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, tracked) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, tracked
