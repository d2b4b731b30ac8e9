"""Make the proxies of a catalog's items, resumable and each in a separate process."""

from __future__ import annotations

import functools
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from toomuchtv._internal.byte_size import format_bytes
from toomuchtv._internal.files import PARTIAL
from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv._internal.subprocess_pool import Failure
from toomuchtv._internal.system_errors import DISK_FULL, is_disk_full
from toomuchtv.catalog.file_identity import FileState, sampled_digest
from toomuchtv.catalog.proxies import (
    ItemDamage,
    choose_audio_tracks,
    has_language,
    item_damage,
    proxy_format_id,
)
from toomuchtv.catalog.records import Item, Proxy, ProxyAudio, SkippedFile
from toomuchtv.catalog.scratch import local_copy
from toomuchtv.catalog.store import Catalog, as_open_catalog
from toomuchtv.engines import Engine, LocalEngine
from toomuchtv.errors import CatalogError, MediaError
from toomuchtv.media.damage import merge_intervals
from toomuchtv.media.languages import normalize_language
from toomuchtv.media.proxy_writer import ProxyFormat, ProxySummary, write_audio_proxy, write_proxy
from toomuchtv.media.streams import is_unusual

# A worker that reports no progress for this long is taken to hang and is killed.
_TIMEOUT_SECONDS = 300.0
# More than a decoder takes for the frames that it keeps of a video of 8192 x 4320 pixels.
_MEMORY_BYTES, _MEMORY_BYTES_PER_THREAD = 3 << 30, 128 << 20
_ITEMS_PER_FOLDER = 1000
_CHANGED = "its file has changed since the scan: run scan and prepare again"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareResult:
    """The result of `prepare_catalog`.

    Attributes:
        prepared: Number of items whose proxy was made.
        skipped: Number of items whose proxy was up to date.
        failed: The items whose proxy could not be made, with reasons.
        other_language: The items that have audio, but none in a requested language, with what they
            have. Their proxies hold the sound of the film.
        damaged: The items whose file is damaged or shorter than the scan found, with where.
        bytes: Size of all proxies of items that are in the library now.
        film_seconds: Duration of the items that had no up-to-date proxy.
    """

    prepared: int
    skipped: int
    failed: tuple[SkippedFile, ...]
    other_language: tuple[SkippedFile, ...] = ()
    damaged: tuple[ItemDamage, ...] = ()
    bytes: int
    film_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareEstimate:
    """An estimate of the work that `prepare_catalog` would do.

    Attributes:
        items: Number of items without an up-to-date proxy.
        film_seconds: Their duration.
        bytes: Estimated size of their proxies.
        free_bytes: Free space on the catalog's disk.
    """

    items: int
    film_seconds: float
    bytes: int
    free_bytes: int


def estimate_prepare(
    catalog: Catalog | str | os.PathLike[str], proxy_format: ProxyFormat | None = None
) -> PrepareEstimate:
    """Estimate how much `prepare_catalog` has to do and how much disk space it will take."""
    with as_open_catalog(catalog) as opened:
        proxy_format = proxy_format or ProxyFormat()
        return _estimate(opened, proxy_format, _jobs(opened, proxy_format))


def prepare_catalog(
    catalog: Catalog | str | os.PathLike[str],
    proxy_format: ProxyFormat | None = None,
    *,
    num_workers: int = 1,
    engine: Engine | None = None,
    scratch: str | os.PathLike[str] | None = None,
    check_disk: bool = True,
    progress: ProgressCallback = no_progress,
) -> PrepareResult:
    """Make the proxies that are missing, stale, damaged or of another format.

    A proxy is written under temporary names, which are changed when all its files are complete. So
    a call that was killed can simply be repeated. Files that cannot be prepared are reported, and
    the others are still prepared.

    Args:
        catalog: The catalog or its folder. Proxies are written to the folder.
        proxy_format: Frame rate, size, quality and languages. Defaults to `ProxyFormat()`.
        num_workers: Number of items to prepare at the same time.
        engine: Where to prepare them, such as a `RayEngine`. By default in `num_workers` processes
            of this machine.
        scratch: Folder on a local disk of every machine, where each film is copied to and read
            from, so that it is read only once from where the library is. A film that does not fit
            is not copied. By default no film is copied.
        check_disk: Refuse to start if the estimated size exceeds the free disk space.
        progress: Receives the seconds of film that are done.

    Raises:
        CatalogError: Another process writes to the catalog, or the disk is too small.
        EngineError: A machine of the engine cannot do the work, or the connection to it is lost.
    """
    proxy_format = proxy_format or ProxyFormat()
    with as_open_catalog(catalog) as opened, opened.writing():
        jobs = _jobs(opened, proxy_format)
        estimate = _estimate(opened, proxy_format, jobs)
        if check_disk and estimate.bytes > estimate.free_bytes:
            raise CatalogError(
                f"the proxies will take about {format_bytes(estimate.bytes)} and the disk of "
                f"{str(opened.folder)!r} has {format_bytes(estimate.free_bytes)} free: free some "
                "space, choose a smaller --short-side, or pass --no-disk-check to fill it up"
            )
        local = None if scratch is None else Path(os.path.abspath(scratch))
        return _Preparation(opened, proxy_format, jobs, local, progress).run(
            engine or LocalEngine(num_workers)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One proxy to make; the paths of its files are relative to the catalog folder."""

    item: Item
    source: Path
    video_path: Path
    audio_files: tuple[ProxyAudio, ...]

    @property
    def duration_seconds(self) -> float:
        return self.item.probe.duration_seconds

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.video_path, *(audio.path for audio in self.audio_files))

    def remove_partial_files(self, folder: Path) -> None:
        """Delete what an attempt to write the files has left."""
        for path in self.paths:
            for partial in (folder / path).parent.glob(f"{path.name}.*{PARTIAL}"):
                partial.unlink(missing_ok=True)


def _jobs(catalog: Catalog, proxy_format: ProxyFormat) -> list[_Job]:
    """Return all proxies to make. The longest comes first, so that all workers end together."""
    proxies = catalog.proxies()
    format_id = proxy_format_id(proxy_format)
    jobs = [
        _job(catalog, item, format_id, proxy_format)
        for item in catalog.items()
        if not _is_complete(catalog, proxies.get(item.id), format_id)
    ]
    return sorted(jobs, key=lambda job: (-job.duration_seconds, job.item.id))


def _is_complete(catalog: Catalog, proxy: Proxy | None, format_id: str) -> bool:
    if proxy is None or proxy.format_id != format_id:
        return False
    try:
        size = sum((catalog.folder / path).stat().st_size for path in proxy.paths)
    except FileNotFoundError:
        return False
    return size == proxy.size_bytes


def _job(catalog: Catalog, item: Item, format_id: str, proxy_format: ProxyFormat) -> _Job:
    # The file names contain the content's fingerprint and the format, so that a new proxy never
    # overwrites files that a training run is reading.
    stem = f"{item.id:07d}-{item.fingerprint[:8]}-{format_id}"
    folder = Path("proxies") / f"{item.id // _ITEMS_PER_FOLDER:04d}"
    tracks = choose_audio_tracks(item.probe.audio_tracks, proxy_format.languages)
    return _Job(
        item=item,
        source=catalog.source_path(item),
        video_path=folder / f"{stem}.video.mp4",
        audio_files=tuple(
            ProxyAudio(
                audio_track=track.index,
                language=normalize_language(track.language),
                path=folder / f"{stem}.audio{track.index}.mp4",
            )
            for track in tracks
        ),
    )


def _languages_of(item: Item) -> str:
    """Return what languages the audio tracks of an item have, in words."""
    tracks = sorted(item.probe.audio_tracks, key=lambda track: track.index)
    return ", ".join(
        (track.language or "of no stated language")
        + (" (commentary, description or the like)" if is_unusual(track) else "")
        for track in tracks
    )


def _estimate(catalog: Catalog, proxy_format: ProxyFormat, jobs: list[_Job]) -> PrepareEstimate:
    seconds = sum(job.duration_seconds for job in jobs)
    return PrepareEstimate(
        items=len(jobs),
        film_seconds=seconds,
        bytes=round(seconds * proxy_format.estimated_bytes_per_second()),
        free_bytes=shutil.disk_usage(catalog.folder).free,
    )


class _Preparation:
    """One call of `prepare_catalog`, which holds the catalog's write lock."""

    def __init__(
        self,
        catalog: Catalog,
        proxy_format: ProxyFormat,
        jobs: list[_Job],
        scratch: Path | None,
        progress: ProgressCallback,
    ) -> None:
        self._catalog = catalog
        self._format = proxy_format
        self._jobs = jobs
        self._scratch = scratch
        self._progress = progress
        self._failed: list[SkippedFile] = []
        # Stale proxies count here: their files are deleted when they have been replaced.
        self._replaced = catalog.proxies(include_stale=True)
        self._done_seconds = {job.item.id: 0.0 for job in jobs}
        self._total_seconds = sum(job.duration_seconds for job in jobs)

    def run(self, engine: Engine) -> PrepareResult:
        """Make all proxies and return what was done."""
        for partial in self._catalog.folder.glob(f"proxies/*/*{PARTIAL}"):
            partial.unlink(missing_ok=True)
        if self._jobs:
            self._make_proxies(engine)
        items = self._catalog.items()
        present = {item.id for item in items}
        proxies = self._catalog.proxies(include_stale=True).values()
        current = self._catalog.proxies()
        damaged = (item_damage(item, current[item.id]) for item in items if item.id in current)
        return PrepareResult(
            prepared=len(self._jobs) - len(self._failed),
            skipped=len(present) - len(self._jobs),
            failed=tuple(self._failed),
            other_language=tuple(
                SkippedFile(path=item.path, reason=f"its audio is {_languages_of(item)}")
                for item in items
                if not has_language(item.probe.audio_tracks, self._format.languages)
            ),
            damaged=tuple(damage for damage in damaged if damage is not None),
            bytes=sum(proxy.size_bytes for proxy in proxies if proxy.item_id in present),
            film_seconds=self._total_seconds,
        )

    def _make_proxies(self, engine: Engine) -> None:
        folder = Path(os.path.abspath(self._catalog.folder))
        engine.check_folders(folder, [self._catalog.library])
        threads = engine.threads_per_job
        results = engine.run(
            functools.partial(_make_proxy, folder, self._format, threads, self._scratch),
            self._jobs,
            silence_seconds=_TIMEOUT_SECONDS,
            memory_bytes=_MEMORY_BYTES + threads * _MEMORY_BYTES_PER_THREAD,
            on_report=self._report,
        )
        remaining = {job.item.id: job for job in self._jobs}
        try:
            for job, result in results:
                del remaining[job.item.id]
                failure = result if isinstance(result, Failure) else self._record(job, *result)
                if failure is not None:
                    self._fail(job, failure.reason)
                    if failure.is_disk_full:
                        break
                self._report(job, job.duration_seconds)
        finally:
            results.close()
        for job in remaining.values():
            self._fail(job, f"not started: {DISK_FULL}")

    def _report(self, job: _Job, seconds: float) -> None:
        self._done_seconds[job.item.id] = min(seconds, job.duration_seconds)
        self._progress(sum(self._done_seconds.values()), self._total_seconds, job.source.name)

    def _fail(self, job: _Job, reason: str) -> None:
        job.remove_partial_files(self._catalog.folder)
        relative = job.source.relative_to(self._catalog.library)
        self._failed.append(SkippedFile(path=relative, reason=reason))

    def _record(self, job: _Job, facts: ProxySummary, digest: str) -> Failure | None:
        """Record a proxy whose files are complete. Return a failure if the disk is full.

        The digest of the whole source is recorded too: by it, a scan recognizes the source if its
        path or its time changes.
        """
        folder = self._catalog.folder
        proxy = Proxy(
            item_id=job.item.id,
            fingerprint=job.item.fingerprint,
            format_id=proxy_format_id(self._format),
            video_path=job.video_path,
            num_frames=facts.num_frames,
            frame_rate=self._format.frame_rate,
            width=facts.width,
            height=facts.height,
            audio_files=job.audio_files,
            num_samples=facts.num_samples,
            sample_rate_hz=self._format.sample_rate_hz,
            size_bytes=sum((folder / path).stat().st_size for path in job.paths),
            video_damage=facts.video_damage,
            audio_damage=facts.audio_damage,
        )
        try:
            self._catalog.record_proxy(proxy, full_digest=digest)
        except CatalogError as error:
            # Nothing would ever delete files that no record names.
            for path in job.paths:
                (folder / path).unlink(missing_ok=True)
            if not is_disk_full(error):
                raise
            return Failure(DISK_FULL, is_disk_full=True)
        old = self._replaced.get(job.item.id)
        for path in set(old.paths if old else ()).difference(job.paths):
            (folder / path).unlink(missing_ok=True)
        return None


def _make_proxy(
    folder: Path,
    proxy_format: ProxyFormat,
    num_threads: int,
    scratch: Path | None,
    job: _Job,
    report: Callable[[float], None],
) -> tuple[ProxySummary, str]:
    """Make the files of one proxy and return the digest of the source; runs in a worker.

    Raises:
        MediaError: The source cannot be decoded, or it is not the file that was scanned.
    """
    (folder / job.video_path).parent.mkdir(parents=True, exist_ok=True)
    # The names are unique: a machine that seemed to be lost may still write the same proxy.
    attempt = secrets.token_hex(4)
    partial = [folder / f"{path}.{attempt}{PARTIAL}" for path in job.paths]
    # A proxy is recorded under the fingerprint of the file that was scanned, so it must be made
    # from that file: the source is checked before and after.
    _check_state(job)
    with local_copy(job.source, scratch, lambda num_bytes: report(0.0)) as (source, digest):
        if job.item.full_digest not in (None, digest):
            raise MediaError(_CHANGED)
        try:
            facts = _write_files(
                partial, proxy_format, num_threads, replace(job, source=source), report
            )
        except MediaError as error:
            paths = repr(os.fspath(source)), repr(os.fspath(job.source))
            raise MediaError(str(error).replace(*paths)) from error
    _check_state(job)
    for written, path in zip(partial, job.paths, strict=True):
        os.replace(written, folder / path)
    return facts, digest


def _check_state(job: _Job) -> None:
    """Raise `MediaError` if a source differs from what was scanned in what is cheap to check."""
    state = FileState.of(job.source.stat())
    recorded = FileState(size_bytes=job.item.size_bytes, modified_ns=job.item.modified_ns)
    if state != recorded or (
        sampled_digest(job.source, state.size_bytes) != job.item.sampled_digest
    ):
        raise MediaError(_CHANGED)


def _write_files(
    partial: list[Path],
    proxy_format: ProxyFormat,
    num_threads: int,
    job: _Job,
    report: Callable[[float], None],
) -> ProxySummary:
    """Write all files of one proxy under temporary names."""
    facts = write_proxy(
        job.source,
        partial[0],
        partial[1] if job.audio_files else None,
        proxy_format,
        audio_track=job.audio_files[0].audio_track if job.audio_files else None,
        num_threads=num_threads,
        on_progress=report,
    )
    audio_damage = list(facts.audio_damage)
    for audio, path in zip(job.audio_files[1:], partial[2:], strict=True):
        audio_damage += write_audio_proxy(
            job.source,
            path,
            proxy_format,
            audio_track=audio.audio_track,
            num_samples=facts.num_samples,
            on_progress=report,
        )
    return replace(facts, audio_damage=merge_intervals(audio_damage))
