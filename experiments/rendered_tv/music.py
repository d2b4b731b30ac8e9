"""Theme music: a tune with a random scale, timbre and tempo, rendered as a loop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.random import Generator

from experiments.rendered_tv.events.sounds import Wave

_SCALES = (
    (0, 2, 4, 5, 7, 9, 11),
    (0, 2, 3, 5, 7, 8, 10),
    (0, 2, 3, 5, 7, 9, 10),
    (0, 2, 4, 7, 9),
    (0, 3, 5, 7, 10),
    (0, 1, 4, 5, 7, 8, 11),
)
_NUM_BARS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """A piece of music.

    Attributes:
        tempo: Beats per minute.
        root: MIDI note of the key.
        scale: Semitones of the scale's steps above the root.
        slope: Exponent with which the levels of harmonics decrease.
        odd: True if there are only odd harmonics, as in a clarinet.
        attack_seconds: Time constant of a note's onset, in seconds.
        decay_seconds: Time constant of a note's decay, in seconds.
        melody: Step of the scale for each eighth note, None for a rest; `_NUM_BARS` bars of 8.
        chords: Step of the chord in each bar.
        pulse: Level of a drum on the beat, 0 for none.
    """

    tempo: float
    root: int
    scale: tuple[int, ...]
    slope: float
    odd: bool
    attack_seconds: float
    decay_seconds: float
    melody: tuple[int | None, ...]
    chords: tuple[int, ...]
    pulse: float


def draw_theme(rng: Generator) -> Theme:
    """Draw a piece of music."""
    density = rng.uniform(0.35, 0.85)
    walk = np.cumsum(rng.integers(-2, 3, 8 * _NUM_BARS // 2)) % 9
    half = [int(step) if rng.uniform() < density else None for step in walk]
    chords = [int(c) for c in rng.choice((0, 2, 3, 4, 5), _NUM_BARS // 2)]
    return Theme(
        tempo=float(rng.uniform(66, 150)),
        root=int(rng.integers(48, 60)),
        scale=_SCALES[int(rng.integers(0, len(_SCALES)))],
        slope=float(rng.uniform(0.6, 2.5)),
        odd=bool(rng.uniform() < 0.35),
        attack_seconds=float(rng.choice((0.004, 0.03, 0.12))),
        decay_seconds=float(rng.uniform(0.12, 0.8)),
        melody=tuple(half + half),
        chords=tuple(chords + chords),
        pulse=float(rng.choice((0.0, 0.0, 0.3, 0.6))),
    )


@lru_cache(maxsize=16)
def render_theme(theme: Theme, rate_hz: int) -> Wave:
    """Return one pass of the loop, float32 with RMS 1; the array is read-only.

    The cache makes each process render music only once for all episodes of a series and for all
    titles that share stock music.
    """
    eighth = 30.0 / theme.tempo
    total = int(8 * _NUM_BARS * eighth * rate_hz)
    sound = np.zeros(total + 4 * rate_hz, np.float32)

    @cache
    def tone(note: int, level: float, decay: float) -> Wave:
        return _tone(theme, note, level, decay, rate_hz)

    def add(start_seconds: float, note: int, level: float, decay: float) -> None:
        wave = tone(note, level, decay)
        first = round(start_seconds * rate_hz)
        sound[first : first + len(wave)] += wave

    for k, step in enumerate(theme.melody):
        if step is not None:
            add(k * eighth, _pitch(theme, step) + 12, 0.5, theme.decay_seconds)
    for bar, degree in enumerate(theme.chords):
        start = 8 * bar * eighth
        for third in (0, 2, 4):
            add(start, _pitch(theme, degree + third), 0.3, 5 * eighth)
        for beat in (0, 3, 4):
            add(start + beat * eighth, _pitch(theme, degree) - 12, 0.4, 2 * eighth)
    if theme.pulse:
        _add_pulse(sound, theme, eighth, rate_hz)
    # Notes that ring past the end of the loop continue at its start.
    sound[: 4 * rate_hz] += sound[total:][: 4 * rate_hz]
    loop = sound[:total]
    loop = loop / max(float(np.sqrt(np.mean(loop**2))), 1e-6)
    loop.setflags(write=False)
    return loop


def loop_from(loop: Wave, start_seconds: float, num_samples: int, rate_hz: int) -> Wave:
    """Return `num_samples` samples of an endlessly repeated loop, from a start time on."""
    first = round(start_seconds * rate_hz)
    return loop[np.arange(first, first + num_samples) % len(loop)]


def _pitch(theme: Theme, step: int) -> int:
    octave, degree = divmod(step, len(theme.scale))
    return theme.root + 12 * octave + theme.scale[degree]


def _tone(theme: Theme, note: int, level: float, decay: float, rate_hz: int) -> Wave:
    """Return one note with its decay, at most 3 seconds."""
    count = min(int(rate_hz * min(4 * decay, 3.0)), 3 * rate_hz)
    t = np.arange(count, dtype=np.float32) / rate_hz
    frequency = 440 * 2 ** ((note - 69) / 12)
    wave = np.zeros(count, np.float32)
    for k in range(1, 10, 2 if theme.odd else 1):
        if k * frequency < 0.45 * rate_hz:
            wave += k**-theme.slope * np.sin((2 * np.pi * k * frequency) * t)
    envelope = (1 - np.exp(-t / theme.attack_seconds)) * np.exp(-t / decay)
    return np.asarray(level * wave * envelope, np.float32)


def _add_pulse(sound: Wave, theme: Theme, eighth: float, rate_hz: int) -> None:
    t = np.arange(int(0.12 * rate_hz), dtype=np.float32) / rate_hz
    kick = theme.pulse * 2 * np.sin(2 * np.pi * 70 * t) * np.exp(-t / 0.04)
    for beat in range(0, 8 * _NUM_BARS, 2):
        first = round(beat * eighth * rate_hz)
        sound[first : first + len(kick)] += kick
