"""Question 7 and the guards: steps saved, other settings, shuffled labels."""

from __future__ import annotations

import math
from collections.abc import Callable

from experiments.study.answer import NOT_MEASURED, Answer, finding, note, sign
from experiments.study.charts import Interval, Intervals, Lines
from experiments.study.condition import Condition, Content, Library
from experiments.study.design import ALTERNATIVES, chosen, uniform
from experiments.study.measurements import (
    CONTENT_NAMES,
    DIFFERENCE_HEADER,
    SENSES,
    Measurements,
)
from experiments.study.scores import ConditionScores
from experiments.study.statistics import Estimate, over_seeds
from toomuchtv.reports.charts import COLORS, Curve
from toomuchtv.reports.page import ResultTable


def _world(content: Content) -> Callable[[int], Library]:
    return lambda seed: Library(content=content, seed=seed)


def steps_to_score(evidence: Measurements) -> Answer:
    """Question 7: how many times fewer steps hierarchical sampling needs."""
    scale = evidence.design.scale
    world = _world(scale.contents[0])
    curves, logs, missed = [], [], 0
    for made, color in ((uniform, COLORS[1]), (chosen, COLORS[2])):
        done = [evidence.of(made(world(seed))) for seed in evidence.design.seeds]
        lines = [_curve(one) for one in done if one is not None and one.milestones]
        if lines:
            mean = [sum(p[k][1] for p in lines) / len(lines) for k in range(len(lines[0]))]
            steps = [point[0] for point in lines[0]]
            name = "uniform" if made is uniform else "hierarchical"
            curves.append(Curve(name=name, x=steps, y=mean, color=color))
    for seed in evidence.design.seeds:
        sides = [evidence.of(made(world(seed))) for made in (uniform, chosen)]
        if sides[0] is None or sides[1] is None or not sides[1].milestones:
            continue
        target = sides[0].accuracy("actions")
        needed = None if target is None else steps_until(_curve(sides[1]), target)
        if needed is None:
            missed += 1
        else:
            logs.append(math.log(scale.steps / needed))
    return Answer(
        question="How many times fewer steps to a given transfer score?",
        sentences=_speed_sentences(over_seeds(logs), missed, CONTENT_NAMES[scale.contents[0]]),
        estimates={} if not logs else {"log of times fewer steps": _known(over_seeds(logs))},
        chart=Lines(x_label="step", panels={"actions, from video: accuracy": curves})
        if curves
        else None,
        how_to_read="Linear probe on actions along the way, mean over seeds. Points before the end "
        "are of unfinished trainings, whose learning rate has not come down: that tells against "
        "the arm that is asked how early it reaches the other's last score.",
    )


def _known(estimate: Estimate | None) -> Estimate:
    assert estimate is not None
    return estimate


def _curve(one: ConditionScores) -> list[tuple[float, float]]:
    points = [(float(point.step), point.accuracy) for point in one.milestones]
    last = one.accuracy("actions")
    return points if last is None else [*points, (float(one.steps), last)]


def steps_until(points: list[tuple[float, float]], target: float) -> float | None:
    """The step at which a curve first reaches a score, between points on straight lines.

    Before the first point nothing is known: that point's step is given where it is enough.

    Returns:
        None where no point reaches it.
    """
    before: tuple[float, float] | None = None
    for step, score in points:
        if score >= target:
            if before is None or score == before[1]:
                return step
            return before[0] + (step - before[0]) * (target - before[1]) / (score - before[1])
        before = (step, score)
    return None


def _speed_sentences(logs: Estimate | None, missed: int, content: str) -> tuple[str, ...]:
    sentences = []
    if logs is not None:
        text = (
            f"{content}: hierarchical sampling came to uniform sampling's last score in "
            f"{math.exp(logs.mean):.2f} times fewer steps (goal: 4; geometric mean of "
            f"{len(logs.values)} seeds"
        )
        if logs.has_interval:
            text += f", 95% interval {math.exp(logs.low):.2f} to {math.exp(logs.high):.2f}"
        else:
            text += ": not enough seeds for an interval"
        sentences.append(text + ").")
    if missed:
        sentences.append(
            f"In {missed} of {missed + (0 if logs is None else len(logs.values))} seeds it never "
            "came to it; they are not in the mean, which flatters it."
        )
    return tuple(sentences) or (NOT_MEASURED,)


def guards(evidence: Measurements) -> Answer:
    """Whether the conclusion hangs on a setting, and whether the probe can be believed."""
    world = _world("movies")
    sentences: list[str] = []
    estimates: dict[str, Estimate] = {}
    rows: list[list[str]] = []
    panels: dict[str, list[Interval]] = {}
    for name in ("", *ALTERNATIVES):
        label = f"other {name.replace('_', ' ')}" if name else "as in the study"

        def base(seed: int, name: str = name) -> Condition:
            return uniform(world(seed), alternative=name)

        def other(seed: int, name: str = name) -> Condition:
            return chosen(world(seed), alternative=name)

        for benchmark, sense in SENSES.items():
            found = evidence.difference(base, other, benchmark)
            text = f"{label}, {sense}"
            if name:
                setting = "number of steps" if name == "steps" else name.replace("_", " ")
                what = f"With another {setting}, {sense}: hierarchical sampling"
                sentences.append(finding(what, found, than="uniform sampling"))
                if found is not None:
                    sentences.append(_beside_the_studys_own(evidence, name, benchmark))
            figure = f"gain on movies, {text}" if name else None
            note(found, figure, text, estimates, rows, panels)
    sentences += _shuffled_sentences(evidence, estimates)
    scale = evidence.design.scale
    values = ", ".join(
        f"{name.replace('_', ' ')} {value:g}" for name, value in scale.alternatives.items()
    )
    return Answer(
        question="What if something else had been set, and can the probe be believed?",
        sentences=(
            f"The one other value of each, for both policies: {values}. In place of: temperature "
            f"{scale.temperature:g}, learning rate {scale.learning_rate:g}, steps {scale.steps}. "
            "Probes never see a title that they are tested on: reading a transfer set fails where "
            "a fold has one on both sides, and no transfer title is in any world.",
            *sentences,
        ),
        estimates=estimates,
        table=ResultTable(header=["setting", *DIFFERENCE_HEADER], rows=rows),
        chart=Intervals(panels={"gain on films": panels["all"]}) if panels else None,
        how_to_read="Accuracy of hierarchical minus uniform sampling on films, both trained with "
        "the one changed setting.",
    )


def _beside_the_studys_own(evidence: Measurements, name: str, benchmark: str) -> str:
    """Whether a gain is another than with the study's own setting, in the same seeds.

    The few seeds that have another setting may gain more, or less, than all of them.
    """
    more = []
    for seed in evidence.design.seeds:
        gains = [_gain(evidence, seed, benchmark, setting) for setting in (name, "")]
        if gains[0] is not None and gains[1] is not None:
            more.append(gains[0] - gains[1])
    return "That gain minus the one with the study's own setting, in the same seeds: " + sign(
        over_seeds(more),
        above="it gains more",
        below="it gains less",
        unsure="the two cannot be told apart",
    )


def _gain(evidence: Measurements, seed: int, benchmark: str, alternative: str) -> float | None:
    world = Library(content="movies", seed=seed)
    done = [evidence.of(made(world, alternative=alternative)) for made in (uniform, chosen)]
    scores = [None if one is None else one.accuracy(benchmark) for one in done]
    return None if scores[0] is None or scores[1] is None else scores[1] - scores[0]


def _shuffled_sentences(evidence: Measurements, estimates: dict[str, Estimate]) -> list[str]:
    world = _world(evidence.design.scale.contents[0])
    sentences = []
    for benchmark, sense in SENSES.items():
        above = []
        for seed in evidence.design.seeds:
            # Both arms of a seed are asked about the same labels: together they are one value.
            done = [evidence.of(made(world(seed))) for made in (uniform, chosen)]
            scores = [None if one is None else one.score(benchmark, "shuffled") for one in done]
            each = [score.accuracy - score.chance for score in scores if score is not None]
            above += [sum(each) / len(each)] if each else []
        found = over_seeds(above)
        if found is not None:
            estimates[f"shuffled labels minus chance, {benchmark}"] = found
        sentences.append(
            f"Labels dealt at random, {sense}, minus chance: "
            + sign(
                found,
                above="above chance, so the probe must not be believed",
                below="below chance, where a probe falls that does not see its test: labels are "
                "dealt among a fixed set, so what training has more of, testing has less of",
                unsure="at chance, as it must be",
            )
        )
    return sentences
