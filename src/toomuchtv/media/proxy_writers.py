"""What a proxy is made of: its recipe, and the writers of its pictures and of its sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.container import OutputContainer
from av.video.frame import VideoFrame
from pydantic import BaseModel, ConfigDict, Field

from toomuchtv.media.clip import WaveformArray
from toomuchtv.media.pictures import Bars, Upright, size_for_short_side
from toomuchtv.media.sound import SoundTimeline

# Samples of sound that are coded together: a clip then takes some ten packets rather than thirty,
# which halves the time to read it (docs/proxies.md).
_SOUND_BLOCK = 4096


class ProxyFormat(BaseModel):
    """How proxies are made. Another recipe makes another proxy: `prepare` does it again.

    `quantizer`: how coarsely pictures are coded, 1 (finest, largest) to 31.
    `letterbox`: whether black bars stay in the picture or are cut off, see `letterbox.find_bars`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    frame_rate: float = Field(default=8.0, gt=0.0, le=120.0)
    short_side: int = Field(default=128, ge=16, le=2160, multiple_of=2)
    keyframe_every: int = Field(default=8, ge=1, le=600)
    quantizer: int = Field(default=4, ge=1, le=31)
    sample_rate_hz: int = Field(default=16_000, ge=2_000, le=96_000)
    languages: tuple[str, ...] = ()
    letterbox: Literal["keep", "crop"] = "keep"

    def estimated_bytes_per_second(self, aspect: float = 16 / 9) -> float:
        """A rough size of a proxy, bytes a second of film, for the disk check before work starts.

        Fitted to animation and live action at the default quality; noise and grain take more.
        """
        pixels = self.short_side**2 * aspect
        finer = 4 / self.quantizer
        return 0.09 * pixels * self.frame_rate * finer + 1.1 * self.sample_rate_hz


_SILENCE_SECONDS = 10  # at once, after the end of a sound
_MOST_TICKS_A_SECOND = 65_535
_BT601 = 6  # AVCOL_SPC_SMPTE170M
_LAMBDA_A_STEP = 118  # FFmpeg's FF_QP2LAMBDA


def _mpeg4_options(quantizer: int) -> dict[str, str]:
    """A constant quantizer, and macroblocks and coefficients chosen by rate and distortion.

    Those choices weigh by the rate control's lambda, which is not held by `qmin` and `qmax`: left
    to itself it coded pictures of 28 dB in a sixth of the bits.
    """
    step, weight = str(quantizer), str(quantizer * _LAMBDA_A_STEP)
    return {
        "qmin": step, "qmax": step, "lmin": weight, "lmax": weight,
        "mbd": "rd", "trellis": "1", "flags": "+mv4",
    }  # fmt: skip


class PictureWriter:
    """Writes the pictures of a proxy, each a frame of its grid.

    Args:
        path: Where they go, `.mp4`.
        recipe: Size, rate and quality.
    """

    def __init__(self, path: Path, recipe: ProxyFormat) -> None:
        self._path = path
        self._recipe = recipe
        self._container: OutputContainer | None = None
        self._num_frames = 0
        self._last: VideoFrame | None = None
        self._converted: VideoFrame | None = None
        self.width = self.height = 0

    def open(self, display: tuple[int, int], bars: Bars | None) -> None:
        """Begin, once the size that the film is shown at is known."""
        recipe = self._recipe
        self.width, self.height = size_for_short_side(display, recipe.short_side)
        self._upright = Upright(
            width=self.width, height=self.height, pixel_format="yuv420p", bars=bars
        )
        self._container = av.open(str(self._path), "w", format="mp4")
        # MPEG-4 counts ticks in 16 bits.
        rate = Fraction(recipe.frame_rate).limit_denominator(
            min(1001, int(_MOST_TICKS_A_SECOND / recipe.frame_rate))
        )
        self._stream = self._container.add_stream("mpeg4", rate=rate)
        self._stream.width, self._stream.height = self.width, self.height
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = self._tick = 1 / rate
        context.gop_size = recipe.keyframe_every
        context.colorspace = _BT601
        self._stream.thread_count = 1
        self._stream.options = {**_mpeg4_options(recipe.quantizer)}

    def write(self, picture: VideoFrame) -> None:
        """Add a frame; the same picture again is converted once."""
        assert self._container is not None
        if picture is not self._last or self._converted is None:
            self._last, self._converted = picture, self._upright.convert(picture)
        self._converted.pts = self._num_frames
        self._converted.time_base = self._tick
        self._converted.pict_type = 0
        self._container.mux(self._stream.encode(self._converted))
        self._num_frames += 1

    def finish(self) -> int:
        """Write what the encoder still holds; gives the number of frames."""
        assert self._container is not None
        self._container.mux(self._stream.encode(None))
        return self._num_frames

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()


class SoundWriter:
    """Writes the sound of a proxy.

    Args:
        path: Where it goes, `.mp4`.
        recipe: Its sample rate.
    """

    def __init__(self, path: Path, recipe: ProxyFormat) -> None:
        self._timeline = SoundTimeline(sample_rate_hz=recipe.sample_rate_hz)
        self._rate = recipe.sample_rate_hz
        self._container = av.open(str(path), "w", format="mp4")
        self._stream = self._container.add_stream("flac", rate=self._rate)
        self._stream.layout = "mono"
        self._stream.format = "s16"
        self._stream.options = {"frame_size": str(_SOUND_BLOCK)}
        self._num_samples = 0
        self._waiting: list[WaveformArray] = []

    def push(self, frame: AudioFrame, seconds: float) -> None:
        """Add a decoded frame that starts so many seconds after the first presented picture."""
        self._waiting.append(self._timeline.push(frame, seconds))
        # A block at a time: a call for each of the original's small frames takes longer.
        if sum(map(len, self._waiting)) >= _SOUND_BLOCK:
            self._write_waiting()

    def _write_waiting(self) -> None:
        self._write(np.concatenate([*self._waiting, np.zeros(0, np.float32)]))
        self._waiting = []

    def _write(self, samples: WaveformArray) -> None:
        if len(samples) == 0:
            return
        values = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
        frame = AudioFrame.from_ndarray(values.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = self._num_samples
        self._container.mux(self._stream.encode(frame))
        self._num_samples += len(samples)

    def finish(self, total_samples: int) -> None:
        """Write what is left, and silence up to the length wanted."""
        self._waiting.append(self._timeline.finish())
        self._write_waiting()
        # Some at a time: a damaged clock can make a short sound hours short of its picture.
        while (missing := total_samples - self._num_samples) > 0:
            self._write(np.zeros(min(missing, _SILENCE_SECONDS * self._rate), np.float32))
        self._container.mux(self._stream.encode(None))

    def close(self) -> None:
        """Close the file."""
        self._container.close()
