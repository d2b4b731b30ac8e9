"""Writing proxies: the small copies that training reads, made in one pass over an original file.

Video is MPEG-4 part 2 at a constant frame rate, in short closed groups of pictures without
B-frames, so that a random clip costs a few small frames to decode. At the same size and quality it
decodes nearly twice as fast as H.264 (docs/how_it_works/proxies.md). Audio is FLAC in MP4: it is
lossless, and its index leads to any sample, without an encoder delay to account for.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from pydantic import BaseModel, ConfigDict, Field, field_validator

from toomuchtv.errors import MediaError
from toomuchtv.media.audio import AlignedResampler, replace_non_finite, silent_blocks
from toomuchtv.media.clip import WaveformArray
from toomuchtv.media.containers import (
    decode_in_threads,
    find_audio_stream,
    find_video_stream,
    naming_errors,
    open_media,
)
from toomuchtv.media.damage import DamagedInterval, merge_intervals
from toomuchtv.media.deinterlace import Deinterlacer
from toomuchtv.media.extent import last_frame_seconds
from toomuchtv.media.frame_converter import BlackBars
from toomuchtv.media.frame_sampler import FrameSampler, timestamp_tolerance
from toomuchtv.media.languages import parse_language
from toomuchtv.media.letterbox import Letterbox, bars_to_crop
from toomuchtv.media.shape import FilmConverter, FilmShape, film_shape
from toomuchtv.media.timeline_decoder import TimelineDecoder
from toomuchtv.media.timestamps import read_timeline

_PROGRESS_EVERY_SECONDS = 2.0
# A frame that is displayed for longer than this has a damaged timestamp after it.
_MAX_FRAME_SECONDS = 3600.0
# Samples per FLAC frame. A clip then takes about ten packets rather than thirty, which halves the
# time to read its audio.
_AUDIO_FRAME_SIZE = 4096
_MAX_TICKS_PER_SECOND = 65_535  # MPEG-4 counts ticks in 16 bits
_COLORSPACE_BT601 = 6  # AVCOL_SPC_SMPTE170M
_FF_QP2LAMBDA = 118


class ProxyFormat(BaseModel):
    """How proxies are encoded. `prepare` makes a proxy again if its format has changed.

    Attributes:
        frame_rate: Frames per second.
        short_side: Length of the shorter side in pixels.
        keyframe_every: Distance of keyframes in frames.
        quantizer: How coarsely frames are encoded, 1 (best, largest) to 31.
        sample_rate_hz: Sample rate of the audio.
        languages: Languages of the audio tracks to keep, as codes, tags or English names; see
            `media.languages`. Without any, the sound of the film is kept.
        letterbox: Whether black bars are kept or cropped; see `media.letterbox`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    frame_rate: float = Field(default=8.0, gt=0.0, le=120.0)
    short_side: int = Field(default=128, ge=16, le=2160, multiple_of=2)
    keyframe_every: int = Field(default=8, ge=1, le=600)
    quantizer: int = Field(default=4, ge=1, le=31)
    sample_rate_hz: int = Field(default=16_000, ge=2_000, le=96_000)
    languages: tuple[str, ...] = ()
    letterbox: Letterbox = "keep"

    @field_validator("languages")
    @classmethod
    def _normalize_languages(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        # The codes of one language give one format, so that proxies are not made again.
        return tuple(dict.fromkeys(map(parse_language, languages)))

    def estimated_bytes_per_second(self, aspect: float = 16 / 9) -> float:
        """Return the approximate size of a proxy per second, to check disk space before work.

        The factors were fitted to animation and live action at the default quality. Noise and film
        grain take more.
        """
        pixels = self.short_side**2 * aspect
        return 0.09 * pixels * self.frame_rate * 4 / self.quantizer + 1.1 * self.sample_rate_hz


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySummary:
    """What was written to a proxy.

    Attributes:
        num_frames: Number of video frames.
        width: Width in pixels.
        height: Height in pixels.
        num_samples: Number of audio samples, 0 without audio.
        duration_seconds: Measured duration of the video of the original: the end of its last frame
            on the timeline. `num_frames / frame_rate` is this, rounded to frames of the proxy.
        damaged_packets: Packets of the original that could not be decoded and were skipped.
        video_damage: Where the video of the original is damaged, in order of time and apart from
            each other. In these intervals the proxy repeats the last whole frame, because frames
            after lost data are smeared until the next keyframe.
        audio_damage: Likewise for the audio, which is zero there.
    """

    num_frames: int
    width: int
    height: int
    num_samples: int
    duration_seconds: float
    damaged_packets: int
    video_damage: tuple[DamagedInterval, ...] = ()
    audio_damage: tuple[DamagedInterval, ...] = ()


def write_proxy(
    source: str | os.PathLike[str],
    video_path: str | os.PathLike[str],
    audio_path: str | os.PathLike[str] | None,
    proxy_format: ProxyFormat,
    *,
    audio_track: int | None = None,
    num_threads: int = 1,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> ProxySummary:
    """Write the proxy of one file.

    The files are written under their final names; callers that must not leave partial files behind
    pass temporary names and rename them.

    Args:
        source: The original file, which is only read.
        video_path: Where to write the video, `.mp4`.
        audio_path: Where to write the audio, `.mp4`; None for a proxy without audio.
        proxy_format: Rates, size and quality.
        audio_track: Position among the audio tracks of the original; None chooses the sound of the
            film, see `media.streams`.
        num_threads: Number of decoding threads.
        on_progress: Called about every two seconds of film with the seconds done.

    Raises:
        MediaError: The source has no video, cannot be decoded, or the disk is full.
    """
    with naming_errors("cannot make a proxy of", source), contextlib.ExitStack() as files:
        bars = bars_to_crop(source, proxy_format.letterbox)
        with open_media(source) as container:
            timeline = read_timeline(source, container, on_progress=on_progress)
        container = files.enter_context(open_media(source))
        video = find_video_stream(container)
        decode_in_threads(video, num_threads)
        audio: AudioStream | None = None
        video_writer = VideoWriter(
            Path(video_path), proxy_format, video, film_shape(container), bars
        )
        files.enter_context(contextlib.closing(video_writer))
        audio_writer: AudioWriter | None = None
        if audio_path is not None:
            audio = find_audio_stream(container, audio_track)
            audio_writer = AudioWriter(Path(audio_path), proxy_format)
            files.enter_context(contextlib.closing(audio_writer))
        reported = 0.0
        decoder = TimelineDecoder(container, timeline, video=video, audio=audio)
        for frame, seconds in decoder:
            if isinstance(frame, VideoFrame):
                video_writer.push(frame, seconds)
            elif audio_writer is not None:
                audio_writer.push(frame, seconds)
            if seconds >= reported + _PROGRESS_EVERY_SECONDS:
                reported = seconds
                on_progress(reported)
        num_frames, num_samples = video_writer.finish(decoder.video_stop_seconds), 0
        if audio_writer is not None:
            duration_seconds = num_frames / proxy_format.frame_rate
            num_samples = round(duration_seconds * proxy_format.sample_rate_hz)
            audio_writer.finish(num_samples)
    return ProxySummary(
        num_frames=num_frames,
        width=video_writer.width,
        height=video_writer.height,
        num_samples=num_samples,
        duration_seconds=video_writer.duration_seconds,
        damaged_packets=decoder.num_damaged,
        video_damage=decoder.video_damage(video_writer.duration_seconds),
        audio_damage=merge_intervals(
            [
                *decoder.audio_damage(video_writer.duration_seconds),
                *(audio_writer.damage if audio_writer else ()),
            ]
        ),
    )


def write_audio_proxy(
    source: str | os.PathLike[str],
    audio_path: str | os.PathLike[str],
    proxy_format: ProxyFormat,
    *,
    audio_track: int,
    num_samples: int,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> tuple[DamagedInterval, ...]:
    """Write the proxy of a further audio track, such as another language, without the video.

    Args:
        source: See `write_proxy`, also for the next three.
        audio_path: Where to write the audio.
        proxy_format: Its sample rate.
        audio_track: Index of the further track.
        num_samples: Length of the item's other proxies; shorter audio is padded with zeros.
        on_progress: Called with 0.0 about every two seconds, as a sign of life.

    Returns:
        Where the track is damaged; see `ProxySummary.audio_damage`.

    Raises:
        MediaError: The source cannot be decoded, or the disk is full.
    """
    with naming_errors("cannot make a proxy of the audio of", source):
        timeline = read_timeline(source, on_progress=on_progress)
        with open_media(source) as container:
            stream = find_audio_stream(container, audio_track)
            with contextlib.closing(AudioWriter(Path(audio_path), proxy_format)) as writer:
                last_report = time.monotonic()
                decoder = TimelineDecoder(container, timeline, audio=stream)
                for frame, seconds in decoder:
                    writer.push(frame, seconds)
                    if time.monotonic() - last_report > _PROGRESS_EVERY_SECONDS:
                        last_report = time.monotonic()
                        on_progress(0.0)
                writer.finish(num_samples)
    damage = decoder.audio_damage(num_samples / proxy_format.sample_rate_hz)
    return merge_intervals([*damage, *writer.damage])


class VideoWriter:
    """Encodes the video of a proxy.

    Args:
        path: Where to write it, `.mp4`. The file is created by the first frame.
        proxy_format: Size, rate and quality.
        stream: The video stream of the original.
        shape: The shape of the original.
        bars: The black bars to crop.

    Attributes:
        width: Width of the proxy in pixels; 0 before the first frame.
        height: Height of the proxy in pixels; 0 before the first frame.
        duration_seconds: Where the last frame ends; 0 before `finish`.
    """

    def __init__(
        self,
        path: Path,
        proxy_format: ProxyFormat,
        stream: VideoStream,
        shape: FilmShape,
        bars: BlackBars | None = None,
    ) -> None:
        self.width = self.height = 0
        self.duration_seconds = 0.0
        self._path = path
        self._format = proxy_format
        self._original = stream
        self._shape = shape
        self._bars = bars
        times = (index / proxy_format.frame_rate for index in itertools.count())
        self._sampler = FrameSampler(times, tolerance_seconds=timestamp_tolerance(stream))
        self._deinterlacer = Deinterlacer()
        self._container: OutputContainer | None = None
        self._num_frames = 0
        self._last_seconds = self._stated_seconds = 0.0  # start and duration of the last frame
        self._last_input: VideoFrame | None = None
        self._converted: VideoFrame | None = None

    def push(self, frame: VideoFrame, seconds: float) -> None:
        """Take the next decoded frame, which is displayed from `seconds` on.

        Raises:
            MediaError: The timestamp or the size is implausible, or FFmpeg cannot convert it.
        """
        # Written so that NaN is refused too.
        if not seconds - self._last_seconds <= _MAX_FRAME_SECONDS:
            raise MediaError(
                f"its timestamps are implausible: {seconds:.0f} s follow {self._last_seconds:.0f} s"
            )
        if self._container is None:
            self._container = self._open()
        self._last_seconds = max(self._last_seconds, seconds)
        self._stated_seconds = float((frame.duration or 0) * (frame.time_base or 0))
        self._sample(self._deinterlacer.push(frame, seconds))

    def _open(self) -> OutputContainer:
        proxy_format = self._format
        self._converter = FilmConverter(
            self._shape,
            short_side=proxy_format.short_side,
            pixel_format="yuv420p",
            bars=self._bars,
        )
        self.width, self.height = self._converter.width, self._converter.height
        container = av.open(str(self._path), "w", format="mp4")
        # A tick lasts one frame. MPEG-4 stores the rate as a fraction of small numbers.
        rate = Fraction(proxy_format.frame_rate).limit_denominator(
            min(1001, int(_MAX_TICKS_PER_SECOND / proxy_format.frame_rate))
        )
        self._stream = container.add_stream("mpeg4", rate=rate)
        self._stream.width, self._stream.height = self.width, self.height
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = self._tick = 1 / rate
        context.gop_size = proxy_format.keyframe_every
        context.colorspace = _COLORSPACE_BT601
        self._stream.thread_count = 1
        self._stream.options = {**_mpeg4_options(proxy_format.quantizer)}
        return container

    def _sample(self, frames: Iterable[tuple[VideoFrame, float]]) -> None:
        for frame, seconds in frames:
            for selected in self._sampler.push(frame, seconds):
                self._write(selected)

    def _write(self, frame: VideoFrame) -> None:
        assert self._container is not None
        # A frame that is displayed for several frames of the proxy is converted once.
        if frame is not self._last_input or self._converted is None:
            self._last_input, self._converted = frame, self._converter.convert(frame)
        self._converted.pts = self._num_frames
        self._converted.time_base = self._tick
        self._converted.pict_type = 0
        self._container.mux(self._stream.encode(self._converted))
        self._num_frames += 1

    def finish(self, stop_seconds: float = 0.0) -> int:
        """Write the remaining frames and return the number of all.

        Args:
            stop_seconds: Hold the last frame until here, if the frames that follow are damaged.

        Raises:
            MediaError: There was no frame.
        """
        if self._container is None:
            raise MediaError("no frame of its video can be decoded")
        self._sample(self._deinterlacer.close())
        last = last_frame_seconds(self._original, self._stated_seconds)
        self.duration_seconds = self._last_seconds + last
        if stop_seconds > self.duration_seconds + last:
            self.duration_seconds = min(stop_seconds, self._last_seconds + _MAX_FRAME_SECONDS)
        for frame in self._sampler.close(self.duration_seconds):
            self._write(frame)
        self._container.mux(self._stream.encode(None))
        return self._num_frames

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()


def _mpeg4_options(quantizer: int) -> dict[str, str]:
    """Return options for a constant quantizer with rate-distortion optimized decisions.

    The decisions weigh bits against distortion by the rate control's lambda, which `qmin` and
    `qmax` do not fix. With a free lambda, a test film came out at 28 dB in a sixth of the bits.
    """
    step, weight = str(quantizer), str(quantizer * _FF_QP2LAMBDA)
    return {
        "qmin": step, "qmax": step, "lmin": weight, "lmax": weight,
        "mbd": "rd", "trellis": "1", "flags": "+mv4",
    }  # fmt: skip


class AudioWriter:
    """Encodes the audio of a proxy.

    Args:
        path: Where to write it, `.mp4`.
        proxy_format: Its sample rate.

    Attributes:
        damage: Where samples were not finite. They are zero in the proxy.
    """

    def __init__(self, path: Path, proxy_format: ProxyFormat) -> None:
        self.damage: list[DamagedInterval] = []
        self._rate = proxy_format.sample_rate_hz
        self._resampler = AlignedResampler(sample_rate_hz=self._rate)
        self._container = av.open(str(path), "w", format="mp4")
        self._stream = self._container.add_stream("flac", rate=self._rate)
        self._stream.layout = "mono"
        self._stream.format = "s16"
        self._stream.options = {"frame_size": str(_AUDIO_FRAME_SIZE)}
        self._num_samples = self._num_buffered = 0
        self._buffered: list[WaveformArray] = []

    def push(self, frame: AudioFrame, seconds: float) -> None:
        """Append a decoded frame that begins `seconds` after the first presented frame."""
        self._buffered.append(self._resampler.push(frame, seconds))
        self._num_buffered += len(self._buffered[-1])
        # A call of the encoder for each of the original's small frames would take longer.
        if self._num_buffered >= _AUDIO_FRAME_SIZE:
            self._write(np.concatenate(self._buffered))
            self._buffered, self._num_buffered = [], 0

    def _write(self, samples: WaveformArray) -> None:
        if len(samples) == 0:
            return
        (damaged,) = np.nonzero(~np.isfinite(samples))
        if len(damaged):
            start, stop = (
                (self._num_samples + int(row)) / self._rate for row in (damaged[0], damaged[-1] + 1)
            )
            self.damage.append(DamagedInterval(start, stop))
            samples = replace_non_finite(samples)
        values = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
        frame = AudioFrame.from_ndarray(values.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = self._num_samples
        self._container.mux(self._stream.encode(frame))
        self._num_samples += len(samples)

    def finish(self, total_samples: int) -> None:
        """Flush everything, and append zeros until there are `total_samples`."""
        self._write(np.concatenate([*self._buffered, self._resampler.finish()]))
        for block in silent_blocks(total_samples - self._num_samples, self._rate):
            self._write(block)
        self._container.mux(self._stream.encode(None))

    def close(self) -> None:
        """Close the file."""
        self._container.close()
