"""What the routes share: the index, temporary files, limits of work, and how they say no."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from toomuchtv.errors import ToomuchtvError
from toomuchtv.server.excerpts import ExcerptCache
from toomuchtv.server.library import Library
from toomuchtv.server.schemas import Problem
from toomuchtv.server.searches import Overviews
from toomuchtv.server.uploads import UploadStore

_WAIT_SECONDS = 60.0

#: What the OpenAPI description says of a route.
Answers = dict[int | str, dict[str, Any]]


class Slots:
    """Bounds how many threads do one kind of work at the same time.

    Args:
        number: How many do.
    """

    def __init__(self, number: int) -> None:
        self._free = threading.BoundedSemaphore(number)

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for a free slot, and keep it within the block.

        Raises:
            HTTPException: 429, if none becomes free within a minute.
        """
        if not self._free.acquire(timeout=_WAIT_SECONDS):
            raise HTTPException(429, "the server is busy: try again in a moment")
        try:
            yield
        finally:
            self._free.release()


class State:
    """What all requests share.

    Args:
        library: The index.
        folder: Where the folder for temporary files is made, or None for the usual place.
        max_upload_bytes: Size of one upload.
    """

    def __init__(self, library: Library, folder: Path | None, max_upload_bytes: int) -> None:
        self.library = library
        self._temporary = tempfile.TemporaryDirectory(prefix="toomuchtv-serve-", dir=folder)
        self.folder = Path(self._temporary.name)
        for name in ("uploads", "excerpts", "exports"):
            (self.folder / name).mkdir()
        self.uploads = UploadStore(self.folder / "uploads", max_bytes=max_upload_bytes)
        self.excerpts = ExcerptCache(self.folder / "excerpts")
        self.overviews = Overviews()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
        # Searches that wait for each other share a pass over the vectors; see `SharedScan`.
        self.searching = Slots(8)
        self.drawing = Slots(max(2, cores))
        self.encoding = Slots(max(1, cores // 2))

    def delete_files(self) -> None:
        """Delete all temporary files."""
        self._temporary.cleanup()


def refusals(*codes: int) -> Answers:
    """Describe the refusals of a route: those that every route has, and some more."""
    return {code: {"model": Problem} for code in (400, 401, 403, 422, *codes)}


@contextlib.contextmanager
def refusing(status: int) -> Iterator[None]:
    """Answer with a status and a sentence where the engine raises one of its errors."""
    try:
        yield
    except ToomuchtvError as error:
        raise HTTPException(status, plain(str(error))) from error


def plain(text: str) -> str:
    """Return a text that JSON can hold: bytes of a path that are no text are replaced."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
