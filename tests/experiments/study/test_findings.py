"""Findings state what the figures show, in either direction, and when there are too few."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from experiments.study.conditions import Condition, design
from experiments.study.findings import Findings
from experiments.study.learning_questions import steps_until
from experiments.study.record import Failure, read_record, write_record
from experiments.study.report import compare_studies, write_study_page
from experiments.study.run import findings_per_question
from experiments.study.scores import ConditionScores
from experiments.study.statistics import Measurements
from tests.experiments.study.made_up import SIZE, Rule, evaluated, no_difference, paper_like, study


def findings_of(rule: Rule) -> list[Findings]:
    scores = [evaluated(condition, rule) for condition in study().conditions]
    return findings_per_question(Measurements(study(), scores))


def text(findings: Findings) -> str:
    return " ".join(findings.sentences)


def test_the_papers_claims_are_found_where_they_hold() -> None:
    found = findings_of(paper_like)
    easy, transfer, shows, clips, openings, complex_, steps, guards, why, effects = map(text, found)
    assert "By this count, uniform negatives are easier" in easy
    assert "By this measure, uniform negatives are easier" in easy
    assert transfer.count("scores higher") == 12
    assert "larger on shows than on films, as the paper claims" in shows
    assert "the gain rises with signature" in shows
    assert "the lowest that of k=2" in clips
    assert "The two differ" in clips
    assert openings.count("scores higher") == 2
    assert "Curated clips, uniform: actions, from video scores lower" in complex_
    # Curated clips, two losses and double the steps, each on two transfer sets.
    assert complex_.count("scores lower") == 8
    assert complex_.count("for films, InfoNCE, k=32 (") == 8
    # Each step is half as long, so that the time is twice as much shorter as the steps.
    speeds = found[6].estimates
    for content, k in (("movies", 8), ("shows", 8), ("shows", 32)):
        fewer = speeds[f"log of times fewer steps, {content}, k={k}"]
        less = speeds[f"log of times less training time, {content}, k={k}"]
        assert fewer.low > 0
        assert less.mean == pytest.approx(fewer.mean + math.log(2))
        assert f"k={k}: the final score of uniform sampling was reached in" in steps
    assert guards.count("scores higher") == 3
    assert guards.count("study's own setting in the same seeds: the two do not differ clearly") == 3
    assert "at chance, as it must be" in guards
    # Three settings for two policies and two losses for one, on one of the transfer sets.
    assert effects.count("for the study's own setting") == 8
    assert why.count("titles are learned first") == 2
    assert why.count("it does not stay there, because events are learned too") == 2
    end = [one for one in found[8].sentences if one.startswith("At the end, k=32 minus uniform")]
    assert sum("events (" in one and ": higher (+0.2" in one for one in end) == 2
    assert sum("title, from" in one and ": no clear difference" in one for one in end) == 4
    table = found[8].table
    assert table is not None
    # Random weights once, then three steps of each of three policies.
    assert [row[:2] for row in table.rows] == [["random weights", "0"]] + [
        [name, step] for name in ("uniform", "k=8", "k=32") for step in ("20", "40", "80")
    ]


def test_more_data_is_compared_with_better_sampling() -> None:
    whole = design(SIZE.model_copy(update={"data_seeds": 3, "data_scales": (4,)}))
    scores = [evaluated(condition, paper_like) for condition in whole.conditions]
    found = findings_per_question(Measurements(whole, scores))[9]
    ks = {8, *SIZE.clips_per_title}
    # The rule knows of no hours, so that uniform sampling is as bad with four times as many.
    assert text(found).count("scores lower") == len(ks)
    usual = found.estimates["shows, uniform, 4 times the hours minus k=8"]
    assert usual.mean == pytest.approx(-0.2, abs=0.02)
    empty = findings_per_question(Measurements(whole, []))[9]
    assert empty.sentences == ("Not measured in this run.",)


def test_the_opposite_is_found_where_it_holds() -> None:
    found = findings_of(lambda condition: 0.5 - paper_like(condition))
    assert text(found[1]).count("scores lower") == 12
    assert "in contrast to the paper" in text(found[2])
    assert "never reached that score" in text(found[6])

    def no_better_than_random(condition: Condition) -> float:
        return paper_like(condition) - 0.1 * (condition.policy == "uniform")

    speed = text(findings_of(no_better_than_random)[6])
    assert speed.count("in 4 of 4 seeds, random weights already have the final score") == 3
    assert "events (actions), from video: lower" in text(found[8])


def test_noise_is_not_reported_as_a_difference() -> None:
    found = findings_of(no_difference)
    assert text(found[1]).count("does not differ clearly from") == 12
    assert "do not differ clearly" in text(found[2])


def test_a_gain_that_depends_on_a_setting_is_compared_within_the_same_seeds() -> None:
    def rule(condition: Condition) -> float:
        variant = condition.variant
        more = 0.1 if variant is not None and variant.value("optimizer.learning_rate") else 0.0
        wobble = 0.001 if condition.library.seed % 2 else -0.001
        return paper_like(condition) + (more + wobble) * (condition.policy == "hierarchical")

    guards = findings_of(rule)[7]
    whole = guards.sentences
    (at,) = [n for n, said in enumerate(whole) if "learning_rate-x0.5, k=8, actions" in said]
    assert "study's own setting in the same seeds: it is larger (+0.1" in whole[at + 1]
    assert text(guards).count("it is larger") == 1


def test_effects_are_claimed_only_after_holms_correction() -> None:
    """Twelve gains whose intervals exclude zero, but so narrowly that twelve are too many."""

    def rule(condition: Condition) -> float:
        spread = 0.1 * (condition.library.seed - 2.5)  # of the gains over the seeds 1 to 4
        gain = 0.3 if condition.policy == "hierarchical" else 0.0
        return 0.2 + gain + spread * (condition.policy == "hierarchical")

    found = findings_of(rule)[1]
    assert text(found).count("does not differ clearly") == 12
    assert all(one.low > 0 for one in found.estimates.values())
    p_value = stats.ttest_1samp([0.15, 0.25, 0.35, 0.45], 0.0).pvalue
    assert list(found.p_holm.values()) == pytest.approx([min(1.0, 12 * p_value)] * 12)
    assert 0.01 < p_value < 0.05
    assert found.table is not None
    column = found.table.header.index("p, Holm")
    assert {row[column] for row in found.table.rows[:12]} == {f"{12 * p_value:.4f}"}


def test_one_seed_is_not_enough() -> None:
    small = design(SIZE.with_seeds(1))
    found = findings_per_question(
        Measurements(small, [evaluated(condition, paper_like) for condition in small.conditions])
    )
    assert text(found[1]).count("not enough seeds") == 12
    assert all("scores higher" not in text(one) for one in found)


def test_unmeasured_questions_are_reported_as_such() -> None:
    found = findings_per_question(Measurements(study(), []))
    assert all("ot measured" in text(one) for one in found)
    assert all(one.draw_chart is None and not one.estimates for one in found)


def test_missing_parts_are_listed_once() -> None:
    few = SIZE.model_copy(
        update={"contents": ("movies", "shows"), "side_seeds": 0, "map_seeds": 0, "variants": ()}
    )
    whole = design(few)
    found = findings_per_question(
        Measurements(whole, [evaluated(condition, paper_like) for condition in whole.conditions])
    )
    lacking = [text(one).lower().count("not measured") for one in found]
    assert lacking == [0, 0, 0, 1, 1, 1, 0, 0, 0]
    assert "of the 2 episodes of one season; Shows, 8 clips of the 4" in text(found[3])
    assert found[2].draw_chart is None
    assert found[5].draw_chart is None
    # The map is drawn even without slopes.
    cells = {"contents": ("movies",), "map_seeds": 1, "signatures": (0.2, 1.0)}
    films = few.model_copy(update={**cells, "diversities": (0.8,)})
    whole_map = design(films)
    mapped = findings_per_question(
        Measurements(
            whole_map, [evaluated(condition, paper_like) for condition in whole_map.conditions]
        )
    )[2]
    assert mapped.draw_chart is not None
    assert "Not measured in this run: Actions" in text(mapped)
    assert found[4] == Findings(
        question=found[4].question, sentences=("Not measured in this run.",)
    )


@pytest.mark.parametrize(
    ("target", "step"), [(0.05, 10), (0.1, 10), (0.15, 15), (0.2, 20), (0.3, 30), (0.31, None)]
)
def test_steps_until_a_score(target: float, step: float | None) -> None:
    points = [(10.0, 0.1), (20.0, 0.2), (30.0, 0.3)]
    assert steps_until(points, target) == (None if step is None else pytest.approx(step))


def test_page_and_record_contain_every_condition(tmp_path: Path) -> None:
    whole = study()
    scores = [evaluated(condition, paper_like) for condition in whole.conditions[1:]]
    found = findings_per_question(Measurements(whole, scores))
    failures = [Failure(condition=whole.conditions[0].name, reason="<no memory>")]
    path = write_record(tmp_path, whole, scores, found, failures, seconds=1.0)
    record = read_record(path)
    assert record.conditions == {one.condition.name: one.without_titles() for one in scores}
    assert record.design.fingerprint == whole.fingerprint
    assert record.failed == {whole.conditions[0].name: "<no memory>"}
    assert [one.sentences for one in record.findings] == [one.sentences for one in found]
    page = write_study_page(tmp_path, whole, scores, found, failures)
    html = page.read_text()
    assert "&lt;no memory&gt;" in html
    assert html.count("data:image/png") == 10
    assert len(list((tmp_path / "figures").glob("question*.png"))) == 10
    assert all(one.condition.name in html for one in scores)


def test_slope_per_doubling_of_k_is_that_of_the_rule() -> None:
    def rule(condition: Condition) -> float:
        slope = {"shows": 0.03, "movies": -0.01, "both": 0.0}.get(condition.library.content, 0.0)
        wobble = 0.001 if condition.library.seed % 2 else -0.001  # so that seeds differ
        return 0.2 + (slope + wobble) * math.log2(condition.clips_per_title)

    clips = findings_per_question(
        Measurements(study(), [evaluated(condition, rule) for condition in study().conditions])
    )[3]
    for content, slope in (("shows", 0.03), ("movies", -0.01), ("both", 0.0)):
        estimate = clips.estimates[f"accuracy per doubling of k on {content}"]
        assert estimate.mean == pytest.approx(slope)
        assert len(estimate.values) == SIZE.seeds
    assert "Shows, accuracy per doubling of k from 2 to 32: it rises with k" in text(clips)
    assert "Films, accuracy per doubling of k from 2 to 32: it falls with k" in text(clips)
    # A seed without every k is omitted, because slopes over other k are not comparable.
    part = [evaluated(condition, rule) for condition in study().conditions
            if condition.library.seed != 1 or condition.clips_per_title != 32]  # fmt: skip
    fewer = findings_per_question(Measurements(study(), part))[3]
    values = fewer.estimates["accuracy per doubling of k on shows"].values
    assert len(values) == SIZE.seeds - 1


def test_no_estimate_occurs_twice() -> None:
    def unlike_any_other(condition: Condition) -> ConditionScores:
        one = evaluated(condition, no_difference)
        scores = tuple(
            score.model_copy(
                update={
                    "accuracy": random.Random(
                        f"{condition} {score.benchmark} {score.protocol}"
                    ).random()
                }
            )
            for score in one.scores
        )
        why = tuple(
            point.model_copy(
                update={
                    "accuracy": {
                        probe: random.Random(f"{condition} {point.step} {probe}").random()
                        for probe in point.accuracy
                    }
                }
            )
            for point in one.why
        )
        return one.model_copy(update={"scores": scores, "why": why})

    found = findings_per_question(
        Measurements(study(), [unlike_any_other(condition) for condition in study().conditions])
    )[1:]
    values = [one.values for findings in found for one in findings.estimates.values() if one.values]
    assert len(values) > 40
    either_way = {tuple(abs(value) for value in one) for one in values}
    assert len(either_way) == len(values)


def test_agreement_of_two_studies(tmp_path: Path) -> None:
    paths = []
    for first, more in ((0, 0.0), (10, 0.0), (20, 0.1)):
        whole = design(SIZE, first_seed=first)

        def rule(condition, more=more):  # type: ignore[no-untyped-def]
            return paper_like(condition) + more * (condition.policy == "hierarchical")

        scores = [evaluated(condition, rule) for condition in whole.conditions]
        out = tmp_path / str(first)
        out.mkdir()
        found = findings_per_question(Measurements(whole, scores))
        paths.append(write_record(out, whole, scores, found, [], seconds=1.0).parent)
    same = compare_studies(paths[0], paths[1])
    assert sum(one.agrees is True for one in same) > 0.8 * len(same)
    both = next(one for one in same if one.name == "gain on movies, actions linear")
    assert both.together is not None
    values = [
        value
        for path in paths[:2]
        for findings in read_record(path).findings
        if both.name in findings.estimates
        for value in findings.estimates[both.name].values
    ]
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert both.together.mean == pytest.approx(np.mean(values))
    assert (both.together.low, both.together.high) == pytest.approx((low, high))
    # Slopes have no values per seed.
    assert [one.name for one in same if one.together is None] == [
        f"gain per unit of {knob}, {score}"
        for score in ("actions", "sounds")
        for knob in ("signature", "diversity")
    ]
    apart = {one.name: one.agrees for one in compare_studies(paths[0], paths[2])}
    assert not any(apart[f"gain on {content}, actions linear"] for content in ("movies", "shows"))
    with pytest.raises(ValueError, match="agree by construction"):
        compare_studies(paths[0], paths[0])
    with pytest.raises(ValueError, match=r"not a study\.json"):
        compare_studies(paths[0], tmp_path)
