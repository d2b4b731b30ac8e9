"""The whole study at toy size, on real files and in separate processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.study import StudySize, design, run_study
from experiments.study.conditions import Design
from experiments.study.record import read_record
from experiments.study.run import claim_folder
from experiments.study.scores import condition_path, read_scores
from experiments.study.size import PlannedVariant, read_size
from toomuchtv.cli.console import Output

TOY = StudySize(
    name="toy",
    items=8,
    minutes=0.25,
    steps=4,
    seeds=1,
    side_seeds=1,
    map_seeds=1,
    signatures=(0.2, 1.0),
    diversities=(0.8,),
    clips_per_title=(2,),
    contents=("movies",),
    milestones=(0.5,),
    finetune_epochs=1,
    transfer_clips_per_kind=5,
    event_kinds=3,
    variants=(
        PlannedVariant(name="temperature-x2", settings=("loss.temperature=0.14",), seeds=1),
        PlannedVariant(
            name="memory_bank", settings=("loss.name=memory_bank",), clips_per_title=(1,), seeds=1
        ),
    ),
)


def quiet() -> Output:
    return Output(as_json=True, is_quiet=True)


def only(whole: Design, *names: str) -> Design:
    conditions = tuple(condition for condition in whole.conditions if condition.name in names)
    assert len(conditions) == len(names)
    return whole.model_copy(update={"conditions": conditions})


@pytest.mark.slow
def test_a_whole_study_answers_every_question_and_is_not_repeated(tmp_path: Path) -> None:
    out = tmp_path / "study"
    whole = design(TOY)
    result = run_study(out, whole, num_workers=2, output=quiet())
    assert result.failed == ()
    assert result.num_conditions == len(whole.conditions)
    assert all(one.draw_chart is not None for one in result.findings)
    hours = [one.hours for one in read_record(out).conditions.values()]
    assert hours == pytest.approx([TOY.hours] * len(hours), rel=0.01)
    first = {path: path.stat().st_mtime_ns for path in out.glob("results/*.json")}
    again = run_study(out, whole, num_workers=2, output=quiet())
    assert again.findings == result.findings
    assert {path: path.stat().st_mtime_ns for path in out.glob("results/*.json")} == first


@pytest.mark.slow
def test_a_failed_condition_is_listed_and_the_others_continue(tmp_path: Path) -> None:
    out = tmp_path / "study"
    two = only(design(TOY), "movies-seed1-uniform", "movies-seed1-untrained")
    uniform = next(condition for condition in two.conditions if condition.policy == "uniform")
    (condition_path(out, uniform) / "run").mkdir(parents=True)
    (condition_path(out, uniform) / "run" / "config.toml").write_text("[training]\nsteps = 5\n")
    result = run_study(out, two, num_workers=1, output=quiet())
    assert [failure.condition for failure in result.failed] == [uniform.name]
    assert "error:" in result.failed[0].reason
    assert result.num_conditions == 1
    assert "not done" not in result.page.read_text()
    assert uniform.name in result.page.read_text()
    untrained = next(condition for condition in two.conditions if condition.policy == "untrained")
    scores = read_scores(out, two, untrained)
    assert scores is not None
    assert {(one.benchmark, one.protocol) for one in scores.scores} == {
        ("actions", "linear"), ("sounds", "linear"), ("actions", "finetune"),
        ("sounds", "finetune"),
    }  # fmt: skip
    # After the cause is removed, the same call runs what is left.
    (condition_path(out, uniform) / "run" / "config.toml").unlink()
    assert run_study(out, two, num_workers=1, output=quiet()).failed == ()


@pytest.mark.slow
def test_a_study_with_finer_detail(tmp_path: Path) -> None:
    """The settings of a larger size reach rendering, proxies, clips and probes."""
    large = read_size(Path(__file__).parents[3] / "benchmarks" / "study_large.toml")
    size = TOY.model_copy(update={"detail": large.detail.model_copy(update={"loader_workers": 1})})
    names = ("movies-seed1-uniform", "movies-seed1-k8", "shows-seed1-k8over4-in-show")
    result = run_study(tmp_path, only(design(size), *names), num_workers=2, output=quiet())
    assert result.failed == ()
    assert result.num_conditions == 3
    config = (
        condition_path(tmp_path, design(size).conditions[1]) / "run" / "config.toml"
    ).read_text()
    assert "size = 64" in config


def test_a_folder_of_another_study_is_rejected(tmp_path: Path) -> None:
    claim_folder(tmp_path, design(TOY))
    claim_folder(tmp_path, design(TOY))
    # A design of an older version, which had fewer settings, is recognized.
    path = tmp_path / "design.json"
    older = json.loads(path.read_text())
    del older["size"]["detail"]
    path.write_text(json.dumps(older))
    claim_folder(tmp_path, design(TOY))
    with pytest.raises(ValueError, match="first_seed is 1 and 2"):
        claim_folder(tmp_path, design(TOY, first_seed=2))
    path.write_text("{")
    with pytest.raises(ValueError, match="is damaged or of another version"):
        claim_folder(tmp_path, design(TOY))


@pytest.mark.parametrize(
    ("setting", "value"), [("minutes", 0.1), ("minutes", 1e9), ("transfer_clips_per_kind", 3)]
)
def test_a_size_that_cannot_be_rendered_is_refused_before_anything_is_written(
    tmp_path: Path, setting: str, value: float
) -> None:
    (tmp_path / "size.toml").write_text(f"{setting} = {value}\n")
    size = read_size(tmp_path / "size.toml")
    with pytest.raises(ValueError, match=setting):
        run_study(tmp_path / "out", design(size), num_workers=2, output=quiet())
    assert not (tmp_path / "out").exists()
