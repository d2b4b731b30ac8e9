"""Cutting a part of a film into a small MP4 file, without decoding it where a key frame allows it.

    key frames   K . . . . . . K . . . . . . K
    part                       |---------|           copied: it starts at a key frame
    part                |---------|                  encoded again

The packets of the video are copied if a key frame lies within a frame of the start and MP4 may hold
the codec. Otherwise the frames are encoded as `read_clip` shows them: turned upright, with square
pixels, without interlacing, in SDR. The sound is always encoded, because its packets do not end
where the part ends.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from toomuchtv.errors import MediaError, NoAudioError
from toomuchtv.media.containers import (
    decode_in_threads,
    find_audio_stream,
    find_video_stream,
    frame_duration_seconds,
    naming_errors,
    open_media,
)
from toomuchtv.media.decoding import demux_packets
from toomuchtv.media.deinterlace import Deinterlacer
from toomuchtv.media.frame_sampler import timestamp_tolerance
from toomuchtv.media.shape import FilmConverter, film_shape
from toomuchtv.media.timeline_decoder import TimelineDecoder
from toomuchtv.media.timestamps import START, Position, Timeline, read_timeline

# What players of MP4 files understand.
_COPIED_CODECS = frozenset({"h264", "hevc", "av1", "vp9", "mpeg4"})
# The tag that Apple's players want in place of FFmpeg's.
_CODEC_TAGS = {"hevc": "hvc1"}
_H264, _MPEG4 = "libx264", "mpeg4"
# Without B-frames, the last packet is the last frame, and its duration that of the file.
_ENCODER_OPTIONS = {
    _H264: {"preset": "veryfast", "crf": "18", "bf": "0"},
    _MPEG4: {"qmin": "2", "qmax": "5", "bf": "0"},
}
# All usual frame rates are whole numbers of these, or nearly. MPEG-4 counts at most 65,535.
_TICKS_PER_SECOND = 60_000
_AUDIO_BIT_RATE_PER_CHANNEL = 96_000
_AUDIO_RATES = frozenset({16_000, 22_050, 24_000, 32_000, 44_100, 48_000})
_AUDIO_LAYOUTS = frozenset({"mono", "stereo", "5.1", "5.1(side)"})
_AUDIO_PREROLL_SECONDS = 0.5
# Times of audio frames are rounded to the clock of the container. Smaller gaps are none.
_MAX_ROUNDING_SECONDS = 0.004
_SEEK_BACK_SECONDS = (0.0, 2.0, 12.0, 60.0)
_COLORSPACE_BT601 = 6  # AVCOL_SPC_SMPTE170M, which `FrameConverter` writes
_REPORT_EVERY = 50
# H.264 and HEVC show a frame at most sixteen frames later than it is decoded.
_MAX_REORDERED = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class CutFilm:
    """What was cut.

    Attributes:
        start_seconds: Start of the first frame on the timeline of the film.
        is_copied: Whether the packets of the video were copied.
        has_audio: Whether the film has sound.
    """

    start_seconds: float
    is_copied: bool
    has_audio: bool


def cut_film(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    start_seconds: float,
    stop_seconds: float,
    audio_track: int | None = None,
    audio_source: str | os.PathLike[str] | None = None,
    copy: bool = True,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> CutFilm:
    """Write a part of a film as an MP4 file.

    A part whose video is copied shows up to a few frames more at its end, if the codec needs them
    to decode those before.

    Args:
        source: The film, which is only read.
        target: The file to write. It may be incomplete after an error.
        start_seconds: Start of the part on the timeline of the film.
        stop_seconds: Its end, exclusive.
        audio_track: Position among the audio tracks of the film. None chooses its sound by the rule
            of `media.streams`.
        audio_source: A file that has the sound, as the proxies of a catalog do, with the same
            timeline from its first sample on. By default, the film has it.
        copy: Whether packets may be copied.
        on_progress: Called with the seconds that are written, as a sign of life.

    Raises:
        MediaError: The film cannot be read, has no video, or has no frame at the start.
        ValueError: The interval is empty or negative.
    """
    if not 0 <= start_seconds < stop_seconds:
        raise ValueError(
            "start_seconds must be at least 0 and less than stop_seconds, "
            f"got {start_seconds} and {stop_seconds}"
        )
    with naming_errors("cannot cut", source), contextlib.ExitStack() as files:
        with open_media(source) as container:
            timeline = read_timeline(source, container, on_progress=on_progress)
        target_container = files.enter_context(
            av.open(os.fspath(target), "w", format="mp4", options={"movflags": "+faststart"})
        )
        assert isinstance(target_container, OutputContainer)
        key_seconds = _key_frame_near(source, timeline, start_seconds) if copy else None
        film = files.enter_context(open_media(source))
        if key_seconds is None:
            video = _encoded_video(film, target_container, timeline, start_seconds, stop_seconds)
        else:
            start_seconds = key_seconds
            video = _copied_video(film, target_container, timeline, start_seconds, stop_seconds)
        heard, heard_timeline = source, timeline
        if audio_source is not None:
            heard = audio_source
            heard_timeline = read_timeline(heard)
        sounds = _encoded_audio(
            files, heard, audio_track, target_container, heard_timeline, start_seconds, stop_seconds
        )
        packets = heapq.merge(video, sounds or iter(()), key=_decoding_seconds)
        for number, packet in enumerate(packets, 1):
            target_container.mux(packet)
            if number % _REPORT_EVERY == 0:
                on_progress(max(0.0, _decoding_seconds(packet)))
    return CutFilm(
        start_seconds=start_seconds,
        is_copied=key_seconds is not None,
        has_audio=sounds is not None,
    )


def _decoding_seconds(packet: Packet[Any]) -> float:
    ticks = packet.dts if packet.dts is not None else packet.pts
    return float((ticks or 0) * (packet.time_base or 0))


# ---- Video that is copied


def _key_frame_near(
    source: str | os.PathLike[str], timeline: Timeline, start_seconds: float
) -> float | None:
    """Return the time of a key frame within a frame of the start; None if video must be encoded."""
    # MPEG-TS and MPEG-PS may have discontinuities, and AVI has no presentation times.
    if timeline.index is not None or not timeline.has_pts:
        return None
    with open_media(source) as container:
        stream = find_video_stream(container)
        if stream.codec_context.name not in _COPIED_CODECS:
            return None
        frame_seconds = frame_duration_seconds(stream) + timestamp_tolerance(stream)
        if timeline.seek(container, stream, start_seconds + frame_seconds) is None:
            return None
        for packet in demux_packets(container, stream):
            seconds = _shown_seconds(packet, timeline)
            if packet.is_keyframe and seconds is not None:
                is_near = abs(seconds - start_seconds) <= frame_seconds and not packet.is_discard
                # The frame that is shown at time zero is the first, whatever its timestamp.
                return max(0.0, seconds) if is_near else None
    return None


def _shown_seconds(packet: Packet[Any], timeline: Timeline) -> float | None:
    if packet.size == 0 or packet.pts is None or packet.time_base is None:
        return None
    return float(packet.pts * packet.time_base) - timeline.origin_seconds


def _copied_video(
    film: InputContainer,
    target: OutputContainer,
    timeline: Timeline,
    start_seconds: float,
    stop_seconds: float,
) -> Iterator[Packet[Any]]:
    """Yield the packets of the video from a key frame on, with times from zero."""
    stream = find_video_stream(film)
    out = target.add_stream_from_template(stream)
    assert isinstance(out, VideoStream)
    tag = _CODEC_TAGS.get(stream.codec_context.name)
    if tag is not None:
        out.codec_context.codec_tag = tag
    # Half of a frame more: the key frame itself must be found again.
    timeline.seek(film, stream, start_seconds + frame_duration_seconds(stream) / 2)
    return _packets_between(film, stream, out, timeline, start_seconds, stop_seconds)


def _packets_between(
    film: InputContainer,
    stream: VideoStream,
    out: VideoStream,
    timeline: Timeline,
    start_seconds: float,
    stop_seconds: float,
) -> Iterator[Packet[Any]]:
    tolerance = timestamp_tolerance(stream)
    base: int | None = None
    waiting: list[Packet[Any]] = []
    for packet in _with_decoding_times(_packets_from_key_frame(film, stream)):
        assert packet.pts is not None
        assert packet.dts is not None
        base = packet.pts if base is None else base
        decoded_seconds = float(packet.dts * packet.time_base) - timeline.origin_seconds
        if decoded_seconds >= stop_seconds - tolerance:
            return  # no later packet is shown before the stop
        waiting.append(packet)
        shown_seconds = float(packet.pts * packet.time_base) - timeline.origin_seconds
        # Behind the end of an edit list, packets are stored that are not shown.
        if shown_seconds < stop_seconds - tolerance and not packet.is_discard:
            for one in waiting:
                assert one.pts is not None
                assert one.dts is not None
                one.pts, one.dts = one.pts - base, one.dts - base
                one.stream = out
                yield one
            waiting.clear()


def _packets_from_key_frame(film: InputContainer, stream: VideoStream) -> Iterator[Packet[Any]]:
    """Yield the packets from the next key frame on, without those that need earlier frames."""
    first: int | None = None
    for packet in demux_packets(film, stream):
        if packet.size == 0 or packet.pts is None or (first is None and not packet.is_keyframe):
            continue
        first = packet.pts if first is None else first
        if packet.pts >= first:
            yield packet


def _with_decoding_times(packets: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
    """Yield packets with decoding times, which Matroska does not store.

    Packet i is decoded at the i-th of all presentation times, in order, less a delay that is the
    same for all, so that no packet is decoded after it is shown:

        presentation   0  3  1  2  6  4  5
        in order       0  1  2  3  4  5  6
        decoding      -1  0  1  2  3  4  5
    """
    ahead = list(itertools.islice(packets, _MAX_REORDERED))
    if all(packet.dts is not None for packet in ahead):
        yield from ahead
        yield from packets
        return
    queue = deque(ahead)
    times = sorted(packet.pts or 0 for packet in ahead)
    pairs = zip(times, ahead, strict=True)
    delay = max((at - (packet.pts or 0) for at, packet in pairs), default=0)
    while queue:
        packet = queue.popleft()
        packet.dts = heapq.heappop(times) - delay
        following = next(packets, None)
        if following is not None:
            queue.append(following)
            heapq.heappush(times, following.pts or 0)
        yield packet


# ---- Video that is encoded


def _encoded_video(
    film: InputContainer,
    target: OutputContainer,
    timeline: Timeline,
    start_seconds: float,
    stop_seconds: float,
) -> Iterator[Packet[Any]]:
    """Yield packets of the encoded frames, with times from zero."""
    stream = find_video_stream(film)
    codec = _H264 if _H264 in av.codecs_available else _MPEG4
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    out = target.add_stream(
        codec, rate=rate.limit_denominator(1001), options=_ENCODER_OPTIONS[codec]
    )
    assert isinstance(out, VideoStream)
    shape = film_shape(film)
    converter = FilmConverter(shape, short_side=None, pixel_format="yuv420p")
    if converter.width % 2 or converter.height % 2:
        even = max(2, min(converter.width, converter.height) // 2 * 2)
        converter = FilmConverter(shape, short_side=even, pixel_format="yuv420p")
    out.width, out.height, out.pix_fmt = converter.width, converter.height, "yuv420p"
    out.codec_context.time_base = Fraction(1, _TICKS_PER_SECOND)
    out.codec_context.colorspace = _COLORSPACE_BT601
    frames = _frames_between(film.name, timeline, start_seconds, stop_seconds)
    return _encode_frames(frames, out, converter, start_seconds, stop_seconds)


def _encode_frames(
    frames: Iterator[tuple[VideoFrame, float]],
    out: VideoStream,
    converter: FilmConverter,
    start_seconds: float,
    stop_seconds: float,
) -> Iterator[Packet[Any]]:
    durations: dict[int, int] = {}

    def with_duration(packets: Iterable[Packet[Any]]) -> Iterator[Packet[Any]]:
        for packet in packets:
            packet.duration = durations.pop(packet.pts or 0, 1)
            yield packet

    def ticks(seconds: float) -> int:
        return round((seconds - start_seconds) * _TICKS_PER_SECOND)

    end = (None, stop_seconds)
    for (frame, seconds), (_, next_seconds) in itertools.pairwise(itertools.chain(frames, [end])):
        assert frame is not None
        pts, next_pts = ticks(seconds), ticks(next_seconds)
        if next_pts <= pts:
            continue
        converted = converter.convert(frame)
        converted.pts, converted.time_base = pts, Fraction(1, _TICKS_PER_SECOND)
        converted.pict_type = 0
        durations[pts] = next_pts - pts
        yield from with_duration(out.encode(converted))
    yield from with_duration(out.encode(None))


def _frames_between(
    source: str, timeline: Timeline, start_seconds: float, stop_seconds: float
) -> Iterator[tuple[VideoFrame, float]]:
    """Yield the frames that are shown in an interval, the first one at its start."""
    for seek_back in (*_SEEK_BACK_SECONDS, None):
        with open_media(source) as film:
            stream = find_video_stream(film)
            decode_in_threads(stream)
            position: Position | None = START
            if seek_back is not None and start_seconds > seek_back:
                position = timeline.seek(film, stream, start_seconds - seek_back)
            if position is None:
                continue
            tolerance = timestamp_tolerance(stream)
            decoder = TimelineDecoder(film, timeline, video=stream, position=position)
            frames = _deinterlaced(iter(decoder))
            first = next(frames, None)
            if first is None or (first[1] > start_seconds + tolerance and not position.is_start):
                continue
            yield from _shown_between(
                itertools.chain([first], frames), start_seconds, stop_seconds, tolerance
            )
            return
    raise MediaError(f"no frame can be decoded at {start_seconds:.3f} s")


def _deinterlaced(decoder: Iterator[tuple[Any, float]]) -> Iterator[tuple[VideoFrame, float]]:
    deinterlacer = Deinterlacer()
    for frame, seconds in decoder:
        yield from deinterlacer.push(frame, seconds)
    yield from deinterlacer.close()


def _shown_between(
    frames: Iterator[tuple[VideoFrame, float]],
    start_seconds: float,
    stop_seconds: float,
    tolerance: float,
) -> Iterator[tuple[VideoFrame, float]]:
    shown: VideoFrame | None = None  # the frame on the screen at the start
    last_seconds = -math.inf
    for frame, seconds in frames:
        if seconds >= stop_seconds - tolerance:
            break
        if seconds <= last_seconds:
            continue  # damaged timestamps
        last_seconds = seconds
        if seconds <= start_seconds + tolerance:
            shown = frame
            continue
        if shown is not None:
            yield shown, start_seconds
            shown = None
        yield frame, seconds
    if shown is not None:
        yield shown, start_seconds


# ---- Sound


def _encoded_audio(
    files: contextlib.ExitStack,
    source: str | os.PathLike[str],
    audio_track: int | None,
    target: OutputContainer,
    timeline: Timeline,
    start_seconds: float,
    stop_seconds: float,
) -> Iterator[Packet[Any]] | None:
    """Return packets of the encoded sound, with silence in gaps; None for a film without sound."""
    film = files.enter_context(open_media(source))
    try:
        stream = find_audio_stream(film, audio_track)
    except NoAudioError:
        return None
    context = stream.codec_context
    rate = context.sample_rate if context.sample_rate in _AUDIO_RATES else 48_000
    layout = context.layout.name if context.layout.name in _AUDIO_LAYOUTS else "stereo"
    out = target.add_stream("aac", rate=rate, layout=layout)
    assert isinstance(out, AudioStream)
    out.codec_context.bit_rate = _AUDIO_BIT_RATE_PER_CHANNEL * out.codec_context.layout.nb_channels
    position: Position | None = START
    preroll = start_seconds - _AUDIO_PREROLL_SECONDS
    # FFmpeg reports wrong timestamps after a seek in Ogg FLAC.
    if preroll > 0 and (film.format.name, context.name) != ("ogg", "flac"):
        position = timeline.seek(film, stream, preroll - (2.0 if timeline.index else 0.0))
    if position is None:  # FFmpeg cannot seek in this file
        film = files.enter_context(open_media(source))
        stream, position = find_audio_stream(film, audio_track), START
    decoder = TimelineDecoder(film, timeline, audio=stream, position=position)
    return _encode_samples(iter(decoder), out, start_seconds, stop_seconds)


def _encode_samples(
    decoder: Iterator[tuple[Any, float]],
    out: AudioStream,
    start_seconds: float,
    stop_seconds: float,
) -> Iterator[Packet[Any]]:
    rate, layout = out.codec_context.sample_rate, out.codec_context.layout
    total = max(1, round((stop_seconds - start_seconds) * rate))
    resampler = AudioResampler(format="fltp", layout=layout, rate=rate)
    num_done = 0
    position: int | None = None  # of the next sample of the resampler

    def encode(samples: NDArray[np.float32]) -> Iterator[Packet[Any]]:
        nonlocal num_done
        samples = np.ascontiguousarray(samples[:, : total - num_done])
        if samples.shape[1] == 0:
            return
        frame = AudioFrame.from_ndarray(
            np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0),
            format="fltp",
            layout=layout.name,
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, num_done, Fraction(1, rate)
        num_done += samples.shape[1]
        yield from out.encode(frame)

    for decoded, seconds in decoder:
        if num_done >= total:
            break
        start = round((seconds - start_seconds) * rate)
        if position is None or abs(start - position) > _MAX_ROUNDING_SECONDS * rate:
            position = start
        decoded.pts = None  # the position counts the samples
        for frame in resampler.resample(decoded):
            samples = np.asarray(frame.to_ndarray(), np.float32)
            if position > num_done:
                silence = np.zeros((samples.shape[0], position - num_done), np.float32)
                yield from encode(silence)
            yield from encode(samples[:, max(0, num_done - position) :])
            position += samples.shape[1]
    if num_done < total:
        yield from encode(np.zeros((layout.nb_channels, total - num_done), np.float32))
    yield from out.encode(None)
