"""Frames whose two fields are two moments, made into pictures of one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction

import av
from av.filter import Graph
from av.video.frame import VideoFrame

from toomuchtv.errors import MediaError


class Deinterlacer:
    """Deinterlaces the frames that are flagged interlaced; the others pass as they are.

    One picture for each frame, of the moment of its first field, by FFmpeg's bwdif. It looks at the
    frame before and the one after, so from the first interlaced frame on it runs one frame late:

        push      a    b    c    d    close
        comes     -    a    b    c      d       a..d interlaced
                  a    b    -    c      d       c and d interlaced: from then on late

    A film without interlaced frames costs nothing and is not delayed.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._before: VideoFrame | None = None
        self._shape: tuple[int, int, str] | None = None
        self._waiting: deque[float | None] = deque()  # None: was given already

    def push(self, frame: VideoFrame, seconds: float) -> Iterator[tuple[VideoFrame, float]]:
        """Take the next frame in presentation order; yield what is done, each with its seconds.

        Raises:
            MediaError: FFmpeg cannot convert it.
        """
        shape = (frame.width, frame.height, frame.format.name)
        if shape != self._shape:
            yield from self.close()
            self._shape = shape
        if self._graph is None:
            if not frame.interlaced_frame:
                self._before = frame
                yield frame, seconds
                return
            self._graph = _graph(frame)
            # The first one has itself before it.
            self._feed(self._before or frame, None)
            self._before = None
        self._feed(frame, seconds)
        yield from self._done()

    def close(self) -> Iterator[tuple[VideoFrame, float]]:
        """Yield the frame that waits for one after it, if any."""
        if self._graph is not None:
            self._feed(None, None)
            yield from self._done()
        self._graph, self._before = None, None
        self._waiting.clear()

    def _feed(self, frame: VideoFrame | None, seconds: float | None) -> None:
        assert self._graph is not None
        try:
            self._graph.push(frame)
        except av.FFmpegError as error:
            raise MediaError(f"a frame cannot be deinterlaced: {error}") from error
        if frame is not None:
            self._waiting.append(seconds)

    def _done(self) -> Iterator[tuple[VideoFrame, float]]:
        assert self._graph is not None
        while self._waiting:
            try:
                picture = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            except av.FFmpegError as error:
                raise MediaError(f"a frame cannot be deinterlaced: {error}") from error
            assert isinstance(picture, VideoFrame)
            seconds = self._waiting.popleft()
            if seconds is not None:
                yield picture, seconds


def _graph(frame: VideoFrame) -> Graph:
    graph = Graph()
    time_base = frame.time_base or Fraction(1, 90_000)
    source = graph.add(
        "buffer",
        f"width={frame.width}:height={frame.height}:pix_fmt={frame.format.name}"
        f":time_base={time_base.numerator}/{time_base.denominator}"
        f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}",
    )
    node = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(node)
    node.link_to(sink)
    graph.configure()
    return graph
