"""Clips and proxies have the frames displayed at, and the audio of, the requested times."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.media.coded_media import CodedFilm, audio_lag, numbers_of
from toomuchtv.errors import MediaError, NoAudioError
from toomuchtv.media.clip import Clip, ClipFormat
from toomuchtv.media.clip_reader import read_audio, read_clip
from toomuchtv.media.containers import open_media
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.proxy_writer import ProxyFormat, write_proxy
from toomuchtv.media.timestamps import compute_timeline

NTSC_FILM = Fraction(24_000, 1001)
RATE_HZ = 16_000
PROXY_FORMAT = ProxyFormat(short_side=48, sample_rate_hz=RATE_HZ)
SEARCH = RATE_HZ // 5  # lags up to 0.2 s are looked for

MP4 = CodedFilm(suffix=".mp4", video_codec="libx264", audio_codec="aac", rate=Fraction(24))
MKV = replace(MP4, suffix=".mkv")
TS = replace(MP4, suffix=".ts", rate=Fraction(25))
MOV = replace(MP4, suffix=".mov", audio_codec="pcm_s16le", rate=Fraction(60))
WEBM = CodedFilm(suffix=".webm", video_codec="libvpx", audio_codec="libopus", rate=Fraction(25))
AVI = CodedFilm(suffix=".avi", video_codec="mpeg4", audio_codec="pcm_s16le", rate=Fraction(24))
LATE = {"audio_start": Fraction(3), "audio_seconds": 2.0, "seconds": 5.0}
VIDEO_LATE = {"video_start": Fraction(3, 2), "audio_seconds": 5.0}

FILMS = [
    replace(MP4, rate=NTSC_FILM, audio_rate_hz=44_100),
    MP4,
    replace(MP4, rate=Fraction(25), audio_codec="ac3"),
    replace(MP4, rate=Fraction(30), audio_codec="libmp3lame"),
    replace(MP4, rate=Fraction(60)),
    replace(MKV, rate=NTSC_FILM),
    replace(MKV, rate=Fraction(30), audio_codec="flac", audio_rate_hz=44_100),
    TS,
    replace(TS, rate=NTSC_FILM, video_codec="mpeg2video", audio_codec="ac3"),
    MOV,
    replace(MOV, rate=Fraction(24), audio_codec="alac", audio_rate_hz=44_100),
    WEBM,
    replace(WEBM, rate=Fraction(30), audio_codec="vorbis", audio_rate_hz=44_100),
    AVI,
    replace(AVI, rate=NTSC_FILM, audio_rate_hz=44_100),
    replace(AVI, rate=Fraction(60)),
    *(replace(film, **LATE) for film in (MP4, MKV, TS, MOV, WEBM)),  # type: ignore[arg-type]
    *(replace(film, **VIDEO_LATE) for film in (MP4, MKV, TS, MOV, WEBM)),  # type: ignore[arg-type]
]

Make = Callable[[CodedFilm], "Made"]


class Made:
    """A film on disk with its proxy."""

    def __init__(self, film: CodedFilm, folder: Path) -> None:
        self.film = film
        self.path = film.write(folder)
        self.video_path, self.audio_path = folder / "v.mp4", folder / "a.mp4"
        self.summary = write_proxy(self.path, self.video_path, self.audio_path, PROXY_FORMAT)

    def reader(self) -> ProxyReader:
        return ProxyReader(self.video_path, self.audio_path, frame_rate=8.0, sample_rate_hz=RATE_HZ)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    made: dict[CodedFilm, Made] = {}

    def make_once(film: CodedFilm) -> Made:
        if film not in made:
            made[film] = Made(film, tmp_path_factory.mktemp("film"))
        return made[film]

    return make_once


def clear_of_boundaries(film: CodedFilm, start: Fraction, clip_format: ClipFormat) -> Fraction:
    """Return a start near this one from which no requested time is within 2 ms of a frame boundary.

    Containers round times to a millisecond, so that nearer to a boundary both frames are right.
    Other tests request times that are exactly on a boundary.
    """
    margin = Fraction(2, 1000)
    while True:
        wanted = [
            start + Fraction(i) / Fraction(clip_format.frame_rate)
            for i in range(clip_format.frames)
        ]
        phases = [(at * film.rate) % 1 / film.rate for at in wanted]
        if all(margin < phase < 1 / film.rate - margin for phase in phases):
            return start
        start += Fraction(1, 10_000)


def expected_audio(
    film: CodedFilm, first_sample: int, num_samples: int, rate_hz: int = RATE_HZ, around: int = 0
) -> NDArray[np.float64]:
    """Return the audio by formula, with `around` further samples at either end."""
    index = np.arange(first_sample - around, first_sample + num_samples + around)
    return film.audio_at(index / rate_hz)


def check_audio(film: CodedFilm, heard: NDArray[np.float32], first_sample: int) -> float:
    """Assert that this is the audio from `first_sample` on; return its offset in milliseconds."""
    reference = expected_audio(film, first_sample, len(heard), around=SEARCH)
    lag, correlation = audio_lag(heard, reference, within=SEARCH)
    assert correlation > 0.9, f"this is other audio (correlation {correlation:.3f})"
    assert abs(lag) / RATE_HZ <= 0.010, f"the audio is {1000 * lag / RATE_HZ:.1f} ms late"
    return 1000 * lag / RATE_HZ


@pytest.mark.parametrize("film", FILMS, ids=str)
def test_clips_have_the_frames_and_audio_of_their_time(make: Make, film: CodedFilm) -> None:
    clip_format = ClipFormat(frames=6, audio_seconds=0.8)
    begin = Fraction(3) if film.audio_start else Fraction(0)
    made = make(film)
    for offset in (Fraction(0), Fraction(17, 100), Fraction(1), Fraction(123, 100)):
        start = clear_of_boundaries(film, begin + offset, clip_format)
        if start + Fraction(11, 10) > Fraction(film.seconds):
            continue
        clip = read_clip(made.path, start_seconds=float(start), frames=6, audio_seconds=0.8)
        wanted = [film.frame_at(start + Fraction(i, 8)) for i in range(6)]
        assert numbers_of(clip.video) == wanted
        # The audio is centered on the middle of the span of the frames.
        middle = float(start) + 6 / 8 / 2
        first_sample = round((middle - 0.8 / 2) * RATE_HZ)
        check_audio(film, clip.waveform, first_sample)


@pytest.mark.parametrize("film", FILMS, ids=str)
def test_proxies_have_the_frames_and_audio_of_their_time(make: Make, film: CodedFilm) -> None:
    made = make(film)
    assert made.summary.damaged_packets == 0
    assert abs(made.summary.num_frames / 8 - film.seconds) <= 1 / 8
    reader = made.reader()
    frames = reader.read_rgb(first_frame=0, frames=made.summary.num_frames)
    for index, shown in enumerate(numbers_of(frames)):
        at = Fraction(index, 8)
        # Both frames are right if the boundary is within the rounding of timestamps.
        near = {
            film.frame_at(max(at + d, Fraction(0)))
            for d in (-Fraction(2, 1000), 0, Fraction(2, 1000))
        }
        assert shown in near, f"frame {index}"
        if film.rate.denominator == 1:
            assert shown == film.frame_at(at), f"frame {index}"
    begin = 3 if film.audio_start else 1
    heard = reader.read_waveform(first_sample=begin * RATE_HZ, num_samples=RATE_HZ)
    check_audio(film, heard, begin * RATE_HZ)
    reader.close()


@pytest.mark.parametrize("film", FILMS, ids=str)
def test_audio_of_proxies_equals_the_original_to_the_sample(make: Make, film: CodedFilm) -> None:
    made = make(film)
    reader = made.reader()
    with open_media(made.path) as container:
        timeline = compute_timeline(container)
    begin = round((3.2 if film.audio_start else 1.3) * RATE_HZ)
    from_proxy = reader.read_waveform(first_sample=begin, num_samples=RATE_HZ)
    reader.close()
    # Read from the beginning, both count the same samples.
    whole = read_audio(
        made.path, first_sample=0, num_samples=begin + RATE_HZ, sample_rate_hz=RATE_HZ,
        timeline=timeline,
    )[begin:]  # fmt: skip
    assert np.abs(whole - from_proxy).max() <= 1.01 / 32768
    # Read from the middle, they agree to a sample. In Matroska they agree to 1 ms, to which its
    # timestamps are rounded.
    there = read_audio(
        made.path, first_sample=begin, num_samples=RATE_HZ, sample_rate_hz=RATE_HZ,
        timeline=timeline,
    )  # fmt: skip
    wide = made.reader()
    around = wide.read_waveform(first_sample=begin - 100, num_samples=RATE_HZ + 200)
    wide.close()
    lag, correlation = audio_lag(there, around.astype(np.float64), within=100)
    assert correlation > 0.95
    assert abs(lag) <= (RATE_HZ // 1000 if film.suffix in {".mkv", ".webm"} else 1)


@pytest.mark.parametrize("film", [MP4, MKV, WEBM, TS, AVI, MOV], ids=str)
def test_exact_frame_boundaries_belong_to_the_new_frame(make: Make, film: CodedFilm) -> None:
    rate = float(film.rate)
    for number in (0, 1, 17, 48, film.num_frames - 5):
        clip = read_clip(
            make(film).path, start_seconds=number / rate, frames=4, frame_rate=rate,
            audio_seconds=0.1,
        )  # fmt: skip
        assert numbers_of(clip.video) == [number + i for i in range(4)]


@pytest.mark.parametrize("film", [MP4, MKV, WEBM, TS, AVI, MOV], ids=str)
def test_random_access_equals_sequential(make: Make, film: CodedFilm) -> None:
    made = make(film)
    whole = read_clip(
        made.path, frames=32, frame_rate=8.0, audio_seconds=film.seconds, sample_rate_hz=RATE_HZ
    )
    rng = np.random.default_rng(0)
    reader = made.reader()
    sequential = reader.read_rgb(first_frame=0, frames=made.summary.num_frames)
    everything = reader.read_waveform(first_sample=0, num_samples=made.summary.num_samples)
    for first in rng.permutation(28)[:6].tolist():
        part = read_clip(made.path, start_seconds=first / 8, frames=4, audio_seconds=0.1)
        np.testing.assert_array_equal(part.video, whole.video[first : first + 4])
        np.testing.assert_array_equal(
            reader.read_rgb(first_frame=first, frames=4), sequential[first : first + 4]
        )
        at, count = int(rng.integers(0, 50_000)), int(rng.integers(1, 10_000))
        np.testing.assert_array_equal(
            reader.read_waveform(first_sample=at, num_samples=count), everything[at : at + count]
        )
    reader.close()


@pytest.mark.parametrize("film", [MP4, WEBM, AVI, TS], ids=str)
def test_silence_before_and_after_the_track(make: Make, film: CodedFilm) -> None:
    made = make(film)
    reader = made.reader()
    with open_media(made.path) as container:
        timeline = compute_timeline(container)

    def original(first_sample: int, num_samples: int) -> NDArray[np.float32]:
        try:
            return read_audio(
                made.path, first_sample=first_sample, num_samples=num_samples,
                sample_rate_hz=RATE_HZ, timeline=timeline,
            )  # fmt: skip
        except NoAudioError:
            return np.zeros(num_samples, np.float32)

    def proxy(first_sample: int, num_samples: int) -> NDArray[np.float32]:
        return reader.read_waveform(first_sample=first_sample, num_samples=num_samples)

    end = round(film.seconds * RATE_HZ)
    for read in (original, proxy):
        assert not read(-9000, 8000).any()
        assert not read(end + RATE_HZ, 4000).any()  # the last block of a codec may be longer
        assert not read(end + 60 * RATE_HZ, 100).any()
        straddling = read(-4000, 8000)
        assert np.abs(straddling[:3000]).max() < 0.01
        assert audio_lag(straddling[4000:], expected_audio(film, 0, 4000, around=80), within=80)[
            0
        ] in range(-16, 17)
        last = read(end - 4000, 8000 + RATE_HZ)
        assert np.abs(last[:3900]).max() > 0.2
        assert not last[8000:].any()
    reader.close()


@pytest.mark.parametrize("film", [f for f in FILMS if f.audio_start], ids=str)
def test_a_late_track_is_zero_until_it_starts(make: Make, film: CodedFilm) -> None:
    made = make(film)
    clip = read_clip(
        made.path, start_seconds=2.0, frames=16, audio_seconds=2.0
    )  # audio from 2 to 4 s
    first_audible = np.flatnonzero(np.abs(clip.waveform) > 0.05)[0] / RATE_HZ
    assert first_audible == pytest.approx(1.0, abs=0.011)
    reader = made.reader()
    heard = reader.read_waveform(first_sample=2 * RATE_HZ, num_samples=2 * RATE_HZ)
    reader.close()
    assert np.flatnonzero(np.abs(heard) > 0.05)[0] / RATE_HZ == pytest.approx(1.0, abs=0.011)
    assert not heard[: round(0.9 * RATE_HZ)].any()


def test_the_last_frame_is_held_and_later_starts_are_refused(make: Make) -> None:
    made = make(MP4)
    last = MP4.num_frames - 1
    clip = read_clip(made.path, start_seconds=(last + 0.5) / 24, frames=5, audio_seconds=0.1)
    assert numbers_of(clip.video) == [last] * 5
    with pytest.raises(MediaError, match=r"no frame at 4\.500 s: the video ends before"):
        read_clip(made.path, start_seconds=4.5, frames=1)
    with pytest.raises(ValueError, match="start_seconds must be at least 0 and finite, got -1"):
        read_clip(made.path, start_seconds=-1)


@pytest.mark.parametrize("frames", [1, 7, 16])
@pytest.mark.parametrize("audio_seconds", [0.25, 1.0, 3.001])
def test_audio_is_centered_on_the_frames(frames: int, audio_seconds: float) -> None:
    clip_format = ClipFormat(frames=frames, frame_rate=8.0, audio_seconds=audio_seconds)
    for start_seconds in (0.0, 0.125, 1.7, 3600.04):
        first = clip_format.audio_start_sample(start_seconds)
        middle_of_audio = (first + clip_format.num_samples / 2) / clip_format.sample_rate_hz
        middle_of_span = start_seconds + frames / 8.0 / 2
        assert abs(middle_of_audio - middle_of_span) <= 1 / clip_format.sample_rate_hz


def test_repr_of_a_clip_shows_shapes() -> None:
    clip = Clip(
        video=np.zeros((2, 4, 6, 3), np.uint8), waveform=np.zeros(5, np.float32), start_seconds=1.5
    )
    assert repr(clip) == "Clip(video=uint8[2, 4, 6, 3], waveform=float32[5], start_seconds=1.500)"


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="no scheduling policies here")
def test_writing_a_film_leaves_no_thread_with_real_time_priority(tmp_path: Path) -> None:
    CodedFilm(
        suffix=".mkv", video_codec="libsvtav1", audio_codec="flac", rate=Fraction(24), seconds=1.0
    ).write(tmp_path)
    policies = {os.sched_getscheduler(int(one)) for one in os.listdir("/proc/self/task")}
    assert policies == {os.SCHED_OTHER}
