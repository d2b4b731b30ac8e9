"""From similarities of windows to a ranking of moments, fused over encoders and directions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from toomuchtv._internal.random_numbers import IntArray
from toomuchtv.search.encoder_index import EncoderIndex, IndexedItem, ScoreArray, top_windows
from toomuchtv.search.hits import Match, Modality
from toomuchtv.search.moments import SeenPlaces
from toomuchtv.search.scored import Scored

#: Number of a moment that no search returns: that of the query itself.
IGNORED = -1
# The constant of reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009).
_RRF = 60
_LEAST_MOMENTS = 50


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranking:
    """One order of the windows of one encoder.

    Attributes:
        encoder: The encoder.
        weight: Weight in the fusion.
        scores: float32 `[N]`, the order; None if it is that of `directions[0]`.
        directions: What the order was made from, to describe a match. They may be empty.
        partners: Window of the second moment of a sequence for each window, int64 `[N]`, or None.
        modality: What was compared, if there are no directions.
    """

    encoder: EncoderIndex
    weight: float = 1.0
    scores: ScoreArray | None = None
    directions: Sequence[Scored] = ()
    partners: IntArray | None = None
    modality: Modality = "video"

    @classmethod
    def of_direction(cls, scored: Scored, weight: float) -> Ranking:
        """Return the order by similarity in one direction."""
        return cls(encoder=scored.encoder, weight=weight, directions=[scored])

    @classmethod
    def of_scores(cls, encoder: EncoderIndex, modality: Modality, scores: ScoreArray) -> Ranking:
        """Return the order of scores that are negated similarities."""
        return cls(encoder=encoder, scores=scores, modality=modality)

    @classmethod
    def of_sequence(
        cls,
        first: Sequence[Scored],
        second: Sequence[Scored],
        within_seconds: float,
        weight: float,
    ) -> Ranking:
        """Return the order of pairs of windows: the first query, then the second one.

        A pair scores the sum of both z-scores, each the mean over its directions. The second window
        starts after the first one has ended and at most `within_seconds` later, in the same item.
        """
        encoder = first[0].encoder
        a = np.mean([one.z_scores() for one in first], axis=0)
        b = np.mean([one.z_scores() for one in second], axis=0)
        totals = np.full(len(encoder), -np.inf, np.float32)
        partners = np.full(len(encoder), -1, np.int64)
        window_seconds = encoder.record.window_seconds
        for row, entry in enumerate(encoder.items):
            begin, end = encoder.starts[row : row + 2].tolist()
            times = entry.vectors.times.double().numpy()
            low = np.searchsorted(times, times + window_seconds - 1e-3)
            high = np.searchsorted(times, times + window_seconds + within_seconds, side="right")
            best = np.full(end - begin, -np.inf)
            partner = np.full(end - begin, -1, np.int64)
            # One pass for each distance of the two windows, all windows at once.
            for distance in range(int((high - low).max(initial=0))):
                index = low + distance
                valid = index < high
                here = np.where(valid, b[begin + np.minimum(index, end - begin - 1)], -np.inf)
                is_better = here > best
                best[is_better] = here[is_better]
                partner[is_better] = begin + index[is_better]
            totals[begin:end] = a[begin:end] + best
            partners[begin:end] = partner
        return cls(
            encoder=encoder, weight=weight, scores=totals, directions=first, partners=partners
        )

    def top(self, count: int) -> IntArray:
        """Return the best windows in order, int64, at most `count`."""
        if self.scores is None:
            return self.directions[0].top(count)
        return top_windows(self.scores, count)

    def matches(self, window: int, rank: int) -> list[Match]:
        """Return how a window was found."""
        if self.directions:
            return [one.match(window, rank) for one in self.directions if one.has(window)]
        assert self.scores is not None
        similarity = min(1.0, -float(self.scores[window]))
        known = self.encoder.calibration
        calibration = None if known is None else known.of(self.modality, self.modality)
        return [
            Match(
                encoder=self.encoder.record.name,
                query_modality=self.modality,
                modality=self.modality,
                similarity=similarity,
                z_score=math.nan if calibration is None else calibration.z_score(similarity),
                is_confident=calibration is not None and similarity < calibration.outlier_threshold,
                rank=rank,
            )
        ]


@dataclass(slots=True, kw_only=True, eq=False)
class FoundMoment:
    """A moment that one or several rankings have.

    Attributes:
        entry: The item.
        start_seconds: Start of the window that found it first.
        stop_seconds: End of that window.
        then_seconds: Middle of the second moment of a sequence, or None.
        score: Sum of weighted reciprocal ranks.
        found_by: Each ranking that has it, with the window and the rank.
        num_collapsed: Number of further windows of the same moment.
    """

    entry: IndexedItem
    start_seconds: float
    stop_seconds: float
    then_seconds: float | None = None
    score: float = 0.0
    found_by: list[tuple[Ranking, int, int]] = field(default_factory=list)
    num_collapsed: int = 0

    def matches(self) -> list[Match]:
        """Return how it was found."""
        return [
            match
            for ranking, window, rank in self.found_by
            for match in ranking.matches(window, rank)
        ]


def fuse(
    rankings: Sequence[Ranking], seen: SeenPlaces, *, k: int, per_title: int | None
) -> list[FoundMoment]:
    """Return the best moments of several rankings, by reciprocal rank fusion.

    A moment of rank r in a ranking of weight w scores w / (60 + r), and the scores of all rankings
    are summed.

    Args:
        rankings: The rankings.
        seen: What counts as one moment, and moments that are ignored.
        k: How many moments to return at most.
        per_title: How many of one title at most; None for any number. Where the first moments of a
            ranking are of too few titles, only moments of the other titles are ranked behind them.
    """
    moments: list[FoundMoment] = []
    num_wanted = max(_LEAST_MOMENTS, k * (5 if per_title is None else 20))
    limit = math.inf if per_title is None else per_title
    for ranking in rankings:
        _rank(ranking, moments, seen, num_wanted=num_wanted, num_usable=k, per_title=limit)
    order = sorted(range(len(moments)), key=lambda number: -moments[number].score)
    found, of_title = [], Counter[int]()
    for number in order:
        title_id = moments[number].entry.title.id
        of_title[title_id] += 1
        if of_title[title_id] <= limit:
            found.append(moments[number])
    return found[:k]


def _rank(
    ranking: Ranking,
    moments: list[FoundMoment],
    seen: SeenPlaces,
    *,
    num_wanted: int,
    num_usable: int,
    per_title: float,
) -> None:
    """Add the first moments of a ranking: `num_wanted`, of which `num_usable` may be returned."""
    encoder = ranking.encoder
    title_ids = np.array([entry.title.id for entry in encoder.items], np.int64)
    # A single show has only `per_title` hits to offer, however far its ranking is read.
    num_usable = int(min(num_usable, per_title * len(np.unique(title_ids))))
    ranked: set[int] = set()
    of_title, num_found = Counter[int](), 0
    position, count = 0, 4 * num_wanted
    while True:
        windows = ranking.top(count)
        new = windows[position:]
        rows = np.searchsorted(encoder.starts, new, side="right") - 1
        for window, title_id in zip(new.tolist(), title_ids[rows].tolist(), strict=True):
            if len(ranked) >= num_wanted and of_title[title_id] >= per_title:
                continue
            num_before = len(ranked)
            _place(ranking, window, moments, ranked, seen)
            if len(ranked) > num_before:
                of_title[title_id] += 1
                num_found += of_title[title_id] <= per_title
            if len(ranked) >= num_wanted and num_found >= num_usable:
                return
        if len(windows) < count:
            return
        position, count = len(windows), 4 * count


def _place(
    ranking: Ranking,
    window: int,
    moments: list[FoundMoment],
    ranked: set[int],
    seen: SeenPlaces,
) -> None:
    """Add the next window of a ranking to the moment that it belongs to."""
    encoder = ranking.encoder
    row, index = encoder.locate(window)
    entry = encoder.items[row]
    start = float(entry.vectors.times[index])
    stop = start + encoder.record.window_seconds
    number = seen.find(entry.item.id, start, stop)
    if number == IGNORED:
        return
    if number in ranked:
        moments[number].num_collapsed += 1
        return
    if number is None:
        number = len(moments)
        seen.add(entry.item.id, start, stop, number)
        then_seconds = None
        if ranking.partners is not None:
            _, other = encoder.locate(int(ranking.partners[window]))
            then_seconds = float(encoder.centers(row)[other])
        moments.append(
            FoundMoment(
                entry=entry, start_seconds=start, stop_seconds=stop, then_seconds=then_seconds
            )
        )
    ranked.add(number)
    rank = len(ranked)
    moments[number].score += ranking.weight / (_RRF + rank)
    moments[number].found_by.append((ranking, window, rank))
