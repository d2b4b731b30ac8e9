"""Audio of every codec is read without a hole: what is decoded in order is what is read."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.media.coded_media import audio_lag, reference_audio
from tests.media.test_audio import frame_of
from toomuchtv.media.audio import AlignedResampler, downmix_to_mono
from toomuchtv.media.clip_reader import read_audio
from toomuchtv.media.timestamps import read_timeline

RATE_HZ = 44_100
# Container, suffix, and the codecs that it is tested with.
CONTAINERS = {
    "ogg": (".ogg", "vorbis libopus flac"),
    "webm": (".webm", "vorbis libopus"),
    "matroska": (".mkv", "vorbis flac libmp3lame aac ac3 mp2 pcm_s16le alac wavpack tta"),
    "mp4": (".mp4", "aac libmp3lame flac alac ac3 eac3 libopus mp2"),
    "mov": (".mov", "aac pcm_s16le pcm_s24le alac"),
    "mpegts": (".ts", "aac ac3 eac3 libmp3lame mp2 libopus"),
    "mpeg": (".mpg", "mp2 ac3"),
    "asf": (".wma", "wmav1 wmav2"),
    "flv": (".flv", "aac libmp3lame"),
    "wav": (".wav", "pcm_s16le pcm_s24le adpcm_ms adpcm_ima_wav"),
    "flac": (".flac", "flac"),
    "mp3": (".mp3", "libmp3lame"),
    "adts": (".aac", "aac"),
    "ac3": (".ac3", "ac3"),
    "caf": (".caf", "pcm_s16le alac"),
    "aiff": (".aiff", "pcm_s16be"),
    "au": (".au", "pcm_s16be"),
    "wv": (".wv", "wavpack"),
    "tta": (".tta", "tta"),
}
CASES = [
    pytest.param(container, suffix, codec, id=f"{container}-{codec}")
    for container, (suffix, codecs) in CONTAINERS.items()
    for codec in codecs.split()
]


def write(
    path: Path,
    container: str,
    codec: str,
    *,
    gap_seconds: float = 0.0,
    bit_rate: int = 128_000,
    xing: bool = True,
) -> None:
    """Write 0.7 s of audio with loud and soft parts, and optionally a gap in its timestamps."""
    rate = 48_000 if codec == "libopus" else RATE_HZ
    options = {} if xing else {"write_xing": "0", "id3v2_version": "0"}
    with av.open(str(path), "w", format=container, container_options=options) as file:
        # FFmpeg's own Vorbis encoder supports only stereo.
        layout = "stereo" if codec == "vorbis" else "mono"
        stream = file.add_stream(codec, rate=rate, layout=layout, options={"strict": "-2"})
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate, stream.codec_context.time_base = bit_rate, Fraction(1, rate)
        stream.codec_context.open()  # it determines the frame size
        resampler = av.AudioResampler(format=stream.format.name, layout=layout, rate=rate)
        time = np.arange(round(0.7 * rate)) / rate
        wave = (reference_audio(time) * np.where(time * 8 % 1 < 0.5, 1, 0.05)).astype(np.float32)
        step = stream.codec_context.frame_size or 1024
        for at in range(0, len(wave), step):
            frame = frame_of(wave[at : at + step], rate)
            frame.pts = at + (round(gap_seconds * rate) if at > len(wave) // 2 else 0)
            for converted in resampler.resample(frame):
                file.mux(stream.encode(converted))
        file.mux(stream.encode())


def decode_in_order(path: Path) -> tuple[NDArray[np.float32], int]:
    """Return all samples of a file, one frame after the other, and their rate."""
    with av.open(str(path)) as file:
        frames = list(file.decode(audio=0))
    return np.concatenate([downmix_to_mono(frame) for frame in frames]), frames[0].sample_rate


@pytest.mark.parametrize(("container", "suffix", "codec"), CASES)
def test_no_sample_is_lost_and_none_is_put_in(
    container: str, suffix: str, codec: str, tmp_path: Path
) -> None:
    path = tmp_path / f"sound{suffix}"
    write(path, container, codec)
    wanted, rate = decode_in_order(path)
    heard = read_audio(
        path, timeline=read_timeline(path), first_sample=0, num_samples=len(wanted),
        sample_rate_hz=rate,
    )  # fmt: skip
    np.testing.assert_array_equal(heard, wanted)


@pytest.mark.parametrize(
    ("container", "suffix", "codec"),
    [("matroska", ".mkv", "vorbis"), ("matroska", ".mkv", "flac"), ("mp4", ".mp4", "aac"),
     ("mpegts", ".ts", "ac3")],
)  # fmt: skip
@pytest.mark.parametrize("gap_seconds", [0.008, 0.2])
def test_real_gaps_stay_gaps(
    container: str, suffix: str, codec: str, gap_seconds: float, tmp_path: Path
) -> None:
    path = tmp_path / f"sound{suffix}"
    write(path, container, codec, gap_seconds=gap_seconds)
    wanted, rate = decode_in_order(path)
    gap = round(gap_seconds * rate)
    heard = read_audio(
        path, timeline=read_timeline(path), first_sample=0, num_samples=len(wanted) + gap,
        sample_rate_hz=rate,
    )  # fmt: skip
    # The audio after the gap is where its timestamps are, to their rounding.
    stop, within = len(wanted) - rate // 20, rate // 20
    lag, correlation = audio_lag(
        heard[stop + gap - 8_000 : stop + gap],
        wanted[stop - 8_000 - within : stop + within].astype(np.float64),
        within=within,
    )
    assert abs(lag) <= rate / 1000
    assert correlation > 0.99


def test_vorbis_blocks_that_change_their_size_follow_each_other() -> None:
    """In Ogg, FFmpeg gives the frame between a long and a short block a wrong start."""
    long, short = 1024, 128
    between = (long + short) // 2
    # Number of samples and stated duration of each frame.
    frames = [(long, long), (between, short), (short, short), (between, between), (long, long)] * 4
    wave = reference_audio(np.arange(sum(n for n, _ in frames)) / RATE_HZ).astype(np.float32)
    resampler = AlignedResampler(sample_rate_hz=RATE_HZ)
    parts, at = [], 0
    for num_samples, duration in frames:
        frame = frame_of(wave[at : at + num_samples], RATE_HZ)
        frame.duration = duration
        at += num_samples
        parts.append(resampler.push(frame, (at - duration) / RATE_HZ))
    np.testing.assert_array_equal(np.concatenate(parts), wave)


def test_no_silence_is_put_into_the_clips_of_esc_10(media_root: Path) -> None:
    for path in sorted((media_root / "esc10" / "audio").glob("*.ogg"))[::40]:
        wanted, rate = decode_in_order(path)
        heard = read_audio(
            path, timeline=read_timeline(path), first_sample=0, num_samples=len(wanted),
            sample_rate_hz=rate,
        )  # fmt: skip
        np.testing.assert_array_equal(heard, wanted)
