"""The shape of a film: the displayed size of its first frame, into which all others are fitted.

Size, sample aspect ratio and rotation are properties of a frame. A broadcast may switch between 4:3
and 16:9 at the same number of pixels, and a recording between resolutions. Every reader takes the
canvas from the film's first frame and fits the others into it without distortion, so that clips,
proxies and frames have one size, wherever reading begins:

    first frame 4:3, so the canvas is 4:3       a later frame of 16:9 in it

        +--------------+                            +--------------+
        |              |                            |    black     |
        |              |                            |--------------|
        |              |                            |              |
        |              |                            |--------------|
        +--------------+                            +--------------+
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import av
from av.container import InputContainer
from av.filter import Graph
from av.video.frame import VideoFrame

from toomuchtv.errors import MediaError
from toomuchtv.media.containers import (
    MAX_FRAME_PIXELS,
    file_identity,
    find_video_stream,
    open_media,
)
from toomuchtv.media.decoding import decode_frames
from toomuchtv.media.frame_converter import (
    BlackBars,
    FrameConverter,
    Size,
    build_filter_graph,
    size_for_short_side,
)

# No film exceeds these: a header that declares more is damaged.
_MAX_SIDE_PIXELS = 32_768
_MAX_DISPLAY_RATIO = 32
# Two ratios that differ by less are one: that of the samples is stated in whole numbers, and 1,088
# coded lines stand for 1,080.
_SAME_RATIO = 0.01
# These containers state no sample aspect ratio of their own.
_FORMATS_WITHOUT_ASPECT = frozenset({"mpegts", "mpeg"})
_MAX_CACHED_FILES = 256
_ASPECT_PRECISION = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmShape:
    """The shape of a film's first frame.

    Attributes:
        width: Coded width in pixels.
        height: Coded height in pixels.
        rotation_degrees: Rotation by the display matrix.
        own_aspect: Sample aspect ratio that the frame itself states; 1 if it states none.
        aspect: The ratio that it is displayed with, which the container may state differently.
    """

    width: int
    height: int
    rotation_degrees: int
    own_aspect: float
    aspect: float

    def canvas(self, bars: BlackBars | None = None) -> Size:
        """Return width and height of the film as displayed: rotated, square pixels, without bars.

        Raises:
            MediaError: The declared size or sample aspect ratio is implausible.
        """
        width, height = self.width, self.height
        if bars is not None:
            _, _, width, height = bars.active_area(width, height)
        return _displayed(width, height, self.aspect, self.rotation_degrees)

    def is_like_first(self, frame: VideoFrame, own_aspect: float) -> bool:
        """Return whether a frame has the size, the ratio and the rotation of the first one."""
        return (
            (frame.width, frame.height) == (self.width, self.height)
            and frame.rotation == self.rotation_degrees
            and own_aspect == self.own_aspect
        )

    def fitted(self, frame: VideoFrame, own_aspect: float, canvas: Size, size: Size) -> Size:
        """Return the size of a whole frame inside an output of `size` that shows the canvas.

        Args:
            frame: The frame.
            own_aspect: The ratio of `AspectReader`.
            canvas: The film as displayed.
            size: The scaled canvas; the result is `size` if the frame has the canvas's shape.

        Raises:
            MediaError: The declared size or sample aspect ratio is implausible.
        """
        # The container speaks of frames like the first one. A ratio that changes is the stream's.
        aspect = self.aspect if own_aspect == self.own_aspect else own_aspect
        width, height = _displayed(frame.width, frame.height, aspect, frame.rotation)
        ratio = (width / height) / (canvas[0] / canvas[1])
        if abs(ratio - 1) <= _SAME_RATIO:
            return size
        # Even, as chroma of 4:2:0 needs it.
        if ratio > 1:
            return size[0], min(size[1], max(2, 2 * round(size[1] / ratio / 2)))
        return min(size[0], max(2, 2 * round(size[0] * ratio / 2))), size[1]


def _displayed(width: int, height: int, aspect: float, rotation_degrees: int) -> Size:
    width = max(1, round(width * aspect))
    if (
        max(width, height) > min(_MAX_SIDE_PIXELS, _MAX_DISPLAY_RATIO * min(width, height))
        or width * height > MAX_FRAME_PIXELS
    ):
        raise MediaError(f"its header declares an implausible frame size of {width}x{height}")
    return (height, width) if rotation_degrees % 180 else (width, height)


def film_shape(container: InputContainer) -> FilmShape:
    """Return the shape of a film. The file is opened anew; the shapes of 256 files are cached.

    Raises:
        MediaError: There is no video, or no frame of it can be decoded.
    """
    return _film_shape(*file_identity(container))


@functools.lru_cache(_MAX_CACHED_FILES)
def _film_shape(path: str, size: int, modified_ns: int) -> FilmShape:
    with open_media(path) as container:
        stream = find_video_stream(container)
        stated = stream.sample_aspect_ratio
        first = next(decode_frames(container, stream), None)
        if not isinstance(first, VideoFrame):
            raise MediaError("no frame of its video can be decoded")
        own_aspect = AspectReader().read(first)
        has_aspect = container.format.name not in _FORMATS_WITHOUT_ASPECT
        return FilmShape(
            width=first.width,
            height=first.height,
            rotation_degrees=first.rotation,
            own_aspect=own_aspect,
            aspect=float(stated) if stated and has_aspect else own_aspect,
        )


class AspectReader:
    """Reads the sample aspect ratio that a frame itself states, which PyAV does not expose.

    FFmpeg's scale filter knows it. A corner of the frame is scaled to a width that tells the ratio
    within a thousandth.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._graph_input: tuple[object, ...] | None = None

    def read(self, frame: VideoFrame) -> float:
        """Return the sample aspect ratio of a frame; 1 if it states none."""
        graph_input = (
            frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range,
        )  # fmt: skip
        try:
            if self._graph is None or graph_input != self._graph_input:
                self._graph = build_filter_graph(frame, [
                    ("crop", "2:2:0:0:exact=1"),
                    # The height tells whether the ratio or its inverse is meant.
                    ("scale", f"round({_ASPECT_PRECISION}*clip(max(sar\\,1/sar)\\,1\\,32))"
                              ":if(lt(sar\\,1)\\,4\\,2):eval=frame:flags=neighbor"),
                ])  # fmt: skip
                self._graph_input = graph_input
            self._graph.push(frame)
            corner = self._graph.pull()
        except av.FFmpegError:
            self._graph = None
            return 1.0  # such a frame cannot be converted either, which is said there
        assert isinstance(corner, VideoFrame)
        ratio = corner.width / _ASPECT_PRECISION
        return 1 / ratio if corner.height == 4 else ratio


class FilmConverter:
    """Converts the frames of a film to one size: the first frame fills it, others are fitted in.

    Args:
        shape: The shape of the film.
        short_side: Length of the shorter side in pixels; None keeps the size.
        pixel_format: See `FrameConverter`.
        bars: The black bars to crop; see `letterbox`.

    Attributes:
        width: Width of the output in pixels.
        height: Height of the output in pixels.

    Raises:
        MediaError: The film's size or sample aspect ratio is implausible.
    """

    def __init__(
        self,
        shape: FilmShape,
        *,
        short_side: int | None,
        pixel_format: str,
        bars: BlackBars | None = None,
    ) -> None:
        self._shape = shape
        self._canvas = shape.canvas(bars)
        self._size = self._canvas
        if short_side is not None:
            self._size = size_for_short_side(self._canvas, short_side)
        self.width, self.height = self._size
        self._aspects = AspectReader()
        self._converter = FrameConverter(
            width=self.width, height=self.height, pixel_format=pixel_format, bars=bars
        )

    def convert(self, frame: VideoFrame) -> VideoFrame:
        """Convert one frame.

        Raises:
            MediaError: FFmpeg cannot convert it, or its size or aspect ratio is implausible.
        """
        own_aspect = self._aspects.read(frame)
        if self._shape.is_like_first(frame, own_aspect):
            return self._converter.convert(frame)
        inner = self._shape.fitted(frame, own_aspect, self._canvas, self._size)
        return self._converter.convert(frame, inner)
