"""Compared conditions differ only in what is compared, and are fixed before any training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from experiments.study.conditions import (
    ALTERNATIVES,
    Condition,
    Library,
    chosen,
    design,
    differences,
    main_conditions,
    map_conditions,
    opening_conditions,
    uniform,
)
from experiments.study.plan import Plan, plan_study
from experiments.study.rates import Rates
from experiments.study.settings import (
    condition_config,
    library_config,
    milestone_steps,
    proxy_format,
    transfer_config,
)
from experiments.study.size import FULL, QUICK, Detail, StudySize, read_size
from tests.experiments.study.made_up import study


def planned(size: StudySize, *, minutes: float) -> Plan:
    """Return the plan of a whole study for two workers, by the times that its size states."""
    whole = design(size)
    rates = Rates(size, [], machine="", workers=2)
    return plan_study(None, whole, whole.conditions, rates, workers=2, piece_seconds=60 * minutes)


@pytest.mark.parametrize("size", [FULL, QUICK], ids=lambda size: size.name)
def test_names_of_conditions_are_unique(size: StudySize) -> None:
    conditions = design(size).conditions
    assert Counter(condition.name for condition in conditions).most_common(1)[0][1] == 1
    assert all(
        differences(one, other) for one in conditions for other in conditions if one is not other
    )


def test_the_full_study_has_the_planned_conditions() -> None:
    whole = design(FULL)
    assert len(whole.seeds) == 5
    for seed in whole.seeds:
        for content in ("movies", "shows", "both"):
            library = Library(content=content, seed=seed)
            own = [one for one in whole.conditions if one.library == library
                   and one.loss == "info_nce" and one.items_per_title == 1
                   and not one.alternative]  # fmt: skip
            trained = [
                (condition.policy, condition.clips_per_title)
                for condition in own
                if condition.policy != "untrained"
            ]
            assert sorted(trained) == [
                *(("hierarchical", k) for k in (2, 4, 8, 16, 32)), ("uniform", 1)
            ]  # fmt: skip
    # The documented times are three hours and a quarter of an hour on two cores.
    for size, hours in ((FULL, 3.0), (QUICK, 0.25)):
        expected = planned(size, minutes=1e6).seconds
        assert expected is not None
        assert 0.5 * hours * 3600 < expected < hours * 3600


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        (uniform(Library(content="movies", seed=1)), chosen(Library(content="movies", seed=1)),
         {"policy", "clips_per_title"}),
        (*opening_conditions(FULL, 2), {"recurring"}),
        (*map_conditions(FULL, 0)[:2], {"policy", "clips_per_title"}),
    ],
)  # fmt: skip
def test_compared_conditions_differ_only_in_what_is_compared(
    one: Condition, other: Condition, what: set[str]
) -> None:
    assert differences(one, other) == what


def test_all_other_settings_are_equal_for_all_conditions() -> None:
    """Only sampling, pair labels, the loss and the alternative setting may differ."""
    conditions = design(QUICK).conditions
    first = condition_config(FULL, conditions[0])
    for condition in conditions:
        config = condition_config(FULL, condition)
        for section in ("clip", "transform", "augmentation", "model"):
            assert getattr(config, section) == getattr(first, section)
        assert config.sampling.batch_size == FULL.batch_size
        assert config.training.seed == condition.library.seed
        usual = (FULL.steps, FULL.learning_rate, FULL.temperature)
        found = (config.training.steps, config.optimizer.learning_rate,
                 config.loss.temperature)  # fmt: skip
        if condition.policy == "untrained":
            continue
        changed = [name for name, a, b in zip(("steps", "learning_rate", "temperature"), usual,
                                              found, strict=True) if a != b]  # fmt: skip
        assert changed == ([condition.alternative] if condition.alternative else [])


def test_libraries_have_equal_hours_and_the_same_events() -> None:
    libraries = design(FULL).libraries
    for library in libraries:
        order = library_config(FULL, library)
        items = order.movies + order.shows * order.episodes
        seconds = 60 * order.minutes * items + order.clips * order.clip_seconds
        assert seconds == pytest.approx(3600 * FULL.hours)
        assert order.kinds == transfer_config(FULL, library.seed).kinds
        assert order.seed == library.seed


def test_studies_with_other_seeds_share_no_library() -> None:
    first, second = (design(QUICK, first_seed=seed) for seed in (0, QUICK.seeds))
    assert not set(first.libraries) & set(second.libraries)
    assert [
        condition.name.rpartition("seed")[0]
        for condition in first.conditions
        if condition.policy == "untrained"
    ] == [
        condition.name.rpartition("seed")[0]
        for condition in second.conditions
        if condition.policy == "untrained"
    ]


def test_a_condition_of_two_questions_is_run_once() -> None:
    conditions = [
        condition
        for condition in study().conditions
        if condition.library == Library(content="movies", seed=1)
    ]
    plain = [one for one in conditions if one.policy == "uniform" and not one.alternative
             and one.loss == "info_nce"]  # fmt: skip
    assert len(plain) == 1
    assert set(plain[0].measures) == {"finetune", "milestones", "shuffled"}


def test_milestones_are_at_kept_checkpoints() -> None:
    condition = next(
        condition for condition in main_conditions(FULL, 0) if "milestones" in condition.measures
    )
    training = condition_config(FULL, condition).training
    steps = milestone_steps(FULL)
    assert steps == sorted(set(steps))
    assert all(step % training.keep_checkpoints_every == 0 for step in steps)
    assert all(step % training.checkpoint_every == 0 for step in steps)
    assert max(steps) < FULL.steps


def test_alternatives_differ_from_the_usual_values() -> None:
    assert set(FULL.alternatives) == set(ALTERNATIVES)
    usual = {"temperature": FULL.temperature, "learning_rate": FULL.learning_rate,
             "steps": FULL.steps}  # fmt: skip
    assert all(FULL.alternatives[name] != value for name, value in usual.items())


def test_the_large_size_is_consistent() -> None:
    size = read_size(Path(__file__).parents[3] / "benchmarks" / "study_large.toml")
    whole = design(size)
    assert len(whole.conditions) == 3 * (1 + 2 * 7 + 2)
    assert len(whole.libraries) == 3 * (2 + 2)
    for library in whole.libraries:
        order = library_config(size, library)
        seconds = 60 * order.minutes * (order.movies + order.shows * order.episodes)
        seconds += order.clips * order.clip_seconds
        assert seconds == pytest.approx(3600 * size.hours * library.scale)
    for library in whole.libraries:
        assert library_config(size, library).height == size.detail.height
    for condition in whole.conditions:
        config = condition_config(size, condition)
        assert config.clip.sample_rate_hz == config.transform.log_mel.sample_rate_hz == 16000
        assert config.transform.log_mel.window_samples == 400
        assert config.transform.log_mel.num_fft == 512
        assert (config.clip.frames, config.transform.size) == (8, 64)
    recipe = proxy_format(size.detail)
    assert (recipe.short_side, recipe.frame_rate, recipe.sample_rate_hz) == (96, 8.0, 16000)


@pytest.mark.parametrize(
    ("detail", "words"), [({"crop": 64}, "crop=64"), ({"clip_frames": 17}, "16 or fewer")]
)
def test_inconsistent_detail_is_rejected(detail: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Detail.model_validate(detail)


def test_a_custom_size_is_read_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    path.write_text("steps = 5000\nwidth = 1.0\n")
    size = read_size(path)
    changed = {"name": "large", "steps": 5000, "width": 1.0, "condition_core_seconds": None}
    assert size == FULL.model_copy(update=changed)
    assert planned(size, minutes=9).num_pieces is None
    path.write_text("step = 5000\n")
    with pytest.raises(ValueError, match="step"):
        read_size(path)
    with pytest.raises(ValueError, match="cannot read the size"):
        read_size(tmp_path / "none.toml")


def test_the_main_comparison_comes_first() -> None:
    """A study that is stopped early has the main comparison for every seed."""
    conditions = design(FULL).conditions
    main = [condition.name for seed in range(1, 6) for condition in main_conditions(FULL, seed)]
    assert [condition.name for condition in conditions[: len(main)]] == main
