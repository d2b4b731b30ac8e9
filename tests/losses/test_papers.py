"""Every objective, loss and gradients, against the reading of its paper."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.losses import papers
from tests.losses.papers import Float, Reading, Role, slope, unit
from toomuchtv.losses import (
    DensePairLabels,
    LossConfig,
    Moments,
    PairLoss,
    SigmoidConfig,
    build_loss,
)
from toomuchtv.losses.info_nce import InfoNCEConfig
from toomuchtv.losses.joint_nce import JointNCEConfig
from toomuchtv.losses.sup_con import SupConConfig
from toomuchtv.losses.within_modal import WithinModalConfig

#: Each objective with a config that differs from the defaults where it can, and its reading.
KINDS: dict[str, tuple[Callable[..., LossConfig], Reading]] = {
    "info_nce": (InfoNCEConfig, papers.info_nce),
    "joint_nce": (JointNCEConfig, papers.joint_nce),
    "sigmoid": (lambda **given: SigmoidConfig(bias=-3.0, **given), papers.sigmoid),
    "sup_con": (SupConConfig, papers.sup_con),
    "sup_con_inside": (
        lambda **given: SupConConfig(mean="inside", **given),
        papers.sup_con_inside,
    ),
    "within_modal": (
        lambda **given: WithinModalConfig(within_weight=0.7, **given),
        papers.within_modal,
    ),
}

each_kind = pytest.mark.parametrize("kind", KINDS)
each_device = pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU"),
        ),
    ],
)


def build(kind: str, temperature: float, *, learn: bool = True) -> PairLoss:
    config = KINDS[kind][0](temperature=temperature, learn_temperature=learn)
    return build_loss(config, embedding_dim=5)


def moments(count: int, device: str = "cpu") -> Moments:
    index = torch.arange(count, device=device)
    return Moments(
        title=index,
        item=index,
        start_seconds=index.double(),
        audio_track=torch.zeros_like(index),
        valid=index >= 0,
    )


def random_role(seed: int, count: int) -> Role:
    return np.random.default_rng(seed).integers(-1, 2, size=(count, count)).astype(np.int8)


def run(
    objective: PairLoss,
    video: Float,
    audio: Float,
    role: Role,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> tuple[float, Float, Float]:
    """Loss and gradients of one process; the objective's own gradients are left in it."""
    objective.to(device)
    sides = [
        torch.tensor(side, dtype=dtype, device=device, requires_grad=True)
        for side in (video, audio)
    ]
    roles = DensePairLabels(torch.tensor(role, device=device))
    objective.zero_grad()
    loss: Tensor = objective(sides[0], sides[1], roles, moments(len(video), device))
    assert loss.dtype == torch.float32
    assert loss.shape == ()
    torch.autograd.backward(loss)
    gradients = []
    for side in sides:
        assert side.grad is not None
        assert side.grad.dtype == dtype
        gradients.append(side.grad.double().cpu().numpy())
    return loss.item(), gradients[0], gradients[1]


def assert_close(found: Float, wanted: Float, *, relative: float) -> None:
    """Equal to within a share of the greatest entry."""
    np.testing.assert_allclose(
        found, wanted, rtol=0, atol=relative * max(1.0, np.abs(wanted).max())
    )


@pytest.fixture(params=["one block", "a block a row"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The matrix whole, and row by row."""
    if request.param == "a block a row":
        monkeypatch.setattr("toomuchtv.losses.chunked._BLOCK_ELEMENTS", {"cpu": 1, "cuda": 1})


@pytest.mark.parametrize("temperature", [0.01, 0.07, 1.0, 10.0])
@each_device
@each_kind
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 6), plain=st.booleans())
def test_it_is_what_the_paper_says(
    kind: str, device: str, temperature: float, blocks: None, seed: int, rows: int, plain: bool
) -> None:
    video, audio = unit(seed, rows), unit(seed + 1, rows)
    role = np.eye(rows, dtype=np.int8) if plain else random_role(seed, rows)
    objective, reading = build(kind, temperature), KINDS[kind][1]
    loss, to_video, to_audio = run(objective, video, audio, role, device=device)
    assert loss == pytest.approx(reading(video, audio, role, temperature), rel=1e-5, abs=1e-5)
    step = 1e-6 * max(1.0, temperature)
    wanted = slope(lambda values: reading(values, audio, role, temperature), video, step)
    assert_close(to_video, wanted, relative=1e-4)
    wanted = slope(lambda values: reading(video, values, role, temperature), audio, step)
    assert_close(to_audio, wanted, relative=1e-4)
    (wanted_heat,) = slope(
        lambda value: reading(video, audio, role, temperature * math.exp(value[0])), np.zeros(1)
    )
    assert isinstance(objective.log_temperature, Tensor)
    assert objective.log_temperature.grad is not None
    assert objective.log_temperature.grad.item() == pytest.approx(wanted_heat, rel=1e-3, abs=1e-3)


@each_device
@each_kind
def test_half_precision_is_compared_in_float32(kind: str, device: str) -> None:
    rounded = [torch.tensor(unit(seed, 7)).bfloat16().double().numpy() for seed in (1, 2)]
    role, reading = random_role(0, 7), KINDS[kind][1]
    objective = build(kind, 0.07)
    with torch.autocast(device, dtype=torch.bfloat16):
        found = run(objective, rounded[0], rounded[1], role, dtype=torch.bfloat16, device=device)
    assert found[0] == pytest.approx(reading(rounded[0], rounded[1], role, 0.07), rel=1e-5)
    wanted = slope(lambda values: reading(values, rounded[1], role, 0.07), rounded[0])
    # Only the gradient itself is rounded to bfloat16, at the very end.
    np.testing.assert_allclose(found[1], wanted, rtol=2**-7, atol=1e-4 * np.abs(wanted).max())


def test_the_bias_of_the_sigmoid_has_the_true_gradient() -> None:
    objective = build("sigmoid", 0.1)
    video, audio, role = unit(1, 6), unit(2, 6), random_role(3, 6)
    run(objective, video, audio, role)
    (wanted,) = slope(
        lambda bias: papers.sigmoid(video, audio, role, 0.1, bias=float(bias[0])), np.array([-3.0])
    )
    grads = {name: value.grad for name, value in objective.named_parameters()}
    assert grads["bias"] is not None
    assert grads["bias"].item() == pytest.approx(wanted, rel=1e-4)


@each_kind
@pytest.mark.parametrize(
    "role",
    [np.full((3, 3), -1), np.diag([-1, 1, -1]) - (1 - np.eye(3, dtype=int))],
    ids=["all ignored", "one valid clip"],
)
@pytest.mark.parametrize("temperature", [0.01, 10.0])
def test_where_nothing_is_told_apart_nothing_is_learned(
    kind: str, role: Role, temperature: float
) -> None:
    if kind == "sigmoid" and (role == 1).any():
        pytest.skip("the sigmoid judges a lone positive pair too")
    loss, to_video, to_audio = run(build(kind, temperature), unit(1, 3), unit(2, 3), role)
    assert loss == pytest.approx(0.0, abs=1e-6)
    assert np.abs(to_video).max() == pytest.approx(0.0, abs=1e-5)
    assert np.abs(to_audio).max() == pytest.approx(0.0, abs=1e-5)


@each_kind
@pytest.mark.parametrize("fill", [0, 1], ids=["no positive", "no negative"])
@pytest.mark.parametrize("temperature", [0.01, 10.0])
def test_without_positives_or_negatives(kind: str, fill: int, temperature: float) -> None:
    role, reading = np.full((3, 3), fill, np.int8), KINDS[kind][1]
    video, audio = unit(1, 3), unit(2, 3)
    loss, to_video, _ = run(build(kind, temperature), video, audio, role)
    assert loss == pytest.approx(reading(video, audio, role, temperature), rel=1e-5, abs=1e-6)
    wanted = slope(lambda values: reading(values, audio, role, temperature), video)
    assert_close(to_video, wanted, relative=1e-4)
    if kind not in {"sigmoid", "sup_con", "sup_con_inside"}:
        assert loss == pytest.approx(0.0, abs=1e-6)
