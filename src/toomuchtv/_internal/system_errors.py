"""Errors whose cause is the machine and not the file that was being read or written."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator

#: Error numbers that say something about the disk, the network, the permissions or the limits of a
#: process. FFmpeg has numbers of its own for damaged content, and uses EINVAL for it.
_SYSTEM_ERRNOS = frozenset(
    {
        errno.EACCES, errno.EAGAIN, errno.EBUSY, errno.ECONNABORTED, errno.ECONNRESET,
        errno.EDQUOT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EINTR, errno.EIO, errno.EMFILE,
        errno.ENETDOWN, errno.ENETUNREACH, errno.ENFILE, errno.ENODEV, errno.ENOENT, errno.ENOLCK,
        errno.ENOMEM, errno.ENOSPC, errno.ENOTCONN, errno.ENOTDIR, errno.ENXIO, errno.EPERM,
        errno.EROFS, errno.ESTALE, errno.ETIMEDOUT,
    }
)  # fmt: skip

#: What a person is told.
DISK_FULL = "the disk is full: free some space and run this again"


def is_system_error(error: BaseException) -> bool:
    """Return whether an error, or one that it was raised from, is the machine's and not a file's.

    Such an error says nothing about the content of a file, so that the file must be tried again.
    """
    return any(
        isinstance(one, MemoryError)
        or (isinstance(one, OSError) and one.errno in _SYSTEM_ERRNOS)
        or (isinstance(one, sqlite3.Error) and _is_full(one))
        for one in _causes(error)
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or one that it was raised from, says that memory ran out."""
    return any(
        isinstance(one, MemoryError) or (isinstance(one, OSError) and one.errno == errno.ENOMEM)
        for one in _causes(error)
    )


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error, or one that it was raised from, says that the disk is full."""
    return any(
        (isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT))
        or (isinstance(one, sqlite3.Error) and _is_full(one))
        for one in _causes(error)
    )


def _is_full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
