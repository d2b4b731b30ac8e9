"""Activation checkpointing of blocks that contain batch norm.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016 (arXiv 1604.06174). This module
exists because `torch.utils.checkpoint` alone runs a block twice in training mode, which would move
the running statistics of batch norm twice per step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def run_block(block: nn.Module, x: Tensor, *, checkpointing: bool) -> Tensor:
    """Run a block; with `checkpointing`, keep only its input and run it again in the backward pass.

    Gradients and the running statistics of batch norm are identical with and without it.
    """
    if not (checkpointing and torch.is_grad_enabled()):
        out: Tensor = block(x)
        return out

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _frozen_running_statistics(block)

    return torch.as_tensor(
        checkpoint(block, x, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)
    )


@contextmanager
def _frozen_running_statistics(module: nn.Module) -> Iterator[None]:
    """Keep the running statistics of batch norm unchanged by passes in training mode."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        # The pass increments a copy, because the buffer itself may be part of a graph.
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, tracked) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, tracked
