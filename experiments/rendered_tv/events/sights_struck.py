"""How the things look that hit something: each function paints one pose.

The shapes and their motion are the same in every title; only the ink is the title's. Stage
units: the floor is `y = 0`, the stage is 1 high and reaches 0.6 to either side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from experiments.rendered_tv.brush import Brush, Color
from experiments.rendered_tv.events.track import Pose


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ink:
    """The colors that a title lends to an event."""

    body: Color
    accent: Color
    dark: Color
    light: Color
    skin: Color


def ball(brush: Brush, pose: Pose, ink: Ink) -> None:
    """A ball over its shadow, flattened as it hits."""
    squash = 1.0 - 0.3 * math.exp(-((pose.y / 0.05) ** 2))
    brush.shadow(pose.x, 0.0, 0.22 - 0.12 * min(pose.y, 1.0))
    radius = 0.185
    brush.ellipse(
        pose.x,
        pose.y + radius * squash,
        radius / squash,
        radius * squash,
        ink.body,
        shine=0.6,
        patterned=True,
    )


def hammer(brush: Brush, pose: Pose, ink: Ink) -> None:
    """A hammer over an anvil, with sparks at the hit."""
    brush.shadow(0.25, 0.0, 0.3)
    brush.polygon([(0.05, 0.0), (0.5, 0.0), (0.42, 0.18), (0.13, 0.18)], ink.dark)
    brush.box(0.27, 0.23, 0.56, 0.12, ink.dark, shine=0.5)
    turn = 1.25 * pose.angle
    x, y = -0.5 + 0.78 * math.cos(turn), 0.36 + 0.78 * math.sin(turn)
    brush.bar(-0.5, 0.36, x, y, 0.07, ink.accent)
    brush.box(x, y, 0.17, 0.3, ink.body, angle=turn, shine=0.5, patterned=True)
    brush.ellipse(-0.5, 0.36, 0.09, 0.09, ink.light)
    if pose.since_seconds < 0.12:
        brush.glow(0.28, 0.3, 0.28, ink.light, 1.0 - pose.since_seconds / 0.12)


def tap(brush: Brush, pose: Pose, ink: Ink) -> None:
    """A tap, a falling drop, a basin with rings."""
    brush.box(-0.3, 0.93, 0.5, 0.12, ink.dark, shine=0.4)
    brush.box(0.0, 0.9, 0.13, 0.18, ink.dark, shine=0.4)
    brush.polygon([(-0.5, 0.18), (0.5, 0.18), (0.36, 0.0), (-0.36, 0.0)], ink.accent)
    brush.ellipse(0.0, 0.19, 0.48, 0.07, ink.body, shine=0.1)
    if pose.since_seconds < 0.5:
        ring = pose.since_seconds / 0.5
        brush.ellipse(0.0, 0.19, 0.1 + 0.34 * ring, 0.02 + 0.05 * ring, ink.light, alpha=1 - ring)
    if pose.y > 0.01:
        fall = 0.2 + 0.62 * pose.y
        brush.ellipse(0.0, fall, 0.085, 0.11, ink.body, shine=0.8)


def drum(brush: Brush, pose: Pose, ink: Ink) -> None:
    """A drum and two sticks."""
    brush.shadow(0.0, 0.0, 0.36)
    brush.polygon([(-0.3, 0.36), (0.3, 0.36), (0.26, 0.0), (-0.26, 0.0)], ink.body, patterned=True)
    brush.ellipse(0.0, 0.36, 0.31, 0.08, ink.light, shine=0.2)
    for side, lift in ((-1, pose.angle), (1, pose.opening)):
        turn = 0.08 + 1.0 * lift
        x, y = side * 0.58, 0.5
        tip_x, tip_y = x - side * 0.46 * math.cos(turn), y - 0.13 + 0.5 * math.sin(turn)
        brush.bar(x, y, tip_x, tip_y, 0.055, ink.accent)
        brush.ellipse(tip_x, tip_y, 0.06, 0.06, ink.dark)


def door_and_fist(brush: Brush, pose: Pose, ink: Ink) -> None:
    """A fist that knocks at a door."""
    brush.box(0.28, 0.5, 0.46, 1.0, ink.dark)
    brush.box(0.29, 0.5, 0.38, 0.92, ink.body, patterned=True)
    x = 0.02 - 0.42 * pose.opening
    brush.bar(-0.75, 0.42, x, 0.56, 0.14, ink.accent)
    brush.ellipse(x, 0.57, 0.13, 0.12, ink.skin, shine=0.5)


def boot(brush: Brush, pose: Pose, ink: Ink) -> None:
    """A boot that stamps."""
    y = 0.38 * pose.opening
    brush.shadow(0.05, 0.0, 0.3 - 0.2 * y)
    brush.bar(-0.1, 1.1, -0.1, y + 0.2, 0.22, ink.accent)
    brush.box(-0.08, y + 0.2, 0.26, 0.3, ink.body, patterned=True)
    brush.ellipse(0.1, y + 0.1, 0.26, 0.11, ink.body, shine=0.5)
    brush.box(0.03, y + 0.02, 0.46, 0.05, ink.dark)


def walker(brush: Brush, pose: Pose, ink: Ink) -> None:
    """A figure on swinging legs."""
    brush.shadow(pose.x, 0.0, 0.25)
    lift = 0.04 * abs(math.sin(pose.angle))
    for side in (-1, 1):
        swing = side * pose.angle
        foot_x, foot_y = pose.x + 0.45 * math.sin(swing), 0.47 - 0.43 * math.cos(swing)
        brush.bar(pose.x, 0.47 - lift, foot_x, foot_y, 0.11, ink.dark if side < 0 else ink.accent)
        hand_x = pose.x - 0.3 * math.sin(swing)
        brush.bar(pose.x, 0.72, hand_x, 0.46, 0.07, ink.accent)
    brush.ellipse(pose.x, 0.6 - lift, 0.14, 0.22, ink.body, patterned=True)
    brush.ellipse(pose.x, 0.92 - lift, 0.115, 0.13, ink.skin, shine=0.5)


def bell(brush: Brush, pose: Pose, ink: Ink) -> None:
    """A bell that swings in its frame."""
    brush.bar(-0.5, 0.0, -0.5, 1.0, 0.07, ink.dark)
    brush.bar(0.5, 0.0, 0.5, 1.0, 0.07, ink.dark)
    brush.bar(-0.55, 1.0, 0.55, 1.0, 0.09, ink.dark)
    hang = brush.moved(0.0, 0.95)
    c, s = math.cos(pose.angle), math.sin(pose.angle)

    def turned(x: float, y: float) -> tuple[float, float]:
        return c * x - s * y, s * x + c * y

    hang.ellipse(*turned(0.0, -0.62), 0.08, 0.08, ink.dark)
    hang.ellipse(*turned(0.0, -0.16), 0.13, 0.13, ink.body, shine=0.5)
    skirt = ((-0.13, -0.16), (0.13, -0.16), (0.26, -0.56), (-0.26, -0.56))
    hang.polygon([turned(*corner) for corner in skirt], ink.body, shine=0.5, patterned=True)
    hang.bar(*turned(-0.27, -0.56), *turned(0.27, -0.56), 0.07, ink.accent)


def fire(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Flames over two logs."""
    tall = 0.4 + 0.55 * pose.drive
    brush.glow(0.0, 0.3, 0.5 + 0.5 * pose.drive, ink.body, 0.15 + 0.35 * pose.drive)
    for k, color in enumerate((ink.accent, ink.body, ink.light)):
        size = 1.0 - 0.3 * k
        high = tall * size / 2
        x = pose.x * (1 + 0.5 * k)
        brush.polygon(
            [
                (-0.25 * size, 0.06),
                (0.25 * size, 0.06),
                (0.2 * size + x / 2, 0.06 + high * 0.7),
                (x, 0.06 + 2 * high),
                (-0.2 * size + x / 2, 0.06 + high * 0.7),
            ],
            color,
            shine=0.1,
        )
    brush.bar(-0.4, 0.04, 0.3, 0.12, 0.11, ink.dark)
    brush.bar(0.4, 0.04, -0.3, 0.12, 0.11, ink.dark)
    if pose.since_seconds < 0.3:
        rise = pose.since_seconds / 0.3
        brush.ellipse(0.2, 0.4 + 0.5 * rise, 0.04, 0.04, ink.light)
        brush.ellipse(-0.16, 0.5 + 0.4 * rise, 0.03, 0.03, ink.light)


def tank(brush: Brush, pose: Pose, ink: Ink) -> None:
    """A tank of water in which bubbles rise and burst."""
    brush.box(0.0, 0.45, 0.74, 0.9, ink.dark, alpha=0.9)
    brush.box(0.0, 0.4, 0.66, 0.72, ink.body, alpha=0.85)
    for wait in pose.ahead_seconds:
        if wait < 0.9:  # `angle` is the clock: a bubble keeps its column as it rises
            x = 0.22 * math.sin(37.0 * round(wait + pose.angle, 1))
            brush.ellipse(x, 0.72 - 0.66 * wait / 0.9, 0.085, 0.085, ink.light, shine=0.9)
    if pose.since_seconds < 0.18:
        brush.ellipse(0.0, 0.77, 0.2, 0.07, ink.light, alpha=1 - pose.since_seconds / 0.18)


def spring(brush: Brush, pose: Pose, ink: Ink) -> None:
    """A weight that bobs on a coil."""
    brush.box(0.0, 1.02, 0.6, 0.08, ink.dark)
    low = 0.42 - 0.25 * pose.y
    coils, top = 7, 0.98
    for k in range(coils):
        side = 0.11 if k % 2 else -0.11
        y0 = top - (top - low) * k / coils
        y1 = top - (top - low) * (k + 1) / coils
        brush.bar(side, y0, -side, y1, 0.04, ink.light)
    brush.box(0.0, low - 0.14, 0.4, 0.3, ink.body, shine=0.4, patterned=True)
