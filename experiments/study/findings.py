"""The findings of one question, and sentences that state what an estimate shows.

A sentence claims an effect only if its estimate differs from zero after Holm's correction over all
estimates that the sentences of the question judge. So the words are chosen when all are known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from experiments.study.charts import draw_intervals
from experiments.study.conditions import Condition, Library
from experiments.study.size import Content
from experiments.study.statistics import Difference, Estimate, OfSeed, holm
from toomuchtv.reports.page import ResultTable

#: An effect is claimed if p after Holm's correction is below this.
SIGNIFICANT = 0.05
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
        p_holm: p after Holm's correction of those estimates that a sentence judges, by name.
        table: All figures.
        draw_chart: Draws the figure as a PNG; None if nothing was measured.
        how_to_read: Explains the figure.
    """

    question: str
    sentences: tuple[str, ...]
    estimates: dict[str, Estimate] = field(default_factory=dict)
    p_holm: dict[str, float] = field(default_factory=dict)
    table: ResultTable | None = None
    draw_chart: Callable[[], bytes] | None = field(default=None, compare=False)
    how_to_read: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A part of a sentence whose words depend on an estimate.

    Attributes:
        estimate: The estimate.
        word: Returns the words for the p-value after Holm's correction.
    """

    estimate: Estimate
    word: Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Sentence:
    """Fixed words and claims in order. `+` joins sentences and strings."""

    parts: tuple[str | Claim, ...]

    def __add__(self, other: str | Sentence) -> Sentence:
        return Sentence((*self.parts, *_parts(other)))

    def __radd__(self, other: str) -> Sentence:
        return Sentence((other, *self.parts))

    def __str__(self) -> str:
        raise TypeError("the words of this sentence are not chosen yet: join it to text with +")


def _parts(sentence: str | Sentence) -> tuple[str | Claim, ...]:
    return (sentence,) if isinstance(sentence, str) else sentence.parts


class FindingsBuilder:
    """A collector of sentences, estimates, table rows and chart panels for one question.

    Args:
        header: Header of the table.
    """

    def __init__(self, header: Sequence[str]) -> None:
        self.header = header
        self.sentences: list[str | Sentence] = []
        self.estimates: dict[str, Estimate] = {}
        self.rows: list[list[str | Difference]] = []
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
        self.rows.append([*cells, difference])
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
        parts = [_parts(sentence) for sentence in self.sentences]
        judged = {
            id(part.estimate): part.estimate
            for part in (part for sentence in parts for part in sentence)
            if isinstance(part, Claim) and part.estimate.has_interval
        }
        adjusted = holm([one.p_value for one in judged.values()])
        p_holm = dict(zip(judged, adjusted, strict=True))
        sentences = ["".join(_worded(part, p_holm) for part in sentence) for sentence in parts]
        rows = [[cell for one in row for cell in _cells(one, p_holm)] for row in self.rows]
        return Findings(
            question=question,
            sentences=_merge_missing(sentences) if has_results else (NOT_MEASURED,),
            estimates=self.estimates,
            p_holm={
                name: p_holm[id(one)] for name, one in self.estimates.items() if id(one) in p_holm
            },
            table=ResultTable(header=self.header, rows=rows) if rows else None,
            draw_chart=draw_chart,
            how_to_read=how_to_read if draw_chart else "",
        )


def _worded(part: str | Claim, p_holm: Mapping[int, float]) -> str:
    if isinstance(part, str):
        return part
    return part.word(p_holm.get(id(part.estimate), math.nan))


def _cells(cell: str | Difference, p_holm: Mapping[int, float]) -> list[str]:
    return [cell] if isinstance(cell, str) else cell.row(p_holm.get(id(cell.estimate)))


def _merge_missing(sentences: Sequence[str]) -> tuple[str, ...]:
    """Replace all sentences of the form "...: not measured in this run." by one."""
    ending = f": {NOT_MEASURED}".lower()
    missing = [text for text in sentences if text.lower().endswith(ending)]
    if not missing:
        return tuple(sentences)
    names = "; ".join(text[: -len(ending)] for text in missing)
    kept = [text for text in sentences if text not in missing]
    return (*kept, f"{NOT_MEASURED[:-1]}: {names}.")


def compare(what: str, difference: Difference | None, *, than: str) -> str | Sentence:
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

    def word(p_holm: float) -> str:
        interval = (
            f"difference {one.mean:+.3f}, 95% interval {one.low:+.3f} to {one.high:+.3f}, "
            f"{len(one.values)} seeds, {_p_text(p_holm)}"
        )
        if p_holm >= SIGNIFICANT:
            return f"{what} does not differ clearly from {than}: {scores} ({interval})."
        return f"{what} scores {'higher' if one.mean > 0 else 'lower'}: {scores} ({interval})."

    return Sentence((Claim(estimate=one, word=word),))


def choose(estimate: Estimate | None, *, above: str, below: str, unclear: str) -> str | Sentence:
    """Return the text that an estimate supports, with its interval."""
    if estimate is None:
        return NOT_MEASURED
    if not estimate.has_interval:
        return f"There are not enough seeds to say: {estimate}."

    def word(p_holm: float) -> str:
        claimed = above if estimate.mean > 0 else below
        text = unclear if p_holm >= SIGNIFICANT else claimed
        return f"{text} ({estimate}, {_p_text(p_holm)})."

    return Sentence((Claim(estimate=estimate, word=word),))


def _p_text(p_holm: float) -> str:
    return "p < 0.001" if p_holm < 0.001 else f"p = {p_holm:.3f}"


def on_content(content: Content, policy: Callable[..., Condition], **changes: object) -> OfSeed:
    """Return a function from seeds to the condition of a policy on a plain library."""
    return lambda seed: policy(Library(content=content, seed=seed), **changes)
