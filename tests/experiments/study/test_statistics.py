"""Intervals against simulation and against SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from experiments.study.scores import Score
from experiments.study.statistics import over_seeds, over_titles, slopes


def test_interval_over_seeds_equals_that_of_scipys_t_test() -> None:
    values = [0.11, 0.14, 0.09, 0.17, 0.12]
    found = over_seeds(values)
    assert found is not None
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert [found.low, found.high] == pytest.approx([low, high])
    assert found.is_above_zero
    assert not found.is_below_zero


def test_one_value_has_no_interval() -> None:
    found = over_seeds([0.3])
    assert found is not None
    assert math.isnan(found.low)
    assert not found.is_above_zero
    assert not found.is_below_zero
    assert "one seed" in str(found)
    assert over_seeds([]) is None


def test_intervals_cover_the_true_mean_in_95_percent() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        found = over_seeds(rng.normal(0.1, 0.05, 5).tolist())
        assert found is not None
        covered += found.low <= 0.1 <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def score(hits: dict[str, tuple[float, int]]) -> Score:
    return Score(
        benchmark="actions", protocol="linear", modality="video", accuracy=0.0, folds=(),
        chance=0.1, sources=hits,
    )  # fmt: skip


def test_equal_gains_of_all_titles_give_an_interval_of_zero_width() -> None:
    base = score({f"g{k}": (2.0, 10) for k in range(10)})
    other = score({f"g{k}": (5.0, 10) for k in range(10)})
    assert list(over_titles([(base, other)])) == pytest.approx([0.3, 0.3])


def test_a_gain_of_a_single_title_gives_a_wide_interval() -> None:
    base = score({f"g{k}": (2.0, 10) for k in range(10)})
    other = score({f"g{k}": (9.0 if k == 0 else 2.0, 10) for k in range(10)})
    low, high = over_titles([(base, other)])
    assert low == 0.0
    assert high > 0.07
    with pytest.raises(ValueError, match="not of the same clips"):
        over_titles([(base, score({"g0": (1.0, 10)}))])


def test_slopes_recover_the_true_coefficients() -> None:
    rng = np.random.default_rng(1)
    x = [(a, b) for a in (0.2, 0.6, 1.0) for b in (0.2, 0.5, 0.8) for _ in range(3)]
    y = [0.05 + 0.3 * a - 0.1 * b + rng.normal(0, 0.01) for a, b in x]
    found = slopes(x, y)
    assert found is not None
    assert found[0].low < 0.3 < found[0].high
    assert found[1].low < -0.1 < found[1].high
    assert found[0].high - found[0].low < 0.05
    assert slopes([(0.2, 0.2), (1.0, 0.2)], [0.0, 0.1]) is None
