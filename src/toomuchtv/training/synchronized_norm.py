"""Batch norm over the batches of all processes, on any backend.

Ioffe and Szegedy, "Batch Normalization", ICML 2015, algorithm 1, with the mean and the variance
of the whole global batch. torch.nn.SyncBatchNorm does this on GPUs alone; this is the same
arithmetic over `_internal.distributed`, so that a run on CPUs equals one on a single process.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from toomuchtv._internal import distributed


class _Normalize(torch.autograd.Function):
    """Normalize by the statistics of all processes, whose gradient reaches all of them."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, var)
        ctx.eps = eps
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, var = ctx.saved_tensors
        dims = [0, *range(2, x.dim())]
        inverse_std = (var + ctx.eps).rsqrt()
        shape = [1, -1, *[1] * (x.dim() - 2)]
        grad = _widened(grads[0])
        normalized = (_widened(x) - mean.view(shape)) * inverse_std.view(shape)
        # What this process knows of the gradients of weight and bias; the step adds them up over
        # all processes, as every parameter's.
        grad_weight, grad_bias = (grad * normalized).sum(dims), grad.sum(dims)
        totals = distributed.all_sum(
            torch.cat([grad_weight, grad_bias, grad.new_full((1,), x.numel() / x.shape[1])])
        )
        channels = x.shape[1]
        mean_along = (totals[:channels] / totals[-1]).view(shape)
        mean_grad = (totals[channels:-1] / totals[-1]).view(shape)
        # dL/dx = w / std * (g - mean(g) - x^ * mean(g * x^)), the means over all processes.
        grad_x = (grad - mean_grad - normalized * mean_along) * (inverse_std * weight).view(shape)
        return grad_x.to(x.dtype), grad_weight, grad_bias, None, None, None


class SynchronizedBatchNorm(_BatchNorm):
    """Batch norm of the whole global batch; names and shapes of its state are batch norm's own.

    Processes may hold different numbers of clips. With one process, and in evaluation, it is
    torch's own batch norm to the bit.
    """

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002
        if input.dim() < 2:
            raise ValueError(f"expected [N, C, ...], got {list(input.shape)}")

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, C, ...]` to the same shape and dtype."""
        if not self.training or distributed.world_size() == 1:
            return super().forward(x)
        dims = [0, *range(2, x.dim())]
        with torch.no_grad():
            mean, var, count = _statistics(_widened(x.detach()), dims)
            self._keep(mean, var, count)
        normalized: Tensor = _Normalize.apply(  # type: ignore[no-untyped-call]
            x, self.weight, self.bias, mean, var, self.eps
        )
        return normalized

    def _keep(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        """Move the running statistics on; as in torch, the variance without bias."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var * (count / (count - 1)), self.momentum)


def _widened(x: Tensor) -> Tensor:
    """To float32 if it is narrower."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _statistics(x: Tensor, dims: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance `[C]` over all processes, and how many values of each channel.

    Joined from each process's own mean and variance, not from sums of squares, which cancel
    (Chan, Golub and LeVeque, "Updating Formulae", 1979).
    """
    local_var, local_mean = torch.var_mean(x, dims, correction=0)
    local_count = x.new_full((1,), x.numel() / x.shape[1])
    gathered = distributed.gather(
        torch.cat([local_mean, local_var, local_count])[None],
        distributed.Parts(sizes=(1,) * distributed.world_size(), rank=distributed.rank()),
    )
    channels = x.shape[1]
    means, variances = gathered[:, :channels], gathered[:, channels:-1]
    counts = gathered[:, -1:]
    count = counts.sum()
    mean = (means * counts).sum(0) / count
    var = ((variances + (means - mean).square()) * counts).sum(0) / count
    return mean, var, count


def synchronize_norms(module: nn.Module) -> None:
    """Put a synchronized batch norm in the place of every batch norm, weights and state kept."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, _synchronized(child))
        else:
            synchronize_norms(child)


def _synchronized(norm: _BatchNorm) -> SynchronizedBatchNorm:
    made = SynchronizedBatchNorm(norm.num_features, eps=norm.eps, momentum=norm.momentum)
    made.weight, made.bias = norm.weight, norm.bias
    made.running_mean, made.running_var = norm.running_mean, norm.running_var
    made.num_batches_tracked = norm.num_batches_tracked
    return made.train(norm.training)
