"""Opening media files and reading their packets.

`open_media` is the only place of the package that opens a media file for reading, so that every
reader follows one policy on protocols and container formats and works with every supported PyAV.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from toomuchtv.errors import MediaError, NoAudioError
from toomuchtv.media.decoding import decode_packet, demux_packets
from toomuchtv.media.programs import streams_of_program
from toomuchtv.media.streams import (
    AudioDescription,
    audio_rank,
    choose_video,
    describe_audio,
    is_still_image,
)

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
# Version 19 has no options of single streams either.
_HAS_STREAM_OPTIONS = hasattr(InputContainer, "stream_options")
# No more pixels than a frame of 8K (8192x4352, as coded). A header of a few bytes can declare a
# thousand million of them, which FFmpeg would allocate, in each decoding thread.
MAX_FRAME_PIXELS = 8192 * 4352
# A stream whose declared frames are small may become larger, up to 4K, as broadcasts do.
_MAX_GROWN_PIXELS = 4096 * 2304
_MAX_THREADS = 16
_MAX_PIXELS_IN_THREADS = _MAX_THREADS * _MAX_GROWN_PIXELS
# An audio track that has no sample for this long from the start is taken to be undecodable.
LATE_AUDIO_SECONDS = 600.0
# Of several video streams, so many packets are read to find those with more than one frame.
_MAX_VIDEO_PACKETS = 1000
_MAX_CACHED_FILES = 256


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
    Decoders refuse frames of more than `MAX_FRAME_PIXELS`, before they allocate one.

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
        if not stat.S_ISREG(os.stat(name).st_mode):
            raise MediaOpenError(name, "not a regular file (a folder, pipe, socket or device)")
        # An absolute path cannot be mistaken for a URL such as "http:a.mp4".
        container = _open(os.path.abspath(name))
    except OSError as error:
        raise MediaOpenError(name, f"cannot be read: {error.strerror or error}") from error
    except MediaOpenError:
        raise
    except MediaError as error:
        raise MediaOpenError(name, str(error)) from error
    except (av.FFmpegError, ValueError) as error:
        is_invalid_argument = isinstance(error, av.ArgumentError)
        raise MediaOpenError(name, _why_not_opened(Path(name), is_invalid_argument)) from error
    for video in container.streams.video:
        if video.codec_context is not None:
            video.codec_context.options = {"max_pixels": str(_max_pixels(video))}
    return container


def _open(path: str) -> InputContainer:
    # FFmpeg decodes the first frames of each stream to learn its properties. The limit applies to
    # streams that the header of the file declares.
    limit = {"max_pixels": str(MAX_FRAME_PIXELS)}
    if _HAS_STREAM_OPTIONS:
        # Asking for options of single streams raises ValueError where the header declares none, as
        # in MPEG-PS and FLV.
        try:
            return _av_open(path, options=limit, stream_options=[{}])
        except ValueError as error:
            if isinstance(error, av.FFmpegError):
                raise
    # Without decoders, the sizes are those that the parsers find.
    with _av_open(path, container_options={"codec_whitelist": "none"}) as container:
        for video in container.streams.video:
            _check_area(video)
    return _av_open(path, options=limit)


def _av_open(
    path: str, *, container_options: dict[str, str] | None = None, **arguments: Any
) -> InputContainer:
    allowed = {"protocol_whitelist": "file", "format_whitelist": _allowed_formats()}
    container: InputContainer = av.open(
        path,
        mode="r",
        container_options=allowed | (container_options or {}),
        **arguments,
        **_METADATA_ERRORS,
    )
    return container


def _check_area(stream: VideoStream) -> None:
    context = stream.codec_context
    if context is not None and _declared_pixels(stream) > MAX_FRAME_PIXELS:
        raise MediaError(
            f"its frames have {context.width}x{context.height} pixels, and at most "
            f"{MAX_FRAME_PIXELS / 1e6:.1f} million (8192x4352) are decoded"
        )


def _declared_pixels(stream: VideoStream) -> int:
    return stream.codec_context.width * stream.codec_context.height


def _max_pixels(stream: VideoStream) -> int:
    return min(MAX_FRAME_PIXELS, max(2 * _declared_pixels(stream), _MAX_GROWN_PIXELS))


def decode_in_threads(stream: VideoStream, num_threads: int | None = None) -> None:
    """Decode several frames at the same time, but only few if they are large.

    Args:
        stream: A stream of which nothing was decoded yet.
        num_threads: Upper bound of the number of threads. By default, FFmpeg chooses up to sixteen.
    """
    bound = max(1, _MAX_PIXELS_IN_THREADS // _max_pixels(stream))
    if num_threads is not None or bound < _MAX_THREADS:
        stream.thread_count = min(bound, num_threads or os.cpu_count() or 1)
    stream.thread_type = "NONE" if stream.thread_count == 1 else "AUTO"


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
        names = {os.fspath(path), os.path.abspath(path)}
        if isinstance(error, MediaError) and any(repr(name) in str(error) for name in names):
            raise  # one reader calls another one
        kind = NoAudioError if isinstance(error, NoAudioError) else MediaError
        raise kind(f"{action} {os.fspath(path)!r}: {error}") from error


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
    except ValueError as error:
        return f"not a path: {error}"
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
    """Return the video stream that is the film, by the rule of `media.streams`.

    Cover art, thumbnails, stills and streams with one frame are never the film.

    Raises:
        MediaError: There is none; the message says what the container holds instead.
    """
    videos = [stream for stream in container.streams.video if not is_still_image(stream)]
    if not videos:
        contents = "only audio" if container.streams.audio else "no audio either"
        if container.streams.video:
            contents = "only cover art" + (" and audio" if container.streams.audio else "")
        raise MediaError(f"no video stream: {contents}")
    decodable = [stream for stream in videos if stream.codec_context is not None]
    if not decodable:
        raise MediaError("its video is in a format for which there is no decoder here")
    fitting = [stream for stream in decodable if _declared_pixels(stream) <= MAX_FRAME_PIXELS]
    if not fitting:
        _check_area(decodable[0])
    decodable = fitting
    if len(decodable) > 1:
        indexes = tuple(stream.index for stream in decodable)
        moving = _moving_streams(*file_identity(container), indexes)
        decodable = [stream for stream in decodable if stream.index in moving] or decodable
    return choose_video(decodable)


def film_audio_tracks(container: InputContainer) -> list[AudioDescription]:
    """Return the audio tracks that belong to the film, with what the container says of them.

    In a transport stream of several programs, these are the tracks of the program that holds the
    picture. Elsewhere they are all tracks. Those without a decoder are left out.
    """
    audios = list(container.streams.audio)
    if audios and container.format.name == "mpegts":
        with contextlib.suppress(MediaError):
            pids = _program_pids(*file_identity(container), find_video_stream(container).id)
            audios = [audio for audio in audios if audio.id in pids or not pids]
    return [
        describe_audio(index, audio)
        for index, audio in enumerate(container.streams.audio)
        if audio in audios and audio.codec_context is not None
    ]


def find_audio_stream(container: InputContainer, audio_track: int | None = None) -> AudioStream:
    """Return the audio stream of a track.

    Args:
        container: The open file.
        audio_track: Position among the audio tracks of the file. None chooses the sound of the film
            by the rule of `media.streams`, as `prepare` does.

    Raises:
        ValueError: The index is negative.
        NoAudioError: No track was asked for, and the film has none.
        MediaError: There is no such track, or no decoder for it.
    """
    streams = container.streams.audio
    if audio_track is None:
        tracks = sorted(film_audio_tracks(container), key=audio_rank)
        if not tracks:
            raise NoAudioError("it has no audio that can be decoded")
        ranked = tuple(streams[track.index].index for track in tracks)
        index = (
            ranked[0] if len(ranked) == 1 else _first_decodable(*file_identity(container), ranked)
        )
        return next(stream for stream in streams if stream.index == index)
    if audio_track < 0:
        raise ValueError(f"audio_track must be at least 0, got {audio_track}")
    if audio_track >= len(streams):
        tracks = [describe_audio(index, stream) for index, stream in enumerate(streams)]
        has = f"the file has {', '.join(map(str, tracks))}" if tracks else "the file has no audio"
        raise MediaError(f"no audio track {audio_track}: {has}")
    if streams[audio_track].codec_context is None:
        raise MediaError("its audio is in a format for which there is no decoder here")
    return streams[audio_track]


def file_identity(container: InputContainer) -> tuple[str, int, int]:
    """Return what the caches below know a file by: path, size and modification time."""
    facts = os.stat(container.name)
    return container.name, facts.st_size, facts.st_mtime_ns


@functools.lru_cache(_MAX_CACHED_FILES)
def _program_pids(path: str, size: int, modified_ns: int, pid: int) -> frozenset[int]:
    return streams_of_program(path, pid)


@functools.lru_cache(_MAX_CACHED_FILES)
def _moving_streams(
    path: str, size: int, modified_ns: int, indexes: tuple[int, ...]
) -> frozenset[int]:
    """Return which video streams have more than one frame near the start of the file."""
    counts = dict.fromkeys(indexes, 0)
    with open_media(path) as container:
        streams = [stream for stream in container.streams.video if stream.index in indexes]
        for packet in itertools.islice(demux_packets(container, *streams), _MAX_VIDEO_PACKETS):
            counts[packet.stream.index] += packet.size > 0
            if min(counts.values()) > 1:
                break
    return frozenset(index for index, count in counts.items() if count > 1)


@functools.lru_cache(_MAX_CACHED_FILES)
def _first_decodable(path: str, size: int, modified_ns: int, ranked: tuple[int, ...]) -> int:
    """Return the first of several audio streams of which a frame can be decoded, else the first.

    Like the probe, this takes a track without a sample in the first ten minutes for undecodable.
    """
    decoded: set[int] = set()
    start_seconds: float | None = None
    with open_media(path) as container:
        audios = [stream for stream in container.streams.audio if stream.index in ranked]
        # The video is read for its clock, which goes on where a track has no packets.
        for packet in demux_packets(container, *container.streams.video, *audios):
            index = packet.stream.index
            if index in ranked and index not in decoded and decode_packet(packet):
                decoded.add(index)
            if ranked[0] in decoded:
                break
            if packet.pts is not None and packet.time_base is not None:
                seconds = float(packet.pts * packet.time_base)
                start_seconds = seconds if start_seconds is None else start_seconds
                if seconds - start_seconds > LATE_AUDIO_SECONDS:
                    break
    return next((index for index in ranked if index in decoded), ranked[0])


def frame_duration_seconds(stream: VideoStream) -> float:
    """Return the nominal duration of a frame; 1/25 s where the stream declares no frame rate."""
    return 1.0 / float(stream.average_rate or stream.guessed_rate or 25)
