"""Decoding of video and audio with times on the item's timeline, leaving out what is damaged.

Lost data damages more than itself: frames that refer to a lost frame are smeared until the next
keyframe. They are left out, whatever the codec conceals:

    packets      I  P  P  x  P  P  P  I  P        x is lost or cannot be decoded
    frames       I  P  P  -  -  -  -  I  P
    damage                |-----------|
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterator
from typing import Any

from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.codec import Capabilities
from av.codec.context import ThreadType
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from toomuchtv.media.containers import frame_duration_seconds
from toomuchtv.media.damage import DamagedInterval, merge_intervals
from toomuchtv.media.decoding import decode_packet, demux_packets, flush_decoder
from toomuchtv.media.packet_index import MAX_STEP_SECONDS
from toomuchtv.media.timestamps import START, PacketCounter, Position, Timeline

# Video that refreshes itself without keyframes is shown again after this long.
_MAX_CLOSED_SECONDS = 60.0
# A pause in the packets of a stream that is longer than this may be a loss.
_MIN_LOSS_SECONDS = 0.5
# Audio packets are stored at most this far from the video packets of the same time.
_INTERLEAVING_SECONDS = 2.0
# Audio that differs from its stated time by less than this has no gap.
_MIN_GAP_SECONDS = 0.01
_NUM_RECENT = 128
_MAX_REORDERED = 8
_NUM_REGULAR = 50


class TimelineDecoder:
    """An iterable of the frames of a file with their times, in seconds on the item's timeline.

    Frames of video come in presentation order, those of audio too. Damaged and smeared frames are
    left out. Frames without a known time have the time infinity (video) or are left out (audio).

    Args:
        container: The file, at `position`.
        timeline: Its timeline.
        video: The video stream to decode.
        audio: The audio stream to decode.
        watch: A further stream that is read and not decoded, because a loss of data shows in the
            audio as well.
        position: Where decoding begins.

    Attributes:
        num_damaged: Number of packets that could not be decoded, and of places where the container
            broke off.
    """

    def __init__(
        self,
        container: InputContainer,
        timeline: Timeline,
        *,
        video: VideoStream | None = None,
        audio: AudioStream | None = None,
        watch: AudioStream | None = None,
        position: Position = START,
    ) -> None:
        self.num_damaged = 0
        self._container = container
        self._video = _VideoTrack(video, timeline, position) if video else None
        self._audio = _AudioTrack(audio, timeline, position) if audio else None
        streams = {stream.index: stream for stream in (video, audio, watch) if stream is not None}
        self._streams = list(streams.values())
        self._losses = None
        if video is not None:
            # Longer pauses are discontinuities of the timeline there.
            longest = math.inf if timeline.index is None else MAX_STEP_SECONDS
            has_audio = bool(audio or watch)
            self._losses = _LossDetector(video, has_audio=has_audio, longest_seconds=longest)

    def __iter__(self) -> Iterator[tuple[Any, float]]:
        for packet in demux_packets(self._container, *self._streams, on_damage=self._break_off):
            if self._losses is not None and self._losses.push(packet) and self._video:
                self._video.lose_data()
            if self._video is not None and packet.stream.index == self._video.stream.index:
                yield from self._video.decode(packet, self._count_damage)
            elif self._audio is not None and packet.stream.index == self._audio.stream.index:
                yield from self._audio.decode(packet, self._count_damage)
        # These have frames only if the container broke off. Otherwise the decoders were flushed.
        for track in (self._video, self._audio):
            if track is not None:
                yield from track.frames(flush_decoder(track.stream))

    def _count_damage(self) -> None:
        self.num_damaged += 1

    def _break_off(self) -> None:
        self._count_damage()
        if self._video is not None:
            self._video.lose_data()
        if self._audio is not None:
            self._audio.lose_data()

    @property
    def video_stop_seconds(self) -> float:
        """Where the video packets that were read end, decoded or not; 0 before the first.

        Packets that the container holds without showing them do not count, such as those behind
        the end of an edit list.
        """
        return self._video.stop_seconds if self._video else 0.0

    def video_damage(self, stop_seconds: float) -> tuple[DamagedInterval, ...]:
        """Return where the video was damaged, up to the end of the item."""
        return merge_intervals(self._video.gate.damage(stop_seconds)) if self._video else ()

    def audio_damage(self, stop_seconds: float) -> tuple[DamagedInterval, ...]:
        """Return where the audio was damaged, up to the end of the item.

        A gap in the audio is damage if packets before it could not be decoded, or if the video lost
        data there too.
        """
        if self._audio is None:
            return ()
        gaps = [
            DamagedInterval(max(0.0, gap.start_seconds), min(gap.stop_seconds, stop_seconds))
            for gap in self._audio.all_gaps()
            if gap in self._audio.damaged
            or any(gap.overlaps(other) for other in self.video_damage(stop_seconds))
        ]
        return merge_intervals(gap for gap in gaps if gap.duration_seconds > 0)


class KeyframeGate:
    """Decides which frames are smeared, from the packets in decoding order."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, bool]] = deque(maxlen=_NUM_RECENT)
        # Start and stop of intervals without frames; the stop of the last one may be unknown yet.
        self._closed: list[tuple[float, float | None]] = []
        self._is_lost = False

    def push(self, seconds: float, duration: float, *, is_keyframe: bool) -> None:
        """Take the next packet, before it is decoded."""
        if self._is_lost:
            self._is_lost = False
            if self._recent:
                self._close(min(self._whole_until(duration), seconds))
        self._recent.append((seconds, is_keyframe))
        self._follow(seconds, is_keyframe=is_keyframe)

    def lose_data(self) -> None:
        """Note that data was lost before the next packet."""
        self._is_lost = True

    def _whole_until(self, duration: float) -> float:
        """Return up to where no packet is missing; of reordered frames, some may be."""
        times = sorted(seconds for seconds, _ in self._recent)
        for before, after in itertools.pairwise(times[-_MAX_REORDERED:]):
            if after - before > 1.5 * duration:
                return before + duration
        return times[-1] + duration

    def fail(self, delay: int = 0) -> None:
        """Note that the decoder reported an error, which is `delay` packets late."""
        failed = list(self._recent)[-1 - delay :]
        if failed:
            self._close(failed[0][0])
            for seconds, is_keyframe in failed[1:]:
                self._follow(seconds, is_keyframe=is_keyframe)

    def fail_at(self, seconds: float) -> None:
        """Note that the frame at this time is damaged."""
        self._close(seconds)
        for at, is_keyframe in self._recent:
            if at > seconds and is_keyframe:
                self._follow(at, is_keyframe=True)

    def is_open(self, seconds: float) -> bool:
        """Return whether the frame at this time is whole."""
        return not any(
            start <= seconds and (stop is None or seconds < stop)
            for start, stop in self._closed[-_NUM_RECENT:]
        )

    def damage(self, stop_seconds: float) -> list[DamagedInterval]:
        """Return the intervals without frames, up to the end of the item."""
        intervals = [
            DamagedInterval(max(0.0, start), stop_seconds if stop is None else stop)
            for start, stop in self._closed
        ]
        return [interval for interval in intervals if interval.duration_seconds > 0]

    def _close(self, seconds: float) -> None:
        if self._closed:
            start, stop = self._closed[-1]
            if stop is None or seconds < stop:
                # What was to be the next whole keyframe is damaged as well.
                self._closed[-1] = min(start, seconds), None
                return
        self._closed.append((seconds, None))

    def _follow(self, seconds: float, *, is_keyframe: bool) -> None:
        if not self._closed or self._closed[-1][1] is not None:
            return
        start, _ = self._closed[-1]
        if is_keyframe or seconds - start > _MAX_CLOSED_SECONDS:
            self._closed[-1] = start, max(start, seconds)
        else:
            self._closed[-1] = min(start, seconds), None


class _VideoTrack:
    def __init__(self, stream: VideoStream, timeline: Timeline, position: Position) -> None:
        self.stream = stream
        self.gate = KeyframeGate()
        self.stop_seconds = 0.0
        self._timeline = timeline
        self._counter = None if timeline.index is None else PacketCounter(timeline.index, position)
        self._seconds_of = timeline.video_clock(stream, position)
        self._duration = frame_duration_seconds(stream)
        self._tick = float(stream.time_base or 0)
        self._packet_stop = 0.0 if position.is_start else float("nan")
        self._last_packet: tuple[float | None, bool] = None, False  # its dts, whether it is corrupt

    def lose_data(self) -> None:
        self.gate.lose_data()

    def decode(self, packet: Packet[Any], on_damage: Any) -> Iterator[tuple[VideoFrame, float]]:
        if packet.size > 0:
            if self._skips_frames(packet):
                self.gate.lose_data()
            number = None if self._counter is None else self._counter.number(packet)
            if self._counter is not None and number is None:
                return
            seconds = self._packet_seconds(packet, number)
            self._packet_stop = seconds + self._duration
            self.gate.push(seconds, self._duration, is_keyframe=packet.is_keyframe)
            if not packet.is_discard:
                self.stop_seconds = max(self.stop_seconds, self._packet_stop)
        failures: list[None] = []
        frames = decode_packet(packet, lambda: failures.append(None))
        if failures:
            on_damage()
            self.gate.fail(_error_delay(self.stream.codec_context))
        yield from self.frames(frames)

    def _skips_frames(self, packet: Packet[Any]) -> bool:
        """Return whether frames are missing between the packet before and this one.

        MPEG-TS counts its packets, and FFmpeg marks the frames on both sides of a miscount as
        corrupt. Where two recordings were joined, no frame is missing.
        """
        last_dts, was_corrupt = self._last_packet
        dts = None if packet.dts is None else packet.dts * self._tick
        self._last_packet = dts, packet.is_corrupt
        if dts is None or last_dts is None or not (was_corrupt or packet.is_corrupt):
            return False
        return 1.5 * self._duration < dts - last_dts < MAX_STEP_SECONDS

    def _packet_seconds(self, packet: Packet[Any], number: int | None) -> float:
        if number is not None:
            assert self._timeline.index is not None
            times = self._timeline.index.seconds
            seconds = float(times[number]) if number < len(times) else float("nan")
        else:
            ticks = packet.pts if self._timeline.has_pts else packet.dts
            seconds = float("nan") if ticks is None else ticks * self._tick
        seconds -= self._timeline.origin_seconds
        return self._packet_stop if math.isnan(seconds) else seconds

    def frames(self, frames: list[VideoFrame]) -> Iterator[tuple[VideoFrame, float]]:
        for frame in frames:
            seconds = self._seconds_of(frame)
            if frame.is_corrupt:
                self.gate.fail_at(seconds)
            if self.gate.is_open(seconds):
                yield frame, seconds


def _error_delay(context: VideoCodecContext) -> int:
    """Return by how many packets a decoder's errors are late.

    Threads that decode one frame each return frames and errors in order, one for each packet that
    follows. FFmpeg chooses their number when it decodes the first packet.
    """
    is_able = context.codec.capabilities & Capabilities.frame_threads.value
    return context.thread_count - 1 if is_able and ThreadType.FRAME in context.thread_type else 0


class _AudioTrack:
    def __init__(self, stream: AudioStream, timeline: Timeline, position: Position) -> None:
        self.stream = stream
        self.gaps: list[DamagedInterval] = []
        self.damaged: set[DamagedInterval] = set()
        self._seconds_of = timeline.audio_clock(position)
        # Behind a byte of a file with an index, the first packet may begin with the rest of a
        # frame, to which FFmpeg gives the timestamp of the next. From the second one on, the
        # timestamps are right.
        self._num_to_skip = 2 if timeline.index is not None and not position.is_start else 0
        self._stop: float | None = 0.0 if position.is_start else None
        self._is_damaged = False
        self._failed_seconds = 0.0  # duration of the packets that failed since the last frame

    def lose_data(self) -> None:
        self._is_damaged = True

    def all_gaps(self) -> list[DamagedInterval]:
        """Return the gaps, with the one that damaged packets at the end leave."""
        if self._stop is not None and self._failed_seconds > _MIN_GAP_SECONDS:
            last = DamagedInterval(self._stop, self._stop + self._failed_seconds)
            self.damaged.add(last)
            return [*self.gaps, last]
        return self.gaps

    def decode(self, packet: Packet[Any], on_damage: Any) -> Iterator[tuple[AudioFrame, float]]:
        if self._num_to_skip > 0:
            self._num_to_skip -= packet.pos is not None and packet.pos >= 0
            if self._num_to_skip > 0:
                return

        def note_damage() -> None:
            self._is_damaged = True
            self._failed_seconds += float((packet.duration or 0) * packet.time_base)
            on_damage()

        yield from self.frames(decode_packet(packet, note_damage))

    def frames(self, frames: list[AudioFrame]) -> Iterator[tuple[AudioFrame, float]]:
        for frame in frames:
            seconds = self._seconds_of(frame)
            if seconds is None:
                continue
            if self._stop is not None and seconds - self._stop > _MIN_GAP_SECONDS:
                self.gaps.append(DamagedInterval(self._stop, seconds))
                if self._is_damaged:
                    self.damaged.add(self.gaps[-1])
            self._is_damaged, self._failed_seconds = False, 0.0
            self._stop = seconds + frame.samples / max(1, frame.sample_rate)
            yield frame, seconds


class _LossDetector:
    """Detects lost packets in containers that go on after a hole without a word.

    A pause of the video is a loss if the audio pauses too, or, without audio, if there was no pause
    in the frames before. A slide show or a screen recording has pauses that are none.
    """

    def __init__(self, video: VideoStream, *, has_audio: bool, longest_seconds: float) -> None:
        self._longest = longest_seconds
        self._video_index = video.index
        self._frame_seconds = frame_duration_seconds(video)
        self._has_audio = has_audio
        self._video_stop: float | None = None
        self._audio_stop: float | None = None
        self._audio_pause = (0.0, 0.0)
        self._num_regular = 0

    def push(self, packet: Packet[Any]) -> bool:
        """Take the next packet in file order; return whether video was lost before it."""
        # Decoding times are guesses of FFmpeg in some containers, and late behind a hole.
        ticks = packet.pts if packet.pts is not None else packet.dts
        if packet.size == 0 or ticks is None or packet.time_base is None:
            return False
        seconds = float(ticks * packet.time_base)
        if packet.stream.index != self._video_index:
            if self._audio_stop is not None and seconds - self._audio_stop > _MIN_LOSS_SECONDS:
                self._audio_pause = self._audio_stop, seconds
            self._audio_stop = seconds + float((packet.duration or 0) * packet.time_base)
            return False
        is_lost = self._video_stop is not None and self._is_loss(self._video_stop, seconds)
        stop = seconds + self._frame_seconds
        if self._video_stop is None or stop < self._video_stop - _MIN_LOSS_SECONDS:
            self._video_stop = stop  # the first packet, or a step back
        self._video_stop = max(self._video_stop, stop)
        return is_lost

    def _is_loss(self, start: float, stop: float) -> bool:
        pause = stop - start
        if pause <= max(_MIN_LOSS_SECONDS, 5 * self._frame_seconds):
            self._num_regular += 1
            return False
        num_regular, self._num_regular = self._num_regular, 0
        if pause > self._longest:
            return False
        if not self._has_audio or self._audio_stop is None:
            return num_regular >= _NUM_REGULAR
        before, after = self._audio_pause
        if min(stop, after) - max(start, before) >= pause / 2:
            return True
        # The audio was there before the pause, and none of the pause has been read.
        return start - _INTERLEAVING_SECONDS < self._audio_stop < start + pause / 4
