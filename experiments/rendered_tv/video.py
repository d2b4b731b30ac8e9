"""From a script to its video frames."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.rendered_tv.brush import Brush, overlay, text_mask
from experiments.rendered_tv.config import RenderedTVConfig
from experiments.rendered_tv.events.painters import Ink
from experiments.rendered_tv.events.registry import EVENT_KINDS
from experiments.rendered_tv.look import (
    ACCENT,
    CLOTH,
    THING,
    Lens,
    draw_figure,
    hsv,
    own_color,
    paint_figure,
)
from experiments.rendered_tv.script import Camera, Cue, Scene, Script, Shot, StreamPath, cue_track
from experiments.rendered_tv.seeds import stream
from experiments.rendered_tv.sets import OVERSAMPLING, SET_TOP, paint_backdrop
from experiments.rendered_tv.titles import Title

#: Height at which events stand, in set units. Characters stand a little behind them.
_FLOOR = 0.15
_NUM_POSES = 3


class VideoRenderer:
    """A renderer of frames for the scripts of one title.

    Args:
        config: Settings of the rendered library.
        title: The title whose look is used.
    """

    def __init__(self, config: RenderedTVConfig, title: Title) -> None:
        self.config, self.title = config, title
        self._lens = Lens(
            title.look, config.height, config.width, stream(config.seed, *title.path, "lens")
        )
        self._backdrops: dict[StreamPath, NDArray[Any]] = {}

    def render(self, script: Script) -> Iterator[NDArray[np.uint8]]:
        """Yield the script's frames, each uint8 `[H, W, 3]` RGB."""
        for scene in script.scenes:
            yield from self._render_scene(scene)

    def _render_scene(self, scene: Scene) -> Iterator[NDArray[np.uint8]]:
        backgrounds = self._backgrounds(scene)
        actors = [(cue, cue_track(self.config, cue), self._ink(cue.path)) for cue in scene.cues]
        rate = self.config.frame_rate
        scale = max(self.config.width // (4 * 24), 1)
        mask = text_mask(scene.card, scale) if scene.card else None
        for shot in scene.shots:
            view = _CameraView(self.config, shot.camera, self.title.look.letterbox)
            present = [actor for actor in actors if _overlaps(actor[0], shot)]
            for frame in range(shot.first_frame, shot.stop_frame):
                local = frame - scene.first_frame
                part = (frame - shot.first_frame) / max(shot.stop_frame - shot.first_frame - 1, 1)
                pose = _pose_at(local / rate)
                canvas, brush = view.crop(backgrounds[pose], pose, part, local / rate)
                for cue, track, ink in present:
                    kind = EVENT_KINDS[cue.kind]
                    stage = Brush(
                        brush.canvas, brush.left, brush.top, brush.unit, self.title.look.pattern
                    ).moved(cue.x, _FLOOR, cue.scale)
                    kind.paint(stage, track.pose((frame - cue.first_frame) / rate), ink)
                if mask is not None:
                    self._overlay_text(canvas, mask, scene, local)
                yield self._lens.apply(canvas, local)

    def _backgrounds(self, scene: Scene) -> list[NDArray[Any]]:
        """Return the set with its characters, once for each pose of their breathing."""
        if scene.set_path is None:
            unit = self.config.height * OVERSAMPLING
            dark = self.title.look.grade(np.array([14, 14, 18], np.float32)) * 0.6
            black = np.broadcast_to(dark, (round(1.4 * unit), round(4 * unit), 3)).astype(
                np.float32
            )
            return [black] * _NUM_POSES
        backdrop = self._backdrop(scene.set_path)
        unit = self.config.height * OVERSAMPLING
        figures = [
            (draw_figure(stream(self.config.seed, *path), self.title.look), x)
            for path, x in scene.figures
        ]
        backgrounds = []
        for pose in range(_NUM_POSES if figures else 1):
            brush = Brush(backdrop.copy(), 0.0, SET_TOP * unit, unit, self.title.look.pattern)
            for k, (figure, x) in enumerate(figures):
                phase = 2 * math.pi * pose / _NUM_POSES + 2.0 * k
                paint_figure(brush, figure, x, _FLOOR + 0.07 - 0.01 * k, phase)
            backgrounds.append(brush.canvas)
        return backgrounds if figures else backgrounds * _NUM_POSES

    def _backdrop(self, path: StreamPath) -> NDArray[Any]:
        if path not in self._backdrops:
            self._backdrops[path] = paint_backdrop(
                stream(self.config.seed, *path),
                self.title.look,
                self.config.aspect,
                self.config.height,
            )
        return self._backdrops[path]

    def _ink(self, path: StreamPath) -> Ink:
        rng, look = stream(self.config.seed, *path, "ink"), self.title.look
        return Ink(
            body=look.paint(own_color(rng, (0.5, 0.95), (0.6, 1.0)), THING),
            accent=look.paint(own_color(rng, (0.3, 0.8), (0.5, 0.9)), ACCENT),
            dark=look.paint(own_color(rng, (0.1, 0.5), (0.15, 0.3)), CLOTH) * 0.5,
            light=look.grade(hsv(float(rng.uniform(0.1, 0.16)), 0.15, 1.0)),
            skin=draw_figure(rng, look).skin,
        )

    def _overlay_text(
        self, canvas: NDArray[Any], mask: NDArray[Any], scene: Scene, local: int
    ) -> None:
        length = scene.stop_frame - scene.first_frame
        color = self.title.look.grade(hsv(0.13, 0.1, 1.0))
        height = canvas.shape[0]
        if scene.role == "credits":
            travel = height + mask.shape[0]
            overlay(canvas, mask, round(height - travel * local / length), color, 1.0)
            return
        big = np.kron(mask, np.ones((2, 2), np.float32))
        fade = min(local / (0.25 * length), 1.0)
        overlay(canvas, big, (height - big.shape[0]) // 2 + 1, np.zeros(3, np.float32), fade)
        overlay(canvas, big, (height - big.shape[0]) // 2, color, fade)


class _CameraView:
    """A camera's view of the backgrounds. The crops of a still camera are computed only once."""

    def __init__(self, config: RenderedTVConfig, camera: Camera, letterbox: float) -> None:
        self._config, self._camera, self._letterbox = config, camera, letterbox
        self._crops: dict[int, NDArray[Any]] = {}

    def crop(
        self, background: NDArray[Any], pose: int, part: float, seconds: float
    ) -> tuple[NDArray[Any], Brush]:
        """Return a new canvas with the background, and a brush in set units that draws on it."""
        height, width = self._config.height, self._config.width
        x, y, view = (
            a + (b - a) * part for a, b in zip(self._camera.start, self._camera.stop, strict=True)
        )
        if self._camera.move == "handheld":
            x += 0.012 * math.sin(5.1 * seconds) + 0.006 * math.sin(11.3 * seconds)
            y += 0.008 * math.sin(6.7 * seconds + 1.0)
        unit = height / view * (1 - 1.5 * self._letterbox)
        left, top = width / 2 - x * unit, height / 2 + y * unit
        still = self._camera.move == "still"
        if not still or pose not in self._crops:
            fine = height * OVERSAMPLING
            rows = ((np.arange(height) + 0.5 - top) / unit + SET_TOP) * fine
            columns = (np.arange(width) + 0.5 - left) / unit * fine
            rows = np.clip(rows, 0, background.shape[0] - 1).astype(np.intp)
            columns = np.clip(columns, 0, background.shape[1] - 1).astype(np.intp)
            canvas = background.take(rows, axis=0).take(columns, axis=1)
            if still:
                self._crops[pose] = canvas
        if still:
            canvas = self._crops[pose].copy()
        return canvas, Brush(canvas, left, top, unit)


def _pose_at(seconds: float) -> int:
    """Return the index of the characters' pose; they breathe in and out every few seconds."""
    return int((math.sin(1.9 * seconds) + 1) / 2 * _NUM_POSES * 0.999)


def _overlaps(cue: Cue, shot: Shot) -> bool:
    return cue.first_frame < shot.stop_frame and shot.first_frame < cue.stop_frame
