"""Properties that hold for every loss, whatever the embeddings are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.losses.references import info_nce, numerical_gradient, unit
from tests.losses.test_references import build, each_kind, random_labels, run
from toomuchtv.losses import (
    InfoNCE,
    InfoNCEConfig,
    MemoryBank,
    MemoryBankConfig,
    PairLabelRows,
    WithinModal,
    WithinModalConfig,
    build_loss,
)
from toomuchtv.losses.chunked import LOG_ZERO, log_sums


@pytest.mark.parametrize("temperature", [0.01, 0.07, 10.0])
@pytest.mark.parametrize("count", [1, 2, 7, 256])
@pytest.mark.parametrize(
    ("kind", "per_clip", "constant"),
    [("info_nce", 1.0, 0.0), ("joint_nce", 2.0, -1.0), ("within_modal", 1.7, -0.7)],
)
def test_equal_embeddings_cost_the_log_of_the_number_of_choices(
    kind: str, per_clip: float, constant: float, count: int, temperature: float
) -> None:
    same = np.tile(unit(0, 1), (count, 1))
    loss, to_video, _ = run(build(kind, temperature), same, same, np.eye(count, dtype=np.int8))
    assert loss == pytest.approx(math.log(per_clip * count + constant), abs=2e-5)
    assert np.abs(to_video).max() < 1e-4 / temperature


def test_perfect_embeddings_cost_nothing() -> None:
    axes = np.eye(8)
    loss, to_video, _ = run(InfoNCE(temperature=0.01), axes, axes, None)
    assert loss < 1e-6
    assert np.abs(to_video).max() < 1e-6


def test_wrong_embeddings_at_a_low_temperature_have_a_finite_loss() -> None:
    axes = np.eye(4)
    loss, to_video, _ = run(InfoNCE(temperature=0.01), axes, np.roll(axes, 1, axis=0), None)
    assert loss == pytest.approx(100.0, rel=1e-4)
    assert np.isfinite(to_video).all()


@each_kind
def test_swapping_the_modalities_changes_nothing(kind: str) -> None:
    video, audio, labels = unit(1, 6), unit(2, 6), random_labels(0, 6)
    loss, to_video, to_audio = run(build(kind, 0.1), video, audio, labels)
    swapped = run(build(kind, 0.1), audio, video, labels.T.copy())
    assert swapped[0] == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(swapped[1], to_audio, atol=1e-6)
    np.testing.assert_allclose(swapped[2], to_video, atol=1e-6)


def test_one_positive_of_a_row_is_not_in_the_denominator_of_another() -> None:
    labels = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], np.int8)
    video = audio = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    expected = info_nce(video, audio, labels, 0.5)
    loss = InfoNCE(temperature=0.5)
    assert run(loss, video, audio, labels)[0] == pytest.approx(expected, rel=1e-5)
    pair_by_pair = [
        math.log1p(math.exp((video[0] @ audio[2] - video[0] @ audio[j]) / 0.5)) for j in (0, 1)
    ]
    first_row = np.full((3, 3), -1, np.int8)
    first_row[0] = [1, 1, 0]
    # No column has both a positive and a negative, so only half of the loss is not zero.
    assert 2 * info_nce(video, audio, first_row, 0.5) == pytest.approx(sum(pair_by_pair) / 2)


@each_kind
def test_the_order_of_the_clips_does_not_matter(kind: str) -> None:
    """Rolled or shuffled clips have the same loss, and gradients in the new order."""
    video, audio, labels = unit(1, 9), unit(2, 9), random_labels(3, 9)
    loss, to_video, to_audio = run(build(kind, 0.1), video, audio, labels)
    for order in (np.roll(np.arange(9), 4), np.random.default_rng(0).permutation(9)):
        moved = run(build(kind, 0.1), video[order], audio[order], labels[np.ix_(order, order)])
        assert moved[0] == pytest.approx(loss, rel=1e-6)
        np.testing.assert_allclose(moved[1], to_video[order], atol=1e-6)
        np.testing.assert_allclose(moved[2], to_audio[order], atol=1e-6)


def test_only_labels_pair_audios_with_videos() -> None:
    """Audios may come in any order as long as the columns of the labels do too."""
    video, audio, labels = unit(1, 9), unit(2, 9), random_labels(3, 9)
    order = np.roll(np.arange(9), 2)
    loss, to_video, to_audio = run(InfoNCE(temperature=0.1), video, audio, labels)
    moved = run(InfoNCE(temperature=0.1), video, audio[order], labels[:, order])
    assert moved[0] == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(moved[1], to_video, atol=1e-6)
    np.testing.assert_allclose(moved[2], to_audio[order], atol=1e-6)


@each_kind
def test_clips_whose_pairs_are_all_ignored_have_no_effect(kind: str) -> None:
    labels = random_labels(5, 6)
    labels[2, :] = labels[:, 2] = -1
    video, audio = unit(1, 6), unit(2, 6)
    loss, to_video, to_audio = run(build(kind, 0.1), video, audio, labels)
    assert not to_video[2].any()
    assert not to_audio[2].any()
    others = [0, 1, 3, 4, 5]
    without = run(build(kind, 0.1), video[others], audio[others], labels[np.ix_(others, others)])
    assert without[0] == pytest.approx(loss, rel=1e-6)
    video[2], audio[2] = unit(9, 1)[0], unit(8, 1)[0]
    assert run(build(kind, 0.1), video, audio, labels)[0] == loss


@each_kind
def test_the_same_input_gives_the_same_bits(kind: str) -> None:
    video, audio, labels = unit(1, 33, 16), unit(2, 33, 16), random_labels(0, 33)
    one, two = (run(build(kind, 0.07), video, audio, labels) for _ in range(2))
    assert one[0] == two[0]
    assert np.array_equal(one[1], two[1])
    assert np.array_equal(one[2], two[2])


@each_kind
def test_a_temperature_outside_its_range_is_clamped_and_can_return(kind: str) -> None:
    video, audio = unit(1, 6), unit(2, 6)
    for outside, end, outward in ((-20.0, 0.01, 1.0), (20.0, 10.0, -1.0)):
        loss = build(kind, 0.5)
        assert isinstance(loss.log_temperature, torch.nn.Parameter)
        with torch.no_grad():
            loss.log_temperature.fill_(outside)
        assert loss.temperature.item() == pytest.approx(end)
        for direction in (1.0, -1.0):
            loss.zero_grad()
            torch.autograd.backward(direction * loss.temperature)
            assert loss.log_temperature.grad is not None
            # Descent goes against the gradient; only a step that leads further out is blocked.
            assert (loss.log_temperature.grad.item() == 0.0) == (direction == outward)
        assert np.isfinite(run(loss, video, audio, None)[1]).all()


def test_a_learned_temperature_has_the_gradient_of_the_reference() -> None:
    loss = InfoNCE(temperature=0.2, learn_temperature=True)
    video, audio, labels = unit(1, 6), unit(2, 6), np.eye(6, dtype=np.int8)
    run(loss, video, audio, labels)
    (wanted,) = numerical_gradient(
        lambda value: info_nce(video, audio, labels, 0.2 * math.exp(value[0])), np.zeros(1), 1e-5
    )
    (parameter,) = loss.parameters()
    assert parameter.grad is not None
    assert parameter.grad.item() == pytest.approx(wanted, rel=1e-3)


def test_the_temperature_is_fixed_by_default() -> None:
    for kind in ("info_nce", "joint_nce", "within_modal"):
        assert not list(build(kind, 0.1, learn=False).parameters())
    assert InfoNCE(temperature=0.2).temperature.item() == pytest.approx(0.2)
    for refused in (InfoNCEConfig, InfoNCE):
        with pytest.raises(ValueError, match=r"must lie in .* got 0.5 and \[0.01, 0.2\]"):
            refused(temperature=0.5, max_temperature=0.2)


class CountingRows:
    """Pair labels that record the largest number of rows that was requested at once."""

    def __init__(self, count: int) -> None:
        self.labels = torch.eye(count, dtype=torch.int8)
        self.most = 0

    def rows(self, start: int, stop: int) -> Tensor:
        self.most = max(self.most, stop - start)
        return self.labels[start:stop]


@each_kind
def test_saved_tensors_grow_with_the_batch_and_not_with_its_square(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toomuchtv.losses.chunked._CHUNK_ELEMENTS", {"cpu": 1024})
    loss = build(kind, 0.1)
    saved = []
    for count in (256, 512):
        rows = CountingRows(count)
        labels: PairLabelRows = rows
        sizes: dict[int, int] = {}

        def note(tensor: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
            sizes[tensor.data_ptr()] = tensor.numel()
            return tensor

        sides = [torch.tensor(unit(seed, count), requires_grad=True) for seed in (1, 2)]
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            value = loss(sides[0], sides[1], labels)
        value.backward()
        assert rows.most <= max(1, 1024 // count)
        saved.append(sum(sizes.values()))
    assert saved[1] < 2.2 * saved[0]
    assert saved[1] < 512 * 512 / 2


@each_kind
def test_labels_and_embeddings_of_another_shape_are_refused(kind: str) -> None:
    loss, video = build(kind, 0.1), torch.tensor(unit(1, 4))
    with pytest.raises(ValueError, match=r"shape \[4, 4\], got \[4, 5\]: they span the whole"):
        loss(video, video, torch.zeros(4, 5, dtype=torch.int8))
    with pytest.raises(ValueError, match=r"got \[4, 5\] and \[3, 5\]"):
        loss(video, video[:3])


def test_log_sums_of_no_rows_are_empty() -> None:
    some = torch.tensor(unit(1, 2, 3), dtype=torch.float32)
    sums = log_sums(
        torch.zeros(0, 3), some, lambda start, stop: torch.zeros(stop - start, 2, dtype=torch.int8)
    )
    assert sums.rows.shape == (0,)
    assert (sums.columns <= LOG_ZERO).all()


def test_a_config_builds_the_loss_that_it_names() -> None:
    loss = build_loss(InfoNCEConfig(temperature=0.5), embedding_dim=4)
    assert isinstance(loss, InfoNCE)
    assert set(loss.state_dict()) == {"log_temperature"}
    assert loss.temperature.item() == pytest.approx(0.5)
    assert isinstance(build_loss(WithinModalConfig(), embedding_dim=4), WithinModal)
    bank = build_loss(MemoryBankConfig(bank_size=7), embedding_dim=4)
    assert isinstance(bank, MemoryBank)
    assert bank.bank.video.shape == (7, 4)
