"""Laws of matching: shared intervals are found with exact edges, and nothing else is found."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.detection.random_fingerprints import encoded, random_words, silence
from tests.detection.test_fingerprints import RATE, reader_of, recoded
from toomuchtv.detection import matching
from toomuchtv.detection.fingerprints import (
    FINGERPRINT_RATE_HZ,
    AudioFingerprint,
    fingerprint_audio,
)
from toomuchtv.detection.matching import Match, PostingBuffer, count_votes, find_matches
from toomuchtv.media.clip import WaveformArray
from toomuchtv.media.clip_reader import read_audio
from toomuchtv.media.timestamps import read_timeline


def seconds(match: Match) -> tuple[float, float, float]:
    """Return start, stop, and start in the other item, in seconds."""
    return (
        match.start / FINGERPRINT_RATE_HZ,
        match.stop / FINGERPRINT_RATE_HZ,
        (match.start + match.offset) / FINGERPRINT_RATE_HZ,
    )


@given(
    before=st.floats(0, 40), there=st.floats(0, 40), length=st.floats(8, 60),
    seed=st.integers(0, 1000),
)  # fmt: skip
@settings(max_examples=25)
def test_a_shared_interval_is_found_with_exact_edges(
    before: float, there: float, length: float, seed: int
) -> None:
    common = random_words(3 * seed, length)
    one = encoded(random_words(3 * seed + 1, before), common, random_words(90_001, 9), seed=1)
    other = encoded(random_words(3 * seed + 2, there), common, random_words(90_002, 9), seed=2)
    (match,) = find_matches([one, other])
    assert (match.first, match.second) == (0, 1)
    expected = before, before + length, there
    assert seconds(match) == pytest.approx(expected, abs=0.25)
    assert match.bit_error_rate == pytest.approx(0.07, abs=0.03)


def test_unrelated_audio_has_no_matches() -> None:
    fingerprints = [encoded(random_words(seed, 300)) for seed in range(8)]
    assert list(find_matches(fingerprints)) == []


def test_silence_matches_nothing() -> None:
    talk = encoded(random_words(1, 60))
    assert list(find_matches([silence(60), silence(60), talk, silence(0.1)])) == []


def test_an_item_is_not_compared_with_itself() -> None:
    """Content that repeats within one item is not a match."""
    twice = random_words(1, 20)
    assert list(find_matches([encoded(twice, random_words(2, 30), twice)])) == []


def test_empty_and_very_short_audio_have_no_matches() -> None:
    none = encoded(random_words(1, 0.0))
    assert list(find_matches([])) == []
    assert list(find_matches([none])) == []
    assert (
        list(find_matches([none, encoded(random_words(2, 0.5)), encoded(random_words(2, 0.5))]))
        == []
    )


def test_more_audio_than_32_bits_can_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "_MAX_WORDS", 3600 * FINGERPRINT_RATE_HZ)
    with pytest.raises(ValueError, match="more than 1 hours of audio"):
        list(find_matches([encoded(random_words(n, 1000)) for n in range(4)]))


def test_items_of_one_group_are_not_compared() -> None:
    common = random_words(0, 30)
    fingerprints = [encoded(common, random_words(n, 20), seed=n) for n in range(1, 5)]
    found = find_matches(fingerprints, groups=[1, 1, 2, 2])
    assert {(match.first, match.second) for match in found} <= {(0, 2), (0, 3), (1, 2), (1, 3)}
    assert list(find_matches(fingerprints, groups=[1, 1, 1, 1])) == []


def test_matches_connect_all_items_and_do_not_grow_quadratically() -> None:
    common = random_words(0, 8)
    counts = {}
    for num_items in (60, 120):
        fingerprints = [
            encoded(random_words(n, 5), common, seed=n) for n in range(1, num_items + 1)
        ]
        matches = list(find_matches(fingerprints))
        counts[num_items] = len(matches)
        joined = {0}
        for _ in range(num_items):
            joined |= {m.second for m in matches if m.first in joined}
            joined |= {m.first for m in matches if m.second in joined}
        assert joined == set(range(num_items))
    assert counts[120] < 3 * counts[60]  # the number of pairs grows by four


@pytest.mark.parametrize("in_memory", [1, 1000])
def test_matches_are_the_same_when_postings_are_on_disk(
    in_memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common, other = random_words(0, 25), random_words(50, 15)
    fingerprints = [encoded(random_words(n, 11 * n), common, seed=n) for n in range(1, 5)]
    fingerprints += [
        encoded(random_words(n, 30), other, random_words(n + 20, 9), seed=n) for n in range(5, 8)
    ]
    expected = list(find_matches(fingerprints))
    assert len(expected) >= 5
    monkeypatch.setattr(matching, "_POSTINGS_IN_MEMORY", in_memory)
    assert list(find_matches(fingerprints, scratch=tmp_path)) == expected
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("in_memory", [1, 10, 10_000])
def test_a_posting_buffer_returns_all_postings_sorted_by_word(
    tmp_path: Path, in_memory: int
) -> None:
    words = np.random.default_rng(0).integers(0, 50, 400).astype(np.uint64) << np.uint64(32)
    places = words | np.arange(400, dtype=np.uint64)
    with PostingBuffer(tmp_path, in_memory=in_memory) as postings:
        for part in np.split(places, [7, 7, 200]):
            postings.add(part)
        assert (postings.spilled_to is not None) == (in_memory < 400)
        parts = list(postings.partitions())
        again = list(postings.partitions())
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.sort(places))
    for part, same in zip(parts, again, strict=True):
        np.testing.assert_array_equal(part, np.sort(part))
        np.testing.assert_array_equal(part, same)
    found = [set((part >> np.uint64(32)).tolist()) for part in parts]
    assert sum(map(len, found)) == len(set.union(*found))  # no word is in two partitions


def test_votes_are_counted_over_all_partitions(tmp_path: Path) -> None:
    """One number gets four votes from words in different partitions; the others get one each."""
    places = np.arange(4000, dtype=np.uint64) << np.uint64(32) | np.arange(4000, dtype=np.uint64)

    def votes_of(part: NDArray[np.uint64]) -> NDArray[np.int64]:
        place = (part & np.uint64(0xFFFFFFFF)).astype(np.int64)
        return np.where(place % 1000 == 0, 77, 1_000_000 * (1 + place))

    with PostingBuffer(tmp_path, in_memory=500) as postings:
        postings.add(places)
        keys, counts = count_votes(postings, votes_of)
    assert dict(zip(keys.tolist(), counts.tolist(), strict=True))[77] == 4
    assert len(keys) < 100


@pytest.mark.parametrize("count", [65_536, 131_072, 65_536 + 1])
def test_very_frequent_votes_are_not_lost(tmp_path: Path, count: int) -> None:
    """Counters of 8 or 16 bits would wrap and drop these votes."""
    words = np.arange(count, dtype=np.uint64)
    with PostingBuffer(tmp_path, in_memory=1000) as postings:
        postings.add(words << np.uint64(32) | words)
        votes, counts = count_votes(postings, lambda part: np.full(len(part), 77, np.int64))
    assert (votes.tolist(), counts.tolist()) == ([77], [count])


@example([31, 31, 31, 32])  # blocks have 16 numbers here, so these are in two blocks
@example([32, 32, 32, 31])
@example([30, 31, 31, 32, 32, 33])
@given(st.lists(st.integers(0, 40), max_size=60))
@settings(max_examples=25, deadline=None)
def test_the_same_offsets_have_enough_votes_in_memory_and_on_disk(numbers: list[int]) -> None:
    """Votes of a neighboring offset count, also if that offset is in another block."""
    words = np.arange(len(numbers), dtype=np.uint64)

    def votes_of(part: NDArray[np.uint64]) -> NDArray[np.int64]:
        return np.array(numbers, np.int64)[(part & np.uint64(0xFFFFFFFF)).astype(np.int64)]

    def offsets(scratch: Path | None) -> list[tuple[int, int]]:
        with PostingBuffer(scratch, in_memory=1) as postings:
            postings.add(words << np.uint64(32) | words)
            votes, counts = count_votes(postings, votes_of)
        enough = matching._with_enough_votes(votes, counts)
        return list(zip(votes[enough].tolist(), counts[enough].tolist(), strict=True))

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "_BLOCK_BITS", 4)
        assert offsets(Path(folder)) == offsets(None)


def test_real_audio_is_found_in_another_encoding_and_only_there(media_root: Path) -> None:
    """The audio of a scene is inserted in another film: softer, at 64 kbit/s, at an odd sample."""
    films = media_root / "library"
    steel = films / "Movies/Tears of Steel (2012)/Tears of Steel (2012).webm"
    llama = films / "TV/Caminandes/Season 01/Caminandes - S01E03 - Llamigos.mp4"
    whole = read_audio(
        steel,
        timeline=read_timeline(steel),
        first_sample=0,
        num_samples=60 * RATE,
        sample_rate_hz=RATE,
    )
    other = read_audio(
        llama,
        timeline=read_timeline(llama),
        first_sample=0,
        num_samples=60 * RATE,
        sample_rate_hz=RATE,
    )
    begin, at, length = 21 * RATE + 117, 20 * RATE, 23 * RATE
    host = other.copy()
    host[at : at + length] = 0.4 * recoded(whole[begin : begin + length])

    def fingerprints(sound: WaveformArray) -> AudioFingerprint:
        return fingerprint_audio(reader_of(sound), num_samples=len(sound), sample_rate_hz=RATE)

    (match,) = find_matches([fingerprints(whole), fingerprints(host)])
    expected = begin / RATE, (begin + length) / RATE, 20.0
    assert seconds(match) == pytest.approx(expected, abs=0.5)
    assert list(find_matches([fingerprints(whole), fingerprints(other)])) == []
