"""What a study would run, in which order, at which cost, and in how many pieces of time."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.study.conditions import Condition, Design
from experiments.study.libraries import is_ready
from experiments.study.rates import Rates, Timing, machine_name
from experiments.study.run import RESERVED_SECONDS
from experiments.study.scheduler import Place, places_of, steps_done
from experiments.study.scores import read_scores


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCondition:
    """A condition of a plan.

    Attributes:
        name: Its name.
        done: True if it has a result.
        seconds: Expected seconds in one worker, without its library; None if unknown.
        piece: Number of the piece of time in which it runs, from 1; None if it is done, unknown,
            or longer than a piece.
    """

    name: str
    done: bool
    seconds: float | None
    piece: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The conditions of a study in the order of their value, and what they cost.

    Attributes:
        conditions: The conditions.
        source: Where the costs come from, for people.
        num_pieces: Number of pieces of time that the unfinished conditions need; None if a cost is
            unknown.
        seconds: Time that they need without pauses, in all pieces; None if a cost is unknown.
        too_long: Names of the conditions that do not fit into a piece.
    """

    conditions: tuple[PlannedCondition, ...]
    source: str
    num_pieces: int | None
    seconds: float | None
    too_long: tuple[str, ...]


def choose_rates(
    design: Design, timings: Sequence[Timing], *, workers: int, machine: str | None = None
) -> Rates:
    """Return the rates of a machine.

    Args:
        design: The study.
        timings: Measured times.
        workers: Number of conditions at the same time.
        machine: A part of the name of a machine that was measured; None for this machine, or if
            it was not measured for the one that was measured most often.

    Raises:
        ValueError: If no measured machine has such a name.
    """
    names = [timing.machine for timing in timings]
    chosen = machine_name()
    if machine is not None:
        able = [name for name in names if machine in name]
        if not able:
            known = "; ".join(dict.fromkeys(names)) or "none"
            raise ValueError(f"no machine {machine!r} was measured; measured are: {known}")
        chosen = able[0]
    elif names and chosen not in names:
        chosen = max(names, key=names.count)
    return Rates(design.size, timings, machine=chosen, workers=workers)


def plan_study(
    out: Path | None,
    design: Design,
    conditions: Sequence[Condition],
    rates: Rates,
    *,
    workers: int,
    piece_seconds: float,
) -> Plan:
    """Plan the conditions of a study, the most important first.

    Args:
        out: The study's folder; None if there is none yet.
        design: The whole study.
        conditions: The conditions to plan, in the order of their value.
        rates: What they cost.
        workers: Number of conditions at the same time.
        piece_seconds: Length of a piece of time, such as the limit of a machine that is lent. What
            `run` keeps for stopping and for the findings is subtracted. Each piece makes the
            libraries that it needs, unless `out` has them.
    """
    missing = [one for one in conditions if not _is_done(out, design, one)]
    costs = {one.name: _cost(out, design, rates, one) for one in missing}
    known = {name: seconds for name, seconds in costs.items() if seconds is not None}
    pieces: list[_Piece] = []
    waiting = list(missing) if len(known) == len(missing) else []
    while waiting:
        piece = _Piece(out, rates, workers, piece_seconds - RESERVED_SECONDS)
        before, waiting = waiting, [one for one in waiting if not piece.take(one, known[one.name])]
        if len(waiting) == len(before):
            break
        pieces.append(piece)
    numbers = {name: number for number, piece in enumerate(pieces, start=1) for name in piece.names}
    complete = len(known) == len(missing)
    return Plan(
        conditions=tuple(
            PlannedCondition(
                name=one.name,
                done=one.name not in costs,
                seconds=costs.get(one.name),
                piece=numbers.get(one.name),
            )
            for one in conditions
        ),
        source=rates.source,
        num_pieces=len(pieces) if complete else None,
        seconds=sum(piece.end for piece in pieces) if complete else None,
        too_long=tuple(one.name for one in waiting),
    )


class _Piece:
    """A piece of time that is being filled: libraries one after another, conditions in parallel."""

    def __init__(self, out: Path | None, rates: Rates, workers: int, seconds: float) -> None:
        self.names: list[str] = []
        self.end = 0.0
        self._out, self._rates, self._seconds = out, rates, seconds
        self._free = [0.0] * workers
        self._maker_free = 0.0
        self._made: dict[Place, float] = {}

    def take(self, condition: Condition, seconds: float) -> bool:
        """Plan a condition if it and what it needs would end within the piece."""
        if self._free[0] + seconds > self._seconds:
            return False
        made, maker_free = {**self._made}, self._maker_free
        needed = places_of(self._out or Path("."), condition)
        for place in needed:
            if self._out is not None and is_ready(place.folder):
                made.setdefault(place, 0.0)
            elif place not in made:
                maker_free += place.cost(self._rates) or 0.0
                made[place] = maker_free
        begin = max(self._free[0], *(made[place] for place in needed))
        if begin + seconds > self._seconds:
            return False
        self._made, self._maker_free = made, maker_free
        heapq.heapreplace(self._free, begin + seconds)
        self.end = max(self.end, begin + seconds)
        self.names.append(condition.name)
        return True


def _is_done(out: Path | None, design: Design, condition: Condition) -> bool:
    return out is not None and read_scores(out, design, condition) is not None


def _cost(out: Path | None, design: Design, rates: Rates, condition: Condition) -> float | None:
    done = 0.0 if out is None else steps_done(out, design, condition)
    return rates.condition(condition, steps_done=done)
