"""The stages of residual blocks that both encoders have, and activation checkpointing of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


class ResNet(nn.Module):
    """A residual network of four stages (He et al., "Deep Residual Learning", CVPR 2016).

    Attributes:
        num_features: Length of the feature vector.
        activation_checkpointing: Whether to keep only the input of every block for the backward
            pass and to compute the rest again.
    """

    num_features: int
    activation_checkpointing = False

    def _add_stages(
        self,
        channels_per_stage: Sequence[int],
        blocks_per_stage: Sequence[int],
        block: Callable[[int, int, int], nn.Module],
    ) -> None:
        """Add `layer1` to `layer4`, then initialize all convolutions of the network.

        Args:
            channels_per_stage: Channels of each stage; the first number is also that of the stem.
            blocks_per_stage: Number of blocks of each stage.
            block: A function of input channels, output channels and stride.
        """
        in_channels = channels_per_stage[0]
        for stage, (channels, num_blocks) in enumerate(
            zip(channels_per_stage, blocks_per_stage, strict=True), start=1
        ):
            blocks = []
            for index in range(num_blocks):
                stride = 2 if stage > 1 and index == 0 else 1
                blocks.append(block(in_channels, channels, stride))
                in_channels = channels
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.num_features = in_channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _run_stages(self, x: Tensor) -> Tensor:
        for stage in range(1, 5):
            for block in self.get_submodule(f"layer{stage}").children():
                x = run_block(block, x, checkpointing=self.activation_checkpointing)
        return x


def stage_channels(width: float) -> list[int]:
    """Return the number of channels of each stage: 64 to 512 times `width`, and at least 8."""
    return [max(8, round(channels * width)) for channels in (64, 128, 256, 512)]


def round_up(number: int, multiple: int) -> int:
    """Return the smallest multiple that is at least `number`."""
    return -(-number // multiple) * multiple


def run_block(block: nn.Module, x: Tensor, *, checkpointing: bool) -> Tensor:
    """Run a block; with `checkpointing`, keep only its input and run it again in the backward pass.

    Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016 (arXiv 1604.06174).
    `torch.utils.checkpoint` alone runs a block twice in training mode, which would move the running
    statistics of batch norm twice per step. Here, gradients and running statistics are identical
    with and without checkpointing.
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
