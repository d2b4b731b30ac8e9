"""A file has one clock and one duration, wherever its timestamps begin and however they jump."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.media.coded_media import CodedFilm, audio_lag, bars, number_of, numbers_of, trim
from tests.media.test_audio_codecs import decode_in_order, write
from toomuchtv.catalog.probe import probe_file
from toomuchtv.media.clip_reader import iterate_audio, iterate_frames, read_audio, read_clip
from toomuchtv.media.extent import measure_extent
from toomuchtv.media.proxy_writer import ProxyFormat, write_proxy
from toomuchtv.media.timestamps import read_timeline

RATE = 25
TS = CodedFilm(
    suffix=".ts", video_codec="libx264", audio_codec="mp2", rate=Fraction(RATE), seconds=2.0,
    gop_size=10,
)  # fmt: skip
MKV = replace(TS, suffix=".mkv", audio_codec="aac")
MP4 = replace(MKV, suffix=".mp4", seconds=4.0, gop_size=30)
PS = replace(TS, suffix=".mpg", video_codec="mpeg2video", seconds=4.0, gop_size=12)


def at(film: CodedFilm, seconds: float) -> CodedFilm:
    start = Fraction(seconds)
    return replace(film, video_start=start, audio_start=start)


def joined(first: CodedFilm, second: CodedFilm, folder: Path) -> Path:
    """Write two films and join their bytes, as `cat` does."""
    path = folder / f"joined{first.suffix}"
    path.write_bytes(first.write(folder).read_bytes() + second.write(folder).read_bytes())
    return path


def raw(codec: str, suffix: str) -> Callable[[Path], Path]:
    """Return a function that writes video without a container, which has no timestamps."""

    def make(folder: Path) -> Path:
        path = folder / f"camera{suffix}"
        with av.open(str(path), "w") as file:
            video = file.add_stream(codec, rate=RATE, options={"x265-params": "log-level=none"})
            assert isinstance(video, av.VideoStream)
            video.width, video.height, video.pix_fmt = 96, 48, "yuv420p"
            for number in range(2 * RATE):
                frame = av.VideoFrame.from_ndarray(bars(number), format="rgb24")
                file.mux(video.encode(frame))
            file.mux(video.encode())
        return path

    return make


CLOCKS: dict[str, tuple[Callable[[Path], Path], float]] = {
    "ts from 0 s": (TS.write, 2.0),
    "ts from 1 h": (at(TS, 3600).write, 2.0),
    "mkv from 1 h": (at(MKV, 3600).write, 2.0),
    "mkv with short audio": (replace(MKV, seconds=8.0, audio_seconds=1.0).write, 8.0),
    "mp4 trimmed at its end": (lambda folder: trim(MP4.write(folder), 0.0, 1.6), 1.6),
    "mp4 trimmed at both ends": (lambda folder: trim(MP4.write(folder), 0.4, 2.0), 1.6),
    "vob": (replace(PS, suffix=".vob").write, 4.0),
    "vobs": (lambda folder: joined(PS, PS, folder), 8.0),
    "h264": (raw("libx264", ".h264"), 2.0),
    "hevc": (raw("libx265", ".hevc"), 2.0),
    "m2v": (raw("mpeg2video", ".m2v"), 2.0),
} | {
    f"joined from {first} s": (lambda folder, s=first: joined(at(TS, s), at(TS, 1), folder), 4.0)
    for first in (0, 30, 100, 3600)
}


@pytest.mark.parametrize("name", CLOCKS)
def test_the_duration_is_one_everywhere(name: str, tmp_path: Path) -> None:
    make, seconds = CLOCKS[name]
    path = make(tmp_path)
    probe = probe_file(path)
    assert probe.duration_seconds == pytest.approx(seconds, abs=1e-3)
    assert not probe.warnings
    assert measure_extent(path, "video") == (0.0, probe.duration_seconds)
    summary = write_proxy(path, tmp_path / "v.mp4", None, ProxyFormat(short_side=48))
    assert summary.duration_seconds == pytest.approx(probe.duration_seconds, abs=1e-6)
    assert not summary.video_damage
    frames = list(iterate_frames(path, timeline=read_timeline(path), frame_rate=RATE))
    assert len(frames) == round(seconds * RATE)
    for number in (0, 1, len(frames) // 2, len(frames) - 1):
        clip = read_clip(path, start_seconds=(number + 0.5) / RATE, frames=1, frame_rate=RATE)
        np.testing.assert_array_equal(clip.video[0], frames[number])


def test_the_audio_ends_with_its_last_packet(tmp_path: Path) -> None:
    short = replace(MKV, seconds=8.0, audio_seconds=1.0).write(tmp_path)
    assert measure_extent(short, "audio")[1] == pytest.approx(1.0, abs=0.05)
    # MP3 without a header: the bit rate of the beginning says nothing of the rest.
    parts = []
    for bit_rate in (32_000, 320_000):
        write(tmp_path / "part.mp3", "mp3", "libmp3lame", bit_rate=bit_rate, xing=False)
        parts.append((tmp_path / "part.mp3").read_bytes())
    song = tmp_path / "song.mp3"
    song.write_bytes(b"".join(parts))
    samples, rate = decode_in_order(song)
    begin, end = measure_extent(song, "audio")
    assert begin == 0
    assert end == pytest.approx(len(samples) / rate, abs=0.03)


@pytest.mark.parametrize("suffix", [".mpg", ".vob"])
def test_moments_of_mpeg_ps_are_exact(suffix: str, tmp_path: Path) -> None:
    """Several frames share one packet there, and one timestamp."""
    film = replace(PS, suffix=suffix)
    path = film.write(tmp_path)
    with av.open(str(path)) as file:
        shared = sum(packet.pos is None for packet in file.demux(video=0) if packet.size)
    assert shared > film.num_frames // 2  # else this tests nothing
    timeline = read_timeline(path)
    whole = np.concatenate(list(iterate_audio(path, timeline=timeline)))
    rng = np.random.default_rng(0)
    for number in [*rng.permutation(film.num_frames)[:12].tolist(), film.num_frames - 1]:
        clip = read_clip(path, start_seconds=(number + 0.5) / RATE, frames=1, audio_seconds=0.1)
        assert number_of(clip.video[0]) == number
        first = int(rng.integers(0, 3 * 16_000))
        heard = read_audio(
            path, timeline=timeline, first_sample=first, num_samples=8_000, sample_rate_hz=16_000
        )
        reference = whole[max(0, first - 800) : first + 8_800].astype(np.float64)
        reference = np.pad(reference, (max(0, 800 - first), 0))
        assert audio_lag(heard, np.resize(reference, 9_600), within=800)[0] == 0


def test_a_clip_with_a_clock_from_one_hour_has_its_audio(tmp_path: Path) -> None:
    path = at(TS, 3600).write(tmp_path)
    zero = TS.write(tmp_path)
    for film in (path, zero):
        heard = read_audio(
            film, timeline=read_timeline(film), first_sample=8_000, num_samples=8_000,
            sample_rate_hz=16_000,
        )  # fmt: skip
        expected = TS.audio_at(np.arange(7_200, 16_800) / 16_000)
        lag, correlation = audio_lag(heard, expected, within=800)
        assert abs(lag) <= 16
        assert correlation > 0.9
    (tracks,) = {len(probe_file(film).audio_tracks) for film in (path, zero)}
    assert tracks == 1


def test_frames_follow_each_other_across_a_join(tmp_path: Path) -> None:
    path = joined(at(TS, 100), at(TS, 1), tmp_path)
    clip = read_clip(path, start_seconds=1.8, frames=10, frame_rate=RATE, audio_seconds=0.1)
    assert numbers_of(clip.video) == [45, 46, 47, 48, 49, 0, 1, 2, 3, 4]
