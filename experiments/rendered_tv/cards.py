"""Text on the picture: title cards and rolling credits, in a small bitmap face."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Five rows of three pixels a letter, each row an octal digit from top to bottom.
_LETTERS = {
    "A": "25755", "B": "65656", "C": "34443", "D": "65556", "E": "74647", "F": "74644",
    "G": "34553", "H": "55755", "I": "72227", "J": "11152", "K": "55655", "L": "44447",
    "M": "57755", "N": "65555", "O": "25552", "P": "65644", "Q": "25563", "R": "65655",
    "S": "34216", "T": "72222", "U": "55557", "V": "55552", "W": "55775", "X": "55255",
    "Y": "55222", "Z": "71247", " ": "00000",
}  # fmt: skip


def text_mask(lines: tuple[str, ...], scale: int) -> NDArray[Any]:
    """Return lines of capitals, centered, as float32 `[rows, columns]` of 0 and 1."""
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
    """Lay a mask over the canvas in a color, centered, its first row at `top`."""
    height, width = canvas.shape[:2]
    left = (width - mask.shape[1]) // 2
    rows = slice(max(top, 0), min(top + mask.shape[0], height))
    columns = slice(max(left, 0), min(left + mask.shape[1], width))
    if rows.start >= rows.stop:
        return
    part = mask[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    region = canvas[rows, columns]
    region += (alpha * part)[..., None] * (color - region)
