"""Laws of recurring content: kinds and edges are right, and unique content is not reported."""

from __future__ import annotations

import cProfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.detection.random_fingerprints import encoded, random_words, silence
from toomuchtv.catalog.records import Segment
from toomuchtv.detection import recurrence
from toomuchtv.detection.matching import Match
from toomuchtv.detection.recurrence import ClusterMember, Episode, detect_recurring

Words = NDArray[np.uint32]


def show(*episodes: Sequence[Words], season: int = 1) -> list[Episode]:
    """Return episodes of one season, each in an encoding of its own."""
    return [
        Episode(
            item_id=100 * season + number,
            season=season,
            episode=number,
            fingerprint=encoded(*parts, seed=100 * season + number),
        )
        for number, parts in enumerate(episodes, 1)
    ]


def story(number: int, seconds: float = 300.0) -> Words:
    """Return content that no other episode has."""
    return random_words(1000 + number, seconds)


def found(segments: list[Segment], kind: str) -> dict[int, tuple[float, float]]:
    """Return start and stop by item for a kind that each item has once."""
    chosen = [segment for segment in segments if segment.kind == kind]
    spans = {one.item_id: (one.start_seconds, one.stop_seconds) for one in chosen}
    assert len(spans) == len(chosen)
    return spans


def about(*values: float) -> Any:
    return pytest.approx(values, abs=0.3)


def recurrences(segments: list[Segment], kind: str) -> set[int | None]:
    return {segment.recurrence for segment in segments if segment.kind == kind}


def test_openings_are_found_after_cold_opens_of_any_duration() -> None:
    opening, closing = random_words(1, 40), random_words(2, 25)
    colds = [0.0, 12.0, 70.0, 33.0]
    segments = detect_recurring(
        show(*([random_words(10 + n, cold), opening, story(n), closing]
               for n, cold in enumerate(colds)))
    )  # fmt: skip
    openings, closings = found(segments, "opening"), found(segments, "credits")
    for item, cold in enumerate(colds, 101):
        assert openings[item] == about(cold, cold + 40)
        assert closings[item] == about(cold + 340, cold + 365)
    assert len(segments) == 8
    assert len(recurrences(segments, "opening")) == len(recurrences(segments, "credits")) == 1
    assert recurrences(segments, "opening") != recurrences(segments, "credits")


@pytest.mark.parametrize("copy_number", [1, None, 4])
def test_a_copy_of_an_episode_changes_nothing(copy_number: int | None) -> None:
    """It is told by its number, or where that is missing or wrong, by its content."""
    opening, closing = random_words(1, 40), random_words(2, 25)
    contents = [[opening, story(n), closing] for n in range(3)]
    expected = detect_recurring(show(*contents))
    copy = Episode(
        item_id=999, season=1, episode=copy_number, fingerprint=encoded(*contents[0], seed=999)
    )
    segments = detect_recurring([*show(*contents), copy])
    for kind in ("opening", "credits"):
        spans = found(segments, kind)
        of_copy = spans.pop(999)
        assert of_copy == about(*spans[101])
        assert spans.keys() == found(expected, kind).keys()
        for item, span in found(expected, kind).items():
            assert spans[item] == about(*span)
    assert len(segments) == 8


def test_one_episode_in_two_encodings_has_nothing_that_recurs() -> None:
    ((first,), (second,)) = (show([random_words(1, 40), story(1)]) for _ in range(2))
    assert detect_recurring([first, replace(second, item_id=102)]) == []
    assert detect_recurring([first, replace(second, item_id=102, episode=2)]) == []


def test_each_season_may_have_its_own_opening() -> None:
    first, second, closing = random_words(1, 30), random_words(2, 50), random_words(3, 20)
    episodes = [
        *show(*([first, story(n), closing] for n in range(3)), season=1),
        *show(*([second, story(n), closing] for n in range(3, 6)), season=2),
    ]
    segments = detect_recurring(episodes)
    openings = found(segments, "opening")
    assert {item: openings[item] for item in (101, 102, 103)} == dict.fromkeys(
        (101, 102, 103), about(0, 30)
    )
    assert all(openings[item] == about(0, 50) for item in (201, 202, 203))
    assert len(recurrences(segments, "opening")) == 2
    assert len(recurrences(segments, "credits")) == 1
    assert len(found(segments, "credits")) == 6


def test_a_shortened_opening_is_the_same_opening() -> None:
    opening = random_words(1, 60)
    parts = [[opening, story(n)] for n in range(4)]
    parts[2][0] = opening[: len(opening) // 2]
    segments = detect_recurring(show(*parts))
    openings = found(segments, "opening")
    assert openings[103] == about(0, 30)
    assert all(openings[item] == about(0, 60) for item in (101, 102, 104))
    assert len(recurrences(segments, "opening")) == 1


def test_an_opening_with_a_pause_is_one_opening() -> None:
    """The pause has five seconds in which no word is distinctive."""
    opening = random_words(1, 45)
    episodes = show(*([random_words(10 + n, 7 * n), opening, story(n)] for n in range(3)))
    for number, episode in enumerate(episodes):
        pause = slice((7 * number + 20) * 32, (7 * number + 25) * 32)
        episode.fingerprint.is_distinctive[pause] = False
        episode.fingerprint.words[pause] = random_words(70 + number, 5)
    openings = found(detect_recurring(episodes), "opening")
    assert openings == {101 + n: about(7 * n, 7 * n + 45) for n in range(3)}


def test_a_recap_is_content_of_earlier_episodes_at_the_start() -> None:
    opening, first = random_words(1, 30), story(1)
    clip = first[150 * 32 : 165 * 32]
    segments = detect_recurring(
        show([opening, first], [clip, opening, story(2)], [opening, story(3)], [opening, story(4)])
    )
    assert found(segments, "recap") == {102: about(0, 15)}
    assert found(segments, "recurring") == {101: about(30 + 150, 30 + 165)}
    assert recurrences(segments, "recap") == recurrences(segments, "recurring")
    assert found(segments, "opening")[102] == about(15, 45)


def test_content_that_repeats_in_one_episode_only_is_not_a_recap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Clustering leaves such content if its place in another episode belongs to other content."""
    places = tuple(ClusterMember(item=0, start=start, stop=start + 320) for start in (0, 4000))
    monkeypatch.setattr(recurrence, "cluster_matches", lambda _: [places])
    segments = detect_recurring(show([story(1)], [story(2)]))
    assert [segment.kind for segment in segments] == ["recurring", "recurring"]


def test_two_episodes_that_begin_alike_do_not_lengthen_the_opening() -> None:
    """In a double episode, the second part repeats the teaser of the first before the opening."""
    opening, teaser = random_words(1, 40), random_words(2, 20)
    parts: list[list[Words]] = [[random_words(20 + n, 15), opening, story(n)] for n in range(6)]
    parts[2][0] = parts[3][0] = teaser
    segments = detect_recurring(show(*parts))
    openings = found(segments, "opening")
    assert all(
        openings[item] == about(start, start + 40)
        for item, start in {101: 15, 102: 15, 103: 20, 104: 20, 105: 15, 106: 15}.items()
    )
    teasers = [segment for segment in segments if segment.kind != "opening"]
    assert {(one.item_id, round(one.start_seconds), round(one.stop_seconds)) for one in teasers} \
        == {(103, 0, 20), (104, 0, 20)}  # fmt: skip


def test_a_sting_is_recurring_and_not_an_opening() -> None:
    sting = random_words(1, 5)
    parts = [[story(n, 100), sting, story(50 + n, 60), sting, story(90 + n, 40)] for n in range(4)]
    segments = detect_recurring(show(*parts))
    assert {segment.kind for segment in segments} == {"recurring"}
    assert len(recurrences(segments, "recurring")) == 1
    assert sum(segment.item_id == 101 for segment in segments) >= 1


def test_unique_content_is_not_reported() -> None:
    assert detect_recurring(show(*([story(n)] for n in range(5)))) == []
    # Neither a repetition within one episode nor silence counts.
    twice = story(1, 60)
    assert detect_recurring(show([twice, story(2), twice], [story(3)])) == []
    silent = [
        Episode(item_id=n, season=None, episode=None, fingerprint=silence(200)) for n in range(3)
    ]
    assert detect_recurring(silent) == []


@pytest.mark.parametrize("seconds", [8.0, 140.0])
def test_content_of_the_wrong_duration_is_not_an_opening(seconds: float) -> None:
    common = random_words(1, seconds)
    segments = detect_recurring(show(*([common, story(n, 600)] for n in range(3))))
    assert {segment.kind for segment in segments} == {"recurring"}


def test_content_of_few_episodes_is_not_an_opening() -> None:
    common = random_words(1, 30)
    parts = [[common, story(n)] if n < 2 else [story(n)] for n in range(6)]
    assert {one.kind for one in detect_recurring(show(*parts))} == {"recurring"}


def test_empty_shows_have_no_segments() -> None:
    assert detect_recurring([]) == []
    assert detect_recurring(show([story(1)])) == []
    assert (
        detect_recurring(show([random_words(1, 0)], [random_words(1, 1.0)], [random_words(1, 1.0)]))
        == []
    )


def test_segments_do_not_overlap_and_do_not_depend_on_the_order_of_episodes() -> None:
    opening, closing = random_words(1, 30), random_words(2, 20)
    episodes = show(*([random_words(30 + n, 5 * n), opening, story(n), closing] for n in range(5)))
    segments = detect_recurring(episodes)
    other = detect_recurring(episodes[::-1])
    for item in range(101, 106):
        spans = [(s.start_seconds, s.stop_seconds) for s in segments if s.item_id == item]
        assert all(a[1] <= b[0] for a, b in pairwise(spans))
    assert [(s.item_id, s.kind) for s in segments] == [(s.item_id, s.kind) for s in other]
    for one, same in zip(segments, other, strict=True):
        assert (one.start_seconds, one.stop_seconds) == about(same.start_seconds, same.stop_seconds)


def test_the_work_of_clustering_grows_with_the_episodes_and_not_with_their_square() -> None:
    def num_calls(num_episodes: int) -> int:
        matches = [
            Match(
                first=item, second=item + step, start=1000 * content, stop=1000 * content + 300,
                offset=7 * step, score=1000.0 + content, bit_error_rate=0.05,
            )
            for item in range(num_episodes - 3)
            for step in (1, 2, 3)
            for content in range(5)
        ]  # fmt: skip
        profile = cProfile.Profile()
        clusters = profile.runcall(recurrence.cluster_matches, matches)
        assert [len(cluster) for cluster in clusters] == 5 * [num_episodes]
        return sum(entry.callcount for entry in profile.getstats())

    assert num_calls(160) < 2.5 * num_calls(80)
