"""Answers say what the figures say, in either direction, and say so where there are too few."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from experiments.study.answer import Answer
from experiments.study.answers import answers
from experiments.study.answers_checks import steps_until
from experiments.study.condition import Condition
from experiments.study.design import design
from experiments.study.measurements import Measurements
from experiments.study.page import write_study_page
from experiments.study.record import compare_studies, write_record
from experiments.study.schedule import Failure
from experiments.study.scores import ConditionScores
from tests.experiments.study.made_up import SCALE, Rule, evaluated, no_difference, paper_like, study


def answered(rule: Rule) -> list[Answer]:
    return answers(Measurements(study(), [evaluated(arm, rule) for arm in study().arms]))


def text(answer: Answer) -> str:
    return " ".join(answer.sentences)


def test_what_the_paper_says_is_found_where_it_is_so() -> None:
    easy, transfer, shows, clips, openings, curated, steps, guards = map(text, answered(paper_like))
    assert "Uniform negatives are the easier ones" in easy
    assert "By this uniform negatives are the easier ones" in easy
    assert transfer.count("scores higher") == 12
    assert "larger on shows than on films, as the paper has it" in shows
    assert "the gain rises with signature" in shows
    assert "the lowest that of k=2" in clips
    assert "The two differ" in clips
    assert openings.count("scores higher") == 2
    assert "Curated clips, uniform: actions, from video scores lower" in curated
    assert "times fewer steps" in steps
    assert guards.count("scores higher") == 6
    assert guards.count("study's own setting, in the same seeds: the two cannot be told apart") == 6
    assert "at chance, as it must be" in guards


def test_the_opposite_is_said_where_it_is_so() -> None:
    found = answered(lambda arm: 0.5 - paper_like(arm))
    assert text(found[1]).count("scores lower") == 12
    assert "the paper's ordering does not come out" in text(found[2])
    assert "never came to it" in text(found[6])


def test_noise_is_not_taken_for_a_finding() -> None:
    found = answered(no_difference)
    assert text(found[1]).count("cannot be told from") == 12
    assert "cannot be told" in text(found[2])


def test_a_gain_that_hangs_on_a_setting_is_found_beside_that_of_the_same_seeds() -> None:
    def rule(arm: Condition) -> float:
        more = 0.1 if arm.alternative == "learning_rate" else 0.0
        wobble = 0.001 if arm.world.seed % 2 else -0.001
        return paper_like(arm) + (more + wobble) * (arm.policy == "hierarchical")

    guards = answered(rule)[7]
    whole = guards.sentences
    (at,) = [n for n, said in enumerate(whole) if said.startswith("With another learning rate, ac")]
    assert "study's own setting, in the same seeds: it gains more (+0.1" in whole[at + 1]
    assert text(guards).count("it gains more") == 2


def test_one_seed_is_not_enough() -> None:
    small = design(SCALE.with_seeds(1))
    found = answers(Measurements(small, [evaluated(arm, paper_like) for arm in small.arms]))
    assert text(found[1]).count("not enough seeds") == 12
    assert all("scores higher" not in text(answer) for answer in found)


def test_what_was_not_measured_is_said_to_be_so() -> None:
    found = answers(Measurements(study(), []))
    assert all("ot measured" in text(answer) for answer in found)
    assert all(answer.chart is None and not answer.estimates for answer in found)


def test_a_study_of_fewer_arms_says_once_what_it_lacks() -> None:
    few = SCALE.model_copy(
        update={"contents": ("movies", "shows"), "side_seeds": 0, "map_seeds": 0, "guard_seeds": 0}
    )
    whole = design(few)
    found = answers(Measurements(whole, [evaluated(arm, paper_like) for arm in whole.arms]))
    lacking = [text(answer).lower().count("not measured") for answer in found]
    assert lacking == [0, 0, 0, 1, 1, 1, 0, 1]
    assert "over the 2 episodes of one season; Shows, 8 clips over the 4" in text(found[3])
    assert found[2].chart is None
    assert found[5].chart is None
    # A map without slopes is a map.
    cells = {"contents": ("movies",), "map_seeds": 1, "signatures": (0.2, 1.0)}
    films = few.model_copy(update={**cells, "diversities": (0.8,)})
    whole_map = design(films)
    mapped = answers(
        Measurements(whole_map, [evaluated(arm, paper_like) for arm in whole_map.arms])
    )[2]
    assert mapped.chart is not None
    assert "Not measured in this run: Actions" in text(mapped)
    assert found[4] == Answer(question=found[4].question, sentences=("Not measured in this run.",))


@pytest.mark.parametrize(
    ("target", "step"), [(0.05, 10), (0.1, 10), (0.15, 15), (0.2, 20), (0.3, 30), (0.31, None)]
)
def test_steps_until_a_score(target: float, step: float | None) -> None:
    points = [(10.0, 0.1), (20.0, 0.2), (30.0, 0.3)]
    assert steps_until(points, target) == (None if step is None else pytest.approx(step))


def test_page_and_record_hold_every_arm(tmp_path: Path) -> None:
    whole = study()
    scores = [evaluated(arm, paper_like) for arm in whole.arms[1:]]
    found = answers(Measurements(whole, scores))
    failures = [Failure(arm=whole.arms[0].name, reason="<no memory>")]
    path = write_record(tmp_path, whole, scores, found, failures, seconds=1.0)
    record = json.loads(path.read_text())
    assert [arm["name"] for arm in record["arms"]] == [one.arm.name for one in scores]
    assert {"content", "policy", "level", "seed", "clips_per_title"} <= set(record["arms"][0])
    assert record["failed"] == {whole.arms[0].name: "<no memory>"}
    page = tmp_path / "study.html"
    write_study_page(
        page, out=tmp_path, design=whole, scores=scores, answers=found, failures=failures
    )
    html = page.read_text()
    assert "&lt;no memory&gt;" in html
    assert html.count("data:image/png") == 8
    assert len(list((tmp_path / "figures").glob("question*.png"))) == 8
    assert all(one.arm.name in html for one in scores)


def test_what_a_doubling_of_k_gives() -> None:
    def rule(arm: Condition) -> float:
        slope = {"shows": 0.03, "movies": -0.01, "both": 0.0}.get(arm.world.content, 0.0)
        wobble = 0.001 if arm.world.seed % 2 else -0.001  # so that seeds differ
        return 0.2 + (slope + wobble) * math.log2(arm.clips_per_title)

    clips = answers(Measurements(study(), [evaluated(arm, rule) for arm in study().arms]))[3]
    for content, slope in (("shows", 0.03), ("movies", -0.01), ("both", 0.0)):
        estimate = clips.estimates[f"accuracy per doubling of k on {content}"]
        assert estimate.mean == pytest.approx(slope)
        assert len(estimate.values) == SCALE.seeds
    assert "Shows, accuracy for each doubling of k from 2 to 32: it rises with k" in text(clips)
    assert "Films, accuracy for each doubling of k from 2 to 32: it falls with k" in text(clips)
    # A seed that lacks one k is left out, for slopes over other k are other slopes.
    part = [evaluated(arm, rule) for arm in study().arms
            if arm.world.seed != 1 or arm.clips_per_title != 32]  # fmt: skip
    fewer = answers(Measurements(study(), part))[3]
    values = fewer.estimates["accuracy per doubling of k on shows"].values
    assert len(values) == SCALE.seeds - 1


def test_no_figure_is_counted_twice() -> None:
    def unlike_any_other(arm: Condition) -> ConditionScores:
        one = evaluated(arm, no_difference)
        scores = tuple(
            score.model_copy(
                update={
                    "accuracy": random.Random(f"{arm} {score.benchmark} {score.protocol}").random()
                }
            )
            for score in one.scores
        )
        return one.model_copy(update={"scores": scores})

    found = answers(Measurements(study(), [unlike_any_other(arm) for arm in study().arms]))[1:]
    values = [one.values for answer in found for one in answer.estimates.values() if one.values]
    assert len(values) > 40
    either_way = {tuple(abs(value) for value in one) for one in values}
    assert len(either_way) == len(values)


def test_two_studies_agree_or_not(tmp_path: Path) -> None:
    paths = []
    for first, more in ((0, 0.0), (10, 0.0), (20, 0.1)):
        whole = design(SCALE, first_seed=first)

        def rule(arm, more=more):  # type: ignore[no-untyped-def]
            return paper_like(arm) + more * (arm.policy == "hierarchical")

        scores = [evaluated(arm, rule) for arm in whole.arms]
        out = tmp_path / str(first)
        out.mkdir()
        found = answers(Measurements(whole, scores))
        paths.append(write_record(out, whole, scores, found, [], seconds=1.0).parent)
    same = compare_studies(paths[0], paths[1])
    assert sum(one.agrees is True for one in same) > 0.8 * len(same)
    both = next(one for one in same if one.name == "gain on movies, actions linear")
    assert both.together is not None
    values = [
        value
        for path in paths[:2]
        for answer in json.loads((path / "study.json").read_text())["answers"]
        for value in answer["estimates"].get(both.name, {"values": []})["values"]
    ]
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert both.together.mean == pytest.approx(np.mean(values))
    assert (both.together.low, both.together.high) == pytest.approx((low, high))
    # Slopes are not made of one value a seed.
    assert [one.name for one in same if one.together is None] == [
        f"gain per unit of {knob}, {score}"
        for score in ("actions", "sounds")
        for knob in ("signature", "diversity")
    ]
    apart = {one.name: one.agrees for one in compare_studies(paths[0], paths[2])}
    assert not any(apart[f"gain on {content}, actions linear"] for content in ("movies", "shows"))
    with pytest.raises(ValueError, match="agree by construction"):
        compare_studies(paths[0], paths[0])
    with pytest.raises(ValueError, match=r"no study\.json"):
        compare_studies(paths[0], tmp_path)
