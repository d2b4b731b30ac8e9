"""The optimizer, its parameter groups and its learning rate at each step."""

from __future__ import annotations

import math

import torch
from torch import nn

from toomuchtv.training.config import OptimizerConfig


def build_optimizer(modules: list[nn.Module], config: OptimizerConfig) -> torch.optim.AdamW:
    """Build AdamW; biases, norms and scalars are not decayed.

    Parameters keep the order of `modules` and of each module's own, which checkpoints rely on.
    """
    parameters = [parameter for module in modules for parameter in module.parameters()]
    return torch.optim.AdamW(
        [
            {
                "params": [value for value in parameters if value.dim() > 1],
                "weight_decay": config.weight_decay,
            },
            {
                "params": [value for value in parameters if value.dim() <= 1],
                "weight_decay": 0.0,
            },
        ],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        fused=True,
    )


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Learning rate of step `step` of `steps`: linear warm-up, then half a cosine.

    Args:
        config: Peak, warm-up and final share.
        step: From 0.
        steps: Length of the run.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    floor = config.final_learning_rate_share
    return config.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))
