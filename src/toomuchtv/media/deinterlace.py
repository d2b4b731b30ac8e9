"""Deinterlacing of frames whose two fields show two different times."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import av
from av.filter import Graph
from av.video.frame import VideoFrame

from toomuchtv.errors import MediaError
from toomuchtv.media.frame_converter import build_filter_graph


class Deinterlacer:
    """Deinterlaces frames that are flagged as interlaced; others pass unchanged.

    Each frame gives one frame, at the time of its first field, by FFmpeg's bwdif. The filter needs
    the frame before and the frame after, so that output is one frame late from the first
    interlaced frame on:

        push      a    b    c    d    close
        output    -    a    b    c      d       a to d are interlaced
                  a    b    -    c      d       c and d are interlaced: late from then on

    Video without interlaced frames is neither delayed nor slowed down.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._previous: VideoFrame | None = None
        self._input_format: tuple[int, int, str] | None = None
        # Times of the frames inside the filter; None marks a frame that was output already.
        self._pending: deque[float | None] = deque()

    def push(self, frame: VideoFrame, seconds: float) -> Iterator[tuple[VideoFrame, float]]:
        """Take the next frame in presentation order; yield finished frames with their times.

        Raises:
            MediaError: FFmpeg cannot deinterlace it.
        """
        input_format = (frame.width, frame.height, frame.format.name)
        if input_format != self._input_format:
            yield from self.close()
            self._input_format = input_format
        if self._graph is None:
            if not frame.interlaced_frame:
                self._previous = frame
                yield frame, seconds
                return
            self._graph = build_filter_graph(
                frame, [("bwdif", "mode=send_frame:parity=auto:deint=interlaced")]
            )
            # If there is no previous frame, the first interlaced frame is pushed twice.
            self._push_to_filter(self._previous or frame, None)
            self._previous = None
        self._push_to_filter(frame, seconds)
        yield from self._pull_from_filter()

    def close(self) -> Iterator[tuple[VideoFrame, float]]:
        """Yield the frame that is still inside the filter, if any."""
        if self._graph is not None:
            self._push_to_filter(None, None)
            yield from self._pull_from_filter()
        self._graph, self._previous = None, None
        self._pending.clear()

    def _push_to_filter(self, frame: VideoFrame | None, seconds: float | None) -> None:
        assert self._graph is not None
        try:
            self._graph.push(frame)
        except av.FFmpegError as error:
            raise MediaError(f"a frame cannot be deinterlaced: {error}") from error
        if frame is not None:
            self._pending.append(seconds)

    def _pull_from_filter(self) -> Iterator[tuple[VideoFrame, float]]:
        assert self._graph is not None
        while self._pending:
            try:
                frame = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            except av.FFmpegError as error:
                raise MediaError(f"a frame cannot be deinterlaced: {error}") from error
            assert isinstance(frame, VideoFrame)
            seconds = self._pending.popleft()
            if seconds is not None:
                yield frame, seconds
