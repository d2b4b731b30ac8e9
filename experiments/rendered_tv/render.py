"""Render a studio: every file of the library and of the transfer sets, by several processes."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from experiments.rendered_tv.config import RenderedTVConfig
from experiments.rendered_tv.episode import write_episode, write_movie, write_short
from experiments.rendered_tv.film_file import write_film, write_text
from experiments.rendered_tv.names import episode_name
from experiments.rendered_tv.picture import Cinematographer
from experiments.rendered_tv.script import Script
from experiments.rendered_tv.soundtrack import SoundMixer
from experiments.rendered_tv.titles import Title, draw_title
from experiments.rendered_tv.transfer import render_transfer_title, write_transfer_lists
from experiments.rendered_tv.truth import truth_text
from toomuchtv._internal.progress import ProgressCallback, no_progress

#: Saved last: where it is, the studio is complete.
FINISHED = "studio.json"
#: Saved first: whose files these are while the studio is not complete.
UNFINISHED = "studio.partial.json"


class RenderSummary(BaseModel):
    """What a finished studio holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    movies: int
    shows: int
    short_clips: int = 0
    items: int
    library_seconds: float
    action_clips: int
    sound_clips: int
    transfer_seconds: float
    event_kinds: tuple[str, ...]


class _Job(BaseModel):
    """One file of the library, or one title of the transfer sets."""

    model_config = ConfigDict(frozen=True)

    group: str
    index: int
    episode: int
    seconds: float


def render_library(
    out: Path,
    config: RenderedTVConfig,
    *,
    num_workers: int = 1,
    progress: ProgressCallback = no_progress,
) -> RenderSummary:
    """Render films, series, their truth and the transfer sets into a folder.

    Each file is a pure function of the config and its title, so the number of workers changes
    nothing but the time. A run that was cut short goes on where it stopped; a finished folder
    is left as it is.

    Args:
        out: The studio's folder: `library/`, `truth/`, `transfer/` and `studio.json`.
        config: What to render.
        num_workers: Processes to use.
        progress: Told of the seconds of media that are done.

    Returns:
        What the folder now holds.

    Raises:
        ValueError: The folder holds another studio or other things, or `num_workers` is not
            positive.
    """
    if num_workers < 1:
        raise ValueError(f"got num_workers={num_workers}; use 1 or more")
    finished = _claim(out, config)
    if finished is not None:
        return finished
    jobs = list(_jobs(config))
    total = sum(job.seconds for job in jobs)
    done = 0.0
    progress(0.0, total, "rendering")
    with _finished_jobs(out, config, jobs, num_workers) as results:
        for job in results:
            done += job.seconds
            progress(done, total, f"{job.group} {job.index + 1}")
    if config.transfer_clips_per_kind:
        write_transfer_lists(out, config)
    summary = _summary(config)
    record = {"config": config.model_dump(mode="json"), "summary": summary.model_dump(mode="json")}
    write_text(out / FINISHED, json.dumps(record, indent=1) + "\n")
    (out / UNFINISHED).unlink()
    return summary


def item_path(config: RenderedTVConfig, title: Title, episode: int) -> Path:
    """Return an item's path relative to the studio's folder."""
    if title.path[0] == "clip":
        return Path("library/Clips", f"{title.name}.mp4")
    if not title.is_show:
        name = f"{title.name} ({title.year})"
        return Path("library/Movies", name, f"{name}.mp4")
    season = episode * config.seasons // config.episodes
    first = next(k for k in range(episode + 1) if k * config.seasons // config.episodes == season)
    story = episode_name(config.seed, title.path[1], episode)
    file = f"{title.name} - S{season + 1:02d}E{episode - first + 1:02d} - {story}.mkv"
    return Path("library/TV", title.name, f"Season {season + 1:02d}", file)


def _claim(out: Path, config: RenderedTVConfig) -> RenderSummary | None:
    """Return the summary if this studio is done; else mark the folder as this studio's."""
    order = config.model_dump(mode="json")
    for name in (FINISHED, UNFINISHED):
        if (out / name).exists():
            record = json.loads((out / name).read_text(encoding="utf-8"))
            # What an older version did not know of, it rendered as the defaults have it.
            there = {**RenderedTVConfig().model_dump(mode="json"), **record["config"]}
            if there != order:
                other = {key: value for key, value in there.items() if order.get(key) != value}
                raise ValueError(
                    f"{out} holds a studio of another config (there: {other}); give another "
                    "folder, or delete this one to render it anew"
                )
            if name == FINISHED:
                return RenderSummary.model_validate(record["summary"])
            return None
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not an empty folder and no studio; give a new folder")
    write_text(out / UNFINISHED, json.dumps({"config": order}, indent=1) + "\n")
    return None


def _jobs(config: RenderedTVConfig) -> Iterator[_Job]:
    seconds = config.minutes * 60
    for index in range(config.movies):
        yield _Job(group="movie", index=index, episode=0, seconds=seconds)
    for index in range(config.shows):
        for episode in range(config.episodes):
            yield _Job(group="show", index=index, episode=episode, seconds=seconds)
    for index in range(config.clips):
        yield _Job(group="clip", index=index, episode=0, seconds=config.clip_seconds)
    each = len(config.kinds) * config.transfer_clips_per_kind / config.transfer_titles
    if each:
        # a second of sound alone costs little
        clip = config.transfer_clip_seconds + 0.1 * config.transfer_sound_seconds
        for index in range(config.transfer_titles):
            yield _Job(group="transfer", index=index, episode=0, seconds=each * clip)


@contextmanager
def _finished_jobs(
    out: Path, config: RenderedTVConfig, jobs: list[_Job], num_workers: int
) -> Iterator[Iterator[_Job]]:
    """Give the jobs as they finish."""
    if num_workers == 1:
        yield (_run(out, config, job) for job in jobs)
        return
    # spawn: forking a process that has threads (any encoder's) is not safe
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(num_workers, max(len(jobs), 1)), mp_context=context) as pool:
        futures = [pool.submit(_run, out, config, job) for job in jobs]
        try:
            yield (future.result() for future in as_completed(futures))
        finally:
            pool.shutdown(cancel_futures=True)


def _run(out: Path, config: RenderedTVConfig, job: _Job) -> _Job:
    if job.group == "transfer":
        render_transfer_title(out, config, job.index)
    else:
        _render_item(out, config, draw_title(config, job.group, job.index), job.episode)
    return job


def _render_item(out: Path, config: RenderedTVConfig, title: Title, episode: int) -> None:
    path = item_path(config, title, episode)
    sidecar = out / "truth" / path.relative_to("library").with_suffix(".json")
    if sidecar.exists():
        return
    script = _script(config, title, episode)
    write_film(
        out / path,
        Cinematographer(config, title).shoot(script),
        SoundMixer(config, title).mix(script),
        frame_rate=config.frame_rate,
        sample_rate_hz=config.sample_rate_hz,
        name=title.name,
    )
    # the sidecar comes after its film: where it is, the film is whole
    write_text(sidecar, truth_text(config, title, script))


def _script(config: RenderedTVConfig, title: Title, episode: int) -> Script:
    if title.is_show:
        return write_episode(config, title, episode)
    return write_short(config, title) if title.path[0] == "clip" else write_movie(config, title)


def _summary(config: RenderedTVConfig) -> RenderSummary:
    items = config.movies + config.shows * config.episodes
    shorts_seconds = config.clips * config.clip_seconds
    clips = len(config.kinds) * config.transfer_clips_per_kind
    return RenderSummary(
        movies=config.movies,
        shows=config.shows,
        short_clips=config.clips,
        items=items + config.clips,
        library_seconds=items * config.minutes * 60 + shorts_seconds,
        action_clips=clips,
        sound_clips=clips,
        transfer_seconds=clips * (config.transfer_clip_seconds + config.transfer_sound_seconds),
        event_kinds=config.kinds,
    )
