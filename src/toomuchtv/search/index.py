"""Search an index: one engine for the command line, the server and Python.

index = toomuchtv.open_index("idx")
hits = index.search("Caminandes S01E03@01:12", k=10, other_titles=True)
"""

from __future__ import annotations

import functools
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from toomuchtv._internal.timecode import format_timecode
from toomuchtv.catalog.item_names import find_items, item_name
from toomuchtv.catalog.records import Item
from toomuchtv.catalog.store import Catalog, open_catalog
from toomuchtv.errors import SearchError
from toomuchtv.search.calibration import read_calibration
from toomuchtv.search.encoder_index import EncoderIndex, IndexedItem
from toomuchtv.search.filters import Filters
from toomuchtv.search.hits import MODALITIES, Hit, Match, Modality, QueryModality
from toomuchtv.search.index_folder import IndexFolder, content_of
from toomuchtv.search.lance_store import LanceEncoderIndex, LanceStore, open_store
from toomuchtv.search.moments import MomentFinder, SeenPlaces
from toomuchtv.search.queries import (
    Moment,
    Query,
    QueryText,
    as_unit,
    moment_of,
    parse_seconds,
)
from toomuchtv.search.query_files import QueryFile
from toomuchtv.search.query_vectors import QueryEmbedder
from toomuchtv.search.ranking import IGNORED, FoundMoment, Ranking, fuse
from toomuchtv.search.scored import Scored, score
from toomuchtv.search.vector_files import DamagedVectorFileError

#: What is compared: the look of both, the sound of both, both of these, or across.
By = Literal["both", "look", "sound", "look-to-sound", "sound-to-look"]
_DIRECTIONS: dict[str, tuple[tuple[Modality, Modality], ...]] = {
    "both": (("video", "video"), ("audio", "audio")),
    "look": (("video", "video"),),
    "sound": (("audio", "audio"),),
    "look-to-sound": (("video", "audio"),),
    "sound-to-look": (("audio", "video"),),
}
# Weights of Rocchio's feedback (Manning, Raghavan and Schuetze 2008, section 9.1.1).
_MORE_LIKE, _LESS_LIKE = 0.75, 0.15
_MINUS = 0.5
_MAX_REFERENCES = 20_000
# Where not all windows are compared: how many of each direction.
_CANDIDATES, _MANY_CANDIDATES = 1000, 5000


class SearchIndex:
    """An open index. It is made by `open_index` and is a context manager.

    It shows the index and the catalog as they were when it was opened. Searches may run in several
    threads once `preload` was called.

    Args:
        folder: The index, or a copy of it in LanceDB.
        catalog: Its catalog, which is closed with this object.

    Attributes:
        encoders: The embeddings of each encoder, by its name.
        problems: Sentences about what is missing or damaged, which `toomuchtv embed` mends.
    """

    def __init__(self, folder: IndexFolder | LanceStore, catalog: Catalog) -> None:
        self.folder = folder
        self.catalog = catalog
        self.encoders: dict[str, EncoderIndex] = {}
        description = folder.read()
        titles = {title.id: title for title in catalog.titles()}
        items = [item for item in catalog.items() if item.title_id in titles]
        proxies = catalog.proxies()
        problems: list[str] = []
        for record in description.encoders:
            found = []
            prepared = [item for item in items if item.id in proxies]
            num_missing = len(items) - len(prepared)
            contents = [content_of(item, proxies[item.id]) for item in prepared]
            for item, read in zip(prepared, folder.read_all(record, contents), strict=True):
                if isinstance(read, FileNotFoundError):
                    num_missing += 1
                elif isinstance(read, DamagedVectorFileError):
                    problems.append(str(read))
                else:
                    title = titles[item.title_id]
                    found.append(IndexedItem(item=item, title=title, vectors=read))
            if num_missing:
                problems.append(
                    f"{num_missing} of {len(items)} items are not embedded by {record.name!r}: "
                    f"run `toomuchtv {folder.updated_by}` again"
                )
            if isinstance(folder, LanceStore):
                calibration = folder.read_calibration(record)
                encoder: EncoderIndex = LanceEncoderIndex(folder, record, found, calibration)
            else:
                calibration = read_calibration(folder.calibration_of(record))
                encoder = EncoderIndex(record, found, calibration)
            self.encoders[record.name] = encoder
        self.problems = tuple(problems)
        self._embedder = QueryEmbedder()
        self._durations = {item_id: proxy.duration_seconds for item_id, proxy in proxies.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the catalog. After `preload`, searches still run."""
        self.catalog.close()

    def preload(self) -> None:
        """Read all that searches need of the catalog.

        A catalog belongs to the thread that opened it. After this call, other threads may search as
        well, several at the same time.
        """
        _ = self._items, self._finder, self._library
        for encoder in self.encoders.values():
            encoder.title_means("video")
            encoder.title_means("audio")

    def __repr__(self) -> str:
        return (
            f"SearchIndex({str(self.folder.path)!r}, "
            f"{ {name: len(encoder) for name, encoder in self.encoders.items()} } windows)"
        )

    def parse_query(self, text: str, *, allow_files: bool = True) -> Query:
        """Return the query that a person has written.

        Args:
            text: `text:WORDS`; the path of a file, with `@TIME` or without; the name of an item of
                the catalog with `@TIME`, such as `Caminandes S01E03@01:12`; or `item:ID@TIME`.
            allow_files: Whether the text may name a file. If it may not, no file is looked for.

        Raises:
            SearchError: Nothing has this name, several items have it (the message lists them), or
                the time is past the end.
        """
        if text.startswith("text:"):
            return QueryText(text=text.removeprefix("text:").strip())
        name, at, clock = text.rpartition("@")
        for path, seconds in ((text, None), (name, clock)) if allow_files else ():
            if path and os.path.isfile(path):
                at_seconds = None if seconds is None else parse_seconds(seconds)
                return QueryFile(path=Path(path), at_seconds=at_seconds)
        if at and re.fullmatch(r"item:\d+", name):
            return self.moment(int(name.removeprefix("item:")), parse_seconds(clock))
        if not at:
            what, end = ("neither a file nor a", ", or the path of a file")
            if not allow_files:
                what, end = "no", ""
            raise SearchError(
                f"{text!r} is {what} moment: write a moment as NAME@TIME, such as "
                f"'Caminandes S01E03@01:12', a description as 'text:WORDS'{end}"
            )
        entries = [(entry.title, entry.item) for entry in self._items.values()]
        found = find_items(name, entries)
        if len(found) != 1:
            known = found or entries
            names = [
                f"  item:{item.id}@{clock}: {item_name(title, item)} ({item.path})"
                for title, item in known[:10]
            ]
            more = f"\n  and {len(known) - 10} more" if len(known) > 10 else ""
            what = f"{len(found)} items are called" if found else "no item is called"
            raise SearchError(
                f"{what} {name!r}: name one of these moments by its number\n"
                + "\n".join(names)
                + more
            )
        return self.moment(found[0][1].id, parse_seconds(clock))

    def moment(self, item_id: int, seconds: float) -> Moment:
        """Return a moment of an item.

        Raises:
            SearchError: The item is not embedded, or the time is past its end.
        """
        entry = self._items.get(item_id)
        if entry is None:
            raise SearchError(f"item {item_id} is not in the index {str(self.folder.path)!r}")
        duration = self._durations[item_id]
        if not 0 <= seconds <= duration:
            raise SearchError(
                f"{item_name(entry.title, entry.item)} lasts {format_timecode(duration)}: there is "
                f"nothing at {format_timecode(max(0.0, seconds))}"
            )
        return Moment(item_id=item_id, seconds=seconds)

    def search(
        self,
        query: Query | Hit | str,
        *,
        k: int = 10,
        by: By = "both",
        plus: Iterable[Query | Hit | str] = (),
        minus: Iterable[Query | Hit | str] = (),
        more_like: Iterable[Query | Hit | str] = (),
        less_like: Iterable[Query | Hit | str] = (),
        other_titles: bool = False,
        centered: bool = True,
        then: Query | Hit | str | None = None,
        within_seconds: float = 30.0,
        filters: Filters | None = None,
        weights: Mapping[str, float] | None = None,
        collapse: bool = True,
        per_title: int | None = None,
    ) -> list[Hit]:
        """Return the moments that are most like a query, best first.

        The moment of the query itself, and copies of it, are not returned.

        Args:
            query: What to search for; see `parse_query` for strings.
            k: How many moments to return at most.
            by: What to compare. "both" fuses look and sound where the query and the moments have
                them. "look-to-sound" finds sounds that go with a picture.
            plus: Further queries, whose embeddings are added to that of the query.
            minus: Queries that hits must not resemble. Half of their embeddings is subtracted.
            more_like: Hits that were good. Their mean is added with a weight of 0.75 (Rocchio).
            less_like: Hits that were bad. Their mean is subtracted with a weight of 0.15.
            other_titles: Exclude the title of the query, to find the same event elsewhere. The
                query must be a moment of the catalog.
            centered: With `other_titles`, subtract from every embedding the mean of its title,
                where look is compared with look or sound with sound.
            then: A second query. Hits are sequences: the first moment, then the second one.
            within_seconds: Longest time from the end of the first moment to the start of the
                second one.
            filters: Conditions on the hits.
            weights: Weights of encoders by name. Encoders that are not named are not used. If it is
                omitted, all encoders count alike.
            collapse: Return one hit for windows of one shot, for openings that recur, and for
                duplicates. Otherwise every window is a hit.
            per_title: Return at most so many hits of one title.

        Returns:
            At most `k` hits. They say themselves whether they are confident.

        Raises:
            SearchError: The query cannot be understood or embedded, or no encoder of the index can
                compare it in this way.
            ValueError: A number is out of range, or a weight is of no encoder of the index.
        """
        if k < 1 or (per_title is not None and per_title < 1) or not within_seconds > 0:
            raise ValueError(
                "k, per_title and within_seconds must be positive, got "
                f"{k}, {per_title} and {within_seconds}"
            )
        if by not in _DIRECTIONS:
            raise ValueError(f"unknown way to compare {by!r}: use one of {', '.join(_DIRECTIONS)}")
        if weights is not None and (
            weights.keys() - self.encoders.keys()
            or not all(0 <= weight < math.inf for weight in weights.values())
        ):
            raise ValueError(
                "weights must be at least 0 and of encoders of the index "
                f"({', '.join(self.encoders)}), got {dict(weights)}"
            )
        filters = filters or Filters()
        parts = self._parts(query, plus, minus, more_like, less_like)
        follow = None if then is None else [(self._query(then), 1.0)]
        first = parts[0][0]
        excluded: int | None = None
        if other_titles:
            if not isinstance(first, Moment):
                raise SearchError(
                    "only a moment of the catalog has other titles: the query is none"
                )
            excluded = self._items[first.item_id].title.id
        mask = filters.mask(self._finder)
        # A pair of moments is found only if both of them are candidates.
        num_candidates = _MANY_CANDIDATES if then is not None else max(_CANDIDATES, 20 * k)
        rankings: list[Ranking] = []
        for name, encoder in self.encoders.items():
            weight = 1.0 if weights is None else weights.get(name, 0.0)
            if weight <= 0 or not len(encoder):
                continue
            allowed = encoder.allowed(
                lambda entry: (
                    entry.title.id != excluded and filters.accepts(entry.title, entry.item)
                ),
                mask,
            )
            title = excluded if centered else None
            scored = self._score(
                encoder, parts, by, allowed, title, num_candidates, is_refined=follow is None
            )
            if follow is None:
                rankings.extend(Ranking.of_direction(one, weight) for one in scored)
                continue
            then_scored = self._score(
                encoder, follow, by, allowed, None, num_candidates, is_refined=False
            )
            if scored and then_scored:
                rankings.append(Ranking.of_sequence(scored, then_scored, within_seconds, weight))
        if not rankings:
            raise SearchError(self._why_not_comparable(parts, by))
        finder = self._finder if collapse else MomentFinder((), ())
        window_seconds = max(ranking.encoder.record.window_seconds for ranking in rankings)
        seen = SeenPlaces(finder, window_seconds if collapse else 1e-3)
        if isinstance(first, Moment):
            for ranking in rankings:
                start, stop = ranking.encoder.window_at(first.item_id, first.seconds)
                seen.add(first.item_id, start, stop, IGNORED)
        found = fuse(rankings, seen, k=k, per_title=per_title)
        return [self._hit(moment, rank, finder) for rank, moment in enumerate(found, start=1)]

    def outliers(
        self,
        *,
        k: int = 10,
        by: Literal["look", "sound"] = "look",
        encoder: str | None = None,
        filters: Filters | None = None,
        seed: int = 0,
    ) -> list[Hit]:
        """Return the moments that nothing in other items resembles, the most unusual first.

        Args:
            k: How many moments to return at most.
            by: Whether to compare the look or the sound.
            encoder: Name of the encoder; the first one by default.
            filters: Conditions on the hits.
            seed: An index of more than 20,000 windows is compared with as many random ones.

        Returns:
            At most `k` hits, whose similarity is the highest one to any moment of another item.

        Raises:
            SearchError: There is no such encoder, or it does not compare what was asked for.
            ValueError: `k` is less than 1.
        """
        if k < 1:
            raise ValueError(f"k must be positive, got {k}")
        name = encoder or next(iter(self.encoders), "")
        if name not in self.encoders:
            raise SearchError(
                f"the index has no encoder {name!r}: use one of {', '.join(self.encoders)}"
            )
        chosen, modality = self.encoders[name], _DIRECTIONS[by][0][0]
        if not any(entry.vectors.has(modality) for entry in chosen.items):
            raise SearchError(
                f"the encoder {name!r} has embedded no {modality}: compare the other modality, or "
                "choose another encoder"
            )
        filters = filters or Filters()
        allowed = chosen.allowed(
            lambda entry: filters.accepts(entry.title, entry.item), filters.mask(self._finder)
        )
        best = chosen.best_elsewhere(modality, _MAX_REFERENCES, seed)
        best[~np.isfinite(best)] = np.inf
        if allowed is not None:
            best[~allowed] = np.inf
        ranking = Ranking.of_scores(chosen, modality, -best)
        seen = SeenPlaces(self._finder, chosen.record.window_seconds)
        found = fuse([ranking], seen, k=k, per_title=None)
        return [self._hit(moment, rank, self._finder) for rank, moment in enumerate(found, 1)]

    # ---- Queries

    def _query(self, query: Query | Hit | str) -> Query:
        if isinstance(query, str):
            return self.parse_query(query)
        return moment_of(query) if isinstance(query, Hit) else query

    def _parts(
        self,
        query: Query | Hit | str,
        plus: Iterable[Query | Hit | str],
        minus: Iterable[Query | Hit | str],
        more_like: Iterable[Query | Hit | str],
        less_like: Iterable[Query | Hit | str],
    ) -> list[tuple[Query, float]]:
        """Return all parts of a query with their weights, the query itself first."""
        parts = [(self._query(query), 1.0)]
        parts += [(self._query(one), 1.0) for one in plus]
        parts += [(self._query(one), -_MINUS) for one in minus]
        for group, weight in ((more_like, _MORE_LIKE), (less_like, -_LESS_LIKE)):
            queries = [self._query(one) for one in group]
            parts += [(one, weight / len(queries)) for one in queries]
        return parts

    def _score(
        self,
        encoder: EncoderIndex,
        parts: list[tuple[Query, float]],
        by: By,
        allowed: NDArray[np.bool_] | None,
        centered_on: int | None,
        num_candidates: int,
        *,
        is_refined: bool,
    ) -> list[Scored]:
        """Return the similarities of a query to all windows, for each direction that it has.

        Args:
            encoder: The encoder.
            parts: The parts of the query.
            by: The directions.
            allowed: As for `EncoderIndex.scores`.
            centered_on: The title of the query if means of titles are subtracted, else None.
            num_candidates: How many windows are enough where not all are compared.
            is_refined: As for `score`.
        """
        found = []
        for query_modality, modality in self._directions(encoder, parts[0][0], by):
            vectors = [
                (self._embedder.vector(encoder, query, query_modality, modality), weight)
                for query, weight in parts
            ]
            if vectors[0][0] is None:
                continue
            total = torch.stack([v * weight for v, weight in vectors if v is not None]).sum(dim=0)
            mean = None
            # Between look and sound, centering makes results worse: see the docs/experiments.
            if centered_on is not None and query_modality == modality:
                mean = encoder.title_means(query_modality)[centered_on]
            found.append(
                score(
                    encoder, as_unit(total), query_modality, modality, allowed=allowed, mean=mean,
                    num_candidates=num_candidates, is_refined=is_refined,
                )
            )  # fmt: skip
        return found

    def _directions(
        self, encoder: EncoderIndex, query: Query, by: By
    ) -> list[tuple[QueryModality, Modality]]:
        """Return the directions in which an encoder can compare a query."""
        record = encoder.record
        dims = {"video": record.video_dim, "audio": record.audio_dim}
        if isinstance(query, QueryText):
            targets = {modality for _, modality in _DIRECTIONS[by]}
            return [("text", m) for m in MODALITIES if m in targets & {*record.text_modalities}]
        return [
            (source, target)
            for source, target in _DIRECTIONS[by]
            if dims[source] and dims[target] and (source == target or record.shares_space)
        ]

    def _why_not_comparable(self, parts: list[tuple[Query, float]], by: By) -> str:
        if not any(len(encoder) for encoder in self.encoders.values()):
            return f"the index {str(self.folder.path)!r} is empty: run `toomuchtv embed`"
        query = parts[0][0]
        if isinstance(query, QueryText):
            return (
                "no encoder of the index understands text: add one that does with `toomuchtv embed "
                "FOLDER`, such as CLIP for look or CLAP for sound"
            )
        return (
            f"nothing can be compared by {by!r}: the query, the moments or the encoders lack it. "
            "Choose another way with --by"
        )

    # ---- The catalog

    @functools.cached_property
    def _items(self) -> dict[int, IndexedItem]:
        """Return all embedded items by id."""
        return {
            entry.item.id: entry for encoder in self.encoders.values() for entry in encoder.items
        }

    @functools.cached_property
    def _finder(self) -> MomentFinder:
        return MomentFinder(self.catalog.segments(), self.catalog.duplicates())

    @functools.cached_property
    def _library(self) -> Path:
        return self.catalog.library

    def source_path(self, item: Item) -> Path:
        """Return the absolute path of an item's file in the library."""
        return self._library / item.path

    def _hit(self, moment: FoundMoment, rank: int, finder: MomentFinder) -> Hit:
        entry = moment.entry
        start, stop = finder.extent(entry.item.id, moment.start_seconds, moment.stop_seconds)
        center = (moment.start_seconds + moment.stop_seconds) / 2
        then_seconds = moment.then_seconds
        if then_seconds is not None:
            stop = max(stop, then_seconds + (moment.stop_seconds - moment.start_seconds) / 2)
        return Hit(
            rank=rank,
            item_id=entry.item.id,
            title=entry.title.name,
            name=item_name(entry.title, entry.item),
            kind=entry.title.kind,
            season=entry.item.season,
            episode=entry.item.episode,
            path=self.source_path(entry.item),
            start_seconds=start,
            stop_seconds=stop,
            center_seconds=center,
            score=moment.score,
            matches=tuple(sorted(moment.matches(), key=_by_confidence)),
            num_collapsed=moment.num_collapsed,
            then_seconds=then_seconds,
        )


def _by_confidence(match: Match) -> float:
    # Without a calibration there is no z-score, and the similarity decides.
    return -match.similarity if math.isnan(match.z_score) else -match.z_score


def open_index(
    path: str | os.PathLike[str], *, catalog: str | os.PathLike[str] | None = None
) -> SearchIndex:
    """Open an index for searching.

    Args:
        path: Folder of the index, or the address of a copy in LanceDB.
        catalog: Folder of its catalog, if it has moved since `toomuchtv embed`.

    Raises:
        SearchError: There is no index, or it is damaged.
        CatalogError: Its catalog cannot be opened.
    """
    folder = open_store(path)
    recorded = folder.read().catalog
    if catalog is None and not os.path.isdir(recorded):
        raise SearchError(
            f"the catalog of the index, {recorded!r}, is gone: if it has moved, pass --catalog"
        )
    opened = open_catalog(recorded if catalog is None else catalog)
    try:
        return SearchIndex(folder, opened)
    except BaseException:
        opened.close()
        raise
