"""SIGTERM and SIGINT as requests to stop, which take effect between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from toomuchtv._internal import distributed

_Batch = TypeVar("_Batch")


class _StopWaitingError(BaseException):
    """Raised by the signal handler to leave a wait for data, which may last for minutes."""


class StopRequest:
    """A flag that a signal sets; created by `stop_on_signals`.

    Attributes:
        is_set: True once SIGTERM or SIGINT arrived.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._is_waiting = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        self.is_set = True
        if self._is_waiting:
            self._is_waiting = False
            raise _StopWaitingError

    def until_set(self, batches: Iterator[_Batch]) -> Iterator[_Batch]:
        """Yield the batches until their end, or until a stop is requested during a wait for one.

        With several processes the wait continues: the others need this process's part of the step.
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
def stop_on_signals() -> Iterator[StopRequest]:
    """Handle SIGTERM and SIGINT as a stop request; restore the previous handlers at the end.

    Python handles signals in the main thread only. In another thread nothing sets the request.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.signal(number, stop.handle) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
