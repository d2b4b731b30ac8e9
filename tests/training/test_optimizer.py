"""The learning rate at each step, and which parameters decay."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
import torch
from pydantic import ValidationError
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


def test_a_constant_rate_only_warms_up() -> None:
    config = OptimizerConfig(learning_rate=0.3, warmup_steps=3, schedule="constant")
    rates = [learning_rate(config, step, steps=9) for step in range(9)]
    assert rates == pytest.approx([0.1, 0.2, *[0.3] * 7])


def test_a_run_shorter_than_its_warm_up_only_rises() -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=100)
    assert learning_rate(config, 9, steps=10) == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["adamw", "lars", "sgd"])
def test_only_matrices_decay(name: Literal["adamw", "lars", "sgd"]) -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    module.register_parameter("scale", nn.Parameter(torch.tensor(1.0)))
    optimizer = build_optimizer(
        [module, nn.Linear(2, 2)], OptimizerConfig(name=name, weight_decay=0.3)
    )
    decay = {
        tuple(parameter.shape): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert decay == {(4, 3): 0.3, (2, 2): 0.3, (4,): 0.0, (): 0.0, (2,): 0.0}
    assert [group.get("adapt") for group in optimizer.param_groups] == (
        [True, False] if name == "lars" else [None, None]
    )


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_is_momentum_as_torch_writes_it(momentum: float, nesterov: bool) -> None:
    module = nn.Linear(3, 2, bias=False)
    config = OptimizerConfig(name="sgd", momentum=momentum, nesterov=nesterov, weight_decay=0.1)
    optimizer = build_optimizer([module], config)
    weights, velocity = module.weight.detach().double().numpy(), np.zeros((2, 3))
    rng = np.random.default_rng(0)
    for rate in (0.1, 0.01, 0.5):
        gradient = rng.standard_normal((2, 3)).astype(np.float32)
        module.weight.grad = torch.from_numpy(gradient)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        change = gradient + 0.1 * weights
        velocity = momentum * velocity + change
        weights = weights - rate * (change + momentum * velocity if nesterov else velocity)
    np.testing.assert_allclose(module.weight.detach().numpy(), weights, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "adamw", "nesterov": True}, "optimizer.nesterov is a setting of sgd"),
        ({"name": "sgd", "beta2": 0.9}, "optimizer.beta2 is a setting of adamw"),
        ({"name": "adamw", "momentum": 0.8}, "momentum is a setting of lars and sgd"),
        ({"name": "sgd", "momentum": 0.0, "nesterov": True}, "needs a momentum above 0"),
        ({"name": "adam"}, "'adamw', 'lars' or 'sgd'"),
    ],
)
def test_what_would_be_set_in_vain_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        OptimizerConfig(**settings)
