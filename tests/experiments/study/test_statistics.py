"""Intervals against simulation and against SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.study.scores import Score
from experiments.study.statistics import holm, over_seeds, over_titles, slopes


def test_interval_over_seeds_equals_that_of_scipys_t_test() -> None:
    values = [0.11, 0.14, 0.09, 0.17, 0.12]
    found = over_seeds(values)
    assert found is not None
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert [found.low, found.high] == pytest.approx([low, high])
    assert found.p_value == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue)


def test_one_value_has_no_interval() -> None:
    found = over_seeds([0.3])
    assert found is not None
    assert math.isnan(found.low)
    assert math.isnan(found.p_value)
    assert "one seed" in str(found)
    assert over_seeds([]) is None


def test_values_without_any_spread_are_certain() -> None:
    for value, p_value in ((0.25, 0.0), (0.0, 1.0)):
        found = over_seeds([value] * 3)
        assert found is not None
        assert (found.low, found.high, found.p_value) == (value, value, p_value)


def test_holms_correction_of_known_values() -> None:
    # Of five, 0.01 is multiplied by 5, 0.02 by 4, 0.022 by 3, 0.09 by 2; 0.022 may not pass 0.02.
    expected = [0.08, 0.18, 0.05, 0.9, 0.08]
    assert holm([0.02, 0.09, 0.01, 0.9, 0.022]) == pytest.approx(expected)
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@given(
    st.lists(st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=6), min_size=1, max_size=8)
)
def test_holm_never_claims_what_the_uncorrected_interval_does_not(
    values: list[list[float]],
) -> None:
    found = [estimate for one in values if (estimate := over_seeds(one)) is not None]
    p_values = [one.p_value for one in found]
    adjusted = holm(p_values)
    assert all(p <= corrected <= 1.0 for p, corrected in zip(p_values, adjusted, strict=True))
    for one, corrected in zip(found, adjusted, strict=True):
        if corrected < 0.05:
            assert one.low > 0 or one.high < 0
    # Every claim at the level of Bonferroni's correction is also a claim of Holm's.
    assert all(
        corrected < 0.05
        for p, corrected in zip(p_values, adjusted, strict=True)
        if p * len(found) < 0.05
    )
    # The order does not matter.
    assert holm(p_values[::-1]) == pytest.approx(adjusted[::-1])


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
    assert over_titles([(base, other)]) == pytest.approx((0.3, 0.3))


def test_a_gain_of_a_single_title_gives_a_wide_interval() -> None:
    base = score({f"g{k}": (2.0, 10) for k in range(10)})
    other = score({f"g{k}": (9.0 if k == 0 else 2.0, 10) for k in range(10)})
    interval = over_titles([(base, other)])
    assert interval is not None
    assert interval[0] == 0.0
    assert interval[1] > 0.07
    assert over_titles([(base, other), (base, score({}))]) is None
    with pytest.raises(ValueError, match="not of the same clips"):
        over_titles([(base, score({"g0": (1.0, 10)}))])


def test_slopes_recover_the_true_coefficients() -> None:
    rng = np.random.default_rng(1)
    x = [(a, b) for a in (0.2, 0.6, 1.0) for b in (0.2, 0.5, 0.8) for _ in range(3)]
    y = [0.05 + 0.3 * a - 0.1 * b + rng.normal(0, 0.01) for a, b in x]
    found = slopes(x, y)
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].low < 0.3 < found[0].high
    assert found[1].low < -0.1 < found[1].high
    assert found[0].high - found[0].low < 0.05
    assert slopes([(0.2, 0.2), (1.0, 0.2)], [0.0, 0.1]) == (None, None)
    assert slopes([(0.2, 0.2), (1.0, 0.8)] * 3, [0.0, 0.1] * 3) == (None, None)


def test_a_slope_over_one_setting_is_that_of_scipy() -> None:
    x, y = [0.0, 0.5, 1.0] * 3, [0.1, 0.22, 0.31, 0.12, 0.2, 0.29, 0.08, 0.21, 0.33]
    first, second = slopes([(value, 0.8) for value in x], y)
    expected = stats.linregress(x, y)
    assert second is None
    assert first is not None
    assert first.mean == pytest.approx(expected.slope)
    assert first.p_value == pytest.approx(expected.pvalue)
    assert (first.high - first.low) / 2 == pytest.approx(stats.t.ppf(0.975, 7) * expected.stderr)
