"""The titles of a catalog's items: from parsed paths to records, and what looks wrong in them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from toomuchtv.catalog.names import ParsedName, assign_titles, printable
from toomuchtv.catalog.records import Item, Title, TitleKind
from toomuchtv.catalog.store import Catalog

#: A file without year and episode number that is shorter than this is a clip and a title of its
#: own, as in a folder of short labeled videos. A longer one is a film.
CLIP_SECONDS = 90.0
# Two files of one episode or film whose lengths differ by more than this are likely two episodes
# or films. A director's cut is up to a third longer; PAL is 4% shorter.
_EPISODE_RATIO = 1.25
_FILM_RATIO = 1.75


def find_or_add_title(catalog: Catalog, path: Path, name: ParsedName, seconds: float) -> int:
    """Return the id of the title of a file. Add the title if it is new.

    Call this inside `Catalog.transaction`, for features before extras, so that a trailer joins the
    title of its film.

    Args:
        catalog: The catalog.
        path: Path of the file, relative to the library.
        name: What its path says.
        seconds: Duration of the file.
    """
    kind, key, display_name = name.kind, name.key, name.title
    kinds = [kind]
    if name.extra:  # the path of an extra does not state whether it is of a film or of a show
        kinds += [TitleKind.SHOW if kind is TitleKind.MOVIE else TitleKind.MOVIE]
    elif name.may_be_clip and seconds < CLIP_SECONDS:
        kind, key = TitleKind.CLIP, os.fspath(path)
        kinds = [kind]
        if name.kind is TitleKind.SHOW:  # the name of the folder, which holds many clips
            display_name = printable(path.stem)
    title = catalog.find_title(key, kinds=kinds)
    if title is None:
        title = catalog.add_title(key, kind=kind, name=display_name, year=name.year)
    return title.id


def assign_catalog_titles(
    catalog: Catalog, correct: Callable[[Item, ParsedName], ParsedName] = lambda _, name: name
) -> int:
    """Assign every item to the title that the paths of all items together state.

    A scan records each file as soon as it is probed, when it does not know what else lies in its
    folder. This brings everything to one state that depends on the paths and corrections alone.

    Args:
        catalog: The catalog, whose write lock is held.
        correct: Returns what an owner says about an item in place of what its path says.

    Returns:
        The number of items that changed.
    """
    items = catalog.items(include_extras=True)
    names = assign_titles([item.path for item in items], catalog.library.name)
    corrected = {item.id: correct(item, names[item.path]) for item in items}
    num_changed = 0
    with catalog.transaction():
        for item in sorted(items, key=lambda item: corrected[item.id].extra is not None):
            name = corrected[item.id]
            title_id = find_or_add_title(catalog, item.path, name, item.probe.duration_seconds)
            new = replace(
                item,
                title_id=title_id,
                season=name.season,
                episode=name.episode,
                extra=name.extra,
            )
            if new != item:
                catalog.put_item(new)
                num_changed += 1
        catalog.remove_empty_titles()
    return num_changed


def merge_warnings(titles: Iterable[Title], items: Iterable[Item]) -> list[str]:
    """Return warnings about files that are one episode or one film, and do not look like it.

    Args:
        titles: The titles.
        items: Their items. Extras are left out.
    """
    names = {title.id: title for title in titles}
    groups: defaultdict[tuple[int, int | None, int | None], list[Item]] = defaultdict(list)
    for item in items:
        title = names.get(item.title_id)
        if title is None or item.extra is not None or title.kind is TitleKind.CLIP:
            continue
        if title.kind is TitleKind.MOVIE or item.episode is not None:
            groups[item.title_id, item.season, item.episode].append(item)
    warnings = []
    for (title_id, season, episode), group in groups.items():
        title = names[title_id]
        group.sort(key=lambda item: (item.probe.duration_seconds, os.fsencode(item.path)))
        shortest, longest = group[0], group[-1]
        ratio = _FILM_RATIO if title.kind is TitleKind.MOVIE else _EPISODE_RATIO
        if longest.probe.duration_seconds <= ratio * max(shortest.probe.duration_seconds, 1.0):
            continue
        number = "" if season is None else f"season {season} "
        what = "one film" if episode is None else f"{number}episode {episode} of one show"
        minutes = [item.probe.duration_seconds / 60 for item in (shortest, longest)]
        warnings.append(
            f"{printable(shortest.path)} ({minutes[0]:.1f} min) and {printable(longest.path)} "
            f"({minutes[1]:.1f} min) count as {what}, {title.name!r}: if they are not, use "
            "`toomuchtv catalog rename`"
        )
    return warnings
