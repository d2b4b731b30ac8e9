"""Audio aligned to the item's timeline: mono samples at one rate from any track.

Sample s of the output is the audio at `s / sample_rate_hz` seconds after the first presented frame,
whatever the start, the priming, the gaps and the sample rate of the track. Samples that the track
does not cover are zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.plane import AudioPlane
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from toomuchtv.errors import MediaError
from toomuchtv.media.clip import WaveformArray

# Containers round timestamps (Matroska to 1 ms), so that consecutive frames seem to overlap or to
# leave gaps. A difference up to this is attributed to rounding, a larger one is a gap, unless the
# end of the frame (its timestamp and its stated duration) says that it follows the one before. In
# Ogg Vorbis, where a long block is followed by a short one, FFmpeg states the duration of the short
# block and a timestamp that is too late by the rest: 10 ms at 44.1 kHz.
_ROUNDING_SECONDS = 0.004
# A frame further than this ahead of the frame before it has a damaged timestamp.
_MAX_GAP_SECONDS = 600.0
_SILENCE_BLOCK_SECONDS = 10.0
# The resampler is called for at least this many samples, because a call takes longer than the
# resampling of a short frame: Vorbis has frames of 128 samples.
_MIN_RESAMPLED = 4096
_PLAUSIBLE_RATES_HZ = range(1_000, 1_000_001)

# ITU-R BS.775 downmix weights by FFmpeg's channel names. They are divided by their sum, so that
# full-scale channels cannot clip.
_CHANNEL_WEIGHTS = {"FL": 1.0, "FR": 1.0, "FC": 1.0, "LFE": 0.0, "LFE2": 0.0}
_SURROUND_WEIGHT = math.sqrt(0.5)
# Stereo of which one side is inverted cancels. That is taken to be so in a frame in which the mean
# of both sides is 20 dB below the left side. Ordinary stereo stays above 15 dB; what lossy codecs
# leave of an inverted side is below 20 dB but for quiet frames at low bit rates.
_MIN_MEAN_ENERGY = 0.01
_PLANE_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


def downmix_to_mono(frame: AudioFrame) -> WaveformArray:
    """Return the downmix of one decoded frame, float32 `[num_samples]`.

    Channels are weighted by ITU-R BS.775. A stereo frame of which one side is the inverse of the
    other, so that their mean is silent, gives its left side.
    """
    channels = frame.layout.channels
    if frame.format.is_planar and len(channels) > 1:
        samples: NDArray[Any] = _planes(frame, len(channels))
    else:
        samples = frame.to_ndarray().reshape(-1, len(channels)).T
    if samples.dtype.kind == "u":  # 8-bit PCM is the only unsigned format
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
    if len(channels) == 2 and mixed @ mixed < _MIN_MEAN_ENERGY * (values[0] @ values[0]):
        return np.ascontiguousarray(values[0])
    return mixed


def replace_non_finite(samples: WaveformArray) -> WaveformArray:
    """Return samples with zeros in place of NaN and infinity, which audio in floats may hold."""
    return np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)


def _planes(frame: AudioFrame, num_channels: int) -> NDArray[Any]:
    """Read the planes of a planar frame one by one, `[channels, samples]`.

    PyAV's `to_ndarray` counts planes up to a null pointer. A 7.1 frame has eight planes and no null
    pointer, so that it reads past them and crashes (seen in PyAV 18.1).
    """
    dtype = _PLANE_DTYPES[frame.format.packed.name]
    planes = (AudioPlane(frame, index) for index in range(num_channels))
    return np.stack(
        [np.frombuffer(memoryview(plane), dtype, count=frame.samples) for plane in planes]
    )


class AlignedResampler:
    """Places the frames of one track on the timeline and resamples them.

    Push decoded frames in order. Each call returns the samples that are ready. The output begins at
    `first_sample` or up to one second before it, see the attribute.

    Args:
        sample_rate_hz: Sample rate of the output.
        first_sample: Index, on the timeline, of the first sample that is needed.

    Attributes:
        first_sample: Index of the first sample of the output. From the first `push` on, this is the
            argument rounded down to a multiple at which samples of the track and of the output
            coincide.
        placed: The samples of the output that the last frame covers. What lies between the frame
            before and this one is a gap, which is filled with zeros.
    """

    def __init__(self, *, sample_rate_hz: int, first_sample: int = 0) -> None:
        self.first_sample = first_sample
        self.placed = range(first_sample, first_sample)
        self._target_rate = sample_rate_hz
        self._source_rate: int | None = None
        self._source_first = 0  # index of the first output sample, in samples of the track
        self._num_taken = 0  # samples of the track taken so far, from `_source_first` on
        self._resampler: AudioResampler | None = None
        self._waiting: list[WaveformArray] = []  # samples of the track, not yet resampled

    def _start(self, source_rate: int) -> None:
        self._source_rate = source_rate
        # Samples of both rates coincide every `target_period` samples of the output, which last as
        # long as `source_period` samples of the track: 160 and 441 for 16 kHz and 44.1 kHz.
        # Beginning at such a point keeps the resampler's phase, and so the result, independent of
        # where reading begins.
        common = math.gcd(source_rate, self._target_rate)
        target_period, source_period = self._target_rate // common, source_rate // common
        num_periods = self.first_sample // target_period
        self.first_sample = num_periods * target_period
        self._source_first = num_periods * source_period
        if source_rate != self._target_rate:
            self._resampler = AudioResampler(format="flt", layout="mono", rate=self._target_rate)

    def push(self, frame: AudioFrame, seconds: float) -> WaveformArray:
        """Take one decoded frame that begins `seconds` after the first presented frame.

        Returns:
            The next samples of the output, float32 `[n]`; n may be 0. A frame with an implausible
            timestamp is dropped.

        Raises:
            MediaError: The sample rate is implausible.
        """
        rate = frame.sample_rate
        if rate not in _PLAUSIBLE_RATES_HZ:
            raise MediaError(f"its audio declares an implausible sample rate of {rate} Hz")
        original = frame
        if self._source_rate is None:
            self._start(rate)
        elif rate != self._source_rate:
            frame = _change_rate(frame, self._source_rate)
            rate = self._source_rate
        mono = downmix_to_mono(frame)
        stated_samples = len(mono)
        if original.duration and original.duration != original.samples and original.time_base:
            stated_samples = round(float(original.duration * original.time_base) * rate)
        # Written so that NaN and infinity are dropped too.
        if not seconds * rate - self._source_first - self._num_taken <= _MAX_GAP_SECONDS * rate:
            return np.zeros(0, np.float32)
        position = round(seconds * rate) - self._source_first
        gap = position - self._num_taken
        # The first frame is placed exactly: only later timestamps are known to be rounding errors.
        if self._num_taken > 0 and (
            abs(gap) <= _ROUNDING_SECONDS * rate
            or abs(gap + stated_samples - len(mono)) <= _ROUNDING_SECONDS * rate
        ):
            gap = 0
        if gap < 0:
            mono = mono[-gap:]  # an overlap with the frame before
        self._num_taken += max(gap, 0) + len(mono)
        self.placed = range(
            self._to_output(self._num_taken - len(mono)), self._to_output(self._num_taken)
        )
        parts = [self._resample(silence) for silence in silent_blocks(gap, rate)]
        return np.concatenate([*parts, self._resample(mono)])

    def _to_output(self, num_taken: int) -> int:
        assert self._source_rate is not None
        return self.first_sample + num_taken * self._target_rate // self._source_rate

    def finish(self) -> WaveformArray:
        """Return the samples that are still inside the resampler, float32 `[n]`."""
        if self._resampler is None:
            return np.zeros(0, np.float32)
        return np.concatenate([self._resample_waiting(), _join(self._resampler.resample(None))])

    def _resample(self, mono: WaveformArray) -> WaveformArray:
        if self._resampler is None:
            return mono
        self._waiting.append(mono)
        if sum(map(len, self._waiting)) < _MIN_RESAMPLED:
            return np.zeros(0, np.float32)
        return self._resample_waiting()

    def _resample_waiting(self) -> WaveformArray:
        assert self._resampler is not None
        assert self._source_rate is not None
        mono = np.concatenate([*self._waiting, np.zeros(0, np.float32)])
        self._waiting = []
        if len(mono) == 0:
            return mono
        frame = AudioFrame.from_ndarray(mono.reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate = self._source_rate
        return _join(self._resampler.resample(frame))


def silent_blocks(num_samples: int, rate: int) -> Iterator[WaveformArray]:
    """Yield zeros, at most 10 seconds at once: a damaged timestamp can ask for hours of them."""
    block = round(_SILENCE_BLOCK_SECONDS * rate)
    for done in range(0, num_samples, block):
        yield np.zeros(min(block, num_samples - done), np.float32)


def _join(frames: list[AudioFrame]) -> WaveformArray:
    parts = [frame.to_ndarray().reshape(-1) for frame in frames]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _change_rate(frame: AudioFrame, rate: int) -> AudioFrame:
    """Resample one frame of a track that changes its rate; the edges of the frame are inexact."""
    frame.pts = None
    resampler = AudioResampler(format="flt", layout="mono", rate=rate)
    samples = _join([*resampler.resample(frame), *resampler.resample(None)])
    converted = AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="mono")
    converted.sample_rate = rate
    return converted
