"""Clips are exact in usual and in hard combinations of container and codec.

The cases are those of `python -m benchmarks.sync`, which has more and prints the offsets.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import InputContainer
from av.video.stream import VideoStream

from tests.media.coded_media import CodedFilm, numbers_of
from tests.media.sync_cases import Case, hard_cases, measure, missing, usual_cases
from toomuchtv.catalog.probe import probe_file
from toomuchtv.errors import MediaError
from toomuchtv.media.clip_reader import read_audio, read_clip
from toomuchtv.media.containers import find_video_stream, open_media
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.proxy_writer import ProxyFormat, write_proxy
from toomuchtv.media.timestamps import compute_timeline, read_timeline

USUAL = {
    "mp4_x265_eac3_10bit_23_976",
    "mp4_vpxvp9_opus_25",
    "fragmented_mp4_x264_aac_24",
    "fragmented_mp4_x264_opus_29_97",
    "mkv_vpxvp9_vorbis_50",
    "mkv_prores_ks_pcm_s16le_10bit_24",
    "ts_x265_eac3_10bit_25",
    "wmv_wmv2_wmav2_25",
    "mov_x265_aac_29_97",
}
# Another container tests the same; the benchmark has these.
SLOW = {
    *(
        f"{name}_{kind}"
        for name in ("audio_later", "video_later")
        for kind in ("mp4", "mkv", "webm")
    ),
    *(f"variable_rate_{kind}" for kind in ("mkv", "webm")),
    *(f"open_gop_{codec}_{kind}" for codec in ("h264", "hevc") for kind in ("mp4", "mkv")),
    "starts_after_hours_mkv",
    "open_gop_mpeg2_mkv",
    "clock_jumps_back_ts",
}
HARD = {case.name: case for case in hard_cases()}
CASES = [
    *(case for case in usual_cases() if case.name in USUAL),
    *(case for name, case in HARD.items() if name not in SLOW),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_frames_and_audio_are_those_of_the_requested_time(case: Case, tmp_path: Path) -> None:
    lacking = missing(case)
    if lacking is not None:
        pytest.skip(lacking)
    offsets = measure(case, tmp_path)
    assert not offsets.failure
    assert offsets.worst_frame == 0
    assert offsets.worst_audio_ms <= 2


@pytest.mark.parametrize(
    "name", ["clock_jumps_back_ts", "clock_jumps_back_to_the_start_ts", "clock_jumps_hours_on_ts"]
)
def test_time_continues_by_one_frame_after_a_discontinuity(name: str, tmp_path: Path) -> None:
    case = HARD[name]
    assert case.finish is not None
    path = case.finish(case.film.write(tmp_path), tmp_path)
    with open_media(path) as container:
        first, second = compute_timeline(container).ranges
    assert first.offset_seconds == 0
    gap = second.start_seconds + second.offset_seconds - first.stop_seconds
    assert gap == pytest.approx(0, abs=1e-6)
    # Every frame across the cut, from random access: one after the other, none twice.
    clip = read_clip(path, start_seconds=3.02, frames=40, frame_rate=25.0, audio_seconds=0.1)
    assert numbers_of(clip.video) == list(range(75, 115))
    summary = write_proxy(path, tmp_path / "v.mp4", tmp_path / "a.mp4", ProxyFormat(short_side=48))
    assert summary.num_frames == 64
    assert summary.damaged_packets == 0


def test_continuous_timestamps_are_not_changed(tmp_path: Path) -> None:
    case = HARD["variable_rate_ts"]
    with open_media(case.film.write(tmp_path)) as container:
        timeline = compute_timeline(container)
    assert timeline.ranges == ()
    assert timeline.continuous_clock()(123.25) == 123.25


def audio_first(path: Path) -> Path:
    """Write the same streams with the audio first."""
    out = path.with_name(f"audio_first{path.suffix}")
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        order = [*source.streams.audio, *source.streams.video]
        copies = {stream.index: target.add_stream_from_template(stream) for stream in order}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                target.mux(packet)
    return out


@pytest.mark.parametrize("threads", [1, 16])
@pytest.mark.parametrize("frames", [2, 12])
def test_films_with_fewer_frames_than_the_decoder_delays_are_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int, threads: int
) -> None:
    # Each thread of the decoder delays one frame; all of them come out at the end of the file.
    film = CodedFilm(
        suffix=".mp4", video_codec="libx264", audio_codec="aac", rate=Fraction(24),
        seconds=frames / 24, audio_seconds=0.5,
    )  # fmt: skip
    path = audio_first(film.write(tmp_path))

    def with_threads(container: InputContainer) -> VideoStream:
        stream = find_video_stream(container)
        if not stream.codec_context.is_open:
            stream.codec_context.thread_count = threads
        return stream

    monkeypatch.setattr("toomuchtv.media.clip_reader.find_video_stream", with_threads)
    clip = read_clip(
        path, start_seconds=0, frames=frames, frame_rate=24, audio_seconds=0.1,
        sample_rate_hz=16_000,
    )  # fmt: skip
    assert numbers_of(clip.video) == list(range(frames))
    probe = probe_file(path)
    assert len(probe.audio_tracks) == 1
    assert probe.duration_seconds == pytest.approx(frames / 24, abs=0.01)


def test_damaged_audio_is_dropped_by_clips_and_proxies(tmp_path: Path) -> None:
    film = HARD["no_timestamps_mpeg4_avi"].film
    film = CodedFilm(suffix=".mkv", video_codec="mpeg4", audio_codec="flac", rate=film.rate)
    path = film.write(tmp_path)
    data = bytearray(path.read_bytes())
    with open_media(path) as container:
        places = [p.pos for p in container.demux(audio=0) if p.size and p.pos]
    for place in places[20:24]:
        data[place + 8 : place + 60] = bytes(52)
    path.write_bytes(data)
    proxy_format = ProxyFormat(short_side=48)
    summary = write_proxy(path, tmp_path / "v.mp4", tmp_path / "a.mp4", proxy_format)
    assert summary.damaged_packets > 0
    whole = read_audio(
        path,
        timeline=read_timeline(path),
        first_sample=0,
        num_samples=48_000,
        sample_rate_hz=16_000,
    )
    reader = ProxyReader(
        tmp_path / "v.mp4", tmp_path / "a.mp4", frame_rate=8.0, sample_rate_hz=16_000
    )
    heard = reader.read_waveform(first_sample=0, num_samples=48_000)
    reader.close()
    # The first samples are preceded by silence in one case and by nothing in the other.
    assert np.abs(whole - heard)[1000:].max() <= 1.01 / 32768
    assert np.abs(whole[40_000:]).max() > 0.1


@pytest.mark.parametrize(("first", "frames", "stride"), [(-1, 4, 1), (0, 0, 1), (0, 4, 0)])
def test_impossible_frame_ranges_are_refused(
    first: int, frames: int, stride: int, tmp_path: Path
) -> None:
    film = CodedFilm(
        suffix=".mp4", video_codec="libx264", audio_codec="aac",
        rate=HARD["clock_wraps_ts"].film.rate, seconds=1.0,
    )  # fmt: skip
    write_proxy(film.write(tmp_path), tmp_path / "v.mp4", None, ProxyFormat(short_side=48))
    reader = ProxyReader(tmp_path / "v.mp4", None, frame_rate=8.0, sample_rate_hz=16_000)
    with pytest.raises(ValueError, match="first_frame must be at least 0"):
        reader.read_rgb(first_frame=first, frames=frames, stride=stride)
    with pytest.raises(MediaError, match="has only"):
        reader.read_rgb(first_frame=7, frames=4)
    reader.close()
