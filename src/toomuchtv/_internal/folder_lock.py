"""A lock that gives a folder one owner: one process of one host."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from toomuchtv.errors import ToomuchtvError

#: Name of the lock file. It exists while the folder is in use, and after its owner was killed.
LOCK_NAME = "lock"

_SIGN_OF_LIFE_SECONDS = 10.0
#: A lock of another host without a sign of life for this time has a dead owner.
_PATIENCE_SECONDS = 35.0
_NO_FLOCK = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


class FolderInUseError(ToomuchtvError):
    """Another process uses the folder. The message says which one, and since when."""


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Own a folder, which must exist, until the end of the block.

    The lock is the kernel's (`flock`), so that it ends with its process, however that ends. Where
    a file system has no such locks, or where they do not reach other hosts, the content of the
    lock file decides: the process of a lock of this host must be alive, and the owner of a lock of
    another host must touch the file, which every owner does every few seconds.

    Raises:
        FolderInUseError: Another process owns the folder.
        OSError: The folder cannot be written.
    """
    path = folder / LOCK_NAME
    descriptor = _acquire(path)
    released = threading.Event()
    threading.Thread(target=_show_life, args=(path, released), daemon=True).start()
    try:
        yield
    finally:
        released.set()
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _acquire(path: Path) -> int:
    """Return an open lock file that belongs to this process."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            owner_may_live = _try_flock(path, descriptor)
            if not _is_at(path, descriptor):  # its owner has just released and removed it
                os.close(descriptor)
                continue
            owner = _read_owner(descriptor)
            if owner and _is_alive(path, owner, on_this_host=owner_may_live):
                raise _in_use(path, owner)
            mine = {
                "process": os.getpid(),
                "host": socket.gethostname(),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, (json.dumps(mine) + "\n").encode(), 0)
            return descriptor
        except OSError as error:
            os.close(descriptor)
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        except BaseException:
            os.close(descriptor)
            raise


def _try_flock(path: Path, descriptor: int) -> bool:
    """Take the kernel's lock; return True if the file system has none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _in_use(path, _read_owner(descriptor)) from error
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise
        return True
    return False


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _read_owner(descriptor: int) -> dict[str, Any]:
    """Return what the lock file says of its owner; empty if it says nothing that makes sense."""
    try:
        owner = json.loads(os.pread(descriptor, 1000, 0))
    except (ValueError, RecursionError):
        return {}
    is_known = isinstance(owner, dict) and isinstance(owner.get("process"), int)
    return owner if is_known and owner["process"] > 0 else {}


def _is_alive(path: Path, owner: dict[str, Any], *, on_this_host: bool) -> bool:
    """Return True if the owner of a lock that the kernel has given to us may still live.

    Args:
        path: The lock file.
        owner: Its content.
        on_this_host: Whether a process of this host may hold the lock in spite of the kernel.
    """
    if owner.get("host") == socket.gethostname():
        return on_this_host and _is_running(owner["process"])
    # Times of two hosts cannot be compared, so look whether the file is touched.
    before, until = path.stat().st_mtime_ns, time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < until:
        time.sleep(0.1)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime_ns != before:
                return True
    return False


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _in_use(path: Path, owner: dict[str, Any]) -> FolderInUseError:
    folder = os.fspath(path.parent)
    who = "another process"
    if owner:
        who = f"process {owner['process']} on {owner.get('host')} since {owner.get('since')}"
    return FolderInUseError(
        f"{folder!r} is in use by {who}: wait until it has ended, or stop it. If you are sure that "
        f"it has ended, delete {os.fspath(path)!r}"
    )


def _show_life(path: Path, released: threading.Event) -> None:
    while not released.wait(_SIGN_OF_LIFE_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)
