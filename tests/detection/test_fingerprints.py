"""Laws of audio fingerprints: copies have nearly the same one, and silence is not distinctive."""

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
from toomuchtv.media.timestamps import read_timeline

RATE = 16_000


def fingerprint_of(sound: WaveformArray, rate: int = RATE) -> AudioFingerprint:
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
    """Return the audio after encoding with AAC, without the delay of the encoder."""
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
    """Read forty seconds of the music and effects of a film."""
    path = media_root / "library/Movies/Big Buck Bunny (2008)/Big Buck Bunny (2008).mp4"
    return read_audio(
        path,
        timeline=read_timeline(path),
        first_sample=100 * RATE,
        num_samples=40 * RATE,
        sample_rate_hz=RATE,
    )


@pytest.fixture(scope="module")
def other_film(media_root: Path) -> WaveformArray:
    path = media_root / "library/TV/Caminandes/Season 01/Caminandes - S01E03 - Llamigos.mp4"
    return read_audio(
        path,
        timeline=read_timeline(path),
        first_sample=60 * RATE,
        num_samples=40 * RATE,
        sample_rate_hz=RATE,
    )


def reference_bits(sound: WaveformArray, number: int) -> NDArray[np.bool_]:
    """Compute one word by the paper's equation, directly from the audio in double precision."""

    def energies(index: int) -> NDArray[np.float64]:
        size = round(0.384 * RATE)
        begin = round(index / FINGERPRINT_RATE_HZ * RATE) - size // 2
        part = sound[begin : begin + size].astype(np.float64) * np.hanning(size)
        power = np.abs(np.fft.rfft(part)) ** 2
        hz = np.fft.rfftfreq(size, 1 / RATE)
        edges = 300 * (2000 / 300) ** (np.arange(34) / 33)
        # Edges are rounded to bins of 2.6 Hz; the narrowest band has 18 Hz.
        bins = np.round(edges / hz[1]).astype(int)
        return np.array([power[a:b].sum() for a, b in pairwise(bins)])

    slope = np.diff(energies(number)) - np.diff(energies(number - 4))
    return np.asarray(slope < 0)


def test_words_are_those_of_the_papers_equation(film: WaveformArray) -> None:
    fingerprint = fingerprint_of(film)
    agree = []
    for number in range(20, len(fingerprint) - 20, 41):
        bits = np.array([fingerprint.words[number] >> (31 - bit) & 1 for bit in range(WORD_BITS)])
        agree.append(bits == reference_bits(film, number))
    # Filtering and rounding only change bits whose two sides are nearly equal.
    assert np.mean(agree) > 0.985


def test_gain_does_not_change_the_fingerprint(film: WaveformArray) -> None:
    fingerprint = fingerprint_of(film)
    np.testing.assert_array_equal(fingerprint_of(np.float32(0.125) * film).words, fingerprint.words)
    assert bit_errors(fingerprint_of(np.float32(0.3) * film), fingerprint) < 0.001


@pytest.mark.parametrize("offset", [0, 250])
def test_another_encoding_changes_few_bits(
    film: WaveformArray, other_film: WaveformArray, offset: int
) -> None:
    """The worst offset is half a word, which is 250 samples."""
    fingerprint = fingerprint_of(film)
    copy = fingerprint_of(np.float32(0.5) * recoded(film)[offset:])
    assert bit_errors(copy, fingerprint) < 0.12
    assert 0.4 < bit_errors(fingerprint_of(other_film), fingerprint) < 0.6


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_every_sample_rate_gives_the_same_fingerprint(
    media_root: Path, film: WaveformArray, rate: int
) -> None:
    path = media_root / "library/Movies/Big Buck Bunny (2008)/Big Buck Bunny (2008).mp4"
    sound = read_audio(
        path,
        timeline=read_timeline(path),
        first_sample=100 * rate,
        num_samples=10 * rate,
        sample_rate_hz=rate,
    )
    assert bit_errors(fingerprint_of(sound, rate), fingerprint_of(film)) < 0.03


def test_blocks_do_not_change_the_fingerprint(film: WaveformArray) -> None:
    """Blocks have 32 s, so audio that begins 24 s later has other blocks."""
    late = fingerprint_of(film[24 * RATE :])  # 24 s are a whole number of decimated samples
    whole = fingerprint_of(film)
    np.testing.assert_array_equal(late.words[12:], whole.words[24 * FINGERPRINT_RATE_HZ + 12 :])
    np.testing.assert_array_equal(late.level_dbfs, whole.level_dbfs[24 * FINGERPRINT_RATE_HZ :])


def test_level_is_in_decibels_of_full_scale() -> None:
    time = np.arange(4 * RATE) / RATE
    tone = np.sin(2 * np.pi * 640 * time).astype(np.float32)
    tone[2 * RATE :] *= 0.001
    level = fingerprint_of(tone).level_dbfs
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
def test_silence_tones_and_noise_floors_are_not_distinctive(sound: WaveformArray) -> None:
    assert (
        not fingerprint_of(sound).is_distinctive[2 * FINGERPRINT_RATE_HZ :].any()
    )  # the start of the audio is a change


def test_films_are_distinctive(film: WaveformArray, other_film: WaveformArray) -> None:
    assert fingerprint_of(film).is_distinctive.mean() > 0.7
    assert fingerprint_of(other_film).is_distinctive.mean() > 0.9


@pytest.mark.parametrize("num_samples", [0, 1, 499, 500, 501, 5_000])
def test_short_audio_has_a_short_fingerprint(num_samples: int) -> None:
    sound = np.random.default_rng(1).normal(0, 0.1, num_samples).astype(np.float32)
    fingerprint = fingerprint_of(sound)
    assert len(fingerprint) == num_samples * FINGERPRINT_RATE_HZ // RATE
    assert len(fingerprint.level_dbfs) == len(fingerprint.is_distinctive) == len(fingerprint)


@given(st.lists(st.floats(-1e3, 1e3), max_size=40), st.integers(1, 50))
def test_running_mean_is_the_mean_of_the_entries_that_exist(
    values: list[float], width: int
) -> None:
    found = running_mean(np.array(values, np.float64), width)
    for at in range(len(values)):
        begin = max(at - width // 2, 0)
        part = values[begin : max(at - width // 2 + width, 0)]
        assert found[at] == pytest.approx(np.mean(part) if part else 0.0, abs=1e-6)
