"""The items of a catalog as a scan looks them up: by path, by content, and by likeness."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from toomuchtv.catalog.records import Item


class KnownItems:
    """The items that a catalog had before a scan, with the changes that the scan makes.

    An item is *settled* once the scan has found its file. Only items that are not settled may be
    given to another file.

    Attributes:
        by_id: The items.
        settled: Ids of the items whose file was found.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self.by_id: dict[int, Item] = {}
        self.settled: set[int] = set()
        self._at: dict[Path, list[int]] = {}
        self._like: dict[str, set[int]] = {}  # by the sampled digest
        self._with: dict[str, int] = {}  # by the full digest, as far as that is known
        # Items that are in the library come before items that were at the same path once.
        for item in sorted(items, key=lambda item: (item.missing, -item.id)):
            self.put(item)

    def put(self, item: Item) -> None:
        """Add an item, or replace its record."""
        before = self.by_id.get(item.id)
        if before is not None:
            self._like[before.sampled_digest].discard(before.id)
            if before.full_digest is not None:
                self._with.pop(before.full_digest, None)
        if before is None or before.path != item.path:
            self._at.setdefault(item.path, []).append(item.id)
        self.by_id[item.id] = item
        self._like.setdefault(item.sampled_digest, set()).add(item.id)
        if item.full_digest is not None:
            self._with[item.full_digest] = item.id

    def at(self, path: Path) -> list[Item]:
        """Return the items that are not settled and had this path."""
        found = (self.by_id[number] for number in self._at.get(path, ()))
        return [item for item in found if item.path == path and item.id not in self.settled]

    def like(self, sampled_digest: str) -> list[Item]:
        """Return the items whose content may be the same, by id."""
        return [self.by_id[number] for number in sorted(self._like.get(sampled_digest, ()))]

    def with_content(self, full_digest: str | None) -> Item | None:
        """Return the item whose content is certainly the same."""
        number = self._with.get(full_digest or "")
        return None if number is None else self.by_id[number]
