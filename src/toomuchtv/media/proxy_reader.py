"""Random access to proxies whose decoders are kept open.

Batches of clips keep video as the decoder's YUV 4:2:0 planes (uint8 `[T, S * 3 / 2, S]`): rows 0 to
S are luma, the next S / 4 rows hold the U plane, and the last S / 4 rows the V plane. A chroma row
has S / 2 samples, so that two of them fill one row. Conversion to RGB is left to the device.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.stream import VideoStream

from toomuchtv.errors import MediaError
from toomuchtv.media.clip import VideoArray, WaveformArray
from toomuchtv.media.containers import open_media
from toomuchtv.media.decoding import decode_strictly
from toomuchtv.media.frame_converter import FrameConverter

# Damaged data is an error. A decoder would conceal lost data with whatever it decoded before, so
# that one clip would differ from reading to reading.
_STRICT = {"err_detect": "crccheck+bitstream+buffer+explode"}


class FrameReader:
    """Reads frames of an open proxy by index, and decodes as few frames as possible.

    The frames of the last read are kept, and decoding continues behind them where a seek would land
    before the decoder's position:

        last read   |   a-----------b|
        this read   |          c-----------d|      c..b is cached, b..d is decoded
        this read   |   .     k     .| e---------f     b..f is decoded, unless a keyframe is in b..e

    Args:
        container: The proxy.
        stream: Its video stream.
        frame_rate: Frames per second.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, frame_rate: float) -> None:
        self._container = container
        self._stream = stream
        self._ticks_per_frame = 1.0 / (frame_rate * float(stream.time_base or 1))
        self._decoder: Iterator[VideoFrame] = iter(())
        self._cached: dict[int, VideoFrame] = {}
        self._position: int | None = None  # index of the frame that the decoder yields next

    def clear_cache(self) -> None:
        """Drop the frames of the last read, so that the next read depends on nothing before it.

        In a damaged file, a decoder conceals errors with frames that it decoded before.
        """
        self._cached = {}
        self._position = None

    def read(self, indexes: Sequence[int]) -> list[VideoFrame]:
        """Return the frames with these indexes, fewer if the proxy ends before.

        Raises:
            av.FFmpegError: The proxy is damaged.
        """
        cached, position = self._cached, self._position
        self.clear_cache()  # if this read fails, the decoder's state is unknown
        found = {}
        for index in indexes:
            if index not in cached:
                break
            found[index] = cached[index]
        remaining = iter(indexes[len(found) :])
        wanted: int | None = next(remaining, None)
        if wanted is not None and not self._is_nearer_than_seek(wanted, position):
            self._container.seek(round(wanted * self._ticks_per_frame), stream=self._stream)
            self._decoder = decode_strictly(self._container, self._stream)
            position = None
        while wanted is not None:
            frame = next(self._decoder, None)
            if frame is None:
                return list(found.values())
            if frame.pts is None:
                continue
            index = round(frame.pts / self._ticks_per_frame)
            position = index + 1
            if index >= wanted:
                found[wanted] = frame
                wanted = next(remaining, None)
        self._cached, self._position = found, position
        return list(found.values())

    def _is_nearer_than_seek(self, wanted: int, position: int | None) -> bool:
        """Return whether no keyframe lies between the decoder's position and the wanted frame."""
        if position is None or wanted < position:
            return False
        entries = self._stream.index_entries
        keyframe = entries.search_timestamp(round(wanted * self._ticks_per_frame))
        if keyframe < 0:
            return False
        return round(entries[keyframe].timestamp / self._ticks_per_frame) <= position


class ProxyReader:
    """An open proxy.

    Args:
        video_path: The proxy's video.
        audio_path: The proxy's audio, or None if it has none.
        frame_rate: Frames per second of the video.
        sample_rate_hz: Sample rate of the audio.

    Raises:
        MediaError: A file is missing or is not a proxy.
    """

    def __init__(
        self,
        video_path: str | os.PathLike[str],
        audio_path: str | os.PathLike[str] | None,
        *,
        frame_rate: float,
        sample_rate_hz: int,
    ) -> None:
        self._name = Path(video_path).name
        self._sample_rate_hz = sample_rate_hz
        self._video_container = open_media(video_path)
        self._audio_container: InputContainer | None = None
        try:
            self._video = self._video_container.streams.video[0]
            # Worker processes decode clips in parallel. Threads inside one only add delay.
            self._video.thread_type = "NONE"
            self._video.codec_context.options = _STRICT
            self._frames = FrameReader(self._video_container, self._video, frame_rate)
            if audio_path is not None:
                self._audio_container = open_media(audio_path)
                self._audio = self._audio_container.streams.audio[0]
                self._audio.codec_context.options = _STRICT
        except (IndexError, MediaError) as error:
            self.close()
            raise MediaError(f"{self._name} is not a proxy of this catalog: {error}") from error

    def close(self) -> None:
        """Close the files."""
        self._video_container.close()
        if self._audio_container is not None:
            self._audio_container.close()

    def clear_cache(self) -> None:
        """Drop the frames of the last read, so that the next read depends on nothing before it."""
        self._frames.clear_cache()

    def read_planes(
        self,
        *,
        first_frame: int,
        frames: int,
        stride: int = 1,
        crop_position: float = 0.5,
        out: VideoArray | None = None,
    ) -> VideoArray:
        """Read YUV planes, cropped to a square whose side S is the short side of the proxy.

        Reading the clips of a proxy in order of time is cheapest: frames that two clips share are
        decoded once.

        Args:
            first_frame: Index of the first frame.
            frames: Number of frames.
            stride: Distance between them, in frames of the proxy.
            crop_position: Position of the square along the longer side, 0 (left or top) to 1.
            out: Array of the returned shape to write to; None allocates one.

        Returns:
            uint8 `[frames, S * 3 / 2, S]`.

        Raises:
            ValueError: A value is out of range.
            MediaError: The proxy is damaged or ends too early.
        """
        if not 0 <= crop_position <= 1:
            raise ValueError(f"crop_position must be in 0..1, got {crop_position}")
        indexes = _frame_range(first_frame, frames, stride)
        return self.read_frame_planes(indexes, crop_position=crop_position, out=out)

    def read_frame_planes(
        self, indexes: Sequence[int], *, crop_position: float = 0.5, out: VideoArray | None = None
    ) -> VideoArray:
        """Read the YUV planes of frames that need not be evenly spaced; see `read_planes`.

        Args:
            indexes: Indexes of the frames, ascending.
            crop_position: As for `read_planes`.
            out: As for `read_planes`.

        Returns:
            uint8 `[len(indexes), S * 3 / 2, S]`.

        Raises:
            MediaError: The proxy is damaged or ends too early.
        """
        decoded = self._read_frames(indexes)
        width, height = decoded[0].width, decoded[0].height
        side = min(width, height)
        # Even, so that the square begins at a whole chroma sample.
        offset = 2 * round(crop_position * (max(width, height) - side) / 2)
        left, top = (offset, 0) if width > height else (0, offset)
        if out is None:
            out = np.empty((len(decoded), side * 3 // 2, side), np.uint8)
        for frame, planes in zip(decoded, out, strict=True):
            luma, *chroma = frame.planes
            planes[:side] = _crop(luma, left, top, side)
            chroma_out = planes[side:].reshape(2, side // 2, side // 2)
            for plane, plane_out in zip(chroma, chroma_out, strict=True):
                plane_out[:] = _crop(plane, left // 2, top // 2, side // 2)
        return out

    def read_rgb(self, *, first_frame: int, frames: int, stride: int = 1) -> VideoArray:
        """Read whole frames, RGB uint8 `[frames, H, W, 3]`.

        Raises:
            ValueError: A value is out of range.
            MediaError: The proxy is damaged or ends too early.
        """
        return self.read_frames_rgb(_frame_range(first_frame, frames, stride))

    def read_frames_rgb(self, indexes: Sequence[int]) -> VideoArray:
        """Read whole frames that need not be evenly spaced, RGB uint8 `[N, H, W, 3]`.

        Args:
            indexes: Indexes of the N frames, ascending.

        Raises:
            MediaError: The proxy is damaged or ends too early.
        """
        decoded = self._read_frames(indexes)
        converter = FrameConverter(
            width=decoded[0].width, height=decoded[0].height, pixel_format="rgb24"
        )
        return np.stack([converter.convert(frame).to_ndarray() for frame in decoded])

    def _read_frames(self, indexes: Sequence[int]) -> list[VideoFrame]:
        try:
            found = self._frames.read(indexes)
        except av.FFmpegError as error:
            raise MediaError(f"the proxy {self._name} is damaged: {error}") from error
        if len(found) == len(indexes):
            return found
        raise MediaError(
            f"the proxy {self._name} has only {len(found)} of the {len(indexes)} frames "
            f"from frame {indexes[0]} on"
        )

    def read_waveform(
        self, *, first_sample: int, num_samples: int, out: WaveformArray | None = None
    ) -> WaveformArray:
        """Read samples, float32 `[num_samples]` in -1..1; zeros outside the item.

        Args:
            first_sample: Index of the first sample; may be negative.
            num_samples: Number of samples.
            out: Array of the returned shape to write to; None allocates one.

        Raises:
            MediaError: The proxy is damaged.
        """
        if out is None:
            out = np.empty(num_samples, np.float32)
        out[:] = 0.0
        if self._audio_container is None:
            return out
        ticks_per_sample = 1.0 / (self._sample_rate_hz * float(self._audio.time_base or 1))
        try:
            self._audio_container.seek(
                round(max(first_sample, 0) * ticks_per_sample), stream=self._audio
            )
            for frame in decode_strictly(self._audio_container, self._audio):
                if frame.pts is None:
                    continue
                offset = round(frame.pts / ticks_per_sample) - first_sample
                if offset >= num_samples:
                    break
                start, stop = max(offset, 0), min(offset + frame.samples, num_samples)
                if start < stop:
                    samples = frame.to_ndarray().reshape(-1)[start - offset : stop - offset]
                    np.multiply(samples, np.float32(2.0**-15), out=out[start:stop])
                if stop == num_samples:
                    break
        except av.FFmpegError as error:
            raise MediaError(f"the audio of the proxy {self._name} is damaged: {error}") from error
        return out


def _frame_range(first_frame: int, frames: int, stride: int) -> range:
    if first_frame < 0 or frames < 1 or stride < 1:
        raise ValueError(
            "first_frame must be at least 0, frames and stride at least 1, "
            f"got {first_frame}, {frames} and {stride}"
        )
    return range(first_frame, first_frame + frames * stride, stride)


def _crop(plane: VideoPlane, left: int, top: int, side: int) -> VideoArray:
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[top : top + side, left : left + side]


class ProxyPool:
    """A pool of open proxies that closes the least recently used one when it is full.

    Args:
        max_open: How many proxies may be open at once. Each takes two file handles.
    """

    def __init__(self, max_open: int = 64) -> None:
        if max_open < 1:
            raise ValueError(f"max_open must be at least 1, got {max_open}")
        self._max_open = max_open
        self._open: OrderedDict[tuple[Path, Path | None], ProxyReader] = OrderedDict()
        self._last: ProxyReader | None = None

    def get(
        self,
        video_path: str | os.PathLike[str],
        audio_path: str | os.PathLike[str] | None,
        *,
        frame_rate: float,
        sample_rate_hz: int,
    ) -> ProxyReader:
        """Return the reader of a proxy, and open it if needed.

        The cache of the reader that was returned before is cleared, unless it is the same reader.
        The arguments are those of `ProxyReader`.

        Raises:
            MediaError: The proxy cannot be opened.
        """
        key = Path(video_path), None if audio_path is None else Path(audio_path)
        reader = self._open.pop(key, None)
        if reader is not self._last:
            self.clear_cache()
        if reader is None:
            while len(self._open) >= self._max_open:
                self._open.popitem(last=False)[1].close()
            reader = ProxyReader(*key, frame_rate=frame_rate, sample_rate_hz=sample_rate_hz)
        self._open[key] = self._last = reader
        return reader

    def clear_cache(self) -> None:
        """Clear the cache of the reader that was returned last."""
        if self._last is not None:
            self._last.clear_cache()
            self._last = None

    def evict(self, video_path: str | os.PathLike[str]) -> None:
        """Close the readers of a proxy whose files may have changed."""
        for key in [key for key in self._open if key[0] == Path(video_path)]:
            self.clear_cache()
            self._open.pop(key).close()

    def close(self) -> None:
        """Close all readers."""
        self.clear_cache()
        while self._open:
            self._open.popitem()[1].close()
