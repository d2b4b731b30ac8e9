"""The titles of a catalog's items: from parsed paths to records, and what looks wrong in them."""

from __future__ import annotations

import difflib
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from toomuchtv.catalog.corrections import (
    CORRECTIONS_NAME,
    Correction,
    Corrections,
    add_correction,
    read_corrections,
)
from toomuchtv.catalog.names import ParsedName, assign_titles, printable
from toomuchtv.catalog.records import Item, Title, TitleKind
from toomuchtv.catalog.store import Catalog
from toomuchtv.errors import CatalogError

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


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignedTitles:
    """What an assignment of titles changed.

    Attributes:
        changed: Paths of the items that changed.
        warnings: Sentences on corrections that are about no file.
    """

    changed: tuple[Path, ...]
    warnings: tuple[str, ...]


def assign_catalog_titles(
    catalog: Catalog, corrections: Corrections | None = None
) -> AssignedTitles:
    """Assign every item to the title that the paths of all items and the corrections state.

    A scan records each file as soon as it is probed, when it does not know what else lies in its
    folder. This brings everything to one state that depends on paths and corrections alone.

    Args:
        catalog: The catalog, whose write lock is held.
        corrections: What the owner says. The default is to read the catalog's `titles.toml`.

    Raises:
        CatalogError: `titles.toml` is wrong.
    """
    if corrections is None:
        corrections = read_corrections(catalog.folder)
    items = catalog.items(include_extras=True)
    names = assign_titles([item.path for item in items], catalog.library.name)
    known = catalog.corrected_paths()
    corrected: dict[int, Path | None] = {}
    found: dict[int, ParsedName] = {}
    used: set[int] = set()
    for item in items:
        # A correction follows the content of a file that was renamed.
        named = [item.path, *([known[item.id]] if item.id in known else [])]
        path, entries = next(((p, e) for p in named if (e := corrections.of(p))), (None, []))
        corrected[item.id] = path
        found[item.id] = corrections.apply(entries, names[item.path])
        used.update(entries)
    changed = []
    with catalog.transaction():
        for item in sorted(items, key=lambda item: found[item.id].extra is not None):
            if corrected[item.id] != known.get(item.id):
                catalog.put_corrected_path(item.id, corrected[item.id])
            new = _assigned(catalog, item, found[item.id])
            if new != item:
                catalog.put_item(new)
                changed.append(item.path)
        catalog.remove_empty_titles()
    unused = [index for index in range(len(corrections.entries)) if index not in used]
    return AssignedTitles(
        changed=tuple(sorted(changed)),
        warnings=tuple(
            f"{CORRECTIONS_NAME}, line {corrections.lines[index]}: no file of the catalog matches "
            f"the path {corrections.entries[index].path!r}"
            for index in unused
        ),
    )


def correct_titles(catalog: Catalog, correction: Correction) -> AssignedTitles:
    """Add a correction to the catalog's `titles.toml` and apply it. The library is not read.

    Raises:
        CatalogError: No item matches the path, or `titles.toml` is wrong or cannot be written; or
            another process is writing to the catalog.
    """
    with catalog.writing():
        items = catalog.items(include_extras=True)
        if not any(correction.matches(item.path) for item in items):
            near = difflib.get_close_matches(
                correction.path, [printable(item.path) for item in items], n=3, cutoff=0.3
            )
            hint = f": did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise CatalogError(
                f"no item of the catalog {catalog.folder} matches the path {correction.path!r}, "
                f"which is relative to the library{hint}"
            )
        add_correction(catalog.folder, correction)
        return assign_catalog_titles(catalog)


def _assigned(catalog: Catalog, item: Item, name: ParsedName) -> Item:
    title_id = find_or_add_title(catalog, item.path, name, item.probe.duration_seconds)
    return replace(
        item, title_id=title_id, season=name.season, episode=name.episode, extra=name.extra
    )


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
