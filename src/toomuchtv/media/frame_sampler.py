"""Selection of the frame that is displayed at each requested time."""

from __future__ import annotations

from collections.abc import Iterator

from av.video.frame import VideoFrame
from av.video.stream import VideoStream


class FrameSampler:
    """Selects, from frames in presentation order, the frame displayed at each requested time.

    A frame is displayed from its timestamp until the timestamp of the next frame. The first frame
    is displayed before its timestamp too, and the last one until `close`.

        frames          |--a--|-----b-----|--c--|
        requested    ^     ^     ^    ^      ^
        selected     a     a     b    b      c

    Args:
        times: The requested times in seconds, ascending; may be endless.
        tolerance_seconds: How much later than requested a timestamp may be because it was rounded.

    Attributes:
        next_seconds: The next requested time; None if a frame was selected for every one.
    """

    def __init__(self, times: Iterator[float], *, tolerance_seconds: float) -> None:
        self._times = times
        self._tolerance = tolerance_seconds
        self.next_seconds: float | None = next(times, None)
        self._displayed: VideoFrame | None = None

    @property
    def is_complete(self) -> bool:
        """Whether a frame was selected for every requested time."""
        return self.next_seconds is None

    def push(self, frame: VideoFrame, seconds: float) -> Iterator[VideoFrame]:
        """Take the next frame; yield the one before once per requested time that it covers."""
        if self._displayed is not None:
            yield from self._select_until(seconds - self._tolerance)
        self._displayed = frame

    def close(self, stop_seconds: float = float("inf")) -> Iterator[VideoFrame]:
        """Yield the last frame once per remaining requested time before `stop_seconds`."""
        if self._displayed is not None:
            yield from self._select_until(stop_seconds - self._tolerance)

    def _select_until(self, stop_seconds: float) -> Iterator[VideoFrame]:
        assert self._displayed is not None
        while self.next_seconds is not None and self.next_seconds < stop_seconds:
            yield self._displayed
            self.next_seconds = next(self._times, None)


def timestamp_tolerance(stream: VideoStream) -> float:
    """Return by how many seconds a timestamp may be off because it was rounded to a tick."""
    tick = float(stream.time_base) if stream.time_base else 0.0
    return min(max(tick, 1e-6), 0.002)
