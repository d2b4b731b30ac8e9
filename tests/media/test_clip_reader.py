"""Reading a whole file once gives what reading its parts gives."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.media.coded_media import CodedFilm, numbers_of
from tests.media_files import write_audio_file, write_film
from toomuchtv.errors import MediaError, NoAudioError
from toomuchtv.media.clip_reader import iterate_audio, iterate_frames, read_audio, read_clip
from toomuchtv.media.containers import open_media
from toomuchtv.media.extent import measure_extent
from toomuchtv.media.proxy_writer import ProxyFormat, write_audio_proxy, write_proxy
from toomuchtv.media.timestamps import Timeline, compute_timeline, read_timeline

MP4 = CodedFilm(
    suffix=".mp4", video_codec="libx264", audio_codec="flac", rate=Fraction(24), seconds=3.0
)
TS = replace(MP4, suffix=".ts", audio_codec="ac3", rate=Fraction(25), video_start=Fraction(1))
AVI = replace(MP4, suffix=".avi", video_codec="mpeg4", audio_codec="pcm_s16le")
FILMS = [MP4, TS, AVI]


@pytest.mark.parametrize("film", FILMS, ids=str)
@pytest.mark.parametrize("frame_rate", [8.0, 30.0])
def test_iterated_frames_are_those_of_clips_and_proxies(
    tmp_path: Path, film: CodedFilm, frame_rate: float
) -> None:
    path = film.write(tmp_path)
    frames = list(iterate_frames(path, timeline=read_timeline(path), frame_rate=frame_rate))
    times = [Fraction(index) / Fraction(frame_rate) for index in range(len(frames))]
    assert numbers_of(np.stack(frames)) == [film.frame_at(time) for time in times]
    for first in (0, 5, len(frames) - 4):
        clip = read_clip(path, start_seconds=first / frame_rate, frames=4, frame_rate=frame_rate)
        np.testing.assert_array_equal(clip.video, np.stack(frames[first : first + 4]))
    proxy_format = ProxyFormat(frame_rate=frame_rate, short_side=48)
    summary = write_proxy(path, tmp_path / "v.mp4", None, proxy_format)
    assert len(frames) == summary.num_frames


@pytest.mark.parametrize("film", FILMS, ids=str)
@pytest.mark.parametrize("sample_rate_hz", [16_000, 22_050])
def test_iterated_audio_is_the_whole_track_in_equal_blocks(
    tmp_path: Path, film: CodedFilm, sample_rate_hz: int
) -> None:
    path = film.write(tmp_path)
    blocks = list(
        iterate_audio(
            path, timeline=read_timeline(path), sample_rate_hz=sample_rate_hz, block_seconds=0.5
        )
    )
    assert {len(block) for block in blocks[:-1]} == {round(0.5 * sample_rate_hz)}
    whole = np.concatenate(blocks)
    with open_media(path) as container:
        timeline = compute_timeline(container)
    reference = read_audio(
        path, first_sample=0, num_samples=len(whole), sample_rate_hz=sample_rate_hz,
        timeline=timeline,
    )  # fmt: skip
    np.testing.assert_array_equal(whole, reference)
    stop = film.seconds - float(film.video_start)
    assert len(whole) / sample_rate_hz == pytest.approx(stop, abs=0.06)


def test_audio_is_iterated_without_video_and_video_without_audio(tmp_path: Path) -> None:
    song = write_audio_file(tmp_path / "song.m4a", seconds=1.0)
    assert sum(map(len, iterate_audio(song, timeline=read_timeline(song)))) == pytest.approx(
        16_000, abs=1100
    )
    with pytest.raises(MediaError, match="no video stream"):
        next(iterate_frames(song, timeline=read_timeline(song)))
    silent = write_film(tmp_path / "silent.mp4", seconds=0.5, languages=())
    assert list(iterate_audio(silent, timeline=read_timeline(silent))) == []
    assert next(iterate_frames(silent, timeline=read_timeline(silent), short_side=24)).shape == (
        24,
        32,
        3,
    )


def test_a_missing_audio_track_is_named_and_leaves_no_other_error(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", seconds=0.5)
    missing = r"cannot make a proxy of .*film\.mp4': no audio track 3: the file has 0 "
    with pytest.raises(MediaError, match=missing):
        write_proxy(film, tmp_path / "v.mp4", tmp_path / "a.mp4", ProxyFormat(), audio_track=3)
    with pytest.raises(MediaError, match="no audio track 1: the file has 0 "):
        write_audio_proxy(film, tmp_path / "b.mp4", ProxyFormat(), audio_track=1, num_samples=8_000)
    with pytest.raises(ValueError, match="audio_track must be at least 0, got -1"):
        read_clip(film, frames=1, audio_track=-1)
    with pytest.raises(MediaError, match=r"cannot read '.*silent\.mp4': it has no audio"):
        measure_extent(write_film(tmp_path / "silent.mp4", seconds=0.5, languages=()), "audio")


@pytest.mark.parametrize("start_seconds", [-1.0, float("inf"), float("nan")])
def test_impossible_starts_are_refused(tmp_path: Path, start_seconds: float) -> None:
    film = write_film(tmp_path / "film.mp4", seconds=0.5)
    with pytest.raises(ValueError, match=f"at least 0 and finite, got {start_seconds}"):
        read_clip(film, start_seconds=start_seconds, frames=1)


def test_iteration_refuses_impossible_values(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frame_rate must be positive, got 0"):
        next(iterate_frames(tmp_path / "a.mp4", timeline=Timeline(), frame_rate=0))
    with pytest.raises(ValueError, match="at least 0, got 0 and 10"):
        read_audio(
            tmp_path / "a.mp4",
            timeline=Timeline(),
            first_sample=0,
            num_samples=10,
            sample_rate_hz=0,
        )
    with pytest.raises(ValueError, match="block_seconds must be at least one sample, got 0"):
        next(iterate_audio(tmp_path / "a.mp4", timeline=Timeline(), block_seconds=0))


def test_nothing_is_told_from_silence(tmp_path: Path) -> None:
    film = CodedFilm(
        suffix=".mp4", video_codec="mpeg4", audio_codec="flac", rate=Fraction(24), seconds=2.0,
        audio_seconds=1.0,
    ).write(tmp_path)  # fmt: skip
    timeline = read_timeline(film)
    silent = write_film(tmp_path / "silent.mp4", seconds=0.5, languages=())
    for path, first_sample in ((film, 20_000), (film, -8_000), (silent, 0)):
        with pytest.raises(NoAudioError):
            read_audio(
                path, timeline=read_timeline(path), first_sample=first_sample, num_samples=8_000,
                sample_rate_hz=16_000,
            )  # fmt: skip
    assert not read_clip(film, start_seconds=1.5, frames=1, audio_seconds=0.2).waveform.any()
    ends_here = read_audio(
        film, timeline=timeline, first_sample=12_000, num_samples=8_000, sample_rate_hz=16_000
    )
    assert ends_here[:3_900].any()
    assert not ends_here[4_100:].any()


@pytest.mark.parametrize("reader", [read_audio, iterate_audio, iterate_frames])
def test_no_reader_can_be_called_without_a_timeline(reader: Callable[..., object]) -> None:
    parameter = inspect.signature(reader).parameters["timeline"]
    assert parameter.default is inspect.Parameter.empty
