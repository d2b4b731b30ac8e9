"""Classifiers and their selection against scikit-learn and other independent references."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from toomuchtv.evaluation import stored_features
from toomuchtv.evaluation.classifiers import FeatureSet, fit_one_vs_rest
from toomuchtv.evaluation.linear_probe import fit_and_score, select
from toomuchtv.evaluation.metrics import average_precisions, top1_correct
from toomuchtv.evaluation.protocols import PROTOCOLS, ProbeProtocol
from toomuchtv.evaluation.protocols.config import LogisticConfig, MlpConfig, SvmConfig
from toomuchtv.evaluation.stored_features import StoredFeatures


def clusters(num: int, noise: float, seed: int, *, classes: int = 4, views: int = 1) -> FeatureSet:
    """Gaussian clusters around the corners of a simplex, in five groups."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num) % classes
    centers = np.eye(classes)[labels][:, None]
    features = centers + noise * rng.standard_normal((num, views, classes))
    return FeatureSet(
        features=features.astype(np.float32),
        targets=np.eye(classes, dtype=np.bool_)[labels],
        groups=[str(index // classes % 5) for index in range(num)],
    )


def probe(name: str) -> ProbeProtocol:
    protocol = PROTOCOLS[name]
    assert isinstance(protocol, ProbeProtocol)
    return protocol


def accuracy(scores: NDArray[np.float32], side: FeatureSet) -> float:
    return float(top1_correct(scores, side.targets.astype(np.bool_)).mean())


@pytest.mark.parametrize("strength", [1e-4, 1e-2, 1.0])
def test_the_svm_equals_scikit_learns(strength: float) -> None:
    side = clusters(120, 0.6, 0)
    features, targets = side.samples()
    ours = fit_one_vs_rest(features, targets, strength)
    theirs = LinearSVC(C=strength, tol=1e-8, max_iter=100_000, dual=False)
    theirs.fit(features, targets.argmax(axis=1))
    np.testing.assert_allclose(ours[:-1], theirs.coef_.T, atol=2e-3)
    np.testing.assert_allclose(ours[-1], theirs.intercept_, atol=2e-3)


def test_logistic_regression_equals_liblinears() -> None:
    features, targets = clusters(120, 0.6, 1).samples()
    ours = fit_one_vs_rest(features, targets, 0.5, loss="logistic")
    for column in range(targets.shape[1]):
        theirs = LogisticRegression(C=0.5, solver="liblinear", tol=1e-8)
        theirs.fit(features, targets[:, column])
        np.testing.assert_allclose(ours[:-1, column], theirs.coef_[0], atol=2e-3)


def test_the_start_does_not_change_the_solution() -> None:
    features, targets = clusters(120, 0.6, 2).samples()
    warm = fit_one_vs_rest(features, targets, 1.0, start=fit_one_vs_rest(features, targets, 1e-3))
    cold = fit_one_vs_rest(features, targets, 1.0)
    np.testing.assert_allclose(warm, cold, atol=2e-3)


def test_linear_equals_scikit_learns_pipeline_and_grid_search() -> None:
    train, test = clusters(160, 0.9, 0), clusters(80, 0.9, 1)
    protocol = probe("linear")
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


def test_an_svm_protocol_equals_scikit_learns_with_averaged_views() -> None:
    train, test = clusters(80, 1.0, 0, views=10), clusters(60, 1.0, 1, views=30)
    scores, _ = fit_and_score(probe("brave-svm"), train, test)
    samples, targets = train.samples()
    pipeline = make_pipeline(StandardScaler(), LinearSVC(C=1e-4, tol=1e-8, max_iter=100_000))
    pipeline.fit(samples, targets.argmax(axis=1))
    theirs = pipeline.decision_function(test.features.reshape(-1, 4)).reshape(60, 30, 4)
    assert (scores.argmax(axis=1) == theirs.mean(axis=1).argmax(axis=1)).all()


@pytest.mark.parametrize("name", ["linear", "knn", "crisscross-svm"])
def test_selection_does_not_depend_on_the_test_set(name: str) -> None:
    train = clusters(80, 0.8, 0)
    protocol = probe(name)
    chosen = select(protocol, train)
    for seed in range(3):
        assert fit_and_score(protocol, train, clusters(40, 0.8, seed))[1] == {"chosen": chosen}


def test_selection_on_the_test_set_is_at_least_as_good_and_is_named_peeking() -> None:
    honest, peeking = probe("crisscross-svm"), probe("crisscross-svm-peeking")
    assert peeking.selection == "test"
    assert "peeking" in peeking.name
    for seed in range(4):
        train, test = clusters(60, 1.2, seed), clusters(60, 1.2, 100 + seed)
        assert accuracy(fit_and_score(peeking, train, test)[0], test) >= accuracy(
            fit_and_score(honest, train, test)[0], test
        )


@pytest.mark.parametrize("name", ["linear", "knn", "brave-svm", "crisscross-svm"])
def test_separable_classes_are_learned_and_shuffled_labels_are_not(name: str) -> None:
    train, test = clusters(80, 0.05, 0), clusters(40, 0.05, 1)
    assert accuracy(fit_and_score(probe(name), train, test)[0], test) == 1.0
    shuffled = FeatureSet(
        features=train.features,
        targets=train.targets[np.random.default_rng(0).permutation(80)],
        groups=train.groups,
    )
    assert accuracy(fit_and_score(probe(name), shuffled, test)[0], test) < 0.7


def test_the_hear_network_learns_a_nonlinear_function() -> None:
    rng = np.random.default_rng(0)
    features = rng.uniform(-1, 1, (400, 1, 2)).astype(np.float32)
    classes = (features[:, 0].prod(axis=1) > 0).astype(int)  # exclusive or
    side = FeatureSet(
        features=features,
        targets=np.eye(2, dtype=np.bool_)[classes],
        groups=[str(row % 4) for row in range(400)],
    )
    small = MlpConfig(hidden_dim=64, learning_rates=(3.2e-3,), hidden_layers=(2,), max_epochs=90)
    protocol = probe("hear").model_copy(update={"classifier": small})
    train, test = side.take(np.arange(300)), side.take(np.arange(300, 400))
    scores, chosen = fit_and_score(protocol, train, test)
    assert accuracy(scores, test) > 0.85
    assert chosen["hidden_layers"] == 2
    linear = fit_and_score(probe("linear"), train, test)[0]
    assert accuracy(linear, test) < 0.7


def test_multi_label_classes_are_learned_one_vs_rest() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, (200, 3)).astype(np.bool_)
    features = (targets + 0.1 * rng.standard_normal((200, 3))).astype(np.float32)[:, None]
    side = FeatureSet(
        features=features, targets=targets, groups=[str(row % 5) for row in range(200)]
    )
    train, test = side.take(np.arange(150)), side.take(np.arange(150, 200))
    scores, _ = fit_and_score(probe("linear"), train, test, task="multi_label")
    assert np.nanmean(average_precisions(scores, test.targets.astype(np.bool_))) == pytest.approx(
        1.0
    )


@pytest.mark.parametrize("num_classes", [1, 3])
def test_multi_label_selection_is_the_best_over_the_groups_that_have_a_class(
    num_classes: int,
) -> None:
    rng = np.random.default_rng(0)
    targets = rng.random((120, num_classes)) < 0.4
    if num_classes > 1:
        targets[:, 0] = True  # a class that every clip has
    groups = np.arange(120) % 4
    names = [str(group) for group in groups]
    targets[groups == 0] = False
    features = (targets[:, :1] * 0.2 + rng.standard_normal((120, 16))).astype(np.float32)
    train = FeatureSet(features=features[:, None], targets=targets, groups=names)
    scores = {}
    for cost in LogisticConfig().candidates:
        found = []
        for group in (1, 2, 3):
            fitted = make_pipeline(StandardScaler(), LogisticRegression(C=cost, solver="liblinear"))
            is_held_out = groups == group
            precisions = []
            for column in targets.T:
                if column[~is_held_out].all() or not column[is_held_out].any():
                    continue
                fitted.fit(features[~is_held_out], column[~is_held_out])
                decision = fitted.decision_function(features[is_held_out])
                precisions.append(average_precision_score(column[is_held_out], decision))
            found.append(np.mean(precisions))
        scores[cost] = np.mean(found)
    chosen = select(probe("linear"), train, task="multi_label")
    assert scores[chosen] == pytest.approx(max(scores.values()), abs=1e-3)


def test_selection_uses_an_official_validation_set() -> None:
    train, validation = clusters(80, 1.0, 0), clusters(80, 1.0, 5)
    protocol = probe("linear")
    chosen = select(protocol, train, validation=validation)
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


@pytest.mark.parametrize("name", ["linear", "knn", "crisscross-svm"])
def test_a_few_clips_are_enough(name: str) -> None:
    train, test = clusters(5, 0.01, 0), clusters(4, 0.01, 1)
    few = FeatureSet(features=train.features, targets=train.targets, groups=list("abcde"))
    assert fit_and_score(probe(name), few, test)[0].shape == (4, 4)


def test_candidates_of_the_svm_are_those_of_the_release() -> None:
    config = probe("crisscross-svm").classifier
    assert isinstance(config, SvmConfig)
    assert config.candidates == (1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 1.0)


def stored(features: NDArray[np.float32], folder: Path, per_file: int = 7) -> StoredFeatures:
    """Write features to several files, and return them as the cache would."""
    places = []
    for number, start in enumerate(range(0, len(features), per_file)):
        part = features[start : start + per_file]
        save_file({"values": part}, folder / f"{number}.safetensors")
        places += [(folder / f"{number}.safetensors", row) for row in range(len(part))]
    return StoredFeatures(places, (features.shape[1], features.shape[2]))


def test_stored_features_are_indexed_like_arrays(tmp_path: Path) -> None:
    features = np.random.default_rng(0).random((20, 6, 5)).astype(np.float32)
    there = stored(features, tmp_path)
    rows = np.array([19, 3, 3, 0, 11])
    assert (there.shape, there.size, len(there)) == (features.shape, features.size, 20)
    np.testing.assert_array_equal(np.asarray(there), features)
    np.testing.assert_array_equal(np.asarray(there[rows]), features[rows])
    np.testing.assert_array_equal(np.asarray(there[rows][:, :2]), features[rows][:, :2])
    np.testing.assert_array_equal(np.asarray(there[rows][1:4][:, :None]), features[rows][1:4])


@pytest.mark.parametrize("name", ["crisscross-svm", "brave-svm"])
def test_an_svm_on_stored_features_equals_one_in_memory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = clusters(60, 1.0, 0, views=10), clusters(40, 1.0, 1, views=10)
    expected, chosen = fit_and_score(probe(name), train, test)
    # Many blocks, none of which is kept.
    monkeypatch.setattr(stored_features, "_VALUES_PER_BLOCK", 250)
    monkeypatch.setattr(stored_features, "_MAX_VALUES_KEPT", 0)
    sides = []
    for number, side in enumerate((train, test)):
        folder = tmp_path / str(number)
        folder.mkdir()
        features = cast("NDArray[np.float32]", stored(side.features, folder))
        sides.append(replace(side, features=features))
    found, chosen_again = fit_and_score(probe(name), sides[0], sides[1])
    assert chosen_again == chosen
    np.testing.assert_allclose(found, expected, atol=2e-3)
