"""What the workers of the tests do, in a module that they import quickly."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from toomuchtv.errors import MediaError

Report = Callable[[float], None]


def act(word: str, report: Report) -> str:
    """Behave as `word` says; this runs in the worker."""
    if word == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == "leave":
        os._exit(3)
    if word == "hang":
        time.sleep(600)
    if word == "slow but alive":
        for step in range(8):
            time.sleep(0.2)
            report(step)
    if word == "media":
        raise MediaError("the header is cut")
    if word == "os":
        raise FileNotFoundError(2, "No such file or directory", "film.mkv")
    if word == "memory":
        raise MemoryError
    if word == "bug":
        raise ZeroDivisionError("a mistake of ours")
    if word == "print":
        print("noise on stdout")
    return word.upper()


def die_at_first(signal_number: int, marker: Path, report: Report) -> str:
    """Die when this is called for the first time, as a process that the system kills."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal_number)
    return "done"


def allocate(megabytes: int, report: Report) -> int:
    return len(bytearray(megabytes << 20))


def fail_with(error: Exception, report: Report) -> None:
    try:
        raise error
    except Exception as cause:
        raise MediaError("a message without the cause") from cause


def whoami(_: int, report: Report) -> int:
    return os.getpid()


def unpicklable(_: int, report: Report) -> object:
    return lambda: None


def add(amount: int, argument: int, report: Report) -> int:
    return argument + amount


def sleep_and_leave_pid(folder: Path, report: Report) -> None:
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(600)
