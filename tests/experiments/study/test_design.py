"""What is compared differs in nothing but what is compared, and is fixed before any training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from experiments.study.condition import Condition, Library
from experiments.study.design import (
    ALTERNATIVES,
    chosen,
    design,
    differences,
    main_arms,
    map_arms,
    opening_arms,
    uniform,
)
from experiments.study.run import forecast
from experiments.study.scale import FULL, QUICK, Detail, Scale, read_scale
from experiments.study.settings import (
    arm_config,
    milestone_steps,
    proxy_recipe,
    transfer_studio,
    world_studio,
)
from tests.experiments.study.made_up import study


@pytest.mark.parametrize("scale", [FULL, QUICK], ids=lambda scale: scale.name)
def test_arms_are_told_apart_by_their_names(scale: Scale) -> None:
    arms = design(scale).arms
    assert Counter(arm.name for arm in arms).most_common(1)[0][1] == 1
    assert all(differences(one, other) for one in arms for other in arms if one is not other)


def test_the_full_study_is_what_was_asked_for() -> None:
    whole = design(FULL)
    assert len(whole.seeds) == 5
    for seed in whole.seeds:
        for content in ("movies", "shows", "both"):
            world = Library(content=content, seed=seed)
            own = [arm for arm in whole.arms if arm.world == world and arm.loss == "info_nce"
                   and arm.items_per_title == 1 and not arm.alternative]  # fmt: skip
            trained = [
                (arm.policy, arm.clips_per_title) for arm in own if arm.policy != "untrained"
            ]
            assert sorted(trained) == [
                *(("hierarchical", k) for k in (2, 4, 8, 16, 32)), ("uniform", 1)
            ]  # fmt: skip
    # What was promised: three hours and a quarter of an hour on two cores.
    for scale, hours in ((FULL, 3.0), (QUICK, 0.25)):
        expected = design(scale).core_seconds
        assert expected is not None
        assert expected < 2 * hours * 3600


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        (uniform(Library(content="movies", seed=1)), chosen(Library(content="movies", seed=1)),
         {"policy", "clips_per_title"}),
        (*opening_arms(FULL, 2), {"recurring"}),
        (*map_arms(FULL, 0)[:2], {"policy", "clips_per_title"}),
    ],
)  # fmt: skip
def test_a_comparison_differs_in_what_it_is_about(
    one: Condition, other: Condition, what: set[str]
) -> None:
    assert differences(one, other) == what


def test_no_setting_is_an_arms_own() -> None:
    """But for sampling, pair labels, loss and the one alternative, all arms are set alike."""
    arms = design(QUICK).arms
    first = arm_config(FULL, arms[0])
    for arm in arms:
        config = arm_config(FULL, arm)
        for section in ("clip", "transform", "augmentation", "model"):
            assert getattr(config, section) == getattr(first, section)
        assert config.sampling.batch_size == FULL.batch_size
        assert config.training.seed == arm.world.seed
        usual = (FULL.steps, FULL.learning_rate, FULL.temperature)
        found = (config.training.steps, config.optimizer.learning_rate,
                 config.loss.temperature)  # fmt: skip
        if arm.policy == "untrained":
            continue
        changed = [name for name, a, b in zip(("steps", "learning_rate", "temperature"), usual,
                                              found, strict=True) if a != b]  # fmt: skip
        assert changed == ([arm.alternative] if arm.alternative else [])


def test_worlds_have_equal_hours_and_the_same_events() -> None:
    worlds = design(FULL).worlds
    for world in worlds:
        order = world_studio(FULL, world)
        items = order.movies + order.shows * order.episodes
        seconds = 60 * order.minutes * items + order.clips * order.clip_seconds
        assert seconds == pytest.approx(3600 * FULL.hours)
        assert order.kinds == transfer_studio(FULL, world.seed).kinds
        assert order.seed == world.seed


def test_another_first_seed_shares_no_world() -> None:
    first, second = (design(QUICK, first_seed=seed) for seed in (0, QUICK.seeds))
    assert not set(first.worlds) & set(second.worlds)
    assert [arm.name.rpartition("seed")[0] for arm in first.arms if arm.policy == "untrained"] == [
        arm.name.rpartition("seed")[0] for arm in second.arms if arm.policy == "untrained"
    ]


def test_an_arm_that_two_questions_ask_for_is_run_once() -> None:
    arms = [arm for arm in study().arms if arm.world == Library(content="movies", seed=1)]
    plain = [arm for arm in arms if arm.policy == "uniform" and not arm.alternative
             and arm.loss == "info_nce"]  # fmt: skip
    assert len(plain) == 1
    assert set(plain[0].measures) == {"finetune", "milestones", "shuffled"}


def test_milestones_are_steps_that_checkpoints_are_kept_of() -> None:
    arm = next(arm for arm in main_arms(FULL, 0) if "milestones" in arm.measures)
    training = arm_config(FULL, arm).training
    steps = milestone_steps(FULL)
    assert steps == sorted(set(steps))
    assert all(step % training.keep_checkpoints_every == 0 for step in steps)
    assert all(step % training.checkpoint_every == 0 for step in steps)
    assert max(steps) < FULL.steps


def test_every_alternative_has_another_value() -> None:
    assert set(FULL.alternatives) == set(ALTERNATIVES)
    usual = {"temperature": FULL.temperature, "learning_rate": FULL.learning_rate,
             "steps": FULL.steps}  # fmt: skip
    assert all(FULL.alternatives[name] != value for name, value in usual.items())


def test_the_larger_size_fits_together() -> None:
    scale = read_scale(Path(__file__).parents[3] / "benchmarks" / "study_large.toml")
    whole = design(scale)
    assert len(whole.arms) == 3 * (1 + 2 * 3)
    assert len(whole.worlds) == 3 * 2
    assert whole.core_seconds is None
    for world in whole.worlds:
        assert world_studio(scale, world).height == scale.detail.height
    for arm in whole.arms:
        config = arm_config(scale, arm)
        assert config.clip.sample_rate_hz == config.transform.log_mel.sample_rate_hz == 16000
        assert config.transform.log_mel.window_samples == 400
        assert config.transform.log_mel.num_fft == 512
        assert (config.clip.frames, config.transform.size) == (8, 64)
    recipe = proxy_recipe(scale.detail)
    assert (recipe.short_side, recipe.frame_rate, recipe.sample_rate_hz) == (96, 8.0, 16000)


@pytest.mark.parametrize(
    ("detail", "words"), [({"crop": 64}, "crop=64"), ({"clip_frames": 17}, "16 or fewer")]
)
def test_a_detail_that_does_not_fit_is_refused(detail: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Detail.model_validate(detail)


def test_a_size_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    path.write_text("steps = 5000\nwidth = 1.0\n")
    scale = read_scale(path)
    changed = {"name": "large", "steps": 5000, "width": 1.0, "arm_core_seconds": None}
    assert scale == FULL.model_copy(update=changed)
    assert "not known" in str(forecast(design(scale), 2)["expected"])
    path.write_text("step = 5000\n")
    with pytest.raises(ValueError, match="step"):
        read_scale(path)
    with pytest.raises(ValueError, match="cannot read the size"):
        read_scale(tmp_path / "none.toml")


def test_what_matters_most_comes_first() -> None:
    """A study that is stopped early has the main comparison in every seed."""
    arms = design(FULL).arms
    main = [arm.name for seed in range(1, 6) for arm in main_arms(FULL, seed)]
    assert [arm.name for arm in arms[: len(main)]] == main
