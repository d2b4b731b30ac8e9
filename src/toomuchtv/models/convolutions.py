"""3-D convolutions that are computed as 2-D ones, for speed and for correct bfloat16 results.

Every class has the weights of the `nn.Conv3d` that it replaces, so that published weights load.
oneDNN, which PyTorch uses on a CPU, has far more kernels for two dimensions than for three. In the
channels-last layout the changes of view copy nothing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SpatialConv(nn.Conv3d):
    """A `(1, k, k)` convolution, computed as a 2-D convolution over `N * T` frames."""

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, C_in, T, H, W]` to `[N, C, T, H / stride, W / stride]`."""
        frames = x.transpose(1, 2).flatten(0, 1)
        padding = [int(value) for value in self.padding[1:]]
        out = F.conv2d(frames, self.weight.squeeze(2), self.bias, self.stride[1:], padding)
        # Unlike `len(x)`, -1 keeps the size of the batch open when the network is exported.
        return out.reshape(-1, x.shape[2], *out.shape[1:]).transpose(1, 2)


class TemporalConv(nn.Conv3d):
    """A `(k, 1, 1)` convolution, computed as a 2-D convolution over time and pixels.

    Besides speed, this avoids an error: oneDNN's bfloat16 gradient of the 3-D shape sometimes
    contains memory that was never written (PyTorch 2.13 on AVX-512; tests/models checks for it).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, C_in, T, H, W]` to `[N, C, T / stride, H, W]`."""
        stride, padding = int(self.stride[0]), int(self.padding[0])
        rows, weight = x.flatten(3), self.weight.squeeze(4)
        out: Tensor
        if (
            x.device.type == "cpu"
            and torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
        ):
            out = _TemporalConvFunction.apply(rows, weight, stride, padding)  # type: ignore[no-untyped-call]
        else:
            out = F.conv2d(rows, weight, self.bias, (stride, 1), (padding, 0))
        return out.reshape(*out.shape[:3], *x.shape[3:])


class FullConv(nn.Conv3d):
    """A `(k, h, w)` convolution, on a CPU computed as a 2-D convolution over stacked frames.

    The k frames under the kernel become channels. As with `TemporalConv`, the reason is an error:
    the bfloat16 gradient of a small map was infinite in some passes.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, C_in, T, H, W]` to `[N, C, T / stride, H / stride, W / stride]`."""
        if x.device.type != "cpu":
            return super().forward(x)
        padding = [int(value) for value in self.padding]
        padded = F.pad(x.transpose(1, 2), (0, 0, 0, 0, 0, 0, padding[0], padding[0]))
        # [N, T', C_in, H, W, k] to [N * T', k * C_in, H, W]
        frames = padded.unfold(1, self.kernel_size[0], self.stride[0])
        num_frames = frames.shape[1]
        frames = frames.permute(0, 1, 5, 2, 3, 4).flatten(2, 3).flatten(0, 1)
        weight = self.weight.transpose(1, 2).flatten(1, 2)
        out = F.conv2d(frames, weight, self.bias, self.stride[1:], padding[1:])
        return out.reshape(-1, num_frames, *out.shape[1:]).transpose(1, 2)


class ShortcutConv(nn.Conv3d):
    """A 1x1x1 convolution with a stride, computed as a slice and a 1x1 2-D convolution.

    oneDNN 3.12 is known to return wrong bfloat16 results for a strided 1x1 convolution whose output
    has a width of 1. Without a stride the kernel is not affected.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, C_in, T, H, W]` to `[N, C, T / stride, H / stride, W / stride]`."""
        frames, rows, columns = (slice(None, None, int(step)) for step in self.stride)
        kept = x[:, :, frames, rows, columns]
        pixels = kept.contiguous(memory_format=torch.channels_last_3d).flatten(3)
        out = F.conv2d(pixels, self.weight.squeeze(4), self.bias)
        return out.reshape(*out.shape[:3], *kept.shape[3:])


class _TemporalConvFunction(torch.autograd.Function):
    """`F.conv2d` of `[N, C_in, T, P]` with `[C, C_in, k, 1]` and a faster gradient on a CPU.

    In the channels-last layout, oneDNN computes the gradient of such weights at about a seventh of
    the machine's rate (docs/experiments/2026-11-training-speed.md). One matrix product per position
    of the kernel gives the same sums.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, x: Tensor, weight: Tensor, stride: int, pad: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.pad = stride, pad  # type: ignore[attr-defined]
        return F.conv2d(x, weight, None, (stride, 1), (pad, 0))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grads: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
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
    """Return the gradient of the weights of a convolution over time, `[C, C_in, taps, 1]`.

    Args:
        x: Its input, `[N, C_in, T, P]`; not copied if the layout is channels-last.
        grad: Gradient of its output, `[N, C, T_out, P]`.
        taps: Number of frames that the kernel spans.
        stride: In frames.
        pad: Frames of zeros at either end.
    """
    frames, grads = x.permute(0, 2, 3, 1), grad.permute(0, 2, 3, 1)
    per_tap = []
    for tap in range(taps):
        # Output t sees input t * stride + tap - pad under this tap, if that frame exists.
        start = max(0, -((tap - pad) // stride))
        stop = min(grads.shape[1], (frames.shape[1] - 1 - (tap - pad)) // stride + 1)
        first = start * stride + tap - pad
        seen = frames[:, first : first + (stop - start) * stride : stride].flatten(1, 2)
        per_tap.append(seen.mT.bmm(grads[:, start:stop].flatten(1, 2)).sum(dim=0).T)
    return torch.stack(per_tap, dim=2).unsqueeze(3)
