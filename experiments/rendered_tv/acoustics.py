"""The audio signature of a title without its music: reverberation, room tone and loudness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from experiments.rendered_tv.events.sounds import Wave, noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Acoustics:
    """The audio signature of one title.

    Attributes:
        pitch: Factor on the frequencies of the events.
        reverb_seconds: Reverberation time (60 dB) in seconds.
        wet: Share of reverberation in the mix, 0..1.
        tilt_db: Spectral tilt in dB per octave, relative to 1 kHz.
        bell_hz: Frequency of a resonance.
        bell_db: Gain of that resonance.
        tone_low_hz: Lower edge of the room tone, which is band-limited noise.
        tone_high_hz: Upper edge of the room tone.
        tone_level: RMS of the room tone.
        hum_hz: Frequency of a hum (mains, machines) under the room tone.
        loudness: Gain of the final mix.
    """

    pitch: float
    reverb_seconds: float
    wet: float
    tilt_db: float
    bell_hz: float
    bell_db: float
    tone_low_hz: float
    tone_high_hz: float
    tone_level: float
    hum_hz: float
    loudness: float


def draw_acoustics(rng: Generator, strength: float, *, unseen: bool) -> Acoustics:
    """Draw a title's acoustics. With strength 0, all titles get the same neutral acoustics.

    With `unseen`, reverberation and resonance come from ranges that library titles do not use.
    """
    reverb = rng.uniform(0.45, 0.6) if unseen else rng.choice((rng.uniform(0.1, 0.4), 0.9))
    low = rng.uniform(40, 900)
    return Acoustics(
        pitch=float(2 ** (strength * rng.uniform(-4, 4) / 12)),
        reverb_seconds=float(0.25 + strength * (reverb - 0.25)),
        wet=float(0.15 + strength * rng.uniform(-0.1, 0.3)),
        tilt_db=float(strength * rng.uniform(-4, 3)),
        bell_hz=float(rng.uniform(1400, 2000) if unseen else rng.choice((400, 800, 2800, 4000))),
        bell_db=float(strength * rng.uniform(-8, 8)),
        tone_low_hz=float(200 + strength * (low - 200)),
        tone_high_hz=float(1500 + strength * (low * rng.uniform(1.5, 5) - 1500)),
        tone_level=float(0.006 * 2 ** (strength * rng.uniform(-1, 1.8))),
        hum_hz=float(50 * 2 ** (strength * rng.uniform(0, 2.5))),
        loudness=float(10 ** (strength * rng.uniform(-7, 4) / 20)),
    )


def room_tone(acoustics: Acoustics, rng: Generator, num_samples: int, rate_hz: int) -> Wave:
    """Return the background noise of a place, float32 `[num_samples]`."""
    hiss = noise(rng, num_samples, acoustics.tone_low_hz, acoustics.tone_high_hz, rate_hz)
    t = np.arange(num_samples, dtype=np.float32) / rate_hz
    hum = np.sin(2 * np.pi * acoustics.hum_hz * t) + 0.5 * np.sin(4 * np.pi * acoustics.hum_hz * t)
    return (acoustics.tone_level * (hiss + 0.5 * hum)).astype(np.float32)


class Reverberator:
    """A filter that adds a title's reverberation and tone color to a signal."""

    def __init__(self, acoustics: Acoustics, rng: Generator, rate_hz: int) -> None:
        seconds = acoustics.reverb_seconds
        tail = rng.standard_normal(int(seconds * rate_hz) + 64, dtype=np.float32)
        # exp(-6.9) is -60 dB at the end of the tail.
        tail *= np.exp(-6.9 * np.arange(len(tail)) / (seconds * rate_hz)).astype(np.float32)
        tail[: int(0.006 * rate_hz)] = 0.0
        tail /= np.sqrt(np.sum(tail**2))
        self._response = acoustics.wet * tail
        self._response[0] = 1.0 - acoustics.wet / 2
        self._acoustics, self._rate_hz = acoustics, rate_hz
        self._filters: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}

    def apply(self, wave: Wave) -> Wave:
        """Return the filtered signal, cut to the length of the input."""
        size = _fast_size(len(wave) + len(self._response))
        if size not in self._filters:
            self._filters[size] = self._make_filter(size)
        response, gain = self._filters[size]
        spectrum = np.fft.rfft(wave, size) * response
        spectrum *= gain
        return np.fft.irfft(spectrum, size)[: len(wave)].astype(np.float32)

    def _make_filter(self, size: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the spectrum of the reverberation and the gain of the tone color per frequency."""
        frequency = np.fft.rfftfreq(size, 1 / self._rate_hz)
        octaves = np.log2(np.maximum(frequency, 60.0) / 1000)
        away = np.log2(np.maximum(frequency, 60.0) / self._acoustics.bell_hz)
        gain_db = self._acoustics.tilt_db * octaves
        gain_db += self._acoustics.bell_db * np.exp(-(away**2) / 0.5)
        gain: NDArray[Any] = 10 ** (np.clip(gain_db, -24, 12) / 20)
        return np.fft.rfft(self._response, size), gain


def _fast_size(least: int) -> int:
    """Return an FFT length of at least `least`: 1, 3/4 or 5/8 of a power of two."""
    power = 1 << max(least - 1, 1).bit_length()
    return min(n for n in (power, power * 3 // 4, power * 5 // 8) if n >= least)
