"""The event kinds, each a combination of a motion, a painter and a sound.

Kinds that share motion and painter differ only in their sound. Kinds that share their sound (and
draw their rhythm from the same distribution) differ only in what is seen:

| differ only in sound | differ only in sight |
| --- | --- |
| bounce, ping | knock, stamp |
| babble, sing | swing, windmill |
|  | saw, sweep |

`approach` and `recede` share both painter and sound and differ in the direction of time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from experiments.rendered_tv.brush import Brush
from experiments.rendered_tv.events import motions, painters, sounds
from experiments.rendered_tv.events.painters import Ink
from experiments.rendered_tv.events.sounds import SoundContext, Wave
from experiments.rendered_tv.events.track import Pose, Track


@dataclass(frozen=True, slots=True, kw_only=True)
class EventKind:
    """A kind of event, which can happen in any title.

    Attributes:
        name: Name of the kind and of its class in the transfer sets.
        move: Draws the motion from a random stream and a duration in seconds.
        paint: Paints one pose.
        voice: Makes the sound from the motion.
    """

    name: str
    move: Callable[[Generator, float], Track]
    paint: Callable[[Brush, Pose, Ink], None]
    voice: Callable[[SoundContext], Wave]

    @property
    def label(self) -> str:
        """The name in the spelling of UCF101's classes, such as `Windmill`."""
        return self.name.title().replace("_", "")

    def sound(self, track: Track, rng: Generator, rate_hz: int, pitch: float) -> Wave:
        """Return the sound of a track at a common loudness.

        Args:
            track: The motion.
            rng: Random stream of the sound.
            rate_hz: Sample rate.
            pitch: Factor on all frequencies.

        Returns:
            float32 `[seconds * rate_hz]` with a peak of at most 0.7.
        """
        wave = np.asarray(self.voice(SoundContext(track, rng, rate_hz, pitch)), np.float32)
        peak, rms = float(np.abs(wave).max()), float(np.sqrt(np.mean(wave**2)))
        level = min(0.7 / max(peak, 1e-6), 0.14 / max(rms, 1e-6))
        edge = np.minimum(np.arange(len(wave)), np.arange(len(wave))[::-1]) / (0.01 * rate_hz)
        return (wave * (level * np.minimum(edge, 1.0))).astype(np.float32)


#: Every kind by name. The order must not change, because `event_kinds = n` takes the first n.
EVENT_KINDS: dict[str, EventKind] = {
    name: EventKind(name=name, move=move, paint=paint, voice=voice)
    for name, move, paint, voice in (
        ("bounce", motions.bouncing, painters.ball, sounds.thud),
        ("siren", motions.revolving, painters.beacon, sounds.wail),
        ("swing", motions.swinging, painters.pendulum, sounds.whoosh),
        ("babble", motions.talking, painters.face, sounds.babble),
        ("hammer", motions.striking, painters.hammer, sounds.clank),
        ("approach", motions.approaching, painters.car, sounds.drone),
        ("rattle", motions.rattling, painters.jar, sounds.shake),
        ("slide", motions.gliding, painters.lift, sounds.whistle),
        ("drip", motions.dripping, painters.tap, sounds.plink),
        ("fan", motions.spinning, painters.fan, sounds.hum),
        ("knock", motions.knocking, painters.door_and_fist, sounds.wood),
        ("surf", motions.surging, painters.surf, sounds.swell),
        ("bell", motions.ringing, painters.bell, sounds.clang),
        ("saw", motions.stroking, painters.saw, sounds.rasp),
        ("insect", motions.flying, painters.insect, sounds.buzz),
        ("walk", motions.walking, painters.walker, sounds.step),
        ("wheel", motions.rolling, painters.wheel, sounds.engine),
        ("spring", motions.springing, painters.spring, sounds.boing),
        ("balloon", motions.breathing, painters.balloon, sounds.breath),
        ("drum", motions.drumming, painters.drum, sounds.boom),
        ("ping", motions.bouncing, painters.ball, sounds.ping),
        ("sing", motions.talking, painters.face, sounds.song),
        ("windmill", motions.windmilling, painters.windmill, sounds.whoosh),
        ("stamp", motions.knocking, painters.boot, sounds.wood),
        ("sweep", motions.stroking, painters.broom, sounds.rasp),
        ("recede", motions.receding, painters.car, sounds.drone),
        ("fire", motions.burning, painters.fire, sounds.crackle),
        ("bubbles", motions.bubbling, painters.tank, sounds.gurgle),
        ("door", motions.hinging, painters.door, sounds.creak),
    )
}
