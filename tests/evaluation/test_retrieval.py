"""Retrieval ranks against a plain reading of the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from toomuchtv.evaluation.evaluate import retrieval_metrics
from toomuchtv.evaluation.retrieval import chance_figures, rank_figures, retrieval_ranks


def unit_vectors(count: int, dim: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, dim, generator=generator)
    return torch.nn.functional.normalize(values, dim=-1)


def ranks_by_definition(query: Tensor, target: Tensor, within: Tensor | None) -> list[float]:
    ranks = []
    similarity = (query @ target.T).numpy()
    for i in range(len(query)):
        candidates = [
            j for j in range(len(query)) if within is None or bool(within[i] == within[j])
        ]
        better = sum(similarity[i, j] > similarity[i, i] for j in candidates)
        equal = sum(similarity[i, j] == similarity[i, i] for j in candidates if j != i)
        ranks.append(1 + better + equal / 2)
    return ranks


@pytest.mark.parametrize("block_size", [1, 7, 50, 1024])
@pytest.mark.parametrize("scoped", [False, True])
def test_ranks_are_those_of_the_definition(block_size: int, scoped: bool) -> None:
    query, target = unit_vectors(50, 8, 0), unit_vectors(50, 8, 1)
    within = torch.arange(50) % 7 if scoped else None
    ranks = retrieval_ranks(query, target, within=within, block_size=block_size)
    assert ranks.tolist() == ranks_by_definition(query, target, within)


def test_perfect_embeddings_rank_first() -> None:
    vectors = unit_vectors(40, 16, 2)
    figures = rank_figures(retrieval_ranks(vectors, vectors))
    assert figures["recall_at_1"] == 1.0
    assert figures["median_rank"] == 1.0


def test_a_constant_embedding_ranks_in_the_middle_not_first() -> None:
    vectors = torch.ones(41, 4) / 2
    assert retrieval_ranks(vectors, vectors).tolist() == [21.0] * 41


def test_chance_is_what_random_embeddings_reach() -> None:
    ranks = np.concatenate(
        [
            retrieval_ranks(unit_vectors(60, 64, seed), unit_vectors(60, 64, 1000 + seed))
            for seed in range(60)
        ]
    )
    chance = chance_figures(np.full(60, 60))
    figures = rank_figures(ranks)
    # 3,600 draws: three standard errors of R@10 are 0.019.
    assert figures["recall_at_10"] == pytest.approx(chance["recall_at_10"], abs=0.02)
    assert figures["median_rank"] == pytest.approx(chance["median_rank"], abs=1.6)


def test_chance_within_title_counts_that_titles_candidates() -> None:
    title = torch.tensor([0, 0, 1, 1, 1, 1])
    vectors = unit_vectors(6, 4, 0)
    metrics, chance = retrieval_metrics(vectors, vectors, title)
    expected = (2 * 1 / 2 + 4 * 1 / 4) / 6
    assert chance["within_title"]["video_to_audio"]["recall_at_1"] == pytest.approx(expected)
    assert chance["all"]["video_to_audio"]["recall_at_1"] == pytest.approx(1 / 6)
    assert metrics["within_title"]["audio_to_video"]["recall_at_1"] == 1.0
