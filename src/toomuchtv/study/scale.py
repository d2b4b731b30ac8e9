"""How large a study is: one set of numbers for all of its arms."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import Field

from toomuchtv.study.arm import Arm, Content, Frozen

CONTENTS: tuple[Content, ...] = ("movies", "shows", "both")
CLIPS_PER_TITLE = (2, 4, 8, 16, 32)
SIGNATURES = (0.2, 0.6, 1.0)
DIVERSITIES = (0.2, 0.8)


class Scale(Frozen):
    """How large a study is. Everything in it is the same for all of its arms.

    Attributes:
        name: `full`, `quick`, or any other.
        items: Films and episodes of a world, each of `minutes`; a quarter as many series, so that
            a uniform batch has few clips of one.
        minutes: Length of each.
        steps: Of each training.
        batch_size: Clips of each step.
        learning_rate: Its peak.
        temperature: Of the objective.
        transfer_clips_per_kind: Clips a kind in each transfer set.
        seeds: Repetitions of the main comparison.
        side_seeds: Repetitions of the other comparisons, the first of the seeds.
        guard_seeds: Repetitions of those with another setting.
        map_seeds: Repetitions of each cell of the map.
        signatures: Of the map.
        diversities: Of the map.
        clips_per_title: The k that are tried.
        contents: What the main comparison is made on.
        milestones: Shares of the training after which it is judged, besides the end.
        finetune_epochs: Epochs of fine-tuning.
        threads: Threads of each arm.
        arm_core_seconds: What an arm was measured to take, for the estimate.
        world_core_seconds: What a world was measured to take.
        transfer_core_seconds: What a seed's transfer sets were measured to take.
        width: Share of the channels of the full encoders.
        event_kinds: Kinds of events in the world; None: all.
    """

    name: str
    items: int = Field(ge=4, multiple_of=4)
    minutes: float = 0.5
    steps: int = Field(ge=1)
    batch_size: int = 32
    learning_rate: float = 2e-3
    temperature: float = 0.07
    transfer_clips_per_kind: int = 20
    seeds: int = Field(ge=1)
    side_seeds: int = Field(ge=0)
    guard_seeds: int = Field(ge=0)
    map_seeds: int = Field(ge=0)
    signatures: tuple[float, ...] = SIGNATURES
    diversities: tuple[float, ...] = DIVERSITIES
    clips_per_title: tuple[int, ...] = CLIPS_PER_TITLE
    contents: tuple[Content, ...] = CONTENTS
    milestones: tuple[float, ...] = (0.125, 0.25, 0.5, 0.75)
    finetune_epochs: int = 10
    threads: int = 1
    arm_core_seconds: float = 125.0
    world_core_seconds: float = 60.0
    transfer_core_seconds: float = 60.0
    width: float = 0.125
    event_kinds: int | None = 12

    @property
    def hours(self) -> float:
        """Of every world."""
        return self.items * self.minutes / 60

    @property
    def alternatives(self) -> dict[str, float]:
        """The one other value of each setting that the conclusion shall not hang on."""
        return {
            "temperature": 2 * self.temperature,
            "learning_rate": self.learning_rate / 2,
            "steps": 2 * self.steps,
        }

    def with_seeds(self, seeds: int) -> Scale:
        """The same with so many repetitions; no comparison is repeated more often than before."""
        return self.model_copy(
            update={
                "seeds": seeds,
                "side_seeds": min(self.side_seeds, seeds),
                "guard_seeds": min(self.guard_seeds, seeds),
                "map_seeds": min(self.map_seeds, seeds),
            }
        )

    def steps_of(self, arm: Arm) -> int:
        """Steps of an arm's training."""
        other = self.alternatives["steps"] if arm.alternative == "steps" else self.steps
        return 0 if arm.policy == "untrained" else int(other)


FULL = Scale(name="full", items=64, steps=500, seeds=5, side_seeds=3, guard_seeds=2, map_seeds=2)
QUICK = Scale(
    name="quick",
    items=32,
    arm_core_seconds=60.0,
    world_core_seconds=30.0,
    steps=200,
    seeds=1,
    side_seeds=1,
    guard_seeds=0,
    map_seeds=1,
    clips_per_title=(2, 8, 32),
    signatures=(0.2, 1.0),
    diversities=(0.2, 0.8),
    contents=("movies", "shows"),
    milestones=(0.5,),
    finetune_epochs=3,
    transfer_clips_per_kind=10,
)


def read_scale(path: Path) -> Scale:
    """Read a size of one's own: a TOML file with other numbers than the full study has.

    Raises:
        ValueError: It cannot be read, or a number is unknown or out of range.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"cannot read the size {str(path)!r}: {error}") from error
    return Scale.model_validate({**FULL.model_dump(), "name": path.stem, **values})
