"""Running a study: run its conditions and write the findings.

Everything that is finished is kept. An interrupted study continues when it is called again.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.study.conditions import Design, check_same_design, read_design, select, unite
from experiments.study.control_questions import more_data, openings
from experiments.study.findings import Findings
from experiments.study.learning_questions import steps_to_score, why
from experiments.study.record import Failure, write_record
from experiments.study.report import write_study_page
from experiments.study.sampling_questions import (
    clips_per_title,
    easy_negatives,
    shows,
    transfer,
)
from experiments.study.scheduler import Outcome, run_conditions
from experiments.study.scores import read_scores
from experiments.study.settings import check_design
from experiments.study.statistics import Measurements
from experiments.study.variant_questions import (
    effects_of_settings,
    other_settings,
    simple_against_complex,
)
from toomuchtv._internal.files import write_text
from toomuchtv._internal.folder_lock import folder_lock
from toomuchtv.cli.console import Output

#: Part of a time limit that is kept for stopping what runs and for the findings.
RESERVED_SECONDS = 20.0
_QUESTIONS = (
    easy_negatives,
    transfer,
    shows,
    clips_per_title,
    openings,
    simple_against_complex,
    steps_to_score,
    other_settings,
    why,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult:
    """The outcome of a call.

    Attributes:
        page: Path of `study.html`.
        record: Path of `study.json`.
        num_conditions: Number of conditions that have finished.
        failed: The conditions that failed, with reasons.
        left: Names of the conditions for which no time was left.
        findings: The findings per question.
        seconds: Duration of this call.
    """

    page: Path
    record: Path
    num_conditions: int
    failed: tuple[Failure, ...]
    left: tuple[str, ...]
    findings: tuple[Findings, ...]
    seconds: float


def run_study(
    out: str | os.PathLike[str],
    design: Design,
    *,
    num_workers: int,
    output: Output,
    patterns: Sequence[str] = (),
    minutes: float | None = None,
) -> StudyResult:
    """Render the libraries, train and evaluate the conditions, and write the findings.

    Finished parts are not repeated. If a library or a condition fails, the others continue.

    Args:
        out: The study's folder.
        design: The whole study.
        num_workers: Number of conditions that run at the same time, and of rendering processes.
        output: Console on which each step is announced.
        patterns: Patterns of the names of the conditions to run; all if empty.
        minutes: Time limit of the call, including the findings; None for none. Nothing is begun
            that would not end in time, by measured times of this machine.

    Raises:
        ValueError: If the folder holds another study, or a pattern matches no condition.
        FolderInUseError: If another process runs a study in the folder.
    """
    out, begun = Path(out), time.monotonic()
    check_design(design)
    conditions = select(design.conditions, patterns)
    claim_folder(out, design)
    with folder_lock(out), output.progress("steps") as progress:
        outcome = run_conditions(
            out,
            design,
            conditions,
            num_workers=num_workers,
            deadline=math.inf if minutes is None else begun + 60 * minutes - RESERVED_SECONDS,
            progress=progress,
            report=lambda text: output.info(f"   {text}"),
        )
    output.info("Writing the findings.")
    return write_findings(out, design, outcome=outcome, begun=begun)


def write_findings(
    out: str | os.PathLike[str],
    design: Design,
    *,
    outcome: Outcome | None = None,
    begun: float | None = None,
) -> StudyResult:
    """Write the page and the record of the conditions that have finished so far.

    Args:
        out: The study's folder.
        design: The planned study.
        outcome: What became of the conditions of this call; None if none were run.
        begun: Start of the call by the monotonic clock; None for now.

    Raises:
        ValueError: If the folder holds another study.
    """
    out = Path(out)
    begun = time.monotonic() if begun is None else begun
    claim_folder(out, design)
    failures = () if outcome is None else outcome.failures
    read = (read_scores(out, design, condition) for condition in design.conditions)
    scores = [one for one in read if one is not None]
    findings = findings_per_question(Measurements(design, scores))
    seconds = time.monotonic() - begun
    return StudyResult(
        page=write_study_page(out, design, scores, findings, failures),
        record=write_record(out, design, scores, findings, failures, seconds=seconds),
        num_conditions=len(scores),
        failed=failures,
        left=() if outcome is None else tuple(one.name for one in outcome.left),
        findings=tuple(findings),
        seconds=seconds,
    )


def findings_per_question(measurements: Measurements) -> list[Findings]:
    """Return the findings of all questions, in order; the last two only where they were asked."""
    size = measurements.design.size
    asked = [*_QUESTIONS]
    asked += [more_data] if size.data_scales else []
    asked += [effects_of_settings] if size.variants else []
    return [question(measurements) for question in asked]


def claim_folder(out: Path, design: Design) -> None:
    """Write the design into a folder, or check that the folder belongs to this design.

    More seeds and other conditions of the same design are added to those that the folder has.

    Raises:
        ValueError: If the folder holds another study.
    """
    path = out / "design.json"
    if path.exists():
        known = read_design(out)
        check_same_design(known, design, (out, "this study"))
        design = unite([design, known])
        if design == known:
            return
    write_text(path, design.model_dump_json(indent=1) + "\n")
