"""Describe a catalog for people and programs: what `toomuchtv catalog show` prints."""

from __future__ import annotations

import difflib
import os
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from toomuchtv.catalog.item_names import folded
from toomuchtv.catalog.proxies import item_damage
from toomuchtv.catalog.records import Item, Segment, Title
from toomuchtv.catalog.store import Catalog, as_open_catalog


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemDescription:
    """An item and its segments.

    Attributes:
        path: Path relative to the library.
        season: Season number, or None.
        episode: Episode number, or None.
        seconds: Duration of the video.
        prepared: True if the item has a proxy of its present content.
        damage: Where the file is damaged, in words; "" if it is whole or was not prepared.
        segments: The segments of the item, by start; () if they were not asked for.
        segment_counts: Number of its segments by kind.
    """

    path: str
    season: int | None
    episode: int | None
    seconds: float
    prepared: bool
    damage: str
    segments: tuple[Segment, ...]
    segment_counts: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrenceDescription:
    """Content that recurs in a title, such as its opening.

    Attributes:
        recurrence: The number that all its segments share.
        kinds: Number of segments by kind.
        items: Number of items that contain it.
        occurrences: Number of segments.
        seconds: Median duration of the segments.
        first_item: Path of the first item that contains it.
        first_start_seconds: Start of its first segment in that item.
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
    """A title, its items by path, and the content that recurs in them, most frequent first.

    `seconds` is the duration of all items together.
    """

    name: str
    year: int | None
    kind: str
    seconds: float
    items: tuple[ItemDescription, ...]
    recurring: tuple[RecurrenceDescription, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateDescription:
    """An interval that items of two titles share; see `Duplicate` for the times."""

    title: str
    item: str
    start_seconds: float
    stop_seconds: float
    other_title: str
    other_item: str
    other_start_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogDescription:
    """A catalog: its folder, its titles by name, and the intervals that titles share."""

    catalog: str
    titles: tuple[TitleDescription, ...]
    duplicates: tuple[DuplicateDescription, ...]


def describe_catalog(
    catalog: Catalog | str | os.PathLike[str],
    title: str | None = None,
    *,
    list_segments: bool = True,
) -> CatalogDescription:
    """Describe a catalog, or one title of it.

    Args:
        catalog: The catalog or its folder.
        title: Name of the title to describe, in upper or lower case, with or without its year in
            brackets. None describes all titles.
        list_segments: Whether the items have all their segments. Without them, a large catalog
            takes much less time and memory.

    Raises:
        ValueError: There is no title of this name.
    """
    with as_open_catalog(catalog) as opened:
        all_titles, items = opened.titles(), opened.items()
        titles = all_titles if title is None else _find_by_name(title, all_titles)
        proxies = opened.proxies()
        wanted = {one.id for one in titles}
        items_of = [item for item in items if item.title_id in wanted]
        counts = opened.segment_counts()
        recurring: dict[int, list[Segment]] = {}
        for segment in opened.recurring_segments():
            recurring.setdefault(segment.item_id, []).append(segment)
        by_title: dict[int, list[tuple[ItemDescription, list[Segment]]]] = {}
        for item in items_of:
            description = ItemDescription(
                path=os.fspath(item.path),
                season=item.season,
                episode=item.episode,
                seconds=item.probe.duration_seconds,
                prepared=item.id in proxies,
                damage=str((item.id in proxies and item_damage(item, proxies[item.id])) or ""),
                segments=tuple(opened.segments(item.id)) if list_segments else (),
                segment_counts=counts.get(item.id, {}),
            )
            by_title.setdefault(item.title_id, []).append((description, recurring.get(item.id, [])))
        return CatalogDescription(
            catalog=os.fspath(opened.folder),
            titles=tuple(_describe_title(one, by_title.get(one.id, [])) for one in titles),
            duplicates=tuple(_describe_duplicates(opened, items, all_titles, titles)),
        )


def display_name(name: str, year: int | None) -> str:
    """Return the name of a title as tables show it: "Name (1978)"."""
    return name if year is None else f"{name} ({year})"


def _find_by_name(name: str, titles: list[Title]) -> list[Title]:
    names = {title.id: display_name(title.name, title.year) for title in titles}
    wanted = folded(name)
    found = [title for title in titles if folded(names[title.id]) == wanted]
    found = found or [title for title in titles if folded(title.name) == wanted]
    if not found:
        known = list(dict.fromkeys(names.values()))
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.3) or known[:3]
        raise ValueError(f"no title {name!r} in the catalog: did you mean {', '.join(near)}?")
    return found


def _describe_title(
    title: Title, pairs: list[tuple[ItemDescription, list[Segment]]]
) -> TitleDescription:
    """Describe a title from its items and their recurring segments."""
    recurring: dict[int, list[tuple[str, Segment]]] = {}
    items = [item for item, _ in pairs]
    for item, segments in pairs:
        for segment in segments:
            if segment.recurrence is not None:
                recurring.setdefault(segment.recurrence, []).append((item.path, segment))
    described = [_describe_recurrence(number, found) for number, found in recurring.items()]
    return TitleDescription(
        name=title.name,
        year=title.year,
        kind=title.kind.value,
        seconds=sum(item.seconds for item in items),
        items=tuple(items),
        recurring=tuple(sorted(described, key=lambda r: (-r.items, -r.seconds, r.recurrence))),
    )


def _describe_recurrence(number: int, found: list[tuple[str, Segment]]) -> RecurrenceDescription:
    segments = [segment for _, segment in found]
    return RecurrenceDescription(
        recurrence=number,
        kinds=dict(Counter(segment.kind for segment in segments)),
        items=len({segment.item_id for segment in segments}),
        occurrences=len(segments),
        seconds=statistics.median(one.stop_seconds - one.start_seconds for one in segments),
        first_item=found[0][0],
        first_start_seconds=segments[0].start_seconds,
    )


def _describe_duplicates(
    catalog: Catalog, items: Iterable[Item], all_titles: Iterable[Title], titles: Iterable[Title]
) -> Iterator[DuplicateDescription]:
    by_id = {item.id: item for item in items}
    names = {title.id: title.name for title in all_titles}
    wanted = {title.id for title in titles}
    for one in catalog.duplicates():
        item, other = by_id.get(one.item_id), by_id.get(one.other_item_id)
        if item and other and not wanted.isdisjoint((item.title_id, other.title_id)):
            yield DuplicateDescription(
                title=names[item.title_id],
                item=os.fspath(item.path),
                start_seconds=one.start_seconds,
                stop_seconds=one.stop_seconds,
                other_title=names[other.title_id],
                other_item=os.fspath(other.path),
                other_start_seconds=one.other_start_seconds,
            )
