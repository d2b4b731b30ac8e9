"""Split a catalog by title, so that no cast, set or theme is in both parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from toomuchtv.catalog.records import Title


@dataclass(frozen=True, slots=True, kw_only=True)
class TitleSplit:
    """A split of a catalog's titles.

    Attributes:
        train: Ids of the titles to train on, sorted.
        held_out: Ids of the titles that are held out, sorted.
    """

    train: tuple[int, ...]
    held_out: tuple[int, ...]


def split_titles(
    titles: list[Title],
    *,
    held_out_share: float,
    seed: int = 0,
    duplicates: Iterable[tuple[int, int]] = (),
) -> TitleSplit:
    """Hold out a share of the titles, chosen by a hash of kind, name and year.

    The hash makes the same library split in the same way in every catalog. If there are at least
    two titles and the share is not zero, at least one title is held out and at least one is left
    for training. Titles that share content stay in the same part. A group of such titles that is
    larger than the share is used for training. If all titles form one group, none is held out.

    Args:
        titles: The titles to split.
        held_out_share: Share of the titles to hold out. The number of titles is rounded.
        seed: Different seeds choose different titles.
        duplicates: Pairs of ids of titles that share content, from `Catalog.title_duplicates`.
            Pairs with a title that is not in `titles` are ignored.

    Raises:
        ValueError: The share is not in [0, 1).
    """
    if not 0.0 <= held_out_share < 1.0:
        raise ValueError(f"held_out_share must be in [0, 1), got {held_out_share}")
    count = round(held_out_share * len(titles))
    if held_out_share > 0:
        count = max(count, 1)
    count = max(0, min(count, len(titles) - 1))

    def rank(title: Title) -> tuple[str, int]:
        key = f"{seed}\n{title.kind}\n{title.name}\n{title.year}"
        return hashlib.blake2b(key.encode("utf-8", "surrogateescape")).hexdigest(), title.id

    groups = _connected_groups([title.id for title in sorted(titles, key=rank)], duplicates)
    held_out: list[int] = []
    for group in groups:
        if len(held_out) + len(group) <= count:
            held_out += group
    if count and not held_out and len(groups) > 1:
        held_out = min(groups, key=len)
    kept = {title.id for title in titles} - set(held_out)
    return TitleSplit(train=tuple(sorted(kept)), held_out=tuple(sorted(held_out)))


def _connected_groups(ordered: list[int], pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the groups of titles that pairs connect, in the order of their first titles."""
    group_of = {title_id: [title_id] for title_id in ordered}
    for one, other in pairs:
        if one in group_of and other in group_of and group_of[one] is not group_of[other]:
            group_of[one] += group_of[other]
            for title_id in group_of[other]:
                group_of[title_id] = group_of[one]
    groups: dict[int, list[int]] = {}
    for title_id in ordered:
        groups.setdefault(id(group_of[title_id]), []).append(title_id)
    return list(groups.values())
