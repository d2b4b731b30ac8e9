"""Laws of the stateless random numbers, against SplitMix64 in plain Python integers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from toomuchtv._internal.random_numbers import hashed, permuted, uniforms

WORD = 2**64


def reference_mix(value: int) -> int:
    """One output of SplitMix64 from state `value`, as in its authors' C."""
    value = (value + 0x9E3779B97F4A7C15) % WORD
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % WORD
    return value ^ (value >> 31)


def reference_hash(*parts: int) -> int:
    state = 0
    for part in parts:
        state = reference_mix(state ^ reference_mix(part % WORD))
    return state


def chi_squared_is_fine(counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> bool:
    expected = counts.sum() / counts.size
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return statistic < float(chi2.ppf(0.9999, counts.size - 1))


def test_the_reference_is_splitmix64() -> None:
    # The first three outputs of the published generator from state 0.
    states = [0, 0x9E3779B97F4A7C15, 2 * 0x9E3779B97F4A7C15 % WORD]
    assert [reference_mix(state) for state in states] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5))
def test_hashes_equal_plain_integers(parts: list[int]) -> None:
    assert int(hashed(*parts)[0]) == reference_hash(*parts)


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        ((0,), 0xA706DD2F4D197E6F),
        ((1, 2), 0xD97D4205FDAB0823),
        ((2, 1), 0x186A2DE8268E9286),
        ((-1, 10**7, 3), 0xE30DDB1BA703B169),
    ],
)
def test_hashes_do_not_change_between_versions(parts: tuple[int, ...], value: int) -> None:
    assert int(hashed(*parts)[0]) == value


def test_arrays_hash_like_their_elements() -> None:
    rows, columns = np.arange(3)[:, None], np.arange(-2, 2)[None, :]
    together = hashed(7, rows, columns)
    assert together.shape == (3, 4)
    for row, column in itertools.product(range(3), range(4)):
        assert together[row, column] == hashed(7, row, column - 2)[0]


def test_uint64_keys_keep_all_their_bits() -> None:
    key = np.array([2**64 - 1], np.uint64)
    assert int(hashed(key, 5)[0]) == reference_hash(2**64 - 1, 5)


def test_uniforms_are_uniform() -> None:
    values = uniforms(3, np.arange(200_000))
    assert values.min() >= 0.0
    assert values.max() < 1.0
    assert abs(values.mean() - 0.5) < 4 * np.sqrt(1 / 12 / len(values))
    assert chi_squared_is_fine(np.histogram(values, 128, (0.0, 1.0))[0])
    neighbors = np.histogram2d(values[:-1], values[1:], 16, ((0, 1), (0, 1)))[0]
    assert chi_squared_is_fine(neighbors.astype(np.int64))


def test_a_shuffle_is_a_permutation_at_every_small_size() -> None:
    for size in range(1, 301):
        shuffled = permuted(np.arange(size), size, key=size * 31)
        np.testing.assert_array_equal(np.sort(shuffled), np.arange(size))


@settings(max_examples=20, deadline=None)
@given(st.integers(301, 60_000), st.integers(0, 2**63))
def test_a_shuffle_is_a_permutation_at_any_size(size: int, key: int) -> None:
    shuffled = permuted(np.arange(size), size, key)
    np.testing.assert_array_equal(np.sort(shuffled), np.arange(size))


@given(st.integers(1, 2**40), st.integers(0, 2**63), st.data())
def test_any_entry_of_a_huge_shuffle_takes_constant_time(
    size: int, key: int, data: st.DataObject
) -> None:
    positions = np.array(data.draw(st.lists(st.integers(0, size - 1), min_size=1, unique=True)))
    values = permuted(positions, size, key)
    assert len(set(values.tolist())) == len(positions)
    assert values.min() >= 0
    assert values.max() < size
    one_by_one = [int(permuted(positions[i : i + 1], size, key)[0]) for i in range(len(positions))]
    assert one_by_one == values.tolist()


def test_another_key_is_another_shuffle() -> None:
    shuffles = {tuple(permuted(np.arange(20), 20, key).tolist()) for key in range(200)}
    assert len(shuffles) == 200


def test_each_position_may_have_its_own_key() -> None:
    keys = hashed(1, np.arange(50))
    mixed = permuted(np.full(50, 3), 10, keys)
    assert mixed.tolist() == [int(permuted(np.array([3]), 10, key)[0]) for key in keys]


@pytest.mark.parametrize("size", [2, 3, 4, 6, 17])
def test_every_position_is_equally_likely(size: int) -> None:
    keys = hashed(9, np.arange(6000))
    for position in range(size):
        values = permuted(np.full(6000, position), size, keys)
        assert chi_squared_is_fine(np.bincount(values, minlength=size))


@pytest.mark.parametrize("positions", [[-1], [5]])
def test_positions_outside_are_refused(positions: list[int]) -> None:
    with pytest.raises(ValueError, match=r"positions must be in \[0, 5\)"):
        permuted(np.array(positions), 5, 0)
