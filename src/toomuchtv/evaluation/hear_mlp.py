"""The shallow network that the HEAR benchmark trains on embeddings (Turian et al., 2022)."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from toomuchtv.evaluation.benchmark import FeatureArray, ScoreArray, TargetArray
from toomuchtv.evaluation.classifiers import Scorer
from toomuchtv.evaluation.metrics import primary_score
from toomuchtv.evaluation.protocols.config import MlpConfig


def fit_mlp(
    config: MlpConfig,
    train: tuple[FeatureArray, TargetArray],
    validation: tuple[FeatureArray, TargetArray],
    *,
    multi_label: bool,
    seed: int,
) -> tuple[Scorer, dict[str, float]]:
    """Train every network of the grid and keep the one with the best validation score.

    Args:
        config: Settings of the network and the grid.
        train: Training samples `[n, F]` and multi-hot targets `[n, K]`.
        validation: Validation samples and targets.
        multi_label: True if a clip may have several classes.
        seed: Seed of the initial weights and of the batches.

    Returns:
        A function from features `[n, F]` to logits `[n, K]`; and the number of hidden layers, the
        learning rate and the validation score of the network.
    """
    best: tuple[float, nn.Module, dict[str, float]] | None = None
    grid = itertools.product(config.hidden_layers, config.learning_rates)
    for number, (layers, rate) in enumerate(grid):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + number)
            network = _network(config, layers, train[0].shape[1], train[1].shape[1])
            score = _train(config, network, rate, train, validation, multi_label=multi_label)
        if best is None or score > best[0]:
            best = (score, network, {"hidden_layers": layers, "learning_rate": rate})
    assert best is not None
    return _scorer(best[1]), {**best[2], "validation_score": best[0]}


def _scorer(network: nn.Module) -> Scorer:
    def logits(features: FeatureArray) -> ScoreArray:
        with torch.inference_mode():
            result: NDArray[np.float32] = network(torch.from_numpy(features)).numpy()
        return result

    return logits


def _train(
    config: MlpConfig,
    network: nn.Module,
    rate: float,
    train: tuple[FeatureArray, TargetArray],
    validation: tuple[FeatureArray, TargetArray],
    *,
    multi_label: bool,
) -> float:
    """Train with early stopping, restore the best weights, and return their validation score."""
    features, targets = torch.from_numpy(train[0]), torch.from_numpy(train[1]).float()
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    best_score, best_state, num_checks_since = -1.0, copy.deepcopy(network.state_dict()), 0
    for epoch in range(config.max_epochs):
        network.train()
        for rows in torch.split(torch.randperm(len(features)), config.batch_size):
            if len(rows) < 2:
                continue  # batch norm needs at least two samples
            loss = _loss(network(features[rows]), targets[rows], multi_label)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if (epoch + 1) % config.check_every:
            continue
        network.eval()
        scores = _scorer(network)(validation[0])
        score = primary_score(scores, validation[1], multi_label=multi_label)
        num_checks_since += 1
        if score > best_score:
            best_state, num_checks_since = copy.deepcopy(network.state_dict()), 0
            best_score = score
        elif num_checks_since >= config.patience:
            break
    network.load_state_dict(best_state)
    network.eval()
    return best_score


def _loss(logits: Tensor, targets: Tensor, multi_label: bool) -> Tensor:
    if multi_label:
        return F.binary_cross_entropy_with_logits(logits, targets)
    return F.cross_entropy(logits, targets.argmax(dim=1))


def _network(config: MlpConfig, layers: int, num_features: int, num_classes: int) -> nn.Module:
    modules: list[nn.Module] = []
    width, gain = num_features, 1.0
    for _ in range(layers):
        linear = nn.Linear(width, config.hidden_dim)
        nn.init.xavier_uniform_(linear.weight, gain=gain)
        norm = nn.BatchNorm1d(config.hidden_dim)
        modules += [linear, norm, nn.Dropout(config.dropout), nn.ReLU()]
        width, gain = config.hidden_dim, nn.init.calculate_gain("relu")
    last = nn.Linear(width, num_classes)
    nn.init.xavier_uniform_(last.weight, gain=gain)
    return nn.Sequential(*modules, last)
