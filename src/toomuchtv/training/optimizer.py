"""The optimizer, its parameter groups and its learning rate at each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from toomuchtv.training.config import OptimizerConfig
from toomuchtv.training.lars import Lars

Groups = list[dict[str, Any]]


def _adamw(groups: Groups, config: OptimizerConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True
    )


def _lars(groups: Groups, config: OptimizerConfig) -> torch.optim.Optimizer:
    return Lars(
        groups,
        lr=config.learning_rate,
        momentum=config.momentum,
        trust_coefficient=config.trust_coefficient,
    )


def _sgd(groups: Groups, config: OptimizerConfig) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        groups,
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.nesterov,
        fused=True,
    )


_OPTIMIZERS: dict[str, Callable[[Groups, OptimizerConfig], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "lars": _lars,
    "sgd": _sgd,
}


def build_optimizer(modules: Sequence[nn.Module], config: OptimizerConfig) -> torch.optim.Optimizer:
    """Build the optimizer that `config` names; biases, norms and scalars are not decayed.

    Parameters keep the order of `modules` and of each module's own, which checkpoints rely on.
    """
    parameters = [parameter for module in modules for parameter in module.parameters()]
    groups: Groups = [
        {
            "params": [value for value in parameters if value.dim() > 1],
            "weight_decay": config.weight_decay,
        },
        {
            "params": [value for value in parameters if value.dim() <= 1],
            "weight_decay": 0.0,
            **({"adapt": False} if config.name == "lars" else {}),
        },
    ]
    return _OPTIMIZERS[config.name](groups, config)


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Learning rate of step `step` of `steps`: linear warm-up, then as the schedule says.

    Args:
        config: Peak, warm-up, schedule and final share.
        step: From 0.
        steps: Length of the run.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    floor = config.final_learning_rate_share
    return config.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))
