"""Who stands in the scenes: figures with shapes and colors of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from numpy.random import Generator

from experiments.rendered_tv.brush import Brush, Color
from experiments.rendered_tv.look import ACCENT, CLOTH, THING, Look, hsv, own_color


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Figure:
    """A character: heights are shares of a picture taken from the standard distance."""

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
    """Draw a character; the same stream and look give the same character."""
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
    """Paint a standing figure with its feet at `(x, y)`; `phase` is where it is in its breath."""
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
