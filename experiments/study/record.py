"""A whole study in one small file, `study.json`: its design, the results and the findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from experiments.study.conditions import Design
from experiments.study.findings import Findings
from experiments.study.scores import ConditionScores
from experiments.study.size import Frozen, StudySize
from experiments.study.statistics import Estimate
from toomuchtv._internal.files import write_text
from toomuchtv.cli.doctor import inspect_machine

_NAME = "study.json"
_FORMAT: Literal[3] = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The name of a condition that failed, and the last line of its log."""

    condition: str
    reason: str


class RecordedEstimate(Frozen):
    """An estimate of a question; see `Estimate`. `low` and `high` are None without an interval."""

    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]
    p_holm: float | None


class RecordedFindings(Frozen):
    """What the study answered to a question."""

    question: str
    sentences: tuple[str, ...]
    estimates: dict[str, RecordedEstimate]


class Record(Frozen):
    """Everything that is known of a study.

    Attributes:
        format: Version of the file.
        size: Size of the study.
        first_seed: First seed.
        seconds_of_the_last_call: Duration of the call that wrote it.
        core_seconds_of_conditions: CPU time of all conditions.
        machine: What the machine of the last call has.
        versions: Versions of the libraries of the last call.
        conditions: The results by the name of the condition, without the single test titles.
        failed: Reasons of the conditions that failed in the last call.
        findings: The answers to all questions.
    """

    format: Literal[3]
    size: StudySize
    first_seed: int
    seconds_of_the_last_call: float
    core_seconds_of_conditions: float
    machine: dict[str, str]
    versions: dict[str, str]
    conditions: dict[str, ConditionScores]
    failed: dict[str, str] = Field(default_factory=dict)
    findings: tuple[RecordedFindings, ...] = ()

    @property
    def design(self) -> Design:
        """The design with the conditions that have a result."""
        conditions = tuple(one.condition for one in self.conditions.values())
        return Design(size=self.size, first_seed=self.first_seed, conditions=conditions)


def write_record(
    out: Path,
    design: Design,
    scores: Sequence[ConditionScores],
    findings: Sequence[Findings],
    failures: Sequence[Failure],
    *,
    seconds: float,
) -> Path:
    """Write OUT/study.json, either completely or not at all, and return its path.

    What has its default is left out, so that the record of a large study is small.
    """
    machine = inspect_machine(out)
    record = Record(
        format=_FORMAT,
        size=design.size,
        first_seed=design.first_seed,
        seconds_of_the_last_call=seconds,
        core_seconds_of_conditions=sum(one.core_seconds for one in scores),
        machine=machine.facts,
        versions=machine.libraries,
        conditions={one.condition.name: one.without_titles() for one in scores},
        failed={failure.condition: failure.reason for failure in failures},
        findings=tuple(
            RecordedFindings(
                question=one.question,
                sentences=tuple(one.sentences),
                estimates={
                    name: _recorded(estimate, one.p_holm.get(name))
                    for name, estimate in one.estimates.items()
                },
            )
            for one in findings
        ),
    )
    path = out / _NAME
    write_text(path, record.model_dump_json(exclude_defaults=True) + "\n")
    return path


def _recorded(estimate: Estimate, p_holm: float | None) -> RecordedEstimate:
    low, high = (estimate.low, estimate.high) if estimate.has_interval else (None, None)
    return RecordedEstimate(
        mean=estimate.mean, low=low, high=high, values=estimate.values, p_holm=p_holm
    )


def read_record(path: Path) -> Record:
    """Read a study.json, or that of a study's folder.

    Raises:
        ValueError: If it cannot be read, or is of another version.
    """
    path = path / _NAME if path.is_dir() else path
    try:
        return Record.model_validate_json(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"{path} is not a study.json: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(
            f"{path} is not a study.json of this version (format {_FORMAT}): choose another file, "
            "or run the study again"
        ) from error
