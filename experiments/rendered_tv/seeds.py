"""Random streams by name, so that every part of the studio can be drawn on its own."""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, *path: int | str) -> np.random.Generator:
    """Return the generator that belongs to one place in the studio.

    The same `(seed, path)` always gives the same stream, and different paths give independent
    ones, whatever was drawn before and by which process.

    Args:
        seed: The studio's seed.
        path: Names and indices leading to what is drawn, such as `("movie", 3, "look")`.
    """
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in path]
    return np.random.default_rng([seed, *words])
