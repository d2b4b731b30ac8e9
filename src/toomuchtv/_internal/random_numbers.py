"""Random numbers without state: each is a pure function of a key and a position.

Drawing step 10,000,000 must cost what step 0 costs, and the augmentation of a clip must not depend
on the worker that decodes it. So there is no generator: numbers are hashes of integers (SplitMix64,
Steele et al., OOPSLA 2014), the same on every platform and in every version of NumPy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UInt64Array = NDArray[np.uint64]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_64_BITS = (1 << 64) - 1
# With 6 rounds, some orders of five titles were half as frequent as others. From a few bits on each
# side, 6 rounds are enough. An even number of rounds gives both sides their own widths at the end.
_FEISTEL_ROUNDS, _FEISTEL_ROUNDS_IF_SMALL, _SMALL_BITS = 6, 10, 6


def _mix(values: UInt64Array) -> UInt64Array:
    """Scramble 64-bit integers: SplitMix64's finalizer, a bijection."""
    values = values + np.uint64(_GOLDEN)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_FIRST)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_SECOND)
    return values ^ (values >> np.uint64(31))


def _mix_one(value: int) -> int:
    """Scramble one integer, in a tenth of the time that an array of one would take."""
    value = (value + _GOLDEN) & _64_BITS
    value = ((value ^ (value >> 30)) * _FIRST) & _64_BITS
    value = ((value ^ (value >> 27)) * _SECOND) & _64_BITS
    return value ^ (value >> 31)


def hashed(*parts: int | NDArray[np.integer]) -> UInt64Array:
    """Hash integers, or arrays of them that broadcast together, to 64 bits.

    The order of `parts` matters: `hashed(1, 2)` is unrelated to `hashed(2, 1)`.

    Returns:
        uint64, of the broadcast shape of `parts` (at least 1-D).
    """
    state: UInt64Array | None = None
    state_so_far = 0  # used until the first part that is an array
    for part in parts:
        if state is None and isinstance(part, int):
            state_so_far = _mix_one(state_so_far ^ _mix_one(part & _64_BITS))
            continue
        if state is None:
            state = np.array([state_so_far], np.uint64)
        values = np.asarray(part)
        if values.dtype != np.uint64:
            values = values.astype(np.int64).view(np.uint64)
        state = _mix(state ^ _mix(np.atleast_1d(values)))
    return np.array([state_so_far], np.uint64) if state is None else state


def uniforms(*parts: int | NDArray[np.integer]) -> FloatArray:
    """Return a number in [0, 1), of 53 random bits, for each hash of `parts`; see `hashed`."""
    return (hashed(*parts) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permuted(
    positions: NDArray[np.integer], size: int, key: UInt64Array | int
) -> NDArray[np.int64]:
    """Return the entries of a keyed shuffle of `range(size)` at some positions.

    A Feistel network permutes the numbers below the next power of two. It is applied again to
    results outside the range until they are inside ("cycle walking", Black and Rogaway, CT-RSA
    2002). So any entry of the shuffle takes constant time and no memory.

    Args:
        positions: Integers in [0, size), any shape.
        size: Length of the shuffled range, at least 1.
        key: Key of the shuffle, one for all positions or one for each.

    Raises:
        ValueError: A position lies outside [0, size).
    """
    values = np.asarray(positions, dtype=np.int64)
    if values.size and (values.min() < 0 or values.max() >= size):
        raise ValueError(f"positions must be in [0, {size}), got {values.min()} to {values.max()}")
    num_bits = max(2, (size - 1).bit_length())
    keys = _mix(np.broadcast_to(np.asarray(key).astype(np.uint64), np.shape(np.atleast_1d(values))))
    out = _feistel(np.atleast_1d(values).astype(np.uint64), num_bits, keys)
    while (outside := out >= np.uint64(size)).any():
        # Walk on with those that are still outside.
        out[outside] = _feistel(out[outside], num_bits, keys[outside])
    return out.astype(np.int64).reshape(values.shape)


def _feistel(values: UInt64Array, num_bits: int, keys: UInt64Array) -> UInt64Array:
    """Permute numbers of `num_bits` bits; an odd bit belongs to the left side."""
    right_bits = num_bits // 2
    masks = [np.uint64((1 << bits) - 1) for bits in (num_bits - right_bits, right_bits)]
    left, right = values >> np.uint64(right_bits), values & masks[1]
    small = num_bits <= _SMALL_BITS
    for number in range(_FEISTEL_ROUNDS_IF_SMALL if small else _FEISTEL_ROUNDS):
        round_key = keys + np.uint64(number * _GOLDEN & _64_BITS)
        left, right = right, left ^ (_mix(right ^ round_key) & masks[number % 2])
    return (left << np.uint64(right_bits)) | right
