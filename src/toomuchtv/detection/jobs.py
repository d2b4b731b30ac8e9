"""What worker processes do for `analysis`: one item, one title, all titles against each other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from toomuchtv.catalog.records import Duplicate, Item, Proxy, Segment, TitleKind
from toomuchtv.detection import recurrence
from toomuchtv.detection.detectors import (
    DETECTORS_VERSION,
    find_black,
    find_film_credits,
    find_logos,
    find_silence,
)
from toomuchtv.detection.duplicates import DUPLICATES_VERSION, find_duplicates
from toomuchtv.detection.features_on_disk import (
    FOLDER,
    StoredFingerprints,
    Traces,
    compute_features,
    digest,
    features_path,
    read_fingerprint,
    read_frame_features,
    write_features,
)
from toomuchtv.detection.frame_features import FrameFeatures
from toomuchtv.detection.matching import MATCHING_VERSION
from toomuchtv.detection.shots import SHOTS_VERSION, find_shots
from toomuchtv.errors import MediaError

#: Kinds that one item alone tells.
ITEM_KINDS = ("black", "silence", "logo", "shot")


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemJob:
    """An item to look into."""

    item: Item
    proxy: Proxy
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TitleJob:
    """A title to search for what recurs; `items` with their proxies."""

    title_id: int
    kind: TitleKind
    items: tuple[tuple[Item, Proxy], ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogJob:
    """Items with their proxies to compare, those of a title together."""

    items: tuple[tuple[Item, Proxy], ...]


def item_source(proxy: Proxy) -> str:
    """What the segments of an item are found from."""
    return digest(features_path(proxy), DETECTORS_VERSION, SHOTS_VERSION)


def title_source(kind: TitleKind, items: Iterable[tuple[Item, Proxy]]) -> str:
    """What the segments of a title are found from."""
    versions = MATCHING_VERSION, recurrence.NAMING_VERSION, DETECTORS_VERSION
    return digest(
        kind,
        versions,
        *((features_path(proxy), item.season, item.episode) for item, proxy in items),
    )


def catalog_source(pairs: Iterable[tuple[Item, Proxy]]) -> str:
    """What the duplicates of a catalog are found from."""
    return digest(
        DUPLICATES_VERSION,
        MATCHING_VERSION,
        *((item.title_id, features_path(proxy)) for item, proxy in pairs),
    )


def analyze_item(folder: Path, job: ItemJob, tell: Callable[[float], None]) -> list[Segment]:
    """Make an item's traces, where they are not there yet, and find its segments in them."""
    path = folder / features_path(job.proxy)
    try:
        traces = Traces(prints=read_fingerprint(path), traits=read_frame_features(path))
    except MediaError:
        write_features(path, compute_features(folder, job.proxy, tell))
        traces = Traces(prints=read_fingerprint(path), traits=read_frame_features(path))
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


def analyze_title(folder: Path, job: TitleJob, tell: Callable[[float], None]) -> list[Segment]:
    """Find what recurs in a show's episodes, and the credits that can be seen."""
    segments: list[Segment] = []
    if job.kind is TitleKind.SHOW:
        prints = StoredFingerprints([folder / features_path(proxy) for _, proxy in job.items])
        segments = recurrence.detect_recurring(
            [
                recurrence.Episode(
                    item_id=item.id, season=item.season, episode=item.episode, fingerprint=one
                )
                for (item, _), one in zip(job.items, prints, strict=True)
            ]
        )
    tell(0.0)
    for item, proxy in job.items:
        seen = find_film_credits(read_frame_features(folder / features_path(proxy)))
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


def compare_titles(folder: Path, job: CatalogJob, tell: Callable[[float], None]) -> list[Duplicate]:
    """Find what items of different titles share."""
    tell(0.0)
    paths = [folder / features_path(proxy) for _, proxy in job.items]

    @functools.lru_cache(maxsize=64)
    def traits_of(index: int) -> FrameFeatures:
        return read_frame_features(paths[index])

    (folder / FOLDER).mkdir(exist_ok=True)
    return list(
        find_duplicates(
            [item.id for item, _ in job.items],
            [item.title_id for item, _ in job.items],
            StoredFingerprints(paths),
            traits_of,
            scratch=folder / FOLDER,
        )
    )
