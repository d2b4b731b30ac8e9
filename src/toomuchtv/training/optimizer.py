"""The optimizer with its parameter groups, the learning rate schedule, and the EMA of the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from toomuchtv.training.run_config import OptimizerConfig

_Tensors = list[Tensor] | tuple[Tensor, ...]


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


def build_ema(model: nn.Module, decay: float) -> AveragedModel:
    """Build the exponential moving average of a model: weights and running statistics alike.

    It starts as a copy of the model. Each `update_parameters(model)` then computes
    `ema += (1 - decay) * (model - ema)`; integer buffers are copied. Tarvainen and Valpola, "Mean
    teachers are better role models", NeurIPS 2017.

    Args:
        model: The model to average. It is not changed.
        decay: At least 0, below 1. About the last `1 / (1 - decay)` steps count.
    """
    average_floats = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    def update(ema: _Tensors, current: _Tensors, num_averaged: Tensor | int) -> None:
        if ema[0].is_floating_point():
            average_floats(ema, current, num_averaged)
            return
        for value, new in zip(ema, current, strict=True):
            value.copy_(new)

    averaged = AveragedModel(model, multi_avg_fn=update, use_buffers=True)
    averaged.requires_grad_(False).eval()
    # torch's first update copies the model instead of averaging. Spend it on the initial weights.
    averaged.update_parameters(model)
    return averaged
