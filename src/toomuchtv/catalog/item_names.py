"""Names of items for people."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable

from toomuchtv.catalog.records import Item, Title


def item_name(title: Title, item: Item) -> str:
    """Return the name of an item: `Caminandes S01E03`, `Sintel (2010)`, `Sintel (2010) trailer`.

    Names need not be unique: two versions of a film have the same name.
    """
    name = title.name if title.year is None else f"{title.name} ({title.year})"
    if item.season is not None and item.episode is not None:
        name += f" S{item.season:02d}E{item.episode:02d}"
    elif item.episode is not None:
        name += f" E{item.episode:02d}"
    return name if item.extra is None else f"{name} {item.extra}"


def folded(name: str) -> str:
    """Return a name without regard to case, and to how its accents are encoded.

    A Mac writes names of files with accents as characters of their own.
    """
    return unicodedata.normalize("NFC", name).casefold()


def names_of(title: Title, item: Item) -> list[str]:
    """Return all names by which `find_items` knows an item."""
    return [
        item_name(title, item),
        title.name,
        os.fspath(item.path),
        item.path.name,
        item.path.stem,
    ]


def find_items(name: str, entries: Iterable[tuple[Title, Item]]) -> list[tuple[Title, Item]]:
    """Return the items that a person may mean by a name, without regard to case.

    Args:
        name: The name of an item or of a title, a path relative to the library, a file name with or
            without its suffix, or a part of any of these.
        entries: The items to choose from, each with its title.

    Returns:
        The items whose name or path is exactly this; otherwise those that contain it.
    """
    wanted = folded(name.strip())
    exact, partial = [], []
    for title, item in entries:
        names = [folded(one) for one in names_of(title, item)]
        if wanted in names:
            exact.append((title, item))
        elif wanted and any(wanted in one for one in names):
            partial.append((title, item))
    return exact or partial
