"""From a script to its audio."""

from __future__ import annotations

import numpy as np

from experiments.rendered_tv.acoustics import Reverberator, room_tone
from experiments.rendered_tv.config import RenderedTVConfig
from experiments.rendered_tv.events.registry import EVENT_KINDS
from experiments.rendered_tv.events.sounds import Wave
from experiments.rendered_tv.music import loop_from, render_theme
from experiments.rendered_tv.script import Scene, Script, cue_track
from experiments.rendered_tv.seeds import stream
from experiments.rendered_tv.titles import Title, stock_theme

#: RMS of the music while no event happens; events have at most 0.14.
MUSIC_LEVEL = 0.06


class AudioMixer:
    """A mixer for the scripts of one title.

    Args:
        config: Settings of the rendered library.
        title: The title whose acoustics and music are used.
    """

    def __init__(self, config: RenderedTVConfig, title: Title) -> None:
        self._config, self._title = config, title
        self._reverberator = Reverberator(
            title.acoustics, stream(config.seed, *title.path, "room"), config.sample_rate_hz
        )
        self._loops: dict[int, Wave] = {}

    def mix(self, script: Script) -> Wave:
        """Return the script's audio, float32 `[num_samples]` in -1..1."""
        return np.concatenate([self._mix_scene(scene) for scene in script.scenes])

    def _mix_scene(self, scene: Scene) -> Wave:
        config, acoustics = self._config, self._title.acoustics
        rate = config.sample_rate_hz
        start = self._sample(scene.first_frame)
        count = self._sample(scene.stop_frame) - start
        dry = np.zeros(count, np.float32)
        busy = np.zeros(count, np.float32)
        for cue in scene.cues:
            first = self._sample(cue.first_frame) - start
            rng = stream(config.seed, *cue.path, "sound")
            sound = EVENT_KINDS[cue.kind].sound(cue_track(config, cue), rng, rate, acoustics.pitch)
            wave = sound[: count - first]
            dry[first : first + len(wave)] += wave
            busy[first : first + len(wave)] = 1.0
        mixed = self._reverberator.apply(dry) if scene.cues else dry
        tone_rng = stream(config.seed, *scene.path, "tone")
        mixed = mixed + room_tone(acoustics, tone_rng, count, rate)
        if scene.music is not None:
            gain = 1.0 - (1.0 - config.music_overlap) * _smoothed(busy, rate // 5)
            music = loop_from(self._loop(scene.music), scene.music_seconds, count, rate)
            mixed = mixed + MUSIC_LEVEL * gain * music
        return np.asarray(np.tanh(acoustics.loudness * mixed), np.float32)

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
