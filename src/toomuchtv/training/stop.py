"""SIGTERM and SIGINT as a wish to stop: noted at once, fulfilled between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from toomuchtv._internal import distributed
from toomuchtv.data.clip_specs import ClipBatch


class _StopWaitingError(BaseException):
    """Leaves a wait for data, which may last for minutes, when asked to stop."""


class StopRequest:
    """Whether somebody asked the run to stop; made by `asked_to_stop`."""

    def __init__(self) -> None:
        self.is_set = False
        self._is_waiting = False

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        self.is_set = True
        if self._is_waiting:
            self._is_waiting = False
            raise _StopWaitingError

    def unless_asked(self, batches: Iterator[ClipBatch]) -> Iterator[ClipBatch]:
        """The batches, until their end or, while waiting for one, until asked to stop.

        One of several processes waits on: the others count on its part of the step.
        """
        while True:
            try:
                try:
                    self._is_waiting = distributed.world_size() == 1
                    if self._is_waiting and self.is_set:
                        return
                    batch = next(batches)
                finally:
                    self._is_waiting = False
            except (_StopWaitingError, StopIteration):
                return
            yield batch


@contextmanager
def asked_to_stop() -> Iterator[StopRequest]:
    """A request that SIGTERM or SIGINT sets; the handlers of before come back at the end."""
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, stop.note) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
