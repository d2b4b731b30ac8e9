"""Work on files that fails like a machine, in a module that a worker imports quickly."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path
from typing import Any

from toomuchtv.catalog.prepare import _make_proxy as make_proxy
from toomuchtv.catalog.scanner import _examine as examine


def crash_on_evil(path: Path, report: Any) -> Any:
    """Stand in for a decoder that crashes; runs in the worker."""
    if path.name.startswith("evil"):
        os.kill(os.getpid(), signal.SIGSEGV)
    return examine(path, report)


def examine_badly(how: str, path: Path, report: Any) -> Any:
    """Stand in for a machine that fails; runs in the worker."""
    if path.name.startswith("a "):
        marker = path.parents[1] / "was killed"
        if how == "killed twice" or (how == "killed" and not marker.exists()):
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "no memory":
            raise MemoryError
        if how == "silent":
            time.sleep(60)
        if how == "I/O error":
            raise OSError(errno.EIO, "Input/output error")
    return examine(path, report)


def fail_at_first(how: str, folder: Path, *arguments: Any) -> Any:
    """Stand in for a machine that fails once; runs in the worker."""
    if not (folder / "failed").exists():
        (folder / "failed").touch()
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.EIO, "Input/output error")
    return make_proxy(folder, *arguments)
