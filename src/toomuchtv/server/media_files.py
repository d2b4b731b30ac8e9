"""Files as responses with range requests, and what of the library may be sent at all."""

from __future__ import annotations

import email.utils
import os
import re
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from toomuchtv.catalog.records import AudioTrack, Item

_CHUNK_BYTES = 256 << 10
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})$")
# What Chromium, Firefox and Safari decode.
_MP4_VIDEO = frozenset({"h264"})
_MP4_AUDIO = frozenset({"aac", "mp3", "opus", "flac"})
_WEBM_VIDEO = frozenset({"vp8", "vp9", "av1"})
_WEBM_AUDIO = frozenset({"opus", "vorbis"})
_PIXEL_FORMATS = frozenset({"yuv420p", "yuvj420p"})
_CODEC_NAMES = {
    "hevc": "HEVC", "h264": "H.264", "mpeg2video": "MPEG-2", "mpeg4": "MPEG-4 part 2",
    "ac3": "AC-3", "eac3": "E-AC-3", "dts": "DTS", "truehd": "TrueHD",
}  # fmt: skip


class RefusedSourceError(Exception):
    """A file of the library that is not sent."""


def open_source(root: Path, item: Item) -> tuple[int, os.stat_result]:
    """Open the file of an item, and return its descriptor and status. The caller closes it.

    A link that leads out of the library is followed only if it leads to the very file that the
    scan has recorded, which it does for links that `scan --follow-links` followed.

    Args:
        root: The library, resolved.
        item: The item.

    Raises:
        RefusedSourceError: The file is gone, cannot be read, is no regular file, or is elsewhere.
    """
    try:
        path = (root / item.path).resolve(strict=True)
        # A pipe would block the server.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "a link that leads in a circle"
        raise RefusedSourceError(f"the file of this item cannot be read: {reason}") from error
    status = os.fstat(descriptor)
    is_recorded = (status.st_size, status.st_mtime_ns) == (item.size_bytes, item.modified_ns)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise RefusedSourceError("the file of this item is no regular file")
    if not (path.is_relative_to(root) or is_recorded):
        os.close(descriptor)
        raise RefusedSourceError(
            "the file of this item is a link that leads out of the library: run `toomuchtv scan` "
            "with --follow-links if that is what you want"
        )
    return descriptor, status


def playable_mime(descriptor: int, item: Item) -> tuple[str | None, str | None]:
    """Return the MIME type of a file that common browsers play, or None and the reason.

    Args:
        descriptor: The open file.
        item: Its item.
    """
    head = os.pread(descriptor, 4096, 0)
    if head[4:8] == b"ftyp":
        mime, name, videos, audios = "video/mp4", "MP4", _MP4_VIDEO, _MP4_AUDIO
    elif head[:4] == b"\x1aE\xdf\xa3" and b"webm" in head[:64]:
        mime, name, videos, audios = "video/webm", "WebM", _WEBM_VIDEO, _WEBM_AUDIO
    else:
        suffix = item.path.suffix.lower() or "without a suffix"
        return None, f"browsers cannot play this kind of file ({suffix})"
    video, audio = item.probe.video, _heard(item.probe.audio_tracks)
    if video.codec not in videos:
        return None, f"browsers cannot play {_codec(video.codec)} video in {name}"
    if video.pixel_format not in _PIXEL_FORMATS:
        return None, f"browsers cannot play {_codec(video.codec)} video with {video.pixel_format}"
    if audio is not None and audio.codec not in audios:
        return None, f"browsers cannot play {_codec(audio.codec)} sound in {name}"
    return mime, None


def _codec(name: str) -> str:
    return _CODEC_NAMES.get(name, name)


def _heard(tracks: tuple[AudioTrack, ...]) -> AudioTrack | None:
    """Return the track that a browser plays: the first default one, or the first."""
    default = [track for track in tracks if "default" in track.dispositions]
    return next(iter(default or tracks), None)


def player_offset(item: Item) -> float:
    """Return the time of a player, which begins with the first stream, at the item's time zero."""
    video = item.probe.video.start_seconds
    starts = [video, *(track.start_seconds for track in item.probe.audio_tracks)]
    return max(0.0, video - min(starts))


def file_response(
    request: Request,
    descriptor: int,
    *,
    mime: str,
    cache: str = "no-cache",
    headers: dict[str, str] | None = None,
) -> Response:
    """Return an open file, or the range of it that was asked for. The response closes the file.

    Several ranges, and ranges that make no sense, are answered with the whole file, as RFC 9110
    allows.

    Args:
        request: The request.
        descriptor: The open regular file.
        mime: Its MIME type.
        cache: The header Cache-Control.
        headers: Further headers.
    """
    status = os.fstat(descriptor)
    size = status.st_size
    etag = f'"{status.st_ino:x}-{size:x}-{status.st_mtime_ns:x}"'
    modified = email.utils.formatdate(int(status.st_mtime), usegmt=True)
    every = {
        "accept-ranges": "bytes",
        "etag": etag,
        "last-modified": modified,
        "cache-control": cache,
        **(headers or {}),
    }
    if request.headers.get("if-none-match") == etag:
        os.close(descriptor)
        return Response(status_code=304, headers=every)
    wanted = request.headers.get("range")
    if wanted is not None and request.headers.get("if-range", etag) not in (etag, modified):
        wanted = None
    found = (0, size) if wanted is None else _parse_range(wanted, size)
    code = 200 if wanted is None or found is None else 206
    start, stop = found or (0, size)
    if start >= stop and wanted is not None and found is not None:
        os.close(descriptor)
        text = f'{{"detail": "the file has {size} bytes, and the range is behind its end"}}'
        every["content-range"] = f"bytes */{size}"
        return Response(text, 416, every, media_type="application/json")
    if code == 206:
        every["content-range"] = f"bytes {start}-{stop - 1}/{size}"
    every["content-length"] = str(stop - start)
    if request.method == "HEAD":
        os.close(descriptor)
        return Response(None, code, every, media_type=mime)
    return _FileResponse(descriptor, start, stop, code, every, mime)


def _parse_range(text: str, size: int) -> tuple[int, int] | None:
    """Return the first byte and the one after the last; None to send everything.

    The range is empty if it cannot be satisfied.
    """
    match = _RANGE.match(text.strip().lower())
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        return (size - length, size) if length else (0, 0)
    start = int(first)
    stop = min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    return (start, stop) if start < size else (0, 0)


class _FileResponse(StreamingResponse):
    def __init__(
        self, descriptor: int, start: int, stop: int, code: int, headers: dict[str, str], mime: str
    ) -> None:
        super().__init__(self._chunks(descriptor, start, stop), code, headers, media_type=mime)
        self._descriptor = descriptor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            os.close(self._descriptor)

    @staticmethod
    async def _chunks(descriptor: int, start: int, stop: int) -> AsyncIterator[bytes]:
        while start < stop:
            size = min(_CHUNK_BYTES, stop - start)
            chunk = await anyio.to_thread.run_sync(os.pread, descriptor, size, start)
            if not chunk:
                # The file has become shorter. The connection must not be used for another answer.
                raise OSError("the file has become shorter while it was sent")
            start += len(chunk)
            yield chunk
