"""Copies of files of slow storage on a local disk, each made while its digest is computed.

Making a proxy needs the digest of the whole file, and then its frames and its audio, for every
further audio track again. From a network disk, each of these crosses the network. With a scratch
folder, the file crosses it once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from toomuchtv._internal.system_errors import is_disk_full
from toomuchtv.catalog.file_identity import full_digest

_PREFIX = "toomuchtv-scratch-"
# A process that has made a folder locks it at once. A younger folder without a lock is being made.
_MIN_AGE_SECONDS = 60.0


@contextmanager
def local_copy(
    source: Path, scratch: Path | None, report: Callable[[int], None]
) -> Iterator[tuple[Path, str]]:
    """Read a file once; yield what to read it from afterwards, and the digest of its bytes.

    Args:
        source: The file.
        scratch: A folder on a local disk, which is made if needed. None: the file is not copied.
            Nor is it if the disk has no space for it.
        report: Called every 64 MB with the number of bytes that were read.

    Yields:
        The copy, or `source`; and `full_digest(source)`. The copy is deleted after the block.

    Raises:
        OSError: The file cannot be read, or the scratch folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        copy = None
        if scratch is not None:
            try:
                copy = stack.enter_context(_new_copy(scratch, source.name))
            except OSError as error:
                if not is_disk_full(error):
                    raise
        if copy is None:
            yield source, full_digest(source, report)
            return
        digest = full_digest(source, report, copy.write)
        yield (copy.path if copy.is_whole else source), digest


@contextmanager
def _new_copy(scratch: Path, name: str) -> Iterator[_Copy]:
    """Yield an empty copy in a folder that belongs to this process and is deleted at the end."""
    scratch.mkdir(parents=True, exist_ok=True)
    remove_left_copies(scratch)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=scratch))
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # The name stays, because the suffix helps FFmpeg.
        with (folder / name).open("wb", buffering=0) as file:
            yield _Copy(folder / name, file)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def remove_left_copies(scratch: Path) -> None:
    """Delete the copies of processes of this machine that have died."""
    for folder in scratch.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                if time.time() - os.fstat(descriptor).st_mtime >= _MIN_AGE_SECONDS:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


class _Copy:
    """A file that is written as long as there is space for it.

    Attributes:
        path: The file.
        is_whole: Whether everything was written.
    """

    def __init__(self, path: Path, file: FileIO) -> None:
        self.path = path
        self.is_whole = True
        self._file = file

    def write(self, block: bytes) -> None:
        """Write a block. On a full disk, give up the copy and free its space."""
        if not self.is_whole:
            return
        try:
            view = memoryview(block)
            while view:
                view = view[self._file.write(view) or 0 :]
        except OSError as error:
            if not is_disk_full(error):
                raise
            self.is_whole = False
            self._file.truncate(0)
