"""Resampled audio keeps its place on the timeline, and the downmix weights every channel."""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from tests.media.coded_media import CodedFilm, audio_lag, reference_audio
from toomuchtv.media.audio import AlignedResampler, downmix_to_mono
from toomuchtv.media.clip_reader import read_audio, read_clip
from toomuchtv.media.proxy_writer import AudioWriter, ProxyFormat, write_proxy
from toomuchtv.media.timestamps import read_timeline


def frame_of(samples: NDArray[np.float32], rate_hz: int) -> AudioFrame:
    frame = AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
    return frame


def resample(
    wave: NDArray[np.float32],
    *,
    rate_hz: int,
    target_hz: int,
    start_seconds: float = 0.0,
    first_sample: int = 0,
    step: int = 1024,
    rounded_to: float = 0.0,
) -> tuple[int, NDArray[np.float32]]:
    """Push a wave in frames of `step`; return the index of the first output sample, and all."""
    timeline = AlignedResampler(sample_rate_hz=target_hz, first_sample=first_sample)
    parts = []
    for at in range(0, len(wave), step):
        seconds = start_seconds + at / rate_hz
        if rounded_to:
            seconds = round(seconds / rounded_to) * rounded_to
        parts.append(timeline.push(frame_of(wave[at : at + step], rate_hz), seconds))
    parts.append(timeline.finish())
    return timeline.first_sample, np.concatenate(parts)


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize(("start_seconds", "first_sample"), [(0.0, 0), (1.7, 20_011), (-0.3, -50)])
def test_resampling_keeps_the_position_of_an_impulse(
    rate_hz: int, start_seconds: float, first_sample: int
) -> None:
    for impulse in (0.43, 0.71, 0.9):
        wave = np.zeros(rate_hz, np.float32)
        wave[round(impulse * rate_hz)] = 1.0
        first, out = resample(
            wave, rate_hz=rate_hz, target_hz=16_000, start_seconds=start_seconds,
            first_sample=first_sample, step=1000,
        )  # fmt: skip
        assert first <= first_sample < first + 441
        at = start_seconds + round(impulse * rate_hz) / rate_hz
        assert abs(first + int(np.abs(out).argmax()) - at * 16_000) <= 1


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("rounded_to", [0.0, 0.001])
def test_samples_do_not_depend_on_where_reading_begins(rate_hz: int, rounded_to: float) -> None:
    """Audio read from the middle of a frame on has the same position as read from the start."""
    wave = reference_audio(np.arange(2 * rate_hz) / rate_hz).astype(np.float32)
    _, whole = resample(wave, rate_hz=rate_hz, target_hz=16_000, rounded_to=rounded_to)
    for first_sample in range(3_000, 3_000 + 1024, 37):
        first, part = resample(
            wave, rate_hz=rate_hz, target_hz=16_000, first_sample=first_sample,
            rounded_to=rounded_to,
        )  # fmt: skip
        lag, correlation = audio_lag(
            part[2_000:10_000], whole[first + 1_900 : first + 10_100].astype(np.float64), within=100
        )
        assert abs(lag) <= 16_000 * rounded_to / 2 + 1
        assert correlation > 0.95


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("step", [7, 128, 1024, 9_000])
def test_samples_do_not_depend_on_the_length_of_frames(rate_hz: int, step: int) -> None:
    """The resampler takes several short frames at once; nothing of that may be heard."""
    wave = np.random.default_rng(step).uniform(-1, 1, 9_000).astype(np.float32)
    target_hz = 16_000
    _, out = resample(wave, rate_hz=rate_hz, target_hz=target_hz, step=step)
    expected = wave
    if rate_hz != target_hz:
        plain = AudioResampler(format="flt", layout="mono", rate=target_hz)
        resampled = [*plain.resample(frame_of(wave, rate_hz)), *plain.resample(None)]
        expected = np.concatenate([frame.to_ndarray()[0] for frame in resampled])
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("early_ms", [1.0, 3.0, 22.0, 24.5, 43.7])
def test_audio_before_time_zero_is_dropped_to_the_sample(early_ms: float) -> None:
    """A frame that begins just before time zero is cut there, not moved."""
    rate = 16_000
    early = round(early_ms * rate / 1000)
    wave = reference_audio(np.arange(rate) / rate).astype(np.float32)
    _, out = resample(wave, rate_hz=rate, target_hz=rate, start_seconds=-early / rate, step=320)
    np.testing.assert_array_equal(out, wave[early:])


def test_gaps_are_zero_and_overlaps_are_used_once() -> None:
    rate = 16_000
    timeline = AlignedResampler(sample_rate_hz=rate)
    ones = np.ones(1600, np.float32)
    spans = [(0.1, 1), (0.2, 2), (0.5, 3), (0.55, 4), (0.65, 5)]  # starts, and each frame's level
    out = np.concatenate(
        [timeline.push(frame_of(ones * np.float32(v / 8), rate), at) for at, v in spans]
    )
    levels = [(0.05, 0), (0.15, 1), (0.25, 2), (0.4, 0), (0.52, 3), (0.58, 3), (0.63, 4), (0.7, 5)]
    assert [8 * out[round(at * rate)] for at, _ in levels] == [v for _, v in levels]
    assert len(out) == round(0.75 * rate)


def test_rounded_timestamps_make_no_gaps() -> None:
    """Matroska rounds timestamps to a millisecond; no sample is lost or repeated."""
    wave = reference_audio(np.arange(48_000) / 48_000).astype(np.float32)
    _, out = resample(wave, rate_hz=48_000, target_hz=48_000, rounded_to=0.001)
    np.testing.assert_array_equal(out, wave)


def test_a_track_that_changes_its_sample_rate_stays_aligned() -> None:
    timeline = AlignedResampler(sample_rate_hz=16_000)
    parts = []
    for rate, begin in ((48_000, 0), (44_100, 1), (48_000, 2)):
        for step in range(10):
            time = begin + (step * rate // 10 + np.arange(rate // 10)) / rate
            frame = frame_of(reference_audio(time).astype(np.float32), rate)
            parts.append(timeline.push(frame, float(time[0])))
    out = np.concatenate([*parts, timeline.finish()])
    for begin in (8_000, 20_000, 36_000):  # each in the middle of a part
        lag, correlation = audio_lag(
            out[begin : begin + 4000],
            reference_audio(np.arange(begin - 50, begin + 4050) / 16_000),
            within=50,
        )
        assert abs(lag) <= 1
        assert correlation > 0.9


@pytest.mark.parametrize("name", ["u8", "s16", "s32", "flt", "dbl"])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_every_sample_format_gives_the_same_samples(name: str, planar: bool, layout: str) -> None:
    channels = 1 if layout == "mono" else 2
    time = np.arange(500) / 16_000
    wanted = np.stack([0.9 * np.sin(2 * np.pi * hz * time) for hz in (440, 700)[:channels]])
    scaled: NDArray[np.generic]
    if name == "u8":
        scaled = np.rint(wanted * 127 + 128).astype(np.uint8)
    elif name == "s16":
        scaled = np.rint(wanted * 32767).astype(np.int16)
    elif name == "s32":
        scaled = np.rint(wanted * (2**31 - 1)).astype(np.int32)
    else:
        scaled = wanted.astype({"flt": np.float32, "dbl": np.float64}[name])
    samples = scaled if planar else scaled.T.reshape(1, -1)
    frame = AudioFrame.from_ndarray(
        np.ascontiguousarray(samples), format=name + ("p" if planar else ""), layout=layout
    )
    mono = downmix_to_mono(frame)
    assert mono.dtype == np.float32
    tolerance = {"u8": 0.012, "s16": 1e-4}.get(name, 1e-6)
    np.testing.assert_allclose(mono, wanted.mean(axis=0), atol=tolerance)


def channel_frame(values: NDArray[np.float32], layout: str, *, planar: bool) -> AudioFrame:
    """Return a frame; planar ones are converted by FFmpeg, since PyAV cannot make them of 7.1."""
    packed = np.ascontiguousarray(values.T.reshape(1, -1))
    frame = AudioFrame.from_ndarray(packed, format="flt", layout=layout)
    frame.sample_rate = 16_000
    if planar:
        (frame,) = AudioResampler(format="fltp", layout=layout, rate=16_000).resample(frame)
    return frame


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("layout", ["mono", "stereo", "2.1", "3.0", "quad", "5.0", "5.1", "7.1"])
def test_the_downmix_cannot_clip_and_uses_every_channel(layout: str, planar: bool) -> None:
    names = [c.name for c in AudioFrame(format="flt", layout=layout, samples=1).layout.channels]
    full = np.ones((len(names), 64), np.float32)
    heard = downmix_to_mono(channel_frame(full, layout, planar=planar))
    assert heard.shape == (64,)
    assert heard == pytest.approx(1.0, abs=1e-6)  # all at full scale is full scale
    # ITU-R BS.775: surround channels 3 dB down, without the low-frequency effects.
    weight = {name: 1.0 if name in {"FL", "FR", "FC"} else math.sqrt(0.5) for name in names}
    if "LFE" in weight:
        weight["LFE"] = 0.0
    for index, name in enumerate(names):
        alone = np.zeros((len(names), 64), np.float32)
        alone[index] = 1.0
        heard = downmix_to_mono(channel_frame(alone, layout, planar=planar))
        assert heard == pytest.approx(weight[name] / sum(weight.values()), abs=1e-6)


@pytest.mark.parametrize("codec", ["pcm_s16le", "aac", "ac3"])
def test_stereo_with_one_side_inverted_is_heard(codec: str, tmp_path: Path) -> None:
    path = tmp_path / "sound.mkv"
    left = reference_audio(np.arange(48_000) / 48_000).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=48_000, layout="stereo")
        assert isinstance(stream, av.AudioStream)
        frame = AudioFrame.from_ndarray(np.stack([left, -left]), format="fltp", layout="stereo")
        frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), 0
        size = stream.codec_context.frame_size or 1024
        to_codec = AudioResampler(stream.format.name, "stereo", 48_000, frame_size=size)
        for part in [*to_codec.resample(frame), *to_codec.resample(None), None]:
            container.mux(stream.encode(part))
    timeline = read_timeline(path)
    heard = read_audio(
        path, timeline=timeline, first_sample=24_000, num_samples=16_000, sample_rate_hz=48_000
    )
    expected = left[24_000 - 2_400 : 40_000 + 2_400].astype(np.float64)
    lag, similarity = audio_lag(heard, expected, within=2_400)
    assert abs(lag) <= 1
    assert similarity > 0.98


def test_what_is_no_number_is_zero_and_reported_as_damage(tmp_path: Path) -> None:
    film = CodedFilm(
        suffix=".mkv", video_codec="mpeg4", audio_codec="pcm_f32le", rate=Fraction(24), seconds=3.0
    )
    path = film.write(tmp_path)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
    broken = next(packet for packet in packets if (packet.pts or 0) * packet.time_base >= 1)
    start = float((broken.pts or 0) * broken.time_base)
    data = bytearray(path.read_bytes())
    place = data.find(bytes(broken))
    data[place : place + 40] = np.array([np.nan, np.inf] * 5, np.float32).tobytes()
    path.write_bytes(data)
    summary = write_proxy(path, tmp_path / "v.mp4", tmp_path / "a.mp4", ProxyFormat(short_side=48))
    (damage,) = summary.audio_damage
    assert start - 0.01 < damage.start_seconds <= start < damage.stop_seconds < start + 0.05
    clip = read_clip(path, start_seconds=1.0, frames=1)
    assert np.isfinite(clip.waveform).all()
    assert clip.waveform[: round(0.5 * 16_000)].any()


@pytest.mark.parametrize("rate_hz", [22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("tone_hz", [1_000, 6_500, 9_500, 10_800, 13_300, 17_000, 22_000])
def test_resampling_does_not_alias(rate_hz: int, tone_hz: int) -> None:
    """At 16 kHz, frequencies above 8 kHz must be removed and not appear at another frequency."""
    if tone_hz >= rate_hz / 2:
        pytest.skip("the source cannot hold it either")
    wave = np.sin(2 * np.pi * tone_hz * np.arange(rate_hz) / rate_hz).astype(np.float32)
    _, out = resample(wave, rate_hz=rate_hz, target_hz=16_000)
    middle = out[4_000:12_000].astype(np.float64)
    if tone_hz < 8_000:
        wanted = np.sin(2 * np.pi * tone_hz * np.arange(4_000, 12_000) / 16_000)
        np.testing.assert_allclose(middle, wanted, atol=0.02)
    else:
        assert 10 * np.log10(np.square(middle).mean() / 0.5 + 1e-20) < -50.0


def test_long_silence_is_written_in_blocks(tmp_path: Path) -> None:
    """Seconds of audio with hours of video, in a damaged file, must not take gigabytes."""
    writer = AudioWriter(tmp_path / "audio.mp4", ProxyFormat(sample_rate_hz=16_000))
    num_samples = 1200 * 16_000
    tracemalloc.start()
    writer.finish(num_samples)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    writer.close()
    assert peak < 20e6 < 4 * num_samples
    with av.open(str(tmp_path / "audio.mp4")) as container:
        assert container.streams.audio[0].duration == num_samples
