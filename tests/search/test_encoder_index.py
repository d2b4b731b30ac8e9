"""Similarities and the best windows, against brute force in float64."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.search.indexes import random_encoder, random_vectors
from toomuchtv.catalog.records import Item, Probe, Title, TitleKind, VideoStream
from toomuchtv.search.encoder_index import EncoderIndex, IndexedItem, top_windows
from toomuchtv.search.hits import Modality
from toomuchtv.search.queries import as_unit
from toomuchtv.search.scored import Scored
from toomuchtv.search.scoring import (
    HALF_ERROR,
    SharedScan,
    coarse_similarities,
    similarities,
)
from toomuchtv.search.vector_files import ItemVectors

PROBE = Probe(
    duration_seconds=10.0,
    video=VideoStream(
        codec="h264", width=64, height=48, rotation_degrees=0, pixel_format="yuv420p",
        frame_rate=24.0, start_seconds=0.0,
    ),
    audio_tracks=(),
)  # fmt: skip


def make_item(number: int, title_id: int, vectors: ItemVectors, **changes: Any) -> IndexedItem:
    """Return an item of a title with embeddings."""
    values: dict[str, Any] = {
        "id": number, "title_id": title_id, "path": Path(f"{number}.mp4"), "season": None,
        "episode": None, "extra": None, "size_bytes": 1, "modified_ns": 1,
        "fingerprint": str(number), "missing": False, "probe": PROBE,
    }  # fmt: skip
    title = Title(id=title_id, kind=TitleKind.MOVIE, name=f"Title {title_id}", year=None)
    return IndexedItem(item=Item(**{**values, **changes}), title=title, vectors=vectors)


def make_index(*, num_items: int = 5, dim: int = 16, seed: int = 0) -> EncoderIndex:
    """Return an index of random vectors; the second item has no audio."""
    rng = np.random.default_rng(seed)
    items = []
    for number in range(1, num_items + 1):
        vectors = random_vectors(int(rng.integers(1, 200)), dim, rng, 0.5)
        if number == 2:
            vectors = ItemVectors(
                times=vectors.times, video=vectors.video, video_mean=vectors.video_mean,
                audio=None, audio_mean=None,
            )  # fmt: skip
        items.append(make_item(number, 1 + number // 2, vectors))
    return EncoderIndex(random_encoder(dim=dim), items, None)


def brute_force(index: EncoderIndex, query: torch.Tensor, modality: Modality) -> np.ndarray:
    """Return all similarities in float64; -inf where the modality is missing."""
    parts = []
    for entry in index.items:
        values = entry.vectors.of(modality)
        if values is None:
            parts.append(np.full(len(entry.vectors), -np.inf))
        else:
            parts.append(values.double().numpy() @ query.double().numpy())
    return np.concatenate(parts)


def unit(seed: int, dim: int = 16) -> torch.Tensor:
    return torch.nn.functional.normalize(
        torch.randn(dim, generator=torch.Generator().manual_seed(seed)), dim=0
    )


@pytest.mark.parametrize("modality", ["video", "audio"])
@pytest.mark.parametrize("seed", range(3))
def test_scores_are_within_their_error(modality: Modality, seed: int) -> None:
    index, query = make_index(seed=seed), unit(seed)
    scores = index.scores(query, modality, None)
    expected = brute_force(index, query, modality)
    assert np.array_equal(np.isfinite(scores), np.isfinite(expected))
    finite = np.isfinite(expected)
    assert np.abs(scores[finite] - expected[finite]).max() < HALF_ERROR


@pytest.mark.parametrize("count", [1, 3, 10, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_the_best_windows_are_exact(count: int, seed: int) -> None:
    # Vectors that differ by less than half precision resolves: coarse order would be wrong.
    rng = np.random.default_rng(seed)
    base = rng.normal(size=16)
    near = torch.from_numpy(base + 0.003 * rng.normal(size=(300, 16)))
    vectors = ItemVectors.from_float(torch.arange(300), near, None)
    index = EncoderIndex(random_encoder(dim=16), [make_item(1, 1, vectors)], None)
    query = torch.nn.functional.normalize(torch.from_numpy(base).float(), dim=0)
    scored = Scored(
        encoder=index, query_modality="video", modality="video", query=query,
        scores=index.scores(query, "video", None), is_centered=False,
    )  # fmt: skip
    expected = brute_force(index, query, "video")
    found = scored.top(count)
    assert len(found) == min(count, 300)
    assert len(set(found.tolist())) == len(found)
    best = np.sort(expected)[::-1][: len(found)]
    # float32 rounds the last bits, so the values decide and not the numbers of the windows.
    assert np.allclose(expected[found], best, atol=3e-7)


def test_only_allowed_windows_are_scored() -> None:
    index, query = make_index(), unit(1)
    allowed = index.allowed(
        lambda entry: entry.item.id in (1, 4), lambda item_id, centers: centers < 20 + item_id
    )
    assert allowed is not None
    scores = index.scores(query, "video", allowed)
    for window, score in enumerate(scores):
        row, number = index.locate(window)
        item_id = index.items[row].item.id
        is_allowed = item_id in (1, 4) and index.centers(row)[number] < 20 + item_id
        assert np.isfinite(score) == is_allowed


def test_centered_scores_are_cosines_after_subtracting_means_of_titles() -> None:
    index, query = make_index(), unit(2)
    query_mean = 0.3 * unit(3)
    scores = index.centered_scores(query, query_mean, "audio", None)
    rest = query.double() - query_mean.double()
    means: dict[int, list[torch.Tensor]] = {}
    for entry in index.items:
        if entry.vectors.audio is not None:
            means.setdefault(entry.title.id, []).append(entry.vectors.audio.double())
    for row, entry in enumerate(index.items):
        part = scores[index.starts[row] : index.starts[row + 1]]
        if entry.vectors.audio is None:
            assert not np.isfinite(part).any()
            continue
        mean = torch.cat(means[entry.title.id]).mean(dim=0)
        centered = entry.vectors.audio.double() - mean
        expected = torch.nn.functional.cosine_similarity(centered, rest[None], dim=1)
        assert np.abs(part - expected.numpy()).max() < 5e-3


def test_best_elsewhere_ignores_the_own_item() -> None:
    index = make_index()
    best = index.best_elsewhere("video", 10**6, seed=0)
    for row, entry in enumerate(index.items):
        assert entry.vectors.video is not None
        others = torch.cat(
            [
                e.vectors.video.double()
                for e in index.items
                if e is not entry and e.vectors.video is not None
            ]
        )
        expected = (entry.vectors.video.double() @ others.T).amax(dim=1)
        part = best[index.starts[row] : index.starts[row + 1]]
        assert np.allclose(part, expected.numpy(), atol=1e-5)


def test_vector_at_is_the_window_around_a_time() -> None:
    index = make_index()
    vectors = index.items[0].vectors
    assert vectors.video is not None
    found = index.vector_at(1, 0.76, "video")  # windows of 0.5 s begin every 0.5 s
    assert found is not None
    assert torch.equal(found, vectors.video[1].float())
    assert index.vector_at(2, 0.0, "audio") is None
    assert index.vector_at(99, 0.0, "video") is None


def test_top_windows_of_ties_are_the_first_ones() -> None:
    scores = np.array([0.5, 1.0, 0.5, -np.inf, 0.5], np.float32)
    assert top_windows(scores, 3).tolist() == [1, 0, 2]
    assert top_windows(scores, 10).tolist() == [1, 0, 2, 4]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_change_similarities(threads: int) -> None:
    rng = np.random.default_rng(0)
    arrays = [torch.from_numpy(rng.normal(size=(n, 16))).half() for n in (3, 500, 1, 40)]
    query, before = unit(0), torch.get_num_threads()
    found = coarse_similarities(arrays, query, threads)
    assert torch.equal(found, coarse_similarities(arrays, query, 3))
    assert torch.get_num_threads() == before
    many = similarities(torch.cat(arrays), torch.stack([query, -query]))
    assert torch.allclose(many[:, 0], -many[:, 1])
    assert len(coarse_similarities([], query, threads)) == 0


def test_searches_of_several_threads_share_passes() -> None:
    rng = np.random.default_rng(0)
    arrays = [torch.from_numpy(rng.normal(size=(n, 16)) / 4).half() for n in (3000, 1, 0, 700)]
    queries = [as_unit(torch.from_numpy(rng.normal(size=16))) for _ in range(40)]
    scan = SharedScan(arrays, num_threads=2)
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(scan.similarities, queries))
    every = torch.cat(arrays).double()
    for query, values in zip(queries, found, strict=True):
        assert values.dtype == torch.float32
        assert (values.double() - every @ query.double()).abs().max() < 2 * HALF_ERROR
    assert len(SharedScan([], num_threads=2).similarities(queries[0])) == 0
