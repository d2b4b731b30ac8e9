"""Maps of moments, similar titles and recurring scenes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.search.indexes import random_encoder
from tests.search.test_encoder_index import make_item
from toomuchtv.catalog.records import Segment
from toomuchtv.errors import SearchError
from toomuchtv.search.encoder_index import EncoderIndex
from toomuchtv.search.overview import map_moments, recurring_scenes, similar_titles
from toomuchtv.search.vector_files import ItemVectors


def _index(sizes: list[int], dim: int = 16, *, spread: float = 0.1) -> EncoderIndex:
    """Return an index of one item per title, whose moments lie around the title's own direction."""
    rng = np.random.default_rng(0)
    items = []
    for number, size in enumerate(sizes, start=1):
        around = torch.from_numpy(rng.normal(size=dim))
        video = around / around.norm() + spread * torch.from_numpy(rng.normal(size=(size, dim)))
        vectors = ItemVectors.from_float(torch.arange(size) * 0.5, video, None)
        items.append(make_item(10 + number, number, vectors))
    return EncoderIndex(random_encoder(dim=dim, audio_dim=None), items, None)


def test_neighbors_on_the_map_are_of_one_title() -> None:
    """More windows than landmarks, so that most of them are placed by their neighbors."""
    index = _index([900, 700, 500])
    made = map_moments(index, "video")
    assert len(made) == 2100
    assert made.positions.dtype == np.float32
    np.testing.assert_allclose(made.positions.min(axis=0), -1, atol=1e-6)
    np.testing.assert_allclose(made.positions.max(axis=0), 1, atol=1e-6)
    rng = np.random.default_rng(1)
    for number in rng.choice(len(made), 200, replace=False):
        distances = np.square(made.positions - made.positions[number]).sum(axis=1)
        distances[number] = np.inf
        assert made.title_ids[distances.argmin()] == made.title_ids[number]
    assert (made.item_ids == made.title_ids + 10).all()
    starts = np.concatenate([[0], np.cumsum([900, 700])])
    np.testing.assert_allclose(made.seconds[starts], 0.25)  # the middle of a window of 0.5 s


def test_a_large_index_is_represented_by_some_of_its_moments_and_the_same_each_time() -> None:
    index = _index([300, 100])
    one, again = (map_moments(index, "video", max_points=80) for _ in range(2))
    assert len(one) == 80
    np.testing.assert_array_equal(one.positions, again.positions)
    centers = {10 + number: index.centers(row) for row, number in enumerate((1, 2))}
    for item_id, seconds in zip(one.item_ids.tolist(), one.seconds.tolist(), strict=True):
        assert np.abs(centers[item_id] - seconds).min() < 1e-5


@pytest.mark.parametrize("sizes", [[1], [2], [1, 1, 1], [21]])
def test_few_moments_have_a_map_too(sizes: list[int]) -> None:
    made = map_moments(_index(sizes), "video")
    assert made.positions.shape == (sum(sizes), 2)
    assert np.isfinite(made.positions).all()


def test_equal_moments_have_a_map() -> None:
    made = map_moments(_index([30], spread=0.0), "video")
    assert np.isfinite(made.positions).all()


def test_a_modality_that_is_not_embedded_has_no_map() -> None:
    with pytest.raises(SearchError):
        map_moments(_index([5]), "audio")


def test_similar_titles_equal_a_direct_computation() -> None:
    index = _index([40, 50, 60, 70])
    means = [entry.vectors.mean_of("video") for entry in index.items]
    centered = np.stack([m.double().numpy() for m in means if m is not None])
    centered -= centered.mean(axis=0)
    unit = centered / np.linalg.norm(centered, axis=1, keepdims=True)
    expected = unit @ unit[1]
    found = similar_titles(index, 2, "video", k=2)
    assert [t.title_id - 1 for t in found] == [n for n in np.argsort(-expected) if n != 1][:2]
    np.testing.assert_allclose(
        [t.similarity for t in found], [expected[t.title_id - 1] for t in found], atol=1e-5
    )
    with pytest.raises(SearchError):
        similar_titles(index, 9, "video")


def test_recurring_scenes_are_grouped_and_the_most_frequent_comes_first() -> None:
    def segment(item: int, start: float, kind: str, recurrence: int | None) -> Segment:
        return Segment(
            item_id=item, start_seconds=start, stop_seconds=start + 10, kind=kind,
            recurrence=recurrence,
        )  # fmt: skip

    scenes = recurring_scenes(
        [
            segment(1, 50, "recurring", 4),
            segment(2, 90, "recurring", 4),
            segment(3, 0, "opening", 7),
            segment(2, 0, "opening", 7),
            segment(1, 5, "recurring", 7),
            segment(1, 0, "shot", None),
        ]
    )
    assert [(s.recurrence, s.kind, s.num_items, s.seconds) for s in scenes] == [
        (7, "opening", 3, 10.0),
        (4, "recurring", 2, 10.0),
    ]
    assert [s.item_id for s in scenes[0].segments] == [1, 2, 3]
