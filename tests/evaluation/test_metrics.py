"""Metrics, confidence intervals and significance tests against their definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toomuchtv.evaluation.bootstrap import (
    ClipScores,
    compare_map,
    compare_means,
    map_interval,
    mean_interval,
)
from toomuchtv.evaluation.metrics import (
    average_precisions,
    confusion_matrix,
    top1_correct,
)
from toomuchtv.evaluation.result import FoldPredictions


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_average_precision_equals_its_definition(seed: int, tied: bool) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, (20, 3)).astype(np.bool_)
    targets[0] = True
    scores = rng.integers(0, 4, (20, 3)).astype(np.float32) if tied else rng.random((20, 3))
    weights = rng.integers(1, 4, 20).astype(np.float64)
    scores = scores.astype(np.float32)
    found = average_precisions(scores, targets, weights)
    for column in range(3):
        values, hits = scores[:, column], weights * targets[:, column]
        # The mean of the precision at the score of each positive clip, weighted.
        precision = [hits[values >= v].sum() / weights[values >= v].sum() for v in values]
        assert found[column] == pytest.approx(np.dot(precision, hits) / hits.sum(), abs=1e-9)


def test_a_class_without_positive_clips_has_no_average_precision() -> None:
    scores = np.array([[0.3, 0.1], [0.2, 0.4]], np.float32)
    targets = np.array([[True, False], [False, True]])
    found = average_precisions(scores, targets, np.array([1.0, 0.0]))
    assert found[0] == 1.0
    assert np.isnan(found[1])


def test_one_source_gives_an_interval_of_one_value() -> None:
    assert mean_interval([[clip_scores([1.0, 0.0], per_source=2)]]) == (0.5, 0.5)


def test_a_constant_classifier_has_accuracy_one_over_k() -> None:
    scores, targets = np.zeros((8, 4), np.float32), np.eye(4, dtype=np.bool_)[np.arange(8) % 4]
    assert top1_correct(scores, targets).tolist() == [0.25] * 8
    assert confusion_matrix(scores, targets).sum() == 8


def clip_scores(values: list[float], per_source: int = 1) -> ClipScores:
    sources = [f"s{index // per_source}" for index in range(len(values))]
    return ClipScores(source=sources, value=np.array(values))


def test_repeated_clips_of_a_source_do_not_narrow_the_interval() -> None:
    values = [1.0, 0.0] * 20
    once = mean_interval([[clip_scores(values)]])
    repeated = [value for value in values for _ in range(10)]
    grouped = mean_interval([[clip_scores(repeated, per_source=10)]])
    naive = mean_interval([[clip_scores(repeated)]])
    assert grouped == pytest.approx(once, abs=0.03)
    assert naive[1] - naive[0] < 0.5 * (once[1] - once[0])


def test_the_interval_approximates_the_binomial_interval() -> None:
    values = [1.0] * 70 + [0.0] * 30
    low, high = mean_interval([[clip_scores(values)]])
    half = 1.96 * np.sqrt(0.7 * 0.3 / 100)
    assert (low, high) == pytest.approx((0.7 - half, 0.7 + half), abs=0.02)


def test_the_permutation_test_equals_full_enumeration() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 2, 9).astype(float), rng.integers(0, 2, 9).astype(float)
    difference = b - a
    swaps = [np.dot(signs, difference) for signs in itertools.product((1, -1), repeat=9)]
    expected = np.mean([abs(value) >= abs(difference.sum()) - 1e-9 for value in swaps])
    paired = compare_means([[clip_scores(a.tolist())]], [[clip_scores(b.tolist())]])
    assert paired.exact
    assert paired.p_value == pytest.approx(expected)
    assert paired.difference == pytest.approx(difference.mean())


def test_equal_results_do_not_differ_and_opposite_results_do() -> None:
    ones, zeros = [1.0] * 40, [0.0] * 40
    same = compare_means([[clip_scores(ones)]], [[clip_scores(ones)]])
    assert (same.difference, same.p_value, same.interval) == (0.0, 1.0, (0.0, 0.0))
    apart = compare_means([[clip_scores(zeros)]], [[clip_scores(ones)]])
    assert apart.difference == 1.0
    assert not apart.exact
    assert apart.p_value < 1e-3


def test_results_on_different_clips_are_refused() -> None:
    with pytest.raises(ValueError, match="same clips"):
        compare_means([[clip_scores([1.0, 0.0])]], [[clip_scores([1.0])]])


def test_average_precisions_are_compared_by_source() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, (60, 2)).astype(np.bool_)
    targets[:2] = [[True, False], [False, True]]
    good = targets + 0.1 * rng.random((60, 2)).astype(np.float32)
    bad = rng.random((60, 2)).astype(np.float32)
    sources = [f"s{row // 2}" for row in range(60)]
    one, other = (
        FoldPredictions(
            name="f", clips=sources, sources=sources, scores=scores.astype(np.float32),
            targets=targets,
        )
        for scores in (bad, good)
    )  # fmt: skip
    low, high = map_interval([[one]])
    assert low < float(np.nanmean(average_precisions(bad, targets))) < high
    paired = compare_map([[one]], [[other]])
    assert paired.difference > 0.2
    assert paired.p_value < 0.02
