"""What comes again in the episodes of a show, by name: opening, credits, recap, and the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toomuchtv.catalog.records import Segment
from toomuchtv.detection.fingerprints import AudioFingerprint, words_to_seconds
from toomuchtv.detection.matching import find_matches
from toomuchtv.detection.occurrences import Occurrence, find_things

#: Raised when the same episodes would give other segments.
NAMING_VERSION = 1
OPENING, CREDITS, RECAP, RECURRING = "opening", "credits", "recap", "recurring"
KINDS = (OPENING, CREDITS, RECAP, RECURRING)

_MOST, _ONCE = 0.5, 1.5
_OPENING_SECONDS = (10.0, 120.0)
_CREDITS_SECONDS = (5.0, 300.0)
# An opening may come after a cold open; credits may be followed by a preview.
_START_SHARE, _END_SHARE, _END_SECONDS = 0.25, 0.12, 60.0
# A recap comes first, or after a few words.
_RECAP_SHARE, _RECAP_SECONDS = 0.15, 180.0
# A stretch that only two items share must be longer to be believed.
_MIN_SECONDS_OF_TWO, _MIN_SECONDS = 4.0, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One item of a show, as the search needs it; `season` and `episode` order it, or are None."""

    item_id: int
    season: int | None
    episode: int | None
    fingerprint: AudioFingerprint

    @property
    def seconds(self) -> float:
        """How long it is."""
        return words_to_seconds(len(self.fingerprint))


def detect_recurring(episodes: Sequence[Episode]) -> list[Segment]:
    """Find what recurs in the episodes of one show, from their sound.

    An `opening` is a thing of 10 to 120 s that most episodes of a season (two at least) have in
    their first quarter; of several, the one in the most episodes, then the longest. `credits` are
    at the end of most episodes of a season. A `recap` is what the beginning of an episode has of
    the body of earlier ones; the place it is from, and all else, is `recurring`.

    Returns:
        Segments by item and start, none over another; the same thing has the same `recurrence`,
        counted from 0.
    """
    matches = find_matches([episode.fingerprint for episode in episodes])
    things = [thing for thing in find_things(matches) if _is_believed(thing)]
    openings = _season_picks(things, episodes, _may_open, _OPENING_SECONDS, best_only=True)
    closings = _season_picks(things, episodes, _may_close, _CREDITS_SECONDS, best_only=False)
    segments = []
    for number, thing in enumerate(things):
        for one in thing:
            episode = episodes[one.item]
            if number in openings and _may_open(one, episode):
                kind = OPENING
            elif number in closings and _may_close(one, episode):
                kind = CREDITS
            elif _is_recap(one, thing, episodes):
                kind = RECAP
            else:
                kind = RECURRING
            segments.append(
                Segment(
                    item_id=episode.item_id,
                    start_seconds=words_to_seconds(one.start),
                    stop_seconds=words_to_seconds(one.stop),
                    kind=kind,
                    recurrence=number,
                )
            )
    return sorted(segments, key=lambda segment: (segment.item_id, segment.start_seconds))


def _is_believed(thing: tuple[Occurrence, ...]) -> bool:
    num_items = len({one.item for one in thing})
    return _length(thing) >= (_MIN_SECONDS_OF_TWO if num_items == 2 else _MIN_SECONDS)


def _length(thing: tuple[Occurrence, ...]) -> float:
    """The length of a thing in seconds, shortened copies aside."""
    return words_to_seconds(max(one.stop - one.start for one in thing))


def _may_open(one: Occurrence, episode: Episode) -> bool:
    return words_to_seconds(one.start) <= _START_SHARE * episode.seconds


def _may_close(one: Occurrence, episode: Episode) -> bool:
    last = max(_END_SHARE * episode.seconds, min(_END_SECONDS, 0.25 * episode.seconds))
    return words_to_seconds(one.stop) >= episode.seconds - last and not _may_open(one, episode)


def _season_picks(
    things: Sequence[tuple[Occurrence, ...]],
    episodes: Sequence[Episode],
    fits: Callable[[Occurrence, Episode], bool],
    seconds: tuple[float, float],
    *,
    best_only: bool,
) -> set[int]:
    """Numbers of the things that most episodes of some season have in the right place."""
    seasons = Counter(episode.season for episode in episodes)
    picks: set[int] = set()
    shares: dict[int | None, list[tuple[int, float, int]]] = {}
    for number, thing in enumerate(things):
        # What comes again and again within an episode is a sting.
        is_sting = len(thing) > _ONCE * len({one.item for one in thing})
        if is_sting or not seconds[0] <= _length(thing) <= seconds[1]:
            continue
        items = {one.item for one in thing if fits(one, episodes[one.item])}
        for season, count in Counter(episodes[item].season for item in items).items():
            if count >= 2 and count >= _MOST * seasons[season]:
                shares.setdefault(season, []).append((count, _length(thing), number))
    for found in shares.values():
        picks.update([max(found)[2]] if best_only else [number for _, _, number in found])
    return picks


def _is_recap(one: Occurrence, thing: tuple[Occurrence, ...], episodes: Sequence[Episode]) -> bool:
    """Whether the beginning of an episode has here what was in the body of earlier ones."""
    episode = episodes[one.item]
    latest = min(_RECAP_SECONDS, _RECAP_SHARE * episode.seconds)
    others = [other for other in thing if other.item != one.item]
    return (
        words_to_seconds(one.start) <= latest
        and all(_is_before(episodes[other.item], episode) for other in others)
        and all(not _may_open(other, episodes[other.item]) for other in others)
    )


def _is_before(one: Episode, other: Episode) -> bool:
    if one.episode is None or other.episode is None:
        return False
    return (one.season or 0, one.episode) < (other.season or 0, other.episode)
