"""Splits by title: no title, so no cast, set or theme, lies on both sides."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from toomuchtv.catalog.records import Title


@dataclass(frozen=True, slots=True, kw_only=True)
class TitleSplit:
    """Ids of the titles to train on and of those held out, each sorted."""

    train: tuple[int, ...]
    held_out: tuple[int, ...]


def split_titles(
    titles: list[Title],
    *,
    held_out_share: float,
    seed: int = 0,
    duplicates: Iterable[tuple[int, int]] = (),
) -> TitleSplit:
    """Hold out a share of the titles, chosen by a hash of what they are.

    The order follows from names and years alone, so the same library splits the same way in
    another catalog. At least one title is held out where there are two or more and the share is
    not zero, and at least one is left to train on. Titles that share content stay together; a
    group too large for the share is trained on, and where all titles are one group, none is held
    out.

    Args:
        titles: The titles to split.
        held_out_share: The share of them, rounded, that is held out.
        seed: Another one, another choice.
        duplicates: Pairs of ids of titles that share content, as `Catalog.title_duplicates` has
            them. Pairs with a title that is not in `titles` are left out.

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

    groups = _groups([title.id for title in sorted(titles, key=rank)], duplicates)
    held_out: list[int] = []
    for group in groups:
        if len(held_out) + len(group) <= count:
            held_out += group
    if count and not held_out and len(groups) > 1:
        held_out = min(groups, key=len)
    kept = {title.id for title in titles} - set(held_out)
    return TitleSplit(train=tuple(sorted(kept)), held_out=tuple(sorted(held_out)))


def _groups(ordered: list[int], pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Titles that share content, directly or through others, in the order of their first."""
    group_of = {title_id: [title_id] for title_id in ordered}
    for one, other in pairs:
        if one in group_of and other in group_of and group_of[one] is not group_of[other]:
            group_of[one] += group_of[other]
            for moved in group_of[other]:
                group_of[moved] = group_of[one]
    groups: dict[int, list[int]] = {}
    for title_id in ordered:
        groups.setdefault(id(group_of[title_id]), []).append(title_id)
    return list(groups.values())
