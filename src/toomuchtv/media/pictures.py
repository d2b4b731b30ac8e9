"""Pictures on their own timeline: which one is shown when, upright and in its true shape."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Protocol

import av
from av.container import InputContainer
from av.filter import Graph
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from toomuchtv.errors import MediaError

_UNSPECIFIED_MATRIX = 2  # AVCOL_SPC_UNSPECIFIED


_NOT_A_FILM = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image


def picture_stream(container: InputContainer) -> VideoStream:
    """The stream that is the film: the first video stream that is not cover art.

    Raises:
        MediaError: if there is none, saying what there is instead.
    """
    for stream in container.streams.video:
        if not stream.disposition & _NOT_A_FILM:
            if stream.codec_context is None:
                raise MediaError("its picture is in a format that no decoder here knows")
            return stream
    sound = "only sound" if container.streams.audio else "no sound either"
    if container.streams.video:
        sound = "only cover art" + (" and sound" if container.streams.audio else "")
    raise MediaError(f"no video stream: {sound}")


class _Timed(Protocol):
    def __call__(self, frame: VideoFrame) -> float: ...


def frame_clock(stream: VideoStream) -> _Timed:
    """Make the clock that gives each frame, in decoding order, its seconds in the container.

    A frame without a timestamp (AVI, raw streams) follows the one before by one frame duration.
    """
    step = 1.0 / float(stream.average_rate or stream.guessed_rate or 25)
    last: float | None = None

    def seconds_of(frame: VideoFrame) -> float:
        nonlocal last
        following = 0.0 if last is None else last + step
        last = following if frame.pts is None else frame.time
        return last

    return seconds_of


class ShownFrames:
    """Picks, from frames in presentation order, the one on screen at each wanted time.

    A frame is on screen from its timestamp until the next frame's. The first one is also on
    screen before its timestamp, the last one until `close`.

        frames      |--a--|-----b-----|--c--|
        wanted   ^     ^     ^    ^      ^
        picked   a     a     b    b      c
    """

    def __init__(self, wanted: Iterator[float], *, tolerance_seconds: float) -> None:
        self._wanted = wanted
        self._tolerance = tolerance_seconds
        self._next: float | None = next(wanted, None)
        self._held: VideoFrame | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every wanted time has its frame."""
        return self._next is None

    def push(self, frame: VideoFrame, seconds: float) -> Iterator[VideoFrame]:
        """Take the next frame; yield the held one for each wanted time before `seconds`."""
        if self._held is not None:
            yield from self._until(seconds - self._tolerance)
        self._held = frame

    def close(self, stop_seconds: float = float("inf")) -> Iterator[VideoFrame]:
        """Yield the last frame for each wanted time before `stop_seconds`."""
        if self._held is not None:
            yield from self._until(stop_seconds - self._tolerance)

    def _until(self, stop_seconds: float) -> Iterator[VideoFrame]:
        assert self._held is not None
        while self._next is not None and self._next < stop_seconds:
            yield self._held
            self._next = next(self._wanted, None)


def timestamp_tolerance(stream: VideoStream) -> float:
    """Seconds by which a timestamp may be off for being rounded to the stream's time base."""
    tick = float(stream.time_base) if stream.time_base else 0.0
    return min(max(tick, 1e-6), 0.002)


def display_size(frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    """Width and height as shown: upright, with square pixels."""
    aspect = stream.sample_aspect_ratio or 1
    width, height = max(1, round(frame.width * float(aspect))), frame.height
    return (height, width) if frame.rotation % 180 else (width, height)


def size_for_short_side(display: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Scale a display size so that the shorter side is `short_side`; both sides come out even."""
    scale = short_side / min(display)
    width, height = (max(short_side, 2 * round(side * scale / 2)) for side in display)
    return width, height


class Upright:
    """Converts decoded frames: rotated upright, scaled, in one pixel format and color matrix.

    Output in a YUV format is BT.601, limited range, whatever came in.
    """

    def __init__(self, *, width: int, height: int, pixel_format: str) -> None:
        self._target = (width, height, pixel_format)
        self._graph: Graph | None = None
        self._source: tuple[object, ...] | None = None

    def convert(self, frame: VideoFrame) -> VideoFrame:
        """Convert one frame.

        Raises:
            MediaError: FFmpeg cannot convert it.
        """
        source = (frame.width, frame.height, frame.format.name, frame.rotation, frame.colorspace)
        if self._graph is None or source != self._source:
            self._graph, self._source = self._build(frame), source
        try:
            self._graph.push(frame)
            converted = self._graph.pull()
        except av.FFmpegError as error:
            raise MediaError(f"a frame cannot be converted: {error}") from error
        assert isinstance(converted, VideoFrame)
        return converted

    def _build(self, frame: VideoFrame) -> Graph:
        width, height, pixel_format = self._target
        graph = Graph()
        time_base = frame.time_base or Fraction(1, 90_000)
        last = graph.add(
            "buffer",
            f"width={frame.width}:height={frame.height}:pix_fmt={frame.format.name}"
            f":time_base={time_base.numerator}/{time_base.denominator}"
            f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}",
        )
        chain = [*_turns(frame.rotation)]
        scale = f"{width}:{height}:flags=area+accurate_rnd+full_chroma_int"
        if frame.colorspace == _UNSPECIFIED_MATRIX and min(frame.width, frame.height) >= 720:
            scale += ":in_color_matrix=bt709"  # untagged high definition is BT.709 by convention
        if pixel_format.startswith("yuv"):
            scale += ":out_color_matrix=bt601:out_range=tv"
        chain += [("scale", scale), ("format", pixel_format), ("buffersink", None)]
        for name, arguments in chain:
            node = graph.add(name, arguments)
            last.link_to(node)
            last = node
        graph.configure()
        return graph


def _turns(rotation_degrees: int) -> list[tuple[str, str | None]]:
    # PyAV gives the display matrix's angle, counterclockwise.
    turns: dict[int, list[tuple[str, str | None]]] = {
        0: [],
        90: [("transpose", "cclock")],
        180: [("hflip", None), ("vflip", None)],
        270: [("transpose", "clock")],
    }
    return turns.get(round(rotation_degrees / 90) * 90 % 360, [])
