"""Questions 5 to 9: openings, curated clips and other losses, speed, checks, and more data."""

from __future__ import annotations

import math
from statistics import mean

from experiments.study.conditions import (
    ALTERNATIVES,
    CHOSEN_CLIPS,
    LOSSES,
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
    choose,
    compare,
    on_content,
)
from experiments.study.scores import ConditionScores
from experiments.study.statistics import (
    DIFFERENCE_HEADER,
    Estimate,
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


def curated(m: Measurements) -> Findings:
    """Question 6: curated clips, and more complex losses, against films sampled hierarchically."""
    b = FindingsBuilder(["condition", *DIFFERENCE_HEADER])
    others = {"curated clips, uniform": on_content("clips", uniform), "films, uniform": None} | {
        f"films, uniform, {name}": on_content("movies", uniform, loss=name) for name in LOSSES
    }
    for benchmark, name in BENCHMARK_NAMES.items():
        for other, condition in others.items():
            found = m.difference(
                on_content("movies", chosen), condition or on_content("movies", uniform), benchmark
            )
            label = f"{other}: {name}"
            # Films with uniform sampling are shown for comparison; question 2 has that figure.
            if condition is not None:
                than = "films sampled hierarchically with InfoNCE"
                b.sentences.append(compare(label.capitalize(), found, than=than))
            b.add(found, cells=[label], panel="minus hierarchical on films", label=label,
                  estimate=f"{other} minus hierarchical, {benchmark}" if condition else ""
                  )  # fmt: skip
    if not b.estimates:
        b.panels.clear()
    return b.build(
        "Do films, sampled hierarchically, match curated clips of the same duration? Do more "
        "complex losses with uniform sampling match InfoNCE with hierarchical sampling?",
        how_to_read="Accuracy of each condition minus that of films sampled hierarchically with "
        "InfoNCE. Left of the dotted line, the condition is worse. Curated clips are titles of "
        "their own with one event each, balanced over all kinds.",
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


def checks(m: Measurements) -> Findings:
    """Question 8: other settings, and labels in random order."""
    b = FindingsBuilder(["setting", *DIFFERENCE_HEADER])
    size = m.design.size
    values = ", ".join(f"{key.replace('_', ' ')} {x:g}" for key, x in size.alternatives.items())
    b.sentences.append(
        f"Each setting has one alternative value for both policies: {values}, instead of "
        f"temperature {size.temperature:g}, learning rate {size.learning_rate:g}, steps "
        f"{size.steps}. Probes never train on a title that they are tested on: reading a transfer "
        "set fails if a fold has a title on both sides, and no library has a transfer title."
    )
    for name in ("", *ALTERNATIVES):
        words = "number of steps" if name == "steps" else name.replace("_", " ")
        label = f"other {words}" if name else "as in the study"
        base = on_content("movies", uniform, alternative=name)
        hierarchical = on_content("movies", chosen, alternative=name)
        for benchmark, benchmark_name in BENCHMARK_NAMES.items():
            found = m.difference(base, hierarchical, benchmark)
            text = f"{label}, {benchmark_name}"
            b.add(found, cells=[text], panel="gain on films", label=text,
                  estimate=f"gain on movies, {text}" if name else "")  # fmt: skip
            if name:
                what = f"With another {words}, {benchmark_name}: hierarchical sampling"
                b.sentences.append(compare(what, found, than="uniform sampling"))
            if name and found is not None:
                # The few seeds with an alternative setting may differ from the other seeds, so
                # the gain is compared with the usual one in the same seeds.
                usual = m.gains(
                    on_content("movies", uniform), on_content("movies", chosen), benchmark
                )
                other = m.gains(base, hierarchical, benchmark)
                more = over_seeds([other[seed] - usual[seed] for seed in other if seed in usual])
                b.sentences.append(
                    "That gain minus the gain with the study's own setting in the same seeds: "
                    + choose(more, above="it is larger", below="it is smaller",
                             unclear="the two do not differ clearly")
                )  # fmt: skip
    for benchmark, benchmark_name in BENCHMARK_NAMES.items():
        above = _shuffled_minus_chance(m, benchmark)
        if above is not None:
            b.estimates[f"shuffled labels minus chance, {benchmark}"] = above
        text = choose(
            above,
            above="above chance, so the probe cannot be trusted",
            below="below chance, as expected of a probe that does not see its test labels: labels "
            "are permuted within a fixed set, so a class that is more frequent in training is "
            "less frequent in testing",
            unclear="at chance, as it must be",
        )
        b.sentences.append(f"Shuffled labels, {benchmark_name}, minus chance: {text}")
    return b.build(
        "Do the conclusions depend on a setting, and can the probe be trusted?",
        how_to_read="Accuracy with hierarchical minus accuracy with uniform sampling on films, "
        "both trained with the changed setting.",
    )


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


def _shuffled_minus_chance(m: Measurements, benchmark: str) -> Estimate | None:
    content, above = m.design.size.contents[0], []
    for seed in m.design.seeds:
        # Both conditions of a seed are tested on the same labels, so they count as one value.
        finished = [m.of(on_content(content, policy)(seed)) for policy in (uniform, chosen)]
        scores = [one.score(benchmark, "shuffled") for one in finished if one is not None]
        values = [score.accuracy - score.chance for score in scores if score is not None]
        above += [mean(values)] if values else []
    return over_seeds(above)
