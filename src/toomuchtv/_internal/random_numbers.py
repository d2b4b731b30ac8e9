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

_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_64_BITS = (1 << 64) - 1
# With 6 rounds, some orders of five titles came half as often as others; from a few bits a side
# on, 6 are plenty. Even numbers, so that the two sides have their own widths again at the end.
_FEISTEL_ROUNDS, _FEISTEL_ROUNDS_IF_SMALL, _SMALL_BITS = 6, 10, 6


def _mix(values: UInt64Array) -> UInt64Array:
    """Scramble 64-bit integers: SplitMix64's finalizer, a bijection."""
    values = values + np.uint64(_GOLDEN)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_FIRST)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_SECOND)
    return values ^ (values >> np.uint64(31))


def _mix_one(value: int) -> int:
    """The same of one integer: a tenth of the time that an array of one takes."""
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
    state_so_far = 0  # as long as all parts were single integers
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
    """Numbers in [0, 1), one for each hash of `parts`: 53 random bits each."""
    return (hashed(*parts) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permuted(
    positions: NDArray[np.integer], size: int, key: UInt64Array | int
) -> NDArray[np.int64]:
    """Where a keyed shuffle of `range(size)` puts what stands at `positions`.

    A Feistel network over the next power of two, walked until it lands inside the range (Black
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
    num_bits = max(2, (size - 1).bit_length())
    keys = _mix(np.broadcast_to(np.asarray(key).astype(np.uint64), np.shape(np.atleast_1d(values))))
    out = _feistel(np.atleast_1d(values).astype(np.uint64), num_bits, keys)
    while (outside := out >= np.uint64(size)).any():
        # One more walk of only those that have not arrived.
        out[outside] = _feistel(out[outside], num_bits, keys[outside])
    return out.astype(np.int64).reshape(values.shape)


def _feistel(values: UInt64Array, num_bits: int, keys: UInt64Array) -> UInt64Array:
    """One pass over numbers of `num_bits`; the left side has the odd bit where there is one."""
    right_bits = num_bits // 2
    masks = [np.uint64((1 << bits) - 1) for bits in (num_bits - right_bits, right_bits)]
    left, right = values >> np.uint64(right_bits), values & masks[1]
    small = num_bits <= _SMALL_BITS
    for number in range(_FEISTEL_ROUNDS_IF_SMALL if small else _FEISTEL_ROUNDS):
        round_key = keys + np.uint64(number * _GOLDEN & _64_BITS)
        left, right = right, left ^ (_mix(right ^ round_key) & masks[number % 2])
    return (left << np.uint64(right_bits)) | right
