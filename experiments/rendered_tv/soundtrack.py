"""From a script to its sound."""

from __future__ import annotations

import numpy as np

from experiments.rendered_tv.acoustics import Room, room_tone
from experiments.rendered_tv.config import RenderedTVConfig
from experiments.rendered_tv.events.registry import EVENT_KINDS
from experiments.rendered_tv.events.synth import Wave
from experiments.rendered_tv.music import looped, render_theme
from experiments.rendered_tv.script import Scene, Script, cue_track, draw_rng
from experiments.rendered_tv.seeds import stream
from experiments.rendered_tv.titles import Title, stock_theme

#: RMS of the music where nothing happens; events have up to 0.14.
_MUSIC_LEVEL = 0.06


class SoundMixer:
    """Mixes the scripts of one title."""

    def __init__(self, config: RenderedTVConfig, title: Title) -> None:
        self._config, self._title = config, title
        self._room = Room(
            title.acoustics, stream(config.seed, *title.path, "room"), config.sample_rate_hz
        )
        self._loops: dict[int, Wave] = {}

    def mix(self, script: Script) -> Wave:
        """Return the script's sound, float32 `[num_samples]` in -1..1."""
        return np.concatenate([self._mix_scene(scene) for scene in script.scenes])

    def _mix_scene(self, scene: Scene) -> Wave:
        rate, acoustics = self._config.sample_rate_hz, self._title.acoustics
        start = self._sample(scene.first_frame)
        count = self._sample(scene.stop_frame) - start
        dry = np.zeros(count, np.float32)
        busy = np.zeros(count, np.float32)
        for cue in scene.cues:
            first = self._sample(cue.first_frame) - start
            wave = EVENT_KINDS[cue.kind].sound(
                cue_track(self._config, cue),
                stream(self._config.seed, *cue.path, "sound"),
                rate,
                acoustics.pitch,
            )[: count - first]
            dry[first : first + len(wave)] += wave
            busy[first : first + len(wave)] = 1.0
        sound = self._room.play(dry) if scene.cues else dry
        sound = sound + room_tone(acoustics, draw_rng(self._config, scene, "tone"), count, rate)
        if scene.music is not None:
            gain = 1.0 - (1.0 - self._config.music_overlap) * _smoothed(busy, rate // 5)
            music = looped(self._loop(scene.music), scene.music_seconds, count, rate)
            sound = sound + _MUSIC_LEVEL * gain * music
        return np.asarray(np.tanh(acoustics.loudness * sound), np.float32)

    def _loop(self, number: int) -> Wave:
        if number not in self._loops:
            theme = self._title.theme if number < 0 else stock_theme(self._config, number)
            self._loops[number] = render_theme(theme, self._config.sample_rate_hz)
        return self._loops[number]

    def _sample(self, frame: int) -> int:
        return round(frame * self._config.sample_rate_hz / self._config.frame_rate)


def _smoothed(curve: Wave, width: int) -> Wave:
    """Return the running mean over about `width` samples."""
    half = max(width // 2, 1)
    total = np.cumsum(np.pad(curve, (half + 1, half), mode="edge"), dtype=np.float64)
    mean = (total[2 * half :] - total[: -2 * half]) / (2 * half)
    return np.asarray(mean[: len(curve)], np.float32)
