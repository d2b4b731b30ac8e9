"""What is shown when: scenes, shots, cameras and cues, by arithmetic alone.

Time is laid out before anything is painted. Cuts lie on frames; events begin and end at cuts,
and may go on through a cut in between::

    scene    |--------------- one set, its people, its music ----------------|
    shots    |------|-----------|--------|----|--------|-----------|---------|
    events          [ bounce    ]        [       siren             ]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from numpy.random import Generator

from experiments.rendered_tv.config import RenderedTVConfig
from experiments.rendered_tv.events.registry import EVENT_KINDS
from experiments.rendered_tv.events.track import Track
from experiments.rendered_tv.seeds import stream
from experiments.rendered_tv.sets import WORLD_ASPECTS
from experiments.rendered_tv.titles import NUM_STOCK_CUES, Title

#: A place among the random streams.
StreamPath = tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """An event in a scene; `x` is where in the world it stands, `scale` how large."""

    kind: str
    first_frame: int
    stop_frame: int
    x: float
    scale: float
    path: StreamPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A view that moves evenly from `start` to `stop`, each `(x, y, height)` in the world."""

    move: str
    start: tuple[float, float, float]
    stop: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """What one camera sees between two cuts."""

    first_frame: int
    stop_frame: int
    camera: Camera


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A stretch of film in one place.

    Attributes:
        path: Its own random stream.
        role: `story`, `opening` or `credits`.
        set_path: Stream of its set; None for a black background.
        set_recurs: Whether the set is one of the title's own.
        figures: Stream and world x of each character.
        music: Number of the stock cue, -1 for the title's theme, None for no music.
        music_seconds: Where in the music the scene begins.
        shots: Its shots.
        cues: Its events.
        card: Lines of text over it.
        card_frame: The frame at which the text appears.
    """

    path: StreamPath
    role: str
    first_frame: int
    stop_frame: int
    set_path: StreamPath | None
    set_recurs: bool
    figures: tuple[tuple[StreamPath, float], ...]
    music: int | None
    music_seconds: float
    shots: tuple[Shot, ...]
    cues: tuple[Cue, ...]
    card: tuple[str, ...] = ()
    card_frame: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """All scenes of one file, in order and without gaps."""

    num_frames: int
    scenes: tuple[Scene, ...]

    def span(self, role: str) -> tuple[int, int] | None:
        """Return `[first, stop)` frames of the scenes with this role, None if there are none."""
        scenes = [scene for scene in self.scenes if scene.role == role]
        return (scenes[0].first_frame, scenes[-1].stop_frame) if scenes else None


def cue_track(config: RenderedTVConfig, cue: Cue) -> Track:
    """Return a cue's motion, the same wherever it is asked for."""
    seconds = (cue.stop_frame - cue.first_frame) / config.frame_rate
    return EVENT_KINDS[cue.kind].move(stream(config.seed, *cue.path, "motion"), seconds)


class ScriptWriter:
    """Writes the scenes of one title."""

    def __init__(self, config: RenderedTVConfig, title: Title, *path: int | str) -> None:
        self._config, self._title = config, title
        self._path: StreamPath = (*title.path, *path)
        self._rng = stream(config.seed, *self._path, "script")
        self._width = config.aspect * WORLD_ASPECTS
        self._num_scenes = 0
        self._deck: list[str] = []

    def story(self, first_frame: int, stop_frame: int) -> Iterator[Scene]:
        """Yield scenes that fill `[first_frame, stop_frame)`."""
        now = first_frame
        while now < stop_frame:
            length = self._frames(self._rng.uniform(10, 22))
            stop = stop_frame if stop_frame - now - length < self._frames(8) else now + length
            yield self.scene(now, stop)
            now = stop

    def scene(self, first_frame: int, stop_frame: int, kind: str | None = None) -> Scene:
        """Write one scene; with `kind`, all of it is that one event."""
        rng = self._rng
        path = (*self._path, "scene", self._num_scenes)
        self._num_scenes += 1
        mark = self._width / 2 + float(rng.uniform(-0.2, 0.2)) * self._config.aspect
        recurs = bool(rng.uniform() < self._config.recurrence)
        own: StreamPath = (*self._title.path, "set", int(rng.integers(0, self._title.num_sets)))
        themed = rng.uniform() < self._config.signature_sound
        music = -1 if themed else int(rng.integers(0, NUM_STOCK_CUES))
        figures = tuple(self._figures(path, mark))
        shots, cues = self._beats(path, first_frame, stop_frame, mark, kind)
        return Scene(
            path=path,
            role="story",
            first_frame=first_frame,
            stop_frame=stop_frame,
            set_path=own if recurs else (*path, "set"),
            set_recurs=recurs,
            figures=figures,
            music=music if rng.uniform() < 0.75 else None,
            music_seconds=float(rng.uniform(0, 60)),
            shots=tuple(shots),
            cues=tuple(cues),
        )

    def _figures(self, path: StreamPath, mark: float) -> Iterator[tuple[StreamPath, float]]:
        rng = self._rng
        spots = rng.permutation([-1.05, -0.78, -0.55, 0.55, 0.78, 1.05])
        own = rng.permutation(self._title.num_figures)
        for k in range(int(rng.integers(0, 4))):
            recurs = rng.uniform() < self._config.recurrence and k < len(own)
            who: StreamPath = (
                (*self._title.path, "figure", int(own[k])) if recurs else (*path, "figure", k)
            )
            yield who, mark + float(spots[k] + rng.uniform(-0.06, 0.06))

    def _beats(
        self, path: StreamPath, first: int, stop: int, mark: float, kind: str | None
    ) -> tuple[list[Shot], list[Cue]]:
        rng, shots, cues = self._rng, list[Shot](), list[Cue]()
        now = first
        while now < stop:
            happens = kind is not None or rng.uniform() < self._config.event_share
            length = self._frames(rng.uniform(4, 9) if happens else rng.uniform(2.5, 4.5))
            until = stop if kind or stop - now - length < self._frames(3) else now + length
            cuts = [now, until]
            if until - now > self._frames(5) and rng.uniform() < 0.5:
                cuts.insert(1, now + int((until - now) * rng.uniform(0.35, 0.65)))
            if happens:
                cues += self._happening((*path, "cue", len(cues)), now, until, mark, kind)
            for a, b in pairwise(cuts):
                camera = self._camera(mark if happens else None)
                shots.append(Shot(first_frame=a, stop_frame=b, camera=camera))
            now = until
        return shots, cues

    def _happening(
        self, path: StreamPath, first: int, stop: int, mark: float, kind: str | None
    ) -> Iterator[Cue]:
        rng = self._rng
        pair = kind is None and rng.uniform() < self._config.pair_share
        reach = 0.24 * self._config.aspect
        for k, x in enumerate((mark - reach, mark + reach) if pair else (mark,)):
            scale = float(rng.uniform(0.52, 0.6) if pair else rng.uniform(0.68, 0.8))
            yield Cue(
                kind=kind or self._next_kind(),
                first_frame=first,
                stop_frame=stop,
                x=x,
                scale=scale,
                path=(*path, k),
            )

    def _next_kind(self) -> str:
        if not self._deck:
            self._deck = [str(name) for name in self._rng.permutation(self._title.kinds)]
        return self._deck.pop()

    def _camera(self, mark: float | None) -> Camera:
        """Draw a camera; with a mark, it keeps what happens there in the picture."""
        rng, aspect = self._rng, self._config.aspect
        move = str(rng.choice(("still", "still", "pan", "push", "pull", "handheld")))
        height = float(rng.uniform(0.97, 1.12) if mark else rng.uniform(0.72, 1.12))
        x = (
            mark + float(rng.uniform(-0.07, 0.07)) * aspect
            if mark
            else float(rng.uniform(0.3, 0.7)) * self._width
        )
        y = float(rng.uniform(0.48, 0.54))
        near = height * 0.9
        drift = float(rng.choice((-1, 1))) * (0.05 if mark else 0.14) * aspect
        ends = {
            "pan": ((x - drift, y, height), (x + drift, y, height)),
            "push": ((x, y, height), (x, y - 0.02, near)),
            "pull": ((x, y - 0.02, near), (x, y, height)),
        }
        start, stop = ends.get(move, ((x, y, height), (x, y, height)))
        return Camera(move=move, start=self._inside(start), stop=self._inside(stop))

    def _inside(self, view: tuple[float, float, float]) -> tuple[float, float, float]:
        x, y, height = view
        half = height * self._config.aspect / 2 + 0.04
        return min(max(x, half), self._width - half), y, height

    def _frames(self, seconds: float) -> int:
        return max(round(seconds * self._config.frame_rate), 1)


def draw_rng(config: RenderedTVConfig, scene: Scene, what: str) -> Generator:
    """Return the stream of one thing in a scene."""
    return stream(config.seed, *scene.path, what)
