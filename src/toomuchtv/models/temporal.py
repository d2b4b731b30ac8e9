"""The convolution over time, with a backward pass that a CPU is quick at.

oneDNN takes the gradient of such a kernel's weights, in the channels-last layout, at a seventh of
the machine's rate (benchmarks/convolutions.py); as one matrix product a tap it is the same sums.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class TemporalConvolution(torch.autograd.Function):
    """`F.conv2d` of `[N, C_in, T, P]` with `[C, C_in, k, 1]`, padded, strided over time alone."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, x: Tensor, weight: Tensor, stride: int, pad: int
    ) -> Tensor:
        """Map `[N, C_in, T, P]` to `[N, C, T / stride, P]`."""
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.pad = stride, pad  # type: ignore[attr-defined]
        return F.conv2d(x, weight, None, (stride, 1), (pad, 0))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grads: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Gradients of input and weight."""
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        stride, pad = int(ctx.stride), int(ctx.pad)  # type: ignore[attr-defined]
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:  # type: ignore[attr-defined]
            grad_x, _, _ = torch.ops.aten.convolution_backward(
                grads[0], x, weight, None, (stride, 1), (pad, 0), (1, 1), False, (0, 0), 1,
                (True, False, False),
            )  # fmt: skip
        if ctx.needs_input_grad[1]:  # type: ignore[attr-defined]
            grad_weight = weight_gradient(x, grads[0], weight.shape[2], stride, pad)
        return grad_x, grad_weight, None, None


def weight_gradient(x: Tensor, grad: Tensor, taps: int, stride: int, pad: int) -> Tensor:
    """Gradient of the weights of a convolution over time.

    Args:
        x: Its input, `[N, C_in, T, P]`; without copies where channels are last.
        grad: Gradient of its output, `[N, C, T_out, P]`.
        taps: Frames that its kernel spans.
        stride: In frames.
        pad: Frames of zeros at either end.

    Returns:
        `[C, C_in, taps, 1]`.
    """
    frames, pulls = x.permute(0, 2, 3, 1), grad.permute(0, 2, 3, 1)
    of_taps = []
    for tap in range(taps):
        # Output t has input t * stride + tap - pad under this tap, where there is such a frame.
        start = max(0, -((tap - pad) // stride))
        stop = min(pulls.shape[1], (frames.shape[1] - 1 - (tap - pad)) // stride + 1)
        first = start * stride + tap - pad
        seen = frames[:, first : first + (stop - start) * stride : stride].flatten(1, 2)
        of_taps.append(seen.mT.bmm(pulls[:, start:stop].flatten(1, 2)).sum(dim=0).T)
    return torch.stack(of_taps, dim=2).unsqueeze(3)
