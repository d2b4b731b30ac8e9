"""The linear protocol: honest selection, known answers."""

from __future__ import annotations

import numpy as np
import pytest

from toomuchtv.evaluation.features import window_starts
from toomuchtv.evaluation.labeled import Labeled
from toomuchtv.evaluation.linear import LinearProtocol, choose_regularization, linear_accuracy

PROTOCOL = LinearProtocol()


def made(num: int, noise: float, seed: int, *, classes: int = 4) -> Labeled:
    """Gaussian classes around the corners of a simplex."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num) % classes
    features = np.eye(classes)[labels] + noise * rng.standard_normal((num, classes))
    return Labeled(
        features=features.astype(np.float32),
        labels=[f"class {label}" for label in labels],
        groups=[str(index // classes % 5) for index in range(num)],
    )


def test_separable_classes_are_told_apart() -> None:
    accuracy, chosen = linear_accuracy(PROTOCOL, made(80, 0.05, 0), made(40, 0.05, 1))
    assert accuracy == 1.0
    assert chosen in PROTOCOL.candidates


def test_shuffled_labels_score_at_chance() -> None:
    train, test = made(400, 0.1, 0), made(400, 0.1, 1)
    shuffled = np.random.default_rng(0).permutation(np.array(train.labels)).tolist()
    noise = Labeled(features=train.features, labels=shuffled, groups=train.groups)
    accuracy, _ = linear_accuracy(PROTOCOL, noise, test)
    assert abs(accuracy - 0.25) < 0.2


def test_selection_does_not_see_the_test_set() -> None:
    train = made(80, 0.8, 0)
    chosen = choose_regularization(PROTOCOL, train)
    for seed in range(3):
        assert linear_accuracy(PROTOCOL, train, made(40, 0.8, seed))[1] == chosen


def test_one_group_takes_the_middle_candidate() -> None:
    train = made(40, 0.1, 0)
    alone = Labeled(features=train.features, labels=train.labels, groups=["1"] * 40)
    assert choose_regularization(PROTOCOL, alone) == PROTOCOL.candidates[2]


def test_take_keeps_rows_together() -> None:
    part = made(20, 0.1, 0).take([3, 5])
    assert part.features.shape == (2, 4)
    assert part.labels == ["class 3", "class 1"]


@pytest.mark.parametrize(
    ("total", "window", "count", "expected"),
    [
        (5.0, 1.0, 5, [0.0, 1.0, 2.0, 3.0, 4.0]),
        (5.0, 1.0, 1, [2.0]),
        (1.0, 2.0, 3, [0.0, 0.0, 0.0]),
        (2.0, 2.0, 2, [0.0, 0.0]),
    ],
)
def test_windows_spread_evenly(
    total: float, window: float, count: int, expected: list[float]
) -> None:
    assert window_starts(total, window, count) == expected
