"""Opening media files and reading their packets.

`open_media` is the only place of the package that opens a media file for reading, so that every
reader follows one policy on protocols and container formats and works with every supported PyAV.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from toomuchtv.errors import MediaError

# Formats that make FFmpeg open further files, URLs or devices: playlists, manifests, image
# sequences, session descriptions, files in several parts, and sources made by a filter graph.
_REFERRING_FORMATS = frozenset(
    {
        "alias_pix", "alsa", "avisynth", "brender_pix", "concat", "dash", "dvdvideo", "fbdev",
        "hls", "image2", "imf", "kmsgrab", "lavfi", "mlv", "oss", "rtp", "rtsp", "sap", "sdp",
        "vapoursynth", "video4linux2,v4l2", "vobsub", "webm_dash_manifest", "x11grab",
    }
)  # fmt: skip
_PLAYLIST_SIGNATURES = (b"ffconcat", b"#EXTM3U", b"v=0", b"<?xml", b"<MPD")
_MP4_BOXES = (b"ftyp", b"mdat", b"wide", b"free", b"skip")
_CONTAINER_SIGNATURES = (
    b"\x1aE\xdf\xa3",
    b"RIFF",
    b"OggS",
    b"FLV",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
)
# Up to version 18, PyAV raises UnicodeDecodeError for metadata that is not UTF-8 unless this
# argument is passed. Version 19 removed the argument and always replaces what it cannot decode.
_METADATA_ERRORS: dict[str, Any] = (
    {"metadata_errors": "replace"} if hasattr(InputContainer, "metadata_errors") else {}
)
_STILL_IMAGE = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image


class MediaOpenError(MediaError):
    """A media file cannot be opened.

    Attributes:
        reason: Why, in a few words, without the path.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"cannot open {path!r}: {reason}")
        self.reason = reason


def open_media(path: str | os.PathLike[str]) -> InputContainer:
    """Open a media file for reading.

    FFmpeg may read only this file: no other protocol than `file` is allowed, and formats that refer
    to further files (playlists, manifests, image sequences) are refused before they are parsed.

    Args:
        path: A local file. It is never interpreted as a URL or as a pattern.

    Returns:
        The open container, to be used as a context manager.

    Raises:
        MediaOpenError: The file is missing, is damaged at its start, or has a format that FFmpeg
            does not know or that is refused.
    """
    name = os.fspath(path)
    try:
        # An absolute path cannot be mistaken for a URL such as "http:a.mp4".
        container: InputContainer = av.open(
            os.path.abspath(name),
            mode="r",
            container_options={
                "protocol_whitelist": "file",
                "format_whitelist": _allowed_formats(),
            },
            **_METADATA_ERRORS,
        )
    except OSError as error:
        raise MediaOpenError(name, f"cannot be read: {error.strerror or error}") from error
    except (av.FFmpegError, ValueError) as error:
        is_invalid_argument = isinstance(error, av.ArgumentError)
        raise MediaOpenError(name, _why_not_opened(Path(name), is_invalid_argument)) from error
    return container


@contextlib.contextmanager
def naming_errors(action: str, path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise errors of FFmpeg and of decoding as `MediaError`, whose message names the file.

    Args:
        action: What fails, such as "cannot decode".
        path: The file.
    """
    try:
        yield
    except MediaOpenError:
        raise  # it names the file already
    except (av.FFmpegError, MediaError) as error:
        raise MediaError(f"{action} {os.fspath(path)!r}: {error}") from error


@functools.cache
def _allowed_formats() -> str:
    """Return the formats that may be opened, separated by commas as FFmpeg's option wants."""
    return ",".join(sorted(av.formats_available - _REFERRING_FORMATS))


def _why_not_opened(path: Path, is_invalid_argument: bool) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if not head:
        return "the file is empty (0 bytes)"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_PLAYLIST_SIGNATURES):
        return "a playlist or manifest that refers to other files, not a media file"
    if head[4:8] in _MP4_BOXES:
        return (
            "its index (the moov box) is missing or damaged: the file was cut, or its recording "
            "or download never finished"
        )
    if head.startswith(_CONTAINER_SIGNATURES):
        return "its header is damaged or cut"
    # FFmpeg reports a format that is not in the whitelist as an invalid argument.
    if is_invalid_argument:
        return "its format refers to other files (such as an image sequence), which is not allowed"
    return "not a media file, or its header is missing"


def find_video_stream(container: InputContainer) -> VideoStream:
    """Return the first video stream that is not cover art, a thumbnail or a still image.

    Raises:
        MediaError: There is none; the message says what the container holds instead.
    """
    for stream in container.streams.video:
        if not stream.disposition & _STILL_IMAGE:
            if stream.codec_context is None:
                raise MediaError("its video is in a format for which there is no decoder here")
            return stream
    contents = "only audio" if container.streams.audio else "no audio either"
    if container.streams.video:
        contents = "only cover art" + (" and audio" if container.streams.audio else "")
    raise MediaError(f"no video stream: {contents}")


def find_audio_stream(container: InputContainer, audio_track: int = 0) -> AudioStream:
    """Return the audio stream of a track.

    Raises:
        ValueError: The index is negative.
        MediaError: There is no such track, or no decoder for it.
    """
    if audio_track < 0:
        raise ValueError(f"audio_track must be at least 0, got {audio_track}")
    streams = container.streams.audio
    if audio_track >= len(streams):
        raise MediaError(f"no audio track {audio_track}: the file has {len(streams)}")
    if streams[audio_track].codec_context is None:
        raise MediaError("its audio is in a format for which there is no decoder here")
    return streams[audio_track]


def frame_duration_seconds(stream: VideoStream) -> float:
    """Return the nominal duration of a frame; 1/25 s where the stream declares no frame rate."""
    return 1.0 / float(stream.average_rate or stream.guessed_rate or 25)


def declared_duration_seconds(
    container: InputContainer, stream: VideoStream | AudioStream
) -> float | None:
    """Return the duration that the file declares for a stream, else for all; None without one."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / av.time_base
