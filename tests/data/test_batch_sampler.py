"""Laws of HierarchicalBatchSampler, on random labels and by brute force."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2
from torch.utils.data import DataLoader, Dataset

from tests.processes import run_processes
from toomuchtv import HierarchicalBatchSampler
from toomuchtv._internal import distributed

SEEDS = st.integers(0, 2**31 - 1)
STEPS = st.integers(0, 12) | st.integers(0, 10**9)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[tuple[int, int]], dict[str, Any]]:
    """Labels (title, item) in any order, and arguments that fit them or not."""
    labels = draw(
        st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=2, max_size=60)
    )
    items, clips = draw(st.sampled_from([(1, 1), (1, 2), (1, 4), (2, 2), (2, 4), (3, 3)]))
    settings: dict[str, Any] = {
        "batch_size": clips * draw(st.integers(1, 5)),
        "clips_per_title": clips,
        "items_per_title": items,
        "title_depth": draw(st.sampled_from([1, 2])),
        "weights": draw(st.sampled_from(["uniform", "sqrt", "size"])),
        "min_gap": draw(st.sampled_from([0, 1, 5])),
        "positions": draw(st.lists(st.integers(0, 40), min_size=len(labels), max_size=len(labels))),
    }
    return labels, settings


def build(labels: Any, settings: dict[str, Any], **more: Any) -> HierarchicalBatchSampler:
    try:
        return HierarchicalBatchSampler(labels, **settings, **more)
    except ValueError:
        assume(False)
        raise


@settings(max_examples=80, deadline=None)
@given(cases(), SEEDS, STEPS)
def test_no_batch_repeats_a_sample_or_breaks_the_gap(
    case: tuple[list[tuple[int, int]], dict[str, Any]], seed: int, step: int
) -> None:
    labels, settings = case
    batch = build(labels, settings, seed=seed).batch(step)
    assert len(batch) == len(set(batch)) == settings["batch_size"]
    assert all(0 <= index < len(labels) for index in batch)
    for one, two in itertools.combinations(batch, 2):
        if labels[one] == labels[two]:
            gap = abs(settings["positions"][one] - settings["positions"][two])
            assert gap >= settings["min_gap"]


@settings(max_examples=30, deadline=None)
@given(cases(), SEEDS, STEPS)
def test_ranks_are_disjoint_parts_of_the_whole_batch(
    case: tuple[list[tuple[int, int]], dict[str, Any]], seed: int, step: int
) -> None:
    labels, settings = case
    whole = build(labels, settings, seed=seed).batch(step)
    for world_size in range(1, len(whole) + 1):
        if len(whole) % world_size == 0:
            parts = [
                build(labels, settings, seed=seed, rank=rank, world_size=world_size).batch(step)
                for rank in range(world_size)
            ]
            assert [index for part in parts for index in part] == whole


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(2, 4),
    st.randoms(use_true_random=False), SEEDS, STEPS,
)  # fmt: skip
def test_a_batch_has_the_shape_that_was_asked_for(
    items: int, clips: int, titles_per_batch: int, spare: int, random: Any, seed: int, step: int
) -> None:
    """Each title gives `items` items, each `clips` samples, if all titles are large enough."""
    num_titles = titles_per_batch + spare
    # Items of one size, as many as there are parts of a title: one item is drawn in each part.
    labels = [
        (f"title {title}", item)
        for title in range(num_titles)
        for item in range(items)
        for _ in range(clips + spare)
    ]
    random.shuffle(labels)
    assume(titles_per_batch * items * clips > 1)
    sampler = HierarchicalBatchSampler(
        labels,
        batch_size=titles_per_batch * items * clips,
        clips_per_title=items * clips,
        items_per_title=items,
        seed=seed,
    )
    drawn = [labels[index] for index in sampler.batch(step)]
    assert set(Counter(drawn).values()) == {clips}
    assert set(Counter(title for title, _ in drawn).values()) == {items * clips}
    # The samples of a title are consecutive.
    assert len(list(itertools.groupby(title for title, _ in drawn))) == titles_per_batch


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 7), SEEDS)
def test_an_epoch_visits_each_title_once(num_titles: int, per_batch: int, seed: int) -> None:
    labels = np.repeat(np.arange(num_titles), 4 * per_batch)
    sampler = HierarchicalBatchSampler(
        labels, batch_size=2 * per_batch, clips_per_title=2, seed=seed
    )
    num_steps = 3 * num_titles  # whole epochs: each has num_titles draws
    drawn = [labels[index] for step in range(num_steps) for index in sampler.batch(step)[::2]]
    if per_batch <= num_titles:
        for epoch in range(len(drawn) // num_titles):
            part = drawn[epoch * num_titles : (epoch + 1) * num_titles]
            assert len(set(part)) == num_titles or num_titles < 4 * per_batch
        assert len(set(drawn[:num_titles])) == num_titles
    counts = np.bincount(drawn, minlength=num_titles)
    if num_titles >= 4 * per_batch:
        assert set(counts.tolist()) == {3 * per_batch}


@pytest.mark.parametrize("min_gap", [0, 2, 5])
def test_every_allowed_choice_is_equally_likely(min_gap: int) -> None:
    """Against a list of all choices of three samples, at irregular positions."""
    positions = [0, 1, 2, 4, 7, 8, 12, 13]
    choices = [
        chosen
        for chosen in itertools.combinations(range(len(positions)), 3)
        if all(positions[j] - positions[i] >= min_gap for i, j in itertools.pairwise(chosen))
    ]
    sampler = HierarchicalBatchSampler(
        ["film"] * len(positions), batch_size=3, clips_per_title=3, positions=positions,
        min_gap=min_gap,
    )  # fmt: skip
    num_steps = 20 * len(choices)
    counts = Counter(tuple(sorted(sampler.batch(step))) for step in range(num_steps))
    assert set(counts) == set(choices)
    statistic = sum((count - 20) ** 2 / 20 for count in counts.values())
    assert statistic < chi2.ppf(1 - 1e-4, len(choices) - 1)


def test_titles_are_drawn_by_their_weights() -> None:
    labels = [title for title, size in enumerate((16, 64, 256)) for _ in range(size)]
    for weights, expected in (
        ("uniform", [1, 1, 1]),
        ("sqrt", [4, 8, 16]),
        ("size", [16, 64, 256]),
        ([1.0, 5.0, 2.0], [1, 5, 2]),
    ):
        sampler = HierarchicalBatchSampler(
            labels,
            batch_size=2,
            clips_per_title=2,
            weights=weights,  # type: ignore[arg-type]
        )
        drawn = [labels[sampler.batch(step)[0]] for step in range(500)]
        share = np.bincount(drawn, minlength=3) / len(drawn)
        np.testing.assert_allclose(share, np.array(expected) / sum(expected), atol=0.07)


class Indices(Dataset[int]):
    """A dataset whose samples are their own indices."""

    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_data_loader_yields_the_batches_of_the_steps(num_workers: int) -> None:
    labels = [title for title in range(10) for _ in range(8)]
    sampler = HierarchicalBatchSampler(labels, batch_size=8, clips_per_title=4, seed=3)
    loader = DataLoader(Indices(), batch_sampler=sampler, num_workers=num_workers)
    assert len(loader) == 5
    epochs = [[batch.tolist() for batch in loader] for _ in range(2)]
    expected = [sampler.batch(step) for step in range(10)]
    assert epochs == [expected[:5], expected[5:]]


def test_resume_continues_with_the_same_batches() -> None:
    settings: dict[str, Any] = {"batch_size": 8, "clips_per_title": 4, "seed": 3, "num_batches": 7}
    labels = [title for title in range(10) for _ in range(8)]
    sampler = HierarchicalBatchSampler(labels, **settings)
    expected = [batch for _ in range(3) for batch in sampler]
    resumed = HierarchicalBatchSampler(labels, **settings, start_step=9)
    assert len(resumed) == 5
    assert [*resumed, *resumed] == expected[9:]
    resumed.set_step(2)
    assert list(resumed) == expected[2:7]


def test_labels_may_be_arrays_tensors_or_tuples() -> None:
    nested = [(title, item) for title in (5, 3) for item in range(4) for _ in range(3)]
    settings: dict[str, Any] = {
        "batch_size": 8,
        "clips_per_title": 4,
        "items_per_title": 2,
        "seed": 1,
    }
    expected = HierarchicalBatchSampler(nested, **settings)
    assert expected.titles == [5, 3]
    for labels in (np.array(nested), torch.tensor(nested)):
        found = HierarchicalBatchSampler(labels, **settings)  # type: ignore[arg-type]
        assert found.batch(4) == expected.batch(4)
    by_season = HierarchicalBatchSampler(nested, **{**settings, "title_depth": 2}, weights="size")
    assert by_season.titles == list(dict.fromkeys(nested))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": []}, "at least one sample"),
        ({"batch_size": 10}, r"batch_size \(10\) must be a multiple of clips_per_title \(4\)"),
        ({"items_per_title": 3}, r"clips_per_title \(4\) must be a multiple of items_per_title"),
        ({"batch_size": 44}, "at most the number of samples, which is 40, got 44"),
        ({"min_gap": 2.0}, "needs the positions"),
        ({"min_gap": 2.0, "positions": [0.0] * 40}, "2 apart, which is 5, got 8"),
        ({"positions": [0.0] * 39}, "each of the 40 samples"),
        ({"weights": [1.0, 2.0]}, "each of the 5 titles"),
        ({"weights": [1.0, 1.0, 1.0, 1.0, 0.0]}, "positive"),
        ({"weights": "duration"}, "must be one of uniform, sqrt, size"),
        ({"rank": 0, "world_size": 3}, "must divide by the number of processes"),
        ({"rank": 2, "world_size": 2}, "rank must be below it"),
        ({"rank": 2}, "must be given together"),
        ({"start_step": -1}, "at least 0"),
    ],
)
def test_wrong_arguments_are_refused(changes: dict[str, Any], message: str) -> None:
    labels = [title for title in range(5) for _ in range(8)]
    arguments = {"labels": labels, "batch_size": 8, "clips_per_title": 4, **changes}
    with pytest.raises(ValueError, match=message):
        HierarchicalBatchSampler(**arguments)


def draw_in_process_group(folder: Path) -> None:
    """Draw as a process of a distributed run, which the sampler finds by itself."""
    with distributed.process_group(torch.device("cpu")):
        sampler = HierarchicalBatchSampler(["a"] * 9 + ["b"] * 9, batch_size=8, clips_per_title=4)
        (folder / f"{distributed.rank()}").write_text(str(sampler.batch(5)))


def test_ranks_are_found_from_torch_distributed(tmp_path: Path) -> None:
    run_processes(2, draw_in_process_group, tmp_path)
    sampler = HierarchicalBatchSampler(["a"] * 9 + ["b"] * 9, batch_size=8, clips_per_title=4)
    whole = sampler.batch(5)
    assert [(tmp_path / str(rank)).read_text() for rank in (0, 1)] == [
        str(whole[:4]), str(whole[4:]),
    ]  # fmt: skip
