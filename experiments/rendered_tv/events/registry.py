"""The event kinds: which motion, which sight and which sound make each.

Kinds that share motion and sight are told apart by sound alone; kinds that share their sound
(and draw their rhythm from the same distribution) are told apart by sight alone:

| only sound tells | only sight tells |
| --- | --- |
| bounce, ping | knock, stamp |
| babble, sing | swing, windmill |
|  | saw, sweep |

`approach` and `recede` share both sight and sound and differ in the direction of time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from experiments.rendered_tv.brush import Brush
from experiments.rendered_tv.events import motions, sights_flowing, sights_struck, sounds
from experiments.rendered_tv.events.sights_struck import Ink
from experiments.rendered_tv.events.synth import Wave
from experiments.rendered_tv.events.track import Pose, Track


@dataclass(frozen=True, slots=True, kw_only=True)
class EventKind:
    """Something that can happen in any title.

    Attributes:
        name: Its name, also its label in the transfer sets.
        move: Draws its motion for so many seconds.
        paint: Paints one pose of it.
        voice: Makes its sound from its motion: `(track, rng, rate_hz, pitch)`.
    """

    name: str
    move: Callable[[Generator, float], Track]
    paint: Callable[[Brush, Pose, Ink], None]
    voice: Callable[[Track, Generator, int, float], Wave]

    @property
    def label(self) -> str:
        """The name as a class of UCF101 is written: `Windmill`."""
        return self.name.title().replace("_", "")

    def sound(self, track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
        """Return the sound of a track, float32 `[seconds * rate_hz]`, at a common loudness."""
        wave = self.voice(track, rng, rate_hz, pitch)
        peak, rms = float(np.abs(wave).max()), float(np.sqrt(np.mean(wave**2)))
        level = min(0.7 / max(peak, 1e-6), 0.14 / max(rms, 1e-6))
        edge = np.minimum(np.arange(len(wave)), np.arange(len(wave))[::-1]) / (0.01 * rate_hz)
        return (wave * (level * np.minimum(edge, 1.0))).astype(np.float32)


_STRUCK, _FLOWING = sights_struck, sights_flowing

#: Every kind by name. The order is fixed: `event_kinds = n` takes the first n.
EVENT_KINDS: dict[str, EventKind] = {
    name: EventKind(name=name, move=move, paint=paint, voice=voice)
    for name, move, paint, voice in (
        ("bounce", motions.bouncing, _STRUCK.ball, sounds.thud),
        ("siren", motions.revolving, _FLOWING.beacon, sounds.wail),
        ("swing", motions.swinging, _FLOWING.pendulum, sounds.whoosh),
        ("babble", motions.talking, _FLOWING.face, sounds.babble),
        ("hammer", motions.striking, _STRUCK.hammer, sounds.clank),
        ("approach", motions.approaching, _FLOWING.car, sounds.drone),
        ("rattle", motions.rattling, _FLOWING.jar, sounds.shake),
        ("slide", motions.gliding, _FLOWING.lift, sounds.whistle),
        ("drip", motions.dripping, _STRUCK.tap, sounds.plink),
        ("fan", motions.spinning, _FLOWING.fan, sounds.hum),
        ("knock", motions.knocking, _STRUCK.door_and_fist, sounds.wood),
        ("surf", motions.surging, _FLOWING.surf, sounds.swell),
        ("bell", motions.ringing, _STRUCK.bell, sounds.clang),
        ("saw", motions.stroking, _FLOWING.saw, sounds.rasp),
        ("insect", motions.flying, _FLOWING.insect, sounds.buzz),
        ("walk", motions.walking, _STRUCK.walker, sounds.step),
        ("wheel", motions.rolling, _FLOWING.wheel, sounds.engine),
        ("spring", motions.springing, _STRUCK.spring, sounds.boing),
        ("balloon", motions.breathing, _FLOWING.balloon, sounds.breath),
        ("drum", motions.drumming, _STRUCK.drum, sounds.boom),
        ("ping", motions.bouncing, _STRUCK.ball, sounds.ping),
        ("sing", motions.talking, _FLOWING.face, sounds.song),
        ("windmill", motions.windmilling, _FLOWING.windmill, sounds.whoosh),
        ("stamp", motions.knocking, _STRUCK.boot, sounds.wood),
        ("sweep", motions.stroking, _FLOWING.broom, sounds.rasp),
        ("recede", motions.receding, _FLOWING.car, sounds.drone),
        ("fire", motions.burning, _STRUCK.fire, sounds.crackle),
        ("bubbles", motions.bubbling, _STRUCK.tank, sounds.gurgle),
        ("door", motions.hinging, _FLOWING.door, sounds.creak),
    )
}
