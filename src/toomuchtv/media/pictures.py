"""Pictures on their own timeline: which one is shown when, upright and in its true shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import av
import numpy as np
from av.container import InputContainer
from av.filter import Graph
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from toomuchtv.errors import MediaError
from toomuchtv.media.hdr import Light, has_wide_gamut, light_of, to_sdr

_UNSPECIFIED_MATRIX = 2  # AVCOL_SPC_UNSPECIFIED
_BT2020_MATRIX = 9  # AVCOL_SPC_BT2020_NCL


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Widths of the black bars of decoded frames of one size, in pixels as coded."""

    of_width: int
    of_height: int
    left: int
    top: int
    right: int
    bottom: int

    def inside(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, width, height of the picture; all of a frame that is of another size."""
        if (width, height) != (self.of_width, self.of_height):
            return 0, 0, width, height
        return self.left, self.top, width - self.left - self.right, height - self.top - self.bottom


# No film is wider than this, in pixels or in shape: what claims to be has a damaged header.
_MAX_SIDE = 32_768
_MAX_ASPECT = 32


def display_size(
    frame: VideoFrame, stream: VideoStream, bars: Bars | None = None
) -> tuple[int, int]:
    """Width and height as shown: upright, with square pixels, without the bars.

    Raises:
        MediaError: The shape makes no sense.
    """
    aspect = stream.sample_aspect_ratio or 1
    width, height = frame.width, frame.height
    if bars is not None:
        _, _, width, height = bars.inside(width, height)
    width = max(1, round(width * float(aspect)))
    if max(width, height) > min(_MAX_SIDE, _MAX_ASPECT * min(width, height)):
        raise MediaError(f"its picture claims a shape of {width}x{height}")
    return (height, width) if frame.rotation % 180 else (width, height)


def size_for_short_side(display: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Scale a display size so that the shorter side is `short_side`; both sides come out even."""
    scale = short_side / min(display)
    width, height = (max(short_side, 2 * round(side * scale / 2)) for side in display)
    return width, height


class Upright:
    """Converts decoded frames: upright, without bars, scaled, SDR, in one format and color matrix.

    Output in a YUV format is BT.601, limited range, chroma sited left (MPEG-2), whatever came in.

    Args:
        width: Of the output.
        height: Of the output.
        pixel_format: Of the output, an FFmpeg name.
        bars: What to cut off; see `letterbox`.
    """

    def __init__(
        self, *, width: int, height: int, pixel_format: str, bars: Bars | None = None
    ) -> None:
        self._target = (width, height, pixel_format)
        self._bars = bars
        self._graph: Graph | None = None
        self._from_sdr: Graph | None = None
        self._source: tuple[object, ...] | None = None

    def convert(self, frame: VideoFrame) -> VideoFrame:
        """Convert one frame.

        Raises:
            MediaError: FFmpeg cannot convert it.
        """
        light = light_of(frame)
        source = (
            frame.width, frame.height, frame.format.name, frame.rotation, frame.colorspace,
            frame.color_range, light,
        )  # fmt: skip
        try:
            if self._graph is None or source != self._source:
                self._graph, self._source = self._build(frame, light), source
            converted = _through(self._graph, frame)
            if light is not None:
                converted = self._from_light(converted, light, wide_gamut=has_wide_gamut(frame))
        except av.FFmpegError as error:
            raise MediaError(f"a frame cannot be converted: {error}") from error
        return converted

    def _from_light(self, frame: VideoFrame, light: Light, *, wide_gamut: bool) -> VideoFrame:
        """Map scaled HDR, `gbrp16le`, to SDR in the wanted pixel format."""
        values = np.asarray(frame.to_ndarray(), np.uint16)
        sdr = VideoFrame.from_ndarray(to_sdr(values, light, wide_gamut=wide_gamut), format="rgb24")
        sdr.pts, sdr.time_base = frame.pts, frame.time_base or Fraction(1, 90_000)
        width, height, pixel_format = self._target
        if pixel_format == "rgb24":
            return sdr
        if self._from_sdr is None:
            self._from_sdr = _linked(sdr, [_scale(sdr, width, height, pixel_format)], pixel_format)
        return _through(self._from_sdr, sdr)

    def _build(self, frame: VideoFrame, light: Light | None) -> Graph:
        width, height, pixel_format = self._target
        if light is not None:
            pixel_format = "gbrp16le"  # not rgb48le: FFmpeg 8 gets its colors wrong
        chain: list[tuple[str, str | None]] = []
        if self._bars is not None:
            left, top, inner_width, inner_height = self._bars.inside(frame.width, frame.height)
            chain.append(("crop", f"{inner_width}:{inner_height}:{left}:{top}:exact=1"))
        chain.extend(_turns(frame.rotation))
        chain.append(_scale(frame, width, height, pixel_format))
        return _linked(frame, chain, pixel_format)


def _through(graph: Graph, frame: VideoFrame) -> VideoFrame:
    graph.push(frame)
    converted = graph.pull()
    assert isinstance(converted, VideoFrame)
    return converted


def _linked(frame: VideoFrame, chain: list[tuple[str, str | None]], pixel_format: str) -> Graph:
    """A graph of filters for frames like this one."""
    graph = Graph()
    time_base = frame.time_base or Fraction(1, 90_000)
    last = graph.add(
        "buffer",
        f"width={frame.width}:height={frame.height}:pix_fmt={frame.format.name}"
        f":time_base={time_base.numerator}/{time_base.denominator}"
        f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}",
    )
    for name, arguments in [*chain, ("format", pixel_format), ("buffersink", None)]:
        node = graph.add(name, arguments)
        last.link_to(node)
        last = node
    graph.configure()
    return graph


def _scale(frame: VideoFrame, width: int, height: int, pixel_format: str) -> tuple[str, str | None]:
    scale = f"{width}:{height}:flags=area+accurate_rnd+full_chroma_int+full_chroma_inp"
    if frame.colorspace == _UNSPECIFIED_MATRIX:
        if light_of(frame) is not None:
            scale += ":in_color_matrix=bt2020"
        elif min(frame.width, frame.height) >= 720:
            scale += ":in_color_matrix=bt709"  # untagged high definition is so by convention
    # Chroma samples lie above and below the left one of two luma samples, in BT.2020 at the upper
    # left one. FFmpeg's default is the middle, as in JPEG: half a pixel off.
    if not frame.format.is_rgb:
        is_bt2020 = frame.colorspace == _BT2020_MATRIX
        scale += f":in_chroma_loc={'topleft' if is_bt2020 else 'left'}"
    if pixel_format.startswith("yuv"):
        scale += ":out_color_matrix=bt601:out_range=tv:out_chroma_loc=left"
    return ("scale", scale)


def _turns(rotation_degrees: int) -> list[tuple[str, str | None]]:
    # PyAV gives the display matrix's angle, counterclockwise.
    turns: dict[int, list[tuple[str, str | None]]] = {
        0: [],
        90: [("transpose", "cclock")],
        180: [("hflip", None), ("vflip", None)],
        270: [("transpose", "clock")],
    }
    return turns.get(round(rotation_degrees / 90) * 90 % 360, [])
