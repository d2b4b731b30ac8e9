"""Sound on the picture's timeline: any track in, mono samples at one rate out.

Sample s of the output is the sound at `s / sample_rate_hz` after the first presented picture,
whatever the track's own start, priming, gaps and rate. What the track does not cover is zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.plane import AudioPlane
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from toomuchtv.errors import MediaError
from toomuchtv.media.clip import WaveformArray

# Containers round timestamps (Matroska to 1 ms), so consecutive frames seem to overlap or to
# leave gaps by that much. Less than this is rounding, more is a gap.
JITTER_SECONDS = 0.004
# Sound that claims to lie further ahead than this of what came before has a damaged timestamp.
MAX_GAP_SECONDS = 600.0
_SILENCE_SECONDS = 10.0  # at once, while a gap is filled
_RATES_HZ = range(1_000, 1_000_001)

# ITU-R BS.775 downmix weights, by FFmpeg's channel names. Every set is divided by its sum, so
# that full-scale channels cannot clip.
_CHANNEL_WEIGHTS = {"FL": 1.0, "FR": 1.0, "FC": 1.0, "LFE": 0.0, "LFE2": 0.0}
_SURROUND_WEIGHT = math.sqrt(0.5)
_PLANE_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


def to_mono(frame: AudioFrame) -> WaveformArray:
    """Mix the channels of one decoded frame to mono float32 `[samples]`."""
    channels = frame.layout.channels
    if frame.format.is_planar and len(channels) > 1:
        samples: NDArray[Any] = _planes(frame, len(channels))
    else:
        samples = frame.to_ndarray().reshape(-1, len(channels)).T
    if samples.dtype.kind == "u":  # 8-bit PCM is the one unsigned format
        values = (samples.astype(np.float32) - 128.0) / 128.0
    elif samples.dtype.kind == "i":
        values = samples.astype(np.float32) / float(-int(np.iinfo(samples.dtype).min))
    else:
        values = samples.astype(np.float32, copy=False)
    if len(channels) == 1:
        return np.ascontiguousarray(values[0])
    weights = np.array(
        [_CHANNEL_WEIGHTS.get(channel.name, _SURROUND_WEIGHT) for channel in channels],
        dtype=np.float32,
    )
    if weights.sum() == 0.0:
        weights[:] = 1.0
    mixed: WaveformArray = (weights / weights.sum()) @ values
    return mixed


def _planes(frame: AudioFrame, num_channels: int) -> NDArray[Any]:
    """Read the planes of a planar frame one by one, `[channels, samples]`.

    PyAV's own `to_ndarray` counts planes until it meets a null pointer, and of 7.1 sound there are
    eight planes and no null pointer: it reads past them and crashes (seen in PyAV 18.1).
    """
    dtype = _PLANE_DTYPES[frame.format.packed.name]
    planes = (AudioPlane(frame, index) for index in range(num_channels))
    return np.stack(
        [np.frombuffer(memoryview(plane), dtype, count=frame.samples) for plane in planes]
    )


class SoundTimeline:
    """Lays the frames of one track on the timeline and resamples them.

    Push decoded frames in order; each call gives the samples that are ready. The output starts
    at `first_sample`, rounded down to where source and target samples coincide: see there.

    Attributes:
        first_sample: Index, on the timeline, of the first sample this gives.
    """

    def __init__(self, *, sample_rate_hz: int, first_sample: int = 0) -> None:
        self._target_rate = sample_rate_hz
        self._wanted_first = first_sample
        self._source_rate: int | None = None
        self._resampler: AudioResampler | None = None
        self._cursor = 0  # of source samples taken so far, counted from _source_first
        self._source_first = 0
        self.first_sample = first_sample

    def _start(self, source_rate: int) -> None:
        self._source_rate = source_rate
        common = math.gcd(source_rate, self._target_rate)
        target_block, source_block = self._target_rate // common, source_rate // common
        blocks = self._wanted_first // target_block
        self.first_sample = blocks * target_block
        self._source_first = blocks * source_block
        if source_rate != self._target_rate:
            self._resampler = AudioResampler(format="flt", layout="mono", rate=self._target_rate)

    def push(self, frame: AudioFrame, seconds: float) -> WaveformArray:
        """Take one decoded frame that starts `seconds` after the first presented picture.

        Returns:
            The next samples of the output, float32 `[n]`; n may be 0. A frame whose time makes no
            sense gives none.

        Raises:
            MediaError: Its sample rate makes no sense.
        """
        rate = frame.sample_rate
        if rate not in _RATES_HZ:
            raise MediaError(f"its sound claims {rate} samples a second")
        if self._source_rate is None:
            self._start(rate)
        elif rate != self._source_rate:
            frame = _resampled_to(frame, self._source_rate)
            rate = self._source_rate
        mono = to_mono(frame)
        if not seconds * rate - self._source_first - self._cursor <= MAX_GAP_SECONDS * rate:
            return np.zeros(0, np.float32)
        position = round(seconds * rate) - self._source_first
        behind = position - self._cursor
        # Only after a sample is placed: what lies just before the first one is cut off exactly.
        if self._cursor > 0 and abs(behind) <= JITTER_SECONDS * rate:
            behind = 0
        if behind < 0:
            mono = mono[-behind:]
        self._cursor += max(behind, 0) + len(mono)
        parts = [self._resample(silence) for silence in _silence(behind, rate)]
        return np.concatenate([*parts, self._resample(mono)])

    def finish(self) -> WaveformArray:
        """Give what the resampler still holds, float32 `[n]`."""
        if self._resampler is None:
            return np.zeros(0, np.float32)
        return _joined(self._resampler.resample(None))

    def _resample(self, mono: WaveformArray) -> WaveformArray:
        if self._resampler is None or len(mono) == 0:
            return mono
        assert self._source_rate is not None
        frame = AudioFrame.from_ndarray(mono.reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate = self._source_rate
        return _joined(self._resampler.resample(frame))


def _silence(num_samples: int, rate: int) -> Iterator[WaveformArray]:
    most = round(_SILENCE_SECONDS * rate)
    for done in range(0, num_samples, most):
        yield np.zeros(min(most, num_samples - done), np.float32)


def _joined(frames: list[AudioFrame]) -> WaveformArray:
    parts = [frame.to_ndarray().reshape(-1) for frame in frames]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _resampled_to(frame: AudioFrame, rate: int) -> AudioFrame:
    """Convert one frame of a track that changes its rate midway; its edges are not exact."""
    frame.pts = None
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    samples = _joined([*resampler.resample(frame), *resampler.resample(None)])
    converted = AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="mono")
    converted.sample_rate = rate
    return converted
