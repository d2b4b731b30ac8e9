"""The index that is served: one generation after another, each opened beside the one before it."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from toomuchtv.catalog.database import DATABASE_NAME
from toomuchtv.catalog.item_names import folded, item_name, names_of
from toomuchtv.catalog.records import Item, Proxy, Segment, Title
from toomuchtv.errors import CatalogError, SearchError
from toomuchtv.search.index import SearchIndex, open_index
from toomuchtv.search.index_folder import states_of_files
from toomuchtv.search.lance_store import open_store
from toomuchtv.search.queries import parse_seconds

CHECK_SECONDS = 1.0
# While `embed` runs, the index changes all the time. Opening it may take a tenth of the time.
_PAUSE_PER_OPENING = 10.0
_CLOCK_AT_END = re.compile(
    r"(?:^|[\s@]+)((?:\d+:)?\d{1,2}:\d{2}(?:\.\d+)?)\s*$|@\s*(\d+(?:\.\d+)?)$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """An item whose name was typed, with a time.

    Attributes:
        item: The item.
        seconds: The time, 0 if none was typed.
        query: The moment as `SearchIndex.parse_query` reads it.
    """

    item: Item
    seconds: float
    query: str


class Generation:
    """An index and its catalog as they were at one time, in memory, for any number of threads.

    Args:
        index_path: The index.
        catalog: Its catalog, if it has moved.
        name: What is served, which changes when the files do.

    Attributes:
        name: See above.
        index: The index, whose catalog is closed.
        catalog_folder: The folder of the catalog.
        root: The library, resolved.
        titles: The titles by id, by name.
        items: The items by id: all that are in the library, without extras.
        proxies: Their proxies by item id.
        segments: The segments of each item by start.
        embedded: The items that any encoder has, by title and position in it.

    Raises:
        SearchError: The index cannot be opened.
        CatalogError: Its catalog cannot be opened.
    """

    def __init__(self, index_path: str, catalog: Path | None, name: str) -> None:
        self.name = name
        with open_index(index_path, catalog=catalog) as index:
            self.index: SearchIndex = index
            index.preload()
            self.catalog_folder = index.catalog.folder
            self.root = index.catalog.library.resolve()
            self.titles: dict[int, Title] = {title.id: title for title in index.catalog.titles()}
            self.items: dict[int, Item] = {
                item.id: item for item in index.catalog.items() if item.title_id in self.titles
            }
            self.proxies: dict[int, Proxy] = index.catalog.proxies()
            self.segments: dict[int, list[Segment]] = defaultdict(list)
            for segment in index.catalog.segments():
                self.segments[segment.item_id].append(segment)
        ids = {
            entry.item.id for encoder in index.encoders.values() for entry in encoder.items
        } & self.items.keys()
        self.embedded = sorted((self.items[item_id] for item_id in ids), key=self._order)
        self._item_names = {item.id: self.name_of(item) for item in self.items.values()}
        self._folded = [folded(self._item_names[item.id]) for item in self.embedded]
        counts = Counter(
            name
            for item in self.embedded
            for name in {folded(one) for one in names_of(self.titles[item.title_id], item)}
        )
        self._is_unique = {
            item.id: counts[name] == 1 and not name.startswith(("text:", "item:"))
            for item, name in zip(self.embedded, self._folded, strict=True)
        }
        self._neighbors: dict[int, tuple[int | None, int | None]] = {}
        by_title: dict[int, list[Item]] = defaultdict(list)
        for item in sorted(self.items.values(), key=self._order):
            by_title[item.title_id].append(item)
        for group in by_title.values():
            item_ids = [None, *(item.id for item in group), None]
            for before, item, after in zip(item_ids, group, item_ids[2:], strict=False):
                self._neighbors[item.id] = before, after

    def _order(self, item: Item) -> tuple[str, int, int, int, bytes]:
        # An item without a number comes after the others.
        season, episode = (10**9 if n is None else n for n in (item.season, item.episode))
        title = self.titles[item.title_id]
        return title.name, title.id, season, episode, os.fsencode(item.path)

    def name_of(self, item: Item) -> str:
        """Return the name of an item for people."""
        return item_name(self.titles[item.title_id], item)

    def duration_of(self, item: Item) -> float:
        """Return the duration of an item in seconds: that of its proxy, where it has one."""
        proxy = self.proxies.get(item.id)
        return item.probe.duration_seconds if proxy is None else proxy.duration_seconds

    def neighbors(self, item: Item) -> tuple[int | None, int | None]:
        """Return the ids of the items before and after an item in its title."""
        return self._neighbors[item.id]

    def query_of(self, item: Item, seconds: float) -> str:
        """Return a moment as text that `SearchIndex.parse_query` reads."""
        # Rounded down, so that a moment at the end is not past it.
        tenths = int(seconds * 10 + 1e-6)
        if not self._is_unique.get(item.id):
            return f"item:{item.id}@{tenths / 10:.1f}"
        hours, minutes = tenths // 36000, tenths // 600 % 60
        clock = f"{hours}:" if hours else ""
        clock += f"{minutes:02d}:{tenths // 10 % 60:02d}"
        clock += f".{tenths % 10}" if tenths % 10 else ""
        return f"{self._item_names[item.id]}@{clock}"

    def complete(self, text: str, limit: int) -> list[Completion]:
        """Return embedded items whose names have all words of a text, best first.

        Args:
            text: Words or beginnings of words, and a time at the end or behind `@`.
            limit: How many to return at most.
        """
        match = _CLOCK_AT_END.search(text)
        seconds = 0.0
        if match:
            try:
                seconds = parse_seconds(match[1] or match[2])
                text = text[: match.start()]
            except ValueError:  # such as 12:99, which may be a part of a name
                pass
        wanted = folded(text.rstrip(" @"))
        words = wanted.split()
        found = []
        for number, name in enumerate(self._folded):
            item = self.embedded[number]
            if all(word in name for word in words) and seconds <= self.duration_of(item):
                starts = sum(f" {word}" in f" {name}" for word in words)
                found.append((not name.startswith(wanted), -starts, number))
        return [
            Completion(
                item=self.embedded[number],
                seconds=seconds,
                query=self.query_of(self.embedded[number], seconds),
            )
            for *_, number in sorted(found)[:limit]
        ]


class Library:
    """Opens the index again when `embed`, `prepare` or `scan` have changed it.

    What was open before serves on until the requests that use it have ended, and also if the new
    state cannot be opened.

    Args:
        index_path: The index.
        catalog: Its catalog, if it has moved.

    Raises:
        SearchError: The index cannot be opened.
        CatalogError: Its catalog cannot be opened.
    """

    def __init__(self, index_path: str, catalog: Path | None) -> None:
        self._index_path = index_path
        self._catalog = catalog
        self._problem: str | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        # What changes while the index is being opened makes it be opened again.
        folder = catalog or Path(open_store(index_path).read().catalog)
        self._files = self._state(folder)
        self._current = self._open()

    @property
    def current(self) -> Generation:
        """The newest generation that could be opened. Use one for the whole of a request."""
        return self._current

    @property
    def problems(self) -> list[str]:
        """Sentences about what is missing or damaged."""
        own = [] if self._problem is None else [self._problem]
        return [*own, *self._current.index.problems]

    def start(self) -> None:
        """Begin to look for changes once a second, in a thread."""
        self._thread = threading.Thread(target=self._watch, name="index watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop to look for changes."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=CHECK_SECONDS)

    def refresh(self) -> None:
        """Open the index again if its files have changed."""
        files = self._state(self._current.catalog_folder)
        if files == self._files and self._problem is None:
            return
        try:
            before, self._files = self._files, files
            self._current = self._open()
            self._problem = None
        except (SearchError, CatalogError, OSError) as error:
            self._files = before
            self._problem = f"the index has changed and is shown as it was before: {error}"

    def _open(self) -> Generation:
        name = hashlib.sha256(repr(self._files).encode()).hexdigest()[:16]
        return Generation(self._index_path, self._catalog, name)

    def _state(self, catalog_folder: Path) -> tuple[object, ...]:
        """Return something that differs once a writer has changed the index or the catalog."""
        database = [catalog_folder / f"{DATABASE_NAME}{suffix}" for suffix in ("", "-wal")]
        states = states_of_files(database)
        # The log of an open database exists, and is empty, while somebody reads.
        written = tuple(one for one in states if one[1] or not one[0].endswith("-wal"))
        return open_store(self._index_path).state() + written

    def _watch(self) -> None:
        pause = CHECK_SECONDS
        while not self._stopped.wait(pause):
            start = time.monotonic()
            self.refresh()
            pause = max(CHECK_SECONDS, _PAUSE_PER_OPENING * (time.monotonic() - start))
