"""What happens when: scenes, shots, cameras and cues, computed before anything is painted.

Cuts lie on frames. Events begin and end at cuts, and may continue through a cut in between::

    scene    |------------- one set, its characters, its music --------------|
    shots    |------|-----------|--------|----|--------|-----------|---------|
    events          [ bounce    ]        [       siren             ]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from experiments.rendered_tv.config import RenderedTVConfig
from experiments.rendered_tv.events.registry import EVENT_KINDS
from experiments.rendered_tv.events.track import Track
from experiments.rendered_tv.names import title_name
from experiments.rendered_tv.seeds import stream
from experiments.rendered_tv.sets import SET_WIDTH
from experiments.rendered_tv.titles import NUM_STOCK_THEMES, Title

_JOBS = ("WRITTEN BY", "PICTURE", "SOUND", "MUSIC", "SETS", "COSTUMES", "EDITED BY", "DIRECTED BY")

#: Identifies a random stream: see `seeds.stream`.
StreamPath = tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """An event in a scene.

    Attributes:
        kind: Name of the event kind.
        first_frame: First frame, counted from the start of the file.
        stop_frame: Frame after the last.
        x: Horizontal position on the set, in set units (see `sets.py`).
        scale: Size relative to the painter's stage.
        path: The event's random stream.
    """

    kind: str
    first_frame: int
    stop_frame: int
    x: float
    scale: float
    path: StreamPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A view that moves linearly from `start` to `stop`, each `(x, y, height)` in set units."""

    move: str
    start: tuple[float, float, float]
    stop: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """The frames between two cuts, seen by one camera."""

    first_frame: int
    stop_frame: int
    camera: Camera


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A sequence of shots on one set.

    Attributes:
        path: The scene's random stream.
        role: `story`, `opening` or `credits`.
        first_frame: First frame, counted from the start of the file.
        stop_frame: Frame after the last.
        set_path: Random stream of the set, None for a black background.
        set_recurs: True if the set is one of the title's own.
        figures: Random stream and horizontal position (set units) of each character.
        music: Number of the stock theme, -1 for the title's own theme, None for no music.
        music_seconds: Position in the music at which the scene begins.
        shots: The shots, which cover the scene without gaps.
        cues: The events.
        card: Lines of text over the scene.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """All scenes of one file, in order and without gaps."""

    num_frames: int
    scenes: tuple[Scene, ...]

    def span(self, role: str) -> tuple[int, int] | None:
        """Return the `[first, stop)` frames of the scenes with this role, or None without any."""
        scenes = [scene for scene in self.scenes if scene.role == role]
        return (scenes[0].first_frame, scenes[-1].stop_frame) if scenes else None


def cue_track(config: RenderedTVConfig, cue: Cue) -> Track:
    """Return the motion of an event. Repeated calls return equal tracks."""
    seconds = (cue.stop_frame - cue.first_frame) / config.frame_rate
    return EVENT_KINDS[cue.kind].move(stream(config.seed, *cue.path, "motion"), seconds)


class ScriptWriter:
    """A writer of scenes for one title.

    Args:
        config: Settings of the rendered library.
        title: The title that the scenes belong to.
        path: Distinguishes this writer's random stream from those of the title's other writers.
    """

    def __init__(self, config: RenderedTVConfig, title: Title, *path: int | str) -> None:
        self._config, self._title = config, title
        self._path: StreamPath = (*title.path, *path)
        self._rng = stream(config.seed, *self._path, "script")
        self._width = config.aspect * SET_WIDTH
        self._num_scenes = 0
        self._kinds_left: list[str] = []

    def story(self, first_frame: int, stop_frame: int) -> Iterator[Scene]:
        """Yield scenes that fill `[first_frame, stop_frame)`."""
        now = first_frame
        while now < stop_frame:
            length = self._frames(self._rng.uniform(10, 22))
            stop = stop_frame if stop_frame - now - length < self._frames(8) else now + length
            yield self.scene(now, stop)
            now = stop

    def scene(self, first_frame: int, stop_frame: int, kind: str | None = None) -> Scene:
        """Write one scene. With `kind`, the whole scene is one event of that kind."""
        rng = self._rng
        path = (*self._path, "scene", self._num_scenes)
        self._num_scenes += 1
        mark = self._width / 2 + float(rng.uniform(-0.2, 0.2)) * self._config.aspect
        recurs = bool(rng.uniform() < self._config.recurrence)
        own: StreamPath = (*self._title.path, "set", int(rng.integers(0, self._title.num_sets)))
        themed = rng.uniform() < self._config.signature_sound
        music = -1 if themed else int(rng.integers(0, NUM_STOCK_THEMES))
        figures = tuple(self._figures(path, mark))
        shots, cues = self._shots_and_cues(path, first_frame, stop_frame, mark, kind)
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

    def _shots_and_cues(
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
                cues += self._cues((*path, "cue", len(cues)), now, until, mark, kind)
            for a, b in pairwise(cuts):
                camera = self._camera(mark if happens else None)
                shots.append(Shot(first_frame=a, stop_frame=b, camera=camera))
            now = until
        return shots, cues

    def _cues(
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
        if not self._kinds_left:
            self._kinds_left = [str(name) for name in self._rng.permutation(self._title.kinds)]
        return self._kinds_left.pop()

    def _camera(self, mark: float | None) -> Camera:
        """Draw a camera. With a mark, the event at that position stays in the frame."""
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


def write_movie(config: RenderedTVConfig, title: Title) -> Script:
    """Write the script of a film, which is story from the first frame to the last."""
    count = round(config.minutes * 60 * config.frame_rate)
    writer = ScriptWriter(config, title, "film")
    return Script(num_frames=count, scenes=tuple(writer.story(0, count)))


def write_episode(config: RenderedTVConfig, title: Title, episode: int) -> Script:
    """Write the script of an episode, counted from 0.

    The opening and the credits are the same in all episodes of a series. The opening comes first
    or after a cold open.
    """
    count = round(config.minutes * 60 * config.frame_rate)
    opening = _part_frames(config, count, 0.065, 18.0)
    if config.opening_seconds is not None:
        opening = round(config.opening_seconds * config.frame_rate)
    ending = _part_frames(config, count, 0.05, 16.0)
    rng = stream(config.seed, *title.path, "order", episode)
    cold = rng.uniform() < 0.4 and count > 45 * config.frame_rate
    start = round(rng.uniform(8, 14) * config.frame_rate) if cold else 0
    writer = ScriptWriter(config, title, "episode", episode)
    scenes = [
        *writer.story(0, start),
        *_opening(config, title, start, start + opening),
        *writer.story(start + opening, count - ending),
        _credits(config, title, count - ending, count),
    ]
    return Script(num_frames=count, scenes=tuple(scenes))


def write_clip(
    config: RenderedTVConfig, title: Title, kind: str, clip: int, seconds: float
) -> Script:
    """Write the script of a short clip that shows one event of the given kind."""
    count = round(seconds * config.frame_rate)
    writer = ScriptWriter(config, title, "clip", kind, clip)
    return Script(num_frames=count, scenes=(writer.scene(0, count, kind),))


def write_short(config: RenderedTVConfig, title: Title) -> Script:
    """Write the script of a short clip of the library. Its index determines the event kind."""
    kind = config.kinds[title.path[1] % len(config.kinds)]
    return write_clip(config, title, kind, 0, config.clip_seconds)


def _part_frames(config: RenderedTVConfig, count: int, share: float, longest: float) -> int:
    seconds = min(max(share * count / config.frame_rate, 4.0), longest)
    return round(seconds * config.frame_rate)


def _opening(config: RenderedTVConfig, title: Title, first: int, stop: int) -> Iterator[Scene]:
    """Yield scenes of one shot each with the title's sets and characters.

    The last scene shows the title's name. All scenes are written at frame 0 from the title's own
    stream and then moved, so that the openings of all episodes have identical pixels and samples.
    """
    writer = ScriptWriter(
        config.model_copy(update={"recurrence": 1.0, "event_share": 0.0}), title, "opening"
    )
    shots = max((stop - first) // (3 * config.frame_rate), 2)
    cuts = [first + (stop - first) * k // shots for k in range(shots + 1)]
    for k in range(shots):
        scene = writer.scene(0, cuts[k + 1] - cuts[k])
        camera = scene.shots[0].camera
        shot = Shot(first_frame=cuts[k], stop_frame=cuts[k + 1], camera=camera)
        last = k == shots - 1
        yield replace(
            scene,
            role="opening",
            first_frame=cuts[k],
            stop_frame=cuts[k + 1],
            music=-1,
            music_seconds=(cuts[k] - first) / config.frame_rate,
            shots=(shot,),
            card=tuple(title.name.upper().split()) if last else (),
        )


def _credits(config: RenderedTVConfig, title: Title, first: int, stop: int) -> Scene:
    view = (config.aspect, 0.5, 1.0)
    still = Camera(move="still", start=view, stop=view)
    names = stream(config.seed, *title.path, "credits").integers(0, 2000, 8)
    lines = [title.name.upper(), ""]
    for job, name in zip(_JOBS, names, strict=True):
        # Names of other titles serve as surnames.
        lines += [job, title_name(config.seed, int(name)).upper(), ""]
    return Scene(
        path=(*title.path, "credits"),
        role="credits",
        first_frame=first,
        stop_frame=stop,
        set_path=None,
        set_recurs=True,
        figures=(),
        music=-1,
        music_seconds=0.0,
        shots=(Shot(first_frame=first, stop_frame=stop, camera=still),),
        cues=(),
        card=tuple(lines),
    )
