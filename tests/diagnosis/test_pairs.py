"""Statistics of all pairs, on embeddings with a known answer and against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toomuchtv.diagnosis import pairs
from toomuchtv.diagnosis.pairs import (
    NUM_BINS,
    RELATIONS,
    Pool,
    hardest_negatives,
    likely_false_negatives,
    measure_relations,
    most_confusable,
    title_lift,
)

# Title 0 has items 0 and 1, title 1 has item 2, title 2 item 3: two clips per item.
TITLE = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])
ITEM = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])


def pool(video: torch.Tensor, audio: torch.Tensor, labels: torch.Tensor | None = None) -> Pool:
    if labels is None:
        labels = torch.eye(8, dtype=torch.int8)
    return Pool(video=video, audio=audio, title=TITLE, item=ITEM, labels=labels)


def test_equal_embeddings_have_equal_similarities() -> None:
    same = torch.eye(4)[torch.zeros(8, dtype=torch.int64)]
    found = measure_relations(pool(same, same))
    # Of each row: itself; 1 of the item; in title 0, 2 of the other item; the rest.
    assert [one.num_pairs for one in found] == [8, 8, 8, 40]
    # A similarity of 1 is in the last bin.
    assert [one.histogram[-1] for one in found] == [8, 8, 8, 40]
    assert [one.mean for one in found] == pytest.approx([1.0] * 4)
    assert [one.std for one in found] == pytest.approx([0.0] * 4, abs=1e-6)
    assert title_lift(pool(same, same), 0.07) == pytest.approx(1.0)


def test_perfect_embeddings_have_no_negative_nearer_than_own() -> None:
    axes = torch.eye(8)
    found = measure_relations(pool(axes, axes))
    assert [one.mean for one in found] == pytest.approx([1, 0, 0, 0])
    assert math.isnan(found[0].nearer_than_own)
    assert [one.nearer_than_own for one in found[1:]] == pytest.approx([0.0] * 3)


def test_title_embeddings_confuse_a_title_with_itself() -> None:
    by_title = torch.eye(3)[TITLE]
    known = pool(by_title, by_title)
    assert [one.mean for one in measure_relations(known)] == pytest.approx([1, 1, 1, 0])
    # All mass of title 0 lies on 3 of 7 negatives, of the others on 1 of 7.
    lift = title_lift(known, 0.01)
    assert np.diag(lift) == pytest.approx([7 / 3, 7, 7])
    assert lift[~np.eye(3, dtype=bool)] == pytest.approx(0.0, abs=1e-6)


def test_similar_titles_are_the_most_confusable() -> None:
    by_title = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0.6, 0.8]])[TITLE]
    ranked = most_confusable(title_lift(pool(by_title, by_title), 0.2), 3)
    assert ranked[0][:2] == (1, 2)
    assert ranked[0][2] > 3 * ranked[1][2]


def test_title_without_negatives_has_no_lift() -> None:
    role = torch.full((8, 8), -1, dtype=torch.int8).fill_diagonal_(1)
    role[:4, :4] = torch.eye(4, dtype=torch.int8)
    lift = title_lift(pool(torch.eye(8), torch.eye(8), role), 0.1)
    assert lift[0, 0] == pytest.approx(1.0)
    assert np.isnan(lift[1:]).all()
    assert most_confusable(lift, 5) == []


def test_same_event_twice_is_the_likely_false_negative() -> None:
    video, audio = torch.eye(8), torch.eye(8)
    video[6] = video[1]
    audio[6] = audio[1]  # 1 and 6 look and sound alike
    video[5] = video[2]  # 2 and 5 look alike but sound different
    assert likely_false_negatives(pool(video, audio), 1) == [(1, 6)]
    ignored = torch.eye(8, dtype=torch.int8)
    ignored[1, 6] = ignored[6, 1] = -1
    assert (1, 6) not in likely_false_negatives(pool(video, audio, ignored), 8)


def test_a_clip_that_resembles_all_others_hides_no_pair() -> None:
    num = 80
    rng = np.random.default_rng(0)
    video, audio = rng.standard_normal((2, num, 8))
    video[:, 0], audio[0] = 10.0, np.eye(8)[0]
    video, audio = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (video, audio))
    clips = torch.arange(num)
    made = Pool(
        video=torch.from_numpy(video).float(), audio=torch.from_numpy(audio).float(),
        title=clips, item=clips, labels=torch.eye(num, dtype=torch.int8),
    )  # fmt: skip
    similarity = video @ audio.T
    np.fill_diagonal(similarity, -np.inf)
    expected = []
    for _ in range(3):
        i, j = divmod(int(similarity.argmax()), num)
        expected.append((i, j))
        similarity[[i, j]] = similarity[:, [i, j]] = -np.inf
    assert hardest_negatives(made, 3) == expected


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), chunk=st.sampled_from([1, 3, 256]))
def test_statistics_equal_plain_loops(seed: int, chunk: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = [rng.standard_normal((8, 5)) for _ in range(2)]
    video, audio = (array / np.linalg.norm(array, axis=1, keepdims=True) for array in vectors)
    role = rng.choice([-1, 0, 0, 0], (8, 8)).astype(np.int8)
    np.fill_diagonal(role, 1)
    made = pool(*(torch.from_numpy(array).float() for array in (video, audio, role)))
    made = pool(made.video, made.audio, torch.from_numpy(role))
    before, pairs._CHUNK = pairs._CHUNK, chunk
    try:
        found, hardest = measure_relations(made), hardest_negatives(made, 3)
        lift, false = title_lift(made, 0.1), likely_false_negatives(made, 1)
    finally:
        pairs._CHUNK = before
    similarity = video @ audio.T
    values: list[list[float]] = [[] for _ in RELATIONS]
    nearer: list[list[float]] = [[] for _ in RELATIONS]
    mass, even = np.zeros((3, 3)), np.zeros((3, 3))
    for i in range(8):
        for j in range(8):
            if role[i, j] == -1:
                continue
            relation = (
                0 if i == j else 1 if ITEM[i] == ITEM[j] else 2 if TITLE[i] == TITLE[j] else 3
            )
            values[relation].append(similarity[i, j])
            beaten = (similarity[i, j] > similarity[i, i], similarity[i, j] > similarity[j, j])
            nearer[relation].append(float(np.mean(beaten)))
        for near, roles in ((similarity[i], role[i]), (similarity[:, i], role[:, i])):
            negatives = np.flatnonzero(roles == 0)
            weights = np.exp(near[negatives] / 0.1)
            for j, weight in zip(negatives.tolist(), weights / weights.sum(), strict=True):
                mass[TITLE[i], TITLE[j]] += weight
                even[TITLE[i], TITLE[j]] += 1 / len(negatives)
    for index, group in enumerate(values):
        one = found[index]
        assert one.num_pairs == sum(one.histogram) == len(group)
        if group:
            assert one.mean == pytest.approx(np.mean(group), abs=1e-5)
            assert one.std == pytest.approx(np.std(group), abs=1e-5)
            counts, _ = np.histogram(group, NUM_BINS, (-1, 1))
            assert np.abs(np.array(one.histogram) - counts).sum() <= 2  # float32 at a bin's edge
        if group and index:
            assert one.nearer_than_own == pytest.approx(np.mean(nearer[index]), abs=1e-5)
    with np.errstate(invalid="ignore"):
        assert lift == pytest.approx(mass / even, rel=1e-4, abs=1e-5, nan_ok=True)
    negative = np.where(role == 0, similarity, -np.inf)
    assert hardest[0] == divmod(int(np.argmax(negative)), 8)
    clips = [clip for pair in hardest for clip in pair]
    assert len(clips) == len(set(clips)) == 6
    alike = np.minimum(video @ video.T, audio @ audio.T)
    alike[(role != 0) | ~np.triu(np.ones((8, 8), bool), 1)] = -np.inf
    assert false[0] == divmod(int(np.argmax(alike)), 8)
