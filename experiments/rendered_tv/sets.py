"""Film sets: painted backdrops that are wider than the frame, so that a camera can move.

One set unit is the height of a frame that is taken from the standard distance. `y` points up, and
the characters stand at about `y = 0.16`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from experiments.rendered_tv.brush import Brush
from experiments.rendered_tv.look import ACCENT, CLOTH, GROUND, THING, WALL, Look, hsv, own_color

#: Vertical extent of a backdrop in set units, and its width in frame widths.
SET_BOTTOM, SET_TOP, SET_WIDTH = -0.2, 1.2, 1.7
#: Resolution of the backdrop relative to the frame, because cameras come close.
OVERSAMPLING = 1.2

Painter = Callable[[Brush, Generator, Look, float], None]


def paint_backdrop(rng: Generator, look: Look, aspect: float, height: int) -> NDArray[Any]:
    """Paint the backdrop of one set.

    Args:
        rng: The set's random stream. The same stream gives the same set.
        look: The title's look.
        aspect: Aspect ratio of the frame.
        height: Height of the frame in pixels.

    Returns:
        float32 `[rows, columns, 3]` RGB with `height * OVERSAMPLING` pixels per set unit.
    """
    unit = height * OVERSAMPLING
    width = aspect * SET_WIDTH
    rows, columns = round((SET_TOP - SET_BOTTOM) * unit), round(width * unit)
    brush = Brush(np.zeros((rows, columns, 3), np.float32), 0.0, SET_TOP * unit, unit, look.pattern)
    painter = _PAINTERS[int(rng.integers(0, len(_PAINTERS)))]
    painter(brush, rng, look, width)
    canvas = brush.canvas
    mottle = _smooth_noise(rng, rows, columns, 9) + 0.6 * _smooth_noise(rng, rows, columns, 40)
    canvas *= (0.97 + 0.09 * mottle)[..., None]
    # Light comes from one side, and its strength differs from set to set.
    side = np.linspace(-1, 1, columns, dtype=np.float32) * rng.choice((-0.16, 0.16))
    canvas *= (rng.uniform(0.85, 1.2) * (1 + side))[:, None].astype(np.float32)
    np.clip(canvas, 0, 255, out=canvas)
    if look.softness:
        canvas = (1 - look.softness / 2) * canvas + look.softness / 4 * (
            np.roll(canvas, 1, axis=0) + np.roll(canvas, 1, axis=1)
        )
    return canvas.astype(np.float32)


def _paint_room(brush: Brush, rng: Generator, look: Look, width: float) -> None:
    wall = look.paint(own_color(rng, (0.1, 0.5), (0.45, 0.85)), WALL)
    floor = look.paint(own_color(rng, (0.2, 0.6), (0.3, 0.55)), GROUND)
    x, y = _grid(brush)
    line = rng.uniform(0.3, 0.38)
    stripe = 0.05 * np.sign(np.sin(x * rng.uniform(14, 40) + rng.choice((0, 1)) * 8 * y))
    shade = 0.82 + 0.25 * y + stripe
    depth = np.maximum(line - y, 0) + 0.12
    planks = np.sin((x - width / 2) / depth * rng.uniform(3, 6))
    boards = 0.7 + 0.7 * (line - y) - 0.12 * (np.abs(planks) < 0.18)
    on_wall = y > line
    brush.canvas[:] = np.where(
        on_wall[..., None], shade[..., None] * wall, boards[..., None] * floor
    )
    trim = wall * 0.55
    brush.box(width / 2, line + 0.015, width, 0.035, trim)
    sky = look.grade(hsv(float(rng.uniform(0.5, 0.65)), 0.25, float(rng.uniform(0.5, 1.0))))
    for place in np.arange(rng.uniform(0.3, 0.7), width, rng.uniform(0.8, 1.3)):
        kind = rng.integers(0, 3)
        if kind == 0:
            _paint_window(brush, float(place), 0.78, trim, sky)
        elif kind == 1:
            hang = rng.uniform(0.7, 0.85)
            size = rng.uniform(0.16, 0.28)
            brush.box(place, hang, size * 1.25, size, trim * 0.8)
            picture = look.paint(own_color(rng, (0.4, 0.9), (0.4, 0.9)), ACCENT)
            brush.box(place, hang, size, size * 0.76, picture)
            brush.ellipse(place, hang - 0.03, size * 0.3, size * 0.2, picture * 0.6)
        else:
            _paint_lamp(brush, float(place), line, trim, look)
    _paint_furniture(brush, rng, look, width, line)


def _paint_window(brush: Brush, x: float, y: float, trim: NDArray[Any], sky: NDArray[Any]) -> None:
    brush.box(x, y, 0.46, 0.5, trim)
    brush.box(x, y, 0.4, 0.44, sky)
    brush.ellipse(x - 0.1, y - 0.17, 0.13, 0.1, sky * 0.55)
    brush.box(x, y, 0.03, 0.46, trim)
    brush.box(x, y, 0.42, 0.03, trim)
    # The light of the window on the floor.
    brush.polygon(
        [(x - 0.3, 0.22), (x + 0.12, 0.22), (x + 0.3, 0.02), (x - 0.22, 0.02)], sky, alpha=0.22
    )


def _paint_lamp(brush: Brush, x: float, line: float, trim: NDArray[Any], look: Look) -> None:
    glow = look.grade(hsv(0.12, 0.4, 1.0))
    brush.bar(x, line - 0.05, x, 0.72, 0.025, trim * 0.6)
    brush.polygon([(x - 0.13, 0.68), (x + 0.13, 0.68), (x + 0.07, 0.84), (x - 0.07, 0.84)], glow)
    brush.glow(x, 0.74, 0.45, glow, 0.35)


def _paint_furniture(brush: Brush, rng: Generator, look: Look, width: float, line: float) -> None:
    for place in np.arange(rng.uniform(0.1, 0.6), width, rng.uniform(0.9, 1.5)):
        color = look.paint(own_color(rng, (0.3, 0.8), (0.3, 0.7)), CLOTH)
        base = line - 0.06
        brush.shadow(place, base - 0.06, 0.34)
        if rng.uniform() < 0.5:  # a sofa
            brush.box(place, base + 0.16, 0.62, 0.24, color * 0.8)
            brush.box(place, base + 0.04, 0.66, 0.16, color)
            for side in (-1, 1):
                brush.ellipse(place + side * 0.33, base + 0.08, 0.08, 0.13, color * 0.9)
        else:  # a table with something on it
            brush.box(place, base + 0.18, 0.56, 0.05, color)
            for side in (-1, 1):
                brush.bar(
                    place + side * 0.24,
                    base + 0.16,
                    place + side * 0.24,
                    base - 0.05,
                    0.04,
                    color * 0.7,
                )
            brush.ellipse(place, base + 0.27, 0.06, 0.08, color * 1.3)


def _paint_street(brush: Brush, rng: Generator, look: Look, width: float) -> None:
    dusk = rng.uniform(0.25, 0.95)
    sky = look.paint(hsv(float(rng.uniform(0.52, 0.68)), 0.45, float(dusk)), WALL)
    road = look.paint(own_color(rng, (0.0, 0.2), (0.25, 0.45)), GROUND)
    _, y = _grid(brush)
    brush.canvas[:] = (1.15 - 0.4 * y)[..., None] * sky
    for layer, top in ((0, 1.05), (1, 0.85)):
        place = -0.2
        while place < width + 0.2:
            wide, high = rng.uniform(0.28, 0.6), top * rng.uniform(0.6, 1.0)
            front = look.paint(own_color(rng, (0.1, 0.5), (0.3, 0.7)), THING if layer else WALL)
            front = front * (0.45 + 0.35 * layer)
            brush.box(place + wide / 2, high / 2 + 0.15, wide * 0.98, high, front)
            _paint_lights(brush, rng, place, wide, high, front, dusk)
            place += wide
    ground = y < 0.3
    lanes = 0.75 + 0.8 * (0.3 - y)
    brush.canvas[ground] = (lanes[..., None] * road)[ground]
    brush.box(width / 2, 0.29, width, 0.04, road * 1.5)
    for place in np.arange(0.2, width, 0.7):
        brush.polygon(
            [(place, 0.06), (place + 0.3, 0.06), (place + 0.27, 0.09), (place + 0.02, 0.09)],
            road * 1.9,
        )
    for place in np.arange(rng.uniform(0.2, 0.6), width, rng.uniform(1.1, 1.6)):
        brush.bar(place, 0.28, place, 0.9, 0.03, road * 0.4)
        brush.ellipse(place, 0.92, 0.05, 0.05, hsv(0.13, 0.3, 1.0))
        brush.glow(place, 0.92, 0.3, hsv(0.13, 0.5, 1.0), 0.5 * (1 - dusk))


def _paint_lights(
    brush: Brush,
    rng: Generator,
    left: float,
    wide: float,
    high: float,
    front: NDArray[Any],
    dusk: float,
) -> None:
    lit, dark = hsv(0.13, 0.45, 1.0), front * 0.5
    for u in np.arange(0.08, wide - 0.05, 0.12):
        for v in np.arange(0.35, high + 0.08, 0.15):
            color = lit if rng.uniform() < 0.5 * (1 - dusk) else dark
            brush.box(left + u, v, 0.06, 0.08, color, shine=0.0)


def _paint_hills(brush: Brush, rng: Generator, look: Look, width: float) -> None:
    sky = look.paint(hsv(float(rng.uniform(0.5, 0.62)), 0.4, float(rng.uniform(0.6, 1.0))), WALL)
    earth = look.paint(hsv(float(rng.uniform(0.08, 0.4)), 0.5, 0.5), GROUND)
    x, y = _grid(brush)
    brush.canvas[:] = (1.3 - 0.45 * y)[..., None] * sky
    sun = rng.uniform(0.3, width - 0.3)
    brush.glow(sun, rng.uniform(0.75, 1.0), 0.5, hsv(0.12, 0.3, 1.0), 0.6)
    for _ in range(4):
        brush.ellipse(
            rng.uniform(0, width), rng.uniform(0.85, 1.1), 0.3, 0.05, sky * 1.4, alpha=0.5
        )
    for layer in range(4):
        level = 0.68 - 0.14 * layer
        ridge = level + 0.09 * np.sin(x * rng.uniform(1, 3) + rng.uniform(0, 6))
        ridge += 0.03 * np.sin(x * rng.uniform(4, 9) + rng.uniform(0, 6))
        far = 0.75 - 0.25 * layer
        color = (1 - far) * earth + far * sky
        shade = np.clip(1.05 - 0.9 * (ridge - y), 0.5, 1.1)
        brush.canvas[:] = np.where((y < ridge)[..., None], shade[..., None] * color, brush.canvas)
        if layer in (1, 2):
            for place in rng.uniform(0, width, 7):
                _paint_tree(brush, float(place), level - 0.03, 0.1 + 0.1 * layer, color * 0.7, look)


def _paint_tree(
    brush: Brush, x: float, y: float, size: float, color: NDArray[Any], look: Look
) -> None:
    brush.bar(x, y - size * 0.4, x, y + size * 0.4, size * 0.12, color * 0.5)
    if look.pattern.frequency > 2.5:  # a title has either firs or round trees
        brush.polygon([(x - size * 0.4, y), (x + size * 0.4, y), (x, y + size * 1.4)], color)
    else:
        brush.ellipse(x, y + size * 0.7, size * 0.45, size * 0.55, color)


def _paint_hall(brush: Brush, rng: Generator, look: Look, width: float) -> None:
    wall = look.paint(own_color(rng, (0.1, 0.5), (0.4, 0.8)), WALL)
    floor = look.paint(own_color(rng, (0.1, 0.5), (0.3, 0.6)), GROUND)
    x, y = _grid(brush)
    cx, cy = width / 2 + rng.uniform(-0.4, 0.4), 0.58
    across, up = np.abs(x - cx) / 1.1, np.abs(y - cy) / 0.62
    ray = np.maximum(np.maximum(across, up), 0.1)
    tiles = np.sin(np.log(ray) * rng.uniform(12, 20))
    shade = 0.25 + 0.75 * np.minimum(ray, 1.2) - 0.1 * (tiles > 0.75)
    sides = across > up
    paint = np.where(sides[..., None], wall, np.where((y < cy)[..., None], floor, wall * 1.25))
    spokes = np.sin(np.arctan2(y - cy, x - cx) * 24)
    shade -= 0.07 * (np.abs(spokes) < 0.2) * ~sides
    brush.canvas[:] = shade[..., None] * paint
    brush.box(cx, cy - 0.03, 0.2, 0.14, wall * 0.35)
    light = look.grade(hsv(0.14, 0.15, 1.0))
    for k in range(4):
        far = 0.16 * 1.75**k
        brush.box(cx, cy + 0.6 * far, 0.34 * far, 0.07 * far, light)
        brush.glow(cx, cy + 0.6 * far, 0.5 * far, light, 0.3)
    for k in range(3):
        far = 0.28 * 1.7**k
        for side in (-1, 1):
            brush.polygon(
                [
                    (cx + side * 1.1 * far, cy - 0.62 * far),
                    (cx + side * 1.1 * far * 1.25, cy - 0.62 * far * 1.25),
                    (cx + side * 1.1 * far * 1.25, cy + 0.25 * far * 1.25),
                    (cx + side * 1.1 * far, cy + 0.25 * far),
                ],
                look.paint(own_color(rng, (0.3, 0.7), (0.3, 0.7)), CLOTH),
            )


def _paint_sea(brush: Brush, rng: Generator, look: Look, width: float) -> None:
    sky = look.paint(hsv(float(rng.choice((0.55, 0.07))), 0.35, float(rng.uniform(0.6, 1))), WALL)
    water = look.paint(hsv(0.55, 0.5, float(rng.uniform(0.4, 0.7))), THING)
    sand = look.paint(hsv(0.1, 0.35, 0.75), GROUND)
    x, y = _grid(brush)
    horizon = rng.uniform(0.5, 0.62)
    brush.canvas[:] = (1.35 - 0.5 * y)[..., None] * sky
    rows, columns = x.shape
    clouds = np.clip(_smooth_noise(rng, rows, columns, 14) - 0.2, 0, 1)
    brush.canvas[:] += (70 * clouds * (y > horizon))[..., None]
    brush.glow(rng.uniform(0.5, width - 0.5), horizon + 0.1, 0.4, hsv(0.1, 0.4, 1.0), 0.6)
    depth = np.maximum(horizon - y, 0.004)
    waves = 0.12 * np.sin(9 * np.log(depth) + 3 * np.sin(x * 5 + 6 * depth))
    brush.canvas[:] = np.where(
        (y < horizon)[..., None], (0.95 + waves - 0.5 * depth)[..., None] * water, brush.canvas
    )
    shore = 0.27 + 0.03 * np.sin(x * 2.1 + rng.uniform(0, 6))
    brush.canvas[:] = np.where((y < shore)[..., None], sand * 0.95, brush.canvas)
    foam = np.abs(y - shore) < 0.012
    brush.canvas[foam] = 225.0
    boat = rng.uniform(0.3, width - 0.3)
    cloth = look.paint(own_color(rng, (0.3, 0.8), (0.6, 1.0)), CLOTH)
    brush.polygon([(boat, horizon), (boat + 0.16, horizon), (boat, horizon + 0.26)], cloth)
    brush.box(boat + 0.04, horizon - 0.01, 0.22, 0.04, cloth * 0.4)
    brush.ellipse(rng.uniform(0, width), 0.2, 0.25, 0.11, sand * 0.55)


def _paint_theater(brush: Brush, rng: Generator, look: Look, width: float) -> None:
    cloth = look.paint(own_color(rng, (0.4, 0.9), (0.35, 0.75)), CLOTH)
    floor = look.paint(own_color(rng, (0.2, 0.6), (0.3, 0.6)), GROUND)
    x, y = _grid(brush)
    folds = 0.7 + 0.3 * np.sin(x * rng.uniform(16, 30) + 0.6 * np.sin(4 * y + x))
    brush.canvas[:] = (folds * (1.05 - 0.35 * y))[..., None] * cloth
    line = 0.34
    boards = 0.8 + 0.8 * (line - y) - 0.12 * (np.sin(y * 130) > 0.8)
    ground = y < line
    brush.canvas[ground] = (boards[..., None] * floor)[ground]
    valance = y > 0.98 + 0.05 * np.abs(np.sin(x * 4))
    brush.canvas[valance] = cloth * 0.55
    light = look.grade(hsv(0.12, 0.25, 1.0))
    for place in np.arange(rng.uniform(0.3, 0.8), width, rng.uniform(0.9, 1.3)):
        brush.polygon(
            [(place - 0.04, 1.2), (place + 0.04, 1.2), (place + 0.4, 0.15), (place - 0.4, 0.15)],
            light,
            alpha=0.16,
        )
        brush.ellipse(place, 0.16, 0.42, 0.09, light, alpha=0.3)
    for place in np.arange(0.1, width, 0.28):
        brush.ellipse(place, 0.02, 0.04, 0.03, light)


_PAINTERS: tuple[Painter, ...] = (
    _paint_room,
    _paint_street,
    _paint_hills,
    _paint_hall,
    _paint_sea,
    _paint_theater,
)


def _grid(brush: Brush) -> tuple[NDArray[Any], NDArray[Any]]:
    rows, columns = brush.canvas.shape[:2]
    x = (np.arange(columns, dtype=np.float32) + 0.5 - brush.left) / brush.unit
    y = (brush.top - np.arange(rows, dtype=np.float32) - 0.5) / brush.unit
    return np.broadcast_to(x, (rows, columns)), np.broadcast_to(y[:, None], (rows, columns))


def _smooth_noise(rng: Generator, rows: int, columns: int, cells: int) -> NDArray[Any]:
    """Return bilinearly interpolated noise in -1..1 with `cells` cells per backdrop height."""
    step = rows / cells
    knots = rng.uniform(-1, 1, (cells + 2, math.ceil(columns / step) + 2)).astype(np.float32)
    v, u = np.arange(rows) / step, np.arange(columns) / step
    i, j = v.astype(int), u.astype(int)
    a, b = (v - i)[:, None].astype(np.float32), (u - j).astype(np.float32)
    top = knots[i][:, j] * (1 - b) + knots[i][:, j + 1] * b
    low = knots[i + 1][:, j] * (1 - b) + knots[i + 1][:, j + 1] * b
    noise: NDArray[Any] = top * (1 - a) + low * a
    return noise
