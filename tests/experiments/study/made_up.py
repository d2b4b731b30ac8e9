"""Scores that follow a rule instead of a training, so that the right findings are known."""

from __future__ import annotations

from collections.abc import Callable

from experiments.study.conditions import Condition, Design, design, steps_of
from experiments.study.scores import ConditionScores, Milestone, Score, WhyPoint
from experiments.study.size import FULL, StudySize

#: The settings of the variants that depend on the size.
_SETTINGS = {"steps-x2": ("training.steps=160",)}
SIZE = StudySize(
    name="toy",
    items=16,
    steps=80,
    seeds=4,
    side_seeds=3,
    map_seeds=2,
    signatures=(0.2, 1.0),
    diversities=(0.2, 0.8),
    milestones=(0.25, 0.5),
    variants=tuple(
        one.model_copy(update={"seeds": 3, "settings": _SETTINGS.get(one.name, one.settings)})
        for one in FULL.variants
    ),
)
#: Returns a condition's accuracy on actions; on sounds it is 0.3 more.
Rule = Callable[[Condition], float]


def study() -> Design:
    return design(SIZE)


def noise(condition: Condition) -> float:
    """Return a small deterministic number that depends on the condition and its seed."""
    return 0.001 * (sum(map(ord, condition.name)) % 7) + 0.002 * condition.library.seed


def evaluated(condition: Condition, rule: Rule) -> ConditionScores:
    """Return a condition's scores by the rule; one test title is half as good as the other."""
    scores = []
    for benchmark, modality, more in (("actions", "video", 0.0), ("sounds", "audio", 0.3)):
        protocols = ["linear", *(["finetune"] if "finetune" in condition.measures else []),
                     *(["shuffled"] if "shuffled" in condition.measures else [])]  # fmt: skip
        for protocol in protocols:
            accuracy = rule(condition) + more
            if protocol == "shuffled":
                accuracy = 1 / 29 + 0.01 * (-1) ** condition.library.seed + noise(condition) / 100
            scores.append(
                Score(
                    benchmark=benchmark,
                    protocol=protocol,
                    modality=modality,
                    accuracy=accuracy,
                    folds=(accuracy,) * 3,
                    chance=1 / 29,
                    sources={
                        "g01": (100 * accuracy * 4 / 3, 100),
                        "g02": (100 * accuracy * 2 / 3, 100),
                    },
                )
            )
    steps = steps_of(SIZE, condition)
    milestones = [Milestone(step=k * steps // 4, accuracy=rule(condition) * k / 4) for k in (1, 2)]
    effective = {"uniform": 8.0 + noise(condition), "hierarchical": 20.0 + 2 * noise(condition)}
    return ConditionScores(
        condition=condition,
        scores=tuple(scores),
        milestones=tuple(milestones) if "milestones" in condition.measures else (),
        why=what_is_known(condition, rule) if "why" in condition.measures else (),
        negatives={
            policy: {"effective_negatives": value, "mass_same_title": value / 100,
                     "easy_negative_share": 1 / value, "top1": 1 / value}
            for policy, value in effective.items()
        },
        even={policy: {"effective_negatives": 31.0} for policy in effective},
        steps=steps,
        hours=SIZE.hours,
        core_seconds=1.0,
        seconds_per_step={"untrained": None, "uniform": 0.2}.get(condition.policy, 0.1),
    )  # fmt: skip


def what_is_known(condition: Condition, rule: Rule) -> tuple[WhyPoint, ...]:
    """Titles are known early and equally for all policies, and actions grow by the rule."""
    steps = steps_of(SIZE, condition)
    points = []
    for share in (0.25, 0.5, 1.0) if steps else (0.0,):
        actions = rule(condition) * share if steps else 0.02
        title = 0.3 + 0.6 * (share > 0) + noise(condition)
        accuracy = {"title_video": title, "title_audio": title - 0.1, "title_palette": title,
                    "title_music": title, "actions": actions, "sounds": actions + 0.01}  # fmt: skip
        points.append(
            WhyPoint(step=round(share * steps), accuracy=accuracy,
                     chance=dict.fromkeys(accuracy, 1 / 16))
        )  # fmt: skip
    return tuple(points)


def paper_like(condition: Condition) -> float:
    """Hierarchical sampling is better, most on shows and with strong signatures; openings hurt."""
    gain = 0.0
    if condition.policy == "hierarchical":
        gain = {"movies": 0.1, "both": 0.12, "shows": 0.2, "clips": 0.0}[condition.library.content]
        gain *= condition.library.signature
        gain -= 0.02 if condition.clips_per_title == 2 else 0.0
        gain -= 0.05 if condition.recurring == "negative" else 0.0
    floor = 0.1 if condition.policy == "untrained" else 0.15
    return floor + gain + noise(condition)


def no_difference(condition: Condition) -> float:
    """There is nothing but noise."""
    return 0.15 + (
        noise(condition)
        if condition.policy == "uniform"
        else noise(condition) * (-1) ** condition.library.seed
    )
