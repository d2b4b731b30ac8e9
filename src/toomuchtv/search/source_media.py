"""What a timeline must know of a media file: frame rate, timecode, length, size and sound."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from toomuchtv._internal.subprocess_pool import Failure, run_isolated
from toomuchtv.errors import MediaError
from toomuchtv.media.containers import find_audio_stream, find_video_stream, open_media
from toomuchtv.media.decoding import demux_packets
from toomuchtv.media.extent import measure_end
from toomuchtv.media.timestamps import Timeline, read_timeline
from toomuchtv.search.timecode import nearest_standard_rate, parse_smpte

# Frame rates that differ by less than this are equal. 29.97 and 30 differ by 0.1%.
_SAME_RATE = 3e-4
# Containers with a clock in milliseconds round the times of frames to it.
_MIN_CLOCK_SECONDS = 0.00105
_MAX_SPANS, _MAX_CHECKED_PACKETS = 16, 3000
_SILENCE_SECONDS = 120.0
_MEMORY_BYTES = 3 << 30

#: Start and stop of a part of a file, in seconds on its timeline.
Span = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMedia:
    """A media file as an editing program sees it.

    Attributes:
        path: The file.
        frame_rate: Frames per second, one of `STANDARD_FRAME_RATES`.
        start_frame: Frame number of the first frame by the file's timecode; 0 without a timecode.
        is_drop_frame: Whether its timecode counts with drop-frame.
        num_frames: Length in frames at `frame_rate`.
        width: Width of its frames in pixels, before rotation.
        height: Height of its frames in pixels, before rotation.
        audio_channels: Number of channels of the film's sound; 0 without sound.
        audio_rate_hz: Sample rate of the film's sound; 0 without sound.
        warning: What an editor must know of its frame rate; "" for nothing.
    """

    path: Path
    frame_rate: Fraction
    start_frame: int
    is_drop_frame: bool
    num_frames: int
    width: int
    height: int
    audio_channels: int
    audio_rate_hz: int
    warning: str = ""


def read_source_media(
    spans: Mapping[Path, Sequence[Span]],
) -> tuple[dict[Path, SourceMedia], dict[Path, str]]:
    """Read the facts of files in a process of its own, with limits of time and memory.

    Args:
        spans: For each file, the parts that are used. In the first sixteen of them it is checked
            whether the frame rate is constant.

    Returns:
        The facts by path, and the reasons of the files that cannot be used by path.
    """
    found: dict[Path, SourceMedia] = {}
    failed: dict[Path, str] = {}
    jobs = [(path, tuple(sorted(set(parts))[:_MAX_SPANS])) for path, parts in spans.items()]
    results = run_isolated(
        _read_job,
        jobs,
        num_workers=1,
        silence_seconds=_SILENCE_SECONDS,
        memory_bytes=_MEMORY_BYTES,
    )
    with contextlib.closing(results):
        for (path, _), result in results:
            if isinstance(result, Failure):
                failed[path] = result.reason
            else:
                found[path] = result
    return found, failed


def _read_job(job: tuple[Path, tuple[Span, ...]], report: Callable[[float], None]) -> SourceMedia:
    path, spans = job
    return inspect_media(path, spans, on_progress=report)


def inspect_media(
    path: str | os.PathLike[str],
    spans: Iterable[Span] = (),
    *,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> SourceMedia:
    """Read the facts of one file in this process; see `read_source_media`.

    Raises:
        MediaError: The file cannot be opened, or has no video.
    """
    with open_media(path) as container:
        timeline = read_timeline(path, container, on_progress=on_progress)
    end_seconds = measure_end(path, timeline, find_video_stream, on_progress=on_progress)
    with open_media(path) as container:
        video = find_video_stream(container)
        audio: AudioStream | None = None
        with contextlib.suppress(MediaError):
            audio = find_audio_stream(container)
        times = [_frame_times(container, video, timeline, span) for span in spans]
        frame_rate, warning = _conform(video, times)
        start_frame, is_drop_frame = _start_timecode(container, video, frame_rate)
        return SourceMedia(
            path=Path(path),
            frame_rate=frame_rate,
            start_frame=start_frame,
            is_drop_frame=is_drop_frame,
            num_frames=max(1, round(end_seconds * frame_rate)),
            width=video.codec_context.width,
            height=video.codec_context.height,
            audio_channels=audio.codec_context.layout.nb_channels if audio else 0,
            audio_rate_hz=audio.codec_context.sample_rate if audio else 0,
            warning=warning,
        )


def _conform(video: VideoStream, times: Sequence[Sequence[float]]) -> tuple[Fraction, str]:
    """Return the standard rate of a stream, and a warning if its own rate is another.

    A frame that is shown for two frames lies on the grid of its rate, so that the rate is constant.
    """
    declared = [rate for rate in (video.average_rate, video.base_rate, video.guessed_rate) if rate]
    clock_seconds = max(float(video.time_base or 0), _MIN_CLOCK_SECONDS)
    for rate in declared:
        standard = nearest_standard_rate(rate)
        if abs(rate / standard - 1) <= _SAME_RATE and all(
            _is_on_grid(part, float(standard), clock_seconds) for part in times
        ):
            return standard, ""
    rate = declared[0] if declared else Fraction(25)
    standard = nearest_standard_rate(rate)
    if abs(rate / standard - 1) <= _SAME_RATE:
        what = "its frame rate varies"
    else:
        what = f"its frame rate is {float(rate):.6g}, or varies"
    return standard, (
        f"{what}: its frames are counted at {float(standard):.6g} per second, so that a cut may be "
        "a frame off"
    )


def _is_on_grid(times: Sequence[float], rate: float, clock_seconds: float) -> bool:
    steps = np.diff(np.sort(times))
    return bool(np.all(np.abs(steps - np.rint(steps * rate) / rate) <= clock_seconds))


def _frame_times(
    container: InputContainer, video: VideoStream, timeline: Timeline, span: Span
) -> list[float]:
    """Return the times of the frames around a part of a file, as far as they are known."""
    start_seconds, stop_seconds = span
    if timeline.index is not None:
        seconds = timeline.index.seconds[~np.isnan(timeline.index.seconds)]
        seconds = seconds - timeline.origin_seconds
        return [float(one) for one in seconds if start_seconds <= one <= stop_seconds]
    if not timeline.has_pts or timeline.seek(container, video, start_seconds) is None:
        return []
    times: list[float] = []
    for packet in demux_packets(container, video):
        if packet.pts is None or packet.time_base is None:
            continue
        at = float(packet.pts * packet.time_base) - timeline.origin_seconds
        if packet.dts is not None and packet.dts > packet.pts:
            return []  # damaged timestamps
        times.append(at)
        decoded = float((packet.dts or 0) * packet.time_base) - timeline.origin_seconds
        if decoded > stop_seconds or len(times) > _MAX_CHECKED_PACKETS:
            break
    # Frames that are shown before the seek's target may be missing, and some after the stop.
    return [at for at in times if start_seconds <= at <= stop_seconds]


def _start_timecode(
    container: InputContainer, video: VideoStream, frame_rate: Fraction
) -> tuple[int, bool]:
    """Return the number of the first frame by the timecode track or tag of a file.

    FFmpeg states the timecode of a QuickTime timecode track as a tag of that track and of the
    video that it belongs to. Others, such as Matroska and MXF, have a tag of the file.
    """
    tracks = [stream.metadata for stream in container.streams if stream.type == "data"]
    for tags in (video.metadata, *tracks, container.metadata):
        for key, value in tags.items():
            if key.lower() == "timecode":
                parsed = parse_smpte(value, frame_rate)
                if parsed is not None:
                    return parsed
    return 0, False
