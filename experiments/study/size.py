"""The size of a study: one set of numbers for all of its conditions."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Content = Literal["movies", "shows", "both", "clips"]

#: Length of the labeled clips that conditions are evaluated on. A training clip must fit in.
TRANSFER_SECONDS = 2.0
#: Frame rate of the encoders' input.
CLIP_FRAME_RATE = 8.0


class Frozen(BaseModel):
    """An immutable model that rejects unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Variant(Frozen):
    """Settings of training that some conditions have in place of those of the study.

    Attributes:
        name: Part of the names of these conditions.
        settings: `section.key=value` each, as for `toomuchtv pretrain --set`. They are applied
            after all others.
    """

    name: str = Field(pattern=r"^\w[\w.]*(-\w[\w.]*)*$")
    settings: tuple[str, ...] = Field(min_length=1)

    def value(self, key: str) -> str | None:
        """Return the last value that a setting gets, as text; None if it is not changed."""
        pairs = (setting.partition("=") for setting in reversed(self.settings))
        return next((value.strip() for name, _, value in pairs if name.strip() == key), None)


class PlannedVariant(Variant):
    """A variant, and the conditions of a study that have it.

    Attributes:
        contents: Contents of their libraries.
        clips_per_title: Values of k; 1 is uniform sampling.
        seeds: Number of seeds.
    """

    contents: tuple[Content, ...] = ("movies",)
    clips_per_title: tuple[Annotated[int, Field(ge=1)], ...] = (1, 8)
    seeds: int = Field(ge=0)

    @property
    def variant(self) -> Variant:
        """What its conditions have of it."""
        return Variant(name=self.name, settings=self.settings)

    @property
    def is_costlier(self) -> bool:
        """True if it selects a loss or a number of steps: what is compared with better sampling."""
        return any(self.value(key) for key in ("loss.name", "training.steps"))


class Detail(Frozen):
    """Resolution of the rendered films and of the encoders' input.

    Attributes:
        width: Width of the rendered films and their proxies, in pixels.
        height: Height of the rendered films and their proxies, in pixels.
        frame_rate: Frames per second of films and proxies.
        sample_rate_hz: Sample rate of the audio.
        clip_frames: Number of frames of a clip, at `CLIP_FRAME_RATE`.
        clip_audio_seconds: Length of a clip's audio.
        crop: Side of the square that the video encoder receives, in pixels.
        num_bands: Number of mel bands.
        precision: Precision of training. float32 gives the same results on any CPU.
        loader_workers: Number of loader processes per training; 0 loads in the training process.
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
    def _check_consistency(self) -> Self:
        longest = int(TRANSFER_SECONDS * CLIP_FRAME_RATE)
        if self.clip_frames > longest:
            raise ValueError(
                f"got clip_frames={self.clip_frames}; the labeled clips have {longest} frames at "
                f"{CLIP_FRAME_RATE:g} per second: use {longest} or fewer"
            )
        if self.crop > min(self.width, self.height):
            raise ValueError(
                f"got crop={self.crop} for frames of {self.width}x{self.height}: render larger "
                "frames or lower crop"
            )
        return self


#: Fields of a size that do not change the result of any condition.
_NOT_SHARED = frozenset(
    {"name", "seeds", "side_seeds", "map_seeds", "signatures", "diversities",
     "clips_per_title", "contents", "data_seeds", "data_scales", "clip_scales", "variants",
     "map_content",
     "condition_core_seconds", "library_core_seconds", "transfer_core_seconds"}
)  # fmt: skip


class StudySize(Frozen):
    """Numbers that are the same for all conditions of a study.

    Attributes:
        name: `full`, `quick`, or any other name.
        items: Number of films or episodes of a library, each of `minutes`. There are a quarter as
            many series, so that a uniform batch has few clips of the same series.
        minutes: Length of each film or episode.
        steps: Number of training steps.
        batch_size: Clips per step.
        learning_rate: Peak learning rate.
        temperature: Temperature of the loss.
        transfer_clips_per_kind: Clips per kind of event in each transfer set.
        seeds: Number of seeds of the main comparison.
        side_seeds: Number of seeds of questions 4 (levels), 5 and 6 (curated clips).
        map_seeds: Number of seeds of each cell of the map.
        map_content: Content of the libraries of the map.
        data_seeds: Number of seeds of the conditions on libraries of more hours.
        data_scales: How many times the hours those libraries of shows have.
        clip_scales: The same for libraries of curated clips.
        signatures: Strengths of the signature on the map.
        diversities: Diversities on the map.
        clips_per_title: Values of k that are tried.
        variants: Conditions with other settings, such as another loss.
        contents: Contents of the main comparison.
        milestones: Shares of the training after which a condition is evaluated, besides the end.
        finetune_epochs: Number of epochs of fine-tuning.
        threads: Number of threads of each training.
        condition_core_seconds: Time of a condition in one worker, measured on a machine that the
            documentation names; None if not measured. Times of the own machine replace it.
        library_core_seconds: The same for a library, times the number of rendering processes.
        transfer_core_seconds: The same for a seed's transfer sets.
        width: Width of the encoders relative to the full encoders.
        event_kinds: Number of kinds of events; None for all.
        detail: Resolution of the films and of the encoders' input.
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
    map_seeds: int = Field(ge=0)
    map_content: Content = "movies"
    data_seeds: int = Field(default=0, ge=0)
    data_scales: tuple[int, ...] = ()
    clip_scales: tuple[int, ...] = ()
    signatures: tuple[float, ...] = (0.2, 0.6, 1.0)
    diversities: tuple[float, ...] = (0.2, 0.8)
    clips_per_title: tuple[int, ...] = (2, 4, 8, 16, 32)
    variants: tuple[PlannedVariant, ...] = ()
    contents: tuple[Content, ...] = ("movies", "shows", "both")
    milestones: tuple[float, ...] = (0.125, 0.25, 0.5, 0.75)
    finetune_epochs: int = 10
    threads: int = 1
    condition_core_seconds: float | None = 125.0
    library_core_seconds: float = 60.0
    transfer_core_seconds: float = 60.0
    width: float = 0.125
    event_kinds: int | None = 12
    detail: Detail = Detail()

    @property
    def processes_per_condition(self) -> int:
        """Number of processes of one training, including its loader processes."""
        return 1 + self.detail.loader_workers

    @property
    def hours(self) -> float:
        """Duration of every library, except for those of more hours."""
        return self.items * self.minutes / 60

    @field_validator("variants")
    @classmethod
    def _check_names(cls, variants: tuple[PlannedVariant, ...]) -> tuple[PlannedVariant, ...]:
        names = [variant.name for variant in variants]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"got two variants with the name {twice[0]!r}: rename one of them")
        return variants

    def shared(self) -> dict[str, Any]:
        """Return the numbers on which the result of a condition depends, except for defaults."""
        return self.model_dump(mode="json", exclude_defaults=True, exclude=set(_NOT_SHARED))

    def with_seeds(self, seeds: int) -> StudySize:
        """Return a copy with another number of seeds, which also limits the side comparisons."""
        fewer = {name: min(getattr(self, name), seeds) for name in
                 ("side_seeds", "map_seeds", "data_seeds")}  # fmt: skip
        variants = tuple(
            one.model_copy(update={"seeds": min(one.seeds, seeds)}) for one in self.variants
        )
        return self.model_copy(update={"seeds": seeds, **fewer, "variants": variants})


#: Losses that are more complex than InfoNCE, with uniform sampling of films.
_LOSSES = tuple(
    PlannedVariant(name=name, settings=(f"loss.name={name}",), clips_per_title=(1,), seeds=3)
    for name in ("within_modal", "memory_bank")
)
FULL = StudySize(
    name="full", items=64, steps=500, seeds=5, side_seeds=3, map_seeds=2,
    variants=(
        *_LOSSES,
        PlannedVariant(name="temperature-x2", settings=("loss.temperature=0.14",), seeds=2),
        PlannedVariant(
            name="learning_rate-x0.5", settings=("optimizer.learning_rate=0.001",), seeds=2
        ),
        PlannedVariant(name="steps-x2", settings=("training.steps=1000",), seeds=2),
    ),
)  # fmt: skip
QUICK = StudySize(
    name="quick", items=32, condition_core_seconds=60.0, library_core_seconds=30.0, steps=200,
    seeds=1, side_seeds=1, map_seeds=1, clips_per_title=(2, 8, 32),
    signatures=(0.2, 1.0), diversities=(0.2, 0.8), contents=("movies", "shows"),
    milestones=(0.5,), finetune_epochs=3, transfer_clips_per_kind=10,
    variants=_LOSSES,
).with_seeds(1)  # fmt: skip


def read_size(path: str | os.PathLike[str]) -> StudySize:
    """Read a custom size: a TOML file with the numbers that differ from the full study.

    The time of a condition counts as unknown unless the file sets `condition_core_seconds`. There
    are no variants except those of the file, because those of the full study depend on its numbers.

    Raises:
        ValueError: If the file cannot be read, or a number is unknown or out of range.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"cannot read the size {str(path)!r}: {error}") from error
    own = {"name": path.stem, "condition_core_seconds": None, "variants": ()}
    return StudySize.model_validate({**FULL.model_dump(), **own, **values})
