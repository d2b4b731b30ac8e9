"""How events move: each function draws one event's track from a random stream.

Rates stay between about 0.4 and 4 Hz, slow enough to be seen at 8 frames per second. Every event
starts at a random phase and with a random tempo, so that the timing of a sound carries more
information than its presence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from experiments.rendered_tv.events.track import CONTROL_RATE_HZ, Track, control_times, make_track

Array = NDArray[Any]


def bouncing(rng: Generator, seconds: float) -> Track:
    """Draw a bounce: a ball falls, hits the floor and rises, each time to another height."""
    gravity = rng.uniform(4.0, 7.0)
    heights = rng.uniform(0.28, 0.62, 64)
    flights = 2 * np.sqrt(2 * heights / gravity)
    impacts = np.cumsum(flights) - rng.uniform(0.0, 1.0) * flights[0]
    t = control_times(seconds)
    k = np.searchsorted(impacts, t, side="right")
    rest = impacts[k] - t
    y = 0.5 * gravity * rest * (flights[k] - rest)
    x = rng.uniform(0.1, 0.28) * np.sin(rng.uniform(0.3, 0.8) * t + rng.uniform(0, 6.28))
    return make_track(seconds, x=x, y=y, impacts=impacts, weights=0.5 + heights)


def striking(rng: Generator, seconds: float) -> Track:
    """Draw slow lifts and fast strikes; `angle` is 0 at the hit and 1 when raised."""
    impacts = _beats(rng, seconds, rng.uniform(0.55, 1.2), 0.2)
    lift = _lift(control_times(seconds), impacts)
    return make_track(seconds, angle=lift, impacts=impacts, weights=_weights(rng, impacts))


def knocking(rng: Generator, seconds: float) -> Track:
    """Draw bursts of two to four knocks with pauses; `opening` is the gap before the hit."""
    impacts = _bursts(rng, seconds)
    gap = _lift(control_times(seconds), impacts, longest=0.42)
    return make_track(seconds, opening=gap, impacts=impacts, weights=_weights(rng, impacts))


def dripping(rng: Generator, seconds: float) -> Track:
    """Draw drops that gather at the top, fall and hit the water at `y = 0`."""
    impacts = _beats(rng, seconds, rng.uniform(0.6, 1.3), 0.1)
    t = control_times(seconds)
    k = np.minimum(np.searchsorted(impacts, t, side="right"), len(impacts) - 1)
    y = np.clip(1.0 - ((0.45 - (impacts[k] - t)) / 0.45).clip(0.0, 1.0) ** 2, 0.0, 1.0)
    return make_track(seconds, y=y, impacts=impacts, weights=_weights(rng, impacts))


def drumming(rng: Generator, seconds: float) -> Track:
    """Draw two alternating sticks: `angle` lifts the left one, `opening` the right one."""
    impacts = _beats(rng, seconds, rng.uniform(0.32, 0.6), 0.12)
    t = control_times(seconds)
    left, right = _lift(t, impacts[::2]), _lift(t, impacts[1::2])
    return make_track(
        seconds, angle=left, opening=right, impacts=impacts, weights=_weights(rng, impacts)
    )


def walking(rng: Generator, seconds: float) -> Track:
    """Draw a walk back and forth across the stage; a step lands at each end of the leg swing."""
    rate = rng.uniform(0.6, 1.05)
    phase = rng.uniform(0, 1)
    t = control_times(seconds)
    angle = 0.55 * np.sin(2 * np.pi * (rate * t + phase))
    steps = (np.arange(0, 2 * rate * seconds + 3) / 2 + 0.25 - phase) / rate
    turn = rng.uniform(0.08, 0.14)
    x = 0.32 * _triangle(turn * t + rng.uniform(0, 1))
    return make_track(seconds, x=x, angle=angle, impacts=steps, weights=_weights(rng, steps))


def swinging(rng: Generator, seconds: float) -> Track:
    """Draw a pendulum; `drive` is its speed."""
    wave, drive = _pulse(rng, seconds)
    return make_track(seconds, angle=0.75 * wave, drive=drive)


def windmilling(rng: Generator, seconds: float) -> Track:
    """Draw a rotation in gusts at the pendulum's rates; `drive` is the speed."""
    _, drive = _pulse(rng, seconds)
    angle = np.cumsum(drive) * (2 * np.pi * 0.55 / CONTROL_RATE_HZ) * rng.choice((-1, 1))
    return make_track(seconds, angle=angle + rng.uniform(0, 6.28), drive=drive)


def ringing(rng: Generator, seconds: float) -> Track:
    """Draw a swinging bell that is struck at both ends of the swing."""
    rate, phase = rng.uniform(0.4, 0.75), rng.uniform(0, 1)
    t = control_times(seconds)
    hits = (np.arange(0, 2 * rate * seconds + 3) / 2 + 0.25 - phase) / rate
    return make_track(
        seconds,
        angle=0.5 * np.sin(2 * np.pi * (rate * t + phase)),
        impacts=hits,
        weights=_weights(rng, hits),
    )


def spinning(rng: Generator, seconds: float) -> Track:
    """Draw a rotation whose speed varies smoothly; `drive` is the speed."""
    drive = _wander(rng, seconds, 0.4)
    angle = np.cumsum(0.15 + 0.75 * drive) * (2 * np.pi / CONTROL_RATE_HZ)
    return make_track(seconds, angle=angle + rng.uniform(0, 6.28), drive=drive)


def rolling(rng: Generator, seconds: float) -> Track:
    """Draw a wheel that rolls back and forth; `drive` is the speed."""
    phase = _phase(rng, seconds, 0.22, 0.42)
    x = 0.42 * np.sin(phase)
    return make_track(seconds, x=x, angle=-x / 0.3, drive=np.abs(np.cos(phase)))


def approaching(rng: Generator, seconds: float) -> Track:
    """Draw repeated approaches from far away; `drive` is the nearness."""
    near = _ramp(rng, seconds)
    return make_track(seconds, size=0.16 + 0.84 * near**2, drive=near)


def receding(rng: Generator, seconds: float) -> Track:
    """Draw repeated departures into the distance; `drive` is the nearness."""
    near = 1.0 - _ramp(rng, seconds)
    return make_track(seconds, size=0.16 + 0.84 * near**2, drive=near)


def revolving(rng: Generator, seconds: float) -> Track:
    """Draw a light that turns at a constant rate."""
    angle = _phase(rng, seconds, 0.4, 0.85)
    return make_track(seconds, angle=angle, drive=0.5 + 0.5 * np.sin(angle))


def rattling(rng: Generator, seconds: float) -> Track:
    """Draw bursts of shaking; `drive` is 1 during a burst."""
    gate = _gate(rng, seconds, 0.5, 1.1)
    shake = np.repeat(rng.uniform(-1, 1, (2, len(gate) // 16 + 1)), 16, axis=1)[:, : len(gate)]
    return make_track(seconds, x=0.09 * gate * shake[0], y=0.05 * gate * (1 + shake[1]), drive=gate)


def talking(rng: Generator, seconds: float) -> Track:
    """Draw a mouth that speaks in syllables with pauses; `opening` is the mouth's opening."""
    gate = _gate(rng, seconds, 0.9, 1.8, off_share=0.5)
    t = control_times(seconds)
    rate = rng.uniform(2.0, 3.2)
    warp = np.cumsum(0.4 * _wander(rng, seconds, 1.0) + 0.8) / CONTROL_RATE_HZ
    mouth = gate * np.sin(np.pi * (rate * warp + rng.uniform(0, 1))) ** 2
    return make_track(seconds, opening=mouth, drive=mouth, x=0.02 * np.sin(3 * t), angle=warp)


def gliding(rng: Generator, seconds: float) -> Track:
    """Draw a ride up and down a rail at a varying speed."""
    t = control_times(seconds)
    rate = rng.uniform(0.25, 0.5)
    wave = np.sin(2 * np.pi * (rate * t + rng.uniform(0, 1)) + np.sin(2 * t + rng.uniform(0, 6)))
    return make_track(seconds, y=0.5 + 0.5 * wave, drive=0.6)


def surging(rng: Generator, seconds: float) -> Track:
    """Draw waves; `drive` is the height of the water."""
    phase = _phase(rng, seconds, 0.28, 0.5)
    swell = 0.5 + 0.5 * np.sin(phase + 0.5 * np.sin(phase))
    return make_track(seconds, drive=swell, x=0.15 * np.cos(phase))


def burning(rng: Generator, seconds: float) -> Track:
    """Draw a flickering flame that flares at each impact."""
    pops = np.sort(rng.uniform(0, seconds, max(int(seconds * 2.2), 1)))
    t = control_times(seconds)
    flare = np.exp(-np.clip(t[:, None] - pops, 0, None) / 0.12) * (t[:, None] >= pops)
    flicker = 0.25 + 0.35 * _wander(rng, seconds, 3.0) + 0.55 * flare.max(axis=1)
    sway = 0.06 * np.sin(5 * t + rng.uniform(0, 6))
    return make_track(
        seconds, x=sway, drive=np.clip(flicker, 0, 1), impacts=pops, weights=_weights(rng, pops)
    )


def bubbling(rng: Generator, seconds: float) -> Track:
    """Draw rising bubbles; each bursts at the surface at its impact."""
    pops = np.cumsum(rng.uniform(0.18, 0.7, int(seconds / 0.18) + 4))
    clock = control_times(seconds)  # the painter distinguishes bubbles by this time
    return make_track(seconds, angle=clock, impacts=pops, weights=_weights(rng, pops))


def springing(rng: Generator, seconds: float) -> Track:
    """Draw a weight on a spring that is plucked and swings with decay; `y` is in -1..1."""
    plucks = _beats(rng, seconds, rng.uniform(0.9, 1.6), 0.2)
    t = control_times(seconds)
    k = np.searchsorted(plucks, t, side="right") - 1
    since = np.where(k >= 0, t - plucks[np.maximum(k, 0)], 9.0)
    swing = np.exp(-since / 0.5) * np.cos(2 * np.pi * rng.uniform(1.7, 2.4) * since)
    return make_track(
        seconds, y=swing, drive=np.exp(-since / 0.5), impacts=plucks, weights=np.ones(len(plucks))
    )


def flying(rng: Generator, seconds: float) -> Track:
    """Draw a flight in circles; `drive` is the nearness, `opening` the speed."""
    t = control_times(seconds)
    rates = rng.uniform(0.3, 0.7, 3)
    phases = 2 * np.pi * (rates[:, None] * t + rng.uniform(0, 1, 3)[:, None])
    speed = np.hypot(rates[0] * np.cos(phases[0]), rates[1] * np.cos(phases[1]))
    near = 0.5 + 0.5 * np.sin(phases[2])
    return make_track(
        seconds,
        x=0.42 * np.sin(phases[0]),
        y=0.45 + 0.26 * np.sin(phases[1]),
        size=0.5 + 0.7 * near,
        drive=near,
        opening=np.clip(speed, 0, 1),
    )


def stroking(rng: Generator, seconds: float) -> Track:
    """Draw strokes back and forth (`x` in -1..1); `drive` is the speed."""
    phase = _phase(rng, seconds, 0.55, 1.1)
    return make_track(seconds, x=np.sin(phase), drive=np.abs(np.cos(phase)), angle=np.sin(phase))


def breathing(rng: Generator, seconds: float) -> Track:
    """Draw a balloon that grows and shrinks; `drive` is the air flow, `opening` the growth."""
    phase = _phase(rng, seconds, 0.35, 0.6)
    return make_track(
        seconds,
        size=0.5 + 0.5 * np.sin(phase),
        drive=np.abs(np.cos(phase)) ** 1.5,
        opening=0.5 + 0.5 * np.cos(phase),
    )


def hinging(rng: Generator, seconds: float) -> Track:
    """Draw a door that opens and closes with pauses; `drive` is its speed."""
    t = control_times(seconds)
    opening = np.zeros(len(t))
    start, state = -rng.uniform(0, 0.5), 0.0
    while start < seconds:
        travel = rng.uniform(0.6, 1.3)
        part = np.clip((t - start) / travel, 0, 1)
        smooth = part * part * (3 - 2 * part)
        opening = np.where(t >= start, state + (1 - 2 * state) * smooth, opening)
        state = 1.0 - state
        start += travel + rng.uniform(0.1, 0.7)
    drive = np.abs(np.gradient(opening)) * CONTROL_RATE_HZ / 2
    return make_track(seconds, opening=opening, drive=np.clip(drive, 0, 1))


def _beats(rng: Generator, seconds: float, period: float, jitter: float) -> Array:
    """Return times of beats with a varying tempo, from before the start to after the stop."""
    steps = period * (1 + jitter * rng.uniform(-1, 1, int(seconds / period * 1.4) + 4))
    beats: Array = np.cumsum(steps) - rng.uniform(0, 1) * steps[0]
    return beats


def _bursts(rng: Generator, seconds: float) -> Array:
    times: list[float] = []
    now, step = -rng.uniform(0, 0.8), rng.uniform(0.26, 0.4)
    while now < seconds + 1:
        count = int(rng.integers(2, 5))
        times += [now + step * k for k in range(count)]
        now += step * count + rng.uniform(0.3, 0.8)
    return np.array(times)


def _lift(t: Array, impacts: Array, longest: float = 9.0) -> Array:
    """Return the height of a tool that is lifted slowly and dropped fast at each impact."""
    k = np.clip(np.searchsorted(impacts, t, side="right"), 0, len(impacts) - 1)
    before = np.where(k > 0, impacts[np.maximum(k - 1, 0)], impacts[k] - 0.8)
    length = np.clip(impacts[k] - before, 0.05, longest)
    phase = np.clip(1.0 - (impacts[k] - t) / length, 0.0, 1.0)
    up = np.sin(np.clip(phase / 0.7, 0, 1) * np.pi / 2) ** 2
    down = 1.0 - np.clip((phase - 0.75) / 0.25, 0, 1) ** 2
    lift: Array = np.where(t > impacts[-1], 0.0, up * down)
    return lift


def _phase(rng: Generator, seconds: float, lowest_hz: float, highest_hz: float) -> Array:
    """Return the phase of an oscillation with a random rate and start, in radians."""
    rate, start = rng.uniform(lowest_hz, highest_hz), rng.uniform(0, 1)
    phase: Array = 2 * np.pi * (rate * control_times(seconds) + start)
    return phase


def _pulse(rng: Generator, seconds: float) -> tuple[Array, Array]:
    """Return a swing in -1..1 and its speed in 0..1, at a rate that several kinds share."""
    phase = _phase(rng, seconds, 0.4, 0.8)
    return np.sin(phase), np.abs(np.cos(phase))


def _wander(rng: Generator, seconds: float, rate_hz: float) -> Array:
    """Return a smooth random curve in 0..1 that changes about `rate_hz` times per second."""
    t = control_times(seconds)
    knots = rng.uniform(0, 1, int(seconds * rate_hz * 2) + 4)
    place = t * rate_hz * 2
    k = place.astype(int)
    blend = (1 - np.cos(np.pi * (place - k))) / 2
    wander: Array = knots[k] * (1 - blend) + knots[k + 1] * blend
    return wander


def _gate(
    rng: Generator, seconds: float, shortest: float, longest: float, off_share: float = 0.8
) -> Array:
    """Return a curve that alternates between 0 and 1 at random times, with edges of 40 ms."""
    t = control_times(seconds)
    gate = np.zeros(len(t))
    now = -rng.uniform(0, shortest)
    while now < seconds:
        on = rng.uniform(shortest, longest)
        gate = np.maximum(gate, np.clip(np.minimum(t - now, now + on - t) / 0.04, 0, 1))
        now += on + off_share * rng.uniform(shortest, longest)
    return gate


def _ramp(rng: Generator, seconds: float) -> Array:
    """Return a sawtooth from 0 to 1 that rises slowly and falls in 7% of its period."""
    period, phase = rng.uniform(1.6, 2.8), rng.uniform(0, 1)
    part = (control_times(seconds) / period + phase) % 1.0
    ramp: Array = np.where(part < 0.93, part / 0.93, (1 - part) / 0.07)
    return ramp


def _triangle(phase: Array) -> Array:
    return np.abs((phase % 1.0) * 4 - 2) - 1


def _weights(rng: Generator, impacts: Array) -> Array:
    return rng.uniform(0.65, 1.0, len(impacts))
