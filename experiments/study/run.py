"""The study from an empty folder to its page; interrupted, the same call goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.study.answer import Answer
from experiments.study.answers import answers
from experiments.study.condition import Condition, Library
from experiments.study.design import Design
from experiments.study.libraries import make_transfer, make_world
from experiments.study.measurements import Measurements
from experiments.study.page import write_study_page
from experiments.study.record import write_record
from experiments.study.run_condition import DESIGN
from experiments.study.schedule import Failure, finished, run_conditions
from toomuchtv.cli.console import Output
from toomuchtv.errors import ToomuchtvError

#: As many as the full study's main comparison has.
_WORLDS_AT_ONCE = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult:
    """What a study came to.

    Attributes:
        page: `study.html`.
        record: `study.json`.
        arms: How many are done.
        failed: Those that are not, with why.
        answers: To each question.
        seconds: Of this call.
    """

    page: Path
    record: Path
    arms: int
    failed: tuple[Failure, ...]
    answers: tuple[Answer, ...]
    seconds: float


def run_study(out: Path, design: Design, *, num_workers: int, output: Output) -> StudyResult:
    """Render the worlds, train and measure the arms, answer the questions, write the page.

    What is done is not done again. A world or an arm that fails is noted, and the rest goes on.

    Args:
        out: The study's folder.
        design: What to do.
        num_workers: Arms that run side by side; as many processes as these have render.
        output: Where each step is announced.

    Raises:
        ValueError: The folder holds another study.
    """
    begun = time.monotonic()
    claim(out, design)
    output.print_values("What will happen", forecast(design, num_workers))
    failures: list[Failure] = []
    for arms in stages(design):
        renderers = num_workers * design.scale.arm_processes
        failures += _make_worlds(out, design, arms, renderers, output)
        broken = {failure.arm for failure in failures}
        output.info("Training and measuring arms.")
        with output.progress("steps") as progress:
            failures += run_conditions(
                out,
                design,
                [arm for arm in arms if arm.name not in broken],
                num_workers=num_workers,
                progress=progress,
                tell=lambda text: output.info(f"   {text}"),
            )
    output.info("Answering.")
    return answer_study(out, design, failures=failures, begun=begun)


def answer_study(
    out: Path, design: Design, *, failures: Sequence[Failure] = (), begun: float | None = None
) -> StudyResult:
    """Answer from what is done so far, and write the page and the record.

    Args:
        out: The study's folder.
        design: What was to be done.
        failures: Arms that came to nothing.
        begun: When, by the monotonic clock; now, where nothing else was done.

    Raises:
        ValueError: The folder holds another study.
    """
    begun = time.monotonic() if begun is None else begun
    claim(out, design)
    scores = finished(out, design.arms)
    found = tuple(answers(Measurements(design, scores)))
    seconds = time.monotonic() - begun
    record = write_record(out, design, scores, found, failures, seconds=seconds)
    page = out / "study.html"
    write_study_page(page, out=out, design=design, scores=scores, answers=found, failures=failures)
    return StudyResult(
        page=page,
        record=record,
        arms=len(scores),
        failed=tuple(failures),
        answers=found,
        seconds=seconds,
    )


def claim(out: Path, design: Design) -> None:
    """Make a folder this study's.

    Raises:
        ValueError: It is another's.
    """
    path = out / DESIGN
    if path.exists():
        if _read_design(path) != design:
            raise ValueError(
                f"{out} holds another study (another size, other seeds, or one of another "
                "version): give another folder, or delete this one to begin anew"
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(design.model_dump_json(indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)


def _read_design(path: Path) -> Design | None:
    """Read a design; what an older version did not know of, it did as the defaults have it."""
    try:
        return Design.model_validate_json(path.read_text("utf-8"))
    except ValueError:
        return None


def forecast(design: Design, num_workers: int) -> dict[str, object]:
    """Say what a study will do and about how long it takes, as names and values for a person."""
    scale = design.scale
    expected = "not known: nobody has measured this size"
    if design.core_seconds is not None:
        minutes = design.core_seconds / 60
        expected = (
            f"{minutes:,.0f} core-minutes (docs/study.md says how that was measured), "
            f"{minutes / num_workers:,.0f} minutes with {num_workers} workers on cores of their own"
        )
    return {
        "study": scale.name,
        "worlds": f"{len(design.worlds)} of {scale.hours:.2f} hours, seeds "
        f"{', '.join(map(str, design.seeds))}",
        "arms": f"{len(design.arms)}, each {scale.steps} steps of {scale.batch_size} clips",
        "expected": expected,
    }


def stages(design: Design) -> list[tuple[Condition, ...]]:
    """Cut the arms, in their order, where `_WORLDS_AT_ONCE` worlds have been needed.

    Worlds are rendered stage by stage, so that the first scores do not wait for the last world.
    """
    cut: list[list[Condition]] = [[]]
    known: set[Library] = set()
    made = 0
    for arm in design.arms:
        if arm.world not in known:
            if made == _WORLDS_AT_ONCE:
                cut.append([])
                made = 0
            known.add(arm.world)
            made += 1
        cut[-1].append(arm)
    return [tuple(arms) for arms in cut]


def _make_worlds(
    out: Path, design: Design, arms: Sequence[Condition], num_workers: int, output: Output
) -> list[Failure]:
    """Make the worlds of some arms, and the transfer sets of their seeds.

    Returns:
        Those of them that cannot be run for want of theirs.
    """
    output.info("Rendering and preparing worlds.")
    failures: list[Failure] = []

    def failed(arms: list[Condition], error: Exception) -> None:
        output.warning(f"failed: {error}")
        known = {failure.arm for failure in failures}
        failures.extend(
            Failure(arm=arm.name, reason=str(error)) for arm in arms if arm.name not in known
        )

    for seed in dict.fromkeys(arm.world.seed for arm in arms):
        with output.progress("s of film") as progress:
            try:
                make_transfer(out, design.scale, seed, num_workers=num_workers, progress=progress)
            except (ToomuchtvError, ValueError) as error:
                failed([arm for arm in arms if arm.world.seed == seed], error)
    for world in dict.fromkeys(arm.world for arm in arms):
        output.info(f"   {design.worlds.index(world) + 1}/{len(design.worlds)} {world.name}")
        with output.progress("s of film") as progress:
            try:
                make_world(out, design.scale, world, num_workers=num_workers, progress=progress)
            except (ToomuchtvError, ValueError) as error:
                failed([arm for arm in arms if arm.world == world], error)
    return failures
