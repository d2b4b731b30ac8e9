"""Runs arms side by side, each in a process of its own; what is done is not done again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from experiments.study.condition import Condition
from experiments.study.design import Design
from experiments.study.run_condition import condition_path
from experiments.study.scores import ConditionScores, read_scores
from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.training.metrics import read_metrics

_LOOK_EVERY_SECONDS = 0.5
#: Of an arm's work, how much is training; the rest is measuring.
_TRAINING_SHARE = 0.7
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An arm that came to nothing, and the last it said."""

    arm: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Running:
    arm: Condition
    process: subprocess.Popen[bytes]


def run_conditions(
    out: Path,
    design: Design,
    arms: Sequence[Condition],
    *,
    num_workers: int,
    progress: ProgressCallback = no_progress,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Failure]:
    """Run those of some arms that are not done, `num_workers` at a time, in their order.

    An arm that fails is noted, and the others go on. Interrupted, the arms under way are asked to
    stop, and go on from their checkpoints the next time.

    Args:
        out: The study's folder.
        design: All of it; OUT/design.json holds the same. Progress is that of all its arms.
        arms: Of it, those to run now.
        num_workers: Arms side by side.
        progress: Told the steps done, what is measured counted as steps too.
        tell: Told of each arm that ends.

    Returns:
        The arms that failed.
    """
    undone = [arm for arm in design.arms if read_scores(condition_path(out, arm), arm) is None]
    waiting = [arm for arm in arms if arm in undone]
    total = sum(_cost(design, arm) for arm in design.arms)
    before = ended = total - sum(_cost(design, arm) for arm in undone)
    begun = time.monotonic()
    failures: list[Failure] = []
    running: list[_Running] = []
    with _all_stopped_at_the_end(running):
        while waiting or running:
            while waiting and len(running) < num_workers:
                arm = waiting.pop(0)
                running.append(_Running(arm, _start(out, design, arm)))
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                ended += _cost(design, one.arm)
                scores = read_scores(condition_path(out, one.arm), one.arm)
                if scores is None:
                    failures.append(Failure(arm=one.arm.name, reason=_last_words(out, one)))
                done = ended + sum(_done(out, design, other.arm) for other in running)
                left = (time.monotonic() - begun) / (done - before) * (total - done) / 60
                tell(f"{_summary(one.arm, scores)}; about {left:.0f} minutes left")
            under_way = sum(_done(out, design, one.arm) for one in running)
            progress(ended + under_way, total, " and ".join(one.arm.name for one in running))
            if running:
                time.sleep(_LOOK_EVERY_SECONDS)
    return failures


def _summary(arm: Condition, scores: ConditionScores | None) -> str:
    if scores is None:
        return f"{arm.name}: failed"
    found = ", ".join(f"{one.benchmark} {one.protocol} {one.accuracy:.3f}" for one in scores.scores)
    return f"{arm.name}: {found}"


def finished(out: Path, arms: Sequence[Condition]) -> list[ConditionScores]:
    """The scores of all arms that are done."""
    read = (read_scores(condition_path(out, arm), arm) for arm in arms)
    return [scores for scores in read if scores is not None]


@contextmanager
def _all_stopped_at_the_end(running: list[_Running]) -> Iterator[None]:
    """On the way out by an error or a signal, ask what runs to save and end."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    on_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, interrupt) if on_main else None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
        for one in running:
            one.process.terminate()
        for one in running:
            try:
                one.process.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()


def _start(out: Path, design: Design, arm: Condition) -> subprocess.Popen[bytes]:
    folder = condition_path(out, arm)
    folder.mkdir(parents=True, exist_ok=True)
    threads = str(design.scale.threads)
    with (folder / "log.txt").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "experiments.study.worker", str(out), arm.name],
            env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _cost(design: Design, arm: Condition) -> float:
    measuring = design.scale.steps * (1 / _TRAINING_SHARE - 1)
    return design.scale.steps_of(arm) + measuring


def _done(out: Path, design: Design, arm: Condition) -> float:
    lines = read_metrics(condition_path(out, arm) / "run")
    return min(lines[-1]["step"] if lines else 0.0, design.scale.steps_of(arm))


def _last_words(out: Path, one: _Running) -> str:
    said = (condition_path(out, one.arm) / "log.txt").read_text(errors="replace").strip()
    if not said:
        return f"ended with code {one.process.returncode} and said nothing"
    return said.splitlines()[-1]
