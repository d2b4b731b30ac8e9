"""Scores by rule instead of by training: what answers say of them is known beforehand."""

from __future__ import annotations

from collections.abc import Callable

from experiments.study.condition import Condition
from experiments.study.design import Design, design
from experiments.study.scale import Scale
from experiments.study.scores import ConditionScores, Milestone, Score

SCALE = Scale(
    name="toy",
    items=16,
    steps=80,
    seeds=4,
    side_seeds=3,
    guard_seeds=3,
    map_seeds=2,
    signatures=(0.2, 1.0),
    diversities=(0.2, 0.8),
    milestones=(0.25, 0.5),
)
#: Accuracy on actions of an arm; on sounds it is 0.3 more.
Rule = Callable[[Condition], float]


def study() -> Design:
    return design(SCALE)


def noise(arm: Condition) -> float:
    """Something small that hangs on the arm and its seed, the same in every session."""
    return 0.001 * (sum(map(ord, arm.name)) % 7) + 0.002 * arm.world.seed


def evaluated(arm: Condition, rule: Rule) -> ConditionScores:
    """An arm's scores as the rule has them, one test title being half as good as the other."""
    scores = []
    for benchmark, sense, more in (("actions", "video", 0.0), ("sounds", "audio", 0.3)):
        protocols = ["linear", *(["finetune"] if "finetune" in arm.measures else []),
                     *(["shuffled"] if "shuffled" in arm.measures else [])]  # fmt: skip
        for protocol in protocols:
            accuracy = rule(arm) + more
            if protocol == "shuffled":
                accuracy = 1 / 29 + 0.01 * (-1) ** arm.world.seed + noise(arm) / 100
            scores.append(
                Score(
                    benchmark=benchmark,
                    protocol=protocol,
                    sense=sense,
                    accuracy=accuracy,
                    folds=(accuracy,) * 3,
                    chance=1 / 29,
                    sources={
                        "g01": (100 * accuracy * 4 / 3, 100),
                        "g02": (100 * accuracy * 2 / 3, 100),
                    },
                )
            )
    steps = SCALE.steps_of(arm)
    milestones = [Milestone(step=k * steps // 4, accuracy=rule(arm) * k / 4) for k in (1, 2)]
    effective = {"uniform": 8.0 + noise(arm), "hierarchical": 20.0 + 2 * noise(arm)}
    return ConditionScores(
        arm=arm,
        scores=tuple(scores),
        milestones=tuple(milestones) if "milestones" in arm.measures else (),
        negatives={
            policy: {"effective_negatives": value, "mass_same_title": value / 100,
                     "easy_negative_share": 1 / value, "top1": 1 / value}
            for policy, value in effective.items()
        },
        even={policy: {"effective_negatives": 31.0} for policy in effective},
        steps=steps,
        hours=SCALE.hours,
        core_seconds=1.0,
    )  # fmt: skip


def paper_like(arm: Condition) -> float:
    """Hierarchical is better, on shows by more, with stronger signatures by more; openings hurt."""
    gain = 0.0
    if arm.policy == "hierarchical":
        gain = {"movies": 0.1, "both": 0.12, "shows": 0.2, "clips": 0.0}[arm.world.content]
        gain *= arm.world.signature
        gain -= 0.02 if arm.clips_per_title == 2 else 0.0
        gain -= 0.05 if arm.recurring == "negative" else 0.0
    floor = 0.1 if arm.policy == "untrained" else 0.15
    return floor + gain + noise(arm)


def no_difference(arm: Condition) -> float:
    """Nothing but noise."""
    return 0.15 + (noise(arm) if arm.policy == "uniform" else noise(arm) * (-1) ** arm.world.seed)
