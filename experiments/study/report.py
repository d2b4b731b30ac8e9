"""The study's page `study.html`, and the comparison of two studies."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.study.conditions import CHOSEN_CLIPS, Design
from experiments.study.findings import Findings
from experiments.study.record import Failure, Record, read_record
from experiments.study.scores import ConditionScores
from experiments.study.statistics import Estimate, over_seeds
from toomuchtv.reports.page import ResultTable, Section, write_page

#: Tolerance with which equal figures without any spread agree.
_ROUNDING = 1e-9


def write_study_page(
    out: Path,
    design: Design,
    scores: Sequence[ConditionScores],
    findings: Sequence[Findings],
    failures: Sequence[Failure],
) -> Path:
    """Write OUT/study.html and its figures, OUT/figures/question1.png and so on.

    Returns:
        The path of the page.
    """
    size = design.size
    figures = out / "figures"
    figures.mkdir(exist_ok=True)
    sections = []
    if failures:
        rows = [[failure.condition, failure.reason] for failure in failures]
        text = "These conditions failed. The same command tries them again."
        table = ResultTable(header=["condition", "reason"], rows=rows)
        sections.append(Section(heading="Failures", text=text, table=table))
    for number, one in enumerate(findings, start=1):
        png = None if one.draw_chart is None else one.draw_chart()
        if png is not None:
            (figures / f"question{number}.png").write_bytes(png)
        sections.append(
            Section(
                heading=f"{number}. {one.question}",
                text="",
                points=one.sentences,
                how_to_read=one.how_to_read,
                details=one.table,
                charts=[] if png is None else [(png, one.question)],
            )
        )
    path = out / "study.html"
    write_page(
        path,
        title="toomuchtv: the paper's claims on rendered television",
        lead=f"{len(scores)} of {len(design.conditions)} conditions have finished. They were "
        f"trained on {len(design.libraries)} rendered libraries of {size.hours:.2f} hours each, "
        f"with {size.steps} steps of {size.batch_size} clips and the seeds "
        f"{', '.join(map(str, design.seeds))}. The conditions of a comparison differ only in what "
        "is compared. They are evaluated by linear probes on labeled clips of titles that were "
        f"not in training. Hierarchical sampling means {CHOSEN_CLIPS} clips per title "
        f"(k={CHOSEN_CLIPS}) unless stated otherwise, which was fixed before any training. "
        "Intervals are 95% confidence intervals; a whisker with an arrow is cut off. Nothing here "
        "reproduces a number of the paper, because its films are private.",
        sections=[*sections, _conditions_section(scores), _commands_section(out, design)],
    )
    return path


def _conditions_section(scores: Sequence[ConditionScores]) -> Section:
    columns = [(benchmark, protocol) for protocol in ("linear", "finetune")
               for benchmark in ("actions", "sounds")]  # fmt: skip
    rows = []
    for one in scores:
        accuracies = [one.accuracy(*column) for column in columns]
        cells = ["-" if value is None else f"{value:.3f}" for value in accuracies]
        rows.append([one.condition.name, str(one.steps), f"{one.hours:.2f}", *cells,
                     f"{one.core_seconds:.0f}"])  # fmt: skip
    return Section(
        heading="All conditions",
        text="Accuracy, mean over folds. study.json has the accuracy of every fold, and results/ "
        "that of every test title.",
        table=ResultTable(
            header=["condition", "steps", "hours", "actions, linear", "sounds, linear",
                    "actions, fine-tuned", "sounds, fine-tuned", "core seconds"],
            rows=rows,
        ),
    )  # fmt: skip


def _commands_section(out: Path, design: Design) -> Section:
    name, count = design.size.name, len(design.seeds)
    size = {"full": "", "quick": " --quick"}.get(name, f" --size {name}.toml")
    again = f"{out.name}-again"
    run, seeds = "python -m experiments.study run --out", f"{size} --seeds {count} --first-seed"
    rows = [
        ["this study", f"{run} {out.name}{seeds} {design.first_seed}"],
        ["with other seeds", f"{run} {again}{seeds} {design.first_seed + count}"],
        ["compare the two", f"python -m experiments.study agreement {out.name} {again}"],
        ["one condition in detail", f"toomuchtv diagnose {out.name}/conditions/CONDITION/run "
         f"--catalog {out.name}/libraries/LIBRARY/cat"],
    ]  # fmt: skip
    return Section(
        heading="How to repeat it",
        text="The same seeds give the same libraries, batches and initial weights.",
        table=ResultTable(header=["", "command"], rows=rows),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One figure of two studies.

    Attributes:
        name: Name of the figure.
        first: Mean and half width of the 95% interval in the first study.
        second: The same in the second study.
        agrees: True if the means differ by at most the root of the sum of the squared half widths.
            None if one of the studies has no interval.
        together: Estimate over the seeds of both studies; None for slopes, which have no values
            per seed.
    """

    name: str
    first: tuple[float, float | None]
    second: tuple[float, float | None]
    agrees: bool | None
    together: Estimate | None


def compare_studies(
    first: str | os.PathLike[str], second: str | os.PathLike[str]
) -> list[Agreement]:
    """Compare the figures of two studies.

    Args:
        first: Folder of a study, or its study.json.
        second: Another study of the same size with other seeds.

    Raises:
        ValueError: If one of them is not a study, if their sizes differ, or if they share seeds.
    """
    one, other = read_record(Path(first)), read_record(Path(second))
    if one.size != other.size:
        raise ValueError(f"{first} and {second} have different sizes: run both with the same size")
    seeds = [set(study.design.seeds) for study in (one, other)]
    if seeds[0] & seeds[1]:
        raise ValueError(
            f"both studies have the seeds {sorted(seeds[0] & seeds[1])}, so they agree by "
            "construction: run one with --first-seed beyond the other's seeds"
        )
    figures = [_estimates(one), _estimates(other)]
    return [
        _agreement(name, figures[0][name], figures[1][name])
        for name in figures[0]
        if name in figures[1]
    ]


def _estimates(record: Record) -> dict[str, Estimate]:
    return {
        name: Estimate(
            mean=one.mean,
            low=math.nan if one.low is None else one.low,
            high=math.nan if one.high is None else one.high,
            values=one.values,
        )
        for findings in record.findings
        for name, one in findings.estimates.items()
    }


def _agreement(name: str, first: Estimate, second: Estimate) -> Agreement:
    half = [one.high - one.mean if one.has_interval else None for one in (first, second)]
    agrees = None
    if half[0] is not None and half[1] is not None:
        agrees = abs(first.mean - second.mean) <= math.hypot(half[0], half[1]) + _ROUNDING
    of_both = first.values and second.values
    return Agreement(
        name=name,
        first=(first.mean, half[0]),
        second=(second.mean, half[1]),
        agrees=agrees,
        together=over_seeds([*first.values, *second.values]) if of_both else None,
    )
