"""Proxies for every item of a catalog: resumable, each in a process of its own."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv._internal.subprocess_pool import Failure, run_isolated
from toomuchtv.catalog.records import AudioTrack, Item, Proxy, ProxyAudio, SkippedFile
from toomuchtv.catalog.store import Catalog
from toomuchtv.errors import CatalogError, MediaError
from toomuchtv.media.proxy import ProxyFacts, ProxyFormat, write_proxy, write_sound_proxy

_SILENCE_SECONDS = 300.0
_PROXIES_A_FOLDER = 1000
_DISK_FULL = "the disk is full"
_MAKE_ROOM = f"{_DISK_FULL}: free some and run prepare again"
# Tracks that a person would not choose to hear a film by.
_SECOND_CHOICE = frozenset(
    {"comment", "visual_impaired", "descriptions", "karaoke", "clean_effects"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareResult:
    """What was done. `bytes` is the size of all proxies of the catalog now."""

    prepared: int
    skipped: int
    failed: tuple[SkippedFile, ...]
    bytes: int
    film_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareEstimate:
    """What is still to do, before it is begun."""

    items: int
    film_seconds: float
    bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    item_id: int
    source: Path
    video_path: Path
    audio_files: tuple[ProxyAudio, ...]
    fingerprint: str
    duration_seconds: float

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.video_path, *(sound.path for sound in self.audio_files))


def choose_audio_track(tracks: Sequence[AudioTrack], language: str | None = None) -> int | None:
    """Choose the track to hear an item by.

    In this order: no commentary or audio description, the preferred language, an original before
    a dub, the default one, the first.

    Args:
        tracks: What the item has.
        language: Preferred language as the container tags it, ISO 639 (`eng`); None for any.

    Returns:
        The track's index, or None if there is none.
    """
    if not tracks:
        return None

    def rank(track: AudioTrack) -> tuple[bool, bool, bool, bool, int]:
        flags = track.dispositions
        return (
            not flags.isdisjoint(_SECOND_CHOICE),
            language is not None and track.language != language,
            "dub" in flags,
            "default" not in flags,
            track.index,
        )

    return min(tracks, key=rank).index


def choose_audio_tracks(
    tracks: Sequence[AudioTrack], languages: Sequence[str]
) -> tuple[AudioTrack, ...]:
    """Choose the tracks to prepare: the best one of every language asked for, in that order.

    Where none is asked for, or the item has none of them, the one of `choose_audio_track` alone.
    """
    by_index = {track.index: track for track in tracks}
    best = (choose_audio_track(tracks, language) for language in languages)
    chosen = {
        index: by_index[index]
        for index, language in zip(best, languages, strict=True)
        if index is not None
        and by_index[index].language == language
        and _SECOND_CHOICE.isdisjoint(by_index[index].dispositions)
    }
    if not chosen:
        index = choose_audio_track(tracks)
        return () if index is None else (by_index[index],)
    return tuple(chosen.values())


def proxy_format_id(recipe: ProxyFormat) -> str:
    """A short name of a recipe: another recipe has another."""
    return hashlib.blake2b(recipe.model_dump_json().encode(), digest_size=6).hexdigest()


def estimate_prepare(catalog: Catalog, recipe: ProxyFormat) -> PrepareEstimate:
    """Say how much is to do and how much disk it will take."""
    jobs = _jobs(catalog, recipe)
    seconds = sum(job.duration_seconds for job in jobs)
    return PrepareEstimate(
        items=len(jobs),
        film_seconds=seconds,
        bytes=round(seconds * recipe.estimated_bytes_per_second()),
        free_bytes=shutil.disk_usage(catalog.folder).free,
    )


def prepare_catalog(
    catalog: Catalog,
    recipe: ProxyFormat | None = None,
    *,
    num_workers: int = 1,
    check_disk: bool = True,
    progress: ProgressCallback = no_progress,
) -> PrepareResult:
    """Make the proxies that are missing, or were made by another recipe or of other content.

    Every proxy is written to a temporary name and renamed when whole, so that the next call goes
    on where a killed one stopped. A file that cannot be prepared is listed and the rest done.

    Args:
        catalog: The catalog; its folder takes the proxies.
        recipe: Rates, size and quality.
        num_workers: Items worked on at once.
        check_disk: Refuse to begin where the estimate exceeds the free disk.
        progress: Told the seconds of film done.

    Raises:
        CatalogError: Another process writes to the catalog, or the disk is too small.
    """
    recipe = recipe or ProxyFormat()
    with catalog.writing():
        estimate = estimate_prepare(catalog, recipe)
        if check_disk and estimate.bytes > estimate.free_bytes:
            raise CatalogError(
                f"the proxies will take about {estimate.bytes / 1e9:.2f} GB and the disk of "
                f"{str(catalog.folder)!r} has {estimate.free_bytes / 1e9:.2f} GB free: make room, "
                "choose a smaller --short-side, or pass --no-disk-check to fill it up"
            )
        return _Preparation(catalog, recipe, progress).run(num_workers)


def _jobs(catalog: Catalog, recipe: ProxyFormat) -> list[_Job]:
    """What is to do, longest first, so that the last worker does not finish alone."""
    known = catalog.proxies()
    name = proxy_format_id(recipe)
    items = [item for item in catalog.items() if not _is_done(catalog, item, known, name)]
    jobs = [_job(catalog, item, name, recipe.languages) for item in items]
    return sorted(jobs, key=lambda job: (-job.duration_seconds, job.item_id))


def _is_done(catalog: Catalog, item: Item, known: dict[int, Proxy], name: str) -> bool:
    proxy = known.get(item.id)
    if proxy is None or proxy.format_id != name or proxy.fingerprint != item.fingerprint:
        return False
    try:
        size = sum((catalog.folder / path).stat().st_size for path in proxy.paths)
    except FileNotFoundError:
        return False
    return size == proxy.size_bytes


def _job(catalog: Catalog, item: Item, name: str, languages: Sequence[str]) -> _Job:
    # The fingerprint is in the name: a new proxy never overwrites what a run is reading.
    stem = f"{item.id:07d}-{item.fingerprint[:8]}-{name}"
    folder = Path("proxies") / f"{item.id // _PROXIES_A_FOLDER:04d}"
    tracks = choose_audio_tracks(item.probe.audio_tracks, languages)
    return _Job(
        item_id=item.id,
        source=catalog.source_path(item),
        video_path=folder / f"{stem}.video.mp4",
        audio_files=tuple(
            ProxyAudio(
                audio_track=track.index,
                language=track.language,
                path=folder / f"{stem}.audio{track.index}.mp4",
            )
            for track in tracks
        ),
        fingerprint=item.fingerprint,
        duration_seconds=item.probe.duration_seconds,
    )


class _Preparation:
    """One call of `prepare_catalog`, under the catalog's lock."""

    def __init__(self, catalog: Catalog, recipe: ProxyFormat, progress: ProgressCallback) -> None:
        self._catalog = catalog
        self._recipe = recipe
        self._progress = progress
        self._failed: list[SkippedFile] = []
        self._prepared = 0

    def run(self, num_workers: int) -> PrepareResult:
        jobs = _jobs(self._catalog, self._recipe)
        self._before = self._catalog.proxies()
        num_items = len(self._catalog.items())
        self._total = sum(job.duration_seconds for job in jobs)
        self._done_seconds = dict.fromkeys((job.item_id for job in jobs), 0.0)
        for partial in self._catalog.folder.glob("proxies/*/*.partial"):
            partial.unlink(missing_ok=True)
        self._work(jobs, num_workers)
        kept = self._catalog.proxies()
        present = {item.id for item in self._catalog.items()}
        return PrepareResult(
            prepared=self._prepared,
            skipped=num_items - len(jobs),
            failed=tuple(self._failed),
            bytes=sum(proxy.size_bytes for item_id, proxy in kept.items() if item_id in present),
            film_seconds=self._total,
        )

    def _work(self, jobs: list[_Job], num_workers: int) -> None:
        if not jobs:
            return
        threads = max(1, (os.cpu_count() or 1) // num_workers)
        function = functools.partial(_make_proxy, self._catalog.folder, self._recipe, threads)
        results = run_isolated(
            function,
            jobs,
            num_workers=min(num_workers, len(jobs)),
            silence_seconds=_SILENCE_SECONDS,
            on_tell=self._on_tell,
        )
        left = {job.item_id: job for job in jobs}
        try:
            for job, result in results:
                del left[job.item_id]
                reason = self._settle(job, result)
                if reason is not None:
                    self._fail(job, reason)
                    if _DISK_FULL in reason:
                        break
                self._on_tell(job, job.duration_seconds)
        finally:
            results.close()
        for job in left.values():
            self._fail(job, f"not begun: {_DISK_FULL}")

    def _settle(self, job: _Job, result: ProxyFacts | Failure) -> str | None:
        """Record a finished proxy; give the reason where there is none."""
        if isinstance(result, Failure):
            return result.reason
        try:
            self._record(job, result)
        except CatalogError as error:
            if not _is_disk_full(error):
                raise
            return _MAKE_ROOM
        return None

    def _on_tell(self, job: _Job, seconds: float) -> None:
        self._done_seconds[job.item_id] = min(seconds, job.duration_seconds)
        self._progress(sum(self._done_seconds.values()), self._total, job.source.name)

    def _fail(self, job: _Job, reason: str) -> None:
        for path in _partial_paths(self._catalog.folder, job):
            path.unlink(missing_ok=True)
        relative = job.source.relative_to(self._catalog.library)
        self._failed.append(SkippedFile(path=relative, reason=reason))

    def _record(self, job: _Job, facts: ProxyFacts) -> None:
        folder = self._catalog.folder
        old = self._before.get(job.item_id)
        size_bytes = sum((folder / path).stat().st_size for path in job.paths)
        try:
            self._put_record(job, facts, size_bytes)
        except CatalogError:
            for written in job.paths:  # what is not recorded would lie there for good
                (folder / written).unlink(missing_ok=True)
            raise
        self._prepared += 1
        for path in old.paths if old is not None else ():
            if path not in job.paths:
                (folder / path).unlink(missing_ok=True)

    def _put_record(self, job: _Job, facts: ProxyFacts, size_bytes: int) -> None:
        self._catalog.record_proxy(
            Proxy(
                item_id=job.item_id,
                fingerprint=job.fingerprint,
                format_id=proxy_format_id(self._recipe),
                video_path=job.video_path,
                num_frames=facts.num_frames,
                frame_rate=self._recipe.frame_rate,
                width=facts.width,
                height=facts.height,
                audio_files=job.audio_files,
                num_samples=facts.num_samples,
                sample_rate_hz=self._recipe.sample_rate_hz,
                size_bytes=size_bytes,
            )
        )


def _partial_paths(folder: Path, job: _Job) -> list[Path]:
    return [folder / f"{path}.partial" for path in job.paths]


def _make_proxy(
    folder: Path,
    recipe: ProxyFormat,
    num_threads: int,
    job: _Job,
    tell: Callable[[float], None],
) -> ProxyFacts:
    """What a worker does: write both files under temporary names, then rename them."""
    (folder / job.video_path).parent.mkdir(parents=True, exist_ok=True)
    partial = _partial_paths(folder, job)
    try:
        facts = write_proxy(
            job.source,
            partial[0],
            partial[1] if job.audio_files else None,
            recipe,
            audio_track=job.audio_files[0].audio_track if job.audio_files else 0,
            num_threads=num_threads,
            tell=tell,
        )
        for sound, path in zip(job.audio_files[1:], partial[2:], strict=True):
            write_sound_proxy(
                job.source, path, recipe,
                audio_track=sound.audio_track, num_samples=facts.num_samples, tell=tell,
            )  # fmt: skip
    except (MediaError, OSError) as error:
        if _is_disk_full(error):
            raise MediaError(_MAKE_ROOM) from error
        raise
    for path in partial:
        os.replace(path, path.with_suffix(""))
    return facts


def _is_disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return True
        if isinstance(error, sqlite3.Error) and error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            return True
        error = error.__cause__ or error.__context__
    return False
