"""The findings of one question, and sentences that state what an estimate shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from experiments.study.charts import draw_intervals
from experiments.study.conditions import Condition, Library
from experiments.study.size import Content
from experiments.study.statistics import Difference, Estimate, OfSeed
from toomuchtv.reports.page import ResultTable

NOT_MEASURED = "Not measured in this run."
CONTENT_NAMES = {"movies": "Films", "shows": "Shows", "both": "Half of each"}
BENCHMARK_NAMES = {"actions": "actions, from video", "sounds": "sounds, from audio"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the study found about one question.

    Attributes:
        question: The question.
        sentences: The findings in words.
        estimates: The figures behind them, by name. A second study must agree with these.
        table: All figures.
        draw_chart: Draws the figure as a PNG; None if nothing was measured.
        how_to_read: Explains the figure.
    """

    question: str
    sentences: tuple[str, ...]
    estimates: dict[str, Estimate] = field(default_factory=dict)
    table: ResultTable | None = None
    draw_chart: Callable[[], bytes] | None = field(default=None, compare=False)
    how_to_read: str = ""


class FindingsBuilder:
    """A collector of sentences, estimates, table rows and chart panels for one question.

    Args:
        header: Header of the table.
    """

    def __init__(self, header: Sequence[str]) -> None:
        self.header = header
        self.sentences: list[str] = []
        self.estimates: dict[str, Estimate] = {}
        self.rows: list[list[str]] = []
        self.panels: dict[str, dict[str, Estimate]] = {}

    def add(
        self,
        difference: Difference | None,
        *,
        cells: Sequence[str],
        panel: str,
        label: str,
        estimate: str = "",
    ) -> None:
        """Add a difference to the table and the chart, if it was measured.

        Args:
            difference: The difference.
            cells: First cells of its row of the table.
            panel: Panel of the chart.
            label: Label in that panel.
            estimate: Name among the estimates. Empty if another question has it already.
        """
        if difference is None:
            return
        if estimate:
            self.estimates[estimate] = difference.estimate
        self.rows.append([*cells, *difference.row()])
        self.panels.setdefault(panel, {})[label] = difference.estimate

    def build(
        self,
        question: str,
        *,
        how_to_read: str,
        draw_chart: Callable[[], bytes] | None = None,
        zero: float | None = 0.0,
    ) -> Findings:
        """Return the findings. Without `draw_chart`, the chart shows the panels' intervals."""
        if draw_chart is None and self.panels:
            draw_chart = partial(draw_intervals, self.panels, zero=zero)
        has_results = bool(self.estimates) or draw_chart is not None
        return Findings(
            question=question,
            sentences=_merge_missing(self.sentences) if has_results else (NOT_MEASURED,),
            estimates=self.estimates,
            table=ResultTable(header=self.header, rows=self.rows) if self.rows else None,
            draw_chart=draw_chart,
            how_to_read=how_to_read if draw_chart else "",
        )


def _merge_missing(sentences: Sequence[str]) -> tuple[str, ...]:
    """Replace all sentences of the form "...: not measured in this run." by one."""
    ending = f": {NOT_MEASURED}".lower()
    missing = [text for text in sentences if text.lower().endswith(ending)]
    if not missing:
        return tuple(sentences)
    names = "; ".join(text[: -len(ending)] for text in missing)
    kept = [text for text in sentences if text not in missing]
    return (*kept, f"{NOT_MEASURED[:-1]}: {names}.")


def compare(what: str, difference: Difference | None, *, than: str) -> str:
    """State whether something scores higher or lower than its baseline, or that it is unclear.

    Args:
        what: What is scored, for example `hierarchical sampling on films`.
        difference: Its difference from the baseline.
        than: The baseline.
    """
    if difference is None:
        return f"{what}: {NOT_MEASURED[0].lower()}{NOT_MEASURED[1:]}"
    one = difference.estimate
    scores = f"{difference.score:.3f} against {difference.base:.3f} for {than}"
    if not one.has_interval:
        return (
            f"{what}: {scores}, a difference of {one.mean:+.3f} with one seed. There are not "
            "enough seeds to distinguish it from chance."
        )
    interval = (
        f"difference {one.mean:+.3f}, 95% interval {one.low:+.3f} to {one.high:+.3f}, "
        f"{len(one.values)} seeds"
    )
    if one.is_above_zero:
        return f"{what} scores higher: {scores} ({interval})."
    if one.is_below_zero:
        return f"{what} scores lower: {scores} ({interval})."
    return f"{what} does not differ clearly from {than}: {scores} ({interval})."


def choose(estimate: Estimate | None, *, above: str, below: str, unclear: str) -> str:
    """Return the text that an estimate supports, with its interval."""
    if estimate is None:
        return NOT_MEASURED
    if not estimate.has_interval:
        return f"There are not enough seeds to say: {estimate}."
    text = above if estimate.is_above_zero else below if estimate.is_below_zero else unclear
    return f"{text} ({estimate})."


def on_content(content: Content, policy: Callable[..., Condition], **changes: object) -> OfSeed:
    """Return a function from seeds to the condition of a policy on a plain library."""
    return lambda seed: policy(Library(content=content, seed=seed), **changes)
