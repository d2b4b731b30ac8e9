"""The settings of the sampling policy."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from toomuchtv.catalog.records import TitleKind
from toomuchtv.detection.recurrence import RECURRING_KINDS

#: Largest number of clips of one step.
MAX_BATCH_SIZE = 2**20
#: Largest number of steps of a run. Names of checkpoints have eight digits.
MAX_STEPS = 99_999_999

V = TypeVar("V", int, float)
#: A setting that may change with the step: one value, or pairs `(from_step, value)`, of which each
#: holds until the step of the next pair.
Scheduled: TypeAlias = tuple[tuple[int, V], ...] | V

SegmentKind = Literal[
    "opening", "credits", "recap", "recurring", "black", "silence", "logo", "shot"
]


def schedule_pairs(value: Scheduled[V]) -> tuple[tuple[int, V], ...]:
    """Return a schedule as pairs `(from_step, value)`; a plain value is one pair.

    Raises:
        ValueError: The first pair is not of step 0, or the steps do not ascend.
    """
    if not isinstance(value, tuple):
        return ((0, value),)
    steps = [step for step, _ in value]
    if not steps or steps[0] != 0 or any(one >= two for one, two in pairwise(steps)):
        raise ValueError(
            f"a schedule is pairs [from_step, value] that begin at step 0 and ascend, got {steps}"
        )
    return value


def value_at(value: Scheduled[V], step: int) -> V:
    """Return the value of a schedule at a step."""
    pairs = schedule_pairs(value)
    return pairs[bisect_right(pairs, step, key=lambda pair: pair[0]) - 1][1]


def _checked(value: Scheduled[V], is_allowed: Callable[[V], bool], allowed: str) -> Scheduled[V]:
    """Return a schedule unchanged if each of its values is allowed.

    Raises:
        ValueError: A value is not, or a step is too large; the message says what is `allowed`.
    """
    for step, part in schedule_pairs(value):
        if step > MAX_STEPS:
            raise ValueError(f"must begin at step {MAX_STEPS} at the latest, got step {step}")
        if not is_allowed(part):
            raise ValueError(f"must be {allowed}, got {part} from step {step} on")
    return value


class KindShares(BaseModel):
    """Relative shares of films, shows and short clips in the titles that are drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    movie: float = Field(default=0.0, ge=0.0, le=1e6)
    show: float = Field(default=0.0, ge=0.0, le=1e6)
    clip: float = Field(default=0.0, ge=0.0, le=1e6)

    @model_validator(mode="after")
    def _require_positive_sum(self) -> KindShares:
        if self.movie + self.show + self.clip <= 0:
            raise ValueError("at least one kind of title needs a share above 0")
        return self

    def of(self, kind: TitleKind) -> float:
        """Return the share of a kind; the shares of all kinds sum to 1."""
        return float(getattr(self, kind)) / (self.movie + self.show + self.clip)


class SamplingConfig(BaseModel):
    """Which clips make a batch.

    `uniform` draws every clip independently, each item weighted by the duration in which a clip
    may start. `hierarchical` draws titles, then items inside each title, then clips inside each
    item. It is the policy of "Watching Too Much Television is Good" (arXiv 2106.08513), as this
    project understands it.

    `clips_per_item` and `window_seconds` may change during a run: instead of one value, give
    pairs `[from_step, value]`, such as `[[0, 4], [2000, 16]]`.

    Attributes:
        batch_size: Number of clips of one step over all processes. A hierarchical batch has
            titles x items_per_title x clips_per_item clips.
        items_per_title: Number of items drawn from each title.
        clips_per_item: Number of clips drawn from each item.
        level: What counts as one title. A film is one title at every level.
        title_weight: Probability of a title: equal, by the square root of its duration, or by its
            duration.
        kind_shares: Shares of films, shows and short clips among the drawn titles. Each kind then
            has epochs of its own. If unset, all kinds share one epoch.
        min_gap_seconds: Minimum distance between the starts of two clips of one item.
        window_seconds: Length of a window in which all clips of one item start. Anywhere in the
            item if unset or inf.
        skip: Kinds of segments that no clip may touch, with its frames or with its audio.
        shots: Whether the frames of a clip may `cross` a cut or must lie `inside` one shot.
        languages: Which audio track of an item with several: the `preferred` one; `any`, drawn
            for each clip; or `pairs`, where two clips share a start time and differ in language.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["uniform", "hierarchical"] = "hierarchical"
    batch_size: int = Field(default=64, ge=2, le=MAX_BATCH_SIZE)
    items_per_title: int = Field(default=1, ge=1, le=MAX_BATCH_SIZE)
    clips_per_item: Scheduled[int] = 16
    level: Literal["show", "season", "episode"] = "show"
    title_weight: Literal["uniform", "sqrt", "duration"] = "uniform"
    kind_shares: KindShares | None = None
    min_gap_seconds: float = Field(default=2.0, ge=0.0, le=1e6)
    window_seconds: Scheduled[float] | None = None
    skip: Annotated[tuple[SegmentKind, ...], Field(description="kinds")] = (
        "credits", "logo", "black", "silence",
    )  # fmt: skip
    shots: Literal["cross", "inside"] = "cross"
    languages: Literal["preferred", "any", "pairs"] = "preferred"

    @field_validator("clips_per_item")
    @classmethod
    def _check_clips(cls, value: Scheduled[int]) -> Scheduled[int]:
        return _checked(value, lambda clips: 1 <= clips <= MAX_BATCH_SIZE, f"1 to {MAX_BATCH_SIZE}")

    @field_validator("window_seconds")
    @classmethod
    def _check_windows(cls, value: Scheduled[float] | None) -> Scheduled[float] | None:
        return value if value is None else _checked(value, lambda window: window > 0, "above 0")

    @model_validator(mode="after")
    def _require_whole_titles(self) -> SamplingConfig:
        for _, clips in schedule_pairs(self.clips_per_item):
            if self.name == "hierarchical" and self.batch_size % (self.items_per_title * clips):
                raise ValueError(
                    f"batch_size ({self.batch_size}) must be a multiple of items_per_title x "
                    f"clips_per_item ({self.items_per_title} x {clips})"
                )
        return self

    @property
    def segment_kinds(self) -> set[str]:
        """The kinds of segments that decide which clips are drawn and how pairs are labeled."""
        cuts = {"shot"} if self.shots == "inside" else set()
        return {*self.skip, *cuts, *RECURRING_KINDS}

    def clips_per_item_at(self, step: int) -> int:
        """Return the number of clips drawn from each item at a step."""
        return value_at(self.clips_per_item, step)

    def titles_at(self, step: int) -> int:
        """Return the number of titles drawn for the batch of a step."""
        return self.batch_size // (self.items_per_title * self.clips_per_item_at(step))

    def window_seconds_at(self, step: int) -> float:
        """Return the length of the window at a step; inf if there is none."""
        return math.inf if self.window_seconds is None else value_at(self.window_seconds, step)

    def draws_per_step(self) -> list[tuple[int, int]]:
        """Return pairs `(from_step, draws)`: draws of titles, or for `uniform` of clips."""
        if self.name == "uniform":
            return [(0, self.batch_size)]
        return [(step, self.titles_at(step)) for step, _ in schedule_pairs(self.clips_per_item)]


def other_policy(policy: SamplingConfig) -> SamplingConfig:
    """Return the settings with the other name: uniform for hierarchical, and the reverse.

    A uniform config also has the settings that only `hierarchical` uses. If they do not fit its
    batch, fewer clips are drawn from each item, so that the batch has at least two titles. Of
    settings that change with the step, those of step 0 count.
    """
    name = "uniform" if policy.name == "hierarchical" else "hierarchical"
    renamed = policy.model_copy(update={"name": name})
    return fit_batch_size(renamed, policy.batch_size, min_titles=2)


def fit_batch_size(
    policy: SamplingConfig, batch_size: int, *, min_titles: int = 1
) -> SamplingConfig:
    """Return the policy with the largest batch of at most `batch_size` clips that it can fill.

    A hierarchical policy keeps its clips per title if a batch of `min_titles` titles permits it.
    Of settings that change with the step, those of step 0 count.

    Raises:
        ValueError: `batch_size` is below 2.
    """
    if batch_size < 2:
        raise ValueError(f"a batch has at least 2 clips, got {batch_size}")
    window_seconds = policy.window_seconds_at(0)
    changes: dict[str, float | None] = {
        "batch_size": batch_size,
        "clips_per_item": policy.clips_per_item_at(0),
        "window_seconds": None if math.isinf(window_seconds) else window_seconds,
    }
    if policy.name == "hierarchical":
        clips_per_title = max(1, batch_size // min_titles)
        items = min(policy.items_per_title, clips_per_title)
        clips = min(policy.clips_per_item_at(0), clips_per_title // items)
        changes |= {
            "batch_size": batch_size // (items * clips) * items * clips,
            "items_per_title": items,
            "clips_per_item": clips,
        }
    return SamplingConfig.model_validate({**policy.model_dump(), **changes})
