"""How events sound: a small synthesizer, and one function per sound that follows a track.

A sound follows the curves and impacts of its track. It is therefore synchronous with the frames
that are painted from the same track.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from experiments.rendered_tv.events.track import Track

#: float32 `[num_samples]`.
Wave = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class SoundContext:
    """What a sound is made from.

    Attributes:
        track: The event's motion.
        rng: The event's random stream.
        rate_hz: Sample rate.
        pitch: The title's factor on all frequencies.
    """

    track: Track
    rng: Generator
    rate_hz: int
    pitch: float

    @property
    def num_samples(self) -> int:
        """Length of the sound in samples."""
        return round(self.track.seconds * self.rate_hz)

    def curve(self, name: str) -> Wave:
        """Return a channel of the track at the sample rate, float32 `[num_samples]`."""
        return self.track.curve(name, self.num_samples, self.rate_hz)

    def noise(self, low_hz: float, high_hz: float, num_samples: int | None = None) -> Wave:
        """Return band-limited noise of RMS 1, by default as long as the sound."""
        count = self.num_samples if num_samples is None else num_samples
        return noise(self.rng, count, low_hz, high_hz, self.rate_hz)

    def tone(self, frequency_hz: NDArray[Any], levels: Sequence[float]) -> Wave:
        """Return harmonics 1, 2, ... of the given levels over a curve of fundamental frequency."""
        phase = np.cumsum(frequency_hz, dtype=np.float64) * (2 * np.pi / self.rate_hz)
        phase = (phase % (2 * np.pi)).astype(np.float32)
        top = float(frequency_hz.max())
        sound = np.zeros(len(phase), np.float32)
        for k, level in enumerate(levels, start=1):
            if level and k * top < 0.48 * self.rate_hz:
                sound += level * np.sin(k * phase)
        return sound

    def struck(self, partials: Sequence[tuple[float, float, float]], seconds: float) -> Wave:
        """Return one hit: a sum of partials `(frequency in Hz, level, decay in seconds)`.

        The frequencies are multiplied by `pitch`.
        """
        t = np.arange(int(seconds * self.rate_hz), dtype=np.float32) / self.rate_hz
        sound = np.zeros(len(t), np.float32)
        for frequency, level, decay in partials:
            frequency_hz = frequency * self.pitch
            if frequency_hz < 0.45 * self.rate_hz:
                sound += level * np.sin(2 * np.pi * frequency_hz * t) * np.exp(-t / decay)
        sound[-32:] *= np.linspace(1, 0, 32, dtype=np.float32)
        return sound

    def swept(self, start_hz: float, stop_hz: float, sweep_seconds: float, decay: float) -> Wave:
        """Return a decaying hit that slides from `start_hz * pitch` to `stop_hz * pitch`."""
        start_hz, stop_hz = start_hz * self.pitch, stop_hz * self.pitch
        t = np.arange(int(decay * 5 * self.rate_hz), dtype=np.float32) / self.rate_hz
        frequency = stop_hz + (start_hz - stop_hz) * np.exp(-t / sweep_seconds)
        sound: Wave = np.sin(np.cumsum(frequency) * (2 * np.pi / self.rate_hz)) * np.exp(-t / decay)
        return sound.astype(np.float32)

    def hits(self, kernel: Wave) -> Wave:
        """Return the same hit at every impact, scaled by the impact's weight."""
        sound = np.zeros(self.num_samples, np.float32)
        for time, weight in zip(self.track.impacts, self.track.weights, strict=True):
            first = round(float(time) * self.rate_hz)
            part = kernel[: self.num_samples - first]
            sound[first : first + len(part)] += weight * part
        return sound


def noise(rng: Generator, num_samples: int, low_hz: float, high_hz: float, rate_hz: int) -> Wave:
    """Return noise between two frequencies with soft edges, of RMS 1."""
    size = 1 << max(num_samples - 1, 1).bit_length()
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    spectrum *= _band(size, low_hz, high_hz, rate_hz)
    sound = np.fft.irfft(spectrum, size)[:num_samples]
    return (sound / max(float(np.sqrt(np.mean(sound**2))), 1e-6)).astype(np.float32)


@lru_cache(maxsize=4)
def _band(size: int, low_hz: float, high_hz: float, rate_hz: int) -> NDArray[Any]:
    """Return the gain of a band with soft edges. The room tone reuses the same band often."""
    frequency = np.fft.rfftfreq(size, 1 / rate_hz) + 1.0
    edge_low, edge_high = (frequency / low_hz) ** 4, (frequency / min(high_hz, rate_hz * 0.48)) ** 4
    gain: NDArray[Any] = (edge_low / (1 + edge_low)) / (1 + edge_high)
    gain.setflags(write=False)
    return gain


def _falling_levels(count: int, slope: float) -> list[float]:
    """Return levels of harmonics that decrease as `1 / k ** slope`."""
    return [k**-slope for k in range(1, count + 1)]


def thud(s: SoundContext) -> Wave:
    """Return a dull low hit at each impact."""
    kernel = s.swept(330, 95, 0.03, 0.09)
    kernel[:160] += 0.4 * s.noise(200, 2500, len(kernel))[:160]
    return s.hits(kernel)


def ping(s: SoundContext) -> Wave:
    """Return a glassy hit at each impact."""
    return s.hits(s.struck([(1900, 1.0, 0.16), (3150, 0.7, 0.12), (4700, 0.5, 0.07)], 0.6))


def clank(s: SoundContext) -> Wave:
    """Return a hit of metal on metal at each impact."""
    partials = [(f, a, 0.11) for f, a in ((620, 1.0), (1710, 0.8), (2870, 0.7), (4330, 0.5))]
    kernel = s.struck(partials, 0.5)
    kernel[:200] += 1.2 * s.noise(1500, 7000, 200)
    return s.hits(kernel)


def plink(s: SoundContext) -> Wave:
    """Return a drop that falls into water at each impact: a short tone that slides up."""
    return s.hits(s.swept(650, 1500, 0.06, 0.07))


def boom(s: SoundContext) -> Wave:
    """Return a drum at each impact: a low tone and the rattle of the skin."""
    kernel = s.swept(240, 150, 0.04, 0.16)
    hiss = s.noise(900, 5000, len(kernel))
    kernel += 0.35 * hiss * np.exp(-np.arange(len(kernel)) / (0.05 * s.rate_hz)).astype(np.float32)
    return s.hits(kernel)


def wood(s: SoundContext) -> Wave:
    """Return a knock on wood at each impact."""
    return s.hits(s.struck([(410, 1.0, 0.04), (760, 0.8, 0.03), (1290, 0.5, 0.018)], 0.25))


def step(s: SoundContext) -> Wave:
    """Return a step on gravel at each impact: a crunch without pitch."""
    length = int(0.16 * s.rate_hz)
    envelope = np.hanning(length).astype(np.float32) ** 0.5
    envelope *= np.exp(-np.arange(length) / (0.06 * s.rate_hz)).astype(np.float32)
    return s.hits(s.noise(1300 * s.pitch, 4200 * s.pitch, length) * envelope)


def clang(s: SoundContext) -> Wave:
    """Return a bell with long partials at each impact."""
    tones = ((1.0, 1.0, 0.8), (2.0, 0.8, 0.6), (2.4, 0.7, 0.5), (3.0, 0.5, 0.4), (4.5, 0.4, 0.25))
    return s.hits(s.struck([(440 * ratio, level, decay) for ratio, level, decay in tones], 2.0))


def crackle(s: SoundContext) -> Wave:
    """Return a fire: a soft roar that follows the flame, and a snap at each impact."""
    roar = 0.18 * s.noise(150, 700 * s.pitch) * s.curve("drive")
    snap = s.noise(2000, 7000, int(0.03 * s.rate_hz))
    snap *= np.linspace(1, 0, len(snap), dtype=np.float32) ** 2
    return roar + s.hits(snap)


def gurgle(s: SoundContext) -> Wave:
    """Return a bubble that bursts at each impact: a quick slide up from a low pitch."""
    return s.hits(s.swept(190, 620, 0.05, 0.035))


def boing(s: SoundContext) -> Wave:
    """Return a plucked spring whose pitch follows its stretch."""
    frequency = 300 * s.pitch * 2 ** (-0.8 * s.curve("y"))
    return s.tone(frequency, (1.0, 0.3, 0.6, 0.1, 0.3)) * s.curve("drive")


def whoosh(s: SoundContext) -> Wave:
    """Return air that rushes past, louder and brighter with the speed."""
    speed = s.curve("drive")
    low = s.noise(250 * s.pitch, 700 * s.pitch)
    high = s.noise(900 * s.pitch, 2200 * s.pitch)
    return low * speed**2 + high * speed**4


def hum(s: SoundContext) -> Wave:
    """Return a motor whose pitch follows its speed, in a stream of air."""
    speed = s.curve("drive")
    motor = s.tone(s.pitch * (110 + 190 * speed), _falling_levels(5, 0.8))
    air = s.noise(1000, 3500 * s.pitch)
    return np.asarray((0.6 * motor + 0.45 * air * speed) * (0.5 + 0.5 * speed))


def engine(s: SoundContext) -> Wave:
    """Return a rumble in pulses that come faster as the wheel rolls faster."""
    speed = s.curve("drive")
    phase = np.cumsum(5 + 14 * speed) / s.rate_hz
    pulse = np.exp(-6 * (phase % 1.0)).astype(np.float32)
    rumble = s.noise(90 * s.pitch, 420 * s.pitch)
    return rumble * pulse * (0.35 + 0.65 * speed)


def drone(s: SoundContext) -> Wave:
    """Return a vehicle that gets louder and brighter as it comes nearer."""
    near = s.curve("drive")
    base = np.full(s.num_samples, 95 * s.pitch, np.float32) * (1 + 0.12 * near)
    dull = s.tone(base, _falling_levels(4, 1.0))
    bright = s.tone(base, [0.0] * 4 + _falling_levels(14, 0.4))
    return np.asarray(dull * (0.05 + near**2) + 0.5 * bright * near**4)


def wail(s: SoundContext) -> Wave:
    """Return a siren that is high when the beam points right and low when it points left."""
    frequency = s.pitch * 560 * 2 ** (1.1 * s.curve("drive"))
    return s.tone(frequency, (1.0, 0.0, 0.45, 0.0, 0.2))


def shake(s: SoundContext) -> Wave:
    """Return beads in a jar: many short hisses while the jar shakes."""
    grains = np.repeat(s.rng.uniform(0, 1, s.num_samples // 160 + 1), 160)[: s.num_samples] ** 3
    hiss = s.noise(2600 * s.pitch, 7000)
    return hiss * grains.astype(np.float32) * s.curve("drive")


def babble(s: SoundContext) -> Wave:
    """Return speech without words: a buzzing throat with vowels that open with the mouth."""
    mouth, clock = s.curve("opening"), s.curve("angle")
    throat = 135 * s.pitch * (1 + 0.12 * np.sin(3.1 * clock) + 0.12 * mouth)
    vowel = 0.5 + 0.5 * np.sin(4.3 * clock + 1.0)
    dark = s.tone(throat, (0.6, 0.8, 1.0, 0.9, 0.6, 0.3, 0.1))
    bright = s.tone(throat, [0.3, 0.2] + [0.1] * 6 + [0.6, 0.9, 1.0, 0.9, 0.6, 0.4, 0.2])
    return np.asarray((dark * (1 - 0.6 * vowel) + bright * vowel) * mouth**1.5)


def song(s: SoundContext) -> Wave:
    """Return a sung line: held notes that change while the mouth is shut, without consonants."""
    mouth = s.curve("opening")
    shut = mouth < 0.06
    note = np.cumsum(np.diff(shut.astype(np.int8), prepend=0) > 0)
    scale = np.array([0, 2, 4, 7, 9, 12])[s.rng.integers(0, 6, int(note[-1]) + 1)]
    vibrato = 1 + 0.012 * np.sin(2 * np.pi * 5.5 * np.arange(s.num_samples) / s.rate_hz)
    frequency = (s.pitch * 390 * 2 ** (scale[note] / 12) * vibrato).astype(np.float32)
    return s.tone(frequency, (1.0, 0.5, 0.12, 0.05)) * np.sqrt(mouth)


def whistle(s: SoundContext) -> Wave:
    """Return a slide whistle whose pitch follows the height."""
    frequency = s.pitch * 480 * 2 ** (1.7 * s.curve("y"))
    breath = 0.06 * s.noise(1500, 5000)
    return s.tone(frequency, (1.0, 0.12)) + breath


def swell(s: SoundContext) -> Wave:
    """Return surf: broad noise that rises with the water and hisses at the top."""
    level = s.curve("drive")
    low = s.noise(120 * s.pitch, 900 * s.pitch)
    high = s.noise(2500, 7000)
    return np.asarray(0.8 * low * (0.1 + level) + 0.7 * high * level**3)


def buzz(s: SoundContext) -> Wave:
    """Return an insect that is louder when near and higher when fast."""
    frequency = s.pitch * (170 + 110 * s.curve("opening"))
    near = s.curve("drive")
    return s.tone(frequency, _falling_levels(16, 0.5)) * (0.1 + 0.9 * near**2)


def rasp(s: SoundContext) -> Wave:
    """Return rough strokes, each loudest in its middle."""
    speed = s.curve("drive")
    teeth = np.abs(np.sin(np.cumsum(35 * speed) * (np.pi / s.rate_hz))).astype(np.float32)
    return np.asarray(s.noise(1100 * s.pitch, 4000 * s.pitch) * speed**2 * (0.3 + 0.7 * teeth))


def breath(s: SoundContext) -> Wave:
    """Return air that flows in with a dark hiss and out with a sharp one."""
    flow, filling = s.curve("drive"), s.curve("opening")
    inward = s.noise(500 * s.pitch, 1400 * s.pitch)
    outward = s.noise(2800 * s.pitch, 6500 * s.pitch)
    return flow * (inward * filling + outward * (1 - filling))


def creak(s: SoundContext) -> Wave:
    """Return a hinge: a dry squeak whose pitch follows the door's speed."""
    speed = s.curve("drive")
    samples = np.arange(s.num_samples, dtype=np.float32)
    wobble = 1 + 0.06 * np.sin(2 * np.pi * 17 * samples / s.rate_hz)
    frequency = s.pitch * (330 + 700 * speed) * wobble
    ticks = np.exp(-5 * (np.cumsum(20 + 60 * speed) / s.rate_hz % 1.0)).astype(np.float32)
    voice = s.tone(frequency.astype(np.float32), _falling_levels(9, 0.3))
    return voice * np.clip(speed * 3, 0, 1) * (0.3 + 0.7 * ticks)
