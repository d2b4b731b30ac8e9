"""Compared conditions differ only in what is compared, and are fixed before any training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from experiments.study.conditions import (
    Condition,
    Library,
    chosen,
    clips_of,
    design,
    differences,
    main_conditions,
    map_conditions,
    opening_conditions,
    steps_of,
    uniform,
)
from experiments.study.plan import Plan, plan_study
from experiments.study.rates import Rates
from experiments.study.settings import (
    check_design,
    condition_config,
    library_config,
    milestone_steps,
    proxy_format,
    transfer_config,
)
from experiments.study.size import FULL, QUICK, Content, Detail, StudySize, read_size
from tests.data.snapshots import snapshot_of
from tests.experiments.study.made_up import study
from toomuchtv.data.sampler import ClipSampler
from toomuchtv.training.run_config import differing_keys


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
                   and one.items_per_title == 1 and one.variant is None]  # fmt: skip
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


LARGE = read_size(Path(__file__).parents[3] / "benchmarks" / "study_large.toml")
CONDITIONS = [
    pytest.param(size, condition, id=condition.name)
    for size in (FULL, QUICK, LARGE)
    for condition in design(size.with_seeds(1)).conditions
]


@pytest.mark.parametrize(("size", "condition"), CONDITIONS)
def test_every_condition_has_the_settings_of_the_study_except_for_its_own(
    size: StudySize, condition: Condition
) -> None:
    config = condition_config(size, condition)
    own = differing_keys(config, condition_config(size, uniform(condition.library)))
    assert config.training.seed == condition.library.seed
    changed = [] if condition.variant is None else condition.variant.settings
    allowed = {"sampling.name", "sampling.clips_per_item", "sampling.items_per_title",
               "sampling.level", "sampling.min_gap_seconds", "pair_labels.same_recurrence",
               "training.checkpoint_every", "training.keep_checkpoints_every",
               *(setting.partition("=")[0] for setting in changed)}  # fmt: skip
    # A loss and an encoder of another name bring settings of their own.
    sections = tuple(key.removesuffix("name") for key in allowed if key.endswith(".name"))
    assert [key for key in own if key not in allowed and not key.startswith(sections)] == []
    assert all(setting.partition("=")[0] in own for setting in changed)
    if condition.policy != "untrained":
        assert steps_of(size, condition) == config.training.steps
        assert clips_of(size, condition) == config.training.steps * config.sampling.batch_size


@pytest.mark.parametrize("size", [FULL, LARGE], ids=lambda size: size.name)
@pytest.mark.parametrize("content", ["movies", "shows"])
def test_k_clips_of_a_batch_are_of_one_title(size: StudySize, content: Content) -> None:
    """Films of half a minute have room for k clips, even if a tenth of them is skipped."""
    frames = round(size.minutes * 60 * 8)
    title = np.arange(size.items) // (4 if content == "shows" else 1)
    skipped = [(item, 0.0, size.minutes * 6, "credits", -1) for item in range(size.items)]
    snapshot = snapshot_of([frames] * size.items, title.tolist(), segments=skipped)
    for k in size.clips_per_title:
        condition = chosen(Library(content=content, seed=1), clips_per_title=k)
        config = condition_config(size, condition)
        specs = ClipSampler(snapshot, config.sampling, config.clip).draw(seed=1, step=0)
        _, counts = np.unique(specs.title, return_counts=True)
        assert counts.tolist() == [k] * (size.batch_size // k)


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
    plain = [one for one in conditions if one.policy == "uniform" and one.variant is None]
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


def test_variants_are_read_from_toml_and_change_no_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "size.toml"
    path.write_text("steps = 7\n")
    plain = read_size(path)
    assert plain.variants == ()
    path.write_text(
        'steps = 7\n[[variants]]\nname = "long"\nsettings = ["training.steps=21"]\nseeds = 2\n'
        'contents = ["shows"]\nclips_per_title = [1, 4]\n'
    )
    more = design(read_size(path))
    assert more.fingerprint == design(plain).fingerprint
    added = [one for one in more.conditions if one.variant is not None]
    assert [one.name for one in added] == [
        f"shows-seed{seed}-{sampling}-long" for seed in (1, 2) for sampling in ("uniform", "k4")
    ]
    assert {condition_config(more.size, one).training.steps for one in added} == {21}
    # Every one can be compared with the same condition without the variant.
    names = {one.name for one in more.conditions}
    assert {one.name.removesuffix("-long") for one in added} <= names
    for wrong, message in (
        ('name = "a b"\nsettings = ["loss.temperature=1"]\nseeds = 1', "name"),
        ('name = "a"\nsettings = []\nseeds = 1', "settings"),
        ('name = "a"\nsettings = ["loss.temperature=1"]\nseeds = 1\nseed = 1', "seed"),
    ):
        path.write_text(f"[[variants]]\n{wrong}\n")
        with pytest.raises(ValueError, match=message):
            read_size(path)
    path.write_text('[[variants]]\nname = "a"\nsettings = ["loss.temperatur=1"]\nseeds = 1\n')
    with pytest.raises(ValueError, match=r"loss\.temperatur: did you mean"):
        check_design(design(read_size(path)))


def test_the_large_size_is_consistent() -> None:
    size, whole = LARGE, design(LARGE)
    # Random weights on films and on shows; contents with uniform and six k; levels, openings,
    # curated clips; more hours; the map.
    plain = 2 + 3 * 7 + 2 + 2 + 1 + 3 + 2 * 2
    varied = sum(len(one.contents) * len(one.clips_per_title) for one in size.variants)
    assert len(whole.conditions) == 3 * (plain + varied)
    assert len(whole.libraries) == 3 * (3 + 1 + 1 + 3 + 2)
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
    changed = {"name": "large", "steps": 5000, "width": 1.0, "condition_core_seconds": None,
               "variants": ()}  # fmt: skip
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
