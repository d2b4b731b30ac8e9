"""From matches of pairs to things that come again: which stretches are the same one."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from toomuchtv.detection.fingerprints import FINGERPRINT_RATE_HZ
from toomuchtv.detection.matching import Match

# Two stretches of one item are the same where they share this much of what they cover together.
_SAME_SHARE = 0.6
# A stretch inside a known one is a shortened copy of it, unless it is a smaller part than this.
_SHORTENED_SHARE = 0.4
_INSIDE_SHARE = 0.8
_MIN_REST = 2 * FINGERPRINT_RATE_HZ


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """Where a thing comes in one item: prints `[start, stop)`."""

    item: int
    start: int
    stop: int


@dataclass(slots=True, eq=False)
class _Stretch:
    """An occurrence while it is found: the edges that its matches give it."""

    item: int
    starts: list[int]
    stops: list[int]
    thing: _Thing

    @property
    def start(self) -> int:
        return self.starts[0]

    @property
    def stop(self) -> int:
        return self.stops[0]


@dataclass(slots=True, eq=False)
class _Thing:
    stretches: list[_Stretch] = field(default_factory=list)


def find_things(matches: Iterable[Match]) -> list[tuple[Occurrence, ...]]:
    """Tell which stretches are the same thing.

    The best matches come first and found things; later ones join them, or are cut to what lies
    outside of them. The edges of an occurrence are the median of what its matches say, so that
    two episodes that go on alike after the opening do not make it longer.

    Returns:
        One tuple of occurrences per thing, by item and start; the occurrences of one item do not
        overlap.
    """
    settled: list[tuple[Occurrence, ...]] = []
    rest = sorted(matches, key=_rank)
    # What the first round cuts off, as the recap before an opening in two episodes alone, is
    # looked at again by itself.
    for _ in range(2):
        taken = [one for thing in settled for one in thing]
        pieces = [piece for match in rest for piece in _cut(match, taken)]
        settled += _one_round(sorted(pieces, key=_rank), taken)
    return settled


def _rank(match: Match) -> tuple[float, int, int, int]:
    return -match.score, match.first, match.second, match.start


def _one_round(matches: list[Match], taken: list[Occurrence]) -> list[tuple[Occurrence, ...]]:
    by_item: dict[int, list[_Stretch]] = {}
    for match in matches:
        _place(match, by_item)
    things = {id(one.thing): one.thing for group in by_item.values() for one in group}
    free = _Free(taken)
    found = []
    for thing in sorted(things.values(), key=lambda thing: -len(thing.stretches)):
        occurrences = [one for s in thing.stretches if (one := free.take(s)) is not None]
        if len(occurrences) > 1:
            found.append(tuple(sorted(occurrences, key=lambda one: (one.item, one.start))))
        else:
            free.give_back(occurrences)
    return found


def _place(match: Match, by_item: dict[int, list[_Stretch]]) -> None:
    """Let one match found a thing, join one, join two, or go."""
    spans = [
        (match.first, match.start, match.stop),
        (match.second, match.start + match.offset, match.stop + match.offset),
    ]
    known = [_known(by_item.get(item, ()), start, stop) for item, start, stop in spans]
    fresh = [
        not any(
            min(stop, s.stop) - max(start, s.start) > FINGERPRINT_RATE_HZ
            for s in by_item.get(item, ())
        )
        for item, start, stop in spans
    ]
    if not all(one is not None or new for one, new in zip(known, fresh, strict=True)):
        return
    thing = next((one.thing for one in known if one is not None), None) or _Thing()
    for (item, start, stop), one in zip(spans, known, strict=True):
        if one is None:
            new = _Stretch(item, [start], [stop], thing)
            thing.stretches.append(new)
            by_item.setdefault(item, []).append(new)
            continue
        if _shared(one, start, stop) >= _SAME_SHARE:
            one.starts.append(start)
            one.stops.append(stop)
        if one.thing is not thing:
            absorbed = one.thing
            for moved in absorbed.stretches:
                moved.thing = thing
            thing.stretches += absorbed.stretches


def _known(stretches: Iterable[_Stretch], start: int, stop: int) -> _Stretch | None:
    """The stretch that this is, or is a shortened copy of."""
    for one in stretches:
        common = min(stop, one.stop) - max(start, one.start)
        inside = common >= _INSIDE_SHARE * (stop - start)
        if _shared(one, start, stop) >= _SAME_SHARE or (
            inside and common >= _SHORTENED_SHARE * (one.stop - one.start)
        ):
            return one
    return None


def _shared(one: _Stretch, start: int, stop: int) -> float:
    common = min(stop, one.stop) - max(start, one.start)
    return common / (max(stop, one.stop) - min(start, one.start))


class _Free:
    """What of each item is not taken by a thing yet."""

    def __init__(self, taken: Iterable[Occurrence]) -> None:
        self._taken: dict[int, list[Occurrence]] = {}
        for one in taken:
            self._taken.setdefault(one.item, []).append(one)

    def take(self, stretch: _Stretch) -> Occurrence | None:
        one = Occurrence(
            item=stretch.item,
            start=round(statistics.median(stretch.starts)),
            stop=round(statistics.median(stretch.stops)),
        )
        for other in self._taken.get(one.item, ()):
            if other.start <= one.start < other.stop:
                one = replace(one, start=other.stop)
            elif one.start < other.start < one.stop:
                one = replace(one, stop=other.start)
        if one.stop - one.start < _MIN_REST:
            return None
        self._taken.setdefault(one.item, []).append(one)
        return one

    def give_back(self, occurrences: Iterable[Occurrence]) -> None:
        for one in occurrences:
            self._taken[one.item].remove(one)


def _cut(match: Match, taken: Iterable[Occurrence]) -> Iterator[Match]:
    """Yield what of a match lies outside of the occurrences, in both of its items."""
    blocked = sorted(
        (one.start - shift, one.stop - shift)
        for item, shift in ((match.first, 0), (match.second, match.offset))
        for one in taken
        if one.item == item
    )
    at = match.start
    for start, stop in [*blocked, (match.stop, match.stop)]:
        until = min(start, match.stop)
        if until - at >= _MIN_REST:
            share = (until - at) / (match.stop - match.start)
            yield replace(match, start=at, stop=until, score=match.score * share)
        at = max(at, stop)
