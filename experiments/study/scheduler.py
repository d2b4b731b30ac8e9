"""Running the conditions of a study in processes, within a time limit if there is one.

While conditions are trained, the next library is rendered and prepared. Nothing is begun that would
not end in time. What still runs at the end of the time is asked to stop; it resumes later.
"""

from __future__ import annotations

import math
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments.study.conditions import Condition, Design, Library, steps_of
from experiments.study.libraries import is_ready, library_path, transfer_path
from experiments.study.rates import (
    Rates,
    Timing,
    condition_parts,
    machine_name,
    read_timings,
    without_seed,
    write_timings,
)
from experiments.study.record import Failure
from experiments.study.scores import ConditionScores, condition_path, read_scores
from experiments.tied_process import TiedProcess
from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.training.metrics import read_metrics

_POLL_SECONDS = 0.5
_STOP_TIMEOUT_SECONDS = 60.0
#: Share of training in a condition's time, for the progress bar. The rest is evaluation.
_TRAINING_SHARE = 0.7
#: A training that was resumed later than this is too short to measure its speed.
_LATEST_MEASURED_START = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A library, or the transfer sets of a seed: what has to be made before a training begins.

    Attributes:
        folder: Where it is made.
        kind: `library` or `transfer`.
        name: Name of the library, or the seed.
        library: The library; None for transfer sets.
    """

    folder: Path
    kind: str
    name: str
    library: Library | None = None

    def cost(self, rates: Rates) -> float | None:
        """Return the expected seconds, or None."""
        return rates.transfer() if self.library is None else rates.library(self.library)


def places_of(out: Path, condition: Condition) -> tuple[Place, Place]:
    """Return what a condition needs: its transfer sets and its library."""
    library, seed = condition.library, condition.library.seed
    return (
        Place(folder=transfer_path(out, seed), kind="transfer", name=str(seed)),
        Place(folder=library_path(out, library), kind="library", name=library.name,
              library=library),
    )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class _Job:
    """A process that runs, the condition or place that it works on, and when it was begun."""

    process: TiedProcess
    log: Path
    steps_before: float = 0.0
    begun: float = field(default_factory=time.monotonic)

    def reason(self) -> str:
        """Return why the process has failed: the last line of its log."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        code = self.process.returncode
        return lines[-1] if lines else f"ended with code {code} and without a message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the conditions.

    Attributes:
        failures: The conditions that failed, with reasons.
        left: The conditions for which no time was left, in their order; some may have begun.
    """

    failures: tuple[Failure, ...]
    left: tuple[Condition, ...]


def run_conditions(
    out: Path,
    design: Design,
    conditions: Sequence[Condition],
    *,
    num_workers: int,
    deadline: float = math.inf,
    progress: ProgressCallback = no_progress,
    report: Callable[[str], None] = lambda text: None,
    worker: str = "experiments.study.worker",
) -> Outcome:
    """Run the unfinished conditions among some, in order, `num_workers` at a time.

    Each runs in a process of its own. If one fails, the others continue. When this process is
    interrupted, it asks the running conditions to stop; they resume from their checkpoints later.

    Args:
        out: The study's folder with `design.json`.
        design: The whole study.
        conditions: The conditions to run now, the most important first.
        num_workers: Number of conditions at the same time.
        deadline: When everything has to be stopped, by the monotonic clock.
        progress: Receives the finished steps, with evaluation counted as steps too.
        report: Receives a line of text for each condition that ends.
        worker: The module that is run for each condition and library.
    """
    scheduler = _Scheduler(out, design, conditions, num_workers, deadline, report, worker)
    try:
        while scheduler.advance():
            progress(*scheduler.progress())
            time.sleep(_POLL_SECONDS)
    finally:
        scheduler.stop()
    return Outcome(failures=tuple(scheduler.failures), left=tuple(scheduler.left()))


class _Scheduler:
    """The conditions that wait, the processes that run, and what they cost."""

    def __init__(
        self,
        out: Path,
        design: Design,
        conditions: Sequence[Condition],
        num_workers: int,
        deadline: float,
        report: Callable[[str], None],
        worker: str,
    ) -> None:
        self.failures: list[Failure] = []
        self._worker = worker
        self._out, self._design, self._report = out, design, report
        self._num_workers, self._deadline = num_workers, deadline
        self._machine, self._timings = machine_name(), read_timings(out)
        self._conditions = conditions
        missing = [one for one in conditions if read_scores(out, design, one) is None]
        self._waiting = missing
        self._running: dict[str, tuple[Condition, _Job]] = {}
        self._making: tuple[Place, _Job] | None = None
        self._total = sum(_steps_of_all(design, one) for one in conditions)
        self._ended = self._total - sum(_steps_of_all(design, one) for one in missing)
        self._before, self._begun = self._ended, time.monotonic()
        self._learn([])

    def advance(self) -> bool:
        """Take in what has ended and begin what can begin; return whether anything runs."""
        for condition, job in list(self._running.values()):
            if job.process.poll() is not None:
                self._finish_condition(condition, job)
        if self._making is not None and self._making[1].process.poll() is not None:
            self._finish_place(*self._making)
        if time.monotonic() >= self._deadline:
            return False
        self._begin_conditions()
        if self._making is None:
            self._begin_place()
        return bool(self._running or self._making)

    def stop(self) -> None:
        """Ask everything that runs to save and end, and wait for it."""
        jobs = [job for _, job in self._running.values()]
        jobs += [] if self._making is None else [self._making[1]]
        for job in jobs:
            job.process.terminate()
        for job in jobs:
            try:
                job.process.wait(_STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                job.process.kill()
                job.process.wait()

    def left(self) -> list[Condition]:
        """Return the conditions that have neither finished nor failed."""
        failed = {failure.condition for failure in self.failures}
        return [
            one for one in self._conditions
            if one.name not in failed and read_scores(self._out, self._design, one) is None
        ]  # fmt: skip

    def progress(self) -> tuple[float, float, str]:
        """Return the finished steps, all steps, and what runs."""
        names = [*self._running, *([self._making[0].folder.name] if self._making else [])]
        return self._steps_done(), self._total, " and ".join(names)

    def _steps_done(self) -> float:
        running = (one for one, _ in self._running.values())
        return self._ended + sum(steps_done(self._out, self._design, one) for one in running)

    def _seconds_left(self) -> float:
        return self._deadline - time.monotonic()

    def _learn(self, timings: list[Timing]) -> None:
        """Keep measured times, and expect costs by them from now on."""
        self._timings += timings
        if timings:
            write_timings(self._out, self._timings)
        self._rates = Rates(
            self._design.size, self._timings, machine=self._machine, workers=self._num_workers
        )

    def _timing(self, part: str, of: str, units: float, seconds: float) -> Timing:
        return Timing.model_validate(
            {"part": part, "of": of, "units": units, "seconds": seconds,
             "machine": self._machine, "workers": self._num_workers}
        )  # fmt: skip

    def _cost(self, condition: Condition) -> float:
        """Return the expected seconds that are left of a condition; 0 if they are unknown.

        What is unknown begins and is stopped at the end of the time, or nothing would ever be
        measured.
        """
        done = steps_done(self._out, self._design, condition)
        return self._rates.condition(condition, steps_done=done) or 0.0

    def _is_ready(self, condition: Condition) -> bool:
        return all(is_ready(place.folder) for place in places_of(self._out, condition))

    def _begin_conditions(self) -> None:
        while len(self._running) < self._num_workers:
            able = (one for one in self._waiting
                    if self._is_ready(one) and self._cost(one) <= self._seconds_left())  # fmt: skip
            one = next(able, None)
            if one is None:
                return
            self._waiting.remove(one)
            folder = condition_path(self._out, one)
            job = self._start(folder, ["condition", one.name], self._design.size.threads)
            job.steps_before = steps_done(self._out, self._design, one)
            self._running[one.name] = (one, job)

    def _begin_place(self) -> None:
        """Make what the first condition needs that has to wait for it, one library ahead."""
        if sum(map(self._is_ready, self._waiting)) >= self._num_workers:
            return
        for condition in self._waiting:
            needed = [p for p in places_of(self._out, condition) if not is_ready(p.folder)]
            costs = [place.cost(self._rates) or 0.0 for place in needed]
            if needed and sum(costs) + self._cost(condition) <= self._seconds_left():
                renderers = self._num_workers * self._design.size.processes_per_condition
                order = [needed[0].kind, needed[0].name, str(renderers)]
                self._report(f"making {needed[0].folder.name}")
                self._making = (needed[0], self._start(needed[0].folder, order, 1))
                return

    def _start(self, folder: Path, order: list[str], threads: int) -> _Job:
        folder.mkdir(parents=True, exist_ok=True)
        count = str(threads)
        with (folder / "log.txt").open("w") as log:
            process = TiedProcess(
                self._worker,
                [str(self._out), *order],
                env={**os.environ, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return _Job(process=process, log=folder / "log.txt")

    def _finish_condition(self, condition: Condition, job: _Job) -> None:
        del self._running[condition.name]
        self._ended += _steps_of_all(self._design, condition)
        scores = read_scores(self._out, self._design, condition)
        if scores is None:
            self.failures.append(Failure(condition=condition.name, reason=job.reason()))
            result = "failed"
        else:
            self._learn(self._condition_timings(scores, job))
            result = ", ".join(
                f"{score.benchmark} {score.protocol} {score.accuracy:.3f}"
                for score in scores.scores
            )
        done = self._steps_done()
        pace = (time.monotonic() - self._begun) / max(done - self._before, 1.0)
        left = pace * (self._total - done) / 60
        self._report(f"{condition.name}: {result}; about {left:.0f} minutes left")

    def _condition_timings(self, scores: ConditionScores, job: _Job) -> list[Timing]:
        size, condition = self._design.size, scores.condition
        seconds = {**scores.seconds}
        seconds["evaluation"] = time.monotonic() - job.begun - sum(seconds.values())
        parts = condition_parts(size, condition)
        if steps := steps_of(size, condition):
            parts["training"] *= 1.0 - job.steps_before / steps
        if job.steps_before > _LATEST_MEASURED_START * steps:
            del parts["training"]
        of = without_seed(condition)
        return [
            self._timing(part, of, units, seconds[part])
            for part, units in parts.items()
            if part in seconds
        ]

    def _finish_place(self, place: Place, job: _Job) -> None:
        self._making = None
        seconds = time.monotonic() - job.begun
        if is_ready(place.folder):
            of, units = "transfer", 1.0
            if place.library is not None:
                hours = self._design.size.hours * place.library.scale
                of, units = without_seed(place.library), hours
            self._learn([self._timing(place.kind, of, units, seconds)])
            return
        users = [one for one in self._waiting if place in places_of(self._out, one)]
        self._report(f"failed: {job.reason()}")
        self.failures += [Failure(condition=one.name, reason=job.reason()) for one in users]
        self._waiting = [one for one in self._waiting if one not in users]


def steps_done(out: Path, design: Design, condition: Condition) -> float:
    """Return the number of steps that an unfinished condition has taken."""
    lines = read_metrics(condition_path(out, condition) / "run")
    return min(lines[-1]["step"] if lines else 0.0, steps_of(design.size, condition))


def _steps_of_all(design: Design, condition: Condition) -> float:
    """Return a condition's cost in training steps; evaluation costs the same for all."""
    evaluation = design.size.steps * (1 / _TRAINING_SHARE - 1)
    return steps_of(design.size, condition) + evaluation
