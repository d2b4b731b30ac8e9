"""Proxies: the small copies that training reads, made in one pass over an original.

Video is MPEG-4 part 2 at a fixed frame rate, in short closed GOPs without B-frames, so that a
random moment costs a few small frames to reach; at one size and likeness it decodes nearly twice
as fast as H.264 (docs/proxies.md). Sound is FLAC in MP4: lossless, and its index gives any
sample at once, with no priming to account for.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame

from toomuchtv.errors import MediaError
from toomuchtv.media.deinterlace import Deinterlacer
from toomuchtv.media.letterbox import find_bars
from toomuchtv.media.original import open_media
from toomuchtv.media.pictures import (
    Bars,
    ShownFrames,
    display_size,
    picture_stream,
    timestamp_tolerance,
)
from toomuchtv.media.proxy_writers import PictureWriter, ProxyFormat, SoundWriter
from toomuchtv.media.timeline import Timeline, read_timeline

__all__ = ["ProxyFacts", "ProxyFormat", "write_proxy", "write_sound_proxy"]

_TELL_EVERY_SECONDS = 2.0
# One picture is not shown for longer: a clock that says so is damaged.
_LONGEST_STILL_SECONDS = 3600.0
_LONGEST_LAST_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyFacts:
    """What a written proxy holds. `damaged_packets` of the original were left out."""

    num_frames: int
    width: int
    height: int
    num_samples: int
    damaged_packets: int


def write_proxy(
    source: Path,
    video_path: Path,
    audio_path: Path | None,
    recipe: ProxyFormat,
    *,
    audio_track: int = 0,
    num_threads: int = 1,
    tell: Callable[[float], None] = lambda seconds: None,
) -> ProxyFacts:
    """Make the proxy of one file. Writes straight to the paths given; renaming is the caller's.

    Args:
        source: The original; only read.
        video_path: Where the video goes, `.mp4`.
        audio_path: Where the sound goes, `.mp4`; None for a silent proxy.
        recipe: Rates, size and quality.
        audio_track: Which audio track of the original, from 0.
        num_threads: Decoding threads.
        tell: Called now and then with the seconds of film done.

    Raises:
        MediaError: The source has no video, cannot be decoded, or the disk is full.
    """
    try:
        bars: Bars | None = None
        if recipe.letterbox == "crop":
            with open_media(source) as container:
                bars = find_bars(container)
        with open_media(source) as container:
            timeline = read_timeline(source, container)
        with open_media(source) as container:
            maker = _ProxyMaker(
                container, timeline, video_path, audio_path, recipe, audio_track, bars
            )
            maker.limit_threads(num_threads)
            try:
                maker.run(tell)
                return maker.finish()
            finally:
                maker.close()
    except av.FFmpegError as error:
        raise MediaError(f"cannot make a proxy of {str(source)!r}: {error}") from error


def write_sound_proxy(
    source: Path,
    audio_path: Path,
    recipe: ProxyFormat,
    *,
    audio_track: int,
    num_samples: int,
    tell: Callable[[float], None] = lambda seconds: None,
) -> None:
    """Make the proxy of one more sound track, another language say, without decoding the picture.

    Args:
        source: The original; only read.
        audio_path: Where it goes, `.mp4`.
        recipe: Its sample rate.
        audio_track: Which audio track of the original, from 0.
        num_samples: Length of the item's proxies: shorter sound is padded with silence.
        tell: Called now and then as a sign of life, with 0: the picture's time is what counts.

    Raises:
        MediaError: The source cannot be decoded, or the disk is full.
    """
    try:
        with open_media(source) as container:
            seconds_of = read_timeline(source, container).sound_clock()
        with open_media(source) as container:
            writer = SoundWriter(audio_path, recipe)
            try:
                told = time.monotonic()
                for packet in container.demux(container.streams.audio[audio_track]):
                    try:
                        frames = packet.decode()
                    except av.InvalidDataError:
                        continue
                    for frame in frames:
                        seconds = seconds_of(frame)
                        if seconds is not None:
                            writer.push(frame, seconds)
                    if time.monotonic() - told > _TELL_EVERY_SECONDS:
                        told = time.monotonic()
                        tell(0.0)
                writer.finish(num_samples)
            finally:
                writer.close()
    except av.FFmpegError as error:
        raise MediaError(f"cannot make a proxy of the sound of {str(source)!r}: {error}") from error


class _ProxyMaker:
    """One pass over the packets of an original, pictures to one writer and sound to another."""

    def __init__(
        self,
        container: InputContainer,
        timeline: Timeline,
        video_path: Path,
        audio_path: Path | None,
        recipe: ProxyFormat,
        audio_track: int,
        bars: Bars | None,
    ) -> None:
        self._container = container
        self._recipe = recipe
        self._video = picture_stream(container)
        self._audio = container.streams.audio[audio_track] if audio_path is not None else None
        self._picture_seconds = timeline.picture_clock(self._video)
        self._sound_seconds = timeline.sound_clock()
        self._has_picture = False
        self._last_seconds = 0.0
        wanted = (index / recipe.frame_rate for index in itertools.count())
        self._shown = ShownFrames(wanted, tolerance_seconds=timestamp_tolerance(self._video))
        self._deinterlacer = Deinterlacer()
        self._bars = bars
        self._pictures = PictureWriter(video_path, recipe)
        self._sound = None if audio_path is None else SoundWriter(audio_path, recipe)
        self._damaged_packets = 0

    def limit_threads(self, num_threads: int) -> None:
        self._video.thread_count = num_threads
        self._video.thread_type = "AUTO" if num_threads > 1 else "NONE"

    def run(self, tell: Callable[[float], None]) -> None:
        told = 0.0
        streams = [stream for stream in (self._video, self._audio) if stream is not None]
        packets = self._container.demux(streams)
        while True:
            try:
                packet = next(packets, None)
            except (av.InvalidDataError, IndexError):
                # The container breaks off here; what came before stands. PyAV's IndexError: it
                # ended, with a stream more than it began with.
                self._damaged_packets += 1
                packet = None
            if packet is None:
                break
            self._take(packet)
            if self._last_seconds >= told + _TELL_EVERY_SECONDS:
                told = self._last_seconds
                tell(told)
        self._drain()

    def _take(self, packet: Packet[Any]) -> None:
        try:
            decoded = packet.decode()
        except EOFError:
            return
        except av.FFmpegError:  # not only InvalidDataError: "not yet implemented", say
            self._damaged_packets += 1
            return
        self._route(decoded)

    def _drain(self) -> None:
        """Get the last frames where the demuxer broke off before its flush packets."""
        for stream in (self._video, self._audio):
            if stream is None:
                continue
            try:
                self._route(stream.decode(None))
            except (av.FFmpegError, EOFError):
                continue  # it was drained already

    def _route(self, decoded: object) -> None:
        assert isinstance(decoded, list)
        for frame in decoded:
            if isinstance(frame, VideoFrame):
                self._take_picture(frame)
            elif isinstance(frame, AudioFrame):
                self._take_sound(frame)

    def _take_picture(self, frame: VideoFrame) -> None:
        seconds = self._picture_seconds(frame)
        if not seconds - self._last_seconds <= _LONGEST_STILL_SECONDS:
            raise MediaError(
                f"its timestamps make no sense: {seconds:.0f} s follow {self._last_seconds:.0f} s"
            )
        if not self._has_picture:
            self._has_picture = True
            self._pictures.open(display_size(frame, self._video, self._bars), self._bars)
        self._last_seconds = max(self._last_seconds, seconds)
        self._show(self._deinterlacer.push(frame, seconds))

    def _show(self, pictures: Iterator[tuple[VideoFrame, float]]) -> None:
        for picture, seconds in pictures:
            for shown in self._shown.push(picture, seconds):
                self._pictures.write(shown)

    def _take_sound(self, frame: AudioFrame) -> None:
        if self._sound is None:
            return
        seconds = self._sound_seconds(frame)
        if seconds is not None:
            self._sound.push(frame, seconds)

    def finish(self) -> ProxyFacts:
        if not self._has_picture:
            raise MediaError("no picture in it can be decoded")
        self._show(self._deinterlacer.close())
        frame_seconds = min(1.0 / float(self._video.average_rate or 25), _LONGEST_LAST_SECONDS)
        for picture in self._shown.close(self._last_seconds + frame_seconds):
            self._pictures.write(picture)
        num_frames = self._pictures.finish()
        num_samples = 0
        if self._sound is not None:
            num_samples = round(num_frames / self._recipe.frame_rate * self._recipe.sample_rate_hz)
            self._sound.finish(num_samples)
        return ProxyFacts(
            num_frames=num_frames,
            width=self._pictures.width,
            height=self._pictures.height,
            num_samples=num_samples,
            damaged_packets=self._damaged_packets,
        )

    def close(self) -> None:
        self._pictures.close()
        if self._sound is not None:
            self._sound.close()
