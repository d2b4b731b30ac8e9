"""What an answer is, and sentences that say what figures say, in whichever direction they point."""

from __future__ import annotations

from dataclasses import dataclass, field

from experiments.study.charts import Chart, Interval
from experiments.study.measurements import Difference
from experiments.study.statistics import Estimate
from toomuchtv.reports.page import ResultTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A question, what was found, and where to see it.

    Attributes:
        question: As a person asks it.
        sentences: The answer.
        estimates: The figures that it rests on, by name: what a second study must agree with.
        table: All of them.
        chart: The figure; None where nothing was measured.
        how_to_read: What the figure shows.
    """

    question: str
    sentences: tuple[str, ...]
    estimates: dict[str, Estimate] = field(default_factory=dict)
    table: ResultTable | None = None
    chart: Chart | None = None
    how_to_read: str = ""


NOT_MEASURED = "Not measured in this run."


def finding(what: str, difference: Difference | None, *, than: str) -> str:
    """Say whether something scores higher or lower, or that it cannot be said.

    Args:
        what: What scores, as `hierarchical sampling on films`.
        difference: Of it and what it is compared with.
        than: What it is compared with.
    """
    if difference is None:
        return f"{what}: not measured in this run."
    one = difference.estimate
    scores = f"{difference.score:.3f} against {difference.base:.3f} of {than}"
    if not one.has_interval:
        return (
            f"{what}: {scores}, a difference of {one.mean:+.3f} in one seed: not enough seeds to "
            "say whether it is more than chance."
        )
    bounds = f"{one.mean:+.3f}, 95% interval {one.low:+.3f} to {one.high:+.3f}"
    seeds = f"over {len(one.values)} seeds"
    if one.is_above_zero:
        return f"{what} scores higher: {scores} ({bounds}, {seeds})."
    if one.is_below_zero:
        return f"{what} scores lower: {scores} ({bounds}, {seeds})."
    return f"{what} cannot be told from {than}: {scores} ({bounds}, {seeds})."


def sign(estimate: Estimate | None, *, above: str, below: str, unsure: str) -> str:
    """Choose the sentence that an estimate bears out; with one seed, none is."""
    if estimate is None:
        return NOT_MEASURED
    if not estimate.has_interval:
        return f"Not enough seeds to say: {estimate}."
    chosen = above if estimate.is_above_zero else below if estimate.is_below_zero else unsure
    return f"{chosen} ({estimate})."


def note(
    found: Difference | None,
    name: str | None,
    label: str,
    estimates: dict[str, Estimate],
    rows: list[list[str]],
    panels: dict[str, list[Interval]],
) -> None:
    """Keep a difference for an answer: as a row, in its one panel, and among its estimates.

    Without a name it is not among them: it is another question's already.
    """
    if found is not None:
        if name is not None:
            estimates[name] = found.estimate
        rows.append([label, *found.row()])
        panels.setdefault("all", []).append(found.interval(label))
