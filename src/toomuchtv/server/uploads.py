"""Files that were dropped on the page: bounded in size, time, number and age, and then deleted."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toomuchtv._internal.subprocess_pool import Failure, run_isolated
from toomuchtv.errors import MediaError
from toomuchtv.media.clip_reader import read_clip
from toomuchtv.media.file_content import inspect_file
from toomuchtv.server.pictures import to_jpeg

_SILENCE_SECONDS = 60.0
_MEMORY_BYTES = 2 << 30
_MAX_KEPT = 16
_MAX_AGE_SECONDS = 3600.0
_MAX_ARRIVING = 4
_TOTAL_SECONDS, _CHUNK_SECONDS = 300.0, 20.0
_THUMBNAIL_SHORT_SIDE = 180


class UploadError(Exception):
    """An upload that is refused.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadContent:
    """What a file has.

    Attributes:
        has_video: Whether it has video, or is a picture.
        has_audio: Whether it has sound.
        duration_seconds: Its declared duration, 0 if it is unknown.
        thumbnail: A frame near its start as JPEG, or None.
    """

    has_video: bool
    has_audio: bool
    duration_seconds: float
    thumbnail: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that was uploaded.

    Attributes:
        id: Its random name.
        name: The name that its owner gave it, for people only.
        path: Where it is.
        content: What it has.
        arrived: Time of arrival, of `time.monotonic`.
    """

    id: str
    name: str
    path: Path
    content: UploadContent
    arrived: float


class UploadStore:
    """The uploads that are kept. The oldest ones are deleted for new ones.

    Args:
        folder: An empty folder.
        max_bytes: Size of one upload.
        total_seconds: How long one may take to arrive.
        chunk_seconds: How long each of its parts may take.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        total_seconds: float = _TOTAL_SECONDS,
        chunk_seconds: float = _CHUNK_SECONDS,
    ) -> None:
        self.max_bytes = max_bytes
        self._folder = folder
        self._total_seconds, self._chunk_seconds = total_seconds, chunk_seconds
        self._kept: OrderedDict[str, Upload] = OrderedDict()
        self._lock = threading.Lock()
        self._num_arriving = 0

    def get(self, upload_id: str) -> Upload | None:
        """Return an upload, or None if there is none of this name any more."""
        with self._lock:
            self._delete_old()
            return self._kept.get(upload_id)

    def with_names(self, text: str) -> str:
        """Return a message in which uploads have the names that their owners gave them."""
        with self._lock:
            for upload in self._kept.values():
                text = text.replace(repr(str(upload.path)), repr(upload.name))
                text = text.replace(str(upload.path), upload.name)
        return text

    async def receive(self, chunks: AsyncIterator[bytes], declared_bytes: int | None) -> Path:
        """Write a body to a file of a random name; the caller passes it to `add` or deletes it.

        Args:
            chunks: The body.
            declared_bytes: The size that the client announced, or None.

        Raises:
            UploadError: It is too large or too slow, or too many others arrive at the moment.
        """
        too_large = UploadError(
            413, f"the file is too large: at most {self.max_bytes / 1e6:g} MB are taken"
        )
        if declared_bytes is not None and declared_bytes > self.max_bytes:
            raise too_large
        if self._num_arriving >= _MAX_ARRIVING:
            raise UploadError(429, "other files are arriving: try again in a moment")
        path = self._folder / secrets.token_hex(16)
        self._num_arriving += 1
        try:
            async with asyncio.timeout(self._total_seconds):
                with path.open("xb") as file:
                    size = 0
                    while True:
                        async with asyncio.timeout(self._chunk_seconds):
                            chunk = await anext(chunks, None)
                        if chunk is None:
                            break
                        size += len(chunk)
                        if size > self.max_bytes:
                            raise too_large
                        await asyncio.to_thread(file.write, chunk)
            if not size:
                raise UploadError(422, "the file is empty: choose a video, sound or image file")
        except TimeoutError as error:
            path.unlink(missing_ok=True)
            raise UploadError(408, "the file arrived too slowly: try a smaller one") from error
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            self._num_arriving -= 1
        return path

    def add(self, path: Path, name: str) -> Upload:
        """Look into a file that has arrived, and keep it.

        Raises:
            UploadError: It has neither video nor sound that can be decoded.
        """
        content = _inspect_isolated(path, name)
        upload = Upload(
            id=path.name, name=name, path=path, content=content, arrived=time.monotonic()
        )
        with self._lock:
            self._kept[upload.id] = upload
            self._delete_old()
        return upload

    def _delete_old(self) -> None:
        oldest = time.monotonic() - _MAX_AGE_SECONDS
        while self._kept:
            upload = next(iter(self._kept.values()))
            if len(self._kept) <= _MAX_KEPT and upload.arrived >= oldest:
                break
            del self._kept[upload.id]
            upload.path.unlink(missing_ok=True)


def _inspect_isolated(path: Path, name: str) -> UploadContent:
    """Look into a file in a process that it may take down."""
    results = run_isolated(
        _inspect,
        [path],
        num_workers=1,
        silence_seconds=_SILENCE_SECONDS,
        memory_bytes=_MEMORY_BYTES,
    )
    with contextlib.closing(results):
        for _, result in results:
            if isinstance(result, Failure):
                reason = result.reason.replace(repr(str(path)), "the file").replace(str(path), "it")
                raise UploadError(
                    415, f"{name!r} cannot be used as video, sound or picture: {reason}"
                )
            return result
    raise AssertionError("every job has a result")


def _inspect(path: Path, report: Callable[[float], None]) -> UploadContent:
    """Look into a file; runs in a worker process."""
    content = inspect_file(path)
    thumbnail = None
    if content.has_video:
        seconds = min(1.0, content.duration_seconds / 2)
        for start in dict.fromkeys((seconds, 0.0)):
            with contextlib.suppress(MediaError):
                clip = read_clip(
                    path,
                    start_seconds=start,
                    frames=1,
                    frame_rate=8.0,
                    audio_seconds=0.1,
                    short_side=_THUMBNAIL_SHORT_SIDE,
                )
                thumbnail = to_jpeg(np.ascontiguousarray(clip.video[0]))
                break
        if thumbnail is None and not content.has_audio:
            raise MediaError("not one frame of it can be decoded")
    duration = content.duration_seconds
    return UploadContent(
        has_video=content.has_video,
        has_audio=content.has_audio,
        duration_seconds=duration if 0 <= duration < 1e7 else 0.0,
        thumbnail=thumbnail,
    )
