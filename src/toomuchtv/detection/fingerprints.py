"""Audio fingerprints that survive another encoding, another gain and another start.

The method is that of Haitsma and Kalker, "A Highly Robust Audio Fingerprinting System" (ISMIR
2002), section 4. Bit b of the word at time n is 1 if
`E(n, b) - E(n, b + 1) > E(n - l, b) - E(n - l, b + 1)`, where E(n, b) is the energy in band b of 33
bands between 300 and 2000 Hz, and l is the lag. We differ in two ways: there are 32 words per
second instead of 86, and the lag is four words instead of one. On films at 64 kbit/s AAC and the
worst offset, which is half a word, this makes 7.9% of the bits differ instead of 9.4%, and 11% of
the words are equal instead of 8%.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from toomuchtv.media.clip import WaveformArray

#: Version of the method. It is raised when the same audio would have another fingerprint.
FINGERPRINT_VERSION = 1
#: Words per second.
FINGERPRINT_RATE_HZ = 32
#: Bits per word.
WORD_BITS = 32
#: Audio below this level, in decibels relative to full scale, counts as silence.
QUIET_DBFS = -60.0

_WINDOW_SECONDS = 0.384
_LAG = 4
_LOW_HZ, _HIGH_HZ = 300.0, 2000.0
# Audio is decimated to about this rate, which is enough for the highest band.
_ANALYSIS_HZ = 5_000
_TAPS_PER_STEP = 4
_BLOCK_WORDS = 32 * FINGERPRINT_RATE_HZ
_FLOOR_DBFS = -120.0
# In audio that does not change, such as a steady tone, rounding decides the bits. Distinctive audio
# has bands that change by more than this share of their energy, averaged over two seconds.
_STEADY_SHARE = 0.03
_STEADY_WORDS = 2 * FINGERPRINT_RATE_HZ
_QUIET_WORDS = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AudioFingerprint:
    """The fingerprint of an audio track of T words; word n is at `n / FINGERPRINT_RATE_HZ` seconds.

    Attributes:
        words: uint32 `[T]`.
        level_dbfs: int8 `[T]`, RMS level in the 1/32 s that starts at the word, -120 to 0.
        is_distinctive: bool `[T]`, False where the audio is quiet or steady, so that the word is
            equal to that of other such audio by chance.
    """

    words: NDArray[np.uint32]
    level_dbfs: NDArray[np.int8]
    is_distinctive: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.words)

    @property
    def duration_seconds(self) -> float:
        """Duration of the audio in seconds, rounded down to a word."""
        return words_to_seconds(len(self.words))


def words_to_seconds(num_words: float) -> float:
    """Return the duration of a number of words in seconds."""
    return num_words / FINGERPRINT_RATE_HZ


def seconds_to_words(seconds: float) -> int:
    """Return the number of words in a duration, rounded up."""
    return math.ceil(seconds * FINGERPRINT_RATE_HZ)


def fingerprint_audio(
    read: Callable[[int, int], WaveformArray], *, num_samples: int, sample_rate_hz: int
) -> AudioFingerprint:
    """Compute the fingerprint of audio of any length, in blocks of bounded memory.

    Args:
        read: Returns `num_samples` samples from `first_sample` on as float32. It is called with
            these two numbers and returns zeros outside of the audio.
        num_samples: Length of the audio.
        sample_rate_hz: Sample rate of the audio. Bands above half of it have no energy.

    Returns:
        A fingerprint of `num_samples / sample_rate_hz * FINGERPRINT_RATE_HZ` words, rounded down.
    """
    total = num_samples * FINGERPRINT_RATE_HZ // sample_rate_hz
    bands = _Bands(sample_rate_hz)
    words = [np.zeros(0, np.uint32)]
    changes, levels = [np.zeros(0)], [np.zeros(0, np.int8)]
    for first in range(0, total, _BLOCK_WORDS):
        stop = min(first + _BLOCK_WORDS, total)
        # The first word of a block is compared with the energies `_LAG` words earlier.
        begin_sample, samples = bands.read_block(read, first - _LAG, stop)
        energies = bands.energies(samples, first - _LAG, stop)
        words.append(_words(energies))
        changes.append(_relative_changes(energies))
        levels.append(_levels(samples, begin_sample, first, stop, sample_rate_hz))
    level_dbfs = np.concatenate(levels)
    is_loud = running_mean((level_dbfs > QUIET_DBFS).astype(np.float64), _QUIET_WORDS) > 0.5
    is_changing = running_mean(np.concatenate(changes), _STEADY_WORDS) > _STEADY_SHARE
    return AudioFingerprint(
        words=np.concatenate(words), level_dbfs=level_dbfs, is_distinctive=is_loud & is_changing
    )


class _Bands:
    """Computes the energies of the 33 bands for audio of one sample rate.

    Audio is low-pass filtered with a windowed sinc and decimated by `step`. Each word has a Hann
    window of 0.384 s centered on its time.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate_hz = sample_rate_hz
        self._step = max(1, sample_rate_hz // _ANALYSIS_HZ)
        self._reach = _TAPS_PER_STEP * self._step  # samples of the filter on either side
        at = np.arange(-self._reach, self._reach + 1)
        taps = np.sinc(at / self._step) * np.hanning(2 * self._reach + 3)[1:-1]
        self._taps = (taps / taps.sum()).astype(np.float32)
        rate_hz = sample_rate_hz / self._step
        self._window = np.hanning(round(_WINDOW_SECONDS * rate_hz)).astype(np.float32)
        # The next even size whose only prime factors are 2, 3 and 5, which is fast.
        self._fft_size = 2 * next_fast_len((len(self._window) + 1) // 2, real=True)
        edges_hz = _LOW_HZ * (_HIGH_HZ / _LOW_HZ) ** (np.arange(WORD_BITS + 2) / (WORD_BITS + 1))
        bins = np.round(edges_hz * self._fft_size / rate_hz).astype(np.int64)
        self._edges = np.minimum(bins, self._fft_size // 2)

    def read_block(
        self, read: Callable[[int, int], WaveformArray], first: int, stop: int
    ) -> tuple[int, WaveformArray]:
        """Return the samples that words `[first, stop)` depend on, after the first one's index."""
        begins = self._window_begins(first, stop)
        begin = int(begins[0]) * self._step - self._reach
        end = (int(begins[-1]) + len(self._window) - 1) * self._step + self._reach + 1
        return begin, read(begin, end - begin)

    def _window_begins(self, first: int, stop: int) -> NDArray[np.int64]:
        # Decimated samples are counted from sample 0 of the audio and not from the block's start.
        # So the same samples are kept whatever the blocks are, and block edges leave no trace.
        centers = np.arange(first, stop) * (self._rate_hz / self._step / FINGERPRINT_RATE_HZ)
        return np.round(centers).astype(np.int64) - len(self._window) // 2

    def energies(self, samples: WaveformArray, first: int, stop: int) -> NDArray[np.float32]:
        """Return the energies of words `[first, stop)`, `[stop - first, 33]`."""
        begins = self._window_begins(first, stop)
        filtered = np.lib.stride_tricks.sliding_window_view(samples, len(self._taps))
        decimated = filtered[:: self._step] @ self._taps
        windows = np.lib.stride_tricks.sliding_window_view(decimated, len(self._window))
        spectrum = np.fft.rfft(windows[begins - begins[0]] * self._window, self._fft_size)
        power = spectrum.real**2 + spectrum.imag**2
        return np.stack(
            [power[:, low:high].sum(1) for low, high in pairwise(self._edges)], axis=1
        ).astype(np.float32)


def _words(energies: NDArray[np.float32]) -> NDArray[np.uint32]:
    slopes = energies[:, :-1] - energies[:, 1:]
    bits = slopes[_LAG:] > slopes[:-_LAG]
    return np.packbits(bits, axis=1).view(">u4")[:, 0].astype(np.uint32)


def _relative_changes(energies: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how much the bands changed within the lag, as a share of their energy, 0 to 1."""
    now, before = energies[_LAG:], energies[:-_LAG]
    total = (now + before).sum(1, dtype=np.float64)
    return np.asarray(np.abs(now - before).sum(1, dtype=np.float64) / np.maximum(total, 1e-30))


def _levels(
    samples: WaveformArray, begin_sample: int, first: int, stop: int, rate_hz: int
) -> NDArray[np.int8]:
    """Return the RMS levels of words `[first, stop)` in decibels relative to full scale."""
    edges = np.arange(first, stop + 1) * rate_hz // FINGERPRINT_RATE_HZ - begin_sample
    sums = np.add.reduceat(samples[: edges[-1]].astype(np.float64) ** 2, edges[:-1])
    power = np.maximum(sums / np.diff(edges), 10.0 ** (_FLOOR_DBFS / 10))
    level = np.clip(np.round(10 * np.log10(power)), _FLOOR_DBFS, 0)
    return np.asarray(level, np.int8)


def running_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return the mean of the `width` entries around each entry, `[T]`.

    Near the ends, the mean is of the entries that exist.
    """
    before = width // 2
    sums = np.concatenate([[0.0], np.cumsum(values)])
    begin = np.maximum(np.arange(len(values)) - before, 0)
    stop = np.minimum(np.arange(len(values)) - before + width, len(values))
    return np.asarray((sums[stop] - sums[begin]) / np.maximum(stop - begin, 1))
