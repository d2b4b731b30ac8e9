"""Question 1: how easy the negatives of either policy are."""

from __future__ import annotations

from collections.abc import Callable

from toomuchtv.report.page import ResultTable
from toomuchtv.report.study_figures import Interval, Intervals
from toomuchtv.study.answer import NOT_MEASURED, Answer, sign
from toomuchtv.study.arm import Arm, Content, World
from toomuchtv.study.design import chosen, uniform
from toomuchtv.study.evidence import (
    CONTENT_NAMES,
    Evidence,
)
from toomuchtv.study.scores import ArmScores
from toomuchtv.study.statistics import Estimate, over_seeds

_NEGATIVES = {
    "effective_negatives": "effective negatives",
    "mass_same_title": "mass on the same title",
    "easy_negative_share": "share of easy negatives",
}


_POLICIES = ("uniform", "hierarchical")


def _world(content: Content) -> Callable[[int], World]:
    return lambda seed: World(content=content, seed=seed)


def easy_negatives(evidence: Evidence) -> Answer:
    """Question 1: the same encoders, batches of both policies."""
    sentences: list[str] = []
    estimates: dict[str, Estimate] = {}
    rows: list[list[str]] = []
    panels: dict[str, list[Interval]] = {}
    for content in evidence.design.scale.contents:
        world = _world(content)
        for trained, arm in (("uniformly", uniform), ("hierarchically", chosen)):

            def of_seed(seed: int, made: Callable[[World], Arm] = arm) -> Arm:
                return made(world(seed))  # noqa: B023

            done = evidence.done(of_seed)
            for key, label in _NEGATIVES.items():
                each = {policy: _figures(done, policy, key) for policy in _POLICIES}
                for policy, found in each.items():
                    if found is None:
                        continue
                    even = _figures(done, policy, key, even=True)
                    rows.append(
                        [content, trained, label, policy, f"{found.mean:.3f}",
                         f"{even.mean:.3f}" if even else "-", str(len(found.values))]
                    )  # fmt: skip
                    if trained == "uniformly":
                        panels.setdefault(label, []).append(
                            Interval(name=f"{content}, {policy}", mean=found.mean, low=found.low,
                                     high=found.high)
                        )  # fmt: skip
            if trained == "uniformly":
                sentences.append(_easy_sentence(content, done, estimates))
    return Answer(
        question="Are uniform negatives easy?",
        sentences=tuple(sentences),
        estimates=estimates,
        table=ResultTable(
            header=["content", "encoders trained", "figure", "batch drawn", "mean",
                    "if all were alike", "seeds"],
            rows=rows,
        ),
        chart=Intervals(panels=panels, zero=None) if panels else None,
        how_to_read="Batches of both policies, embedded by the same encoders, those trained "
        "uniformly. Effective negatives: exp of the entropy of the negatives' softmax shares, how "
        "many count. Mass on the same title: what share of the softmax they have; the gradient of "
        "the loss goes by it. 'If all were alike' is what counts of pairs alone would give.",
    )  # fmt: skip


def _figures(
    done: list[ArmScores], policy: str, key: str, *, even: bool = False
) -> Estimate | None:
    values = [(one.even if even else one.negatives).get(policy, {}).get(key) for one in done]
    return over_seeds([value for value in values if value is not None])


def _easy_sentence(content: Content, done: list[ArmScores], estimates: dict[str, Estimate]) -> str:
    both = [one for one in done if set(_POLICIES) <= set(one.negatives)]
    if not both:
        return f"{CONTENT_NAMES[content]}: {NOT_MEASURED}"
    uniform_, hierarchical = (
        [one.negatives[policy]["effective_negatives"] for one in both] for policy in _POLICIES
    )
    more = over_seeds([h - u for u, h in zip(uniform_, hierarchical, strict=True)])
    assert more is not None
    estimates[f"effective negatives, hierarchical minus uniform, {content}"] = more
    even = both[0].even["uniform"]["effective_negatives"]
    share = [
        sum(one.negatives[policy].get("mass_same_title", 0.0) for one in both) / len(both)
        for policy in _POLICIES
    ]
    return (
        f"{CONTENT_NAMES[content]}, encoders trained uniformly: a uniform batch has "
        f"{sum(uniform_) / len(both):.1f} effective negatives of {even:.0f}, with {share[0]:.0%} "
        "of their mass on the same title; a hierarchical batch "
        f"{sum(hierarchical) / len(both):.1f}, with {share[1]:.0%}. "
        + sign(
            more,
            above="Uniform negatives are the easier ones: fewer of them count",
            below="By this count uniform negatives are not the easier ones: more of them count",
            unsure="The two counts cannot be told apart",
        )
    )
