"""The visual signature of a title (palette, grade, lens, letterbox) and its characters."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from experiments.rendered_tv.brush import Brush, Color, Pattern

#: Indices of a palette's colors by what they are used for.
WALL, GROUND, CLOTH, THING, ACCENT = range(5)

_GRAIN_FRAMES = 12
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """The visual signature of one title.

    Attributes:
        strength: Strength of the signature. 0 leaves every color neutral.
        palette: `[5, 3]` RGB colors, indexed by `WALL` to `ACCENT`.
        tint: `[3]` RGB gains of the color grade.
        saturation: Factor on the saturation.
        contrast: Factor on the contrast.
        lift: Offset of the brightness, in gray levels.
        vignette: Darkness of the corners, 0..1.
        grain: Standard deviation of the film grain, in gray levels.
        letterbox: Height of each black bar relative to the frame height.
        softness: Strength of the blur, 0..1.
        pattern: Stripes on clothes and objects.
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
        """Blend an object's own color with the palette's, then apply the grade.

        The object keeps half of its own brightness, so that objects of one title differ.
        """
        target = self.palette[role]
        bright = float(own @ _LUMA) / 128.0
        pull = 0.8 * self.strength
        return self.grade((1 - pull) * own + pull * target * (0.55 + 0.45 * bright))

    def grade(self, rgb: NDArray[Any]) -> NDArray[Any]:
        """Apply the color grade to RGB `[..., 3]`."""
        luma = (rgb @ _LUMA)[..., None]
        toned = luma + self.saturation * (rgb - luma)
        graded = ((toned - 118) * self.contrast + 118 + self.lift) * self.tint
        return np.asarray(np.clip(graded, 0, 255), np.float32)


def draw_look(rng: Generator, strength: float, *, sector: int, unseen: bool) -> Look:
    """Draw a title's look.

    Args:
        rng: The title's random stream.
        strength: Strength of the signature, 0..1.
        sector: Eighth of the color circle for the first hue. Consecutive titles differ in it.
        unseen: True to use hues between those of the library's titles.
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
    """Convert a color from HSV in 0..1 to RGB in 0..255; the hue wraps around."""
    rgb = colorsys.hsv_to_rgb(hue % 1.0, min(saturation, 1.0), min(value, 1.0))
    return np.array(rgb, np.float32) * 255


def own_color(rng: Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Color:
    """Draw a color that does not depend on the title."""
    return hsv(float(rng.uniform()), float(rng.uniform(*saturation)), float(rng.uniform(*value)))


class Lens:
    """A filter that adds a look's vignette, grain and letterbox to frames."""

    def __init__(self, look: Look, height: int, width: int, rng: Generator) -> None:
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, width, dtype=np.float32)
        falloff = 1 - look.vignette * np.clip((x * x + y * y) / 2, 0, 1) ** 1.2
        self._falloff = np.repeat(falloff[..., None], 3, axis=2).astype(np.float32)
        grain = rng.standard_normal((_GRAIN_FRAMES, height, width, 1), np.float32) * look.grain
        self._grain = np.repeat(grain, 3, axis=3)
        self._bar = round(look.letterbox * height)

    def apply(self, canvas: NDArray[Any], frame: int) -> NDArray[np.uint8]:
        """Return the filtered canvas as uint8 `[H, W, 3]`, changing the canvas in place.

        Args:
            canvas: float32 `[H, W, 3]` RGB.
            frame: Frame number, which selects the grain.
        """
        canvas *= self._falloff
        # 5 is coprime with the number of grain frames, so consecutive frames never share grain.
        canvas += self._grain[(frame * 5) % _GRAIN_FRAMES]
        np.clip(canvas, 0, 255, out=canvas)
        image = canvas.astype(np.uint8)
        if self._bar:
            image[: self._bar] = 0
            image[-self._bar :] = 0
        return image


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Figure:
    """The appearance of a character; lengths are relative to the frame height (see `sets.py`)."""

    height: float
    girth: float
    head: float
    skin: Color
    hair: Color
    coat: Color
    legs: Color
    hat: bool
    long_hair: bool
    skirt: bool


def draw_figure(rng: Generator, look: Look) -> Figure:
    """Draw a character. The same stream and look give the same character."""
    tone = rng.uniform(0.3, 0.95)
    return Figure(
        height=float(rng.uniform(0.52, 0.7)),
        girth=float(rng.uniform(0.75, 1.45)),
        head=float(rng.uniform(0.85, 1.2)),
        skin=look.grade(hsv(float(rng.uniform(0.04, 0.09)), 0.6 - 0.3 * tone, 0.35 + 0.6 * tone)),
        hair=look.grade(hsv(float(rng.uniform(0.02, 0.13)), 0.5, float(rng.uniform(0.1, 0.8)))),
        coat=look.paint(own_color(rng, (0.4, 0.9), (0.4, 0.9)), int(rng.choice((CLOTH, ACCENT)))),
        legs=look.paint(own_color(rng, (0.2, 0.7), (0.2, 0.6)), THING),
        hat=bool(rng.uniform() < 0.3),
        long_hair=bool(rng.uniform() < 0.4),
        skirt=bool(rng.uniform() < 0.35),
    )


def paint_figure(brush: Brush, figure: Figure, x: float, y: float, phase: float) -> None:
    """Paint a standing character with its feet at `(x, y)`, at a phase of its breath in radians."""
    body = brush.moved(x, y, figure.height)
    sway, rise = 0.012 * math.sin(phase), 0.008 * math.cos(phase)
    wide = 0.105 * figure.girth
    body.shadow(0.0, 0.0, 0.24)
    for side in (-1, 1):
        body.bar(side * wide * 0.5, 0.42, side * wide * 0.6, 0.03, 0.085, figure.legs)
        body.ellipse(side * wide * 0.6 + 0.02, 0.02, 0.06, 0.03, figure.legs * 0.5)
    if figure.skirt:
        body.polygon(
            [(-wide, 0.52), (wide, 0.52), (wide * 1.7, 0.2), (-wide * 1.7, 0.2)],
            figure.coat * 0.85,
        )
    body.polygon(
        [
            (-wide, 0.4),
            (wide, 0.4),
            (wide * 1.15 + sway, 0.74 + rise),
            (-wide * 1.15 + sway, 0.74 + rise),
        ],
        figure.coat,
        patterned=True,
    )
    for side in (-1, 1):
        hand = side * (wide * 1.45 + 0.02 * math.sin(phase + side))
        body.bar(side * wide + sway, 0.71 + rise, hand, 0.43, 0.065, figure.coat * 0.85)
        body.ellipse(hand, 0.42, 0.035, 0.035, figure.skin)
    _paint_head(body.moved(sway, 0.86 + rise, figure.head), figure)


def _paint_head(head: Brush, figure: Figure) -> None:
    if figure.long_hair:
        head.ellipse(0.0, -0.03, 0.115, 0.15, figure.hair)
    head.ellipse(0.0, 0.03, 0.1, 0.115, figure.hair)
    head.ellipse(0.0, 0.0, 0.088, 0.105, figure.skin)
    dark = figure.skin * 0.25
    for side in (-1, 1):
        head.ellipse(side * 0.035, 0.015, 0.014, 0.017, dark)
    head.box(0.0, -0.045, 0.05, 0.014, dark)
    if figure.hat:
        head.box(0.0, 0.075, 0.26, 0.03, figure.coat * 0.5)
        head.box(0.0, 0.12, 0.15, 0.09, figure.coat * 0.5)
