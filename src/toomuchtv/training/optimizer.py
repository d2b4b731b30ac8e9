"""The optimizer with its parameter groups, the learning rate schedule, and the EMA of the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from toomuchtv.training.run_config import OptimizerConfig


def build_optimizer(modules: Sequence[nn.Module], config: OptimizerConfig) -> torch.optim.Optimizer:
    """Build the optimizer that `config` names. Biases, norms and scalars are not decayed.

    The order of the parameters is that of `modules` and of each module's own parameters.
    Checkpoints rely on it.
    """
    parameters = [parameter for module in modules for parameter in module.parameters()]
    groups: list[dict[str, Any]] = [
        {
            "params": [value for value in parameters if value.dim() > 1],
            "weight_decay": config.weight_decay,
        },
        {"params": [value for value in parameters if value.dim() <= 1], "weight_decay": 0.0},
    ]
    if config.name == "adamw":
        return torch.optim.AdamW(
            groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True
        )
    return torch.optim.SGD(
        groups,
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.nesterov,
        fused=True,
    )


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Return the learning rate of step `step` (from 0) of a run of `steps` steps."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    floor = config.final_learning_rate_share
    return config.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))


class ModelEma(AveragedModel):
    """The exponential moving average of a model: weights and running statistics alike.

    It starts as a copy of the model. Each `update(model)` then computes
    `ema += (1 - decay) * (model - ema)`; integer buffers are copied. Tarvainen and Valpola, "Mean
    teachers are better role models", NeurIPS 2017.

    Args:
        model: The model to average. It is not changed.
        decay: At least 0, below 1. About the last `1 / (1 - decay)` steps count.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=True)
        self.requires_grad_(False).eval()
        self.n_averaged.fill_(1)  # the initial weights
        self._average_floats = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def update(self, model: nn.Module, *, skip: Tensor | None = None) -> None:
        """Take the model into the average.

        `update_parameters` of PyTorch asks the device for the number of updates, and waits for it.

        Args:
            model: The model, after a step.
            skip: A scalar on the device: if it is not zero, nothing changes.
        """
        if skip is None:
            skip = torch.zeros((), device=self.n_averaged.device)
        is_skipped = skip != 0
        averages = [*self.module.parameters(), *self.module.buffers()]
        # An average is averaged with itself if it shall stay, because the new value may be NaN.
        values = [
            torch.where(is_skipped, average, value)
            for average, value in zip(
                averages, [*model.parameters(), *model.buffers()], strict=True
            )
        ]
        for kind in dict.fromkeys(average.dtype for average in averages):
            old, new = (
                [value for value in tensors if value.dtype == kind]
                for tensors in (averages, values)
            )
            if kind.is_floating_point:
                self._average_floats(old, new, self.n_averaged)
            else:
                for average, value in zip(old, new, strict=True):
                    average.copy_(value)
        self.n_averaged.add_(~is_skipped)
