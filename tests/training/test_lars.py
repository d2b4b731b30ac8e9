"""LARS against an independent reading of its paper in NumPy, float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from toomuchtv.training.lars import Lars

Array = NDArray[np.float64]


def paper(
    weights: Array,
    gradients: list[Array],
    *,
    rate: float,
    momentum: float,
    decay: float,
    trust: float,
) -> Array:
    """Algorithm 1 of You et al. 2017, without the rate's schedule."""
    w, v = weights.copy(), np.zeros_like(weights)
    for g in gradients:
        local = (
            trust * np.sqrt((w * w).sum()) / (np.sqrt((g * g).sum()) + decay * np.linalg.norm(w))
        )
        v = momentum * v + rate * local * (g + decay * w)
        w = w - v
    return w


@given(
    shape=st.sampled_from([(3,), (4, 2), (2, 3, 1, 2, 2)]),
    seed=st.integers(0, 2**31),
    rate=st.floats(0.01, 10.0),
    momentum=st.floats(0.0, 0.99),
    decay=st.sampled_from([0.0, 1e-4, 0.3]),
    trust=st.floats(1e-4, 0.1),
)
@settings(max_examples=40)
def test_it_moves_as_the_paper_says(
    shape: tuple[int, ...], seed: int, rate: float, momentum: float, decay: float, trust: float
) -> None:
    rng = np.random.default_rng(seed)
    start = rng.standard_normal(shape)
    gradients = [rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 3) for _ in range(4)]
    parameter = nn.Parameter(torch.tensor(start))
    optimizer = Lars(
        [parameter], lr=rate, momentum=momentum, weight_decay=decay, trust_coefficient=trust
    )
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
    expected = paper(start, gradients, rate=rate, momentum=momentum, decay=decay, trust=trust)
    np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-9, atol=1e-12)


def test_what_is_not_adapted_is_plain_momentum() -> None:
    weights, rate, momentum = np.array([3.0, -4.0]), 0.1, 0.5
    parameter = nn.Parameter(torch.tensor(weights))
    optimizer = Lars([{"params": [parameter], "adapt": False}], lr=rate, momentum=momentum)
    velocity = np.zeros(2)
    for gradient in (np.array([1.0, 2.0]), np.array([-5.0, 0.0])):
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        velocity = momentum * velocity + rate * gradient
        weights = weights - velocity
    np.testing.assert_allclose(parameter.detach().numpy(), weights, rtol=1e-12)


@pytest.mark.parametrize(("weight", "gradient"), [(0.0, 2.0), (3.0, 0.0), (0.0, 0.0)])
def test_without_a_norm_to_go_by_the_ratio_is_one(weight: float, gradient: float) -> None:
    parameter = nn.Parameter(torch.tensor([weight]))
    parameter.grad = torch.tensor([gradient])
    Lars([parameter], lr=0.5, trust_coefficient=1e-3).step()
    assert parameter.item() == weight - 0.5 * gradient


def test_a_step_does_not_depend_on_the_scale_of_the_gradient() -> None:
    ends = []
    for scale in (1.0, 1000.0):
        parameter = nn.Parameter(torch.arange(1.0, 7.0).reshape(2, 3))
        parameter.grad = scale * torch.ones(2, 3)
        Lars([parameter], lr=1.0).step()
        ends.append(parameter.detach())
    torch.testing.assert_close(ends[0], ends[1])
