"""Random access into proxies, with decoders kept open.

A batch of clips keeps the planes as the decoder gives them (`planes`, uint8 `[T, S * 3 / 2, S]`):
rows 0 to S are luma, the next S / 4 rows hold the U plane, the last S / 4 the V plane, each S / 2
wide and so two of its rows to a row here. Color conversion is left to the device.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane

from toomuchtv.errors import MediaError
from toomuchtv.media.clip import VideoArray, WaveformArray
from toomuchtv.media.original import open_media
from toomuchtv.media.pictures import Upright
from toomuchtv.media.proxy_frames import ProxyFrames, decoded

# What is damaged is refused, not patched up: a decoder makes up for lost data from whatever its
# memory holds, so that the same clip would differ from one reading to the next.
_STRICT = {"err_detect": "crccheck+bitstream+buffer+explode"}


class ProxyReader:
    """One proxy, open.

    Args:
        video_path: The proxy's video.
        audio_path: Its sound, or None for a silent one.
        frame_rate: Frames a second of the video.
        sample_rate_hz: Rate of the sound.

    Raises:
        MediaError: A file is missing or is no proxy.
    """

    def __init__(
        self, video_path: Path, audio_path: Path | None, *, frame_rate: float, sample_rate_hz: int
    ) -> None:
        self._name = video_path.name
        self._sample_rate_hz = sample_rate_hz
        self._video_container = open_media(video_path)
        self._audio_container: InputContainer | None = None
        try:
            self._video = self._video_container.streams.video[0]
            # Clips are decoded in parallel by worker processes; threads inside one only add delay.
            self._video.thread_type = "NONE"
            self._video.codec_context.options = _STRICT
            self._frames = ProxyFrames(self._video_container, self._video, frame_rate)
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

    def rest(self) -> None:
        """Let go of frames kept for the next read, which will follow from nothing but itself."""
        self._frames.rest()

    def planes(
        self,
        *,
        first_frame: int,
        frames: int,
        stride: int = 1,
        across: float = 0.5,
        out: VideoArray | None = None,
    ) -> VideoArray:
        """Read the planes of `frames` frames, cut to a square of the short side.

        Clips of one proxy are cheapest in order of time: a clip that overlaps the last one, or
        begins soon after it, is decoded on from there.

        Args:
            first_frame: Index of the first one.
            frames: How many.
            stride: Step between them, in frames of the proxy.
            across: Where the square lies along the longer side, 0 (left or top) to 1.
            out: Where they go, an array of the shape returned; None makes one.

        Returns:
            uint8 `[frames, S * 3 / 2, S]`.

        Raises:
            ValueError: A value is out of range.
            MediaError: The proxy is damaged or ends too early.
        """
        pictures = self._pictures(first_frame, frames, stride)
        cut = _SquareCut(pictures[0].width, pictures[0].height, across)
        if out is None:
            out = np.empty((frames, cut.side * 3 // 2, cut.side), np.uint8)
        for picture, planes in zip(pictures, out, strict=True):
            cut.copy(picture, planes)
        return out

    def rgb(self, *, first_frame: int, frames: int, stride: int = 1) -> VideoArray:
        """Read whole frames as RGB, uint8 `[frames, H, W, 3]`; for looking, not for training.

        Raises:
            MediaError: The proxy is damaged or ends too early.
        """
        pictures = self._pictures(first_frame, frames, stride)
        size = pictures[0]
        upright = Upright(width=size.width, height=size.height, pixel_format="rgb24")
        return np.stack([upright.convert(picture).to_ndarray() for picture in pictures])

    def _pictures(self, first_frame: int, frames: int, stride: int) -> list[VideoFrame]:
        if first_frame < 0 or frames < 1 or stride < 1:
            raise ValueError(
                "first_frame must be at least 0, frames and stride at least 1, "
                f"got {first_frame}, {frames} and {stride}"
            )
        wanted = range(first_frame, first_frame + frames * stride, stride)
        try:
            found = self._frames.read(wanted)
        except av.FFmpegError as error:
            raise MediaError(f"the proxy {self._name} is damaged: {error}") from error
        if len(found) == frames:
            return found
        raise MediaError(
            f"the proxy {self._name} has only {len(found)} of the {frames} frames "
            f"from frame {first_frame} on"
        )

    def waveform(
        self, *, first_sample: int, num_samples: int, out: WaveformArray | None = None
    ) -> WaveformArray:
        """Read samples, float32 `[num_samples]`, zeros outside the item.

        Args:
            first_sample: Index of the first one; may be negative.
            num_samples: How many.
            out: Where they go, an array of the shape returned; None makes one.

        Raises:
            MediaError: The proxy is damaged.
        """
        if out is None:
            out = np.empty(num_samples, np.float32)
        out[:] = 0.0
        if self._audio_container is None:
            return out
        ticks_a_sample = 1.0 / (self._sample_rate_hz * float(self._audio.time_base or 1))
        try:
            self._audio_container.seek(
                round(max(first_sample, 0) * ticks_a_sample), stream=self._audio
            )
            for frame in decoded(self._audio_container, self._audio):
                if frame.pts is None:
                    continue
                at = round(frame.pts / ticks_a_sample) - first_sample
                if at >= num_samples:
                    break
                begin, stop = max(at, 0), min(at + frame.samples, num_samples)
                if begin < stop:
                    samples = frame.to_ndarray().reshape(-1)
                    np.multiply(
                        samples[begin - at : stop - at], np.float32(2.0**-15), out=out[begin:stop]
                    )
                if stop == num_samples:
                    break
        except av.FFmpegError as error:
            raise MediaError(f"the sound of the proxy {self._name} is damaged: {error}") from error
        return out


class _SquareCut:
    """Copies the square of the short side out of yuv420p frames."""

    def __init__(self, width: int, height: int, across: float) -> None:
        self.side = min(width, height)
        # Even, so that the square starts on a whole chroma sample.
        offset = 2 * round(across * (max(width, height) - self.side) / 2)
        self._left, self._top = (offset, 0) if width > height else (0, offset)

    def copy(self, frame: VideoFrame, out: VideoArray) -> None:
        side, half = self.side, self.side // 2
        luma, blue, red = frame.planes
        out[:side] = self._square(luma, self._left, self._top, side)
        chroma = out[side:].reshape(2, half, half)
        chroma[0] = self._square(blue, self._left // 2, self._top // 2, half)
        chroma[1] = self._square(red, self._left // 2, self._top // 2, half)

    @staticmethod
    def _square(plane: VideoPlane, left: int, top: int, side: int) -> VideoArray:
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        return rows[top : top + side, left : left + side]


class ProxyPool:
    """Proxies kept open, the least recently used closed first.

    Args:
        max_open: How many may be open at once; each takes two file handles.
    """

    def __init__(self, max_open: int = 64) -> None:
        if max_open < 1:
            raise ValueError(f"max_open must be at least 1, got {max_open}")
        self._max_open = max_open
        self._open: OrderedDict[tuple[Path, Path | None], ProxyReader] = OrderedDict()
        self._last: ProxyReader | None = None

    def reader(
        self, video_path: Path, audio_path: Path | None, *, frame_rate: float, sample_rate_hz: int
    ) -> ProxyReader:
        """Give the open reader of a proxy, opening it if need be. The one given before rests.

        Raises:
            MediaError: It cannot be opened.
        """
        key = video_path, audio_path
        reader = self._open.pop(key, None)
        if reader is not self._last:
            self.rest()
        if reader is None:
            while len(self._open) >= self._max_open:
                self._open.popitem(last=False)[1].close()
            reader = ProxyReader(
                video_path, audio_path, frame_rate=frame_rate, sample_rate_hz=sample_rate_hz
            )
        self._open[key] = self._last = reader
        return reader

    def rest(self) -> None:
        """Let the reader given last forget what it keeps for the next read."""
        if self._last is not None:
            self._last.rest()
            self._last = None

    def forget(self, video_path: Path) -> None:
        """Close what is open of a proxy whose files may have changed."""
        for key in [key for key in self._open if key[0] == video_path]:
            self.rest()
            self._open.pop(key).close()

    def close(self) -> None:
        """Close everything."""
        self.rest()
        while self._open:
            self._open.popitem()[1].close()
