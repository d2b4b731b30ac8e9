"""Questions 7 and 9: how fast each policy learns, and what it learns first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from statistics import mean

from experiments.study.charts import Band, draw_bands
from experiments.study.conditions import (
    CHOSEN_CLIPS,
    Condition,
    Library,
    chosen,
    followed_clips,
    followed_content,
    uniform,
)
from experiments.study.findings import (
    CONTENT_NAMES,
    NOT_MEASURED,
    Findings,
    FindingsBuilder,
    Sentence,
    choose,
    on_content,
)
from experiments.study.scores import ConditionScores
from experiments.study.size import Content
from experiments.study.statistics import Estimate, Measurements, OfSeed, over_seeds
from experiments.study.title_probes import PROBES
from toomuchtv.reports.charts import COLORS

#: Accuracies by step, of one seed.
Points = list[tuple[float, float]]

_POLICY_COLORS = (COLORS[1], COLORS[2], COLORS[3])


def _policies(content: Content, ks: Sequence[int]) -> dict[str, OfSeed]:
    """Return uniform sampling and the given k on a content, by the names that charts show."""
    return {"uniform": on_content(content, uniform)} | {
        f"k={k}": on_content(content, chosen, clips_per_title=k) for k in ks
    }


def steps_to_score(m: Measurements) -> Findings:
    """Question 7: how many times fewer steps, and how much less time, hierarchical sampling needs.

    It is asked where the scores along the way are known: for every followed k on the followed
    content, and for the usual k on the first content.
    """
    b = FindingsBuilder(
        ["condition", "times fewer steps", "95%", "times less training time", "95%", "seeds",
         "never reached"]
    )  # fmt: skip
    size, followed = m.design.size, followed_content(m.design.size)
    panels: dict[str, list[Band]] = {}
    for content in dict.fromkeys((size.contents[0], followed)):
        ks = followed_clips(size) if content == followed else (CHOSEN_CLIPS,)
        policies = _policies(content, ks)
        bands = _bands(m, policies, lambda one: _curve(one) if one.milestones else [])
        if bands:
            panels[f"{CONTENT_NAMES[content].lower()}: accuracy on actions"] = bands
        for name in list(policies)[1:]:
            _add_speed(b, m, content, name, policies)
    return b.build(
        "How many times fewer steps are needed for a given transfer score?",
        draw_chart=partial(draw_bands, panels, x_label="step") if panels else None,
        how_to_read="Linear probe on actions, from video, during training: mean over seeds, and "
        "the range of the seeds. Points before the end come from unfinished trainings, whose "
        "learning rate has not decayed. This is a disadvantage for the condition that must reach "
        "the other's final score early. Training time is the number of steps times the median "
        "time of a step of that condition, without starting, checkpoints and probes; conditions "
        "that ran at the same time on one machine slow each other down.",
    )


def _curve(one: ConditionScores) -> Points:
    points = [(float(point.step), point.accuracy) for point in one.milestones]
    last = one.accuracy("actions")
    return points if last is None else [*points, (float(one.steps), last)]


def _bands(
    m: Measurements, policies: dict[str, OfSeed], points: Callable[[ConditionScores], Points]
) -> list[Band]:
    """Return one band per policy: mean, lowest and highest of the seeds by step."""
    bands = []
    for (name, condition), color in zip(policies.items(), _POLICY_COLORS, strict=False):
        lines = [line for line in map(points, m.finished(condition)) if line]
        steps = [step for step, _ in lines[0]] if lines else []
        columns = [
            [accuracy for line in lines for at, accuracy in line if at == step] for step in steps
        ]
        if columns:
            bands.append(
                Band(
                    name=name,
                    color=color,
                    x=steps,
                    mean=[mean(values) for values in columns],
                    low=[min(values) for values in columns],
                    high=[max(values) for values in columns],
                )
            )
    return bands


def _add_speed(
    b: FindingsBuilder, m: Measurements, content: Content, name: str, policies: dict[str, OfSeed]
) -> None:
    """Add how many times faster a policy reaches the final score of uniform sampling."""
    steps, times, missed, early = _speeds(m, policies["uniform"], policies[name])
    found, in_time = over_seeds(steps), over_seeds(times)
    count = f"{len(steps)} of {len(steps) + missed} seeds"
    label = f"{CONTENT_NAMES[content]}, {name}"
    if found is not None:
        b.estimates[f"log of times fewer steps, {content}, {name}"] = found
        text = (
            f"{label}: the final score of uniform sampling was reached in {_times(found)} times "
            f"fewer steps (goal: 4; geometric mean of {count}{_interval(found)})"
        )
        if in_time is not None:
            b.estimates[f"log of times less training time, {content}, {name}"] = in_time
            text += f", and in {_times(in_time)} times less training time{_interval(in_time)}"
        b.sentences.append(text + ".")
        cells = [*_cells(found), *_cells(in_time)]
        b.rows.append([label.lower(), *cells, str(len(steps)), str(missed)])
    if early:
        b.sentences.append(
            f"{label}: in {early} of {len(steps)} seeds the first probe had reached it already, so "
            "that the number may be too small."
        )
    trivial = _reached_by_random_weights(m, content, policies["uniform"])
    if trivial and found is not None:
        b.sentences.append(
            f"{label}: in {trivial} of {len(steps) + missed} seeds, random weights already have "
            "the final score of uniform sampling, so that the number says little."
        )
    if missed:
        b.sentences.append(
            f"{label}: in {missed} of {missed + len(steps)} seeds it never reached that score. "
            "These seeds are not in the mean, which makes the mean too optimistic."
        )
    if found is None and not missed:
        b.sentences.append(f"{label}: {NOT_MEASURED[0].lower()}{NOT_MEASURED[1:]}")


def _reached_by_random_weights(m: Measurements, content: Content, base: OfSeed) -> int:
    """Return the number of seeds in which random weights score as a trained condition does."""
    fresh = m.accuracies(
        lambda seed: Condition(library=Library(content=content, seed=seed), policy="untrained")
    )
    trained = m.accuracies(base)
    return sum(fresh[seed] >= trained[seed] for seed in fresh if seed in trained)


def _speeds(
    m: Measurements, base: OfSeed, other: OfSeed
) -> tuple[list[float], list[float], int, int]:
    """Return the logs of how many times fewer steps and less time a condition needs, by seed.

    Returns:
        The logs for steps and for training time, the number of seeds that never reached the score,
        and the number that had reached it at the first probe.
    """
    steps, times, missed, early = [], [], 0, 0
    for seed in m.design.seeds:
        one, usual = m.of(other(seed)), m.of(base(seed))
        target = None if usual is None else usual.accuracy("actions")
        if one is None or usual is None or target is None or not one.milestones:
            continue
        needed = steps_until(_curve(one), target)
        if needed is None:
            missed += 1
            continue
        early += needed == one.milestones[0].step
        steps.append(math.log(usual.steps / needed))
        if one.seconds_per_step and usual.seconds_per_step:
            times.append(steps[-1] + math.log(usual.seconds_per_step / one.seconds_per_step))
    return steps, times, missed, early


def _times(log: Estimate) -> str:
    return f"{math.exp(log.mean):.2f}"


def _cells(log: Estimate | None) -> list[str]:
    """Return the cells of a table with a factor and its interval."""
    if log is None:
        return ["-", "-"]
    if not log.has_interval:
        return [_times(log), "one seed: none"]
    return [_times(log), f"{math.exp(log.low):.2f} to {math.exp(log.high):.2f}"]


def _interval(log: Estimate) -> str:
    if not log.has_interval:
        return "; there are not enough seeds for an interval"
    return f", 95% interval {math.exp(log.low):.2f} to {math.exp(log.high):.2f}"


def steps_until(points: Points, target: float) -> float | None:
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


def why(m: Measurements) -> Findings:
    """Question 9: what the encoders of each policy know of titles and of events, by step."""
    size = m.design.size
    content = followed_content(size)
    on = CONTENT_NAMES[content].lower()
    policies = _policies(content, followed_clips(size))
    b = FindingsBuilder(["policy", "step", *PROBES.values(), "seeds"])
    panels = {}
    for probe, label in PROBES.items():
        bands = _bands(m, policies, partial(_learned, m, probe))
        if bands:
            panels[label] = [*bands, *_guessing(m, policies, probe)]
    for name, condition in policies.items():
        b.rows += [[*row] for row in _rows(m, name, condition)]
    if panels:
        b.sentences += _order_sentences(m, b.estimates, policies["uniform"])
        b.sentences += _end_sentences(m, b.estimates, policies)
    return b.build(
        f"Why? What does each policy learn first, and what later ({on})?",
        draw_chart=partial(draw_bands, panels, x_label="step") if panels else None,
        how_to_read=f"Accuracy of linear probes on the features of both encoders, on {on}: "
        "mean over seeds, and the range of the seeds. Step 0 is "
        "random weights. Titles are those of the training library. The probe is fitted to the "
        "first two fifths of every item and tested on the last two fifths, and the other way "
        "around. For the palette, the pixels of each frame are in random positions. For the theme "
        "music, the audio is the rendered music of each title without any other sound; two bars "
        "of it are for fitting, and the other two are for testing. Events are the transfer sets, "
        "from titles that no library has.",
    )


def _untrained(m: Measurements, seed: int) -> ConditionScores | None:
    content = followed_content(m.design.size)
    library = Library(content=content, seed=seed)
    return m.of(Condition(library=library, policy="untrained"))


def _learned(m: Measurements, probe: str, one: ConditionScores) -> Points:
    """Return the accuracies of a probe by step, from random weights of the same seed on."""
    start = _untrained(m, one.condition.library.seed)
    points = [*(start.why if start is not None else ()), *one.why]
    return [(float(at.step), at.accuracy[probe]) for at in points if probe in at.accuracy]


def _guessing(m: Measurements, policies: dict[str, OfSeed], probe: str) -> list[Band]:
    """Return the accuracy of guessing as a flat line from step 0 to the end."""
    finished = [one for condition in policies.values() for one in m.finished(condition)]
    points = [at for one in finished for at in one.why if probe in at.chance]
    if not points:
        return []
    chance = [mean(at.chance[probe] for at in points)] * 2
    end = max(float(at.step) for at in points)
    return [Band(name="guessing", color=COLORS[0], x=[0.0, end], mean=chance, low=chance,
                 high=chance)]  # fmt: skip


def _rows(m: Measurements, name: str, condition: OfSeed) -> list[list[str]]:
    finished = [one for one in m.finished(condition) if one.why]
    lines = {probe: [_learned(m, probe, one) for one in finished] for probe in PROBES}
    steps = sorted({step for found in lines.values() for line in found for step, _ in line})
    rows = []
    for step in steps:
        if step == 0 and name != "uniform":  # The random weights are the same.
            continue
        cells = []
        for found in lines.values():
            values = [value for line in found for at, value in line if at == step]
            spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
            cells.append(f"{mean(values):.3f}{spread}" if values else "-")
        shown = name if step else "random weights"
        rows.append([shown, f"{step:.0f}", *cells, str(len(finished))])
    return rows


def _gains(m: Measurements, condition: OfSeed, probe: str) -> dict[int, list[float]]:
    """Return the accuracies of a probe minus that of random weights, by step and by seed."""
    found = {}
    for one in m.finished(condition):
        line = _learned(m, probe, one)
        if len(line) > 1 and line[0][0] == 0:
            found[one.condition.library.seed] = [value - line[0][1] for _, value in line[1:]]
    return found


def _order_sentences(
    m: Measurements, estimates: dict[str, Estimate], uniform_condition: OfSeed
) -> list[str | Sentence]:
    """State whether uniform sampling learns titles before events, and whether events follow.

    The mean over all probes is larger for what is learned earlier.
    """
    sentences = []
    for modality, title, event in (
        ("video", "title_video", "actions"),
        ("audio", "title_audio", "sounds"),
    ):
        titles, events = (_gains(m, uniform_condition, probe) for probe in (title, event))
        more = over_seeds([mean(titles[seed]) - mean(events[seed]) for seed in titles
                           if seed in events])  # fmt: skip
        last = over_seeds([gains[-1] for gains in events.values()])
        if more is not None:
            estimates[f"why, uniform: mean gain, {title} minus {event}"] = more
        if last is not None:
            estimates[f"why, uniform: gain at the end, {event}"] = last
        sentences.append(
            f"Uniform sampling, {modality}, mean gain over random weights during the training, "
            "title accuracy minus event accuracy: "
            + choose(more, above="titles are learned first", below="events are learned first",
                     unclear="there is no clear order")
            + " Gain in event accuracy at the end: "
            + choose(last, above="it does not stay there, because events are learned too",
                     below="events are recognized less often than by random weights",
                     unclear="it stays there, as far as is seen")
        )  # fmt: skip
    return sentences


def _end_sentences(
    m: Measurements, estimates: dict[str, Estimate], policies: dict[str, OfSeed]
) -> list[str | Sentence]:
    """State what the encoders of the largest k know at the end, against uniform ones."""
    name = list(policies)[-1]
    sentences = []
    for probe, label in PROBES.items():
        sides = [
            {one.condition.library.seed: one.why[-1].accuracy[probe]
             for one in m.finished(condition) if one.why and probe in one.why[-1].accuracy}
            for condition in (policies["uniform"], policies[name])
        ]  # fmt: skip
        found = over_seeds([sides[1][seed] - sides[0][seed] for seed in sides[0]
                            if seed in sides[1]])  # fmt: skip
        if found is not None:
            estimates[f"why, {name} minus uniform at the end, {probe}"] = found
        sentences.append(
            f"At the end, {name} minus uniform sampling, {label}: "
            + choose(found, above="higher", below="lower", unclear="no clear difference")
        )
    return sentences
