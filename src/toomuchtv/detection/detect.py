"""What is in the items of a catalog: segments, things that recur, duplicates; resumable.

Three steps, each in worker processes, each kept with what it was found from and not done again:

    item     traces of its proxy; black, silence, logo, shot
    title    opening, credits, recap, recurring, across its items
    catalog  duplicates, across its titles
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv._internal.subprocess_pool import Failure, run_isolated
from toomuchtv.catalog.records import Item, Proxy, SkippedFile
from toomuchtv.catalog.store import Catalog
from toomuchtv.detection import recurrence
from toomuchtv.detection.features_on_disk import FOLDER, features_path
from toomuchtv.detection.jobs import (
    ITEM_KINDS,
    CatalogJob,
    ItemJob,
    TitleJob,
    analyze_item,
    analyze_title,
    catalog_source,
    compare_titles,
    item_source,
    title_source,
)

A = TypeVar("A")
R = TypeVar("R")

_SILENCE_SECONDS = 300.0
# A search tells nothing on the way, and its files are our own.
_SEARCH_SECONDS = 6 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionResult:
    """What was done, and what the catalog holds now.

    `analyzed` and `skipped` count items; `segments` are those of present items by kind;
    `recurring` counts the things that come again, `duplicates` the stretches that titles share.
    """

    analyzed: int
    skipped: int
    failed: tuple[SkippedFile, ...]
    segments: Mapping[str, int]
    recurring: int
    duplicates: int


def detect_segments(
    catalog: Catalog, *, num_workers: int = 1, progress: ProgressCallback = no_progress
) -> DetectionResult:
    """Find what is in the prepared items; what was found before from the same is kept.

    Args:
        catalog: The catalog, with proxies; its folder takes the traces.
        num_workers: Items worked on at once.
        progress: Told the seconds of film done.

    Raises:
        CatalogError: Another process writes to the catalog.
    """
    with catalog.writing():
        return _Analysis(catalog, num_workers, progress).run()


@dataclass(slots=True)
class _Analysis:
    """One call of `detect_segments`, under the catalog's lock."""

    catalog: Catalog
    num_workers: int
    progress: ProgressCallback
    failed: list[SkippedFile] = field(default_factory=list)

    def run(self) -> DetectionResult:
        for partial in self.catalog.folder.glob(f"{FOLDER}/*/*.partial"):
            partial.unlink(missing_ok=True)
        proxies = self.catalog.proxies()
        pairs = [
            (item, proxies[item.id])
            for item in self.catalog.items()
            if item.id in proxies and proxies[item.id].fingerprint == item.fingerprint
        ]
        analyzed = self._items(pairs)
        pairs = [pair for pair in pairs if self._is_traced(pair[1])]
        self._titles(pairs)
        self._catalog(pairs)
        present = {item.id for item in self.catalog.items()}
        segments = [one for one in self.catalog.segments() if one.item_id in present]
        return DetectionResult(
            analyzed=analyzed,
            skipped=len(proxies.keys() & present) - analyzed - len(self.failed),
            failed=tuple(self.failed),
            segments=dict(sorted(Counter(one.kind for one in segments).items())),
            recurring=len({one.recurrence for one in segments} - {None}),
            duplicates=len(self.catalog.duplicates()),
        )

    def _is_traced(self, proxy: Proxy) -> bool:
        return (self.catalog.folder / features_path(proxy)).is_file()

    def _items(self, pairs: list[tuple[Item, Proxy]]) -> int:
        known = self.catalog.detection_sources()
        jobs = [ItemJob(item=item, proxy=proxy, source=item_source(proxy)) for item, proxy in pairs]
        jobs = [
            job
            for job in jobs
            if known.get(f"item {job.item.id}") != job.source or not self._is_traced(job.proxy)
        ]
        jobs.sort(key=lambda job: (-job.proxy.num_frames, job.item.id))
        seconds = {job.item.id: job.proxy.num_frames / job.proxy.frame_rate for job in jobs}
        done = dict.fromkeys(seconds, 0.0)

        def on_tell(job: ItemJob, amount: float) -> None:
            done[job.item.id] = min(amount, seconds[job.item.id])
            self.progress(sum(done.values()), sum(seconds.values()), job.item.path.name)

        function = functools.partial(analyze_item, self.catalog.folder)
        num_done = 0
        for job, found in self._results(function, jobs, on_tell):
            on_tell(job, seconds[job.item.id])
            if isinstance(found, Failure):
                self.failed.append(SkippedFile(path=job.item.path, reason=found.reason))
                continue
            self.catalog.record_segments(
                f"item {job.item.id}", job.source, [job.item.id], ITEM_KINDS, found
            )
            self._remove_older_traces(job.proxy)
            num_done += 1
        return num_done

    def _remove_older_traces(self, proxy: Proxy) -> None:
        path = self.catalog.folder / features_path(proxy)
        for other in path.parent.glob(f"{proxy.item_id:07d}-*.npz"):
            if other != path:
                other.unlink(missing_ok=True)

    def _titles(self, pairs: list[tuple[Item, Proxy]]) -> None:
        known = self.catalog.detection_sources()
        kinds = {title.id: title.kind for title in self.catalog.titles()}
        by_title: dict[int, list[tuple[Item, Proxy]]] = {}
        for pair in pairs:
            by_title.setdefault(pair[0].title_id, []).append(pair)
        jobs = [
            TitleJob(
                title_id=title_id,
                kind=kinds[title_id],
                items=tuple(items),
                source=title_source(kinds[title_id], items),
            )
            for title_id, items in by_title.items()
        ]
        jobs = [job for job in jobs if known.get(f"title {job.title_id}") != job.source]
        function = functools.partial(analyze_title, self.catalog.folder)
        for job, found in self._results(function, jobs, seconds=_SEARCH_SECONDS):
            items = [item for item, _ in job.items]
            if isinstance(found, Failure):
                self.failed.append(SkippedFile(path=items[0].path.parent, reason=found.reason))
                continue
            self.catalog.record_segments(
                f"title {job.title_id}",
                job.source,
                [item.id for item in items],
                recurrence.KINDS,
                found,
            )

    def _catalog(self, pairs: list[tuple[Item, Proxy]]) -> None:
        pairs = sorted(pairs, key=lambda pair: (pair[0].title_id, pair[0].id))
        source = catalog_source(pairs)
        if self.catalog.detection_sources().get("catalog") == source:
            return
        function = functools.partial(compare_titles, self.catalog.folder)
        jobs = [CatalogJob(items=tuple(pairs))]
        for _, found in self._results(function, jobs, seconds=_SEARCH_SECONDS):
            if isinstance(found, Failure):
                self.failed.append(SkippedFile(path=Path(), reason=found.reason))
            else:
                self.catalog.record_duplicates(source, found)

    def _results(
        self,
        function: Callable[[A, Callable[[float], None]], R],
        jobs: list[A],
        on_tell: Callable[[A, float], None] | None = None,
        *,
        seconds: float = _SILENCE_SECONDS,
    ) -> Iterator[tuple[A, R | Failure]]:
        if jobs:
            yield from run_isolated(
                function,
                jobs,
                num_workers=min(self.num_workers, len(jobs)),
                silence_seconds=seconds,
                on_tell=on_tell,
            )
