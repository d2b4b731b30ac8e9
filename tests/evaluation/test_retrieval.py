"""Retrieval metrics against brute force in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from torch import Tensor

from toomuchtv.evaluation.retrieval import (
    chance_figures,
    class_precision,
    pair_ranks,
    rank_figures,
)
from toomuchtv.evaluation.retrieval_benchmarks import retrieval_metrics


def unit_vectors(count: int, dim: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, dim, generator=generator)
    return torch.nn.functional.normalize(values, dim=-1)


def coarse_vectors(count: int, seed: int) -> Tensor:
    """Return vectors with many equal similarities, which are exact."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-1, 2, (count, 3), generator=generator).float()


def brute_force(query: Tensor, target: Tensor, within: Tensor | None = None) -> NDArray[np.float64]:
    similarity = query.double().numpy() @ target.double().numpy().T
    ranks = []
    for i in range(len(query)):
        candidates = [j for j in range(len(query)) if within is None or within[i] == within[j]]
        better = sum(similarity[i, j] > similarity[i, i] for j in candidates)
        equal = sum(similarity[i, j] == similarity[i, i] for j in candidates if j != i)
        ranks.append(1 + better + equal / 2)
    return np.array(ranks)


@pytest.mark.parametrize("block_size", [1, 7, 50, 1024])
@pytest.mark.parametrize("scoped", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_ranks_equal_those_of_brute_force(block_size: int, scoped: bool, tied: bool) -> None:
    video = coarse_vectors(50, 0) if tied else unit_vectors(50, 8, 0)
    audio = coarse_vectors(50, 1) if tied else unit_vectors(50, 8, 1)
    within = torch.arange(50) % 7 if scoped else None
    ranks = pair_ranks(video, audio, within=within, block_size=block_size)
    assert ranks.video_to_audio.tolist() == brute_force(video, audio, within).tolist()
    assert ranks.audio_to_video.tolist() == brute_force(audio, video, within).tolist()


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(1, 40))
def test_ranks_do_not_depend_on_the_block_size(seed: int, num: int, block_size: int) -> None:
    video, audio = coarse_vectors(num, seed), coarse_vectors(num, seed + 1)
    cut = pair_ranks(video, audio, block_size=block_size)
    whole = pair_ranks(video, audio, block_size=num)
    assert cut.video_to_audio.tolist() == whole.video_to_audio.tolist()
    assert cut.audio_to_video.tolist() == whole.audio_to_video.tolist()


@pytest.mark.parametrize("block_size", [64, 512, 1024])
def test_equal_embeddings_tie_in_all_blocks(block_size: int) -> None:
    """Of 700 pairs only 3 are distinct, so that hundreds tie inside blocks and across them."""
    kind = torch.arange(700) % 3
    video, audio = unit_vectors(3, 256, 0), unit_vectors(3, 256, 1)
    ranks = pair_ranks(video[kind], audio[kind], block_size=block_size)
    count = np.bincount(kind.numpy())
    for found, similarity in (
        (ranks.video_to_audio, video @ audio.T),
        (ranks.audio_to_video, audio @ video.T),
    ):
        expected = [
            1 + count[(row > row[own]).numpy()].sum() + (count[own] - 1) / 2
            for own, row in enumerate(similarity)
        ]
        assert found.tolist() == [expected[own] for own in kind]


@pytest.mark.parametrize("tied", [False, True])
def test_class_precision_equals_scikit_learns(tied: bool) -> None:
    query = coarse_vectors(40, 2) if tied else unit_vectors(40, 8, 2)
    target = coarse_vectors(30, 3) if tied else unit_vectors(30, 8, 3)
    rng = np.random.default_rng(0)
    of_query, of_target = rng.random((40, 4)) < 0.3, rng.random((30, 4)) < 0.3
    found = class_precision(query, target, of_query, of_target, block_size=7)
    similarity = (query @ target.T).numpy()
    for i in range(40):
        relevant = (of_query[i] & of_target).any(axis=1)
        if not relevant.any():
            assert np.isnan(found[i])
            continue
        expected = average_precision_score(relevant, similarity[i])
        assert found[i] == pytest.approx(expected, abs=1e-9)


def test_perfect_embeddings_rank_first() -> None:
    vectors = unit_vectors(40, 16, 2)
    figures = rank_figures(pair_ranks(vectors, vectors).video_to_audio)
    assert figures["recall_at_1"] == 1.0
    assert figures["median_rank"] == 1.0


def test_a_constant_embedding_scores_at_chance() -> None:
    vectors = torch.ones(41, 4) / 2
    assert pair_ranks(vectors, vectors).audio_to_video.tolist() == [21.0] * 41
    classes = np.eye(2, dtype=np.bool_)[np.arange(41) % 2]
    precision = class_precision(vectors, vectors, classes, classes)
    assert precision.mean() == pytest.approx((21 * 21 / 41 + 20 * 20 / 41) / 41)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("side", [0, 1])
def test_embeddings_that_are_not_finite_are_refused(value: float, side: int) -> None:
    sides = [unit_vectors(5, 4, 0), unit_vectors(5, 4, 1)]
    sides[side][3, 2] = value
    video, audio = sides
    with pytest.raises(ValueError, match="1 of 5"):
        pair_ranks(video, audio)
    classes = np.ones((5, 1), np.bool_)
    with pytest.raises(ValueError, match="1 of 5"):
        class_precision(video, audio, classes, classes)


def test_random_embeddings_score_at_chance() -> None:
    ranks = np.concatenate(
        [
            pair_ranks(unit_vectors(60, 64, seed), unit_vectors(60, 64, 1000 + seed)).video_to_audio
            for seed in range(60)
        ]
    )
    chance = chance_figures(np.full(60, 60))
    figures = rank_figures(ranks)
    # 3,600 draws: three standard errors of R@10 are 0.019.
    assert figures["recall_at_10"] == pytest.approx(chance["recall_at_10"], abs=0.02)
    assert figures["median_rank"] == pytest.approx(chance["median_rank"], abs=1.6)


def test_chance_within_a_title_counts_the_clips_of_the_title() -> None:
    title = torch.tensor([0, 0, 1, 1, 1, 1])
    vectors = unit_vectors(6, 4, 0)
    metrics, chance, rankings = retrieval_metrics(vectors, vectors, title, list("abcdef"))
    assert {one.sources for one in rankings} == {("0", "0", "1", "1", "1", "1")}
    expected = (2 * 1 / 2 + 4 * 1 / 4) / 6
    assert chance["within_title"]["video_to_audio"]["recall_at_1"] == pytest.approx(expected)
    assert chance["all"]["video_to_audio"]["recall_at_1"] == pytest.approx(1 / 6)
    assert metrics["within_title"]["audio_to_video"]["recall_at_1"] == 1.0
