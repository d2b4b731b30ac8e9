"""Damage costs what is damaged and what is smeared by it, is reported, and ends nothing."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.media.coded_media import CodedFilm, numbers_of
from tests.media_files import write_film
from toomuchtv.catalog.probe import probe_file
from toomuchtv.media.clip_reader import read_clip
from toomuchtv.media.containers import decode_in_threads, find_video_stream, open_media
from toomuchtv.media.damage import DamagedInterval, merge_intervals
from toomuchtv.media.proxy_reader import ProxyReader
from toomuchtv.media.proxy_writer import ProxyFormat, ProxySummary, write_audio_proxy, write_proxy
from toomuchtv.media.timeline_decoder import KeyframeGate, TimelineDecoder
from toomuchtv.media.timestamps import read_timeline

RATE = 24
MKV = CodedFilm(
    suffix=".mkv", video_codec="libx264", audio_codec="aac", rate=Fraction(RATE), seconds=8.0,
    gop_size=48,
)  # fmt: skip
FORMAT = ProxyFormat(short_side=48, frame_rate=8.0)


def with_hole(path: Path, start: float, stop: float) -> Path:
    """Overwrite the bytes between two packets' times with zeros, from the middle of a frame on."""
    with av.open(str(path)) as file:
        places = [
            packet.pos + packet.size // 2
            for packet in file.demux(video=0)
            if packet.size and packet.pos and start <= (packet.pts or 0) * packet.time_base < stop
        ]
    data = bytearray(path.read_bytes())
    data[min(places) : max(places)] = bytes(max(places) - min(places))
    path.write_bytes(data)
    return path


def prepare(path: Path, folder: Path) -> tuple[ProxySummary, list[int], np.ndarray]:
    """Write the proxy of a film; return the summary, the numbers of its frames and its audio."""
    summary = write_proxy(path, folder / "v.mp4", folder / "a.mp4", FORMAT)
    reader = ProxyReader(
        folder / "v.mp4", folder / "a.mp4", frame_rate=8.0, sample_rate_hz=FORMAT.sample_rate_hz
    )
    frames = reader.read_rgb(first_frame=0, frames=summary.num_frames)
    audio = reader.read_waveform(first_sample=0, num_samples=summary.num_samples)
    reader.close()
    return summary, numbers_of(frames), audio


@pytest.mark.parametrize(
    "film",
    [MKV, replace(MKV, suffix=".mp4"), replace(MKV, suffix=".ts", audio_codec="mp2"),
     replace(MKV, video_codec="libx265"), replace(MKV, video_codec="mpeg4")],
    ids=str,
)  # fmt: skip
def test_a_hole_is_reported_and_smears_nothing(film: CodedFilm, tmp_path: Path) -> None:
    # The keyframe at 4 s is lost, so that the frames up to that at 6 s are smeared.
    path = with_hole(film.write(tmp_path), 3.0, 4.5)
    assert probe_file(path).duration_seconds == pytest.approx(8.0, abs=0.05)
    summary, numbers, audio = prepare(path, tmp_path)
    assert summary.num_frames == 64
    (damage,) = summary.video_damage
    assert damage.start_seconds == pytest.approx(3.0, abs=0.2)
    assert damage.stop_seconds == pytest.approx(6.0, abs=0.2)
    for index, number in enumerate(numbers):
        if damage.start_seconds <= index / 8 < damage.stop_seconds:
            assert number <= damage.start_seconds * RATE  # the last whole frame
        else:
            assert number == index * RATE // 8
    assert summary.audio_damage
    assert not audio[round(3.4 * 16_000) : round(4.2 * 16_000)].any()
    assert audio[round(5.0 * 16_000) :].any()
    # Clips are the same, wherever decoding begins.
    for start in (2.0, 3.5, 5.5, 6.5):
        clip = read_clip(path, start_seconds=start, frames=2, audio_seconds=0.1)
        assert numbers_of(clip.video) == numbers[round(start * 8) : round(start * 8) + 2]


@pytest.mark.parametrize("num_threads", [1, 5, None])
def test_errors_that_threads_report_late_smear_nothing(
    num_threads: int | None, tmp_path: Path
) -> None:
    path = MKV.write(tmp_path)
    with av.open(str(path)) as file:
        packets = [packet for packet in file.demux(video=0) if packet.size and packet.pos]
        victim = packets[60]
        lost = float((victim.pts or 0) * victim.time_base)
    data = bytearray(path.read_bytes())
    place = data.find(bytes(victim), victim.pos)
    data[place : place + victim.size] = b"\xff" * victim.size
    path.write_bytes(data)
    with open_media(path) as container:
        stream = find_video_stream(container)
        timeline = read_timeline(path, container)
    with open_media(path) as container:
        stream = find_video_stream(container)
        decode_in_threads(stream, num_threads)
        decoder = TimelineDecoder(container, timeline, video=stream)
        found = [round(seconds * RATE) for _, seconds in decoder]
    assert decoder.num_damaged == 1
    first = round((lost - timeline.origin_seconds) * RATE)
    # B-frames before it in time may refer to it, and are decoded after it.
    before = [number for number in found if number < first]
    assert len(before) >= first - 4
    assert found[len(before) :] == list(range(96, 192))  # from the next keyframe on


def test_what_follows_a_gap_in_a_transport_stream_is_read(tmp_path: Path) -> None:
    """FFmpeg gives up for a moment where it finds no packet in 64 KB."""
    path = replace(MKV, suffix=".ts", audio_codec="mp2").write(tmp_path)
    data = path.read_bytes()
    middle = len(data) // 2 // 188 * 188
    path.write_bytes(data[:middle] + bytes(150_000) + data[middle:])
    summary, numbers, _ = prepare(path, tmp_path)
    assert summary.num_frames == 64
    assert numbers[-1] == (8 * RATE - 3)


def test_two_languages_survive_a_stream_that_appears_late(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.ts", seconds=2.0, languages=("eng", "fra"))
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as file:
        pid = file.streams.audio[1].id
    starts = [
        at for at in range(0, len(data), 188)
        if data[at + 1] & 0x40 and (data[at + 1] & 0x1F) << 8 | data[at + 2] == pid
    ]  # fmt: skip
    data[starts[-2] + 1 : starts[-2] + 3] = bytes([0x47, 0x77])
    path.write_bytes(data)
    summary = write_proxy(path, tmp_path / "v.mp4", tmp_path / "a.mp4", FORMAT)
    assert summary.num_frames == 16
    for track in (0, 1):
        write_audio_proxy(
            path, tmp_path / "b.mp4", FORMAT, audio_track=track, num_samples=summary.num_samples
        )
        with av.open(str(tmp_path / "b.mp4")) as file:
            samples = np.concatenate([f.to_ndarray()[0] for f in file.decode(audio=0)])
        assert np.abs(samples[8_000:24_000]).max() > 1_000


def test_whole_films_have_no_damage(media_root: Path) -> None:
    for path in sorted(media_root.glob("clips/*"))[:4]:
        with open_media(path) as container:
            decoder = TimelineDecoder(
                container, read_timeline(path), video=find_video_stream(container)
            )
            num_frames = sum(1 for _ in decoder)
        assert num_frames > 10
        assert not decoder.video_damage(1e6)
        assert decoder.num_damaged == 0


def test_the_gate_is_closed_from_a_failure_to_the_next_keyframe() -> None:
    """Compared with the definition, on random sequences without reordered frames."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        length = int(rng.integers(1, 40))
        is_key, fails = rng.random(length) < 0.2, rng.random(length) < 0.15
        gate = KeyframeGate()
        for number in range(length):
            gate.push(float(number), 1.0, is_keyframe=bool(is_key[number]))
            if fails[number]:
                gate.fail()
        whole = True
        for number in range(length):
            whole = not fails[number] and (whole or bool(is_key[number]))
            assert gate.is_open(float(number)) == whole
        damaged = sum(not gate.is_open(float(number)) for number in range(length))
        assert sum(interval.duration_seconds for interval in gate.damage(length)) == damaged


def test_intervals_that_are_near_each_other_are_one() -> None:
    intervals = [DamagedInterval(5.0, 6.0), DamagedInterval(1.0, 2.0), DamagedInterval(2.5, 3.0)]
    assert merge_intervals(intervals) == (DamagedInterval(1.0, 3.0), DamagedInterval(5.0, 6.0))
