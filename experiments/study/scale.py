"""How large a study is: one set of numbers for all of its arms."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from experiments.study.condition import Condition, Content, Frozen

CONTENTS: tuple[Content, ...] = ("movies", "shows", "both")
CLIPS_PER_TITLE = (2, 4, 8, 16, 32)
SIGNATURES = (0.2, 0.6, 1.0)
DIVERSITIES = (0.2, 0.8)


#: Length of the labeled clips that arms are judged on: a clip must fit in.
TRANSFER_SECONDS = 2.0
#: At which encoders see frames.
CLIP_FRAME_RATE = 8.0


class Detail(Frozen):
    """How finely films are rendered, and what encoders see and hear of them.

    Attributes:
        width: Of the rendered films, pixels; their proxies are of the same size.
        height: The same.
        frame_rate: Of films and proxies, frames a second; encoders see `CLIP_FRAME_RATE`.
        sample_rate_hz: Of the sound.
        clip_frames: Frames of a clip.
        clip_audio_seconds: Sound of a clip.
        crop: Side of what the encoder sees of a frame, pixels.
        num_bands: Mel bands.
        precision: Of the trainings; float32 comes out alike on any CPU.
        loader_workers: Processes that read for one training; 0 reads in the training's own.
    """

    width: int = 80
    height: int = 48
    frame_rate: int = Field(default=8, ge=8)
    sample_rate_hz: int = 8000
    clip_frames: int = Field(default=4, ge=1)
    clip_audio_seconds: float = Field(default=1.0, gt=0.0, le=TRANSFER_SECONDS)
    crop: int = Field(default=32, ge=16)
    num_bands: int = Field(default=40, ge=1)
    precision: Literal["auto", "bfloat16", "float32"] = "float32"
    loader_workers: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        longest = int(TRANSFER_SECONDS * CLIP_FRAME_RATE)
        if self.clip_frames > longest:
            raise ValueError(
                f"got clip_frames={self.clip_frames}; the labeled clips have {longest} frames at "
                f"{CLIP_FRAME_RATE:g} a second: use {longest} or fewer"
            )
        if self.crop > min(self.width, self.height):
            raise ValueError(
                f"got crop={self.crop} of pictures of {self.width}x{self.height}: render larger "
                "ones or lower crop"
            )
        return self


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
        temperature: Temperature of the loss.
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
        arm_core_seconds: What an arm was measured to take, for the estimate; None: nobody has.
        world_core_seconds: What a world was measured to take.
        transfer_core_seconds: What a seed's transfer sets were measured to take.
        width: Share of the channels of the full encoders.
        event_kinds: Kinds of events in the world; None: all.
        detail: How finely films are rendered, and what encoders see and hear of them.
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
    arm_core_seconds: float | None = 125.0
    world_core_seconds: float = 60.0
    transfer_core_seconds: float = 60.0
    width: float = 0.125
    event_kinds: int | None = 12
    detail: Detail = Detail()

    @property
    def arm_processes(self) -> int:
        """Of an arm: its own, and those that read for it."""
        return 1 + self.detail.loader_workers

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

    def steps_of(self, arm: Condition) -> int:
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

    What an arm takes is not known of it, unless the file says `arm_core_seconds`.

    Raises:
        ValueError: It cannot be read, or a number is unknown or out of range.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"cannot read the size {str(path)!r}: {error}") from error
    usual = {**FULL.model_dump(), "name": path.stem, "arm_core_seconds": None}
    return Scale.model_validate({**usual, **values})
