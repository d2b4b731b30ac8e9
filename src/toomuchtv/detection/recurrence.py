"""Detect content that recurs in the episodes of a show: openings, credits, recaps and the rest.

The search has four steps and uses only audio fingerprints.

1. **Matching** (`matching.find_matches`) finds intervals that two items share.
2. **Copies** (`find_copies`): items that are one episode, such as two encodings of it, share all of
   it. Their matches are dropped, and they count as one episode from here on.
3. **Clustering** (`cluster_matches`) groups these intervals, so that one cluster is one content and
   its members are the places where it occurs. The best matches come first and create clusters;
   later matches join them. The edges of a member are the median of the edges of its matches, so
   that two episodes that continue alike after the opening do not make the opening longer.
4. **Naming** (`detect_recurring`) decides by duration, position and number of episodes what each
   member is.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from toomuchtv.catalog.records import Segment
from toomuchtv.detection.fingerprints import (
    FINGERPRINT_RATE_HZ,
    AudioFingerprint,
    words_to_seconds,
)
from toomuchtv.detection.matching import Match, find_matches

#: Version of clustering and naming. It is raised when the same matches would give other segments.
RECURRENCE_VERSION = 2
OPENING, CREDITS, RECAP, RECURRING = "opening", "credits", "recap", "recurring"
#: The kinds of segments that `detect_recurring` returns.
RECURRING_KINDS = (OPENING, CREDITS, RECAP, RECURRING)

_OPENING_SECONDS = (10.0, 120.0)
_CREDITS_SECONDS = (5.0, 300.0)
# Share of a season's episodes that must contain an opening or credits.
_SEASON_SHARE = 0.5
# Content that occurs more often per episode than this is a sting and neither opening nor credits.
_MAX_PER_EPISODE = 1.5
# Items that share more than this of the longer one are copies of one episode.
_COPY_SHARE = 0.7
# An opening may follow a cold open, and a preview may follow the credits.
_START_SHARE, _END_SHARE, _END_SECONDS, _END_MAX_SHARE = 0.25, 0.12, 60.0, 0.25
# A recap is first in its episode, or follows a few words.
_RECAP_SHARE, _RECAP_SECONDS = 0.15, 180.0
# Content of only two episodes must be longer to be trusted.
_MIN_SECONDS, _MIN_SECONDS_OF_TWO = 2.0, 4.0

# Two intervals of an item are the same if their intersection is this share of their union.
_SAME_IOU = 0.6
# An interval that lies to this share inside a member is a shortened copy of it ...
_INSIDE_SHARE = 0.8
# ... unless it is a smaller part of the member than this.
_SHORTENED_SHARE = 0.4
_MIN_REST_WORDS = 2 * FINGERPRINT_RATE_HZ


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One item of a show: an episode, or one of several copies of it.

    Attributes:
        item_id: The item.
        season: Season number, or None.
        episode: Episode number, or None.
        fingerprint: Fingerprint of the item's audio.
    """

    item_id: int
    season: int | None
    episode: int | None
    fingerprint: AudioFingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterMember:
    """One place where the content of a cluster occurs: words `[start, stop)` of an item."""

    item: int
    start: int
    stop: int


#: The places where one content occurs, sorted by item and start.
Cluster = tuple[ClusterMember, ...]


def detect_recurring(episodes: Sequence[Episode]) -> list[Segment]:
    """Detect the content that recurs in the episodes of one show, from its audio.

    - An `opening` is content of 10 to 120 s that at least half of a season's episodes (and at least
      two) have in their first quarter. If there are several candidates, it is the one in the most
      episodes, then the longest.
    - `credits` are content of 5 to 300 s at the end of at least half of a season's episodes.
    - A `recap` is content at the beginning of an episode that is in the body of earlier ones only.
    - Everything else, also the places that a recap was taken from, is `recurring`.

    Returns:
        Segments by item and start, which do not overlap. Segments with the same content have the
        same `recurrence`, counted from 0.
    """
    matches = list(find_matches([episode.fingerprint for episode in episodes]))
    copy_of = find_copies(episodes, matches)
    matches = [match for match in matches if copy_of[match.first] != copy_of[match.second]]
    clusters = [
        cluster for cluster in cluster_matches(matches) if _is_long_enough(cluster, copy_of)
    ]
    openings = _season_clusters(
        clusters, episodes, copy_of, _is_opening_place, _OPENING_SECONDS, best_only=True
    )
    closings = _season_clusters(
        clusters, episodes, copy_of, _is_credits_place, _CREDITS_SECONDS, best_only=False
    )
    segments = []
    for number, cluster in enumerate(clusters):
        for member in cluster:
            episode = episodes[member.item]
            if number in openings and _is_opening_place(member, episode):
                kind = OPENING
            elif number in closings and _is_credits_place(member, episode):
                kind = CREDITS
            elif _is_recap(member, cluster, episodes, copy_of):
                kind = RECAP
            else:
                kind = RECURRING
            segments.append(
                Segment(
                    item_id=episode.item_id,
                    start_seconds=words_to_seconds(member.start),
                    stop_seconds=words_to_seconds(member.stop),
                    kind=kind,
                    recurrence=number,
                )
            )
    return sorted(segments, key=lambda segment: (segment.item_id, segment.start_seconds))


def find_copies(episodes: Sequence[Episode], matches: Iterable[Match]) -> list[int]:
    """Return for each item the first item that is the same episode, which may be itself.

    Items are one episode if they have the same season and episode number, or if they share most of
    their content.
    """
    first_of = list(range(len(episodes)))

    def find(item: int) -> int:
        while first_of[item] != item:
            item = first_of[item]
        return item

    def join(one: int, other: int) -> None:
        one, other = sorted((find(one), find(other)))
        first_of[other] = one

    numbers: dict[tuple[int | None, int], int] = {}
    for item, episode in enumerate(episodes):
        if episode.episode is not None:
            join(item, numbers.setdefault((episode.season, episode.episode), item))
    shared: dict[tuple[int, int], list[Match]] = {}
    for match in matches:
        shared.setdefault((match.first, match.second), []).append(match)
    for pair, found in shared.items():
        longer = max(len(episodes[item].fingerprint) for item in pair)
        here = _covered((match.start, match.stop) for match in found)
        there = _covered((m.start + m.offset, m.stop + m.offset) for m in found)
        if min(here, there) >= _COPY_SHARE * longer:
            join(*pair)
    return [find(item) for item in range(len(episodes))]


def _covered(intervals: Iterable[tuple[int, int]]) -> int:
    """Return the length of the union of intervals."""
    covered = at = 0
    for start, stop in sorted(intervals):
        covered += max(0, stop - max(start, at))
        at = max(at, stop)
    return covered


# ---- Naming


def _is_long_enough(cluster: Cluster, copy_of: Sequence[int]) -> bool:
    num_episodes = len({copy_of[member.item] for member in cluster})
    least = _MIN_SECONDS_OF_TWO if num_episodes == 2 else _MIN_SECONDS
    is_of_copies = num_episodes == 1 and len({member.item for member in cluster}) > 1
    return not is_of_copies and _duration(cluster) >= least


def _duration(cluster: Cluster) -> float:
    """Return the duration of a cluster's content in seconds: that of its longest member."""
    return words_to_seconds(max(member.stop - member.start for member in cluster))


def _is_opening_place(member: ClusterMember, episode: Episode) -> bool:
    return words_to_seconds(member.start) <= _START_SHARE * episode.fingerprint.duration_seconds


def _is_credits_place(member: ClusterMember, episode: Episode) -> bool:
    duration = episode.fingerprint.duration_seconds
    last = max(_END_SHARE * duration, min(_END_SECONDS, _END_MAX_SHARE * duration))
    is_at_end = words_to_seconds(member.stop) >= duration - last
    return is_at_end and not _is_opening_place(member, episode)


def _season_clusters(
    clusters: Sequence[Cluster],
    episodes: Sequence[Episode],
    copy_of: Sequence[int],
    is_in_place: Callable[[ClusterMember, Episode], bool],
    seconds: tuple[float, float],
    *,
    best_only: bool,
) -> set[int]:
    """Return the numbers of the clusters that most episodes of a season have in the right place."""
    season_sizes = Counter(
        season
        for season, _ in {(one.season, copy) for one, copy in zip(episodes, copy_of, strict=True)}
    )
    candidates: dict[int | None, list[tuple[int, float, int]]] = {}
    for number, cluster in enumerate(clusters):
        is_sting = len(cluster) > _MAX_PER_EPISODE * len({member.item for member in cluster})
        if is_sting or not seconds[0] <= _duration(cluster) <= seconds[1]:
            continue
        places = {
            (episodes[member.item].season, copy_of[member.item])
            for member in cluster
            if is_in_place(member, episodes[member.item])
        }
        for season, count in Counter(season for season, _ in places).items():
            if count >= 2 and count >= _SEASON_SHARE * season_sizes[season]:
                candidates.setdefault(season, []).append((count, _duration(cluster), number))
    if best_only:
        return {max(found)[2] for found in candidates.values()}
    return {number for found in candidates.values() for _, _, number in found}


def _is_recap(
    member: ClusterMember, cluster: Cluster, episodes: Sequence[Episode], copy_of: Sequence[int]
) -> bool:
    """Return whether the start of an episode shows what is in the body of earlier ones only."""
    episode = episodes[member.item]
    latest = min(_RECAP_SECONDS, _RECAP_SHARE * episode.fingerprint.duration_seconds)
    others = [other for other in cluster if copy_of[other.item] != copy_of[member.item]]
    return (
        words_to_seconds(member.start) <= latest
        and len(others) > 0
        and all(
            _is_before(episodes[other.item], episode)
            and not _is_opening_place(other, episodes[other.item])
            for other in others
        )
    )


def _is_before(one: Episode, other: Episode) -> bool:
    if one.episode is None or other.episode is None:
        return False
    return (one.season or 0, one.episode) < (other.season or 0, other.episode)


# ---- Clustering


@dataclass(slots=True, eq=False)
class _OpenCluster:
    members: list[_OpenMember] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _OpenMember:
    """A cluster member to which matches can still be added. Its first match is its best one."""

    item: int
    starts: list[int]
    stops: list[int]
    cluster: _OpenCluster

    def intersection(self, start: int, stop: int) -> int:
        """Return the number of words that an interval shares with the first match."""
        return min(stop, self.stops[0]) - max(start, self.starts[0])

    def is_same(self, start: int, stop: int) -> bool:
        """Return whether an interval is the same as the first match."""
        union = max(stop, self.stops[0]) - min(start, self.starts[0])
        return self.intersection(start, stop) / union >= _SAME_IOU

    def is_shortened(self, start: int, stop: int) -> bool:
        """Return whether an interval is a shortened copy of the first match."""
        common = self.intersection(start, stop)
        length = self.stops[0] - self.starts[0]
        return common >= _INSIDE_SHARE * (stop - start) and common >= _SHORTENED_SHARE * length


def cluster_matches(matches: Iterable[Match]) -> list[Cluster]:
    """Group matched intervals by content.

    Returns:
        The clusters. Members of different clusters do not overlap in any item.
    """
    clusters: list[Cluster] = []
    remaining = sorted(matches, key=_best_first)
    # The first round drops what reaches beyond its clusters, such as the recap before an opening in
    # only two episodes. The second round clusters what is outside of the clusters of the first.
    for _ in range(2):
        taken_of: dict[int, list[ClusterMember]] = {}
        for cluster in clusters:
            for member in cluster:
                taken_of.setdefault(member.item, []).append(member)
        pieces = [piece for match in remaining for piece in _outside(match, taken_of)]
        clusters += _cluster_round(sorted(pieces, key=_best_first), taken_of)
    return clusters


def _best_first(match: Match) -> tuple[float, int, int, int]:
    return -match.score, match.first, match.second, match.start


def _cluster_round(matches: list[Match], taken_of: dict[int, list[ClusterMember]]) -> list[Cluster]:
    members_of: dict[int, list[_OpenMember]] = {}
    for match in matches:
        _add_match(match, members_of)
    open_clusters = {id(m.cluster): m.cluster for members in members_of.values() for m in members}
    clusters = []
    # Larger clusters take their intervals first; smaller ones get what is left of theirs.
    for cluster in sorted(open_clusters.values(), key=lambda cluster: -len(cluster.members)):
        found = []
        for open_member in cluster.members:
            others = taken_of.setdefault(open_member.item, [])
            if (closed := _closed(open_member, others)) is not None:
                others.append(closed)
                found.append(closed)
        if len(found) > 1:
            clusters.append(tuple(sorted(found, key=lambda one: (one.item, one.start))))
        else:
            for member in found:
                taken_of[member.item].remove(member)
    return clusters


def _add_match(match: Match, members_of: dict[int, list[_OpenMember]]) -> None:
    """Let a match create a cluster, join one or join two; or drop it.

    Each of the match's two intervals is either that of a member that exists, or it is new. A match
    is dropped if one of its intervals overlaps members without being one of them.
    """
    intervals = [
        (match.first, match.start, match.stop),
        (match.second, match.start + match.offset, match.stop + match.offset),
    ]
    found: list[_OpenMember | None] = []
    for item, start, stop in intervals:
        members = members_of.get(item, [])
        fits = (m for m in members if m.is_same(start, stop) or m.is_shortened(start, stop))
        member = next(fits, None)
        if member is None and any(
            m.intersection(start, stop) > FINGERPRINT_RATE_HZ for m in members
        ):
            return
        found.append(member)
    cluster = next((member.cluster for member in found if member is not None), None)
    cluster = cluster or _OpenCluster()
    for (item, start, stop), member in zip(intervals, found, strict=True):
        if member is None:
            new = _OpenMember(item, [start], [stop], cluster)
            cluster.members.append(new)
            members_of.setdefault(item, []).append(new)
            continue
        if member.is_same(start, stop):
            member.starts.append(start)
            member.stops.append(stop)
        if member.cluster is not cluster:  # the match shows that two clusters have one content
            absorbed = member.cluster
            for moved in absorbed.members:
                moved.cluster = cluster
            cluster.members += absorbed.members


def _closed(member: _OpenMember, others: Iterable[ClusterMember]) -> ClusterMember | None:
    """Return the final interval of a member, cut to be outside of others; None if none is left."""
    start = round(statistics.median(member.starts))
    stop = round(statistics.median(member.stops))
    for other in others:
        if other.start <= start < other.stop:
            start = other.stop
        elif start < other.start < stop:
            stop = other.start
    if stop - start < _MIN_REST_WORDS:
        return None
    return ClusterMember(item=member.item, start=start, stop=stop)


def _outside(match: Match, taken_of: Mapping[int, list[ClusterMember]]) -> Iterator[Match]:
    """Yield the parts of a match that are outside of the taken intervals in both of its items."""
    blocked = sorted(
        (member.start - shift, member.stop - shift)
        for item, shift in ((match.first, 0), (match.second, match.offset))
        for member in taken_of.get(item, ())
    )
    at = match.start
    for start, stop in [*blocked, (match.stop, match.stop)]:
        until = min(start, match.stop)
        if until - at >= _MIN_REST_WORDS:
            share = (until - at) / (match.stop - match.start)
            yield replace(match, start=at, stop=until, score=match.score * share)
        at = max(at, stop)
