"""A catalog in plain words and numbers: what `toomuchtv catalog show` shows."""

from __future__ import annotations

import difflib
import os
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from toomuchtv.catalog.records import Duplicate, Item, Segment, Title
from toomuchtv.catalog.store import Catalog


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemDescription:
    """An item and its segments by start."""

    path: str
    season: int | None
    episode: int | None
    seconds: float
    prepared: bool
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringThing:
    """A thing that comes again in a title: in how many items, how long in the median, as what.

    `kinds` counts its occurrences; `first_item` and `first_start_seconds` say where to see it.
    """

    recurrence: int
    kinds: dict[str, int]
    items: int
    occurrences: int
    seconds: float
    first_item: str
    first_start_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TitleDescription:
    """A title with its items by path, and what recurs in them, the most frequent first."""

    name: str
    year: int | None
    kind: str
    seconds: float
    items: tuple[ItemDescription, ...]
    recurring: tuple[RecurringThing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedStretch:
    """What two titles share."""

    title: str
    item: str
    start_seconds: float
    stop_seconds: float
    other_title: str
    other_item: str
    other_start_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogDescription:
    """Titles by name, and what they share."""

    catalog: str
    titles: tuple[TitleDescription, ...]
    duplicates: tuple[SharedStretch, ...]


def describe_catalog(catalog: Catalog, title: str | None = None) -> CatalogDescription:
    """Describe a catalog, or one title of it.

    Args:
        catalog: The catalog.
        title: Name of the one to describe, upper or lower case; None for all.

    Raises:
        ValueError: There is no title of this name.
    """
    titles = catalog.titles()
    if title is not None:
        titles = _named(title, titles)
    items = catalog.items()
    proxies = catalog.proxies()
    segments: dict[int, list[Segment]] = {}
    for segment in catalog.segments():
        segments.setdefault(segment.item_id, []).append(segment)
    described: dict[int, list[tuple[Item, ItemDescription]]] = {}
    for item in items:
        one = ItemDescription(
            path=os.fspath(item.path),
            season=item.season,
            episode=item.episode,
            seconds=item.probe.duration_seconds,
            prepared=item.id in proxies and proxies[item.id].fingerprint == item.fingerprint,
            segments=tuple(segments.get(item.id, ())),
        )
        described.setdefault(item.title_id, []).append((item, one))
    return CatalogDescription(
        catalog=os.fspath(catalog.folder),
        titles=tuple(_title(one, described.get(one.id, [])) for one in titles),
        duplicates=tuple(
            _shared(catalog.duplicates(), items, {one.id: one for one in catalog.titles()}, titles)
        ),
    )


def _named(name: str, titles: list[Title]) -> list[Title]:
    found = [title for title in titles if title.name.casefold() == name.casefold()]
    if not found:
        names = [title.name for title in titles]
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.3) or names[:3]
        raise ValueError(f"no title {name!r} in the catalog: did you mean {', '.join(near)}?")
    return found


def _title(title: Title, pairs: list[tuple[Item, ItemDescription]]) -> TitleDescription:
    return TitleDescription(
        name=title.name,
        year=title.year,
        kind=title.kind.value,
        seconds=sum(one.seconds for _, one in pairs),
        items=tuple(one for _, one in pairs),
        recurring=tuple(_recurring(pairs)),
    )


def _recurring(pairs: list[tuple[Item, ItemDescription]]) -> list[RecurringThing]:
    paths = {item.id: one.path for item, one in pairs}
    things: dict[int, list[Segment]] = {}
    for _, one in pairs:
        for segment in one.segments:
            if segment.recurrence is not None:
                things.setdefault(segment.recurrence, []).append(segment)
    found = [
        RecurringThing(
            recurrence=number,
            kinds=dict(Counter(one.kind for one in segments)),
            items=len({one.item_id for one in segments}),
            occurrences=len(segments),
            seconds=statistics.median(one.stop_seconds - one.start_seconds for one in segments),
            first_item=paths[segments[0].item_id],
            first_start_seconds=segments[0].start_seconds,
        )
        for number, segments in things.items()
    ]
    return sorted(found, key=lambda thing: (-thing.items, -thing.seconds, thing.recurrence))


def _shared(
    duplicates: Iterable[Duplicate],
    items: Iterable[Item],
    titles: dict[int, Title],
    wanted: Iterable[Title],
) -> Iterable[SharedStretch]:
    by_id = {item.id: item for item in items}
    ids = {title.id for title in wanted}
    for one in duplicates:
        if one.item_id not in by_id or one.other_item_id not in by_id:
            continue
        item, other = by_id[one.item_id], by_id[one.other_item_id]
        if not ids.isdisjoint((item.title_id, other.title_id)):
            yield SharedStretch(
                title=titles[item.title_id].name,
                item=os.fspath(item.path),
                start_seconds=one.start_seconds,
                stop_seconds=one.stop_seconds,
                other_title=titles[other.title_id].name,
                other_item=os.fspath(other.path),
                other_start_seconds=one.other_start_seconds,
            )
