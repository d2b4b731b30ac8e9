"""Loss and gradients of every loss equal those of the reference implementation of its paper."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.losses import references
from tests.losses.references import Float, Labels, Reference, numerical_gradient, unit
from toomuchtv.losses import (
    InfoNCEConfig,
    JointNCEConfig,
    LossConfig,
    PairLoss,
    WithinModalConfig,
    build_loss,
)

#: Each loss with a config that differs from the defaults if it can, and its reference.
KINDS: dict[str, tuple[Callable[..., LossConfig], Reference]] = {
    "info_nce": (InfoNCEConfig, references.info_nce),
    "joint_nce": (JointNCEConfig, references.joint_nce),
    "within_modal": (
        lambda **given: WithinModalConfig(within_weight=0.7, **given),
        references.within_modal,
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


def random_labels(seed: int, count: int) -> Labels:
    return np.random.default_rng(seed).integers(-1, 2, size=(count, count)).astype(np.int8)


def run(
    loss: PairLoss,
    video: Float,
    audio: Float,
    labels: Labels | None,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> tuple[float, Float, Float]:
    """Return the loss and its gradients; those of the loss's parameters stay in the loss."""
    loss.to(device)
    sides = [
        torch.tensor(side, dtype=dtype, device=device, requires_grad=True)
        for side in (video, audio)
    ]
    loss.zero_grad()
    pair_labels = None if labels is None else torch.tensor(labels, device=device)
    value: Tensor = loss(sides[0], sides[1], pair_labels)
    assert value.dtype == torch.float32
    assert value.shape == ()
    torch.autograd.backward(value)
    gradients = []
    for side in sides:
        assert side.grad is not None
        assert side.grad.dtype == dtype
        gradients.append(side.grad.double().cpu().numpy())
    return value.item(), gradients[0], gradients[1]


def assert_close(found: Float, wanted: Float, *, relative: float) -> None:
    """Assert that two arrays are equal to within a fraction of the largest entry."""
    np.testing.assert_allclose(
        found, wanted, rtol=0, atol=relative * max(1.0, np.abs(wanted).max())
    )


@pytest.fixture(params=["one chunk", "a chunk per row"])
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with the whole matrix in one chunk, and with one row per chunk."""
    if request.param == "a chunk per row":
        monkeypatch.setattr("toomuchtv.losses.chunked._CHUNK_ELEMENTS", {"cpu": 1, "cuda": 1})


@pytest.mark.parametrize("temperature", [0.01, 0.07, 1.0, 10.0])
@each_device
@each_kind
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 6), plain=st.booleans())
def test_loss_and_gradients_equal_the_reference(
    kind: str, device: str, temperature: float, chunks: None, seed: int, rows: int, plain: bool
) -> None:
    video, audio = unit(seed, rows), unit(seed + 1, rows)
    labels = np.eye(rows, dtype=np.int8) if plain else random_labels(seed, rows)
    loss, reference = build(kind, temperature), KINDS[kind][1]
    value, to_video, to_audio = run(loss, video, audio, labels, device=device)
    assert value == pytest.approx(reference(video, audio, labels, temperature), rel=1e-5, abs=1e-5)
    step = 1e-6 * max(1.0, temperature)
    wanted = numerical_gradient(
        lambda values: reference(values, audio, labels, temperature), video, step
    )
    assert_close(to_video, wanted, relative=1e-4)
    wanted = numerical_gradient(
        lambda values: reference(video, values, labels, temperature), audio, step
    )
    assert_close(to_audio, wanted, relative=1e-4)
    (wanted_slope,) = numerical_gradient(
        lambda value: reference(video, audio, labels, temperature * math.exp(value[0])),
        np.zeros(1),
    )
    assert isinstance(loss.log_temperature, Tensor)
    assert loss.log_temperature.grad is not None
    assert loss.log_temperature.grad.item() == pytest.approx(wanted_slope, rel=1e-3, abs=1e-3)
    if plain:
        assert run(build(kind, temperature), video, audio, None, device=device)[0] == value


@each_device
@each_kind
def test_bfloat16_embeddings_are_compared_in_float32(kind: str, device: str) -> None:
    rounded = [torch.tensor(unit(seed, 7)).bfloat16().double().numpy() for seed in (1, 2)]
    labels, reference = random_labels(0, 7), KINDS[kind][1]
    loss = build(kind, 0.07)
    with torch.autocast(device, dtype=torch.bfloat16):
        found = run(loss, rounded[0], rounded[1], labels, dtype=torch.bfloat16, device=device)
    assert found[0] == pytest.approx(reference(rounded[0], rounded[1], labels, 0.07), rel=1e-5)
    wanted = numerical_gradient(
        lambda values: reference(values, rounded[1], labels, 0.07), rounded[0]
    )
    # Only the gradient itself is rounded to bfloat16, at the very end.
    np.testing.assert_allclose(found[1], wanted, rtol=2**-7, atol=1e-4 * np.abs(wanted).max())


@each_kind
@pytest.mark.parametrize(
    "labels",
    [
        np.full((3, 3), -1, np.int8),
        np.diag(np.array([-1, 1, -1], np.int8)) - (1 - np.eye(3, dtype=np.int8)),
        np.zeros((3, 3), np.int8),
        np.ones((3, 3), np.int8),
    ],
    ids=["all ignored", "one valid clip", "no positive", "no negative"],
)
@pytest.mark.parametrize("temperature", [0.01, 10.0])
def test_without_a_contrast_the_loss_and_its_gradient_are_zero(
    kind: str, labels: Labels, temperature: float
) -> None:
    reference = KINDS[kind][1](unit(1, 3), unit(2, 3), labels, temperature)
    loss, to_video, to_audio = run(build(kind, temperature), unit(1, 3), unit(2, 3), labels)
    assert loss == pytest.approx(reference, abs=1e-6) == pytest.approx(0.0, abs=1e-6)
    assert not to_video.any()
    assert not to_audio.any()
    if kind == "info_nce":
        assert loss == 0.0
