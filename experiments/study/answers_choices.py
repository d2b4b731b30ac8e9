"""Questions 5 and 6: recurring openings, curated clips, complex losses."""

from __future__ import annotations

from collections.abc import Callable

from experiments.study.answer import Answer, finding, note
from experiments.study.charts import Interval, Intervals
from experiments.study.condition import Content, Library
from experiments.study.design import LOSSES, chosen, opening_arms, uniform
from experiments.study.measurements import (
    DIFFERENCE_HEADER,
    SENSES,
    Measurements,
    OfSeed,
)
from experiments.study.statistics import Estimate
from toomuchtv.reports.page import ResultTable

#: What question 2 compares already.
_PLAIN = "films, uniform"


def _world(content: Content) -> Callable[[int], Library]:
    return lambda seed: Library(content=content, seed=seed)


def openings(evidence: Measurements) -> Answer:
    """Question 5."""
    scale = evidence.design.scale

    def arm(index: int) -> OfSeed:
        return lambda seed: opening_arms(scale, seed)[index]

    sentences: list[str] = []
    estimates: dict[str, Estimate] = {}
    rows: list[list[str]] = []
    panels: dict[str, list[Interval]] = {}
    for benchmark, label in SENSES.items():
        found = evidence.difference(arm(1), arm(0), benchmark)
        sentences.append(
            finding(
                f"{label.capitalize()}: ignoring pairs of one opening or credits",
                found,
                than="taking them as negatives",
            )
        )
        note(found, f"ignoring openings, {benchmark}", label, estimates, rows, panels)
    return Answer(
        question="What do recurring openings do as false negatives, and does ignoring them help?",
        sentences=(
            "Shows whose openings take a third of each episode, all 4 episodes of one in a batch, "
            "so that two clips of one opening do meet; recurring parts are found by `prepare`, not "
            "told.",
            *sentences,
        ),
        estimates=estimates,
        table=ResultTable(header=["", *DIFFERENCE_HEADER], rows=rows),
        chart=Intervals(panels={"gain of ignoring": panels["all"]}) if panels else None,
        how_to_read="Accuracy with such pairs ignored minus accuracy with them as negatives.",
    )


def curated(evidence: Measurements) -> Answer:
    """Question 6."""
    movies = _world("movies")
    others: dict[str, OfSeed] = {
        "curated clips, uniform": lambda seed: uniform(Library(content="clips", seed=seed)),
        _PLAIN: lambda seed: uniform(movies(seed)),
    }
    for name in LOSSES:
        others[f"films, uniform, {name}"] = _loss_named(name)
    sentences: list[str] = []
    estimates: dict[str, Estimate] = {}
    rows: list[list[str]] = []
    panels: dict[str, list[Interval]] = {}
    for benchmark, sense in SENSES.items():
        for name, other in others.items():
            found = evidence.difference(lambda seed: chosen(movies(seed)), other, benchmark)
            label = f"{name}: {sense}"
            if name != _PLAIN:
                sentences.append(
                    finding(
                        label.capitalize(),
                        found,
                        than="films sampled hierarchically, simple loss",
                    )
                )
            figure = None if name == _PLAIN else f"{name} minus hierarchical, {benchmark}"
            note(found, figure, label, estimates, rows, panels)
    return Answer(
        question="Does uncurated film, sampled this way, match curated clips of as many hours? Do "
        "more complex losses, trained uniformly, match the simple one trained hierarchically?",
        sentences=tuple(sentences),
        estimates=estimates,
        table=ResultTable(header=["arm", *DIFFERENCE_HEADER], rows=rows),
        # Without estimates there is only what question 2 has.
        chart=Intervals(panels={"minus hierarchical on films": panels["all"]})
        if estimates
        else None,
        how_to_read="Accuracy of each arm minus that of films sampled hierarchically with the "
        "simple loss. Left of the dotted line, the arm falls short of it. Curated clips are "
        "titles of their own, one event each, all kinds alike often.",
    )


def _loss_named(name: str) -> OfSeed:
    return lambda seed: uniform(Library(content="movies", seed=seed), loss=name)
