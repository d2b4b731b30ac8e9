"""Random numbers without state: each is a pure function of a key and a position.

A plan at step 10,000,000 must cost what it costs at step 0, and the augmentation of a clip must
not depend on the worker that decodes it. So nothing here carries a generator along: numbers are
hashes (SplitMix64, Steele et al., OOPSLA 2014) of integers, the same on every platform and in
every version of NumPy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UInt64Array = NDArray[np.uint64]
FloatArray = NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# With 6 rounds, some orders of five titles came half as often as others; from a few bits a side
# on, 6 are plenty.
_FEISTEL_ROUNDS, _FEISTEL_ROUNDS_IF_SMALL, _SMALL_HALF_BITS = 6, 10, 3


def _mix(values: UInt64Array) -> UInt64Array:
    """Scramble 64-bit integers: SplitMix64's finalizer, a bijection."""
    with np.errstate(over="ignore"):
        values = values + _GOLDEN
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def hashed(*parts: int | NDArray[np.integer]) -> UInt64Array:
    """Hash integers, or arrays of them that broadcast together, to 64 bits.

    The order of `parts` matters: `hashed(1, 2)` is unrelated to `hashed(2, 1)`.

    Returns:
        uint64, of the broadcast shape of `parts` (at least 1-D).
    """
    state = np.zeros(1, dtype=np.uint64)
    for part in parts:
        values = np.asarray(part)
        if values.dtype != np.uint64:
            values = values.astype(np.int64).view(np.uint64)
        state = _mix(state ^ _mix(np.atleast_1d(values)))
    return state


def uniforms(*parts: int | NDArray[np.integer]) -> FloatArray:
    """Numbers in [0, 1), one for each hash of `parts`: 53 random bits each."""
    return (hashed(*parts) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permuted(
    positions: NDArray[np.integer], size: int, key: UInt64Array | int
) -> NDArray[np.int64]:
    """Where a keyed shuffle of `range(size)` puts what stands at `positions`.

    A Feistel network over the next power of four, walked until it lands inside the range (Black
    and Rogaway, CT-RSA 2002): any entry of the shuffle in constant time and no memory.

    Args:
        positions: Integers in [0, size), any shape.
        size: Length of the shuffled range, at least 1.
        key: Which shuffle; one for all positions or one each.

    Raises:
        ValueError: A position lies outside [0, size).
    """
    values = np.asarray(positions, dtype=np.int64)
    if values.size and (values.min() < 0 or values.max() >= size):
        raise ValueError(f"positions must lie in [0, {size}), got {values.min()} to {values.max()}")
    half_bits = max(1, ((max(size, 2) - 1).bit_length() + 1) // 2)
    keys = np.broadcast_to(np.asarray(key).astype(np.uint64), values.shape)
    rounds = _FEISTEL_ROUNDS_IF_SMALL if half_bits <= _SMALL_HALF_BITS else _FEISTEL_ROUNDS
    with np.errstate(over="ignore"):
        round_keys = [_mix(_mix(keys) + np.uint64(number)) for number in range(rounds)]
    out = _feistel(values.astype(np.uint64), half_bits, round_keys)
    while (outside := out >= np.uint64(size)).any():
        # One more walk of only those that have not arrived.
        out[outside] = _feistel(out[outside], half_bits, [keys[outside] for keys in round_keys])
    return out.astype(np.int64)


def _feistel(values: UInt64Array, half_bits: int, round_keys: list[UInt64Array]) -> UInt64Array:
    shift, mask = np.uint64(half_bits), np.uint64((1 << half_bits) - 1)
    left, right = values >> shift, values & mask
    for key in round_keys:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return (left << shift) | right
