"""SIGINT (Ctrl-C) and SIGTERM end a command with a sentence and 128 plus the signal's number."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = "Interrupted. What was finished so far is kept."

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to end.

    Attributes:
        exit_code: What a shell reports for a process that the signal ended.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def exit_on_signals() -> None:
    """End this process at once from now on, without unwinding. Signals it ignores stay ignored.

    Call it first. While modules are imported, an exception out of a signal handler may come up in
    the initialization of a C++ library, which then aborts the process.
    """
    for number in _NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _exit)


def ignore_signals() -> None:
    """Ignore both signals from now on."""
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Raise `Interrupted` within the block, so that it can clean up. A second signal ends at once.

    Python handles signals in the main thread only. In another thread, the block changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in _NUMBERS}
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        _raise(number, frame)

    for number, handler in previous.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield
    except KeyboardInterrupt as error:
        # Extension modules (Ray's) put a plain KeyboardInterrupt in its place.
        if received and not isinstance(error, Interrupted):
            raise Interrupted(received[0]) from error
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _raise(number: int, frame: FrameType | None) -> None:
    exit_on_signals()
    if _is_importing(frame):
        _exit(number, frame)
    raise Interrupted(number)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _exit(number: int, frame: FrameType | None) -> None:
    os.write(2, f"error: {INTERRUPTED}\n".encode())
    os._exit(128 + number)
