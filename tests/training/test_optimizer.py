"""The learning rate at each step, which parameters decay, and the EMA of the model."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from toomuchtv.models import AudioEncoderConfig, ModelConfig, TwoTower, VideoEncoderConfig
from toomuchtv.training.optimizer import ModelEma, build_optimizer, learning_rate
from toomuchtv.training.run_config import OptimizerConfig


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


def test_learning_rate_rises_then_falls() -> None:
    config = OptimizerConfig(warmup_steps=10)
    rates = [learning_rate(config, step, steps=60) for step in range(60)]
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert max(rates) == config.learning_rate
    assert min(rates) > 0


def test_without_warm_up_the_run_starts_at_the_peak() -> None:
    config = OptimizerConfig(warmup_steps=0)
    assert learning_rate(config, 0, steps=1) == config.learning_rate


def test_a_constant_schedule_stays_at_the_peak() -> None:
    config = OptimizerConfig(learning_rate=0.3, warmup_steps=3, schedule="constant")
    rates = [learning_rate(config, step, steps=9) for step in range(9)]
    assert rates == pytest.approx([0.1, 0.2, *[0.3] * 7])


def test_a_run_shorter_than_its_warm_up_never_reaches_the_peak() -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=100)
    assert learning_rate(config, 9, steps=10) == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_only_matrices_decay(name: Literal["adamw", "sgd"]) -> None:
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


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_with_momentum_matches_a_numpy_reference(momentum: float, nesterov: bool) -> None:
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
        ({"name": "adamw", "momentum": 0.8}, "momentum is a setting of sgd"),
        ({"name": "sgd", "momentum": 0.0, "nesterov": True}, "needs a momentum above 0"),
        ({"name": "adam"}, "'adamw' or 'sgd'"),
    ],
)
def test_settings_of_another_optimizer_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        OptimizerConfig(**settings)


MODEL = ModelConfig(
    video=VideoEncoderConfig(depth=10, width=0.0625),
    audio=AudioEncoderConfig(depth=9, width=0.0625),
    embedding_dim=4,
)


def test_ema_is_the_exponential_average_of_all_states() -> None:
    model, decay = TwoTower.from_config(MODEL, seed=0), 0.75
    ema = ModelEma(model, decay)
    states = [{key: value.double().clone() for key, value in model.state_dict().items()}]
    for seed in range(1, 4):
        model.load_state_dict(TwoTower.from_config(MODEL, seed=seed).state_dict())
        for name, buffer in model.named_buffers():
            buffer.fill_(seed) if name.endswith("num_batches_tracked") else buffer.add_(seed)
        ema.update(model)
        states.append({key: value.double().clone() for key, value in model.state_dict().items()})
    for name, value in ema.module.state_dict().items():
        # a_n = d^n w_0 + (1 - d) * sum over k of d^(n - k) w_k
        expected = decay**3 * states[0][name] + (1 - decay) * sum(
            decay ** (3 - k) * states[k][name] for k in (1, 2, 3)
        )
        if name.endswith("num_batches_tracked"):
            expected = states[3][name]
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6, msg=name)


def test_ema_shares_nothing_with_the_trained_model() -> None:
    model = TwoTower.from_config(MODEL, seed=0)
    ema = ModelEma(model, 0.9)
    assert not any(value.requires_grad for value in ema.parameters())
    assert all(value.requires_grad for value in model.parameters())
    own = {value.data_ptr() for value in ema.module.state_dict().values()}
    assert own.isdisjoint(value.data_ptr() for value in model.state_dict().values())
