"""How events look: each function paints one pose.

The shapes and their motion are the same in every title; only the colors depend on the title. In
stage units, the floor is `y = 0`, and the stage is 1 high and reaches 0.6 to either side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from experiments.rendered_tv.brush import Brush, Color
from experiments.rendered_tv.events.track import Pose


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ink:
    """Colors of an event, which depend on the title. Each is float32 `[3]` RGB, 0..255."""

    body: Color
    accent: Color
    dark: Color
    light: Color
    skin: Color


def ball(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Paint a ball with its shadow; the ball is flattened at the impact."""
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
    """Paint a hammer over an anvil, with sparks at the impact."""
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
    """Paint a tap, a falling drop and a basin with rings."""
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
    """Paint a drum and two sticks."""
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
    """Paint a fist that knocks at a door."""
    brush.box(0.28, 0.5, 0.46, 1.0, ink.dark)
    brush.box(0.29, 0.5, 0.38, 0.92, ink.body, patterned=True)
    x = 0.02 - 0.42 * pose.opening
    brush.bar(-0.75, 0.42, x, 0.56, 0.14, ink.accent)
    brush.ellipse(x, 0.57, 0.13, 0.12, ink.skin, shine=0.5)


def boot(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Paint a boot that stamps."""
    y = 0.38 * pose.opening
    brush.shadow(0.05, 0.0, 0.3 - 0.2 * y)
    brush.bar(-0.1, 1.1, -0.1, y + 0.2, 0.22, ink.accent)
    brush.box(-0.08, y + 0.2, 0.26, 0.3, ink.body, patterned=True)
    brush.ellipse(0.1, y + 0.1, 0.26, 0.11, ink.body, shine=0.5)
    brush.box(0.03, y + 0.02, 0.46, 0.05, ink.dark)


def walker(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Paint a figure on swinging legs."""
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
    """Paint a bell that swings in its frame."""
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
    """Paint flames over two logs."""
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
    """Paint a tank of water in which bubbles rise and burst."""
    brush.box(0.0, 0.45, 0.74, 0.9, ink.dark, alpha=0.9)
    brush.box(0.0, 0.4, 0.66, 0.72, ink.body, alpha=0.85)
    for wait in pose.ahead_seconds:
        if wait < 0.9:  # `angle` is the time: a bubble keeps its column as it rises
            x = 0.22 * math.sin(37.0 * round(wait + pose.angle, 1))
            brush.ellipse(x, 0.72 - 0.66 * wait / 0.9, 0.085, 0.085, ink.light, shine=0.9)
    if pose.since_seconds < 0.18:
        brush.ellipse(0.0, 0.77, 0.2, 0.07, ink.light, alpha=1 - pose.since_seconds / 0.18)


def spring(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Paint a weight that bobs on a coil."""
    brush.box(0.0, 1.02, 0.6, 0.08, ink.dark)
    low = 0.42 - 0.25 * pose.y
    coils, top = 7, 0.98
    for k in range(coils):
        side = 0.11 if k % 2 else -0.11
        y0 = top - (top - low) * k / coils
        y1 = top - (top - low) * (k + 1) / coils
        brush.bar(side, y0, -side, y1, 0.04, ink.light)
    brush.box(0.0, low - 0.14, 0.4, 0.3, ink.body, shine=0.4, patterned=True)


def pendulum(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Paint a bob on a rod."""
    brush.box(0.0, 1.0, 0.4, 0.07, ink.dark)
    x, y = 0.72 * math.sin(pose.angle), 1.0 - 0.72 * math.cos(pose.angle)
    brush.shadow(x, 0.0, 0.16)
    brush.bar(0.0, 0.98, x, y, 0.05, ink.accent)
    brush.ellipse(x, y, 0.17, 0.17, ink.body, shine=0.6, patterned=True)


def windmill(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Paint four long sails on a tower."""
    brush.polygon([(-0.18, 0.0), (0.18, 0.0), (0.1, 0.6), (-0.1, 0.6)], ink.body, patterned=True)
    for k in range(4):
        turn = pose.angle + k * math.pi / 2
        c, s = math.cos(turn), math.sin(turn)
        brush.bar(0.0, 0.58, 0.45 * c, 0.58 + 0.45 * s, 0.11, ink.accent)
    brush.ellipse(0.0, 0.58, 0.07, 0.07, ink.dark)


def fan(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Paint three broad blades in a ring on a stand."""
    brush.bar(0.0, 0.0, 0.0, 0.3, 0.09, ink.dark)
    brush.box(0.0, 0.03, 0.4, 0.06, ink.dark)
    brush.ellipse(0.0, 0.58, 0.43, 0.43, ink.dark, shine=0.1)
    brush.ellipse(0.0, 0.58, 0.39, 0.39, ink.light, shine=0.2)
    for k in range(3):
        turn = pose.angle + k * 2 * math.pi / 3
        c, s = math.cos(turn), math.sin(turn)
        brush.bar(0.1 * c, 0.58 + 0.1 * s, 0.27 * c, 0.58 + 0.27 * s, 0.2, ink.body)
    brush.ellipse(0.0, 0.58, 0.08, 0.08, ink.accent)


def wheel(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Paint a spoked wheel that rolls."""
    brush.shadow(pose.x, 0.0, 0.3)
    brush.ellipse(pose.x, 0.31, 0.31, 0.31, ink.dark)
    brush.ellipse(pose.x, 0.31, 0.25, 0.25, ink.body, patterned=False)
    for k in range(3):
        turn = pose.angle + k * math.pi / 3
        c, s = 0.25 * math.cos(turn), 0.25 * math.sin(turn)
        color = ink.light if k == 0 else ink.accent
        brush.bar(pose.x - c, 0.31 - s, pose.x + c, 0.31 + s, 0.05, color)
    brush.ellipse(pose.x, 0.31, 0.07, 0.07, ink.dark)


def car(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Paint a car from the front; it is larger when it is nearer."""
    near = brush.moved(0.0, 0.42 * (1 - pose.size), pose.size)
    near.shadow(0.0, 0.0, 0.55, 0.6)
    for side in (-1, 1):
        near.box(side * 0.36, 0.08, 0.18, 0.2, ink.dark)
    near.polygon([(-0.36, 0.5), (0.36, 0.5), (0.27, 0.86), (-0.27, 0.86)], ink.accent)
    near.polygon([(-0.28, 0.54), (0.28, 0.54), (0.22, 0.8), (-0.22, 0.8)], ink.dark, shine=0.8)
    near.box(0.0, 0.32, 1.0, 0.4, ink.body, shine=0.4, patterned=True)
    for side in (-1, 1):
        near.ellipse(side * 0.34, 0.34, 0.1, 0.1, ink.light)
        near.glow(side * 0.34, 0.34, 0.24, ink.light, 0.7)


def beacon(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Paint a lamp that turns and throws a beam around."""
    side, front = math.sin(pose.angle), math.cos(pose.angle)
    reach, wide = 0.75 * side, 0.12 + 0.16 * abs(side)
    brush.polygon(
        [(0.0, 0.6), (0.0, 0.44), (reach, 0.52 - wide), (reach, 0.52 + wide)],
        ink.light,
        alpha=0.7,
        shine=0.0,
    )
    brush.polygon([(-0.3, 0.0), (0.3, 0.0), (0.22, 0.3), (-0.22, 0.3)], ink.dark)
    brush.ellipse(0.0, 0.5, 0.19, 0.24, ink.body, shine=0.5)
    brush.glow(
        0.1 * side, 0.52, 0.3 + 0.3 * max(front, 0.0), ink.light, 0.2 + 0.6 * max(front, 0.0)
    )


def jar(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Paint a jar of beads that shakes."""
    shake = brush.moved(1.6 * pose.x, pose.y)
    brush.shadow(0.0, 0.0, 0.3)
    shake.box(0.0, 0.36, 0.46, 0.66, ink.body, alpha=0.9, shine=0.6, patterned=True)
    shake.box(0.0, 0.73, 0.36, 0.1, ink.dark)
    for k in range(4):
        shake.ellipse(
            -0.14 + 0.09 * k - 1.2 * pose.x, 0.16 + 0.07 * (k % 2) + pose.y, 0.06, 0.06, ink.light
        )


def face(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Paint a face whose mouth opens and closes."""
    head = brush.moved(pose.x, 0.0)
    head.ellipse(0.0, -0.1, 0.42, 0.28, ink.body, patterned=True)
    head.ellipse(0.0, 0.62, 0.36, 0.42, ink.dark, shine=0.2)
    head.ellipse(0.0, 0.5 - 0.02 * pose.opening, 0.31, 0.4, ink.skin, shine=0.3)
    for side in (-1, 1):
        head.ellipse(side * 0.12, 0.6, 0.06, 0.045, ink.light)
        head.ellipse(side * 0.12, 0.6, 0.028, 0.035, ink.dark)
    head.ellipse(0.0, 0.3, 0.15, 0.025 + 0.13 * pose.opening, ink.dark, shine=0.0)


def lift(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Paint a cabin on a rail."""
    for side in (-1, 1):
        brush.bar(side * 0.2, 0.0, side * 0.2, 1.05, 0.05, ink.dark)
    y = 0.17 + 0.68 * pose.y
    brush.bar(0.0, y, 0.0, 1.05, 0.025, ink.light)
    brush.box(0.0, y, 0.52, 0.32, ink.body, shine=0.3, patterned=True)
    brush.box(0.0, y + 0.03, 0.26, 0.15, ink.light)


def surf(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Paint water that swells up between the posts of a pier."""
    for side in (-0.5, 0.0, 0.5):
        brush.bar(side, 0.0, side, 0.92, 0.09, ink.dark)
    brush.box(0.0, 0.93, 1.2, 0.07, ink.dark)
    level = 0.08 + 0.58 * pose.drive
    for k, (color, shift) in enumerate(((ink.light, 0.0), (ink.body, -0.05))):
        high = max(level + shift, 0.02)
        for crest in (-0.39, -0.13, 0.13, 0.39):
            brush.ellipse(crest + pose.x / (2 + k), high, 0.2, 0.08, color, shine=0.2)
        brush.box(pose.x / 4, high / 2, 1.1, high, color, shine=0.4)


def insect(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Paint a fly."""
    fly = brush.moved(pose.x, pose.y, pose.size)
    for side in (-1, 1):
        fly.ellipse(side * 0.15, 0.12, 0.14, 0.07, ink.light, alpha=0.7)
    fly.ellipse(0.0, 0.0, 0.12, 0.16, ink.body, shine=0.5, patterned=True)
    fly.ellipse(0.0, 0.17, 0.085, 0.08, ink.dark)


def saw(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Paint a saw on a log."""
    brush.shadow(0.0, 0.0, 0.4)
    brush.bar(-0.4, 0.17, 0.4, 0.17, 0.3, ink.body)
    brush.ellipse(0.42, 0.17, 0.08, 0.15, ink.light)
    x, y = 0.28 * pose.x, 0.42
    brush.polygon(
        [(x - 0.45, y + 0.1), (x + 0.4, y + 0.16), (x + 0.4, y - 0.06), (x - 0.45, y)], ink.accent
    )
    brush.box(x + 0.46, y + 0.08, 0.16, 0.26, ink.dark)


def broom(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Paint a broom that sweeps the floor."""
    x = 0.42 * pose.x
    brush.bar(0.12 * pose.x, 1.1, x, 0.22, 0.055, ink.accent)
    brush.polygon([(x - 0.08, 0.28), (x + 0.08, 0.28), (x + 0.2, 0.0), (x - 0.2, 0.0)], ink.body)
    brush.ellipse(x + 0.3 * (1 if pose.x > 0 else -1), 0.03, 0.09, 0.05, ink.light, alpha=0.5)


def balloon(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Paint a balloon that is blown up and let down."""
    radius = 0.13 + 0.25 * pose.size
    brush.box(0.0, 0.06, 0.3, 0.12, ink.dark)
    brush.ellipse(0.0, 0.12 + radius * 1.1, radius, radius * 1.1, ink.body, shine=0.7)
    brush.ellipse(-0.3 * radius, 0.12 + 1.5 * radius, 0.2 * radius, 0.25 * radius, ink.light)


def door(brush: Brush, pose: Pose, ink: Ink) -> None:
    """Paint a door that opens on a dark room."""
    brush.box(0.0, 0.5, 0.64, 1.04, ink.accent)
    brush.box(0.0, 0.49, 0.52, 0.96, ink.dark * 0.4, shine=0.0)
    wide = 0.52 * math.cos(1.35 * pose.opening)
    lean = 0.1 * math.sin(1.35 * pose.opening)
    free = -0.26 + wide
    brush.polygon(
        [(-0.26, 0.01), (free, 0.01 - lean), (free, 0.97 + lean), (-0.26, 0.97)],
        ink.body,
        patterned=True,
    )
    brush.ellipse(free - 0.15 * wide, 0.48, 0.035, 0.035, ink.light)
