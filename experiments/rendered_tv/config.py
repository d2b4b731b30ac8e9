"""What a studio renders: how much of it, and how strong its signatures are."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from experiments.rendered_tv.events.registry import EVENT_KINDS
from experiments.rendered_tv.names import MAX_EPISODE_NAMES, MAX_TITLE_NAMES

Knob = Annotated[float, Field(ge=0.0, le=1.0)]

#: ESC-50 has five folds, and a fold needs a source title of its own.
NUM_FOLDS = 5
#: UCF101 has three splits.
NUM_SPLITS = 3


class RenderedTVConfig(BaseModel):
    """A studio's whole order. Two equal configs render equal files.

    Attributes:
        movies: Number of films.
        shows: Number of series.
        episodes: Episodes of each series.
        seasons: Seasons that they are dealt to, in order and as evenly as can be.
        clips: Number of short clips, each a title of its own in which one event happens; the kinds
            come in turn, so that they are balanced. The opposite of film: what a curated set is.
        clip_seconds: Length of each.
        minutes: Length of each film and of each episode.
        seed: Everything random follows from it.
        opening_seconds: Length of a series' opening; about a fifteenth of an episode, between 4
            and 18 seconds, when None.
        width: Picture width in pixels, even.
        height: Picture height in pixels, even.
        frame_rate: Frames a second.
        sample_rate_hz: Rate of the mono sound.
        signature_picture: Strength of what a title owns in the picture: 0 gives every title the
            same neutral look, 1 a palette, grade, lens and letterbox all its own.
        signature_sound: The same for sound: theme music, room, room tone, loudness, pitch.
        diversity: Share of the event kinds (and of the sets) that a film has.
        show_diversity: The same for a series; half of `diversity` when None, since series are
            poorer in what happens.
        recurrence: How often a scene is set in one of the title's own sets, with its own
            characters, rather than in a place and with people seen once.
        music_overlap: Loudness of the music under an event, relative to the music elsewhere.
        event_share: Share of the shots in which something happens.
        pair_share: Share of the happenings that are two events at once.
        event_kinds: The kinds to use: all (None), the first so many of the registry, or by name.
        transfer_titles: Titles that only the transfer sets show.
        transfer_clips_per_kind: Clips a kind in each transfer set; 0 renders none.
        transfer_clip_seconds: Length of a clip of `transfer/actions`.
        transfer_sound_seconds: Length of a clip of `transfer/sounds`.
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
    def _possible(self) -> Self:
        if self.width % 2 or self.height % 2:
            raise ValueError(
                f"got a picture of {self.width}x{self.height}; H.264 4:2:0 needs even sides: "
                f"use {self.width // 2 * 2}x{self.height // 2 * 2}"
            )
        if not 1.0 <= self.width / self.height <= 3.0:
            raise ValueError(
                f"got a picture of {self.width}x{self.height}; its sides must be between 1:1 and "
                "3:1 so that a set fills it: change width or height"
            )
        num_titles = self.movies + self.shows + self.clips
        if num_titles > MAX_TITLE_NAMES:
            raise ValueError(
                f"got {num_titles} titles; the studio has {MAX_TITLE_NAMES} names: "
                "ask for fewer movies, shows or clips"
            )
        if num_titles == 0 and self.transfer_clips_per_kind == 0:
            raise ValueError(
                "got no movies, no shows, no clips and no transfer clips; nothing would be "
                "rendered: set at least one of movies, shows, clips, transfer_clips_per_kind"
            )
        if self.seasons > self.episodes:
            raise ValueError(
                f"got {self.seasons} seasons of {self.episodes} episodes in all; a season needs "
                "one: raise episodes or lower seasons"
            )
        per_title = -(-self.transfer_clips_per_kind // self.transfer_titles)
        if per_title > 26:
            raise ValueError(
                f"got {self.transfer_clips_per_kind} transfer clips a kind from "
                f"{self.transfer_titles} titles; a title gives at most 26 (takes A to Z): raise "
                "transfer_titles"
            )
        if 0 < self.transfer_clips_per_kind < NUM_FOLDS:
            raise ValueError(
                f"got transfer_clips_per_kind={self.transfer_clips_per_kind}; each of the "
                f"{NUM_FOLDS} folds needs one: use 0 for no transfer sets, or {NUM_FOLDS} or more"
            )
        if self.opening_seconds is not None and self.opening_seconds > 30 * self.minutes:
            raise ValueError(
                f"got an opening of {self.opening_seconds:g} s in an episode of {self.minutes:g} "
                "minutes; it may take half of one: lower opening_seconds or raise minutes"
            )
        if isinstance(self.event_kinds, tuple):
            self._known(self.event_kinds)
        return self

    @staticmethod
    def _known(names: tuple[str, ...]) -> None:
        unknown = [name for name in names if name not in EVENT_KINDS]
        if unknown:
            raise ValueError(
                f"got event kinds {unknown} that the studio does not have; choose from "
                f"{', '.join(EVENT_KINDS)}"
            )
        if not names or len(set(names)) != len(names):
            raise ValueError(
                f"got event_kinds={names}; name at least one kind and each kind once, or leave it "
                "out for all"
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
        """Width of the picture in heights."""
        return self.width / self.height
