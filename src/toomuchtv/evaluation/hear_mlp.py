"""The shallow network that the HEAR benchmark trains on embeddings (Turian et al., 2022)."""

from __future__ import annotations

import copy
import itertools
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from toomuchtv.evaluation.metrics import primary_score
from toomuchtv.evaluation.protocols.config import MlpConfig


class MlpScores(NamedTuple):
    """A trained network as a function of features."""

    network: nn.Module

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits `[n, K]` of features `[n, F]`."""
        with torch.inference_mode():
            logits: NDArray[np.float32] = self.network(torch.from_numpy(features)).numpy()
        return logits


class _Side(NamedTuple):
    features: Tensor
    targets: Tensor


def fit_mlp(
    config: MlpConfig,
    train: tuple[NDArray[np.float32], NDArray[np.bool_]],
    validation: tuple[NDArray[np.float32], NDArray[np.bool_]],
    *,
    multi_label: bool,
    seed: int,
) -> tuple[MlpScores, dict[str, float]]:
    """Train every network of the grid, and keep the one with the best score on `validation`.

    Returns:
        The network, as it was when it was best; and its number of hidden layers, its learning rate
        and its score on the validation side.
    """
    sides = [
        _Side(torch.from_numpy(x), torch.from_numpy(y).float()) for x, y in (train, validation)
    ]
    best: tuple[float, nn.Module, dict[str, float]] | None = None
    grid = itertools.product(config.hidden_layers, config.learning_rates)
    for number, (layers, rate) in enumerate(grid):
        score, network = _train(
            config, layers, rate, *sides, multi_label=multi_label, seed=seed + number
        )
        if best is None or score > best[0]:
            best = (score, network, {"hidden_layers": layers, "learning_rate": rate})
    assert best is not None
    return MlpScores(best[1]), {**best[2], "validation_score": best[0]}


def _train(
    config: MlpConfig,
    layers: int,
    rate: float,
    train: _Side,
    validation: _Side,
    *,
    multi_label: bool,
    seed: int,
) -> tuple[float, nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(config, layers, train.features.shape[1], train.targets.shape[1])
        optimizer = torch.optim.Adam(network.parameters(), lr=rate)
        best_score, best, since = -1.0, copy.deepcopy(network.state_dict()), 0
        for epoch in range(config.max_epochs):
            network.train()
            for rows in torch.split(torch.randperm(len(train.features)), config.batch_size):
                if len(rows) < 2:
                    continue  # batch norm needs two
                loss = _loss(network(train.features[rows]), train.targets[rows], multi_label)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            if (epoch + 1) % config.check_every:
                continue
            network.eval()
            scores = MlpScores(network).scores(validation.features.numpy())
            score = primary_score(
                scores, validation.targets.bool().numpy(), multi_label=multi_label
            )
            since += 1
            if score > best_score:
                best_score, best, since = score, copy.deepcopy(network.state_dict()), 0
            elif since >= config.patience:
                break
    network.load_state_dict(best)
    return best_score, network.eval()


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
        modules += [
            linear,
            nn.BatchNorm1d(config.hidden_dim),
            nn.Dropout(config.dropout),
            nn.ReLU(),
        ]
        width, gain = config.hidden_dim, nn.init.calculate_gain("relu")
    last = nn.Linear(width, num_classes)
    nn.init.xavier_uniform_(last.weight, gain=gain)
    return nn.Sequential(*modules, last)
