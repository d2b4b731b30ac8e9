"""The figures of how hard negatives are, on embeddings whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from toomuchtv.objectives import negative_figures

# Two titles; title 0 has items 0 and 1, title 1 has item 2. Two, two and four clips.
TITLE = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
ITEM = torch.tensor([0, 0, 1, 1, 2, 2, 2, 2])
ROLE = torch.eye(8, dtype=torch.int8)


def test_where_all_is_alike_mass_goes_by_number() -> None:
    same = torch.nn.functional.normalize(torch.ones(8, 3), dim=1)
    figures = negative_figures(same, same, ROLE, title=TITLE, item=ITEM, temperature=0.07)
    # Each clip has 7 negatives: 3 of its title; 1 of its item in title 0, 3 in title 1.
    assert figures.mass_same_title == pytest.approx(3 / 7, abs=1e-5)
    assert figures.mass_same_item == pytest.approx((1 / 7 + 3 / 7) / 2, abs=1e-5)
    assert figures.mass_other_titles == pytest.approx(4 / 7, abs=1e-5)
    assert figures.effective_negatives == pytest.approx(7, rel=1e-4)
    assert figures.top1 == 0.0
    assert figures.top1_in_title == 0.0


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
    assert figures.top1 == 0.0


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


@pytest.mark.parametrize("temperature", [0.02, 0.2, 2.0])
def test_shares_against_plain_sums(temperature: float) -> None:
    generator = torch.Generator().manual_seed(3)
    video, audio = (
        torch.nn.functional.normalize(torch.randn(8, 4, generator=generator), dim=1)
        for _ in range(2)
    )
    role = ROLE.clone()
    role[0, 1] = role[1, 0] = -1
    role[4, 5] = role[5, 4] = 1
    figures = negative_figures(video, audio, role, title=TITLE, item=ITEM, temperature=temperature)
    masses, titles, effective = [], [], []
    for similarity, roles in (
        ((video.double() @ audio.double().T), role),
        ((audio.double() @ video.double().T), role.T),
    ):
        for i in range(8):
            weights = [math.exp(similarity[i, j].item() / temperature) for j in range(8)]
            negatives = [j for j in range(8) if roles[i, j] == 0]
            total = sum(weights[j] for j in negatives)
            shares = {j: weights[j] / total for j in negatives}
            masses.append(sum(share for j, share in shares.items() if ITEM[i] == ITEM[j]))
            titles.append(sum(share for j, share in shares.items() if TITLE[i] == TITLE[j]))
            entropy = -sum(share * math.log(share) for share in shares.values() if share)
            effective.append(math.exp(entropy))
    assert figures.mass_same_item == pytest.approx(sum(masses) / 16, rel=1e-4)
    assert figures.mass_same_title == pytest.approx(sum(titles) / 16, rel=1e-4)
    assert figures.effective_negatives == pytest.approx(sum(effective) / 16, rel=1e-4)


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
    assert math.isnan(figures.effective_negatives)
    assert math.isnan(figures.top1)
