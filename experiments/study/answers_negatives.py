"""Question 1: how easy the negatives of either policy are."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean

from experiments.study.answer import NOT_MEASURED, Answer, sign
from experiments.study.charts import Interval, Intervals
from experiments.study.condition import Condition, Content, Library
from experiments.study.design import chosen, uniform
from experiments.study.measurements import (
    CONTENT_NAMES,
    Measurements,
)
from experiments.study.scores import ConditionScores
from experiments.study.statistics import Estimate, over_seeds
from toomuchtv.reports.page import ResultTable

_NEGATIVES = {
    "effective_negatives": "effective negatives",
    "mass_same_title": "mass on the same title",
    "easy_negative_share": "share of easy negatives",
    "top1": "own moment nearest",
}


_POLICIES = ("uniform", "hierarchical")


def _world(content: Content) -> Callable[[int], Library]:
    return lambda seed: Library(content=content, seed=seed)


def easy_negatives(evidence: Measurements) -> Answer:
    """Question 1: the same encoders, batches of both policies."""
    sentences: list[str] = []
    estimates: dict[str, Estimate] = {}
    rows: list[list[str]] = []
    panels: dict[str, list[Interval]] = {}
    for content in evidence.design.scale.contents:
        world, on = _world(content), CONTENT_NAMES[content].lower()
        for trained, arm in (("uniformly", uniform), ("hierarchically", chosen)):

            def of_seed(seed: int, made: Callable[[Library], Condition] = arm) -> Condition:
                return made(world(seed))  # noqa: B023

            done = evidence.done(of_seed)
            for key, label in _NEGATIVES.items():
                each = {policy: _figures(done, policy, key) for policy in _POLICIES}
                for policy, found in each.items():
                    if found is None:
                        continue
                    even = _figures(done, policy, key, even=True)
                    rows.append(
                        [on, trained, label, policy, f"{found.mean:.3f}",
                         f"{even.mean:.3f}" if even else "-", str(len(found.values))]
                    )  # fmt: skip
                    if trained == "uniformly":
                        panels.setdefault(label, []).append(
                            Interval(name=f"{on}, {policy}", mean=found.mean, low=found.low,
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
        "the loss goes by it. Own moment nearest: how often a clip's own sound (or picture) is "
        "nearer than all negatives; the more often, the easier they are. 'If all were alike' is "
        "what counts of pairs alone would give.",
    )  # fmt: skip


def _figures(
    done: list[ConditionScores], policy: str, key: str, *, even: bool = False
) -> Estimate | None:
    values = [(one.even if even else one.negatives).get(policy, {}).get(key) for one in done]
    return over_seeds([value for value in values if value is not None])


def _easy_sentence(
    content: Content, done: list[ConditionScores], estimates: dict[str, Estimate]
) -> str:
    both = [one for one in done if set(_POLICIES) <= set(one.negatives)]
    if not both:
        return f"{CONTENT_NAMES[content]}: {NOT_MEASURED}"
    count, share, nearest = (
        {policy: [one.negatives[policy].get(key, 0.0) for one in both] for policy in _POLICIES}
        for key in ("effective_negatives", "mass_same_title", "top1")
    )
    more, less = _difference(count), _difference(nearest)
    estimates[f"effective negatives, hierarchical minus uniform, {content}"] = more
    estimates[f"own moment nearest, hierarchical minus uniform, {content}"] = less
    even = both[0].even["uniform"]["effective_negatives"]
    return (
        f"{CONTENT_NAMES[content]}, encoders trained uniformly: a uniform batch has "
        f"{mean(count['uniform']):.1f} effective negatives of {even:.0f}, with "
        f"{mean(share['uniform']):.0%} of their mass on the same title; a hierarchical batch "
        f"{mean(count['hierarchical']):.1f}, with {mean(share['hierarchical']):.0%}. "
        + sign(
            more,
            above="Uniform negatives are the easier ones: fewer of them count",
            below="By this count uniform negatives are not the easier ones: more of them count",
            unsure="The two counts cannot be told apart",
        )
        + f" The own moment is nearer than all negatives in {mean(nearest['uniform']):.0%} of the "
        f"rows of a uniform batch and {mean(nearest['hierarchical']):.0%} of a hierarchical one. "
        + sign(
            less,
            above="By this uniform negatives are the harder ones",
            below="By this uniform negatives are the easier ones",
            unsure="By this the two cannot be told apart",
        )
    )


def _difference(values: dict[str, list[float]]) -> Estimate:
    """Hierarchical minus uniform, of the same encoders."""
    pairs = zip(values["uniform"], values["hierarchical"], strict=True)
    found = over_seeds([second - first for first, second in pairs])
    assert found is not None
    return found
