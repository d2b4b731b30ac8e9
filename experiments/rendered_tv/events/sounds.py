"""How events sound: each function turns a track into its sound.

A sound follows the track's own curves and impacts, so it is in step with the picture that is
painted from the same track. `pitch` is the title's: it multiplies every frequency.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from experiments.rendered_tv.events.synth import (
    Wave,
    buzz_levels,
    noise,
    placed,
    struck,
    swept,
    tone,
)
from experiments.rendered_tv.events.track import Track


def thud(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """A dull low hit at each impact."""
    kernel = swept(330 * pitch, 95 * pitch, 0.03, 0.09, rate_hz)
    kernel[:160] += 0.4 * noise(rng, len(kernel), 200, 2500, rate_hz)[:160]
    return _hits(track, kernel, rate_hz)


def ping(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """A glassy hit at each impact."""
    partials = [(1900 * pitch, 1.0, 0.16), (3150 * pitch, 0.7, 0.12), (4700 * pitch, 0.5, 0.07)]
    return _hits(track, struck(partials, rate_hz, 0.6), rate_hz)


def clank(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """Metal on metal."""
    partials = [
        (f * pitch, a, 0.11) for f, a in ((620, 1.0), (1710, 0.8), (2870, 0.7), (4330, 0.5))
    ]
    kernel = struck(partials, rate_hz, 0.5)
    kernel[:200] += 1.2 * noise(rng, 200, 1500, 7000, rate_hz)
    return _hits(track, kernel, rate_hz)


def plink(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """A drop into water: a short tone that slides up."""
    return _hits(track, swept(650 * pitch, 1500 * pitch, 0.06, 0.07, rate_hz), rate_hz)


def boom(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """A drum: a low tone and a rattle of the skin."""
    kernel = swept(240 * pitch, 150 * pitch, 0.04, 0.16, rate_hz)
    hiss = noise(rng, len(kernel), 900, 5000, rate_hz)
    kernel += 0.35 * hiss * np.exp(-np.arange(len(kernel)) / (0.05 * rate_hz)).astype(np.float32)
    return _hits(track, kernel, rate_hz)


def wood(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """A knock on wood."""
    partials = [(410 * pitch, 1.0, 0.04), (760 * pitch, 0.8, 0.03), (1290 * pitch, 0.5, 0.018)]
    return _hits(track, struck(partials, rate_hz, 0.25), rate_hz)


def step(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """A foot on gravel: a crunch, no pitch."""
    length = int(0.16 * rate_hz)
    envelope = np.hanning(length).astype(np.float32) ** 0.5
    envelope *= np.exp(-np.arange(length) / (0.06 * rate_hz)).astype(np.float32)
    crunch = noise(rng, length, 1300 * pitch, 4200 * pitch, rate_hz) * envelope
    return _hits(track, crunch, rate_hz)


def clang(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """A bell with long partials."""
    tones = ((1.0, 1.0, 0.8), (2.0, 0.8, 0.6), (2.4, 0.7, 0.5), (3.0, 0.5, 0.4), (4.5, 0.4, 0.25))
    partials = [(440 * ratio * pitch, level, decay) for ratio, level, decay in tones]
    return _hits(track, struck(partials, rate_hz, 2.0), rate_hz)


def crackle(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """A fire: a soft roar with the flame, a snap at each pop."""
    count = _samples(track, rate_hz)
    roar = (
        0.18 * noise(rng, count, 150, 700 * pitch, rate_hz) * track.curve("drive", count, rate_hz)
    )
    snap = noise(rng, int(0.03 * rate_hz), 2000, 7000, rate_hz)
    snap *= np.linspace(1, 0, len(snap), dtype=np.float32) ** 2
    return _wave(roar + placed(snap, track.impacts, track.weights, count, rate_hz))


def gurgle(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """A bubble that bursts: a quick slide up from low, once an impact."""
    kernel = swept(190 * pitch, 620 * pitch, 0.05, 0.035, rate_hz)
    return _hits(track, kernel, rate_hz)


def boing(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """A plucked spring whose pitch follows its stretch."""
    count = _samples(track, rate_hz)
    frequency = 300 * pitch * 2 ** (-0.8 * track.curve("y", count, rate_hz))
    drive = track.curve("drive", count, rate_hz)
    return _wave(tone(frequency, (1.0, 0.3, 0.6, 0.1, 0.3), rate_hz) * drive)


def whoosh(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """Air that rushes past, louder and brighter with speed."""
    count = _samples(track, rate_hz)
    speed = track.curve("drive", count, rate_hz)
    low = noise(rng, count, 250 * pitch, 700 * pitch, rate_hz)
    high = noise(rng, count, 900 * pitch, 2200 * pitch, rate_hz)
    return _wave(low * speed**2 + high * speed**4)


def hum(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """A motor whose pitch follows its speed, in a stream of air."""
    count = _samples(track, rate_hz)
    speed = track.curve("drive", count, rate_hz)
    motor = tone(pitch * (110 + 190 * speed), buzz_levels(5, 0.8), rate_hz)
    air = noise(rng, count, 1000, 3500 * pitch, rate_hz)
    return _wave((0.6 * motor + 0.45 * air * speed) * (0.5 + 0.5 * speed))


def engine(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """A rumble in pulses that come faster as the wheel rolls faster."""
    count = _samples(track, rate_hz)
    speed = track.curve("drive", count, rate_hz)
    phase = np.cumsum(5 + 14 * speed) / rate_hz
    pulse = np.exp(-6 * (phase % 1.0)).astype(np.float32)
    rumble = noise(rng, count, 90 * pitch, 420 * pitch, rate_hz)
    return _wave(rumble * pulse * (0.35 + 0.65 * speed))


def drone(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """A vehicle: louder and brighter as it nears."""
    count = _samples(track, rate_hz)
    near = track.curve("drive", count, rate_hz)
    base = np.full(count, 95 * pitch, np.float32) * (1 + 0.12 * near)
    dull = tone(base, buzz_levels(4, 1.0), rate_hz)
    bright = tone(base, [0.0] * 4 + buzz_levels(14, 0.4), rate_hz)
    return _wave(dull * (0.05 + near**2) + 0.5 * bright * near**4)


def wail(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """A siren, high when the beam points right, low when it points left."""
    count = _samples(track, rate_hz)
    frequency = pitch * 560 * 2 ** (1.1 * track.curve("drive", count, rate_hz))
    return _wave(tone(frequency, (1.0, 0.0, 0.45, 0.0, 0.2), rate_hz))


def shake(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """Beads in a jar: many short hisses while it shakes."""
    count = _samples(track, rate_hz)
    grains = np.repeat(rng.uniform(0, 1, count // 160 + 1), 160)[:count] ** 3
    hiss = noise(rng, count, 2600 * pitch, 7000, rate_hz)
    return _wave(hiss * grains.astype(np.float32) * track.curve("drive", count, rate_hz))


def babble(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """Speech without words: a buzzing throat, vowels that open with the mouth."""
    count = _samples(track, rate_hz)
    mouth = track.curve("opening", count, rate_hz)
    clock = track.curve("angle", count, rate_hz)
    throat = 135 * pitch * (1 + 0.12 * np.sin(3.1 * clock) + 0.12 * mouth)
    vowel = 0.5 + 0.5 * np.sin(4.3 * clock + 1.0)
    dark = tone(throat, (0.6, 0.8, 1.0, 0.9, 0.6, 0.3, 0.1), rate_hz)
    bright = tone(throat, [0.3, 0.2] + [0.1] * 6 + [0.6, 0.9, 1.0, 0.9, 0.6, 0.4, 0.2], rate_hz)
    return _wave((dark * (1 - 0.6 * vowel) + bright * vowel) * mouth**1.5)


def song(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """A sung line: held notes that change while the mouth is shut, no consonants."""
    count = _samples(track, rate_hz)
    mouth = track.curve("opening", count, rate_hz)
    shut = mouth < 0.06
    note = np.cumsum(np.diff(shut.astype(np.int8), prepend=0) > 0)
    scale = np.array([0, 2, 4, 7, 9, 12])[rng.integers(0, 6, int(note[-1]) + 1)]
    vibrato = 1 + 0.012 * np.sin(2 * np.pi * 5.5 * np.arange(count) / rate_hz)
    frequency = (pitch * 390 * 2 ** (scale[note] / 12) * vibrato).astype(np.float32)
    return _wave(tone(frequency, (1.0, 0.5, 0.12, 0.05), rate_hz) * np.sqrt(mouth))


def whistle(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """A slide whistle: pitch is height."""
    count = _samples(track, rate_hz)
    frequency = pitch * 480 * 2 ** (1.7 * track.curve("y", count, rate_hz))
    breath = 0.06 * noise(rng, count, 1500, 5000, rate_hz)
    return _wave(tone(frequency, (1.0, 0.12), rate_hz) + breath)


def swell(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """Surf: broad noise that rises with the water and hisses on top."""
    count = _samples(track, rate_hz)
    level = track.curve("drive", count, rate_hz)
    low = noise(rng, count, 120 * pitch, 900 * pitch, rate_hz)
    high = noise(rng, count, 2500, 7000, rate_hz)
    return _wave(0.8 * low * (0.1 + level) + 0.7 * high * level**3)


def buzz(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """An insect: loud when near, higher when fast."""
    count = _samples(track, rate_hz)
    frequency = pitch * (170 + 110 * track.curve("opening", count, rate_hz))
    near = track.curve("drive", count, rate_hz)
    return _wave(tone(frequency, buzz_levels(16, 0.5), rate_hz) * (0.1 + 0.9 * near**2))


def rasp(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """A rough stroke, loudest in its middle."""
    count = _samples(track, rate_hz)
    speed = track.curve("drive", count, rate_hz)
    teeth = np.abs(np.sin(np.cumsum(35 * speed) * (np.pi / rate_hz))).astype(np.float32)
    return _wave(
        noise(rng, count, 1100 * pitch, 4000 * pitch, rate_hz) * speed**2 * (0.3 + 0.7 * teeth)
    )


def breath(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """Air in and out: a dark hiss as it fills, a sharp one as it empties."""
    count = _samples(track, rate_hz)
    flow, filling = track.curve("drive", count, rate_hz), track.curve("opening", count, rate_hz)
    inward = noise(rng, count, 500 * pitch, 1400 * pitch, rate_hz)
    outward = noise(rng, count, 2800 * pitch, 6500 * pitch, rate_hz)
    return _wave(flow * (inward * filling + outward * (1 - filling)))


def creak(track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
    """A hinge: a dry squeak whose pitch follows the door's speed."""
    count = _samples(track, rate_hz)
    speed = track.curve("drive", count, rate_hz)
    wobble = 1 + 0.06 * np.sin(2 * np.pi * 17 * np.arange(count, dtype=np.float32) / rate_hz)
    frequency = pitch * (330 + 700 * speed) * wobble
    ticks = np.exp(-5 * (np.cumsum(20 + 60 * speed) / rate_hz % 1.0)).astype(np.float32)
    voice = tone(frequency.astype(np.float32), buzz_levels(9, 0.3), rate_hz)
    return _wave(voice * np.clip(speed * 3, 0, 1) * (0.3 + 0.7 * ticks))


def _samples(track: Track, rate_hz: int) -> int:
    return round(track.seconds * rate_hz)


def _hits(track: Track, kernel: Wave, rate_hz: int) -> Wave:
    return placed(kernel, track.impacts, track.weights, _samples(track, rate_hz), rate_hz)


def _wave(sound: NDArray[Any]) -> Wave:
    return np.asarray(sound, np.float32)
