"""Batches composed of recent steps: what is in them, and how their figures come out."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.snapshots import snapshot_of
from toomuchtv.data.config import SamplingConfig
from toomuchtv.data.pair_labels import PairLabelConfig, PairLabels
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.losses import negative_figures
from toomuchtv.media.clip import ClipFormat
from toomuchtv.training.alternative import AlternativeNegatives, apart, titles_first, weighted_order
from toomuchtv.training.step import GatheredBatch

# A film of ten minutes, nine of one minute, and two shows of three such episodes.
SNAPSHOT = snapshot_of([4800, *[480] * 15], [*range(10), 10, 10, 10, 11, 11, 11])
DIM = 6
CLIP = ClipFormat(frames=8, frame_rate=8.0, audio_seconds=1.0)


def planner(name: Literal["uniform", "hierarchical"], **settings: Any) -> ClipSampler:
    values = {"batch_size": 12, "clips_per_item": 4, "min_gap_seconds": 1.0, **settings}
    policy = SamplingConfig.model_validate({"name": name, **values})
    return ClipSampler(SNAPSHOT, policy, CLIP)


def recent(made: ClipSampler, seed: int = 0) -> AlternativeNegatives:
    return AlternativeNegatives(made, PairLabelConfig(), embedding_dim=DIM, seed=seed)


def batch(made: ClipSampler, step: int, seed: int = 0) -> GatheredBatch:
    """What a step would gather: the plan, with random embeddings and one bad clip."""
    plan = made.plan(seed=seed, step=step)
    generator = torch.Generator().manual_seed(step)
    valid = torch.arange(len(plan)) != step % len(plan)
    video, audio = (
        torch.nn.functional.normalize(torch.randn(len(plan), DIM, generator=generator), dim=1)
        for _ in range(2)
    )
    return GatheredBatch(
        video=video,
        audio=audio,
        roles=dataclasses.replace(PairLabels.of_plan(PairLabelConfig(), plan), valid=valid),
    )


def test_of_one_step_alone_the_figures_are_that_steps() -> None:
    """With room for its batch only, and every clip valid, the composed batch is the step's own."""
    made = planner("uniform")
    kept = recent(made)
    gathered = batch(made, 3)
    gathered.roles.valid[:] = True
    kept.add(gathered)
    # Composed by titles, but of 12 clips of mostly different titles: as far as they go.
    few = kept.figures(3, 0.1)
    assert 0 <= few["alternative_clips"] <= 12
    hierarchical = planner("hierarchical")
    kept, gathered = recent(hierarchical), batch(hierarchical, 3)
    gathered.roles.valid[:] = True
    kept.add(gathered)
    figures = kept.figures(3, 0.1)
    assert figures["alternative_clips"] == 12
    own = negative_figures(
        gathered.video,
        gathered.audio,
        gathered.roles,
        title=gathered.roles.title,
        item=gathered.roles.item,
        temperature=0.1,
    )
    assert figures["alternative_effective_negatives"] == pytest.approx(
        own.effective_negatives, rel=1e-2
    )
    assert figures["alternative_mass_same_title"] == pytest.approx(own.mass_same_title, abs=1e-2)


def test_nothing_kept_gives_no_figures() -> None:
    figures = recent(planner("uniform")).figures(0, 0.1)
    assert figures.pop("alternative_clips") == 0
    assert len(figures) == 7
    assert all(math.isnan(value) for value in figures.values())


@settings(max_examples=20)
@given(steps=st.integers(1, 130), name=st.sampled_from(["uniform", "hierarchical"]))
def test_a_composed_batch_is_one_that_could_be_drawn(
    steps: int, name: Literal["uniform", "hierarchical"]
) -> None:
    """No bad clip, no moment twice, the gap kept, no more than a batch; when full, too."""
    made = planner(name)
    kept = recent(made)
    for step in range(steps):
        kept.add(batch(made, step))
    assert int(kept.count) == 12 * steps
    chosen = kept._compose(steps)
    assert len(chosen) <= 12
    assert len(set(chosen.tolist())) == len(chosen)
    assert kept.valid[chosen].all()
    places = list(zip(kept.item[chosen].tolist(), kept.start_seconds[chosen].tolist(), strict=True))
    for first, (item, start) in enumerate(places):
        for other, begun in places[:first]:
            assert item != other or abs(start - begun) >= 1.0 - 1e-6
    if name == "uniform":  # so the other is hierarchical: 3 titles with 4 clips each
        counts = np.unique(kept.title[chosen].numpy(), return_counts=True)[1]
        assert len(counts) <= 3
        assert counts.max(initial=0) <= 4
        if steps > 80:
            assert counts.tolist() == [4, 4, 4]


def test_the_uniform_batch_goes_by_duration() -> None:
    """However often the policy drew each title: the long film has 600 of 1,500 seconds."""
    made = planner("hierarchical")
    kept = recent(made)
    for step in range(80):
        kept.add(batch(made, step))
    share = [np.mean(kept.title[kept._compose(step)].numpy() == 0) for step in range(200)]
    # Drawn without replacement from the few dozen moments of it that are kept: a little less.
    assert np.mean(share) == pytest.approx(600 / 1500, abs=0.06)
    drawn = np.mean([np.mean(made.plan(seed=0, step=step).title == 0) for step in range(200)])
    assert drawn == pytest.approx(1 / 12, abs=0.02)


def test_a_resumed_run_composes_the_same() -> None:
    made = planner("hierarchical")
    whole, resumed = recent(made), recent(made)
    for step in range(5):
        whole.add(batch(made, step))
    resumed.load_state_dict({key: value.clone() for key, value in whole.state_dict().items()})
    for step in range(5, 9):
        for one in (whole, resumed):
            one.add(batch(made, step))
    assert whole.figures(9, 0.07) == resumed.figures(9, 0.07)
    assert whole.figures(9, 0.07) != whole.figures(10, 0.07)


def test_apart_keeps_the_first_and_the_gap() -> None:
    item = np.array([0, 0, 0, 1, 0])
    start = np.array([0.0, 0.9, 1.0, 0.9, 0.0])
    order = np.arange(5)
    assert apart(order, item, start, 1.0).tolist() == [0, 2, 3]
    assert apart(order[::-1], item, start, 1.0).tolist() == [4, 3, 2]
    assert apart(order, item, start, 0.0).tolist() == [0, 1, 2, 3]  # the same moment, never twice


def test_titles_with_a_whole_share_come_first() -> None:
    title = np.array([0] * 5 + [1] * 2 + [2] * 4 + [3])
    draws = np.linspace(0.1, 0.9, 12)
    policy = SamplingConfig(batch_size=8, clips_per_item=4)
    chosen = titles_first(
        np.arange(12), title, np.arange(12) * 0 + title, draws, np.ones(4), policy
    )
    assert sorted(title[chosen].tolist()) == [0] * 4 + [2] * 4
    more = SamplingConfig(batch_size=16, clips_per_item=4)
    chosen = titles_first(np.arange(12), title, title, draws, np.ones(4), more)
    assert sorted(title[chosen].tolist()) == [0] * 4 + [1] * 2 + [2] * 4  # one clip is no title


def test_weighted_order_takes_by_weight() -> None:
    rng = np.random.default_rng(0)
    weight = np.array([1.0, 2.0, 5.0])
    first = [weighted_order(rng.random(3), weight)[0] for _ in range(4000)]
    assert np.bincount(first) / 4000 == pytest.approx(weight / 8, abs=0.03)
