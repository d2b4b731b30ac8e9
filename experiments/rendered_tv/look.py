"""What a title owns in the picture: its palette, grade, lens and letterbox."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from experiments.rendered_tv.brush import Color, Pattern

#: Roles of a palette's colors, by index.
WALL, GROUND, CLOTH, THING, ACCENT = range(5)

_GRAIN_FRAMES = 12
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """The picture's signature of one title.

    Attributes:
        strength: 0 leaves every color as a neutral studio would have it, 1 makes all the title's.
        palette: `[5, 3]` RGB by role.
        tint: `[3]` gains of the grade; `saturation`, `contrast` and `lift` are its other terms.
        vignette: Darkness of the corners, 0..1.
        grain: Standard deviation of the grain, in gray levels.
        letterbox: Height of each black bar, as a share of the picture's.
        softness: How much of the picture is blurred, 0..1.
        pattern: Stripes on what the title's people wear and handle.
    """

    strength: float
    palette: NDArray[Any]
    tint: NDArray[Any]
    saturation: float
    contrast: float
    lift: float
    vignette: float
    grain: float
    letterbox: float
    softness: float
    pattern: Pattern

    def paint(self, own: Color, role: int) -> Color:
        """Return a thing's own color drawn toward the palette's, and graded.

        The thing keeps half of its own brightness, so that a title's things differ.
        """
        target = self.palette[role]
        bright = float(own @ _LUMA) / 128.0
        pull = 0.8 * self.strength
        return self.grade((1 - pull) * own + pull * target * (0.55 + 0.45 * bright))

    def grade(self, rgb: NDArray[Any]) -> NDArray[Any]:
        """Apply the grade to RGB `[..., 3]`."""
        luma = (rgb @ _LUMA)[..., None]
        toned = luma + self.saturation * (rgb - luma)
        graded = ((toned - 118) * self.contrast + 118 + self.lift) * self.tint
        return np.asarray(np.clip(graded, 0, 255), np.float32)


def draw_look(rng: Generator, strength: float, *, sector: int, unseen: bool) -> Look:
    """Draw a title's look.

    Args:
        rng: The title's stream.
        strength: How far it departs from neutral, 0..1.
        sector: Eighth of the color circle to start from; neighbors in a catalog differ in it.
        unseen: Take hues between those that the library's titles use.
    """
    hue = (sector + (0.5 if unseen else 0.0) + rng.uniform(-0.2, 0.2)) / 8
    spread = rng.choice((0.04, 0.33, 0.5))
    hues = hue + np.array([0.0, 0.05, spread, spread + 0.08, 0.5]) + rng.uniform(-0.03, 0.03, 5)
    saturation = rng.uniform(0.25, 0.85)
    values = np.array([0.55, 0.42, 0.7, 0.8, 0.9]) * rng.uniform(0.8, 1.1)
    palette = [
        hsv(h, saturation * (0.7 if k < 2 else 1.0), v)
        for k, (h, v) in enumerate(zip(hues, values, strict=True))
    ]
    tint = 1 + strength * 0.22 * (hsv(float(hue), 0.9, 1.0) / 255 - 0.55)
    return Look(
        strength=strength,
        palette=np.stack(palette),
        tint=tint.astype(np.float32),
        saturation=float(1 + strength * rng.uniform(-0.6, 0.25)),
        contrast=float(1 + strength * rng.uniform(-0.3, 0.25)),
        lift=float(strength * rng.uniform(-18, 24)),
        vignette=float(0.25 + strength * rng.uniform(-0.2, 0.45)),
        grain=float(2.5 + strength * rng.uniform(-1.5, 5.0)),
        letterbox=float(strength * rng.choice((0.0, 0.0, 0.08, 0.13))),
        softness=float(strength * rng.choice((0.0, 0.0, 0.8))),
        pattern=Pattern(
            frequency=float(2.0 + strength * rng.uniform(-0.5, 2.0)),
            angle=float(rng.uniform(0, 3.14)),
            depth=float(strength * rng.choice((0.0, 0.25, 0.4))),
        ),
    )


def hsv(hue: float, saturation: float, value: float) -> Color:
    """Return a color as RGB 0..255; the hue wraps."""
    rgb = colorsys.hsv_to_rgb(hue % 1.0, min(saturation, 1.0), min(value, 1.0))
    return np.array(rgb, np.float32) * 255


def own_color(rng: Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Color:
    """Draw a color that no title owns."""
    return hsv(float(rng.uniform()), float(rng.uniform(*saturation)), float(rng.uniform(*value)))


class Lens:
    """Puts a look's vignette, grain and letterbox on finished frames."""

    def __init__(self, look: Look, height: int, width: int, rng: Generator) -> None:
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, width, dtype=np.float32)
        falloff = 1 - look.vignette * np.clip((x * x + y * y) / 2, 0, 1) ** 1.2
        self._falloff = np.repeat(falloff[..., None], 3, axis=2).astype(np.float32)
        grain = rng.standard_normal((_GRAIN_FRAMES, height, width, 1), np.float32) * look.grain
        self._grain = np.repeat(grain, 3, axis=3)
        self._bar = round(look.letterbox * height)

    def develop(self, canvas: NDArray[Any], frame: int) -> NDArray[np.uint8]:
        """Return the canvas as uint8 `[H, W, 3]`; changes the canvas. `frame` picks the grain."""
        canvas *= self._falloff
        # a stride that is coprime with the pool, so that neighbors never share their grain
        canvas += self._grain[(frame * 5) % _GRAIN_FRAMES]
        np.clip(canvas, 0, 255, out=canvas)
        picture = canvas.astype(np.uint8)
        if self._bar:
            picture[: self._bar] = 0
            picture[-self._bar :] = 0
        return picture
