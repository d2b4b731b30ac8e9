"""The figures of how hard negatives are, on embeddings whose answer is known."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from toomuchtv.losses import NegativeFigures, negative_figures

Array = NDArray[Any]
FIELDS = [field.name for field in dataclasses.fields(NegativeFigures)]

# Two titles; title 0 has items 0 and 1, title 1 has item 2. Two, two and four clips.
TITLE = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
ITEM = torch.tensor([0, 0, 1, 1, 2, 2, 2, 2])
ROLE = torch.eye(8, dtype=torch.int8)


def unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def test_where_all_is_alike_mass_goes_by_number() -> None:
    same = torch.nn.functional.normalize(torch.ones(8, 3), dim=1)
    figures = negative_figures(same, same, ROLE, title=TITLE, item=ITEM, temperature=0.07)
    # Each clip has 7 negatives: 3 of its title; 1 of its item in title 0, 3 in title 1.
    assert figures.mass_same_title == pytest.approx(3 / 7, abs=1e-5)
    assert figures.mass_same_item == pytest.approx((1 / 7 + 3 / 7) / 2, abs=1e-5)
    assert figures.mass_other_titles == pytest.approx(4 / 7, abs=1e-5)
    assert figures.effective_negatives == pytest.approx(7, rel=1e-4)
    assert figures.easy_negative_share == 0.0
    # Guessing: one of the eight, one of the four of the title.
    assert figures.top1 == pytest.approx(1 / 8)
    assert figures.top1_in_title == pytest.approx(1 / 4)


def test_perfect_embeddings_find_everything() -> None:
    axes = torch.eye(8)
    figures = negative_figures(axes, axes, ROLE, title=TITLE, item=ITEM, temperature=0.07)
    assert figures.top1 == figures.top1_in_title == 1.0
    assert figures.effective_negatives == pytest.approx(7, rel=1e-4)  # all are as far
    assert figures.mass_same_title == pytest.approx(3 / 7, abs=1e-5)


def test_embeddings_that_know_only_the_title() -> None:
    by_title = torch.eye(2)[TITLE]
    figures = negative_figures(by_title, by_title, ROLE, title=TITLE, item=ITEM, temperature=0.01)
    assert figures.mass_same_title == pytest.approx(1.0, abs=1e-6)
    assert figures.mass_other_titles == pytest.approx(0.0, abs=1e-6)
    assert figures.effective_negatives == pytest.approx(3, rel=1e-4)
    assert figures.easy_negative_share == pytest.approx(4 / 7)
    # It knows the title and guesses within it.
    assert figures.top1 == figures.top1_in_title == pytest.approx(1 / 4)


def test_the_title_apart_from_the_moment() -> None:
    """Right inside the title and wrong outside: the own moment, but a stranger is nearer."""
    audio = torch.eye(8)
    video = torch.eye(8)
    video[0] = torch.nn.functional.normalize(0.6 * audio[0] + 0.8 * audio[4], dim=0)
    figures = negative_figures(video, audio, ROLE, title=TITLE, item=ITEM, temperature=0.07)
    assert figures.top1 == pytest.approx(
        15 / 16
    )  # of all rows and columns only video 0 asks in vain
    assert figures.top1_in_title == 1.0


def reference(
    video: Array, audio: Array, role: Array, title: Array, item: Array, temperature: float
) -> dict[str, float]:
    """The figures as their docstring has them, one row and one negative at a time, in float64."""
    found: dict[str, list[float]] = {name: [] for name in FIELDS}
    similarity = video.astype(np.float64) @ audio.astype(np.float64).T
    for near, roles in ((similarity, role), (similarity.T, role.T)):
        for i in range(len(near)):
            negatives = [j for j in range(len(near)) if roles[i, j] == 0]
            if roles[i, i] != 1 or not negatives:
                continue
            weights = {j: math.exp((near[i, j] - near[i].max()) / temperature) for j in negatives}
            total = sum(weights.values())
            shares = {j: weight / total for j, weight in weights.items()}
            found["mass_same_item"].append(sum(shares[j] for j in negatives if item[i] == item[j]))
            in_title = [j for j in negatives if title[i] == title[j]]
            found["mass_same_title"].append(sum(shares[j] for j in in_title))
            found["mass_other_titles"].append(
                sum(shares[j] for j in negatives if title[i] != title[j])
            )
            entropy = -sum(share * math.log(share) for share in shares.values() if share)
            found["effective_negatives"].append(math.exp(entropy))
            easy = sum(share < 0.01 / len(negatives) for share in shares.values())
            found["easy_negative_share"].append(easy / len(negatives))
            found["top1"].append(float(all(near[i, j] < near[i, i] for j in negatives)))
            if in_title:
                nearest = float(all(near[i, j] < near[i, i] for j in in_title))
                found["top1_in_title"].append(nearest)
    return {name: float(np.mean(values)) if values else math.nan for name, values in found.items()}


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    num=st.integers(1, 24),
    temperature=st.sampled_from([0.02, 0.07, 0.5, 2.0]),
    block_size=st.sampled_from([1, 5, 64]),
    invalid=st.floats(0.0, 0.5),
)
def test_random_batches_against_float64(
    seed: int, num: int, temperature: float, block_size: int, invalid: float
) -> None:
    """Roles are drawn pair by pair, so they are not symmetric: video and audio differ."""
    rng = np.random.default_rng(seed)
    video, audio = (unit(rng.standard_normal((num, 6))).astype(np.float32) for _ in range(2))
    role = rng.choice([-1, 0, 0, 0, 1], (num, num)).astype(np.int8)
    np.fill_diagonal(role, 1)
    bad = rng.random(num) < invalid
    role[bad, :], role[:, bad] = -1, -1
    item = rng.integers(0, 5, num)
    title = item // 2
    expected = reference(video, audio, role, title, item, temperature)
    tensors = [torch.from_numpy(array) for array in (video, audio, role)]
    where = {"title": torch.from_numpy(title), "item": torch.from_numpy(item)}
    for roles in (tensors[2], LazyRoles(tensors[2])):
        figures = negative_figures(
            tensors[0], tensors[1], roles, **where, temperature=temperature, block_size=block_size
        )
        got = dataclasses.asdict(figures)
        assert got.keys() == expected.keys()
        for name, value in expected.items():
            assert got[name] == pytest.approx(value, rel=2e-4, abs=2e-5, nan_ok=True), name


class LazyRoles:
    """Roles that are handed out row by row, and count how many at once."""

    def __init__(self, dense: torch.Tensor) -> None:
        self._dense = dense

    def rows(self, start: int, stop: int) -> torch.Tensor:
        assert 0 <= start < stop <= len(self._dense)
        return self._dense[start:stop]


def test_roles_of_video_and_of_audio_are_kept_apart() -> None:
    """Video 0 may not be compared with audio 1, but audio 0 with video 1."""
    video = torch.eye(3)
    audio = torch.tensor([[1.0, 0, 0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    role = torch.eye(3, dtype=torch.int8)
    role[0, 1] = -1
    title = torch.tensor([0, 0, 1])
    figures = negative_figures(video, audio, role, title=title, item=title, temperature=1.0)
    # In the title: video 0 has no negative left, audio 0 has video 1 and finds its own; video 1
    # finds its own; audio 1 cannot see video 0, so it has none either.
    assert figures.top1_in_title == 1.0
    transposed = negative_figures(video, audio, role.T, title=title, item=title, temperature=1.0)
    # Now audio 1 sees video 0, which is nearer (0.8) than its own video (0.6).
    assert transposed.top1_in_title == pytest.approx(1 / 2)
    assert transposed.top1 == pytest.approx(5 / 6)


def test_a_batch_of_one_item_has_all_its_mass_there() -> None:
    generator = torch.Generator().manual_seed(1)
    video, audio = (
        torch.nn.functional.normalize(torch.randn(5, 4, generator=generator), dim=1)
        for _ in range(2)
    )
    zeros = torch.zeros(5, dtype=torch.int64)
    role = torch.eye(5, dtype=torch.int8)
    figures = negative_figures(video, audio, role, title=zeros, item=zeros, temperature=0.1)
    assert figures.mass_same_item == figures.mass_same_title == pytest.approx(1.0, abs=1e-6)
    assert figures.mass_other_titles == pytest.approx(0.0, abs=1e-6)
    assert figures.top1 == figures.top1_in_title


def test_embeddings_that_know_only_the_event() -> None:
    """The same event in another title is as near as the own moment; the title says nothing."""
    event = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    by_event = torch.eye(4)[event]
    figures = negative_figures(by_event, by_event, ROLE, title=TITLE, item=ITEM, temperature=0.01)
    assert figures.mass_other_titles == pytest.approx(1.0, abs=1e-6)
    assert figures.effective_negatives == pytest.approx(1.0, abs=1e-4)
    assert figures.easy_negative_share == pytest.approx(6 / 7)
    assert figures.top1 == pytest.approx(1 / 2)
    assert figures.top1_in_title == 1.0


def test_clips_that_are_invalid_are_not_counted() -> None:
    axes = torch.eye(8)
    wrong = axes.clone()
    wrong[7] = -axes[7]
    role = ROLE.clone()
    role[7, :] = role[:, 7] = -1
    figures = negative_figures(wrong, axes, role, title=TITLE, item=ITEM, temperature=0.07)
    assert figures.top1 == 1.0
    assert figures.effective_negatives == pytest.approx(6, rel=1e-4)


def test_without_negatives_there_are_no_figures() -> None:
    role = torch.full((8, 8), -1, dtype=torch.int8).fill_diagonal_(1)
    axes = torch.eye(8)
    figures = negative_figures(axes, axes, role, title=TITLE, item=ITEM, temperature=0.07)
    assert all(math.isnan(value) for value in dataclasses.astuple(figures))
