"""Splits by title: no title, so no cast, set or theme, lies on both sides."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from toomuchtv.catalog.records import Title


@dataclass(frozen=True, slots=True, kw_only=True)
class TitleSplit:
    """Ids of the titles to train on and of those held out, each sorted."""

    train: tuple[int, ...]
    held_out: tuple[int, ...]


def split_titles(titles: list[Title], *, held_out_share: float, seed: int = 0) -> TitleSplit:
    """Hold out a share of the titles, chosen by a hash of what they are.

    The order follows from names and years alone, so the same library splits the same way in
    another catalog. At least one title is held out where there are two or more and the share is
    not zero, and at least one is left to train on.

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

    ordered = [title.id for title in sorted(titles, key=rank)]
    return TitleSplit(train=tuple(sorted(ordered[count:])), held_out=tuple(sorted(ordered[:count])))
