"""Running a study: render the libraries, run the conditions in processes, write the findings.

Everything that is finished is kept. An interrupted study continues when it is called again.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from experiments.study.conditions import Condition, Design, Library, steps_of
from experiments.study.control_questions import checks, curated, openings, steps_to_score
from experiments.study.findings import Findings
from experiments.study.libraries import make_library, make_transfer
from experiments.study.report import Failure, write_record, write_study_page
from experiments.study.sampling_questions import (
    clips_per_title,
    easy_negatives,
    shows,
    transfer,
)
from experiments.study.scores import condition_path, read_scores
from experiments.study.settings import check_design
from experiments.study.statistics import Measurements
from experiments.tied_process import TiedProcess
from toomuchtv._internal.files import write_text
from toomuchtv._internal.folder_lock import folder_lock
from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.cli.console import Output
from toomuchtv.errors import ToomuchtvError
from toomuchtv.training.metrics import read_metrics

#: The main comparison of the full study needs this many libraries.
_LIBRARIES_PER_STAGE = 15
_POLL_SECONDS = 0.5
_QUESTIONS = (
    easy_negatives,
    transfer,
    shows,
    clips_per_title,
    openings,
    curated,
    steps_to_score,
    checks,
)
#: Share of training in a condition's time. The rest is evaluation.
_TRAINING_SHARE = 0.7
_STOP_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult:
    """The outcome of a call.

    Attributes:
        page: Path of `study.html`.
        record: Path of `study.json`.
        num_conditions: Number of conditions that have finished.
        failed: The conditions that failed, with reasons.
        findings: The findings per question.
        seconds: Duration of this call.
    """

    page: Path
    record: Path
    num_conditions: int
    failed: tuple[Failure, ...]
    findings: tuple[Findings, ...]
    seconds: float


def run_study(
    out: str | os.PathLike[str], design: Design, *, num_workers: int, output: Output
) -> StudyResult:
    """Render the libraries, train and evaluate the conditions, and write the findings.

    Finished parts are not repeated. If a library or a condition fails, the others continue.

    Args:
        out: The study's folder.
        design: What to run.
        num_workers: Number of conditions that run at the same time, and of rendering processes.
        output: Console on which each step is announced.

    Raises:
        ValueError: If the folder holds another study.
        FolderInUseError: If another process runs a study in the folder.
    """
    out, begun = Path(out), time.monotonic()
    check_design(design)
    claim_folder(out, design)
    with folder_lock(out):
        failures = _run_stages(out, design, num_workers=num_workers, output=output)
    output.info("Writing the findings.")
    return write_findings(out, design, failures=failures, begun=begun)


def _run_stages(out: Path, design: Design, *, num_workers: int, output: Output) -> list[Failure]:
    output.print_values("Planned study", forecast(design, num_workers))
    failures: list[Failure] = []
    for conditions in stages(design):
        renderers = num_workers * design.size.processes_per_condition
        failures += _make_libraries(out, design, conditions, renderers, output)
        failed = {failure.condition for failure in failures}
        output.info("Training and evaluating conditions.")
        with output.progress("steps") as progress:
            failures += run_conditions(
                out,
                design,
                [condition for condition in conditions if condition.name not in failed],
                num_workers=num_workers,
                progress=progress,
                report=lambda text: output.info(f"   {text}"),
            )
    return failures


def write_findings(
    out: str | os.PathLike[str],
    design: Design,
    *,
    failures: Sequence[Failure] = (),
    begun: float | None = None,
) -> StudyResult:
    """Write the page and the record of the conditions that have finished so far.

    Args:
        out: The study's folder.
        design: The planned study.
        failures: Conditions that failed.
        begun: Start of the call by the monotonic clock; None for now.

    Raises:
        ValueError: If the folder holds another study.
    """
    out = Path(out)
    begun = time.monotonic() if begun is None else begun
    claim_folder(out, design)
    read = (read_scores(out, condition) for condition in design.conditions)
    scores = [one for one in read if one is not None]
    findings = findings_per_question(Measurements(design, scores))
    seconds = time.monotonic() - begun
    return StudyResult(
        page=write_study_page(out, design, scores, findings, failures),
        record=write_record(out, design, scores, findings, failures, seconds=seconds),
        num_conditions=len(scores),
        failed=tuple(failures),
        findings=tuple(findings),
        seconds=seconds,
    )


def findings_per_question(measurements: Measurements) -> list[Findings]:
    """Return the findings of all eight questions, in order."""
    return [question(measurements) for question in _QUESTIONS]


def claim_folder(out: Path, design: Design) -> None:
    """Write the design into a new folder, or check that the folder belongs to this design.

    Raises:
        ValueError: If the folder holds another study.
    """
    path = out / "design.json"
    if path.exists():
        try:
            # Settings that an older version did not have are read as their defaults.
            same = Design.model_validate_json(path.read_text("utf-8")) == design
        except ValueError:
            same = False
        if not same:
            raise ValueError(
                f"{out} holds another study (another size, other seeds, or another version): "
                "choose another folder, or delete this one to start again"
            )
        return
    write_text(path, design.model_dump_json(indent=1) + "\n")


def forecast(design: Design, num_workers: int) -> dict[str, object]:
    """Describe what a study will do and how long it takes, as names and values to print."""
    size = design.size
    expected = "unknown, because this size has not been measured"
    if design.core_seconds is not None:
        minutes = design.core_seconds / 60
        expected = (
            f"{minutes:,.0f} core-minutes on the machine of docs/experiments/2026-11-study.md, "
            f"{minutes / num_workers:,.0f} minutes with {num_workers} workers on separate cores"
        )
    return {
        "study": size.name,
        "libraries": f"{len(design.libraries)} of {size.hours:.2f} hours, seeds "
        f"{', '.join(map(str, design.seeds))}",
        "conditions": f"{len(design.conditions)}, each {size.steps} steps of {size.batch_size} "
        "clips",
        "expected time": expected,
    }


def stages(design: Design) -> list[tuple[Condition, ...]]:
    """Divide the conditions, in order, into stages that need at most 15 new libraries each.

    Libraries are rendered stage by stage, so that the first results come early.
    """
    divided: list[list[Condition]] = [[]]
    known: set[Library] = set()
    for condition in design.conditions:
        if condition.library not in known:
            if known and len(known) % _LIBRARIES_PER_STAGE == 0:
                divided.append([])
            known.add(condition.library)
        divided[-1].append(condition)
    return [tuple(conditions) for conditions in divided]


def _make_libraries(
    out: Path, design: Design, conditions: Sequence[Condition], num_workers: int, output: Output
) -> list[Failure]:
    """Make the libraries and transfer sets of some conditions.

    Returns:
        The conditions whose libraries could not be made.
    """
    output.info("Rendering and preparing libraries.")
    failures: dict[str, Failure] = {}

    def attempt(make: Callable[..., None], target: int | Library, users: list[Condition]) -> None:
        try:
            with output.progress("seconds of film") as progress:
                make(out, design.size, target, num_workers=num_workers, progress=progress)
        except (ToomuchtvError, ValueError) as error:
            output.warning(f"failed: {error}")
            for one in users:
                failures.setdefault(one.name, Failure(condition=one.name, reason=str(error)))

    for seed in dict.fromkeys(condition.library.seed for condition in conditions):
        attempt(make_transfer, seed, [one for one in conditions if one.library.seed == seed])
    for library in dict.fromkeys(condition.library for condition in conditions):
        number = design.libraries.index(library) + 1
        output.info(f"   {number}/{len(design.libraries)} {library.name}")
        attempt(make_library, library, [one for one in conditions if one.library == library])
    return list(failures.values())


def run_conditions(
    out: Path,
    design: Design,
    conditions: Sequence[Condition],
    *,
    num_workers: int,
    progress: ProgressCallback = no_progress,
    report: Callable[[str], None] = lambda text: None,
) -> list[Failure]:
    """Run the unfinished conditions among some, in order, `num_workers` at a time.

    Each runs in a process of its own. If one fails, the others continue. When this process is
    interrupted, it asks the running conditions to stop; they resume from their checkpoints later.

    Args:
        out: The study's folder with `design.json`.
        design: The whole study, whose progress is shown.
        conditions: The conditions to run now.
        num_workers: Number of conditions at the same time.
        progress: Receives the finished steps, with evaluation counted as steps too.
        report: Receives a line of text for each condition that ends.

    Returns:
        The conditions that failed.
    """
    missing = [one for one in design.conditions if read_scores(out, one) is None]
    waiting = [one for one in conditions if one in missing]
    total = sum(_cost(design, one) for one in design.conditions)
    before = ended = total - sum(_cost(design, one) for one in missing)
    begun = time.monotonic()
    failures: list[Failure] = []
    running: dict[str, tuple[Condition, TiedProcess]] = {}

    def finished_steps() -> float:
        return ended + sum(_steps_done(out, design, one) for one, _ in running.values())

    with _stopping_all(running):
        while waiting or running:
            while waiting and len(running) < num_workers:
                one = waiting.pop(0)
                running[one.name] = (one, _start(out, design, one))
            for one, process in list(running.values()):
                if process.poll() is None:
                    continue
                del running[one.name]
                ended += _cost(design, one)
                scores = read_scores(out, one)
                if scores is None:
                    failures.append(
                        Failure(condition=one.name, reason=_last_line(out, one, process))
                    )
                    result = "failed"
                else:
                    result = ", ".join(
                        f"{score.benchmark} {score.protocol} {score.accuracy:.3f}"
                        for score in scores.scores
                    )
                pace = (time.monotonic() - begun) / (finished_steps() - before)
                left = pace * (total - finished_steps()) / 60
                report(f"{one.name}: {result}; about {left:.0f} minutes left")
            progress(finished_steps(), total, " and ".join(running))
            if running:
                time.sleep(_POLL_SECONDS)
    return failures


@contextmanager
def _stopping_all(running: dict[str, tuple[Condition, TiedProcess]]) -> Iterator[None]:
    """On exit, also by an error or an interruption, ask the running processes to save and end."""
    try:
        yield
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            try:
                process.wait(_STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _start(out: Path, design: Design, condition: Condition) -> TiedProcess:
    folder = condition_path(out, condition)
    folder.mkdir(parents=True, exist_ok=True)
    threads = str(design.size.threads)
    with (folder / "log.txt").open("w") as log:
        return TiedProcess(
            "experiments.study.worker",
            [str(out), condition.name],
            env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _cost(design: Design, condition: Condition) -> float:
    """Return the cost of a condition in training steps; evaluation costs the same for all."""
    evaluation = design.size.steps * (1 / _TRAINING_SHARE - 1)
    return steps_of(design.size, condition) + evaluation


def _steps_done(out: Path, design: Design, condition: Condition) -> float:
    lines = read_metrics(condition_path(out, condition) / "run")
    return min(lines[-1]["step"] if lines else 0.0, steps_of(design.size, condition))


def _last_line(out: Path, condition: Condition, process: TiedProcess) -> str:
    log = (condition_path(out, condition) / "log.txt").read_text(errors="replace").strip()
    if not log:
        return f"ended with code {process.returncode} and without a message"
    return log.splitlines()[-1]
