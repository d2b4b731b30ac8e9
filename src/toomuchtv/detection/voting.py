"""Counting of votes that need not fit in memory.

Places (a word and where it is) are sorted by word in parts; links between places are votes, and
what gets few votes is dropped before all are put together. With a scratch folder, memory is bounded
whatever the hours: the parts lie in files, and a table of small counters, too small to be exact,
says in a first pass which votes are worth keeping in a second.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

#: An offset with fewer votes, those of its neighbors counted, is chance.
MIN_VOTES = 4

_PARTS = 64
_PLACES_IN_MEMORY = 1 << 22
_COUNTERS = 1 << 26


def scrambled(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Hash words so that the high bits depend on all bits (Knuth's multiplicative hash)."""
    return np.asarray(words * np.uint32(2_654_435_769))


class PlaceShelf:
    """Keeps places, `word << 32 | place`, and gives them back sorted, some words at a time.

    Args:
        scratch: A folder for the parts once they are many; None keeps all in memory.
        in_memory: So many places are kept before they go to files; by default 4 million.
    """

    def __init__(self, scratch: Path | None, *, in_memory: int | None = None) -> None:
        self._scratch = scratch
        self._in_memory = _PLACES_IN_MEMORY if in_memory is None else in_memory
        self._held: list[NDArray[np.uint64]] = []
        self._num_held = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def is_in_files(self) -> bool:
        """Whether memory did not do."""
        return self._folder is not None

    def add(self, places: NDArray[np.uint64]) -> None:
        """Take more places, of higher numbers than before."""
        self._held.append(places)
        self._num_held += len(places)
        if self._scratch is not None and self._num_held > self._in_memory:
            self._put_away(self._scratch)

    def parts(self) -> Iterator[NDArray[np.uint64]]:
        """Yield the places, sorted; all places of one word are in one part."""
        if self._folder is None or self._scratch is None:
            yield np.sort(np.concatenate([*self._held, np.zeros(0, np.uint64)]))
            return
        self._put_away(self._scratch)
        for part in range(_PARTS):
            yield np.sort(np.fromfile(self._path(part), np.uint64))

    def _put_away(self, scratch: Path) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="places-", dir=scratch)
        places = np.concatenate([*self._held, np.zeros(0, np.uint64)])
        part_of = scrambled((places >> np.uint64(32)).astype(np.uint32)) >> np.uint32(26)
        for part in range(_PARTS):
            with self._path(part).open("ab") as file:
                places[part_of == part].tofile(file)
        self._held, self._num_held = [], 0

    def _path(self, part: int) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / f"{part:02d}"


def count_votes(
    shelf: PlaceShelf, links: Callable[[NDArray[np.uint64]], NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count equal links over all parts.

    Args:
        shelf: The places.
        links: Gives the links of one sorted part, each a number; numbers of neighboring offsets
            follow each other.

    Returns:
        The links, sorted, and how often each came. Where the shelf is in files, links that are
        not in a run of four numbers with half of `MIN_VOTES` are left out.
    """
    if not shelf.is_in_files:
        (part,) = shelf.parts()
        return np.unique(links(part), return_counts=True)
    counters = np.zeros(_COUNTERS, np.uint16)
    for part in shelf.parts():
        np.add.at(counters, _counter_of(links(part)), np.uint16(1))
    kept = []
    for part in shelf.parts():
        found = links(part)
        kept.append(found[counters[_counter_of(found)] >= MIN_VOTES // 2])
    return np.unique(np.concatenate(kept), return_counts=True)


def _counter_of(links: NDArray[np.int64]) -> NDArray[np.int64]:
    mixed = (links >> 2).astype(np.uint64) * np.uint64(11_400_714_819_323_198_485)
    return (mixed >> np.uint64(38)).astype(np.int64)
