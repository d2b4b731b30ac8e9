"""Fold batch norm into the convolutions before it, for faster inference."""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold_batch_norm(model: nn.Module) -> int:
    """Replace each batch norm that follows a convolution by a change of the convolution.

    In evaluation mode, batch norm multiplies every channel by a number and adds another one, which
    the weights and the bias of the convolution can do. The output changes by rounding errors only.
    The model cannot be trained or saved as before.

    Args:
        model: A model in evaluation mode, which is changed.

    Returns:
        The number of norms that were folded.

    Raises:
        ValueError: The model is in training mode.
    """
    if model.training:
        raise ValueError("batch norm is folded in evaluation mode only: call model.eval() first")
    num_folded = 0
    for module in model.modules():
        children = list(module.named_children())
        for (_, first), (name, norm) in pairwise(children):
            conv = first
            while isinstance(conv, nn.Sequential):  # a factored convolution ends with the second
                conv = conv[-1]
            if not (isinstance(conv, nn.Conv2d | nn.Conv3d) and isinstance(norm, _BatchNorm)):
                continue
            if norm.running_mean is None or norm.running_var is None:
                continue
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, norm.running_mean, norm.running_var,
                norm.eps, norm.weight, norm.bias,
            )  # fmt: skip
            setattr(module, name, nn.Identity())
            num_folded += 1
    return num_folded
