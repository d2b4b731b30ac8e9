"""Laws of sound prints: the same for a copy however coded, and silent about silence."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from toomuchtv.detection.fingerprints import (
    FINGERPRINT_RATE_HZ,
    WORD_BITS,
    AudioFingerprint,
    fingerprint_audio,
    running_mean,
)
from toomuchtv.media.clip import WaveformArray
from toomuchtv.media.clip_reader import read_audio

RATE = 16_000


def prints_of(sound: WaveformArray, rate: int = RATE) -> AudioFingerprint:
    return fingerprint_audio(reader_of(sound), num_samples=len(sound), sample_rate_hz=rate)


def reader_of(sound: WaveformArray) -> Callable[[int, int], WaveformArray]:
    def read(first: int, count: int) -> WaveformArray:
        out = np.zeros(count, np.float32)
        begin, stop = max(first, 0), min(first + count, len(sound))
        if begin < stop:
            out[begin - first : stop - first] = sound[begin:stop]
        return out

    return read


def bit_errors(one: AudioFingerprint, other: AudioFingerprint) -> float:
    count = min(len(one), len(other))
    wrong = np.bitwise_count(one.words[:count] ^ other.words[:count])
    return float(wrong.mean()) / WORD_BITS


def recoded(sound: WaveformArray, *, bit_rate: int = 64_000) -> WaveformArray:
    """The sound after AAC, without the encoder's delay."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        stream.bit_rate = bit_rate
        for first in range(0, len(sound), 1024):
            part = np.ascontiguousarray(sound[None, first : first + 1024])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as coded:
        frames = [frame for frame in coded.decode(audio=0) if (frame.pts or 0) >= 0]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])[: len(sound)]


@pytest.fixture(scope="module")
def film(media_root: Path) -> WaveformArray:
    """Forty seconds of a film's music and effects."""
    path = media_root / "library/Movies/Big Buck Bunny (2008)/Big Buck Bunny (2008).mp4"
    return read_audio(path, first_sample=100 * RATE, num_samples=40 * RATE, sample_rate_hz=RATE)


@pytest.fixture(scope="module")
def other_film(media_root: Path) -> WaveformArray:
    path = media_root / "library/TV/Caminandes/Season 01/Caminandes - S01E03 - Llamigos.mp4"
    return read_audio(path, first_sample=60 * RATE, num_samples=40 * RATE, sample_rate_hz=RATE)


def reference_bits(sound: WaveformArray, number: int) -> NDArray[np.bool_]:
    """The paper's equation for one word: straight from the sound, in double precision."""

    def energies(index: int) -> NDArray[np.float64]:
        size = round(0.384 * RATE)
        begin = round(index / FINGERPRINT_RATE_HZ * RATE) - size // 2
        part = sound[begin : begin + size].astype(np.float64) * np.hanning(size)
        power = np.abs(np.fft.rfft(part)) ** 2
        hz = np.fft.rfftfreq(size, 1 / RATE)
        edges = 300 * (2000 / 300) ** (np.arange(34) / 33)
        # The nearest bin to each edge: bands are 18 Hz wide at the least, bins 2.6.
        bins = np.round(edges / hz[1]).astype(int)
        return np.array([power[a:b].sum() for a, b in pairwise(bins)])

    slope = np.diff(energies(number)) - np.diff(energies(number - 4))
    return np.asarray(slope < 0)


def test_words_are_those_of_the_paper(film: WaveformArray) -> None:
    prints = prints_of(film)
    agree = []
    for number in range(20, len(prints) - 20, 41):
        bits = np.array([prints.words[number] >> (31 - bit) & 1 for bit in range(WORD_BITS)])
        agree.append(bits == reference_bits(film, number))
    # Filtering and rounding turn the bits that hang in the balance, and no others.
    assert np.mean(agree) > 0.985


def test_gain_changes_nothing(film: WaveformArray) -> None:
    prints = prints_of(film)
    np.testing.assert_array_equal(prints_of(np.float32(0.125) * film).words, prints.words)
    assert bit_errors(prints_of(np.float32(0.3) * film), prints) < 0.001


@pytest.mark.parametrize("offset", [0, 250])
def test_another_encode_turns_few_bits(
    film: WaveformArray, other_film: WaveformArray, offset: int
) -> None:
    """Half a word of offset, 250 samples, is the worst."""
    prints = prints_of(film)
    copy = prints_of(np.float32(0.5) * recoded(film)[offset:])
    assert bit_errors(copy, prints) < 0.12
    assert 0.4 < bit_errors(prints_of(other_film), prints) < 0.6


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_any_rate_gives_the_same_prints(media_root: Path, film: WaveformArray, rate: int) -> None:
    path = media_root / "library/Movies/Big Buck Bunny (2008)/Big Buck Bunny (2008).mp4"
    sound = read_audio(path, first_sample=100 * rate, num_samples=10 * rate, sample_rate_hz=rate)
    assert bit_errors(prints_of(sound, rate), prints_of(film)) < 0.03


def test_blocks_leave_no_seam(film: WaveformArray) -> None:
    """Prints are made in blocks of 32 s; a sound that begins 24 s later has other blocks."""
    late = prints_of(film[24 * RATE :])  # 24 s are a whole number of samples kept
    whole = prints_of(film)
    np.testing.assert_array_equal(late.words[12:], whole.words[24 * FINGERPRINT_RATE_HZ + 12 :])
    np.testing.assert_array_equal(late.level_dbfs, whole.level_dbfs[24 * FINGERPRINT_RATE_HZ :])


def test_level_is_in_decibels_of_full_scale() -> None:
    time = np.arange(4 * RATE) / RATE
    tone = np.sin(2 * np.pi * 640 * time).astype(np.float32)
    tone[2 * RATE :] *= 0.001
    level = prints_of(tone).level_dbfs
    assert set(level[: 2 * FINGERPRINT_RATE_HZ]) == {-3}
    assert set(level[2 * FINGERPRINT_RATE_HZ :]) == {-63}


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(8 * RATE, np.float32),
        (0.3 * np.sin(2 * np.pi * 440 * np.arange(8 * RATE) / RATE)).astype(np.float32),
        np.random.default_rng(0).normal(0, 3e-4, 8 * RATE).astype(np.float32),
    ],
    ids=["digital silence", "a steady tone", "room tone"],
)
def test_what_says_nothing_is_not_telling(sound: WaveformArray) -> None:
    assert (
        not prints_of(sound).is_distinctive[2 * FINGERPRINT_RATE_HZ :].any()
    )  # its beginning is a change


def test_films_are_telling(film: WaveformArray, other_film: WaveformArray) -> None:
    assert prints_of(film).is_distinctive.mean() > 0.7
    assert prints_of(other_film).is_distinctive.mean() > 0.9


@pytest.mark.parametrize("num_samples", [0, 1, 499, 500, 501, 5_000])
def test_short_sounds_have_short_prints(num_samples: int) -> None:
    sound = np.random.default_rng(1).normal(0, 0.1, num_samples).astype(np.float32)
    prints = prints_of(sound)
    assert len(prints) == num_samples * FINGERPRINT_RATE_HZ // RATE
    assert len(prints.level_dbfs) == len(prints.is_distinctive) == len(prints)


@given(st.lists(st.floats(-1e3, 1e3), max_size=40), st.integers(1, 50))
def test_running_mean_is_the_mean_of_what_is_there(values: list[float], width: int) -> None:
    found = running_mean(np.array(values, np.float64), width)
    for at in range(len(values)):
        begin = max(at - width // 2, 0)
        part = values[begin : max(at - width // 2 + width, 0)]
        assert found[at] == pytest.approx(np.mean(part) if part else 0.0, abs=1e-6)
