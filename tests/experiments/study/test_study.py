"""The whole study at toy size, on real files and in processes of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.study import FULL, Scale, design, run_study
from experiments.study.design import Design, main_arms
from experiments.study.run import claim, stages
from experiments.study.run_condition import condition_path
from experiments.study.scale import read_scale
from experiments.study.scores import read_scores
from toomuchtv.cli.console import Output

TOY = Scale(
    name="toy",
    items=8,
    minutes=0.25,
    steps=4,
    seeds=1,
    side_seeds=1,
    guard_seeds=1,
    map_seeds=1,
    signatures=(0.2, 1.0),
    diversities=(0.8,),
    clips_per_title=(2,),
    contents=("movies",),
    milestones=(0.5,),
    finetune_epochs=1,
    transfer_clips_per_kind=5,
    event_kinds=3,
)


def quiet() -> Output:
    return Output(as_json=True, is_quiet=True)


def only(whole: Design, *names: str) -> Design:
    arms = tuple(arm for arm in whole.arms if arm.name in names)
    assert len(arms) == len(names)
    return whole.model_copy(update={"arms": arms})


@pytest.mark.slow
def test_every_arm_is_run_and_every_question_answered(tmp_path: Path) -> None:
    out = tmp_path / "study"
    whole = design(TOY)
    result = run_study(out, whole, num_workers=2, output=quiet())
    assert result.failed == ()
    assert result.arms == len(whole.arms)
    assert all(answer.chart is not None for answer in result.answers)
    record = json.loads((out / "study.json").read_text())
    hours = [arm["hours"] for arm in record["arms"]]
    assert hours == pytest.approx([TOY.hours] * len(hours), rel=0.01)
    first = {path: path.stat().st_mtime_ns for path in out.rglob("scores.json")}
    again = run_study(out, whole, num_workers=2, output=quiet())
    assert again.answers == result.answers
    assert {path: path.stat().st_mtime_ns for path in out.rglob("scores.json")} == first


@pytest.mark.slow
def test_an_arm_that_fails_is_listed_and_the_others_go_on(tmp_path: Path) -> None:
    out = tmp_path / "study"
    two = only(design(TOY), "movies-seed1-uniform", "movies-seed1-untrained")
    uniform = next(arm for arm in two.arms if arm.policy == "uniform")
    (condition_path(out, uniform) / "run").mkdir(parents=True)
    (condition_path(out, uniform) / "run" / "config.toml").write_text("[training]\nsteps = 5\n")
    result = run_study(out, two, num_workers=1, output=quiet())
    assert [failure.arm for failure in result.failed] == [uniform.name]
    assert "error:" in result.failed[0].reason
    assert result.arms == 1
    assert "not done" not in result.page.read_text()
    assert uniform.name in result.page.read_text()
    untrained = next(arm for arm in two.arms if arm.policy == "untrained")
    scores = read_scores(condition_path(out, untrained), untrained)
    assert scores is not None
    assert {(one.benchmark, one.protocol) for one in scores.scores} == {
        ("actions", "linear"), ("sounds", "linear"), ("actions", "finetune"),
        ("sounds", "finetune"),
    }  # fmt: skip
    # Its cause taken away, the same call does what is left.
    (condition_path(out, uniform) / "run" / "config.toml").unlink()
    assert run_study(out, two, num_workers=1, output=quiet()).failed == ()


@pytest.mark.slow
def test_a_study_of_finer_detail(tmp_path: Path) -> None:
    """What a larger size changes goes through all parts: rendering, proxies, clips, probes."""
    large = read_scale(Path(__file__).parents[3] / "benchmarks" / "study_large.toml")
    scale = TOY.model_copy(update={"detail": large.detail.model_copy(update={"loader_workers": 1})})
    names = ("movies-seed1-uniform", "movies-seed1-k8", "shows-seed1-k8over4-in-show")
    result = run_study(tmp_path, only(design(scale), *names), num_workers=2, output=quiet())
    assert result.failed == ()
    assert result.arms == 3
    config = (condition_path(tmp_path, design(scale).arms[1]) / "run" / "config.toml").read_text()
    assert "size = 64" in config


def test_another_study_is_refused(tmp_path: Path) -> None:
    claim(tmp_path, design(TOY))
    claim(tmp_path, design(TOY))
    # One that an older version wrote, which knew of less, is this one.
    path = tmp_path / "design.json"
    older = json.loads(path.read_text())
    del older["scale"]["detail"]
    path.write_text(json.dumps(older))
    claim(tmp_path, design(TOY))
    with pytest.raises(ValueError, match="holds another study"):
        claim(tmp_path, design(TOY, first_seed=2))
    path.write_text("{")
    with pytest.raises(ValueError, match="holds another study"):
        claim(tmp_path, design(TOY))


def test_worlds_are_made_when_their_arms_come_up() -> None:
    whole = design(FULL)
    parts = stages(whole)
    assert [arm for part in parts for arm in part] == list(whole.arms)
    main = [arm for seed in whole.seeds for arm in main_arms(FULL, seed)]
    assert [arm.name for arm in parts[0]][: len(main)] == [arm.name for arm in main]
    assert {arm.world for arm in parts[0]} == {arm.world for arm in main}
    assert len(parts) == 3
    assert len({arm.world for part in parts[:2] for arm in part}) == 30
