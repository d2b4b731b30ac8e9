"""Look-alike titles and joint selection choose what they say, and train a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.study.beyond.joint_selection import (
    SUPER_BATCH,
    joint_steps,
    select_jointly,
    train_jointly,
)
from experiments.study.beyond.look_alikes import (
    LookAlikeSampler,
    group_look_alikes,
    train_look_alikes,
)
from experiments.study.beyond.training import opened_run, take_steps
from tests.prepared import tiny_config
from toomuchtv.catalog.store import open_catalog
from toomuchtv.inference.pretrained import load
from toomuchtv.training.pretrain import pretrain

CONFIG = tiny_config(
    sampling={"batch_size": 8, "clips_per_item": 4, "min_gap_seconds": 0.125},
    training={"held_out_share": 0.0, "steps": 6, "num_threads": 1},
)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load(run).model.state_dict()


def are_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_titles_of_a_block_are_grouped() -> None:
    rng = np.random.default_rng(0)
    block = rng.permutation(np.repeat(np.arange(4), 3))
    near = (block[:, None] == block[None, :]) + 0.3 * rng.uniform(size=(12, 12))
    groups = group_look_alikes(torch.from_numpy(near + near.T), 3)
    assert sorted(groups) == sorted(np.flatnonzero(block == k).tolist() for k in range(4))
    with pytest.raises(ValueError, match="12 titles for groups of 5"):
        group_look_alikes(torch.from_numpy(near + near.T), 5)


def test_each_batch_has_the_titles_of_one_group_and_each_epoch_every_group(
    prepared_catalog: Path,
) -> None:
    with open_catalog(prepared_catalog) as opened:
        snapshot = opened.snapshot()
    groups = [[0, 3], [1, 2]]
    sampler = LookAlikeSampler(snapshot, CONFIG.sampling, CONFIG.clip, groups)
    drawn = []
    for step in range(20):
        title = sampler.draw(seed=5, step=step).title.tolist()
        assert len(title) == 8
        drawn.append(sorted(set(title)))
        assert title == sampler.draw(seed=5, step=step).title.tolist()
    for epoch in range(10):
        assert sorted(drawn[2 * epoch : 2 * epoch + 2]) == groups
    assert len({tuple(first) for first in drawn[::2]}) == 2


def test_joint_selection_prefers_what_only_the_learner_finds_hard() -> None:
    """Video and audio of all clips are equal for the learner; the reference knows half of them."""
    title = np.repeat([4, 7], 16)
    learner, reference = torch.zeros(32, 32), torch.zeros(32, 32)
    known = np.tile([True, False], 16)
    reference[torch.arange(32), torch.arange(32)] = torch.from_numpy(known * 30.0).float()
    counts = np.zeros(32)
    for step in range(200):
        rows = select_jointly(learner, reference, title, per_title=4, seed=1, step=step)
        assert np.unique(title[rows], return_counts=True)[1].tolist() == [4, 4]
        counts[rows] += 1
    again = select_jointly(learner, reference, title, per_title=4, seed=1, step=199)
    np.testing.assert_array_equal(rows, again)
    # The first round is blind. Then the loss of the learner is ln(1 + n) with n clips taken, and
    # that of the reference is 0 for the clips that it knows: n is 2, 4, 6 in the later rounds.
    assert counts.sum() == 200 * 8
    odds = np.array([1 + n for n in (2, 4, 6)])
    share = (0.5 + (odds / (1 + odds)).sum()) / 4
    assert counts[known].sum() / counts.sum() == pytest.approx(share, abs=0.03)


def test_joint_selection_has_steps_of_equal_cost() -> None:
    forward, both = 1, 3
    steps = joint_steps(1100)
    assert steps * (2 * SUPER_BATCH * forward + both) == 1100 * both


def test_the_loop_trains_as_the_library_does(prepared_catalog: Path, tmp_path: Path) -> None:
    pretrain(prepared_catalog, tmp_path / "library", CONFIG)
    with opened_run(prepared_catalog, tmp_path / "loop", CONFIG) as run:
        take_steps(run, run.batches, range(6))
    assert are_equal(weights(tmp_path / "library"), weights(tmp_path / "loop"))


def test_both_ideas_train_and_resume(prepared_catalog: Path, tmp_path: Path) -> None:
    plain, alike, joint = (tmp_path / name for name in ("plain", "alike", "joint"))
    pretrain(prepared_catalog, plain, CONFIG)
    train_look_alikes(prepared_catalog, alike, CONFIG)
    train_jointly(prepared_catalog, joint, CONFIG, reference=plain)
    found = [weights(path) for path in (plain, alike, joint)]
    assert not are_equal(found[0], found[1])
    assert not are_equal(found[0], found[2])
    # A training that ended in its second half continues with the groups that it had.
    groups = (alike / "look_alikes.json").read_text()
    (alike / "checkpoints" / "step_00000006.safetensors").unlink()
    train_look_alikes(prepared_catalog, alike, CONFIG)
    assert are_equal(found[1], weights(alike))
    assert (alike / "look_alikes.json").read_text() == groups
