"""Detect what the items of a catalog contain: segments, recurring content and duplicates.

There are three steps. Each runs in worker processes, and each result is recorded together with a
digest of its input, so that it is not computed again while the input stays the same.

    scope      input                        result
    item       its proxy                    features on disk; black, silence, logo, shot
    title      features of its items        opening, credits, recap, recurring
    catalog    features of all items        duplicates
"""

from __future__ import annotations

import functools
import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv._internal.subprocess_pool import Failure
from toomuchtv._internal.system_errors import DISK_FULL, is_disk_full
from toomuchtv.catalog.records import (
    Duplicate,
    Item,
    Proxy,
    Segment,
    SkippedFile,
    Title,
    TitleKind,
)
from toomuchtv.catalog.store import Catalog, as_open_catalog
from toomuchtv.detection.detectors import (
    DETECTORS_VERSION,
    detect_black,
    detect_credits,
    detect_logos,
    detect_shots,
    detect_silence,
)
from toomuchtv.detection.duplicates import DUPLICATES_VERSION, find_duplicates
from toomuchtv.detection.features_on_disk import (
    FOLDER,
    StoredFingerprints,
    compute_features,
    digest,
    features_path,
    read_fingerprint,
    read_frame_features,
    write_features,
)
from toomuchtv.detection.matching import MATCHING_VERSION, POSTINGS_PREFIX
from toomuchtv.detection.recurrence import (
    CREDITS,
    RECURRENCE_VERSION,
    RECURRING_KINDS,
    Episode,
    detect_recurring,
)
from toomuchtv.engines import Engine, LocalEngine
from toomuchtv.errors import CatalogError, MediaError

R = TypeVar("R")

#: The kinds of segments that are detected in each item by itself.
ITEM_KINDS = ("black", "silence", "logo", "shot")
# A worker that reports no progress for this long is killed. The searches in titles and in the
# catalog report none, and they read only files that we wrote.
_ITEM_TIMEOUT_SECONDS = 300.0
_SEARCH_TIMEOUT_SECONDS = 6 * 3600.0
_FEATURES_IN_MEMORY = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionResult:
    """What was done, and what the catalog contains now.

    Attributes:
        analyzed: Number of items whose proxy was analyzed.
        skipped: Number of items that were analyzed before.
        failed: Items and titles that could not be analyzed, with reasons.
        segments: Number of segments of items in the library, by kind.
        recurring: Number of different contents that recur within a title.
        duplicates: Number of intervals that two titles share.
    """

    analyzed: int
    skipped: int
    failed: tuple[SkippedFile, ...]
    segments: Mapping[str, int]
    recurring: int
    duplicates: int


def detect_segments(
    catalog: Catalog | str | os.PathLike[str],
    *,
    num_workers: int = 1,
    engine: Engine | None = None,
    progress: ProgressCallback = no_progress,
) -> DetectionResult:
    """Detect segments, recurring content and duplicates in the prepared items of a catalog.

    Results that are up to date are kept. A call that was killed can simply be repeated.

    Args:
        catalog: The catalog or its folder. Features are written to the folder.
        num_workers: Number of items to analyze at the same time.
        engine: Where to analyze them, such as a `RayEngine`. By default in `num_workers` processes
            of this machine.
        progress: Receives the seconds of film that are done.

    Raises:
        CatalogError: Another process writes to the catalog.
        EngineError: A machine of the engine cannot do the work, or the connection to it is lost.
    """
    with as_open_catalog(catalog) as opened, opened.writing():
        return _Detection(opened, engine or LocalEngine(num_workers), progress).run()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One scope to analyze: an item, a title, or the catalog.

    `path` names the scope in messages about failures.
    """

    scope: str
    source: str
    path: Path
    items: tuple[tuple[Item, Proxy], ...]
    title_kind: TitleKind | None = None

    @property
    def seconds(self) -> float:
        return sum(proxy.duration_seconds for _, proxy in self.items)

    def features_paths(self, folder: Path) -> list[Path]:
        return [folder / features_path(proxy) for _, proxy in self.items]


def _item_job(item: Item, proxy: Proxy) -> _Job:
    source = digest(features_path(proxy), DETECTORS_VERSION)
    return _Job(scope=f"item {item.id}", source=source, path=item.path, items=((item, proxy),))


def _title_job(title: Title, items: list[tuple[Item, Proxy]]) -> _Job:
    versions = MATCHING_VERSION, RECURRENCE_VERSION, DETECTORS_VERSION
    inputs = ((features_path(proxy), item.season, item.episode) for item, proxy in items)
    return _Job(
        scope=f"title {title.id}",
        source=digest(title.kind, versions, *inputs),
        path=items[0][0].path.parent,
        items=tuple(items),
        title_kind=title.kind,
    )


def _catalog_job(items: list[tuple[Item, Proxy]]) -> _Job:
    items = sorted(items, key=lambda pair: (pair[0].title_id, pair[0].id))
    inputs = ((item.title_id, features_path(proxy)) for item, proxy in items)
    source = digest(DUPLICATES_VERSION, MATCHING_VERSION, *inputs)
    return _Job(scope="catalog", source=source, path=Path(), items=tuple(items))


class _DiskFullError(Exception):
    """There is no space for further results."""


@dataclass(slots=True)
class _Detection:
    """One call of `detect_segments`, which holds the catalog's write lock."""

    catalog: Catalog
    engine: Engine
    progress: ProgressCallback
    failed: list[SkippedFile] = field(default_factory=list)
    num_jobs: int = 0
    num_analyzed: int = 0

    def run(self) -> DetectionResult:
        """Do the three steps and return the result."""
        proxies, items = self.catalog.proxies(), self.catalog.items()
        prepared = [(item, proxies[item.id]) for item in items if item.id in proxies]
        self._remove_partial_files()
        with suppress(_DiskFullError):
            self._analyze_items(prepared)
            prepared = [pair for pair in prepared if self._has_features(pair[1])]
            self._analyze_titles(prepared)
            self._analyze_catalog(prepared)
        self._remove_partial_files()
        present = {item.id for item in items}
        counts = self.catalog.segment_counts()
        segments = sum((Counter(counts.get(one, {})) for one in present), Counter[str]())
        recurring = self.catalog.recurring_segments()
        return DetectionResult(
            analyzed=self.num_analyzed,
            skipped=len(present & proxies.keys()) - self.num_jobs,
            failed=tuple(self.failed),
            segments=dict(sorted(segments.items())),
            recurring=len({one.recurrence for one in recurring if one.item_id in present}),
            duplicates=len(self.catalog.duplicates()),
        )

    def _has_features(self, proxy: Proxy) -> bool:
        return (self.catalog.folder / features_path(proxy)).is_file()

    def _remove_partial_files(self) -> None:
        """Remove what a worker that was killed, or that had no space, left behind."""
        for partial in self.catalog.folder.glob(f"{FOLDER}/*/*.partial"):
            partial.unlink(missing_ok=True)
        for postings in self.catalog.folder.glob(f"{FOLDER}/{POSTINGS_PREFIX}*"):
            shutil.rmtree(postings, ignore_errors=True)

    def _fail(self, job: _Job, reason: str) -> None:
        self.failed.append(SkippedFile(path=job.path, reason=reason))

    def _analyze_items(self, prepared: list[tuple[Item, Proxy]]) -> None:
        """Analyze the items that are not up to date."""
        done = self.catalog.detection_sources()
        jobs = [
            job
            for job in (_item_job(item, proxy) for item, proxy in prepared)
            if done.get(job.scope) != job.source or not self._has_features(job.items[0][1])
        ]
        jobs.sort(key=lambda job: (-job.seconds, job.items[0][0].id))
        done_seconds = {job.scope: 0.0 for job in jobs}
        total_seconds = sum(job.seconds for job in jobs)
        self.num_jobs = len(jobs)

        def report(job: _Job, seconds: float) -> None:
            done_seconds[job.scope] = min(seconds, job.seconds)
            self.progress(sum(done_seconds.values()), total_seconds, job.path.name)

        for job, segments in self._results(_analyze_item, jobs, _ITEM_TIMEOUT_SECONDS, report):
            self._record_segments(job, ITEM_KINDS, segments)
            self.num_analyzed += 1
            proxy = job.items[0][1]
            path = self.catalog.folder / features_path(proxy)
            for other in path.parent.glob(f"{proxy.item_id:07d}-*.npz"):
                if other != path:  # features of earlier content
                    other.unlink(missing_ok=True)

    def _analyze_titles(self, prepared: list[tuple[Item, Proxy]]) -> None:
        by_title: dict[int, list[tuple[Item, Proxy]]] = {}
        for pair in prepared:
            by_title.setdefault(pair[0].title_id, []).append(pair)
        done = self.catalog.detection_sources()
        jobs = [_title_job(self.catalog.title(number), by_title[number]) for number in by_title]
        jobs = [job for job in jobs if done.get(job.scope) != job.source]
        for job, segments in self._results(_analyze_title, jobs, _SEARCH_TIMEOUT_SECONDS):
            self._record_segments(job, RECURRING_KINDS, segments)

    def _analyze_catalog(self, prepared: list[tuple[Item, Proxy]]) -> None:
        job = _catalog_job(prepared)
        if self.catalog.detection_sources().get(job.scope) == job.source:
            return
        for _, duplicates in self._results(_analyze_catalog, [job], _SEARCH_TIMEOUT_SECONDS):
            with self._recording(job):
                self.catalog.record_duplicates(job.source, duplicates)

    def _record_segments(self, job: _Job, kinds: Collection[str], found: list[Segment]) -> None:
        item_ids = [item.id for item, _ in job.items]
        with self._recording(job):
            self.catalog.record_segments(job.scope, job.source, item_ids, kinds, found)

    @contextmanager
    def _recording(self, job: _Job) -> Generator[None]:
        """Stop the detection if the disk is full, and keep what is recorded so far."""
        try:
            yield
        except CatalogError as error:
            if not is_disk_full(error):
                raise
            self._fail(job, DISK_FULL)
            raise _DiskFullError from error

    def _results(
        self,
        function: Callable[[Path, _Job, Callable[[float], None]], R],
        jobs: list[_Job],
        timeout_seconds: float,
        report: Callable[[_Job, float], None] | None = None,
    ) -> Iterator[tuple[_Job, R]]:
        """Yield the results of jobs that are run in worker processes; collect the failures."""
        if not jobs:
            return
        folder = Path(os.path.abspath(self.catalog.folder))
        self.engine.check_folders(folder, [])
        results = self.engine.run(
            functools.partial(function, folder),
            jobs,
            silence_seconds=timeout_seconds,
            on_report=report,
        )
        with closing(results):
            yield from self._successes(results, report)

    def _successes(
        self,
        results: Iterable[tuple[_Job, R | Failure]],
        report: Callable[[_Job, float], None] | None,
    ) -> Iterator[tuple[_Job, R]]:
        for job, result in results:
            if report is not None:
                report(job, job.seconds)
            if not isinstance(result, Failure):
                yield job, result
                continue
            self._fail(job, result.reason)
            if result.is_disk_full:
                raise _DiskFullError


# ---- Functions that run in worker processes


def _analyze_item(folder: Path, job: _Job, report: Callable[[float], None]) -> list[Segment]:
    """Compute the features of an item, unless they are on disk, and detect segments in them."""
    ((item, proxy),) = job.items
    (path,) = job.features_paths(folder)
    try:
        fingerprint, frames = read_fingerprint(path), read_frame_features(path)
    except MediaError:
        write_features(path, compute_features(folder, proxy, report))
        # They are read back, because frame features lose precision on disk: results must not
        # depend on whether the features were there before.
        fingerprint, frames = read_fingerprint(path), read_frame_features(path)
    black = detect_black(frames)
    intervals = {
        "black": black,
        "silence": detect_silence(fingerprint),
        "logo": detect_logos(frames, black),
        "shot": detect_shots(frames),
    }
    return [
        Segment(item_id=item.id, start_seconds=start, stop_seconds=stop, kind=kind)
        for kind, found in intervals.items()
        for start, stop in found
    ]


def _analyze_title(folder: Path, job: _Job, report: Callable[[float], None]) -> list[Segment]:
    """Detect what recurs in the episodes of a show, and credits that can be seen."""
    segments: list[Segment] = []
    paths = job.features_paths(folder)
    if job.title_kind is TitleKind.SHOW:
        segments = detect_recurring(
            [
                Episode(
                    item_id=item.id,
                    season=item.season,
                    episode=item.episode,
                    fingerprint=read_fingerprint(path),
                )
                for (item, _), path in zip(job.items, paths, strict=True)
            ]
        )
    report(0.0)
    for (item, _), path in zip(job.items, paths, strict=True):
        interval = detect_credits(read_frame_features(path))
        if interval is None:
            continue
        start, stop = interval
        # What was found by audio is more exact, so it takes precedence.
        if not any(
            one.item_id == item.id and one.start_seconds < stop and start < one.stop_seconds
            for one in segments
        ):
            segments.append(
                Segment(item_id=item.id, start_seconds=start, stop_seconds=stop, kind=CREDITS)
            )
    return segments


def _analyze_catalog(folder: Path, job: _Job, report: Callable[[float], None]) -> list[Duplicate]:
    """Find the intervals that items of different titles share."""
    report(0.0)
    paths = job.features_paths(folder)
    frames_of = functools.lru_cache(_FEATURES_IN_MEMORY)(lambda i: read_frame_features(paths[i]))
    (folder / FOLDER).mkdir(exist_ok=True)
    return list(
        find_duplicates(
            [item.id for item, _ in job.items],
            [item.title_id for item, _ in job.items],
            StoredFingerprints(paths),
            frames_of,
            scratch=folder / FOLDER,
        )
    )
