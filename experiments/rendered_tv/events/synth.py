"""The studio's synthesizer: strokes, tones and noise, all float32 `[num_samples]`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Wave = NDArray[np.float32]


def struck(partials: Sequence[tuple[float, float, float]], rate_hz: int, seconds: float) -> Wave:
    """Return the sound of one hit: partials of (frequency Hz, level, decay seconds)."""
    t = np.arange(int(seconds * rate_hz), dtype=np.float32) / rate_hz
    sound = np.zeros(len(t), np.float32)
    for frequency, level, decay in partials:
        if frequency < 0.45 * rate_hz:
            sound += level * np.sin(2 * np.pi * frequency * t) * np.exp(-t / decay)
    sound[-32:] *= np.linspace(1, 0, 32, dtype=np.float32)
    return sound


def swept(
    start_hz: float, stop_hz: float, sweep_seconds: float, decay: float, rate_hz: int
) -> Wave:
    """Return a hit whose pitch slides from one frequency to another as it dies."""
    t = np.arange(int(decay * 5 * rate_hz), dtype=np.float32) / rate_hz
    frequency = stop_hz + (start_hz - stop_hz) * np.exp(-t / sweep_seconds)
    sound: Wave = np.sin(np.cumsum(frequency) * (2 * np.pi / rate_hz)) * np.exp(-t / decay)
    return sound.astype(np.float32)


def placed(kernel: Wave, impacts: Wave, weights: Wave, num_samples: int, rate_hz: int) -> Wave:
    """Return the same hit at every impact, each with its weight."""
    sound = np.zeros(num_samples, np.float32)
    for time, weight in zip(impacts, weights, strict=True):
        first = round(float(time) * rate_hz)
        part = kernel[: num_samples - first]
        sound[first : first + len(part)] += weight * part
    return sound


def noise(rng: Generator, num_samples: int, low_hz: float, high_hz: float, rate_hz: int) -> Wave:
    """Return noise between two frequencies with soft edges, of unit RMS."""
    size = 1 << max(num_samples - 1, 1).bit_length()
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    spectrum *= _band(size, low_hz, high_hz, rate_hz)
    sound = np.fft.irfft(spectrum, size)[:num_samples]
    return (sound / max(float(np.sqrt(np.mean(sound**2))), 1e-6)).astype(np.float32)


@lru_cache(maxsize=4)
def _band(size: int, low_hz: float, high_hz: float, rate_hz: int) -> NDArray[Any]:
    """Gain of a band with soft edges; a title's room tone asks for the same again and again."""
    frequency = np.fft.rfftfreq(size, 1 / rate_hz) + 1.0
    edge_low, edge_high = (frequency / low_hz) ** 4, (frequency / min(high_hz, rate_hz * 0.48)) ** 4
    gain: NDArray[Any] = (edge_low / (1 + edge_low)) / (1 + edge_high)
    gain.setflags(write=False)
    return gain


def tone(frequency_hz: NDArray[Any], levels: Sequence[float], rate_hz: int) -> Wave:
    """Return harmonics 1, 2, ... of these levels over a curve of fundamental frequency."""
    phase = np.cumsum(frequency_hz, dtype=np.float64) * (2 * np.pi / rate_hz)
    phase = (phase % (2 * np.pi)).astype(np.float32)
    top = float(frequency_hz.max())
    sound = np.zeros(len(phase), np.float32)
    for k, level in enumerate(levels, start=1):
        if level and k * top < 0.48 * rate_hz:
            sound += level * np.sin(k * phase)
    return sound


def buzz_levels(count: int, slope: float) -> list[float]:
    """Return levels of harmonics that fall as `1 / k ** slope`."""
    return [k**-slope for k in range(1, count + 1)]
