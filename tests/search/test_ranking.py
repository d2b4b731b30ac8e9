"""Fusion, sequences and collapsing, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.search.indexes import random_encoder
from tests.search.test_encoder_index import make_index, make_item, unit
from toomuchtv.search.encoder_index import EncoderIndex, IndexedItem
from toomuchtv.search.hits import Modality
from toomuchtv.search.moments import MomentFinder, SeenPlaces
from toomuchtv.search.ranking import IGNORED, Ranking, fuse
from toomuchtv.search.scored import Scored, ScoredCandidates
from toomuchtv.search.vector_files import ItemVectors

NO_SEGMENTS = MomentFinder((), ())


def scored(index: EncoderIndex, seed: int, modality: Modality) -> Scored:
    query = unit(seed)
    return Scored(
        encoder=index, query_modality=modality, modality=modality, query=query,
        scores=index.scores(query, modality, None), is_centered=False,
    )  # fmt: skip


def test_one_ranking_keeps_its_order() -> None:
    index = make_index()
    one = scored(index, 0, "video")
    found = fuse(
        [Ranking.of_direction(one, 1.0)], SeenPlaces(NO_SEGMENTS, 1e-3), k=20, per_title=None
    )
    expected = one.top(20)
    for moment, window in zip(found, expected.tolist(), strict=True):
        row, number = index.locate(window)
        assert moment.entry is index.items[row]
        assert moment.start_seconds == index.items[row].vectors.times[number]
    assert [moment.matches()[0].rank for moment in found] == list(range(1, 21))


def test_fusion_sums_reciprocal_ranks() -> None:
    index = make_index(num_items=3)
    directions = [scored(index, 0, "video"), scored(index, 1, "audio")]
    weights = (1.0, 2.5)
    rankings = [Ranking.of_direction(d, w) for d, w in zip(directions, weights, strict=True)]
    found = fuse(rankings, SeenPlaces(NO_SEGMENTS, 1e-3), k=10, per_title=None)
    expected: dict[int, float] = {}
    for direction, weight in zip(directions, weights, strict=True):
        for rank, window in enumerate(direction.top(50).tolist(), start=1):
            expected[window] = expected.get(window, 0.0) + weight / (60 + rank)
    best = sorted(expected.values(), reverse=True)[:10]
    assert [moment.score for moment in found] == pytest.approx(best)


def test_neighbors_are_one_hit_and_the_query_is_none() -> None:
    index = make_index(num_items=2)
    seen = SeenPlaces(NO_SEGMENTS, 5.0)
    seen.add(1, 10.0, 10.5, IGNORED)
    found = fuse(
        [Ranking.of_direction(scored(index, 0, "video"), 1.0)], seen, k=100, per_title=None
    )
    for first in found:
        assert first.entry.item.id != 1 or abs(first.start_seconds - 10.0) >= 5.0
        for second in found:
            if first is not second and first.entry is second.entry:
                assert abs(first.start_seconds - second.start_seconds) >= 5.0
    windows = len(index)
    ignored = sum(abs(t - 10.0) < 5.0 for t in index.items[0].vectors.times.tolist())
    assert sum(1 + moment.num_collapsed for moment in found) == windows - ignored


def test_per_title() -> None:
    index = make_index()
    ranking = Ranking.of_direction(scored(index, 0, "video"), 1.0)
    found = fuse([ranking], SeenPlaces(NO_SEGMENTS, 1e-3), k=6, per_title=2)
    titles = [moment.entry.title.id for moment in found]
    assert len(titles) == 6
    assert max(titles.count(title) for title in titles) == 2


def test_per_title_reaches_titles_behind_all_moments_of_another() -> None:
    query = unit(0)

    def item(number: int, num_windows: int, share: float) -> IndexedItem:
        noise = torch.randn(num_windows, 16, generator=torch.Generator().manual_seed(number))
        vectors = ItemVectors.from_float(
            torch.arange(num_windows), share * query + 0.1 * noise, None
        )
        return make_item(number, number, vectors)

    index = EncoderIndex(
        random_encoder(dim=16), [item(1, 600, 1.0), item(2, 20, 0.0), item(3, 20, -1.0)], None
    )
    direction = scored(index, 0, "video")
    found = fuse(
        [Ranking.of_direction(direction, 1.0)], SeenPlaces(NO_SEGMENTS, 1e-3), k=5, per_title=1
    )
    best = [np.flatnonzero(np.repeat([1, 2, 3], [600, 20, 20]) == title) for title in (1, 2, 3)]
    windows = [int(rows[direction.scores[rows].argmax()]) for rows in best]
    assert [moment.found_by[0][1] for moment in found] == windows


@pytest.mark.parametrize("within", [0.4, 2.0, 30.0])
def test_sequences_against_all_pairs(within: float) -> None:
    index = make_index(num_items=3)
    first, second = scored(index, 0, "video"), scored(index, 1, "video")
    ranking = Ranking.of_sequence([first], [second], within, 1.0)
    a, b = first.z_scores(), second.z_scores()
    length = index.record.window_seconds
    assert ranking.scores is not None
    assert ranking.partners is not None
    for row, entry in enumerate(index.items):
        begin = int(index.starts[row])
        times = entry.vectors.times.tolist()
        for i, start in enumerate(times):
            pairs = [
                (b[begin + j], begin + j)
                for j, other in enumerate(times)
                if start + length - 1e-3 <= other <= start + length + within
            ]
            if not pairs:
                assert not np.isfinite(ranking.scores[begin + i])
                continue
            best, partner = max(pairs)
            assert ranking.scores[begin + i] == pytest.approx(a[begin + i] + best, abs=1e-5)
            assert ranking.partners[begin + i] == partner


def test_sequences_of_candidates_whose_z_scores_are_not_known() -> None:
    # As a description in words has them in a copy in LanceDB.
    index = make_index(num_items=1, seed=3)
    windows = np.arange(len(index))
    everything = [scored(index, seed, "video") for seed in (0, 1)]
    candidates = []
    for one in everything:
        order = index.exact(windows, one.query, "video")
        best = np.argsort(-order)
        candidates.append(
            ScoredCandidates(
                encoder=index, query_modality="text", modality="video", query=one.query,
                scores=np.empty(0, np.float32), is_centered=False, windows=windows[best],
                order=order[best], similarities=dict(enumerate(order.tolist())),
            )
        )  # fmt: skip
    expected, found = (
        Ranking.of_sequence([first], [second], 2.0, 1.0)
        for first, second in (everything, candidates)
    )
    assert found.top(5).tolist() == expected.top(5).tolist()
    match = found.matches(int(found.top(1)[0]), 1)[0]
    assert np.isnan(match.z_score)
    assert not match.is_confident
