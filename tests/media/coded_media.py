"""Media files whose frames show their number and whose audio is a formula of time.

Frame `n` shows `n` in binary, one bar per bit, white for one. The audio is a sum of sinusoids of
unrelated frequencies, so that no two clips have the same audio, and the audio at any time can be
computed without reading a file. Nothing here uses the package under test.
"""

from __future__ import annotations

import itertools
import struct
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tests.media_files import leave_real_time

NUM_BITS = 12
WIDTH, HEIGHT = 96, 48
_RNG = np.random.default_rng(1906)
_PITCHES_HZ = _RNG.uniform(200.0, 3000.0, size=20)
_PHASES = _RNG.uniform(0.0, 2 * np.pi, size=20)

# Settings that are fast rather than good, with reordered frames where the codec supports them.
_OPTIONS = {
    "libx264": {"preset": "ultrafast", "bf": "2", "crf": "18"},
    "libx265": {"preset": "ultrafast", "crf": "16", "x265-params": "log-level=none:bframes=2"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "crf": "10"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "20"},
    "libsvtav1": {"preset": "10", "crf": "20"},
    "mpeg4": {"bf": "0", "qscale": "3"},
    "mpeg2video": {"bf": "2", "qscale": "3"},
}


@dataclass(frozen=True, kw_only=True)
class CodedFilm:
    """A film to write: container by suffix, codecs, rates, and start times of its tracks.

    `video_start` and `audio_start` are timestamps. A `cadence` makes the frame rate variable: it
    lists how many ticks of `rate` each frame lasts, repeatedly. Options are added to the defaults.
    """

    suffix: str
    video_codec: str
    audio_codec: str
    rate: Fraction
    seconds: float = 4.0
    video_start: Fraction = Fraction(0)
    audio_start: Fraction = Fraction(0)
    audio_seconds: float | None = None
    audio_rate_hz: int = 48_000
    height: int = HEIGHT
    pixel_format: str = "yuv420p"
    gop_size: int = 30
    cadence: tuple[int, ...] = (1,)
    video_options: tuple[tuple[str, str], ...] = ()
    container_options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        starts = f"v{float(self.video_start):g}a{float(self.audio_start):g}"
        codecs = f"{self.video_codec}-{self.audio_codec}-{self.audio_rate_hz}"
        return f"{self.suffix[1:]}-{codecs}-{float(self.rate):.3f}-{starts}"

    @property
    def num_frames(self) -> int:
        return bisect_left(self._ticks, round(self.seconds * self.rate))

    @cached_property
    def _ticks(self) -> list[int]:
        """Start of each frame in ticks of `rate`, for some more frames than are written."""
        turns = itertools.cycle(self.cadence)
        lengths = itertools.islice(turns, round(self.seconds * self.rate) + 1)
        return list(itertools.accumulate(lengths, initial=0))

    def frame_start(self, number: int) -> Fraction:
        """Return the start of a frame, in seconds after the first frame."""
        return self._ticks[number] / self.rate

    def frame_at(self, seconds: Fraction) -> int:
        """Return the number of the frame displayed at this time after the first frame."""
        return min(bisect_right(self._ticks, seconds * self.rate) - 1, self.num_frames - 1)

    def audio_at(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the audio at these times, in seconds after the first frame."""
        clock = seconds + float(self.video_start)
        stop = float(self.audio_start) + (self.audio_seconds or self.seconds)
        sounding = (clock >= float(self.audio_start)) & (clock < stop)
        return np.where(sounding, reference_audio(clock), 0.0)

    def write(self, folder: Path) -> Path:
        path = folder / f"film{self.suffix}"
        with av.open(str(path), "w", container_options=dict(self.container_options)) as container:
            options = _OPTIONS.get(self.video_codec, {}) | dict(self.video_options)
            video = container.add_stream(self.video_codec, rate=self.rate, options=options)
            assert isinstance(video, av.VideoStream)
            video.width, video.height, video.pix_fmt = WIDTH, self.height, self.pixel_format
            video.codec_context.gop_size = self.gop_size
            video.codec_context.time_base = 1 / self.rate
            # FFmpeg's own Vorbis encoder is marked experimental and supports only stereo.
            layout = "stereo" if self.audio_codec == "vorbis" else "mono"
            audio = container.add_stream(
                self.audio_codec, rate=self.audio_rate_hz, layout=layout, options={"strict": "-2"}
            )
            assert isinstance(audio, av.AudioStream)
            audio.bit_rate = 128_000
            for number in range(self.num_frames):
                frame = av.VideoFrame.from_ndarray(bars(number, height=self.height), format="rgb24")
                if self.video_start:
                    frame.time_base = Fraction(1, 90_000)
                    frame.pts = round((self.video_start + self.frame_start(number)) * 90_000)
                    video.codec_context.time_base = frame.time_base
                else:
                    frame.time_base, frame.pts = 1 / self.rate, self._ticks[number]
                container.mux(video.encode(frame))
            container.mux(video.encode())
            self._write_audio(container, audio)
        if self.video_codec == "libsvtav1":
            leave_real_time()
        return path

    def _write_audio(self, container: av.container.OutputContainer, audio: av.AudioStream) -> None:
        rate = self.audio_rate_hz
        first = round(self.audio_start * rate)
        stop = first + round((self.audio_seconds or self.seconds) * rate)
        resampler = av.AudioResampler(format=audio.format.name, layout=audio.layout, rate=rate)
        step = audio.codec_context.frame_size or 1024
        for start in range(first, stop, step):
            time = np.arange(start, min(start + step, stop)) / rate
            wave = reference_audio(time).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), start
            for converted in resampler.resample(frame):
                container.mux(audio.encode(converted))
        container.mux(audio.encode())


def splice(path: Path, out: Path, *, at_seconds: float, shift_seconds: float) -> Path:
    """Cut an MPEG-TS file at a keyframe and write the second part with other timestamps.

    This is what a recorder writes that was stopped and started again: the bytes continue, and the
    timestamps do not. Video and audio of the second part keep their offset to each other.

    Args:
        path: A file with closed groups of pictures.
        out: The file to write.
        at_seconds: The cut is at the first keyframe from here on, on the container's clock.
        shift_seconds: Added to all timestamps after it.
    """
    cut: float | None = None
    parts = [out.with_suffix(".before.ts"), out.with_suffix(".after.ts")]
    with av.open(str(path)) as source:
        for video_packet in source.demux(source.streams.video[0]):
            if video_packet.is_keyframe and video_packet.pts is not None and cut is None:
                seconds = float(video_packet.pts * video_packet.time_base)
                cut = seconds if seconds >= at_seconds else None
    assert cut is not None
    for index, part in enumerate(parts):
        with av.open(str(path)) as source, av.open(str(part), "w", format="mpegts") as target:
            copies = {s.index: target.add_stream_from_template(s) for s in source.streams}
            is_second = False  # whether this packet belongs to the second part
            for packet in source.demux():
                if packet.dts is None or packet.pts is None:
                    continue
                seconds = float(packet.pts * packet.time_base)
                if packet.stream.type == "video":
                    is_second = is_second or (packet.is_keyframe and seconds >= cut)
                    is_wanted = is_second == bool(index)
                else:
                    is_wanted = (seconds >= cut) == bool(index)
                if not is_wanted:
                    continue
                ticks = round(index * shift_seconds / packet.time_base)
                packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
                packet.stream = copies[packet.stream.index]
                target.mux(packet)
    out.write_bytes(b"".join(part.read_bytes() for part in parts))
    return out


def trim(path: Path, start_seconds: float, stop_seconds: float) -> Path:
    """Let an MP4 file show a part of itself by its edit lists, as QuickTime's trim does.

    Nothing is removed. The file must have one edit for each track, as `CodedFilm.write` gives it.
    """
    data = bytearray(path.read_bytes())
    at = data.find(b"elst")
    while at >= 0:
        header = data.index(b"mdhd", at)
        (clock,) = struct.unpack_from(">I", data, header + 16)
        num_edits, _, media_start = struct.unpack_from(">3I", data, at + 8)
        assert num_edits == 1
        # The clock of the whole file has milliseconds, that of a track has its own.
        milliseconds = round(1000 * (stop_seconds - start_seconds))
        media_start += round(start_seconds * clock)
        struct.pack_into(">2I", data, at + 12, milliseconds, media_start)
        at = data.find(b"elst", at + 4)
    path.write_bytes(data)
    return path


def bars(number: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Return the image of a frame, RGB `[height, width, 3]`, the highest bit leftmost."""
    bits = [(number >> bit) & 1 for bit in reversed(range(NUM_BITS))]
    row = np.repeat(np.array(bits, np.uint8) * 215 + 20, width // NUM_BITS)
    return np.broadcast_to(row[None, :, None], (height, width, 3)).copy()


def number_of(image: NDArray[np.uint8]) -> int:
    """Return the number that an image shows, RGB `[H, W, 3]` of any size."""
    height, width = image.shape[:2]
    centers = ((np.arange(NUM_BITS) + 0.5) * width / NUM_BITS).astype(int)
    levels = image[height // 4 : -height // 4].mean(axis=(0, 2))[centers]
    assert np.all(np.abs(levels - 128) > 40), f"the bars cannot be read: {levels}"
    return int("".join("1" if level > 128 else "0" for level in levels), 2)


def numbers_of(video: NDArray[np.uint8]) -> list[int]:
    """Return the numbers that frames `[T, H, W, 3]` show."""
    return [number_of(image) for image in video]


def reference_audio(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the audio at any times, in -0.8..0.8."""
    waves = np.cos(2 * np.pi * np.outer(seconds, _PITCHES_HZ) + _PHASES)
    total: NDArray[np.float64] = 0.04 * waves.sum(axis=1)
    return total


def audio_lag(
    heard: NDArray[np.float32], expected: NDArray[np.float64], *, within: int
) -> tuple[int, float]:
    """Return by how many samples `heard` lags behind `expected`, and their correlation at that lag.

    Args:
        heard: Waveform `[S]`.
        expected: Reference `[S + 2 * within]`, with `within` further samples at either end.
        within: The largest lag that is tried in either direction, in samples.
    """
    values = np.asarray(heard, np.float64)
    spectrum = np.fft.rfft(expected) * np.fft.rfft(values, len(expected)).conj()
    products = np.fft.irfft(spectrum, len(expected))[: 2 * within + 1]
    power = np.concatenate([[0.0], np.cumsum(expected**2)])
    energy = power[len(values) :] - power[: -len(values)]
    correlation = products / np.sqrt(np.maximum(energy * (values**2).sum(), 1e-12))
    best = int(correlation.argmax())
    return within - best, float(correlation[best])
