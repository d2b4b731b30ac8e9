"""What is in the items of a catalog: segments, things that recur, duplicates; resumable.

Three steps, each in worker processes, each kept with what it was found from and not done again:

    item     traces of its proxy; black, silence, logo, shot
    title    opening, credits, recap, recurring, across its items
    catalog  duplicates, across its titles
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from toomuchtv.catalog import recurring
from toomuchtv.catalog.duplicates import DUPLICATES_VERSION, find_duplicates
from toomuchtv.catalog.matching import MATCHING_VERSION
from toomuchtv.catalog.records import Duplicate, Item, Proxy, Segment, SetAside, TitleKind
from toomuchtv.catalog.store import Catalog
from toomuchtv.catalog.traces import (
    FOLDER,
    StoredPrints,
    Traces,
    digest,
    make_traces,
    read_prints,
    read_stored_traits,
    traces_path,
    write_traces,
)
from toomuchtv.errors import MediaError
from toomuchtv.isolation import Failure, run_isolated
from toomuchtv.media.blanks import (
    BLANKS_VERSION,
    find_black,
    find_film_credits,
    find_logos,
    find_silence,
)
from toomuchtv.media.shots import SHOTS_VERSION, find_shots
from toomuchtv.progress import ProgressHook, no_progress

#: Kinds that one item alone tells.
ITEM_KINDS = ("black", "silence", "logo", "shot")

_SILENCE_SECONDS = 300.0
# A search tells nothing on the way, and its files are our own.
_SEARCH_SECONDS = 6 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisResult:
    """What was done, and what the catalog holds now.

    `analyzed` and `skipped` count items; `segments` are those of present items by kind;
    `recurring` counts the things that come again, `duplicates` the stretches that titles share.
    """

    analyzed: int
    skipped: int
    failed: tuple[SetAside, ...]
    segments: Mapping[str, int]
    recurring: int
    duplicates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _ItemJob:
    item: Item
    proxy: Proxy
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _TitleJob:
    title_id: int
    kind: TitleKind
    items: tuple[tuple[Item, Proxy], ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _CatalogJob:
    items: tuple[tuple[Item, Proxy], ...]


def find_segments(
    catalog: Catalog, *, num_workers: int = 1, progress: ProgressHook = no_progress
) -> AnalysisResult:
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
    """One call of `find_segments`, under the catalog's lock."""

    catalog: Catalog
    num_workers: int
    progress: ProgressHook
    failed: list[SetAside] = field(default_factory=list)

    def run(self) -> AnalysisResult:
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
        return AnalysisResult(
            analyzed=analyzed,
            skipped=len(proxies.keys() & present) - analyzed - len(self.failed),
            failed=tuple(self.failed),
            segments=dict(sorted(Counter(one.kind for one in segments).items())),
            recurring=len({one.recurrence for one in segments} - {None}),
            duplicates=len(self.catalog.duplicates()),
        )

    def _is_traced(self, proxy: Proxy) -> bool:
        return (self.catalog.folder / traces_path(proxy)).is_file()

    def _items(self, pairs: list[tuple[Item, Proxy]]) -> int:
        known = self.catalog.analyses()
        jobs = [
            _ItemJob(item=item, proxy=proxy, source=_item_source(proxy)) for item, proxy in pairs
        ]
        jobs = [
            job
            for job in jobs
            if known.get(f"item {job.item.id}") != job.source or not self._is_traced(job.proxy)
        ]
        jobs.sort(key=lambda job: (-job.proxy.num_frames, job.item.id))
        seconds = {job.item.id: job.proxy.num_frames / job.proxy.frame_rate for job in jobs}
        done = dict.fromkeys(seconds, 0.0)

        def on_tell(job: _ItemJob, amount: float) -> None:
            done[job.item.id] = min(amount, seconds[job.item.id])
            self.progress(sum(done.values()), sum(seconds.values()), job.item.path.name)

        function = functools.partial(_analyze_item, self.catalog.folder)
        num_done = 0
        for job, found in self._results(function, jobs, on_tell):
            on_tell(job, seconds[job.item.id])
            if isinstance(found, Failure):
                self.failed.append(SetAside(path=job.item.path, reason=found.reason))
                continue
            self.catalog.record_segments(
                f"item {job.item.id}", job.source, [job.item.id], ITEM_KINDS, found
            )
            self._remove_older_traces(job.proxy)
            num_done += 1
        return num_done

    def _remove_older_traces(self, proxy: Proxy) -> None:
        path = self.catalog.folder / traces_path(proxy)
        for other in path.parent.glob(f"{proxy.item_id:07d}-*.npz"):
            if other != path:
                other.unlink(missing_ok=True)

    def _titles(self, pairs: list[tuple[Item, Proxy]]) -> None:
        known = self.catalog.analyses()
        kinds = {title.id: title.kind for title in self.catalog.titles()}
        by_title: dict[int, list[tuple[Item, Proxy]]] = {}
        for pair in pairs:
            by_title.setdefault(pair[0].title_id, []).append(pair)
        jobs = [
            _TitleJob(
                title_id=title_id,
                kind=kinds[title_id],
                items=tuple(items),
                source=_title_source(kinds[title_id], items),
            )
            for title_id, items in by_title.items()
        ]
        jobs = [job for job in jobs if known.get(f"title {job.title_id}") != job.source]
        function = functools.partial(_analyze_title, self.catalog.folder)
        for job, found in self._results(function, jobs, seconds=_SEARCH_SECONDS):
            items = [item for item, _ in job.items]
            if isinstance(found, Failure):
                self.failed.append(SetAside(path=items[0].path.parent, reason=found.reason))
                continue
            self.catalog.record_segments(
                f"title {job.title_id}",
                job.source,
                [item.id for item in items],
                recurring.KINDS,
                found,
            )

    def _catalog(self, pairs: list[tuple[Item, Proxy]]) -> None:
        pairs = sorted(pairs, key=lambda pair: (pair[0].title_id, pair[0].id))
        source = digest(
            DUPLICATES_VERSION,
            MATCHING_VERSION,
            *((item.title_id, traces_path(proxy)) for item, proxy in pairs),
        )
        if self.catalog.analyses().get("catalog") == source:
            return
        function = functools.partial(_compare_titles, self.catalog.folder)
        jobs = [_CatalogJob(items=tuple(pairs))]
        for _, found in self._results(function, jobs, seconds=_SEARCH_SECONDS):
            if isinstance(found, Failure):
                self.failed.append(SetAside(path=Path(), reason=found.reason))
            else:
                self.catalog.record_duplicates(source, found)

    def _results[A, R](
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


def _item_source(proxy: Proxy) -> str:
    return digest(traces_path(proxy), BLANKS_VERSION, SHOTS_VERSION)


def _title_source(kind: TitleKind, items: Iterable[tuple[Item, Proxy]]) -> str:
    versions = MATCHING_VERSION, recurring.NAMING_VERSION, BLANKS_VERSION
    return digest(
        kind,
        versions,
        *((traces_path(proxy), item.season, item.episode) for item, proxy in items),
    )


def _analyze_item(folder: Path, job: _ItemJob, tell: Callable[[float], None]) -> list[Segment]:
    """What a worker does for an item: its traces, where they are not there yet, and its segments."""
    path = folder / traces_path(job.proxy)
    try:
        traces = Traces(prints=read_prints(path), traits=read_stored_traits(path))
    except MediaError:
        write_traces(path, make_traces(folder, job.proxy, tell))
        traces = Traces(prints=read_prints(path), traits=read_stored_traits(path))
    black = find_black(traces.traits)
    found = {
        "black": black,
        "silence": find_silence(traces.prints),
        "logo": find_logos(traces.traits, black),
        "shot": find_shots(traces.traits),
    }
    return [
        Segment(item_id=job.item.id, start_seconds=start, stop_seconds=stop, kind=kind)
        for kind, spans in found.items()
        for start, stop in spans
    ]


def _analyze_title(folder: Path, job: _TitleJob, tell: Callable[[float], None]) -> list[Segment]:
    """What a worker does for a title: what recurs; and the credits that can be seen."""
    segments: list[Segment] = []
    if job.kind is TitleKind.SHOW:
        prints = StoredPrints([folder / traces_path(proxy) for _, proxy in job.items])
        segments = recurring.find_recurring(
            [
                recurring.Episode(
                    item_id=item.id, season=item.season, episode=item.episode, prints=one
                )
                for (item, _), one in zip(job.items, prints, strict=True)
            ]
        )
    tell(0.0)
    for item, proxy in job.items:
        seen = find_film_credits(read_stored_traits(folder / traces_path(proxy)))
        taken = [one for one in segments if one.item_id == item.id]
        if seen is not None and not any(
            one.start_seconds < seen[1] and seen[0] < one.stop_seconds for one in taken
        ):
            segments.append(
                Segment(
                    item_id=item.id, start_seconds=seen[0], stop_seconds=seen[1], kind="credits"
                )
            )
    return segments


def _compare_titles(
    folder: Path, job: _CatalogJob, tell: Callable[[float], None]
) -> list[Duplicate]:
    """What a worker does for the catalog."""
    tell(0.0)
    paths = [folder / traces_path(proxy) for _, proxy in job.items]

    @functools.lru_cache(maxsize=64)
    def traits_of(index: int):  # type: ignore[no-untyped-def]
        return read_stored_traits(paths[index])

    (folder / FOLDER).mkdir(exist_ok=True)
    return list(
        find_duplicates(
            [item.id for item, _ in job.items],
            [item.title_id for item, _ in job.items],
            StoredPrints(paths),
            traits_of,
            scratch=folder / FOLDER,
        )
    )
