"""Classifiers, scores and their spread against independent readings of the same definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from toomuchtv.evaluation.bootstrap import (
    ClipScores,
    accuracy_interval,
    compare_accuracy,
    compare_map,
    map_interval,
)
from toomuchtv.evaluation.classifiers import Side, choose, fit_and_score
from toomuchtv.evaluation.linear_solver import fit_linear
from toomuchtv.evaluation.metrics import average_precisions, confusion_matrix, top1_correct
from toomuchtv.evaluation.protocols import PROTOCOLS, ProbeProtocol
from toomuchtv.evaluation.protocols.config import LogisticConfig, MlpConfig, SvmConfig


def made(num: int, noise: float, seed: int, *, classes: int = 4, views: int = 1) -> Side:
    """Gaussian classes around the corners of a simplex, five groups."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num) % classes
    centers = np.eye(classes)[labels][:, None]
    features = centers + noise * rng.standard_normal((num, views, classes))
    return Side(
        features=features.astype(np.float32),
        targets=np.eye(classes, dtype=np.bool_)[labels],
        groups=[str(index // classes % 5) for index in range(num)],
    )


def frozen(name: str) -> ProbeProtocol:
    protocol = PROTOCOLS[name]
    assert isinstance(protocol, ProbeProtocol)
    return protocol


def accuracy(scores: NDArray[np.float32], side: Side) -> float:
    return float(top1_correct(scores, side.targets).mean())


@pytest.mark.parametrize("strength", [1e-4, 1e-2, 1.0])
def test_our_svm_is_scikit_learns(strength: float) -> None:
    side = made(120, 0.6, 0)
    features, targets = side.samples()
    ours = fit_linear(features, targets, strength)
    theirs = LinearSVC(C=strength, tol=1e-8, max_iter=100_000, dual=False)
    theirs.fit(features, targets.argmax(axis=1))
    np.testing.assert_allclose(ours.weights[:-1], theirs.coef_.T, atol=2e-3)
    np.testing.assert_allclose(ours.weights[-1], theirs.intercept_, atol=2e-3)


def test_our_logistic_regression_is_liblinears() -> None:
    features, targets = made(120, 0.6, 1).samples()
    ours = fit_linear(features, targets, 0.5, loss="logistic")
    for column in range(targets.shape[1]):
        theirs = LogisticRegression(C=0.5, solver="liblinear", tol=1e-8)
        theirs.fit(features, targets[:, column])
        np.testing.assert_allclose(ours.weights[:-1, column], theirs.coef_[0], atol=2e-3)


def test_a_start_from_another_solution_changes_nothing() -> None:
    features, targets = made(120, 0.6, 2).samples()
    warm = fit_linear(features, targets, 1.0, start=fit_linear(features, targets, 1e-3))
    cold = fit_linear(features, targets, 1.0)
    np.testing.assert_allclose(warm.weights, cold.weights, atol=2e-3)


def test_linear_is_scikit_learns_own_pipeline_and_search() -> None:
    train, test = made(160, 0.9, 0), made(80, 0.9, 1)
    protocol = frozen("linear")
    scores, chosen = fit_and_score(protocol, train, test)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    search = GridSearchCV(
        pipeline,
        {"logisticregression__C": list(LogisticConfig().candidates)},
        cv=StratifiedGroupKFold(protocol.inner_folds),
    )
    labels = train.targets.argmax(axis=1)
    search.fit(train.features[:, 0], labels, groups=list(train.groups))
    assert chosen["chosen"] == search.best_params_["logisticregression__C"]
    theirs = search.score(test.features[:, 0], test.targets.argmax(axis=1))
    assert accuracy(scores, test) == pytest.approx(theirs)


def test_an_svm_protocol_is_scikit_learns_own_with_views_averaged() -> None:
    train, test = made(80, 1.0, 0, views=10), made(60, 1.0, 1, views=30)
    scores, _ = fit_and_score(frozen("brave-svm"), train, test)
    samples, targets = train.samples()
    pipeline = make_pipeline(StandardScaler(), LinearSVC(C=1e-4, tol=1e-8, max_iter=100_000))
    pipeline.fit(samples, targets.argmax(axis=1))
    theirs = pipeline.decision_function(test.features.reshape(-1, 4)).reshape(60, 30, 4)
    assert (scores.argmax(axis=1) == theirs.mean(axis=1).argmax(axis=1)).all()


@pytest.mark.parametrize("name", ["linear", "knn", "crisscross-svm"])
def test_selection_does_not_see_the_test_set(name: str) -> None:
    train = made(80, 0.8, 0)
    protocol = frozen(name)
    chosen = choose(protocol, train, validation=None, multi_label=False)
    for seed in range(3):
        assert fit_and_score(protocol, train, made(40, 0.8, seed))[1] == {"chosen": chosen}


def test_peeking_is_at_least_as_good_and_says_so() -> None:
    honest, peeking = frozen("crisscross-svm"), frozen("crisscross-svm-peeking")
    assert peeking.selection == "test"
    assert "peeking" in peeking.name
    for seed in range(4):
        train, test = made(60, 1.2, seed), made(60, 1.2, 100 + seed)
        assert accuracy(fit_and_score(peeking, train, test)[0], test) >= accuracy(
            fit_and_score(honest, train, test)[0], test
        )


@pytest.mark.parametrize("name", ["linear", "knn", "brave-svm", "crisscross-svm"])
def test_separable_classes_are_told_apart_and_shuffled_ones_are_not(name: str) -> None:
    train, test = made(80, 0.05, 0), made(40, 0.05, 1)
    assert accuracy(fit_and_score(frozen(name), train, test)[0], test) == 1.0
    shuffled = Side(
        features=train.features,
        targets=train.targets[np.random.default_rng(0).permutation(80)],
        groups=train.groups,
    )
    assert accuracy(fit_and_score(frozen(name), shuffled, test)[0], test) < 0.7


def test_the_hear_network_learns_what_is_not_linear() -> None:
    rng = np.random.default_rng(0)
    features = rng.uniform(-1, 1, (400, 1, 2)).astype(np.float32)
    classes = (features[:, 0].prod(axis=1) > 0).astype(int)  # exclusive or
    side = Side(
        features=features,
        targets=np.eye(2, dtype=np.bool_)[classes],
        groups=[str(row % 4) for row in range(400)],
    )
    small = MlpConfig(hidden_dim=64, learning_rates=(3.2e-3,), hidden_layers=(2,), max_epochs=90)
    protocol = frozen("hear").model_copy(update={"classifier": small})
    train, test = side.take(np.arange(300)), side.take(np.arange(300, 400))
    scores, chosen = fit_and_score(protocol, train, test)
    assert accuracy(scores, test) > 0.85
    assert chosen["hidden_layers"] == 2
    linear = fit_and_score(frozen("linear"), train, test)[0]
    assert accuracy(linear, test) < 0.7


def test_several_labels_are_learned_one_against_the_rest() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, (200, 3)).astype(np.bool_)
    features = (targets + 0.1 * rng.standard_normal((200, 3))).astype(np.float32)[:, None]
    side = Side(features=features, targets=targets, groups=[str(row % 5) for row in range(200)])
    train, test = side.take(np.arange(150)), side.take(np.arange(150, 200))
    scores, _ = fit_and_score(frozen("linear"), train, test, multi_label=True)
    assert np.nanmean(average_precisions(scores, test.targets)) == pytest.approx(1.0)


def test_an_official_validation_set_selects() -> None:
    train, validation = made(80, 1.0, 0), made(80, 1.0, 5)
    protocol = frozen("linear")
    chosen = choose(protocol, train, validation=validation, multi_label=False)
    best = max(
        protocol.classifier.candidates if isinstance(protocol.classifier, LogisticConfig) else (),
        key=lambda strength: accuracy(
            fit_and_score(
                protocol.model_copy(update={"classifier": LogisticConfig(candidates=(strength,))}),
                train,
                validation,
            )[0],
            validation,
        ),
    )
    assert chosen == best


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_average_precision_is_scikit_learns(seed: int, tied: bool) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, (20, 3)).astype(np.bool_)
    targets[0] = True
    scores = rng.integers(0, 4, (20, 3)).astype(np.float32) if tied else rng.random((20, 3))
    weights = rng.integers(1, 4, 20).astype(np.float64)
    found = average_precisions(scores.astype(np.float32), targets, weights)
    for column in range(3):
        expected = average_precision_score(
            targets[:, column], scores.astype(np.float32)[:, column], sample_weight=weights
        )
        assert found[column] == pytest.approx(expected, abs=1e-9)


def test_a_constant_classifier_is_right_one_time_in_k() -> None:
    scores, targets = np.zeros((8, 4), np.float32), np.eye(4, dtype=np.bool_)[np.arange(8) % 4]
    assert top1_correct(scores, targets).tolist() == [0.25] * 8
    assert confusion_matrix(scores, targets).sum() == 8


def outcome(values: list[float], per_source: int = 1) -> ClipScores:
    sources = [f"s{index // per_source}" for index in range(len(values))]
    return ClipScores(source=sources, value=np.array(values))


def test_clips_of_one_source_are_no_more_evidence_than_one() -> None:
    values = [1.0, 0.0] * 20
    once = accuracy_interval([outcome(values)])
    repeated = [value for value in values for _ in range(10)]
    grouped = accuracy_interval([outcome(repeated, per_source=10)])
    naive = accuracy_interval([outcome(repeated)])
    assert grouped == pytest.approx(once, abs=0.03)
    assert naive[1] - naive[0] < 0.5 * (once[1] - once[0])


def test_the_interval_is_about_the_binomial_one() -> None:
    values = [1.0] * 70 + [0.0] * 30
    low, high = accuracy_interval([outcome(values)])
    half = 1.96 * np.sqrt(0.7 * 0.3 / 100)
    assert (low, high) == pytest.approx((0.7 - half, 0.7 + half), abs=0.02)


def test_the_permutation_test_is_the_exact_one() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 2, 9).astype(float), rng.integers(0, 2, 9).astype(float)
    difference = b - a
    swaps = [np.dot(signs, difference) for signs in itertools.product((1, -1), repeat=9)]
    expected = np.mean([abs(value) >= abs(difference.sum()) - 1e-9 for value in swaps])
    paired = compare_accuracy([outcome(a.tolist())], [outcome(b.tolist())])
    assert paired.exact
    assert paired.p_value == pytest.approx(expected)
    assert paired.difference == pytest.approx(difference.mean())


def test_equal_runs_do_not_differ_and_opposite_ones_do() -> None:
    ones, zeros = [1.0] * 40, [0.0] * 40
    same = compare_accuracy([outcome(ones)], [outcome(ones)])
    assert (same.difference, same.p_value, same.interval) == (0.0, 1.0, (0.0, 0.0))
    apart = compare_accuracy([outcome(zeros)], [outcome(ones)])
    assert apart.difference == 1.0
    assert not apart.exact
    assert apart.p_value < 1e-3


def test_different_clips_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same clips"):
        compare_accuracy([outcome([1.0, 0.0])], [outcome([1.0])])


def test_rankings_are_compared_source_by_source() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, (60, 2)).astype(np.bool_)
    targets[:2] = [[True, False], [False, True]]
    good = targets + 0.1 * rng.random((60, 2)).astype(np.float32)
    bad = rng.random((60, 2)).astype(np.float32)
    sources = [f"s{row // 2}" for row in range(60)]
    low, high = map_interval(bad, targets, sources)
    assert low < float(np.nanmean(average_precisions(bad, targets))) < high
    paired = compare_map(bad, good.astype(np.float32), targets, sources)
    assert paired.difference > 0.2
    assert paired.p_value < 0.02


@pytest.mark.parametrize("name", ["linear", "knn", "crisscross-svm"])
def test_a_handful_of_clips_is_enough_to_run(name: str) -> None:
    train, test = made(5, 0.01, 0), made(4, 0.01, 1)
    few = Side(features=train.features, targets=train.targets, groups=list("abcde"))
    assert fit_and_score(frozen(name), few, test)[0].shape == (4, 4)


def test_svm_config_is_what_the_release_sweeps() -> None:
    config = frozen("crisscross-svm").classifier
    assert isinstance(config, SvmConfig)
    assert config.candidates == (1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 1.0)
