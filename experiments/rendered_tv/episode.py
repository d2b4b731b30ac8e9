"""The order of a whole film or episode: cold open, opening, story, credits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from experiments.rendered_tv.config import RenderedTVConfig
from experiments.rendered_tv.names import title_name
from experiments.rendered_tv.script import Camera, Scene, Script, ScriptWriter, Shot
from experiments.rendered_tv.seeds import stream
from experiments.rendered_tv.titles import Title


def write_movie(config: RenderedTVConfig, title: Title) -> Script:
    """Write a film: story from the first frame to the last."""
    count = round(config.minutes * 60 * config.frame_rate)
    writer = ScriptWriter(config, title, "film")
    return Script(num_frames=count, scenes=tuple(writer.story(0, count)))


def write_episode(config: RenderedTVConfig, title: Title, episode: int) -> Script:
    """Write an episode (from 0): the opening and the credits are the same in each.

    The opening comes first, or after a cold open; it takes `opening_seconds`, or about a
    fifteenth of an episode, between 4 and 18 seconds.
    """
    count = round(config.minutes * 60 * config.frame_rate)
    opening = _part(config, count, 0.065, 18.0)
    if config.opening_seconds is not None:
        opening = round(config.opening_seconds * config.frame_rate)
    ending = _part(config, count, 0.05, 16.0)
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
    """Write a short clip in which one event of one kind happens."""
    count = round(seconds * config.frame_rate)
    writer = ScriptWriter(config, title, "clip", kind, clip)
    return Script(num_frames=count, scenes=(writer.scene(0, count, kind),))


def write_short(config: RenderedTVConfig, title: Title) -> Script:
    """Write one of the library's short clips: its number says which kind of event it has."""
    kind = config.kinds[title.path[1] % len(config.kinds)]
    return write_clip(config, title, kind, 0, config.clip_seconds)


def _part(config: RenderedTVConfig, count: int, share: float, longest: float) -> int:
    seconds = min(max(share * count / config.frame_rate, 4.0), longest)
    return round(seconds * config.frame_rate)


def _opening(config: RenderedTVConfig, title: Title, first: int, stop: int) -> Iterator[Scene]:
    """Yield one-shot scenes through the title's sets and cast, the name over the last.

    They are written at frame 0 from the title's own stream and then moved into place, so that
    every episode's opening is the same to the pixel and to the sample.
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
        # other titles' names make good surnames
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


_JOBS = (
    "WRITTEN BY",
    "PICTURE",
    "SOUND",
    "MUSIC",
    "SETS",
    "COSTUMES",
    "EDITED BY",
    "DIRECTED BY",
)
