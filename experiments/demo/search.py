"""Does a search find the same event in other titles? Rendered films say which events they show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv.search.embedding import embed_catalog
from toomuchtv.search.hits import Hit
from toomuchtv.search.index import By, SearchIndex, open_index
from toomuchtv.search.queries import Moment

_STRIDE_SECONDS = 0.5
_NUM_QUERIES = 100
_NUM_HITS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSearch:
    """Searches for the same event in other titles, by look.

    Attributes:
        query: The moment of the example.
        name: Name of the file of its item, without the suffix.
        kind: The event at this moment.
        hits: The first hits of each encoder, each with its event (None if nothing happens there).
        precision: Share of the first five hits of all queries that show the event, by encoder.
        chance: Share of all moments of other titles that do.
        num_queries: Number of queries.
    """

    query: Moment
    name: str
    kind: str
    hits: dict[str, list[tuple[Hit, str | None]]]
    precision: dict[str, float]
    chance: float
    num_queries: int


class EventsOfIndex:
    """The event at the middle of every window of an index of rendered films.

    Args:
        index: The index.
        encoder: Name of the encoder whose windows are meant.
        rendered: Folder of `render_library`.

    Attributes:
        names: Names of the kinds of events.
        kinds: Number of the kind at the middle of each window of each item, -1 for none, by item.
    """

    def __init__(self, index: SearchIndex, encoder: str, rendered: Path) -> None:
        self._windows = index.encoders[encoder]
        self.names: list[str] = []
        self.kinds: dict[int, NDArray[np.int64]] = {}
        for row, entry in enumerate(self._windows.items):
            path = rendered / "ground_truth" / entry.item.path.with_suffix(".json")
            centers = self._windows.centers(row)
            kinds = np.full(len(centers), -1)
            for event in json.loads(path.read_text())["events"]:
                if event["kind"] not in self.names:
                    self.names.append(event["kind"])
                inside = (centers >= event["start_seconds"]) & (centers < event["stop_seconds"])
                kinds[inside] = self.names.index(event["kind"])
            self.kinds[entry.item.id] = kinds

    def at(self, item_id: int, seconds: float) -> int:
        """Return the number of the kind at a time, -1 for none."""
        row = self._windows.row_of(item_id)
        assert row is not None
        return int(self.kinds[item_id][np.abs(self._windows.centers(row) - seconds).argmin()])

    def draw_queries(self, count: int, seed: int) -> list[tuple[Moment, int]]:
        """Draw windows in which something happens, with their titles."""
        entries = self._windows.items
        happening = np.flatnonzero(np.concatenate([self.kinds[e.item.id] >= 0 for e in entries]))
        rng = np.random.default_rng(seed)
        found = []
        for window in rng.choice(happening, min(count, len(happening)), replace=False).tolist():
            row, number = self._windows.locate(window)
            seconds = float(self._windows.centers(row)[number])
            moment = Moment(item_id=entries[row].item.id, seconds=seconds)
            found.append((moment, entries[row].title.id))
        return found

    def chance(self, kind: int, title_id: int) -> float:
        """Return the share of the windows of other titles that show a kind of event."""
        others = [self.kinds[e.item.id] for e in self._windows.items if e.title.id != title_id]
        return float((np.concatenate(others) == kind).mean())

    def are_right(self, hits: Sequence[Hit], kind: int) -> list[bool]:
        """Return whether each hit shows a kind of event."""
        return [self.at(hit.item_id, hit.center_seconds) == kind for hit in hits]


def search_other_titles(
    out: Path,
    encoders: Sequence[str],
    *,
    seed: int,
    num_workers: int,
    by: By = "look",
    progress: ProgressCallback = no_progress,
) -> DemoSearch:
    """Embed the library with the encoders, and search for random moments of events.

    The example is the query whose precisions are nearest to the mean ones, so it is neither better
    nor worse than others.

    Args:
        out: The demo's folder, with `cat`, `rendered` and `runs/ENCODER`.
        encoders: Names of the runs.
        seed: Seed of the queries.
        num_workers: Number of processes that embed.
        by: What to compare.
        progress: Receives the seconds of film that are embedded.
    """
    for encoder in encoders:
        embed_catalog(
            out / "runs" / encoder, out / "cat", out / "idx", stride_seconds=_STRIDE_SECONDS,
            num_workers=num_workers, progress=progress,
        )  # fmt: skip
    with open_index(out / "idx") as index:
        events = EventsOfIndex(index, encoders[0], out / "rendered")
        queries = events.draw_queries(_NUM_QUERIES, seed)
        found: list[dict[str, list[Hit]]] = []
        right = np.zeros((len(queries), len(encoders)))
        chances = []
        for number, (query, title_id) in enumerate(queries):
            kind = events.at(query.item_id, query.seconds)
            chances.append(events.chance(kind, title_id))
            hits = {
                encoder: index.search(
                    query, by=by, k=_NUM_HITS, other_titles=True, weights={encoder: 1.0}
                )
                for encoder in encoders
            }
            found.append(hits)
            right[number] = [sum(events.are_right(h, kind)) / _NUM_HITS for h in hits.values()]
        example = int(np.abs(right - right.mean(axis=0)).sum(axis=1).argmin())
        query, _ = queries[example]
        return DemoSearch(
            query=query,
            name=next(e.item.path.stem for e in index.encoders[encoders[0]].items
                      if e.item.id == query.item_id),
            kind=events.names[events.at(query.item_id, query.seconds)],
            hits={
                encoder: [
                    (hit, events.names[k] if (k := events.at(hit.item_id, hit.center_seconds)) >= 0
                     else None)
                    for hit in hits
                ]
                for encoder, hits in found[example].items()
            },
            precision=dict(zip(encoders, right.mean(axis=0).tolist(), strict=True)),
            chance=float(np.mean(chances)),
            num_queries=len(queries),
        )  # fmt: skip
