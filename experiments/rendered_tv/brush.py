"""Antialiased shapes on a float canvas, each drawn only inside its bounding box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: float32 `[H, W, 3]` RGB, 0..255.
Canvas = NDArray[Any]
#: float32 `[3]` RGB, 0..255.
Color = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """Stripes that a title weaves into its objects: waves a radius, radians, and depth 0..1."""

    frequency: float = 0.0
    angle: float = 0.0
    depth: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Brush:
    """Draws in its own units: x to the right, y up, one unit is `unit` pixels.

    Attributes:
        canvas: What it draws on, in place.
        left: Column of its origin, in pixels.
        top: Row of its origin, in pixels.
        unit: Pixels of one unit of length.
        pattern: Stripes for shapes drawn with `patterned=True`.
    """

    canvas: Canvas
    left: float
    top: float
    unit: float
    pattern: Pattern = Pattern()

    def moved(self, x: float, y: float, scale: float = 1.0) -> Brush:
        """Return a brush whose origin is at `(x, y)` and whose unit is `scale` of this one's."""
        return replace(
            self,
            left=self.left + x * self.unit,
            top=self.top - y * self.unit,
            unit=self.unit * scale,
        )

    def ellipse(
        self,
        x: float,
        y: float,
        radius_x: float,
        radius_y: float,
        color: Color,
        *,
        shine: float = 0.35,
        alpha: float = 1.0,
        patterned: bool = False,
    ) -> None:
        """Fill an upright ellipse, lit from the upper left by `shine`."""
        a, b = max(radius_x * self.unit, 0.3), max(radius_y * self.unit, 0.3)
        cx, cy = self.left + x * self.unit, self.top - y * self.unit
        box = self._box(cx - a, cy - b, cx + a, cy + b)
        if box is None:
            return
        u = (_span(box[2], box[3]) - cx) / a
        v = ((_span(box[0], box[1]) - cy) / b)[:, None]
        cover = np.clip((1.0 - np.sqrt(u * u + v * v)) * min(a, b) + 0.5, 0.0, 1.0)
        self._fill(box, cover, u, v, color, shine, alpha, patterned)

    def bar(self, x0: float, y0: float, x1: float, y1: float, width: float, color: Color) -> None:
        """Draw a line with round ends."""
        half = max(width * self.unit / 2, 0.4)
        ax, ay = self.left + x0 * self.unit, self.top - y0 * self.unit
        bx, by = self.left + x1 * self.unit, self.top - y1 * self.unit
        box = self._box(
            min(ax, bx) - half, min(ay, by) - half, max(ax, bx) + half, max(ay, by) + half
        )
        if box is None:
            return
        dx, dy = bx - ax, by - ay
        u = _span(box[2], box[3]) - ax
        v = (_span(box[0], box[1]) - ay)[:, None]
        along = np.clip((u * dx + v * dy) / max(dx * dx + dy * dy, 1e-6), 0.0, 1.0)
        across = np.hypot(u - along * dx, v - along * dy)
        cover = np.clip(half - across + 0.5, 0.0, 1.0)
        self._blend(box, cover, color * (1.12 - 0.3 * across / half)[..., None])

    def polygon(
        self,
        points: Sequence[tuple[float, float]],
        color: Color,
        *,
        shine: float = 0.2,
        alpha: float = 1.0,
        patterned: bool = False,
    ) -> None:
        """Fill a convex polygon, its corners given in either turn."""
        xs = [self.left + x * self.unit for x, _ in points]
        ys = [self.top - y * self.unit for _, y in points]
        box = self._box(min(xs), min(ys), max(xs), max(ys))
        if box is None:
            return
        count = len(points)
        area = sum(xs[k] * ys[(k + 1) % count] - xs[(k + 1) % count] * ys[k] for k in range(count))
        turn = 1.0 if area >= 0 else -1.0
        columns, rows = _span(box[2], box[3]), _span(box[0], box[1])[:, None]
        outside = np.full((box[1] - box[0], box[3] - box[2]), -1e3, np.float32)
        for k in range(count):
            dx, dy = xs[(k + 1) % count] - xs[k], ys[(k + 1) % count] - ys[k]
            norm = turn / max(math.hypot(dx, dy), 1e-6)
            np.maximum(
                outside,
                (columns - xs[k]) * (dy * norm) - (rows - ys[k]) * (dx * norm),
                out=outside,
            )
        u = (columns - (min(xs) + max(xs)) / 2) * (2 / max(max(xs) - min(xs), 1.0))
        v = (rows - (min(ys) + max(ys)) / 2) * (2 / max(max(ys) - min(ys), 1.0))
        cover = np.clip(0.5 - outside, 0.0, 1.0)
        self._fill(box, cover, u, v, color, shine, alpha, patterned)

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        color: Color,
        *,
        angle: float = 0.0,
        shine: float = 0.2,
        alpha: float = 1.0,
        patterned: bool = False,
    ) -> None:
        """Fill a rectangle centered on `(x, y)`, turned by `angle` radians to the left."""
        c, s = math.cos(angle), math.sin(angle)
        corners = [
            (x + c * p * width / 2 - s * q * height / 2, y + s * p * width / 2 + c * q * height / 2)
            for p, q in ((-1, -1), (1, -1), (1, 1), (-1, 1))
        ]
        self.polygon(corners, color, shine=shine, alpha=alpha, patterned=patterned)

    def glow(self, x: float, y: float, radius: float, color: Color, strength: float) -> None:
        """Add light that fades with the distance from `(x, y)`."""
        r = max(radius * self.unit, 1.0)
        cx, cy = self.left + x * self.unit, self.top - y * self.unit
        box = self._box(cx - r, cy - r, cx + r, cy + r)
        if box is None or strength <= 0.0:
            return
        u = (_span(box[2], box[3]) - cx) / r
        v = ((_span(box[0], box[1]) - cy) / r)[:, None]
        light = np.maximum(1.0 - (u * u + v * v), 0.0) ** 2 * strength
        self.canvas[box[0] : box[1], box[2] : box[3]] += light[..., None] * color

    def shadow(self, x: float, y: float, radius: float, strength: float = 0.45) -> None:
        """Darken a flat ellipse on the ground."""
        black = np.zeros(3, np.float32)
        self.ellipse(x, y, radius, radius * 0.22, black, shine=0.0, alpha=strength)

    def _box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[int, int, int, int] | None:
        height, width = self.canvas.shape[:2]
        top, bottom = max(int(y0) - 1, 0), min(int(y1) + 2, height)
        left, right = max(int(x0) - 1, 0), min(int(x1) + 2, width)
        return (top, bottom, left, right) if top < bottom and left < right else None

    def _fill(
        self,
        box: tuple[int, int, int, int],
        cover: NDArray[Any],
        u: NDArray[Any],
        v: NDArray[Any],
        color: Color,
        shine: float,
        alpha: float,
        patterned: bool,
    ) -> None:
        shade = 1.0 - (0.5 * shine) * (u + v)
        if patterned and self.pattern.depth > 0.0:
            c, s = math.cos(self.pattern.angle), math.sin(self.pattern.angle)
            wave = np.sin((math.pi * self.pattern.frequency) * (c * u + s * v))
            shade = shade * (1.0 - self.pattern.depth * (wave > 0))
        self._blend(box, cover if alpha == 1.0 else cover * alpha, color * shade[..., None])

    def _blend(
        self, box: tuple[int, int, int, int], cover: NDArray[Any], paint: NDArray[Any]
    ) -> None:
        region = self.canvas[box[0] : box[1], box[2] : box[3]]
        region += cover[..., None] * (paint - region)


def _span(start: int, stop: int) -> NDArray[Any]:
    return np.arange(start + 0.5, stop, dtype=np.float32)
