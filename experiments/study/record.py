"""`study.json`: every arm's scores, the answers, and the conditions; and whether two agree."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.study.answer import Answer
from experiments.study.design import Design
from experiments.study.scale import Scale
from experiments.study.schedule import Failure
from experiments.study.scores import ConditionScores
from experiments.study.statistics import Estimate, over_seeds
from toomuchtv.cli.doctor import inspect_machine

_FORMAT = 1
#: Figures that are all but equal agree even where no seed differs from another.
_ROUNDING = 1e-9


def write_record(
    out: Path,
    design: Design,
    scores: Sequence[ConditionScores],
    answers: Sequence[Answer],
    failures: Sequence[Failure],
    *,
    seconds: float,
) -> Path:
    """Write OUT/study.json, whole or not at all; returns its path."""
    machine = inspect_machine(out)
    content = {
        "format": _FORMAT,
        "scale": design.scale.model_dump(mode="json"),
        "first_seed": design.first_seed,
        "seconds_of_the_last_call": seconds,
        "core_seconds_of_arms": sum(one.core_seconds for one in scores),
        "machine": machine.facts,
        "libraries": machine.libraries,
        "arms": [flat(one) for one in scores],
        "failed": {failure.arm: failure.reason for failure in failures},
        "answers": [
            {
                "question": answer.question,
                "sentences": list(answer.sentences),
                "estimates": {
                    name: {
                        "mean": one.mean,
                        "low": _number(one.low),
                        "high": _number(one.high),
                        "values": list(one.values),
                    }
                    for name, one in answer.estimates.items()
                },
            }
            for answer in answers
        ],
    }
    path = out / "study.json"
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)
    return path


def flat(scores: ConditionScores) -> dict[str, Any]:
    """An arm as one plain object: what it is, and its scores by benchmark, protocol and sense."""
    arm = scores.arm
    fields = arm.model_dump(mode="json", exclude={"world", "measures"})
    return {
        "name": arm.name,
        **arm.world.model_dump(mode="json"),
        **fields,
        "steps": scores.steps,
        "hours": scores.hours,
        "core_seconds": scores.core_seconds,
        "scores": [score.model_dump(mode="json") for score in scores.scores],
        "milestones": [point.model_dump(mode="json") for point in scores.milestones],
        "negatives": scores.negatives,
        "negatives_if_all_were_alike": scores.even,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One figure of two studies.

    Attributes:
        name: What it is.
        first: Mean and half the width of the 95% interval in the first study.
        second: The same in the second.
        agrees: Whether the means lie no farther apart than the root of the sum of the squared
            half widths; None where one has no interval.
        together: Over the seeds of both; None where a figure is not made of one value a seed.
    """

    name: str
    first: tuple[float, float | None]
    second: tuple[float, float | None]
    agrees: bool | None
    together: Estimate | None


def compare_studies(first: Path, second: Path) -> list[Agreement]:
    """Put the figures of two studies beside each other.

    Args:
        first: A study's folder or its study.json.
        second: Another's, of the same size and other seeds.

    Raises:
        ValueError: One is no study, they are of different sizes, or they share seeds.
    """
    one, other = _read(first), _read(second)
    # What an older version did not know of, it did as the defaults have it.
    if Scale.model_validate(one["scale"]) != Scale.model_validate(other["scale"]):
        raise ValueError(f"{first} and {second} are studies of different sizes: run both alike")
    shared = {arm["seed"] for arm in one["arms"]} & {arm["seed"] for arm in other["arms"]}
    if shared:
        raise ValueError(
            f"both studies have the seeds {sorted(shared)}, so they agree by construction: run "
            "one with --first-seed beyond the other's seeds"
        )
    figures = [_estimates(one), _estimates(other)]
    return [
        _agreement(name, figures[0][name], figures[1][name])
        for name in figures[0]
        if name in figures[1]
    ]


def _read(path: Path) -> dict[str, Any]:
    path = path / "study.json" if path.is_dir() else path
    try:
        content = json.loads(path.read_text("utf-8"))
        known = content["format"] == _FORMAT
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no study.json: {error}") from error
    if not known or not isinstance(content, dict):
        raise ValueError(f"{path} is of another version of this software: run the study again")
    return content


def _estimates(study: dict[str, Any]) -> dict[str, Estimate]:
    return {
        name: Estimate(
            mean=one["mean"],
            low=math.nan if one["low"] is None else one["low"],
            high=math.nan if one["high"] is None else one["high"],
            values=tuple(one["values"]),
        )
        for answer in study["answers"]
        for name, one in answer["estimates"].items()
    }


def _agreement(name: str, first: Estimate, second: Estimate) -> Agreement:
    agrees = None
    if first.has_interval and second.has_interval:
        reach = math.hypot(first.high - first.mean, second.high - second.mean)
        agrees = abs(first.mean - second.mean) <= reach + _ROUNDING
    of_both = first.values and second.values
    return Agreement(
        name=name,
        first=_mean_and_half_width(first),
        second=_mean_and_half_width(second),
        agrees=agrees,
        together=over_seeds([*first.values, *second.values]) if of_both else None,
    )


def _mean_and_half_width(one: Estimate) -> tuple[float, float | None]:
    return one.mean, one.high - one.mean if one.has_interval else None
