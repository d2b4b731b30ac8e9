"""One look into a file: what it holds, how long its picture really is, and whether it decodes.

Containers promise things (a duration, a sound track) that the data may not keep. A probe checks
the promises it can check cheaply: it decodes the first pictures and the first sound of every
track, and reads the last packets of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import av.container
import av.error
import av.logging
import av.stream

from toomuchtv.catalog.records import AudioTrack, Probe, VideoStream
from toomuchtv.errors import MediaError
from toomuchtv.media.containers import MediaOpenError, find_video_stream, open_media

#: A film may have this much silence before its first sound before we give the track up.
_LATE_AUDIO_SECONDS = 600.0
#: Video packets that may fail to decode before the first picture, as in a recording that starts
#: in the middle of a group of pictures.
_MAX_BAD_PACKETS = 1000
#: How far before its declared end the search for a file's last picture starts.
_TAIL_SECONDS = 5.0
#: A picture ending this much before its declared end is worth a warning.
_SHORT_SECONDS = 1.0

_STILL_FORMATS = frozenset({"ico"})


def probe_file(path: Path) -> Probe:
    """Look into a media file.

    The picture is the first video stream that is not cover art. Timestamps (`start_seconds`) are
    the container's own, not shifted to zero.

    Raises:
        MediaError: if the file cannot be used; the message is the reason alone, without the path.
    """
    # Nothing of FFmpeg's own talk reaches stderr: what matters is in the reason.
    av.logging.set_level(None)
    if _size_of(path) == 0:
        raise MediaError("the file is empty (0 bytes)")
    with _open(path) as container:
        video = find_video_stream(container)
        frames, sounds = _decode_heads(container, video)
        if len(frames) < 2:
            raise MediaError("a still image: it holds one picture only")
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
        tracks, warnings = _audio_tracks(container, sounds)
    end_seconds = _end_of_picture(path, start_seconds, declared_seconds, stream.frame_rate)
    duration_seconds = end_seconds - start_seconds
    if not (math.isfinite(duration_seconds) and duration_seconds > 0):
        raise MediaError("its timestamps make no sense: the picture ends before it starts")
    if declared_seconds is not None and declared_seconds - duration_seconds > _SHORT_SECONDS:
        warnings.insert(
            0,
            f"the picture ends at {duration_seconds:.1f} s of the {declared_seconds:.1f} s that "
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
    names = set(container.format.name.split(","))
    if names & _STILL_FORMATS or container.format.name.endswith("_pipe"):
        container.close()
        raise MediaError("a still image, not a film")
    return container


def _decode_heads(
    container: av.container.InputContainer, video: av.VideoStream
) -> tuple[list[av.VideoFrame], dict[int, av.AudioFrame]]:
    """The first two pictures, and the first sound of each track (by stream index) that has one."""
    frames: list[av.VideoFrame] = []
    sounds: dict[int, av.AudioFrame] = {}
    audios = [a for a in container.streams.audio if a.codec_context is not None]
    silent = {audio.index for audio in audios}
    num_packets = 0
    complaint = ""
    video.codec_context.thread_count = 1
    try:
        for packet in container.demux([video, *audios]):
            # Not `stream_index`, which is 0 for any stream's last packet: see `demux_packets`.
            if packet.stream.index != video.index and packet.stream.index not in silent:
                continue
            if packet.stream.index == video.index and len(frames) >= 2:
                if (packet.pts or 0) * packet.time_base > _LATE_AUDIO_SECONDS:
                    break
                continue
            num_packets += packet.stream.index == video.index
            try:
                decoded = packet.decode()
            except (av.error.FFmpegError, ValueError) as error:
                complaint = str(error)
                decoded = []
            for frame in decoded:
                if isinstance(frame, av.VideoFrame):
                    frames.append(frame)
                elif isinstance(frame, av.AudioFrame) and frame.samples > 0:
                    sounds.setdefault(packet.stream.index, frame)
                    silent.discard(packet.stream.index)
            if len(frames) >= 2 and not silent:
                break
            if num_packets > _MAX_BAD_PACKETS and not frames:
                break
    except (av.error.FFmpegError, IndexError) as error:
        # The data ends or breaks here: what came before counts. PyAV's IndexError: it ended, with
        # a stream more than it began with.
        complaint = str(error)
    if not frames:
        raise MediaError(
            "no picture of it can be decoded" + (f" ({complaint})" if complaint else "")
        )
    return frames[:2], sounds


def _audio_tracks(
    container: av.container.InputContainer, sounds: dict[int, av.AudioFrame]
) -> tuple[list[AudioTrack], list[str]]:
    tracks, warnings = [], []
    for index, audio in enumerate(container.streams.audio):
        sound = sounds.get(audio.index)
        if sound is None:
            warnings.append(f"audio track {index} cannot be decoded and is left out")
            continue
        language = audio.metadata.get("language")
        start_seconds = _seconds_of(sound)
        if start_seconds is None and audio.start_time is not None and audio.time_base is not None:
            start_seconds = float(audio.start_time * audio.time_base)
        tracks.append(
            AudioTrack(
                index=index,
                codec=audio.codec_context.codec.canonical_name,
                channels=len(sound.layout.channels),
                sample_rate_hz=sound.sample_rate,
                language=language if language and language != "und" else None,
                title=audio.metadata.get("title"),
                dispositions=frozenset(
                    flag.name
                    for flag in av.stream.Disposition
                    if audio.disposition & flag and flag.name
                ),
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
    """How long the file says its picture is: by the stream, else by the container."""
    if video.duration and video.time_base:
        return float(video.duration * video.time_base)
    clock = video.metadata.get("DURATION", "").split(":")  # Matroska's tag, "00:01:02.500000000"
    try:
        hours, minutes, seconds = (float(part) for part in clock)
        return hours * 3600 + minutes * 60 + seconds
    except ValueError:
        pass
    return container.duration / 1e6 if container.duration and container.duration > 0 else None


def _end_of_picture(
    path: Path, start_seconds: float, declared_seconds: float | None, frame_rate: float | None
) -> float:
    """When the last picture ends, on the container's clock, by the packets that are there."""
    if declared_seconds is not None:
        from_seconds = start_seconds + declared_seconds - _TAIL_SECONDS
        if from_seconds > start_seconds:
            end_seconds = _last_packet_end(path, from_seconds, start_seconds, frame_rate)
            if end_seconds is not None:
                return end_seconds
    end_seconds = _last_packet_end(path, None, start_seconds, frame_rate)
    if end_seconds is None:
        raise MediaError("no picture of it can be read again from its start")
    return end_seconds


def _last_packet_end(
    path: Path, from_seconds: float | None, start_seconds: float, frame_rate: float | None
) -> float | None:
    """The latest end of a video packet, reading on from a moment (None: all of the file)."""
    end_seconds: float | None = None
    with _open(path) as container:
        video = find_video_stream(container)
        time_base = video.time_base or Fraction(1, 90_000)
        try:
            if from_seconds is not None:
                container.seek(math.floor(from_seconds / time_base), stream=video)
            for packet in _whole(container.demux(video)):
                length = float((packet.duration or 0) * time_base)
                # A millisecond clock writes 41 for 41.67: the frame rate knows better.
                if frame_rate and (not length or abs(length - 1 / frame_rate) <= time_base):
                    length = 1 / frame_rate
                ticks = packet.pts if packet.pts is not None else packet.dts
                if ticks is not None:
                    end = float(ticks * time_base) + length
                    end_seconds = end if end_seconds is None else max(end_seconds, end)
                elif from_seconds is not None:
                    return None  # no clock to stop by: count every picture instead
                else:
                    end_seconds = (start_seconds if end_seconds is None else end_seconds) + length
        except av.error.FFmpegError:
            if from_seconds is not None:
                return None  # cannot seek there: read it all
        except IndexError:
            pass  # PyAV's own: the file ended, with a stream more than it began with
    return end_seconds


def _whole(packets: Iterable[av.Packet[av.VideoStream]]) -> Iterable[av.Packet[av.VideoStream]]:
    """Leave out the flush at the end and packets that the file does not hold to their end."""
    return (p for p in packets if p.size > 0 and not p.is_corrupt and not p.is_discard)
