"""A study may run in slices of time, on several machines, and be united afterwards."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from experiments.study.__main__ import app
from experiments.study.conditions import Condition, Design, design, read_design, select
from experiments.study.merge import merge_studies
from experiments.study.plan import choose_rates, plan_study
from experiments.study.rates import (
    Rates,
    Timing,
    condition_parts,
    machine_name,
    read_timings,
    write_timings,
)
from experiments.study.run import claim_folder, write_findings
from experiments.study.scheduler import Outcome, run_conditions
from experiments.study.scores import read_scores, write_scores
from experiments.study.size import PlannedVariant
from tests.experiments.study.made_up import SIZE, evaluated, no_difference, paper_like, study

PARTS = ("training", "milestones", "why", "finetune", "evaluation", "library", "transfer")


def results(out: Path, order: Design, conditions: Sequence[Condition], subfolder: str = "") -> Path:
    """Write made-up results of some conditions into a folder of a study."""
    claim_folder(out, order)
    for condition in conditions:
        scores = evaluated(condition, paper_like)
        seconds = {"training": 0.1}
        write_scores(out, scores.model_copy(update={"design": order.fingerprint,
                                                    "seconds": seconds}))  # fmt: skip
    if subfolder:
        (out / "results").rename(out / subfolder)
    return out


def timings(order: Design, seconds: float, *, machine: str, workers: int) -> list[Timing]:
    """Return measured times by which every condition's training takes some seconds."""
    units = {"training": float(order.size.steps * order.size.batch_size)}
    short = dict.fromkeys(PARTS[1:], 0.0)
    return [
        Timing.model_validate({"part": part, "of": "x", "units": units.get(part, 1.0),
                               "seconds": short.get(part, seconds), "machine": machine,
                               "workers": workers})
        for part in PARTS
    ]  # fmt: skip


def run(out: Path, order: Design, conditions: Sequence[Condition], seconds: float,
        *, num_workers: int, limit: float = 1e9) -> Outcome:  # fmt: skip
    (out / "seconds").write_text(str(seconds))
    return run_conditions(
        out, order, conditions, num_workers=num_workers, deadline=time.monotonic() + limit,
        worker="tests.experiments.study.quick_worker",
    )  # fmt: skip


def events(out: Path) -> list[list[str]]:
    return [line.split() for line in (out / "events").read_text().splitlines()]


def test_conditions_run_in_order_while_the_next_library_is_made(tmp_path: Path) -> None:
    order = study()
    five = order.conditions[:5]
    results(tmp_path, order, [*five[:3], five[4]], "prepared")
    outcome = run(tmp_path, order, five, 0.3, num_workers=2)
    assert [failure.condition for failure in outcome.failures] == [five[3].name]
    assert outcome.failures[0].reason == "error: nothing was prepared"
    assert outcome.left == ()
    done = events(tmp_path)
    begun = [name for what, kind, name in done if (what, kind) == ("begin", "condition")]
    # Two begin at once, and either may be the first to say so.
    assert sorted(begun) == sorted(condition.name for condition in five)
    assert all(abs(begun.index(one.name) - number) <= 1 for number, one in enumerate(five))
    for condition in five:
        at = done.index(["begin", "condition", condition.name])
        for place in (["library", condition.library.name],
                      ["transfer", str(condition.library.seed)]):  # fmt: skip
            assert done.index(["end", *place]) < at
    running = making = 0
    for what, kind, _ in done:
        change = 1 if what == "begin" else -1
        running += change * (kind == "condition")
        making += change * (kind != "condition")
        assert running <= 2
        assert making <= 1
    # What was measured is what later calls expect, in parts.
    units = Counter(one.part for one in read_timings(tmp_path))
    assert units["library"] == len({condition.library for condition in five})
    assert units["evaluation"] == 4
    trained = [one for one in five if one.policy != "untrained"]
    assert units["training"] == len(trained) - 1
    # What has a result is not run again.
    (tmp_path / "events").unlink()
    assert run(tmp_path, order, five[:3], 0.3, num_workers=2).left == ()
    assert not (tmp_path / "events").exists()


def test_nothing_is_begun_that_would_not_end_in_time(tmp_path: Path) -> None:
    order = study()
    # By the measured times, an untrained condition costs nothing, and the others 60 seconds.
    four = order.conditions[:4]
    untrained = [condition for condition in four if condition.policy == "untrained"]
    results(tmp_path, order, four, "prepared")
    write_timings(tmp_path, timings(order, 60.0, machine=machine_name(), workers=1))
    outcome = run(tmp_path, order, four, 0.1, num_workers=1, limit=30.0)
    assert outcome.failures == ()
    assert outcome.left == tuple(one for one in four if one not in untrained)
    assert [name for what, kind, name in events(tmp_path) if kind == "condition"] == [
        untrained[0].name, untrained[0].name
    ]  # fmt: skip
    outcome = run(tmp_path, order, four, 0.1, num_workers=1, limit=70.0)
    assert outcome.left == ()


def test_what_still_runs_at_the_end_of_the_time_is_stopped_and_runs_later(tmp_path: Path) -> None:
    order = study()
    one = order.conditions[:1]
    results(tmp_path, order, one, "prepared")
    begun = time.monotonic()
    outcome = run(tmp_path, order, one, 60.0, num_workers=1, limit=3.0)
    assert time.monotonic() - begun < 30.0
    assert (outcome.failures, outcome.left) == ((), one)
    assert run(tmp_path, order, one, 0.0, num_workers=1).left == ()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_plan_fills_pieces_in_the_order_of_value(workers: int) -> None:
    order = study()
    size = order.size
    rates = Rates(size, timings(order, 60.0, machine="m", workers=workers),
                  machine="m", workers=workers)  # fmt: skip
    plan = plan_study(None, order, order.conditions, rates, workers=workers, piece_seconds=200.0)
    assert [one.name for one in plan.conditions] == [one.name for one in order.conditions]
    expected = [60.0 * condition_parts(size, one).get("training", 0.0) / (size.steps * 32)
                for one in order.conditions]  # fmt: skip
    assert [one.seconds for one in plan.conditions] == pytest.approx(expected)
    # 180 seconds of a piece are used: three trainings per worker, or one of double length and one.
    assert plan.too_long == ()
    pieces = [one.piece for one in plan.conditions]
    assert set(pieces) == set(range(1, (plan.num_pieces or 0) + 1))
    spent = Counter[int | None]()
    for one, piece in zip(expected, pieces, strict=True):
        spent[piece] += round(one)
    assert max(spent.values()) <= 180 * workers
    assert plan.num_pieces == pytest.approx(sum(expected) / (180 * workers), rel=0.1, abs=1.0)
    longer = plan_study(None, order, order.conditions, rates, workers=workers, piece_seconds=100.0)
    assert longer.too_long == tuple(
        one.name for one, seconds in zip(order.conditions, expected, strict=True) if seconds > 80
    )


def test_rates_are_those_of_the_machine_and_of_the_condition_if_they_were_measured() -> None:
    order = study()
    near, far = (
        timings(order, seconds, machine=machine, workers=2)
        for seconds, machine in ((10.0, machine_name()), (1.0, "8 x fast"))
    )
    k8 = next(one for one in order.conditions if one.clips_per_title == 8)
    uniform = next(one for one in order.conditions if one.policy == "uniform")
    slow = near[0].model_copy(update={"of": "movies-k8", "seconds": 30.0})
    here = choose_rates(order, [*near, slow, *far], workers=2)
    assert here.condition(uniform) == pytest.approx(20.0)  # the median of two
    assert here.condition(k8) == pytest.approx(30.0)
    assert here.condition(k8, steps_done=order.size.steps / 2) == pytest.approx(15.0)
    # A part that was not measured with this number of workers has the times of another number.
    other = [one.model_copy(update={"workers": 1, "seconds": 40.0}) for one in near]
    only = [one for one in other if one.part == "training"]
    mixed = [*only, *(one for one in near if one.part != "training")]
    assert choose_rates(order, mixed, workers=2).condition(uniform) == pytest.approx(40.0)
    # One training, and 40 seconds for each unit of the other parts.
    units = sum(condition_parts(order.size, uniform).values()) - order.size.steps * 32
    assert choose_rates(order, [*near, *other], workers=1).condition(uniform) == pytest.approx(
        40.0 * (1 + units)
    )
    assert choose_rates(order, far, workers=6).condition(k8) == pytest.approx(1.0)
    assert choose_rates(order, near + far, workers=2, machine="fast").condition(k8) == 1.0
    with pytest.raises(ValueError, match="8 x fast"):
        choose_rates(order, far, workers=2, machine="H100")


def test_slices_are_united(tmp_path: Path) -> None:
    order = study()
    parts = (select(order.conditions, ["movies-*"]), select(order.conditions, ["shows-*", "*k8"]))
    folders = [results(tmp_path / str(n), order, part) for n, part in enumerate(parts)]
    write_timings(folders[1], timings(order, 1.0, machine="m", workers=1))
    # More seeds of the same design are not another design.
    more = design(SIZE.model_copy(update={"seeds": 5}))
    extra = select(more.conditions, ["*-seed5-*"])
    folders.append(results(tmp_path / "more", more, extra))
    out = tmp_path / "out"
    merged = merge_studies(folders, out)
    together = {one.name for part in (*parts, extra) for one in part}
    assert {path.stem for path in (out / "results").iterdir()} == together
    for one in extra:
        assert read_scores(out, more, one) == read_scores(tmp_path / "more", more, one)
    assert len(read_timings(out)) == len(PARTS)
    # It may be repeated, and a study may continue in OUT.
    assert merge_studies(folders, out).num_results == merged.num_results == len(together)
    assert len(merged.design.conditions) == len(more.conditions)
    claim_folder(out, order)


def test_a_study_that_grows_measures_what_is_new(tmp_path: Path) -> None:
    """The condition that a worker reads from the folder has the measures of every call."""
    order = study()
    (one,) = select(order.conditions, ["movies-seed1-uniform"])
    less = one.model_copy(update={"measures": ("finetune",)})
    more = less.model_copy(update={"measures": ("why", "finetune")})
    for condition in (less, more, less):
        claim_folder(tmp_path, order.model_copy(update={"conditions": (condition,)}))
    [claimed] = read_design(tmp_path).conditions
    assert set(claimed.measures) == {"finetune", "why"}
    scores = evaluated(less, paper_like).model_copy(update={"design": order.fingerprint})
    write_scores(tmp_path, scores)
    assert read_scores(tmp_path, order, less) == scores
    assert read_scores(tmp_path, order, more) is None
    whole = scores.model_copy(update={"condition": claimed})
    write_scores(tmp_path, whole)
    assert read_scores(tmp_path, order, less) == read_scores(tmp_path, order, more) == whole


def test_a_study_continues_from_a_published_record(tmp_path: Path) -> None:
    order = study()
    first = results(tmp_path / "first", order, order.conditions[:5])
    record = write_findings(first, order).record
    published = tmp_path / "published.json"
    record.rename(published)
    # Some of it was measured again elsewhere, with the same result and other conditions.
    second = results(tmp_path / "second", order, order.conditions[3:7])
    merged = merge_studies([published, second], tmp_path / "out")
    assert merged.num_results == 7
    assert merged.by_folder == {str(second): 4, str(published): 5}
    for number, condition in enumerate(order.conditions[:7]):
        scores = read_scores(tmp_path / "out", order, condition)
        assert scores is not None
        full = evaluated(condition, paper_like)
        expected = full.without_titles() if number < 3 else full
        assert scores.scores == expected.scores
    # Where single titles are not known for both sides, their interval is left out.
    found = write_findings(tmp_path / "out", order).findings
    column = [row[-2] for one in found if one.table for row in one.table.rows]
    assert "-" in column
    # A contradiction is found even where only the record lacks the single titles.
    one = order.conditions[4]
    other = evaluated(one, no_difference).model_copy(update={"design": order.fingerprint})
    write_scores(second, other)
    with pytest.raises(ValueError, match=r"published\.json.*contradict|contradict") as error:
        merge_studies([published, second], tmp_path / "never")
    assert str(published) in str(error.value)
    published.write_text('{"format": 2}')
    with pytest.raises(ValueError, match="format 3"):
        merge_studies([published], tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_other_designs_and_contradictions_are_refused(tmp_path: Path) -> None:
    order = study()
    one = order.conditions[0]
    first = results(tmp_path / "first", order, [one])
    second = results(tmp_path / "second", order, [one])
    known = evaluated(one, paper_like).model_copy(update={"design": order.fingerprint})
    write_scores(second, known.model_copy(update={"core_seconds": 99.0, "seconds": {}}))
    equal = ["merge", str(first), str(second), "--out", str(tmp_path / "equal"), "--json"]
    ran = CliRunner().invoke(app, equal)
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["by_folder"] == {str(first): 1, str(second): 1}
    assert (tmp_path / "equal" / "study.html").exists()

    write_scores(second, known.model_copy(update={"hours": 99.0}))
    with pytest.raises(ValueError, match=r"differ in hours") as error:
        merge_studies([first, second], tmp_path / "out")
    for folder in (first, second):
        assert str(folder / "results" / f"{one.name}.json") in str(error.value)

    other = design(SIZE.model_copy(update={"steps": 81}))
    third = results(tmp_path / "third", other, [])
    with pytest.raises(ValueError, match="steps is 80 and 81") as error:
        merge_studies([first, third], tmp_path / "out")
    assert all(str(folder) in str(error.value) for folder in (first, third))
    # A result that was copied by hand into the folder of another design.
    write_scores(third, known)
    with pytest.raises(ValueError, match=order.fingerprint):
        merge_studies([third], tmp_path / "out")
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"design\.json"):
        merge_studies([first, tmp_path / "none"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_conditions_of_one_name_with_other_settings_are_refused(tmp_path: Path) -> None:
    folders = []
    for value in (0.14, 0.2):
        settings = (f"loss.temperature={value}",)
        variant = PlannedVariant(name="warm", settings=settings, clips_per_title=(1,), seeds=1)
        order = design(SIZE.model_copy(update={"variants": (variant,)}))
        (one,) = select(order.conditions, ["*-warm"])
        folders.append(results(tmp_path / str(value), order, [one]))
    with pytest.raises(ValueError, match="differ in condition"):
        merge_studies(folders, tmp_path / "out")
    # Neither may the folder continue with the other settings, even before there is a result.
    with pytest.raises(ValueError, match=r"temperature=0\.2 and loss\.temperature=0\.14: give"):
        claim_folder(folders[0], order)
    # Other variants are added.
    united = merge_studies([folders[0], results(tmp_path / "study", study(), [])], tmp_path / "all")
    assert {one.name for one in united.design.size.variants} == {
        "warm", *(one.name for one in SIZE.variants)
    }  # fmt: skip


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    conditions = study().conditions
    assert select(conditions, []) == conditions
    assert {one.library.seed for one in select(conditions, ["*-seed2-*"])} == {2}
    with pytest.raises(ValueError, match="no condition matches 'seed2'"):
        select(conditions, ["*-seed2-*", "seed2"])
