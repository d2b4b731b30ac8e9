"""Conversion of decoded frames to one orientation, size, pixel format and color space."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame

from toomuchtv.errors import MediaError
from toomuchtv.media.hdr import TransferFunction, has_wide_gamut, tone_map, transfer_function_of

_MATRIX_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_MATRIX_BT2020 = 9  # AVCOL_SPC_BT2020_NCL
# A filter of FFmpeg: its name and its arguments.
Filter = tuple[str, str | None]
# Width and height in pixels.
Size = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlackBars:
    """Widths of the black bars of an item, in coded pixels.

    Attributes:
        frame_width: Width of the frames that the bars were measured in.
        frame_height: Height of those frames.
        left: Width of the bar at the left edge; likewise the other three.
        top: See `left`.
        right: See `left`.
        bottom: See `left`.
    """

    frame_width: int
    frame_height: int
    left: int
    top: int
    right: int
    bottom: int

    def active_area(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return left, top, width and height of the image inside the bars.

        For a frame whose size is not the one measured, this is the whole frame.
        """
        if (width, height) != (self.frame_width, self.frame_height):
            return 0, 0, width, height
        return self.left, self.top, width - self.left - self.right, height - self.top - self.bottom


def size_for_short_side(display: Size, short_side: int) -> Size:
    """Scale a (width, height) so that the shorter side is `short_side`; both become even."""
    scale = short_side / min(display)
    width, height = (max(short_side, 2 * round(side * scale / 2)) for side in display)
    return width, height


class FrameConverter:
    """Converts decoded frames: applies the display matrix, crops bars, scales, and maps to SDR.

    YUV output is BT.601, limited range, with left-sited chroma (MPEG-2), whatever the input is.

    Args:
        width: Width of the output in pixels.
        height: Height of the output in pixels.
        pixel_format: FFmpeg's name of the output's pixel format.
        bars: The black bars to crop; see `letterbox`.
    """

    def __init__(
        self, *, width: int, height: int, pixel_format: str, bars: BlackBars | None = None
    ) -> None:
        self._target = (width, height, pixel_format)
        self._bars = bars
        self._graph: Graph | None = None
        self._graph_from_sdr: Graph | None = None
        self._graph_input: tuple[object, ...] | None = None

    def convert(self, frame: VideoFrame, inner: Size | None = None) -> VideoFrame:
        """Convert one frame.

        Args:
            frame: The frame.
            inner: Scale the whole frame, with its bars, to this size, and center it on black. By
                default, the frame without its bars fills the output.

        Raises:
            MediaError: FFmpeg cannot convert it.
        """
        transfer = transfer_function_of(frame)
        # A stream may change any of these from frame to frame. The filter graph is then rebuilt.
        graph_input = (
            frame.width, frame.height, frame.format.name, frame.rotation, frame.colorspace,
            frame.color_range, transfer, inner,
        )  # fmt: skip
        try:
            if self._graph is None or graph_input != self._graph_input:
                self._graph, self._graph_input = (
                    self._build_graph(frame, transfer, inner),
                    graph_input,
                )
            converted = _run(self._graph, frame)
            if transfer is not None:
                converted = self._to_sdr(converted, transfer, wide_gamut=has_wide_gamut(frame))
        except av.FFmpegError as error:
            raise MediaError(f"a frame cannot be converted: {error}") from error
        return converted

    def _to_sdr(
        self, frame: VideoFrame, transfer: TransferFunction, *, wide_gamut: bool
    ) -> VideoFrame:
        """Map a scaled frame in `gbrp16le` to SDR in the target's pixel format."""
        values = np.asarray(frame.to_ndarray(), np.uint16)
        rgb = tone_map(values, transfer, wide_gamut=wide_gamut)
        sdr = VideoFrame.from_ndarray(rgb, format="rgb24")
        sdr.pts, sdr.time_base = frame.pts, frame.time_base or Fraction(1, 90_000)
        width, height, pixel_format = self._target
        if pixel_format == "rgb24":
            return sdr
        if self._graph_from_sdr is None:
            chain = [_scale_filter(sdr, width, height, pixel_format), ("format", pixel_format)]
            self._graph_from_sdr = build_filter_graph(sdr, chain)
        return _run(self._graph_from_sdr, sdr)

    def _build_graph(
        self, frame: VideoFrame, transfer: TransferFunction | None, inner: Size | None
    ) -> Graph:
        width, height, pixel_format = self._target
        if transfer is not None:
            pixel_format = "gbrp16le"  # not rgb48le, whose colors FFmpeg 8 gets wrong
        chain: list[Filter] = []
        if self._bars is not None and inner is None:
            left, top, inner_width, inner_height = self._bars.active_area(frame.width, frame.height)
            chain.append(("crop", f"{inner_width}:{inner_height}:{left}:{top}:exact=1"))
        chain.extend(_rotation_filters(frame.rotation))
        chain.append(_scale_filter(frame, *(inner or (width, height)), pixel_format))
        chain.append(("format", pixel_format))
        if inner is not None and inner != (width, height):
            # At even distances, as chroma of 4:2:0 needs it.
            x, y = (width - inner[0]) // 4 * 2, (height - inner[1]) // 4 * 2
            chain.append(("pad", f"{width}:{height}:{x}:{y}:color=black"))
        return build_filter_graph(frame, chain)


def build_filter_graph(frame: VideoFrame, filters: list[Filter]) -> Graph:
    """Return a graph of filters, one after the other, for frames with the properties of `frame`."""
    graph = Graph()
    time_base = frame.time_base or Fraction(1, 90_000)
    last = graph.add(
        "buffer",
        f"width={frame.width}:height={frame.height}:pix_fmt={frame.format.name}"
        f":time_base={time_base.numerator}/{time_base.denominator}"
        f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}",
    )
    for name, arguments in [*filters, ("buffersink", None)]:
        node = graph.add(name, arguments)
        last.link_to(node)
        last = node
    graph.configure()
    return graph


def _run(graph: Graph, frame: VideoFrame) -> VideoFrame:
    graph.push(frame)
    converted = graph.pull()
    assert isinstance(converted, VideoFrame)
    return converted


def _scale_filter(frame: VideoFrame, width: int, height: int, pixel_format: str) -> Filter:
    scale = f"{width}:{height}:flags=area+accurate_rnd+full_chroma_int+full_chroma_inp"
    if frame.colorspace == _MATRIX_UNSPECIFIED:
        if transfer_function_of(frame) is not None:
            scale += ":in_color_matrix=bt2020"
        elif min(frame.width, frame.height) >= 720:
            scale += ":in_color_matrix=bt709"  # the convention for untagged high definition
    # Chroma is sited between the rows of two luma samples and at the left column, in BT.2020 at
    # the upper left sample. FFmpeg's default is the center, as in JPEG, which is half a pixel off.
    if not frame.format.is_rgb:
        is_bt2020 = frame.colorspace == _MATRIX_BT2020
        scale += f":in_chroma_loc={'topleft' if is_bt2020 else 'left'}"
    if pixel_format.startswith("yuv"):
        scale += ":out_color_matrix=bt601:out_range=tv:out_chroma_loc=left"
    return ("scale", scale)


def _rotation_filters(rotation_degrees: int) -> list[Filter]:
    # PyAV reports the angle of the display matrix, which is counterclockwise.
    filters: dict[int, list[Filter]] = {
        0: [],
        90: [("transpose", "cclock")],
        180: [("hflip", None), ("vflip", None)],
        270: [("transpose", "clock")],
    }
    return filters.get(round(rotation_degrees / 90) * 90 % 360, [])
