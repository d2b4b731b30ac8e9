"""Settings of the renderer: how much it renders and how strong the titles' signatures are."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from experiments.rendered_tv.events.registry import EVENT_KINDS
from experiments.rendered_tv.names import MAX_EPISODE_NAMES, MAX_TITLE_NAMES

Knob = Annotated[float, Field(ge=0.0, le=1.0)]

#: ESC-50 has five folds, and each fold needs at least one source title of its own.
NUM_FOLDS = 5
#: UCF101 has three splits.
NUM_SPLITS = 3


class RenderedTVConfig(BaseModel):
    """All settings of a rendered library. Two equal configs render identical files.

    Attributes:
        movies: Number of films.
        shows: Number of series.
        episodes: Number of episodes of each series.
        seasons: Number of seasons that the episodes are divided into, in order and as evenly as
            possible.
        clips: Number of short clips. Each is a title of its own and shows one event. The event
            kinds take turns, so that they are balanced as in a curated dataset.
        clip_seconds: Length of a short clip, in seconds.
        minutes: Length of each film and of each episode, in minutes.
        seed: Seed of everything random.
        opening_seconds: Length of a series' opening, in seconds. None means about a fifteenth of
            an episode, between 4 and 18 seconds.
        width: Frame width in pixels; must be even.
        height: Frame height in pixels; must be even.
        frame_rate: Frames per second.
        sample_rate_hz: Sample rate of the mono audio.
        signature_picture: Strength of a title's visual signature. 0 gives every title the same
            neutral look; 1 gives each its own palette, grade, lens and letterbox.
        signature_sound: Strength of a title's audio signature: theme music, reverberation, room
            tone, loudness and pitch.
        diversity: Share of the event kinds and of the sets that a film uses.
        show_diversity: The same share for a series. None means half of `diversity`, because fewer
            kinds of things happen in a series.
        recurrence: Probability that a scene uses one of the title's own sets and characters
            rather than ones that appear only once.
        music_overlap: Loudness of the music during an event, relative to the music elsewhere.
        event_share: Share of the shots in which an event happens.
        pair_share: Share of those shots in which two events happen at once.
        event_kinds: The kinds to use: None for all, a number n for the first n of the registry,
            or their names.
        transfer_titles: Number of titles that only the transfer sets contain.
        transfer_clips_per_kind: Number of clips per kind in each transfer set; 0 renders none.
        transfer_clip_seconds: Length of a clip of `transfer/actions`, in seconds.
        transfer_sound_seconds: Length of a clip of `transfer/sounds`, in seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    movies: int = Field(default=12, ge=0)
    shows: int = Field(default=4, ge=0)
    episodes: int = Field(default=4, ge=1, le=MAX_EPISODE_NAMES)
    seasons: int = Field(default=1, ge=1)
    clips: int = Field(default=0, ge=0)
    clip_seconds: float = Field(default=6.0, ge=1.0, le=60.0)
    minutes: float = Field(default=4.0, ge=0.25, le=240.0)
    seed: int = Field(default=0, ge=0)
    opening_seconds: Annotated[float, Field(ge=4.0, le=120.0)] | None = None
    width: int = Field(default=160, ge=48, le=1920)
    height: int = Field(default=96, ge=32, le=1080)
    frame_rate: int = Field(default=16, ge=8, le=60)
    sample_rate_hz: int = Field(default=16000, ge=8000, le=48000)
    signature_picture: Knob = 0.7
    signature_sound: Knob = 0.7
    diversity: Knob = 0.8
    show_diversity: Knob | None = None
    recurrence: Knob = 0.8
    music_overlap: Knob = 0.4
    event_share: Knob = 0.8
    pair_share: Knob = 0.12
    event_kinds: Annotated[int, Field(ge=1, le=len(EVENT_KINDS))] | tuple[str, ...] | None = None
    transfer_titles: int = Field(default=10, ge=NUM_FOLDS, le=99)
    transfer_clips_per_kind: int = Field(default=10, ge=0)
    transfer_clip_seconds: float = Field(default=4.0, ge=1.0, le=30.0)
    transfer_sound_seconds: float = Field(default=5.0, ge=1.0, le=30.0)

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if self.width % 2 or self.height % 2:
            raise ValueError(
                f"got frames of {self.width}x{self.height}; H.264 4:2:0 needs even sides: "
                f"use {self.width // 2 * 2}x{self.height // 2 * 2}"
            )
        if not 1.0 <= self.width / self.height <= 3.0:
            raise ValueError(
                f"got frames of {self.width}x{self.height}; the ratio must be between 1:1 and "
                "3:1, because a set must fill the frame: change width or height"
            )
        num_titles = self.movies + self.shows + self.clips
        if num_titles > MAX_TITLE_NAMES:
            raise ValueError(
                f"got {num_titles} titles; there are only {MAX_TITLE_NAMES} names: "
                "ask for fewer movies, shows or clips"
            )
        if num_titles == 0 and self.transfer_clips_per_kind == 0:
            raise ValueError(
                "got no movies, no shows, no clips and no transfer clips; nothing would be "
                "rendered: set at least one of movies, shows, clips, transfer_clips_per_kind"
            )
        if self.seasons > self.episodes:
            raise ValueError(
                f"got {self.seasons} seasons of {self.episodes} episodes in total; each season "
                "needs one: raise episodes or lower seasons"
            )
        per_title = -(-self.transfer_clips_per_kind // self.transfer_titles)
        if per_title > 26:
            raise ValueError(
                f"got {self.transfer_clips_per_kind} transfer clips per kind from "
                f"{self.transfer_titles} titles; each title has at most 26 (takes A to Z): raise "
                "transfer_titles"
            )
        if 0 < self.transfer_clips_per_kind < NUM_FOLDS:
            raise ValueError(
                f"got transfer_clips_per_kind={self.transfer_clips_per_kind}; each of the "
                f"{NUM_FOLDS} folds needs one: use 0 for no transfer sets, or at least {NUM_FOLDS}"
            )
        if self.opening_seconds is not None and self.opening_seconds > 30 * self.minutes:
            raise ValueError(
                f"got an opening of {self.opening_seconds:g} s in an episode of {self.minutes:g} "
                "minutes; it may be at most half as long: lower opening_seconds or raise minutes"
            )
        if isinstance(self.event_kinds, tuple):
            self._check_kinds(self.event_kinds)
        return self

    @staticmethod
    def _check_kinds(names: tuple[str, ...]) -> None:
        unknown = [name for name in names if name not in EVENT_KINDS]
        if unknown:
            raise ValueError(
                f"got unknown event kinds {unknown}; choose from {', '.join(EVENT_KINDS)}"
            )
        if not names or len(set(names)) != len(names):
            raise ValueError(
                f"got event_kinds={names}; name at least one kind and each kind once, or omit it "
                "to use all"
            )

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the event kinds in use, in the order of the registry."""
        if self.event_kinds is None:
            return tuple(EVENT_KINDS)
        if isinstance(self.event_kinds, int):
            return tuple(EVENT_KINDS)[: self.event_kinds]
        chosen = set(self.event_kinds)
        return tuple(name for name in EVENT_KINDS if name in chosen)

    @property
    def aspect(self) -> float:
        """Aspect ratio of the frames: width divided by height."""
        return self.width / self.height
