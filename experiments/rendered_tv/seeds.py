"""Named random streams, so that every part of a rendered library can be drawn on its own."""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, *path: int | str) -> np.random.Generator:
    """Return the random generator that belongs to one named part of a rendered library.

    The same `(seed, path)` always gives the same stream. Different paths give independent streams,
    whatever was drawn before and in whichever process.

    Args:
        seed: The library's seed.
        path: Names and indices that identify the part, such as `("movie", 3, "look")`.
    """
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in path]
    return np.random.default_rng([seed, *words])
