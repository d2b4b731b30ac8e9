"""Probe a media file: which streams it has, how long its video really is, and whether it decodes.

A container may declare a duration or an audio track that its data does not have. The probe makes
the checks that are cheap: it decodes the first frames of the video and of every audio track, and it
measures where the video ends (`media.extent`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import av
import av.container
import av.logging

from toomuchtv.catalog.records import AudioTrack, Probe, VideoStream
from toomuchtv.errors import MediaError
from toomuchtv.media.containers import (
    LATE_AUDIO_SECONDS,
    MediaOpenError,
    film_audio_tracks,
    find_video_stream,
    open_media,
)
from toomuchtv.media.decoding import decode_packet, demux_packets, flush_decoder
from toomuchtv.media.extent import measure_end
from toomuchtv.media.timestamps import read_timeline

# Number of video packets that may fail to decode before the first frame. A recording that starts in
# the middle of a group of pictures has such packets.
_MAX_BAD_PACKETS = 1000
# A video that ends this long before its declared end gets a warning.
_SHORT_SECONDS = 1.0

_STILL_FORMATS = frozenset({"ico"})


def probe_file(path: Path, on_progress: Callable[[float], None] = lambda seconds: None) -> Probe:
    """Probe a media file.

    Which streams are the film is the rule of `media.streams`. Timestamps (`start_seconds`) are
    those of the container and not shifted to zero.

    Args:
        path: The file.
        on_progress: Called with 0.0 about every two seconds, as a sign of life: some formats are
            read to their end.

    Raises:
        MediaError: The file cannot be used. The message is only the reason, without the path.
    """
    # FFmpeg's own messages do not reach stderr; the reason has what is relevant in them.
    av.logging.set_level(None)
    if _size_of(path) == 0:
        raise MediaError("the file is empty (0 bytes)")
    with _open(path) as container:
        video = find_video_stream(container)
        frames, audio_frames = _decode_heads(container, video)
        if len(frames) < 2:
            raise MediaError("a still image: it has only one frame")
        frame, start_seconds = frames[0], _seconds_of(frames[0]) or 0.0
        stream = VideoStream(
            codec=video.codec_context.codec.canonical_name,
            width=frame.width,
            height=frame.height,
            # FFmpeg's angle is counterclockwise.
            rotation_degrees=round(-frame.rotation / 90) * 90 % 360,
            pixel_format=frame.format.name,
            frame_rate=_rate_of(video),
            start_seconds=start_seconds,
        )
        declared_seconds = _declared_seconds(container, video)
        tracks, warnings = _audio_tracks(container, audio_frames)
    with _open(path) as container:
        timeline = read_timeline(path, container, on_progress=on_progress)
    duration_seconds = measure_end(path, timeline, find_video_stream, on_progress=on_progress)
    if not (math.isfinite(duration_seconds) and duration_seconds > 0):
        raise MediaError("its timestamps are not valid: the video ends before it starts")
    # MPEG-TS and MPEG-PS declare nothing. Some files count their declared duration from the zero of
    # their clock, and not from the first frame.
    stop_seconds = max(duration_seconds, duration_seconds + timeline.origin_seconds)
    if (
        timeline.index is None
        and declared_seconds is not None
        and declared_seconds - stop_seconds > _SHORT_SECONDS
    ):
        warnings.insert(
            0,
            f"the video ends at {duration_seconds:.1f} s of the {declared_seconds:.1f} s that "
            "the file declares; it may have been cut, and is used up to there",
        )
    return Probe(
        duration_seconds=duration_seconds,
        video=stream,
        audio_tracks=tuple(tracks),
        warnings=tuple(warnings),
    )


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise MediaError(f"cannot be read: {error.strerror or error}") from error


def _open(path: Path) -> av.container.InputContainer:
    try:
        container = open_media(path)
    except MediaOpenError as error:
        raise MediaError(error.reason) from error
    if container.format.name in _STILL_FORMATS or container.format.name.endswith("_pipe"):
        container.close()
        raise MediaError("a still image, not a film")
    return container


def _decode_heads(
    container: av.container.InputContainer, video: av.VideoStream
) -> tuple[list[av.VideoFrame], dict[int, av.AudioFrame]]:
    """Decode the first two video frames, and the first audio frame of each track by stream index.

    Tracks that cannot be decoded are not in the result.
    """
    frames: list[av.VideoFrame] = []
    audio_frames: dict[int, av.AudioFrame] = {}
    audios = [container.streams.audio[track.index] for track in film_audio_tracks(container)]
    undecoded = {audio.index for audio in audios}
    num_packets = 0
    video.codec_context.thread_count = 1
    for packet in demux_packets(container, video, *audios):
        is_video = packet.stream.index == video.index
        if is_video and len(frames) >= 2:
            first_seconds = _seconds_of(frames[0]) or 0.0
            if (packet.pts or 0) * packet.time_base - first_seconds > LATE_AUDIO_SECONDS:
                break
            continue
        if not is_video and packet.stream.index not in undecoded:
            continue
        num_packets += is_video
        for frame in decode_packet(packet):
            if isinstance(frame, av.VideoFrame):
                frames.append(frame)
            elif frame.samples > 0:
                audio_frames.setdefault(packet.stream.index, frame)
                undecoded.discard(packet.stream.index)
        if len(frames) >= 2 and not undecoded:
            break
        if num_packets > _MAX_BAD_PACKETS and not frames:
            break
    if len(frames) < 2:
        frames.extend(flush_decoder(video))
    if not frames:
        raise MediaError("no frame of it can be decoded")
    return frames[:2], audio_frames


def _audio_tracks(
    container: av.container.InputContainer, audio_frames: dict[int, av.AudioFrame]
) -> tuple[list[AudioTrack], list[str]]:
    tracks, warnings = [], []
    described = {track.index: track for track in film_audio_tracks(container)}
    for index, audio in enumerate(container.streams.audio):
        frame, track = audio_frames.get(audio.index), described.get(index)
        if track is None and audio.codec_context is not None:
            warnings.append(f"audio track {index} belongs to another program and is not used")
            continue
        if track is None or frame is None:
            warnings.append(f"audio track {index} cannot be decoded and is not used")
            continue
        start_seconds = _seconds_of(frame)
        if start_seconds is None and audio.start_time is not None and audio.time_base is not None:
            start_seconds = float(audio.start_time * audio.time_base)
        tracks.append(
            AudioTrack(
                index=index,
                codec=audio.codec_context.codec.canonical_name,
                channels=len(frame.layout.channels),
                sample_rate_hz=frame.sample_rate,
                language=track.language,
                title=track.title,
                dispositions=track.dispositions,
                start_seconds=start_seconds or 0.0,
            )
        )
    return tracks, warnings


def _seconds_of(frame: av.VideoFrame | av.AudioFrame) -> float | None:
    ticks = frame.pts if frame.pts is not None else frame.dts
    if ticks is None or frame.time_base is None:
        return None
    return float(ticks * frame.time_base)


def _rate_of(video: av.VideoStream) -> float | None:
    rate = video.average_rate or video.guessed_rate
    return float(rate) if rate else None


def _declared_seconds(
    container: av.container.InputContainer, video: av.VideoStream
) -> float | None:
    """Return the duration that the file declares for its video stream, else for the container."""
    if video.duration and video.time_base:
        return float(video.duration * video.time_base)
    clock = video.metadata.get("DURATION", "").split(":")  # Matroska's tag, "00:01:02.500000000"
    try:
        hours, minutes, seconds = (float(part) for part in clock)
        return hours * 3600 + minutes * 60 + seconds
    except ValueError:
        pass
    return container.duration / 1e6 if container.duration and container.duration > 0 else None
