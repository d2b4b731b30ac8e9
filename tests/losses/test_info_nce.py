"""InfoNCE, loss and gradient, against its definition written out in float64 NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from toomuchtv.losses import DensePairLabels, InfoNCE, InfoNCEConfig, Moments, info_nce

Float = NDArray[np.float64]


def reference(video: Float, audio: Float, role: NDArray[np.int8], temperature: float) -> float:
    """The mean over asking rows of -log(e^p / (e^p + sum over negatives of e^n)), both ways."""
    total = 0.0
    for queries, keys, roles in ((video, audio, role), (audio, video, role.T)):
        rows = []
        for i in range(len(queries)):
            logits = [float(queries[i] @ keys[j]) / temperature for j in range(len(keys))]
            negatives = [logits[j] for j in range(len(keys)) if roles[i, j] == 0]
            terms = []
            for j in range(len(keys)):
                if roles[i, j] == 1:
                    shift = max([logits[j], *negatives])
                    bottom = sum(math.exp(value - shift) for value in [logits[j], *negatives])
                    terms.append(math.log(bottom) + shift - logits[j])
            if terms:
                rows.append(sum(terms) / len(terms))
        total += 0.5 * sum(rows) / max(1, len(rows))
    return total


def reference_gradient(
    video: Float, audio: Float, role: NDArray[np.int8], temperature: float
) -> tuple[Float, Float]:
    """Central differences of the reference: it knows nothing of how the loss is coded."""
    step = 1e-6 * max(1.0, temperature)
    gradients = []
    for which in (0, 1):
        values = [video.copy(), audio.copy()]
        gradient = np.zeros_like(values[which])
        for index in np.ndindex(gradient.shape):
            ends = []
            for sign in (1, -1):
                values[which][index] += sign * step
                ends.append(reference(values[0], values[1], role, temperature))
                values[which][index] -= sign * step
            gradient[index] = (ends[0] - ends[1]) / (2 * step)
        gradients.append(gradient)
    return gradients[0], gradients[1]


def unit(seed: int, rows: int, dim: int = 5) -> Float:
    values = np.random.default_rng(seed).normal(size=(rows, dim))
    lengths: Float = np.linalg.norm(values, axis=1, keepdims=True)
    return values / lengths


def loss_and_gradient(
    video: Float, audio: Float, role: NDArray[np.int8], temperature: float
) -> tuple[float, Float, Float]:
    one = torch.tensor(video, dtype=torch.float32, requires_grad=True)
    two = torch.tensor(audio, dtype=torch.float32, requires_grad=True)
    loss = info_nce(one, two, DensePairLabels(torch.tensor(role)), temperature)
    assert loss.dtype == torch.float32
    assert loss.shape == ()
    torch.autograd.backward(loss)
    assert one.grad is not None
    assert two.grad is not None
    return loss.item(), one.grad.double().numpy(), two.grad.double().numpy()


@pytest.mark.parametrize("temperature", [0.01, 0.07, 1.0, 10.0])
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 6), plain=st.booleans())
def test_it_is_the_definition(temperature: float, seed: int, rows: int, plain: bool) -> None:
    video, audio = unit(seed, rows), unit(seed + 1, rows)
    role = np.eye(rows, dtype=np.int8)
    if not plain:
        role = np.random.default_rng(seed).integers(-1, 2, size=(rows, rows)).astype(np.int8)
    loss, to_video, to_audio = loss_and_gradient(video, audio, role, temperature)
    assert loss == pytest.approx(reference(video, audio, role, temperature), rel=1e-4, abs=1e-5)
    expected = reference_gradient(video, audio, role, temperature)
    np.testing.assert_allclose(to_video, expected[0], rtol=2e-3, atol=2e-4 / temperature)
    np.testing.assert_allclose(to_audio, expected[1], rtol=2e-3, atol=2e-4 / temperature)


@pytest.mark.parametrize("count", [1, 2, 7, 256])
@pytest.mark.parametrize("temperature", [0.01, 0.07, 10.0])
def test_identical_embeddings_cost_log_n(count: int, temperature: float) -> None:
    same = np.tile(unit(0, 1), (count, 1))
    loss, to_video, _ = loss_and_gradient(same, same, np.eye(count, dtype=np.int8), temperature)
    assert loss == pytest.approx(math.log(count), abs=2e-5)
    assert np.abs(to_video).max() < 1e-4 / temperature


def test_perfect_embeddings_cost_nothing() -> None:
    axes = np.eye(8)
    loss, to_video, _ = loss_and_gradient(axes, axes, np.eye(8, dtype=np.int8), 0.01)
    assert loss < 1e-6
    assert np.abs(to_video).max() < 1e-6


def test_wrong_embeddings_at_a_low_temperature_stay_finite() -> None:
    axes = np.eye(4)
    role = np.eye(4, dtype=np.int8)
    loss, to_video, _ = loss_and_gradient(axes, np.roll(axes, 1, axis=0), role, 0.01)
    assert loss == pytest.approx(100.0, rel=1e-4)
    assert np.isfinite(to_video).all()


def test_both_ways_are_alike() -> None:
    video, audio = torch.tensor(unit(1, 6)), torch.tensor(unit(2, 6))
    role = torch.tensor(np.random.default_rng(0).integers(-1, 2, size=(6, 6)))
    torch.testing.assert_close(
        info_nce(video, audio, DensePairLabels(role), 0.1),
        info_nce(audio, video, DensePairLabels(role.T), 0.1),
    )


def test_ignored_pairs_might_be_anything() -> None:
    role = np.eye(4, dtype=np.int8)
    role[3, :] = role[:, 3] = -1
    video, audio = unit(1, 4), unit(2, 4)
    loss, to_video, to_audio = loss_and_gradient(video, audio, role, 0.1)
    assert loss == pytest.approx(
        loss_and_gradient(video[:3], audio[:3], np.eye(3, dtype=np.int8), 0.1)[0], rel=1e-6
    )
    assert not to_video[3].any()
    assert not to_audio[3].any()


def test_another_positive_of_a_row_is_not_pushed_away() -> None:
    role = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], np.int8)
    video = audio = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    expected = reference(video, audio, role, 0.5)
    assert loss_and_gradient(video, audio, role, 0.5)[0] == pytest.approx(expected, rel=1e-5)
    one_by_one = [
        math.log1p(math.exp((video[0] @ audio[2] - video[0] @ audio[j]) / 0.5)) for j in (0, 1)
    ]
    alone = np.full((3, 3), -1, np.int8)
    alone[0] = [1, 1, 0]
    asked = 2 * reference(video, audio, alone, 0.5)  # no column has both a positive and a negative
    assert asked == pytest.approx(sum(one_by_one) / 2)


@pytest.mark.parametrize(
    "role",
    [
        np.full((3, 3), -1, np.int8),
        np.zeros((3, 3), np.int8),
        np.ones((3, 3), np.int8),
        np.diag(np.array([1, -1, -1], np.int8)) - (1 - np.eye(3, dtype=np.int8)),
    ],
    ids=["all ignored", "no positive", "no negative", "one valid clip"],
)
@pytest.mark.parametrize("temperature", [0.01, 10.0])
def test_nothing_to_tell_apart_costs_nothing(role: NDArray[np.int8], temperature: float) -> None:
    loss, to_video, to_audio = loss_and_gradient(unit(1, 3), unit(2, 3), role, temperature)
    assert loss == 0.0
    assert not to_video.any()
    assert not to_audio.any()


def test_a_learned_temperature_has_the_true_gradient() -> None:
    objective = InfoNCE(InfoNCEConfig(temperature=0.2, learn_temperature=True))
    video, audio, role = unit(1, 6), unit(2, 6), np.eye(6, dtype=np.int8)
    where = torch.arange(6)
    moments = Moments(
        title=where,
        item=where,
        start_seconds=where.double(),
        audio_track=torch.zeros_like(where),
        valid=where >= 0,
    )
    objective(
        torch.tensor(video), torch.tensor(audio), DensePairLabels(torch.tensor(role)), moments
    ).backward()
    ends = [reference(video, audio, role, 0.2 * math.exp(step)) for step in (1e-5, -1e-5)]
    (parameter,) = objective.parameters()
    assert parameter.grad is not None
    assert parameter.grad.item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-3)


def test_a_temperature_is_fixed_unless_asked_and_never_too_low() -> None:
    fixed = InfoNCE(InfoNCEConfig(temperature=0.07))
    assert not list(fixed.parameters())
    assert fixed.temperature.item() == pytest.approx(0.07)
    learned = InfoNCE(InfoNCEConfig(learn_temperature=True, min_temperature=0.05))
    with torch.no_grad():
        next(learned.parameters()).fill_(-20.0)
    assert learned.temperature.item() == pytest.approx(0.05)


def test_half_precision_embeddings_are_compared_in_float32() -> None:
    video, audio = torch.tensor(unit(1, 6)).bfloat16(), torch.tensor(unit(2, 6)).bfloat16()
    role = torch.eye(6, dtype=torch.int8)
    loss = info_nce(video, audio, DensePairLabels(role), 0.07)
    expected = reference(video.double().numpy(), audio.double().numpy(), role.numpy(), 0.07)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
