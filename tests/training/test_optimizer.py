"""The learning rate at each step, and which parameters decay."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from toomuchtv.training.config import OptimizerConfig
from toomuchtv.training.optimizer import build_optimizer, learning_rate


@pytest.mark.parametrize(
    ("step", "share"),
    [
        (0, 0.25),
        (1, 0.5),
        (3, 1.0),
        (4, 1.0),
        (9, 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4))),
        (14, 0.55),
        (23, 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 19 / 20))),
        (24, 0.1),
    ],
)
def test_warm_up_then_cosine(step: int, share: float) -> None:
    config = OptimizerConfig(learning_rate=0.02, warmup_steps=4, final_learning_rate_share=0.1)
    assert learning_rate(config, step, steps=24) == pytest.approx(0.02 * share)


def test_it_rises_then_falls() -> None:
    config = OptimizerConfig(warmup_steps=10)
    rates = [learning_rate(config, step, steps=60) for step in range(60)]
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert max(rates) == config.learning_rate
    assert min(rates) > 0


def test_a_run_without_warm_up_starts_at_the_peak() -> None:
    config = OptimizerConfig(warmup_steps=0)
    assert learning_rate(config, 0, steps=1) == config.learning_rate


def test_a_run_shorter_than_its_warm_up_only_rises() -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=100)
    assert learning_rate(config, 9, steps=10) == pytest.approx(0.1)


def test_only_matrices_decay() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    module.register_parameter("scale", nn.Parameter(torch.tensor(1.0)))
    optimizer = build_optimizer([module, nn.Linear(2, 2)], OptimizerConfig(weight_decay=0.3))
    decay = {
        tuple(parameter.shape): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert decay == {(4, 3): 0.3, (2, 2): 0.3, (4,): 0.0, (): 0.0, (2,): 0.0}
