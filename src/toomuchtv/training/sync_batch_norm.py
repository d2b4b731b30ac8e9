"""Batch norm with the statistics of the whole batch, over all processes.

`torch.nn.SyncBatchNorm` does this on GPUs and refuses CPU tensors. `CpuSyncBatchNorm` is the same
arithmetic on a CPU. It exists because training with batch norm on several processes equals
training on one process only with it, and tests and benchmarks show that equality on CPUs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

from toomuchtv._internal import distributed


class CpuSyncBatchNorm(_BatchNorm):
    """Batch norm over the batches of all processes (Ioffe and Szegedy, ICML 2015, algorithm 1).

    All processes must hold equally many clips. With one process and in evaluation mode it is
    torch's own batch norm.
    """

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002
        if input.dim() < 2:
            raise ValueError(f"expected an input [N, C, ...], got {list(input.shape)}")

    def forward(self, x: Tensor) -> Tensor:
        """Normalize `[N, C, ...]`; the result has the same shape and dtype."""
        if not self.training or distributed.world_size() == 1:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        dims = [0, *range(2, x.dim())]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        # Parts are equal, so the mean over all values is the mean of the processes' means. The
        # variance takes a second pass: a difference of mean squares would cancel.
        count = distributed.world_size() * x.numel() // x.shape[1]
        mean = _mean_over_ranks(wide.mean(dims))
        centered = wide - mean.view(shape)
        var = _mean_over_ranks(centered.square().mean(dims))
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            # As in torch, the running variance is the unbiased estimate.
            unbiased = var * (count / (count - 1))
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        scale = self.weight * (var + self.eps).rsqrt()
        return (centered * scale.view(shape) + self.bias.view(shape)).to(x.dtype)


def _mean_over_ranks(value: Tensor) -> Tensor:
    # The gradient of the sum is the sum of the processes' gradients: every loss depends on it.
    total: Tensor = all_reduce(value)  # type: ignore[no-untyped-call]
    return total / distributed.world_size()


def convert_sync_batch_norm(model: nn.Module, device: torch.device) -> None:
    """Replace every batch norm inside a model, in place. Weights and statistics are kept.

    Args:
        model: The model; not a batch norm itself.
        device: Device that it will train on.
    """
    for name, child in model.named_children():
        if not isinstance(child, _BatchNorm):
            convert_sync_batch_norm(child, device)
            continue
        kind = CpuSyncBatchNorm if device.type == "cpu" else nn.SyncBatchNorm
        norm = kind(child.num_features, eps=child.eps, momentum=child.momentum)
        norm.weight, norm.bias = child.weight, child.bias
        for key, value in child.named_buffers(recurse=False):
            setattr(norm, key, value)
        setattr(model, name, norm.train(child.training))
