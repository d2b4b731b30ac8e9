"""Drawing antialiased shapes and bitmap text on a float canvas."""

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

# Each letter is five rows of three pixels. Each row is an octal digit, from top to bottom.
_LETTERS = {
    "A": "25755", "B": "65656", "C": "34443", "D": "65556", "E": "74647", "F": "74644",
    "G": "34553", "H": "55755", "I": "72227", "J": "11152", "K": "55655", "L": "44447",
    "M": "57755", "N": "65555", "O": "25552", "P": "65644", "Q": "25563", "R": "65655",
    "S": "34216", "T": "72222", "U": "55557", "V": "55552", "W": "55775", "X": "55255",
    "Y": "55222", "Z": "71247", " ": "00000",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """Stripes on objects.

    Attributes:
        frequency: Waves per radius of the object.
        angle: Direction in radians.
        depth: Strength, 0..1.
    """

    frequency: float = 0.0
    angle: float = 0.0
    depth: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Brush:
    """A brush with its own coordinate system: x points right, y up, one unit is `unit` pixels.

    Attributes:
        canvas: The canvas, which is changed in place.
        left: Column of the origin, in pixels.
        top: Row of the origin, in pixels.
        unit: Number of pixels per unit of length.
        pattern: Stripes for shapes drawn with `patterned=True`.
    """

    canvas: Canvas
    left: float
    top: float
    unit: float
    pattern: Pattern = Pattern()

    def moved(self, x: float, y: float, scale: float = 1.0) -> Brush:
        """Return a brush with the origin at `(x, y)` and the unit multiplied by `scale`."""
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
        """Fill an upright ellipse that is lit from the upper left with strength `shine`."""
        a, b = max(radius_x * self.unit, 0.3), max(radius_y * self.unit, 0.3)
        cx, cy = self.left + x * self.unit, self.top - y * self.unit
        box = self._bounding_box(cx - a, cy - b, cx + a, cy + b)
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
        box = self._bounding_box(
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
        """Fill a convex polygon with corners in either direction of rotation."""
        xs = [self.left + x * self.unit for x, _ in points]
        ys = [self.top - y * self.unit for _, y in points]
        box = self._bounding_box(min(xs), min(ys), max(xs), max(ys))
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
        """Fill a rectangle centered on `(x, y)`, rotated counterclockwise by `angle` radians."""
        c, s = math.cos(angle), math.sin(angle)
        corners = [
            (x + c * p * width / 2 - s * q * height / 2, y + s * p * width / 2 + c * q * height / 2)
            for p, q in ((-1, -1), (1, -1), (1, 1), (-1, 1))
        ]
        self.polygon(corners, color, shine=shine, alpha=alpha, patterned=patterned)

    def glow(self, x: float, y: float, radius: float, color: Color, strength: float) -> None:
        """Add light that decreases with the distance from `(x, y)`."""
        r = max(radius * self.unit, 1.0)
        cx, cy = self.left + x * self.unit, self.top - y * self.unit
        box = self._bounding_box(cx - r, cy - r, cx + r, cy + r)
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

    def _bounding_box(
        self, x0: float, y0: float, x1: float, y1: float
    ) -> tuple[int, int, int, int] | None:
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


def text_mask(lines: tuple[str, ...], scale: int) -> NDArray[Any]:
    """Return centered lines of capital letters as a mask, float32 `[rows, columns]` of 0 and 1.

    Args:
        lines: Text of A to Z and spaces.
        scale: Pixels per pixel of the bitmap font.
    """
    width = max(len(line) for line in lines) * 4 + 1
    rows = np.zeros((len(lines) * 7, width), np.float32)
    for number, line in enumerate(lines):
        left = (width - 4 * len(line)) // 2
        for k, letter in enumerate(line):
            for row, digit in enumerate(_LETTERS[letter]):
                bits = [int(digit) >> 2 & 1, int(digit) >> 1 & 1, int(digit) & 1]
                column = left + 4 * k
                rows[7 * number + row + 1, column : column + 3] = bits
    return np.kron(rows, np.ones((scale, scale), np.float32))


def overlay(
    canvas: NDArray[Any], mask: NDArray[Any], top: int, color: NDArray[Any], alpha: float
) -> None:
    """Blend a color into the canvas where the mask is 1, horizontally centered, from row `top`."""
    height, width = canvas.shape[:2]
    left = (width - mask.shape[1]) // 2
    rows = slice(max(top, 0), min(top + mask.shape[0], height))
    columns = slice(max(left, 0), min(left + mask.shape[1], width))
    if rows.start >= rows.stop:
        return
    part = mask[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    region = canvas[rows, columns]
    region += (alpha * part)[..., None] * (color - region)
