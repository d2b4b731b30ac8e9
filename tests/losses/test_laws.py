"""What must hold of objectives whatever the numbers are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.losses.papers import unit
from tests.losses.test_papers import build, each_kind, moments, random_role, run
from toomuchtv.losses import (
    DensePairLabels,
    InfoNCEConfig,
    Roles,
    build_loss,
    info_nce,
    sup_con,
)
from toomuchtv.losses.chunked import NOTHING, log_sums, logistic_sums


@pytest.mark.parametrize("temperature", [0.01, 0.07, 10.0])
@pytest.mark.parametrize("count", [1, 2, 7, 256])
@pytest.mark.parametrize(
    ("kind", "choices"),
    [
        ("info_nce", lambda count: count),
        ("sup_con", lambda count: count),
        ("sup_con_inside", lambda count: count),
        ("joint_nce", lambda count: 2 * count - 1),
        ("within_modal", lambda count: count + 0.7 * (count - 1)),
    ],
)
def test_identical_embeddings_cost_the_log_of_the_choices(
    kind: str, choices: object, count: int, temperature: float
) -> None:
    assert callable(choices)
    same = np.tile(unit(0, 1), (count, 1))
    loss, to_video, _ = run(build(kind, temperature), same, same, np.eye(count, dtype=np.int8))
    assert loss == pytest.approx(math.log(choices(count)), abs=2e-5)
    assert np.abs(to_video).max() < 1e-4 / temperature


def test_identical_embeddings_and_the_sigmoid() -> None:
    same = np.tile(unit(0, 1), (8, 1))
    loss, _, _ = run(build("sigmoid", 0.5), same, same, np.eye(8, dtype=np.int8))
    z = 1 / 0.5 - 3.0
    assert loss == pytest.approx(math.log1p(math.exp(-z)) + 7 * math.log1p(math.exp(z)), rel=1e-6)


def test_several_positives_alike_cost_the_log_of_their_number() -> None:
    """The least that eq. 2 of SupCon can come to; eq. 3 comes to the same there."""
    axes = np.repeat(np.eye(4), 3, axis=0)
    role = torch.tensor(np.kron(np.eye(4), np.ones((3, 3))), dtype=torch.int8)
    video = torch.tensor(axes, dtype=torch.float32)
    for mean in ("outside", "inside"):
        loss = sup_con(video, video, DensePairLabels(role), 0.01, mean=mean)
        assert loss.item() == pytest.approx(math.log(3), abs=1e-6)


@each_kind
def test_the_order_of_the_clips_plays_no_part(kind: str) -> None:
    """Turned round by some places, or shuffled: the same loss, and gradients that move along."""
    video, audio, role = unit(1, 9), unit(2, 9), random_role(3, 9)
    objective = build(kind, 0.1)
    loss, to_video, to_audio = run(objective, video, audio, role)
    for order in (np.roll(np.arange(9), 4), np.random.default_rng(0).permutation(9)):
        moved = run(objective, video[order], audio[order], role[np.ix_(order, order)])
        assert moved[0] == pytest.approx(loss, rel=1e-6)
        np.testing.assert_allclose(moved[1], to_video[order], atol=1e-6)
        np.testing.assert_allclose(moved[2], to_audio[order], atol=1e-6)


@pytest.mark.parametrize("kind", ["info_nce", "sigmoid", "sup_con", "sup_con_inside"])
def test_the_order_of_the_negatives_plays_no_part(kind: str) -> None:
    """Pairs are all that counts: audios may stand in any order, their columns with them."""
    video, audio, role = unit(1, 9), unit(2, 9), random_role(3, 9)
    objective, order = build(kind, 0.1), np.roll(np.arange(9), 2)
    loss, to_video, to_audio = run(objective, video, audio, role)
    moved = run(objective, video, audio[order], role[:, order])
    assert moved[0] == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(moved[1], to_video, atol=1e-6)
    np.testing.assert_allclose(moved[2], to_audio[order], atol=1e-6)


@pytest.mark.parametrize("kind", ["info_nce", "joint_nce", "sigmoid", "sup_con", "within_modal"])
def test_ignored_clips_might_be_anything(kind: str) -> None:
    role = random_role(5, 6)
    role[2, :] = role[:, 2] = -1
    video, audio = unit(1, 6), unit(2, 6)
    objective = build(kind, 0.1)
    loss, to_video, to_audio = run(objective, video, audio, role)
    assert not to_video[2].any()
    assert not to_audio[2].any()
    video[2], audio[2] = unit(9, 1)[0], unit(8, 1)[0]
    assert run(objective, video, audio, role)[0] == loss


@each_kind
def test_the_same_twice_gives_the_same_bits(kind: str) -> None:
    video, audio, role = unit(1, 33, 16), unit(2, 33, 16), random_role(0, 33)
    one, two = (run(build(kind, 0.07), video, audio, role) for _ in range(2))
    assert one[0] == two[0]
    assert np.array_equal(one[1], two[1])
    assert np.array_equal(one[2], two[2])


@each_kind
def test_a_temperature_past_its_clamp_is_held_and_can_come_back(kind: str) -> None:
    video, audio, role = unit(1, 6), unit(2, 6), np.eye(6, dtype=np.int8)
    for outside, end, outwards in ((-20.0, 0.01, 1.0), (20.0, 10.0, -1.0)):
        objective = build(kind, 0.5)
        assert isinstance(objective.log_temperature, torch.nn.Parameter)
        with torch.no_grad():
            objective.log_temperature.fill_(outside)
        assert objective.temperature.item() == pytest.approx(end)
        for direction in (1.0, -1.0):
            objective.zero_grad()
            torch.autograd.backward(direction * objective.temperature)
            assert objective.log_temperature.grad is not None
            # Descent goes against the gradient: one that points outwards is let through.
            blocked = direction == outwards
            assert (objective.log_temperature.grad.item() == 0.0) == blocked
        assert np.isfinite(run(objective, video, audio, role)[1]).all()


def test_fixed_unless_asked() -> None:
    for kind in ("info_nce", "joint_nce", "sup_con", "within_modal"):
        assert not list(build(kind, 0.1, learn=False).parameters())
    with pytest.raises(ValueError, match=r"must lie in .* got 0.5 and \[0.01, 0.2\]"):
        InfoNCEConfig(temperature=0.5, max_temperature=0.2)


class CountedRoles:
    """Roles that note how many rows they were asked for at once."""

    def __init__(self, count: int) -> None:
        self.role = torch.eye(count, dtype=torch.int8)
        self.most = 0

    def rows(self, start: int, stop: int) -> Tensor:
        self.most = max(self.most, stop - start)
        return self.role[start:stop]


@each_kind
def test_no_matrix_is_kept(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept for the backward pass grows with the batch, not with its square."""
    monkeypatch.setattr("toomuchtv.losses.chunked._BLOCK_ELEMENTS", {"cpu": 1024})
    objective = build(kind, 0.1)
    kept = []
    for count in (256, 512):
        roles: CountedRoles = CountedRoles(count)
        checked: Roles = roles
        sizes: dict[int, int] = {}

        def note(tensor: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
            sizes[tensor.data_ptr()] = tensor.numel()
            return tensor

        sides = [torch.tensor(unit(seed, count), requires_grad=True) for seed in (1, 2)]
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = objective(sides[0], sides[1], checked, moments(count))
        loss.backward()
        assert roles.most <= max(1, 1024 // count)
        kept.append(sum(sizes.values()))
    assert kept[1] < 2.2 * kept[0]
    assert kept[1] < 512 * 512 / 2


def test_roles_of_another_size_are_refused() -> None:
    video = torch.tensor(unit(1, 4))
    with pytest.raises(ValueError, match=r"must be \[4, 4\], got \[4, 5\]: they span the whole"):
        info_nce(video, video, DensePairLabels(torch.zeros(4, 5, dtype=torch.int8)), 0.1)


def test_sums_of_nothing() -> None:
    none = torch.zeros(0, 3)
    some = torch.tensor(unit(1, 2, 3), dtype=torch.float32)

    def roles(start: int, stop: int) -> Tensor:
        return torch.zeros(stop - start, 2, dtype=torch.int8)

    sums = log_sums(none, some, roles)
    assert sums.rows.shape == (0,)
    assert (sums.columns <= NOTHING).all()
    assert logistic_sums(none, some, torch.zeros(0), roles).shape == (0,)


def test_every_config_builds_what_it_names() -> None:
    objective = build_loss(InfoNCEConfig(), embedding_dim=4)
    assert set(objective.state_dict()) == {"log_temperature"}
