"""Questions 5, 7 and 9: openings, speed, and more data."""

from __future__ import annotations

import math
from statistics import mean

from experiments.study.conditions import (
    CHOSEN_CLIPS,
    Library,
    chosen,
    opening_conditions,
    uniform,
)
from experiments.study.findings import (
    BENCHMARK_NAMES,
    CONTENT_NAMES,
    NOT_MEASURED,
    Findings,
    FindingsBuilder,
    compare,
    on_content,
)
from experiments.study.scores import ConditionScores
from experiments.study.statistics import (
    DIFFERENCE_HEADER,
    Measurements,
    OfSeed,
    over_seeds,
)
from toomuchtv.reports.charts import COLORS, Curve, draw_curves


def openings(m: Measurements) -> Findings:
    """Question 5: pairs of one opening as negatives, or ignored."""
    b = FindingsBuilder(["score", *DIFFERENCE_HEADER])
    size = m.design.size
    b.sentences.append(
        "The openings of these shows take a third of each episode, and all 4 episodes of a show "
        "are in one batch, so that clips of the same opening meet. The recurring parts are "
        "detected by `toomuchtv prepare`."
    )
    for benchmark, name in BENCHMARK_NAMES.items():
        found = m.difference(
            lambda seed: opening_conditions(size, seed)[1],
            lambda seed: opening_conditions(size, seed)[0],
            benchmark,
        )
        what = f"{name.capitalize()}: ignoring pairs of the same opening or credits"
        b.sentences.append(compare(what, found, than="using them as negatives"))
        b.add(found, cells=[name], panel="gain of ignoring", label=name,
              estimate=f"ignoring openings, {benchmark}")  # fmt: skip
    return b.build(
        "Are recurring openings harmful as false negatives, and does ignoring them help?",
        how_to_read="Accuracy with such pairs ignored minus accuracy with them as negatives.",
    )


def steps_to_score(m: Measurements) -> Findings:
    """Question 7: how many times fewer steps hierarchical sampling needs."""
    b = FindingsBuilder([])
    size, content = m.design.size, m.design.size.contents[0]
    curves, logs, missed = [], [], 0
    for name, policy, color in (("uniform", uniform, 1), ("hierarchical", chosen, 2)):
        finished = m.finished(on_content(content, policy))
        lines = [_curve(one) for one in finished if one.milestones]
        if lines:
            steps = [step for step, _ in lines[0]]
            values = [mean(line[k][1] for line in lines) for k in range(len(steps))]
            curves.append(Curve(name=name, x=steps, y=values, color=COLORS[color]))
    targets = m.accuracies(on_content(content, uniform))
    for one in m.finished(on_content(content, chosen)):
        seed = one.condition.library.seed
        if seed not in targets or not one.milestones:
            continue
        needed = steps_until(_curve(one), targets[seed])
        if needed is None:
            missed += 1
        else:
            logs.append(math.log(size.steps / needed))
    found = over_seeds(logs)
    if found is not None:
        b.estimates["log of times fewer steps"] = found
        interval = "; there are not enough seeds for an interval"
        if found.has_interval:
            low, high = math.exp(found.low), math.exp(found.high)
            interval = f", 95% interval {low:.2f} to {high:.2f}"
        b.sentences.append(
            f"{CONTENT_NAMES[content]}: hierarchical sampling reached the final score of uniform "
            f"sampling in {math.exp(found.mean):.2f} times fewer steps (goal: 4; geometric mean of "
            f"{len(logs)} seeds{interval})."
        )
    if missed:
        b.sentences.append(
            f"In {missed} of {missed + len(logs)} seeds it never reached that score. These seeds "
            "are not in the mean, which makes the mean too optimistic."
        )

    def draw() -> bytes:
        ((png, _),) = draw_curves({"actions, from video: accuracy": curves}, x_label="step")
        return png

    return b.build(
        "How many times fewer steps are needed for a given transfer score?",
        draw_chart=draw if curves else None,
        how_to_read="Linear probe on actions during training, mean over seeds. Points before the "
        "end come from unfinished trainings, whose learning rate has not decayed. This is a "
        "disadvantage for the condition that must reach the other's final score early.",
    )


def _curve(one: ConditionScores) -> list[tuple[float, float]]:
    points = [(float(point.step), point.accuracy) for point in one.milestones]
    last = one.accuracy("actions")
    return points if last is None else [*points, (float(one.steps), last)]


def steps_until(points: list[tuple[float, float]], target: float) -> float | None:
    """Return the step at which a piecewise linear curve first reaches a score, or None.

    If the first point already reaches it, its step is returned.
    """
    before: tuple[float, float] | None = None
    for step, score in points:
        if score >= target:
            if before is None or score == before[1]:
                return step
            return before[0] + (step - before[0]) * (target - before[1]) / (score - before[1])
        before = (step, score)
    return None


def more_data(m: Measurements) -> Findings:
    """Question 9: more hours with uniform sampling, against hierarchical sampling of shows."""
    b = FindingsBuilder(["condition", *DIFFERENCE_HEADER])
    size = m.design.size
    for k in sorted({CHOSEN_CLIPS, *size.clips_per_title}):
        for scale in size.data_scales:
            found = m.difference(
                on_content("shows", chosen, clips_per_title=k), _uniform_on_more_hours(scale)
            )
            if found is None:
                continue
            what = f"uniform, {scale} times the hours"
            than = f"k={k} and the usual hours"
            b.sentences.append(compare(f"Shows, {what}", found, than=than))
            b.add(found, cells=[f"{what} - k={k}"], panel=f"minus k={k}", label=what,
                  estimate=f"shows, {what} minus k={k}")  # fmt: skip
    if not b.sentences:
        b.sentences.append(NOT_MEASURED)
    return b.build(
        "Does better sampling of shows replace more data?",
        how_to_read="Linear probe on actions, from video: accuracy with uniform sampling of more "
        "hours, minus accuracy with k clips per title of shows of the usual hours, for equal "
        "steps. Left of the dotted line, hierarchical sampling is better.",
    )


def _uniform_on_more_hours(scale: int) -> OfSeed:
    return lambda seed: uniform(Library(content="shows", seed=seed, scale=scale))
