"""Which windows a search may return."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toomuchtv._internal.random_numbers import FloatArray
from toomuchtv.catalog.item_names import folded
from toomuchtv.catalog.records import SEGMENT_KINDS, Item, Title, TitleKind
from toomuchtv.search.moments import MomentFinder


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Conditions that every hit meets. Empty ones are met by all.

    Attributes:
        titles: Names of titles, without regard to case.
        kinds: Kinds of titles.
        seasons: Numbers of seasons.
        from_seconds: Earliest middle of a moment on the item's timeline.
        to_seconds: Latest middle of a moment, exclusive.
        in_segments: Kinds of segments of which one contains the middle of the moment.
        not_in_segments: Kinds of segments of which none contains it.

    Raises:
        ValueError: There is no such kind of segment, or the range of time is empty.
    """

    titles: tuple[str, ...] = ()
    kinds: tuple[TitleKind, ...] = ()
    seasons: tuple[int, ...] = ()
    from_seconds: float = 0.0
    to_seconds: float = float("inf")
    in_segments: tuple[str, ...] = ()
    not_in_segments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = {*self.in_segments, *self.not_in_segments}.difference(SEGMENT_KINDS)
        if unknown:
            raise ValueError(
                f"unknown kinds of segments {sorted(unknown)}: choose from "
                f"{', '.join(SEGMENT_KINDS)}"
            )
        if not self.from_seconds < self.to_seconds:
            raise ValueError(
                f"the range of time is empty: from {self.from_seconds:g} s to {self.to_seconds:g} s"
            )

    @classmethod
    def parse(
        cls,
        *,
        titles: Iterable[str] = (),
        kinds: Iterable[str] = (),
        seasons: Iterable[int] = (),
        from_seconds: float = 0.0,
        to_seconds: float = float("inf"),
        in_segments: Iterable[str] = (),
        not_in_segments: Iterable[str] = (),
    ) -> Filters:
        """Make filters from the words of a person; see the attributes.

        Raises:
            ValueError: A kind of titles or segments is unknown, or the range of time is empty.
        """
        known = [kind.value for kind in TitleKind]
        unknown = set(kinds := tuple(kinds)).difference(known)
        if unknown:
            raise ValueError(
                f"unknown kinds of titles {sorted(unknown)}: choose from {', '.join(known)}"
            )
        return cls(
            titles=tuple(titles),
            kinds=tuple(map(TitleKind, kinds)),
            seasons=tuple(seasons),
            from_seconds=from_seconds,
            to_seconds=to_seconds,
            in_segments=tuple(in_segments),
            not_in_segments=tuple(not_in_segments),
        )

    def accepts(self, title: Title, item: Item) -> bool:
        """Return whether any moment of an item can meet the conditions."""
        names = {folded(title.name), folded(f"{title.name} ({title.year})")}
        return (
            (not self.titles or any(folded(name) in names for name in self.titles))
            and (not self.kinds or title.kind in self.kinds)
            and (not self.seasons or item.season in self.seasons)
        )

    def mask(self, finder: MomentFinder) -> Callable[[int, FloatArray], NDArray[np.bool_]] | None:
        """Return a function from an item and times to which of them meet the conditions.

        It is None if all do.
        """
        if (self.from_seconds, self.to_seconds) == (0.0, float("inf")) and not (
            self.in_segments or self.not_in_segments
        ):
            return None

        def accepted(item_id: int, centers: FloatArray) -> NDArray[np.bool_]:
            found = (centers >= self.from_seconds) & (centers < self.to_seconds)
            if self.in_segments:
                found &= finder.is_in(item_id, centers, self.in_segments)
            if self.not_in_segments:
                found &= ~finder.is_in(item_id, centers, self.not_in_segments)
            return found

        return accepted
