"""Rendering a whole library: every film, episode and clip, and the transfer sets.

The transfer sets are labeled clips from titles that the library does not contain: `actions/` has
UCF101's layout with video and audio, `sounds/` has ESC-50's layout. One group (`gNN`, `src_file`)
is one title, and no split or fold has the same title on both sides.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from experiments.rendered_tv.audio import AudioMixer
from experiments.rendered_tv.config import NUM_FOLDS, NUM_SPLITS, RenderedTVConfig
from experiments.rendered_tv.events.registry import EVENT_KINDS
from experiments.rendered_tv.files import ground_truth_json, write_film, write_wav
from experiments.rendered_tv.names import episode_name
from experiments.rendered_tv.script import (
    Script,
    write_clip,
    write_episode,
    write_movie,
    write_short,
)
from experiments.rendered_tv.titles import Title, draw_title
from experiments.rendered_tv.video import VideoRenderer
from toomuchtv._internal.files import PARTIAL, write_text
from toomuchtv._internal.folder_lock import LOCK_NAME, folder_lock
from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv._internal.subprocess_pool import Failure, run_isolated
from toomuchtv.errors import ToomuchtvError

#: A rendering process reports each second of a film. One that reports nothing for this time hangs.
_SILENCE_SECONDS = 1800.0

#: Written last. Its existence marks a complete library.
FINISHED = "rendered_tv.json"
#: Written first. It identifies the config while the library is incomplete.
UNFINISHED = "rendered_tv.partial.json"


class RenderSummary(BaseModel):
    """Contents of a finished folder.

    Attributes:
        movies: Number of films.
        shows: Number of series.
        short_clips: Number of short clips in the library.
        items: Number of media files in the library.
        library_seconds: Total duration of the library, in seconds.
        action_clips: Number of clips in `transfer/actions`.
        sound_clips: Number of clips in `transfer/sounds`.
        transfer_seconds: Total duration of the transfer sets, in seconds.
        event_kinds: Names of the event kinds in use.
    """

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
    episode: int = 0
    seconds: float


def render_library(
    out: str | os.PathLike[str],
    config: RenderedTVConfig,
    *,
    num_workers: int = 1,
    progress: ProgressCallback = no_progress,
) -> RenderSummary:
    """Render films, series, their ground truth and the transfer sets into a folder.

    Each file is a pure function of the config and its title, so the number of workers affects
    only the time. An interrupted call can be repeated and continues. A finished folder is not
    changed.

    Args:
        out: Output folder. It gets `library/`, `ground_truth/`, `transfer/` and
            `rendered_tv.json`.
        config: What to render.
        num_workers: Number of processes.
        progress: Receives the seconds of media that are done and their total.

    Returns:
        A summary of the folder's contents.

    Raises:
        ValueError: If the folder holds a library of another config or other files, or if
            `num_workers` is not positive.
        FolderInUseError: If another process renders into the folder.
        ToomuchtvError: If a rendering process failed.
    """
    out = Path(out)
    if num_workers < 1:
        raise ValueError(f"got num_workers={num_workers}; use 1 or more")
    finished = _check_folder(out, config)
    if finished is not None:
        return finished
    out.mkdir(parents=True, exist_ok=True)
    with folder_lock(out):
        # Another process may have finished it meanwhile.
        return _check_folder(out, config) or _render(out, config, num_workers, progress)


def _render(
    out: Path, config: RenderedTVConfig, num_workers: int, progress: ProgressCallback
) -> RenderSummary:
    for leftover in out.rglob(f"*{PARTIAL}"):
        leftover.unlink()
    values = config.model_dump(mode="json")
    write_text(out / UNFINISHED, json.dumps({"config": values}, indent=1) + "\n")
    jobs = list(_jobs(config))
    total = sum(job.seconds for job in jobs)
    done = 0.0
    progress(0.0, total, "rendering")
    with closing(_finished_jobs(out, config, jobs, num_workers)) as results:
        for job in results:
            done += job.seconds
            progress(done, total, f"{job.group} {job.index + 1}")
    if config.transfer_clips_per_kind:
        _write_action_lists(out / "transfer/actions/ucfTrainTestlist", config)
        _write_sound_table(out / "transfer/sounds/meta/esc50.csv", config)
    summary = _summary(config)
    record = {"config": values, "summary": summary.model_dump(mode="json")}
    write_text(out / FINISHED, json.dumps(record, indent=1) + "\n")
    (out / UNFINISHED).unlink()
    return summary


def item_path(config: RenderedTVConfig, title: Title, episode: int) -> Path:
    """Return an item's path relative to the output folder."""
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


def _check_folder(out: Path, config: RenderedTVConfig) -> RenderSummary | None:
    """Return the summary if the folder is complete; None if it can be rendered into.

    Raises:
        ValueError: If it belongs to something else.
    """
    values = config.model_dump(mode="json")
    for name in (FINISHED, UNFINISHED):
        if (out / name).exists():
            record = _read_record(out / name)
            # Settings that an older version did not have were rendered with their defaults.
            found = {**RenderedTVConfig().model_dump(mode="json"), **record["config"]}
            if found != values:
                other = {key: value for key, value in found.items() if values.get(key) != value}
                raise ValueError(
                    f"{out} holds a library of another config (there: {other}); choose another "
                    "folder, or delete this one to render it again"
                )
            if name == FINISHED:
                return RenderSummary.model_validate(record["summary"])
            return None
    if out.exists() and any(
        entry.name != LOCK_NAME and entry.suffix != PARTIAL for entry in out.iterdir()
    ):
        raise ValueError(
            f"{out} is not an empty folder and no rendered library; choose a new folder"
        )
    return None


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(record, dict) and isinstance(record.get("config"), dict):
            return record
    except (ValueError, RecursionError):
        pass
    raise ValueError(
        f"{str(path)!r} is damaged, so it is not known which library this is: delete the folder to "
        "render it again"
    )


def _jobs(config: RenderedTVConfig) -> Iterator[_Job]:
    seconds = config.minutes * 60
    for index in range(config.movies):
        yield _Job(group="movie", index=index, seconds=seconds)
    for index in range(config.shows):
        for episode in range(config.episodes):
            yield _Job(group="show", index=index, episode=episode, seconds=seconds)
    for index in range(config.clips):
        yield _Job(group="clip", index=index, seconds=config.clip_seconds)
    per_title = len(config.kinds) * config.transfer_clips_per_kind / config.transfer_titles
    if per_title:
        # Audio without video takes about a tenth of the time.
        clip = config.transfer_clip_seconds + 0.1 * config.transfer_sound_seconds
        for index in range(config.transfer_titles):
            yield _Job(group="transfer", index=index, seconds=per_title * clip)


def _finished_jobs(
    out: Path, config: RenderedTVConfig, jobs: list[_Job], num_workers: int
) -> Generator[_Job, None, None]:
    """Run the jobs and yield them as they finish."""
    if num_workers == 1:
        for job in jobs:
            yield _run(out, config, job, lambda amount: None)
        return
    with closing(
        run_isolated(
            partial(_run, out, config),
            jobs,
            num_workers=num_workers,
            silence_seconds=_SILENCE_SECONDS,
        )
    ) as results:
        for job, result in results:
            if isinstance(result, Failure):
                raise ToomuchtvError(
                    f"rendering {job.group} {job.index + 1} failed: {result.reason}; correct this, "
                    "then run the same command again to continue"
                )
            yield job


def _run(out: Path, config: RenderedTVConfig, job: _Job, report: Callable[[float], None]) -> _Job:
    """Render what a job asks for, and report each second of it."""
    title = draw_title(config, job.group, job.index)
    video, audio = VideoRenderer(config, title), AudioMixer(config, title)
    if job.group == "transfer":
        _render_transfer_clips(out, config, video, audio, report)
        return job
    path = item_path(config, title, job.episode)
    ground_truth = out / "ground_truth" / path.relative_to("library").with_suffix(".json")
    if not ground_truth.exists():
        script = _script(config, title, job.episode)
        _render_film(out / path, ground_truth, title.name, script, video, audio, report)
    return job


def _script(config: RenderedTVConfig, title: Title, episode: int) -> Script:
    if title.is_show:
        return write_episode(config, title, episode)
    return write_short(config, title) if title.path[0] == "clip" else write_movie(config, title)


def _render_film(
    path: Path,
    ground_truth: Path,
    name: str,
    script: Script,
    video: VideoRenderer,
    audio: AudioMixer,
    report: Callable[[float], None],
) -> None:
    config, title = video.config, video.title
    write_film(
        path,
        _reporting(video.render(script), config.frame_rate, report),
        audio.mix(script),
        frame_rate=config.frame_rate,
        sample_rate_hz=config.sample_rate_hz,
        name=name,
    )
    # The ground truth is written after its film, so its existence means that the film is complete.
    write_text(ground_truth, ground_truth_json(config, title, script))


def _reporting(
    frames: Iterable[NDArray[np.uint8]], frame_rate: int, report: Callable[[float], None]
) -> Iterator[NDArray[np.uint8]]:
    for number, frame in enumerate(frames):
        if number % frame_rate == 0:
            report(1.0)
        yield frame


def _render_transfer_clips(
    out: Path,
    config: RenderedTVConfig,
    video: VideoRenderer,
    audio: AudioMixer,
    report: Callable[[float], None],
) -> None:
    """Render one title's clips of both transfer sets, except those that exist."""
    title, index = video.title, video.title.path[1]
    for kind in config.kinds:
        for clip in _clips(config, index):
            path = Path("transfer/actions/videos") / _action_name(kind, index, clip)
            ground_truth = out / "ground_truth" / path.with_suffix(".json")
            if not ground_truth.exists():
                script = write_clip(config, title, kind, clip, config.transfer_clip_seconds)
                _render_film(out / path, ground_truth, path.stem, script, video, audio, report)
            wav = out / "transfer/sounds/audio" / _sound_name(config, kind, index, clip)
            if not wav.exists():
                # Clip numbers start at 1000 here, so that no audio is shared with the actions.
                script = write_clip(config, title, kind, 1000 + clip, config.transfer_sound_seconds)
                write_wav(wav, audio.mix(script), config.sample_rate_hz)


def _action_name(kind: str, index: int, clip: int) -> str:
    """Return a clip's path as in UCF101's lists: `Bell/v_Bell_g01_c01.mp4`."""
    label = EVENT_KINDS[kind].label
    return f"{label}/v_{label}_g{index + 1:02d}_c{clip + 1:02d}.mp4"


def _sound_name(config: RenderedTVConfig, kind: str, index: int, clip: int) -> str:
    """Return a clip's file name as in ESC-50: `{fold}-{source}-{take}-{target}.wav`."""
    target = sorted(config.kinds).index(kind)
    return f"{_fold(index)}-{_source(index)}-{_take(clip)}-{target}.wav"


def _write_action_lists(lists: Path, config: RenderedTVConfig) -> None:
    classes = sorted(config.kinds)
    labels = [f"{k} {EVENT_KINDS[kind].label}\n" for k, kind in enumerate(classes, start=1)]
    write_text(lists / "classInd.txt", "".join(labels))
    for split in range(1, NUM_SPLITS + 1):
        train, test = [], []
        for number, kind in enumerate(classes, start=1):
            for index in range(config.transfer_titles):
                for clip in _clips(config, index):
                    name = _action_name(kind, index, clip)
                    if index % NUM_SPLITS == split - 1:
                        test.append(f"{name}\n")
                    else:
                        train.append(f"{name} {number}\n")
        write_text(lists / f"trainlist{split:02d}.txt", "".join(train))
        write_text(lists / f"testlist{split:02d}.txt", "".join(test))


def _write_sound_table(path: Path, config: RenderedTVConfig) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("filename", "fold", "target", "category", "esc10", "src_file", "take"))
    for index in range(config.transfer_titles):
        for target, kind in enumerate(sorted(config.kinds)):
            for clip in _clips(config, index):
                name = _sound_name(config, kind, index, clip)
                values = (name, _fold(index), target, kind, False, _source(index), _take(clip))
                table.writerow(values)
    write_text(path, text.getvalue())


def _clips(config: RenderedTVConfig, index: int) -> range:
    """Return the clip numbers per kind of one transfer title; titles get equal numbers, +-1."""
    each, rest = divmod(config.transfer_clips_per_kind, config.transfer_titles)
    return range(each + (index < rest))


def _fold(index: int) -> int:
    return index % NUM_FOLDS + 1


def _source(index: int) -> int:
    return 100001 + index


def _take(clip: int) -> str:
    return chr(ord("A") + clip)


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
