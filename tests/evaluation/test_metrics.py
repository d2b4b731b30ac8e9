"""Metrics, confidence intervals and significance tests against their definitions."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from toomuchtv.evaluation.bootstrap import (
    ClipScores,
    Paired,
    compare_map,
    compare_means,
    compare_medians,
    map_interval,
    mean_interval,
    median_interval,
)
from toomuchtv.evaluation.metrics import (
    average_precisions,
    confusion_matrix,
    primary_score,
    scene_coverage,
    top1_correct,
)
from toomuchtv.evaluation.result import FoldPredictions, QueryRanks
from toomuchtv.evaluation.retrieval import class_precision, pair_ranks, rank_figures
from toomuchtv.evaluation.summary import correct_by_clip, ranking_figures, squared_errors_by_clip


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


def test_nothing_follows_from_one_source() -> None:
    for per_source, has_interval in ((4, False), (2, True)):
        a, b = (clip_scores(v, per_source) for v in ([1.0, 0.0, 0.0, 1.0], [1.0] * 4))
        paired = [compare_means([[a]], [[b]]), compare_medians([[a]], [[b]])]
        assert [one.interval is not None for one in paired] == [has_interval] * 2
        assert [one.difference for one in paired] == [0.5, 0.5]


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


def _scores(shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.random.default_rng(0).random(shape).astype(np.float32)


_TARGETS = np.eye(3, dtype=np.bool_)[np.arange(6) % 3]


def _fold(scores: NDArray[np.float32]) -> FoldPredictions:
    return FoldPredictions(
        name="f", clips=list("abcdef"), sources=list("aabbcc"), scores=scores, targets=_TARGETS
    )


def _clips(values: NDArray[np.float32]) -> list[list[ClipScores]]:
    return [[ClipScores(source=list("abcdef"), value=values.astype(np.float64))]]


def _ranking(ranks: NDArray[np.float32]) -> QueryRanks:
    return QueryRanks(
        name="r", clips=list("abcdef"), sources=list("aabbcc"), ranks=ranks.astype(np.float64)
    )


_CLASSES = np.ones((6, 1), np.bool_)
_GOOD = {shape: _scores(shape) for shape in ((6, 3), (6,), (6, 1))}
#: Every public metric, as a function of an array that must be finite, and the array's shape.
METRICS: dict[str, tuple[Callable[[NDArray[np.float32]], object], tuple[int, ...]]] = {
    "primary_score": (lambda x: primary_score(x, _TARGETS, multi_label=False), (6, 3)),
    "primary_score, mAP": (lambda x: primary_score(x, _TARGETS, multi_label=True), (6, 3)),
    "top1_correct": (lambda x: top1_correct(x, _TARGETS), (6, 3)),
    "average_precisions": (lambda x: average_precisions(x, _TARGETS), (6, 3)),
    "average_precisions, weights": (
        lambda x: average_precisions(_GOOD[6, 3], _TARGETS, x.astype(np.float64)), (6,)),
    "confusion_matrix": (lambda x: confusion_matrix(x, _TARGETS), (6, 3)),
    "scene_coverage": (lambda x: scene_coverage(x.tolist(), [0.5], 2.0), (6,)),
    "scene_coverage, predicted": (lambda x: scene_coverage([0.5], x.tolist(), 2.0), (6,)),
    "scene_coverage, end": (lambda x: scene_coverage([0.5], [0.5], 2 + float(x.sum())), (6,)),
    "pair_ranks, video": (lambda x: pair_ranks(torch.tensor(x), torch.ones(6, 3)), (6, 3)),
    "pair_ranks, audio": (lambda x: pair_ranks(torch.ones(6, 3), torch.tensor(x)), (6, 3)),
    "class_precision, query": (
        lambda x: class_precision(torch.tensor(x), torch.ones(6, 3), _CLASSES, _CLASSES), (6, 3)),
    "class_precision, target": (
        lambda x: class_precision(torch.ones(6, 3), torch.tensor(x), _CLASSES, _CLASSES), (6, 3)),
    "rank_figures": (lambda x: rank_figures(x.astype(np.float64)), (6,)),
    "ranking_figures": (lambda x: ranking_figures(_ranking(x)), (6,)),
    "mean_interval": (lambda x: mean_interval(_clips(x)), (6,)),
    "median_interval": (lambda x: median_interval(_clips(x)), (6,)),
    "map_interval": (lambda x: map_interval([[_fold(x)]]), (6, 3)),
    "compare_means": (lambda x: compare_means(_clips(_GOOD[(6,)]), _clips(x)), (6,)),
    "compare_medians": (lambda x: compare_medians(_clips(_GOOD[(6,)]), _clips(x)), (6,)),
    "compare_map": (lambda x: compare_map([[_fold(_GOOD[6, 3])]], [[_fold(x)]]), (6, 3)),
    "correct_by_clip": (lambda x: correct_by_clip([_fold(x)]), (6, 3)),
    "squared_errors_by_clip": (
        lambda x: squared_errors_by_clip([replace(_fold(x), targets=_GOOD[6, 1])]), (6, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_every_metric_refuses_what_is_not_finite(name: str, value: float) -> None:
    metric, shape = METRICS[name]
    metric(_scores(shape))
    bad = _scores(shape)
    bad.flat[4] = value
    with pytest.raises(ValueError, match="not finite"):
        metric(bad)


def test_tied_scores_are_split_in_the_confusion_matrix() -> None:
    scores = np.array([[1, 1, 0], [0, 2, 1]], np.float32)
    targets = np.array([[True, False, False], [False, False, True]])
    assert confusion_matrix(scores, targets).tolist() == [[0.5, 0.5, 0], [0, 0, 0], [0, 1, 0]]


def test_medians_are_compared_like_full_enumeration() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(1, 30, 10).astype(float), rng.integers(1, 12, 10).astype(float)
    sources = [f"s{row // 2}" for row in range(10)]
    one, other = ([[ClipScores(source=sources, value=values)]] for values in (a, b))
    paired = compare_medians(one, other)
    observed = np.median(b) - np.median(a)
    found = []
    for swaps in itertools.product((False, True), repeat=5):
        swap = np.repeat(swaps, 2)
        found.append(np.median(np.where(swap, a, b)) - np.median(np.where(swap, b, a)))
    assert paired.exact
    assert paired.difference == observed
    assert paired.p_value == pytest.approx(np.mean(np.abs(found) >= abs(observed) - 1e-9))


def test_the_interval_of_a_median_is_that_of_resampled_medians() -> None:
    rng = np.random.default_rng(2)
    values = rng.exponential(10, 120)
    sources = [f"s{row // 3:02d}" for row in range(120)]
    low, high = median_interval([[ClipScores(source=sources, value=values)]])
    groups = [values[3 * number : 3 * number + 3] for number in range(40)]
    drawn = [
        np.median(np.concatenate([groups[pick] for pick in rng.integers(40, size=40)]))
        for _ in range(4000)
    ]
    assert (low, high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.5)


def test_map_is_the_mean_over_folds_in_a_comparison_too() -> None:
    rng = np.random.default_rng(3)
    folds = [
        [replace(_fold(rng.random((6, 3)).astype(np.float32)), name=name) for name in "ab"]
        for _ in range(2)
    ]
    means = [
        np.mean([primary_score(fold.scores, fold.labels, multi_label=True) for fold in side])
        for side in folds
    ]
    paired = compare_map([folds[0]], [folds[1]])
    assert paired.difference == pytest.approx(means[1] - means[0])


def test_replicates_widen_the_interval_only_by_their_own_spread() -> None:
    values = [1.0, 0.0] * 20
    once = mean_interval([[clip_scores(values)]])
    same = mean_interval([[clip_scores(values)]] * 5)
    assert same == pytest.approx(once, abs=0.03)
    spread = [[clip_scores([float(value)] * 40)] for value in (0, 0, 1, 1)]
    low, high = mean_interval(spread)
    assert (low, high) == (0.0, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["recall", "median", "seeds"])
def test_intervals_cover_the_truth_as_often_as_they_say(kind: str) -> None:
    """400 simulated benchmarks of 60 sources with 3 clips each, and 8 seeds for `seeds`."""
    rng = np.random.default_rng(0)
    num_seeds = 8 if kind == "seeds" else 1
    sources = [f"s{row // 3}" for row in range(180)]
    # Ranks are exp(source + clip + seed): the true median is exp(0) and R@1 is P(rank <= 1).
    truth = {"recall": 0.5, "median": 1.0, "seeds": 0.5}[kind]
    covered = 0
    for _ in range(400):
        of_source, of_seed = rng.normal(size=60), rng.normal(0, 0.5, num_seeds)
        ranks = (
            [np.exp(np.repeat(of_source, 3) + rng.normal(size=180) + shift) for shift in of_seed]
            if kind == "seeds"
            else [np.exp(np.repeat(of_source, 3) + rng.normal(size=180))]
        )
        if kind == "median":
            low, high = median_interval([[ClipScores(source=sources, value=ranks[0])]])
        else:
            low, high = mean_interval(
                [[ClipScores(source=sources, value=(one <= 1).astype(float))] for one in ranks]
            )
        covered += low <= truth <= high
    assert 0.90 <= covered / 400 <= 0.985


@pytest.mark.slow
@pytest.mark.parametrize("compare", [compare_means, compare_medians])
def test_p_values_hold_under_the_null(compare: Callable[..., Paired]) -> None:
    """Two results that differ by chance only: 5% of the p-values are at most 0.05."""
    rng = np.random.default_rng(1)
    num = 400 if compare is compare_means else 100
    sources = [f"s{row // 2}" for row in range(40)]
    small = 0
    for number in range(num):
        shared = np.repeat(rng.normal(size=20), 2)
        a, b = (
            [[ClipScores(source=sources, value=shared + rng.normal(size=40))]] for _ in range(2)
        )
        small += compare(a, b, seed=number).p_value <= 0.05
    # 0.05 and two standard errors.
    assert small / num <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / num)
