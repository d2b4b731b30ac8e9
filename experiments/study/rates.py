"""What the parts of a study cost on a machine, by measured times.

`OUT/timings.jsonl` has one line for each part of a condition and for each library that has been
made. The expected cost of a condition is the sum over its parts, each by the median of its times.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Literal

import torch

from experiments.study.conditions import Condition, Library, clips_of, steps_of
from experiments.study.size import Frozen, StudySize
from toomuchtv._internal.files import write_text

#: Training is counted in clips, and libraries in hours of film. Milestones, the steps at which
#: titles are probed ("why") and transfer sets are counted one by one. The evaluation includes all
#: of a condition that is no other part.
Part = Literal["training", "milestones", "why", "finetune", "evaluation", "library", "transfer"]

#: Share of evaluation in a condition's time, where a size states only that time.
_EVALUATION = 0.3


class Timing(Frozen):
    """The measured time of one part.

    Attributes:
        part: What was measured.
        of: Name of the condition or library without its seed.
        units: How much of it was done; see `Part`.
        seconds: How long it took.
        machine: The machine, as `machine_name` describes it.
        workers: Number of conditions that ran at the same time.
    """

    part: Part
    of: str
    units: float
    seconds: float
    machine: str
    workers: int


def machine_name() -> str:
    """Describe this machine by its GPUs and the number of its cores."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return ", ".join([*gpus, f"{len(os.sched_getaffinity(0))} cores"])


def timings_path(out: Path) -> Path:
    """Return the path of a study's measured times."""
    return out / "timings.jsonl"


def read_timings(out: Path) -> list[Timing]:
    """Read the measured times of a study. A line that a full disk has cut is ignored."""
    if not timings_path(out).exists():
        return []
    found = []
    for line in timings_path(out).read_text("utf-8").splitlines():
        try:
            found.append(Timing.model_validate_json(line))
        except ValueError:
            continue
    return found


def write_timings(out: Path, timings: Iterable[Timing]) -> None:
    """Replace the measured times of a study."""
    lines = [timing.model_dump_json() + "\n" for timing in timings]
    write_text(timings_path(out), "".join(lines))


def condition_parts(size: StudySize, condition: Condition) -> dict[Part, float]:
    """Return the parts of a condition and how many units each has."""
    parts: dict[Part, float] = {"evaluation": 1.0}
    if condition.policy != "untrained":
        parts["training"] = float(clips_of(size, condition))
        if "milestones" in condition.measures:
            parts["milestones"] = float(len(size.milestones))
    if "why" in condition.measures:
        parts["why"] = 1.0 + parts.get("milestones", 0.0)
    if "finetune" in condition.measures:
        parts["finetune"] = 1.0
    return parts


class Rates:
    """The expected cost of conditions and libraries on one machine.

    Without measured times of a part, the times that the study's size states are used, which are
    those of another machine; without these, a cost is unknown.

    Args:
        size: Size of the study.
        timings: Measured times; those of other machines are ignored.
        machine: The machine.
        workers: Number of conditions at the same time. Times with this number are preferred.
    """

    def __init__(
        self, size: StudySize, timings: Sequence[Timing], *, machine: str, workers: int
    ) -> None:
        self.machine = machine
        self._size, self._workers = size, workers
        self._timings = [one for one in timings if one.machine == machine and one.units > 0]

    @property
    def source(self) -> str:
        """Where the costs come from, for people."""
        if self._timings:
            return f"measured on this kind of machine: {self.machine}"
        if self._size.condition_core_seconds is not None:
            return "those that the study's size states, measured on another machine"
        return "none, because nothing of this size has been measured on this machine"

    def condition(self, condition: Condition, *, steps_done: float = 0.0) -> float | None:
        """Return the expected seconds of a condition that has taken some steps, or None."""
        total, steps = 0.0, steps_of(self._size, condition)
        left = 1.0 - min(steps_done / steps, 1.0) if steps else 1.0
        for part, units in condition_parts(self._size, condition).items():
            rate = self._seconds_per_unit(part, without_seed(condition))
            if rate is None:
                return self._stated_condition(condition)
            total += rate * units * (left if part == "training" else 1.0)
        return total

    def library(self, library: Library) -> float | None:
        """Return the expected seconds for rendering and preparing a library, or None."""
        rate = self._seconds_per_unit("library", without_seed(library))
        if rate is None:
            return self._stated(self._size.library_core_seconds * library.scale)
        return rate * self._size.hours * library.scale

    def transfer(self) -> float | None:
        """Return the expected seconds for a seed's transfer sets, or None."""
        rate = self._seconds_per_unit("transfer", "transfer")
        return self._stated(self._size.transfer_core_seconds) if rate is None else rate

    def _stated_condition(self, condition: Condition) -> float | None:
        seconds, size = self._size.condition_core_seconds, self._size
        share = clips_of(size, condition) / (size.steps * size.batch_size)
        return None if seconds is None else seconds * max(share, _EVALUATION)

    def _stated(self, core_seconds: float) -> float | None:
        if self._size.condition_core_seconds is None:
            return None
        return core_seconds / (self._workers * self._size.processes_per_condition)

    def _seconds_per_unit(self, part: Part, of: str) -> float | None:
        """Return the median time per unit, of the same condition if there is one."""
        times = [one for one in self._timings if one.part == part]
        times = [one for one in times if one.workers == self._workers] or times
        times = [one for one in times if one.of == of] or times
        return median(one.seconds / one.units for one in times) if times else None


def without_seed(model: Condition | Library) -> str:
    """Return the name of a condition or library without its seed."""
    library = model.library if isinstance(model, Condition) else model
    return model.name.replace(f"-seed{library.seed}", "")
