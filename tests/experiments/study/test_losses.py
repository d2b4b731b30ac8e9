"""The losses of other methods against NumPy references that share no code with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.study.losses import Clustering, Regression

Float = NDArray[np.float64]
#: The clip that has no positive pair.
WITHOUT = 2


def batch(seed: int, num_clips: int = 6, dim: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Return video and audio embeddings, and labels by which one clip takes no part."""
    values = torch.randn(2, num_clips, dim, generator=torch.Generator().manual_seed(seed))
    video, audio = torch.nn.functional.normalize(values, dim=2).requires_grad_()
    labels = torch.eye(num_clips, dtype=torch.int8)
    labels[WITHOUT] = labels[:, WITHOUT] = -1
    return video, audio, labels


def array(value: Tensor) -> Float:
    values: Float = value.detach().double().numpy()
    return values


def unit(value: Float) -> Float:
    length: Float = np.linalg.norm(value, axis=-1, keepdims=True)
    return value / length


def others(value: Float) -> Float:
    return np.delete(value, WITHOUT, axis=0)


def predicted(loss: Regression, name: str, known: Float) -> Float:
    """Apply a predictor in NumPy, with the statistics of the whole batch."""
    state = {key.removeprefix(name + "."): array(value) for key, value in loss.state_dict().items()}
    hidden = known @ state["0.weight"].T + state["0.bias"]
    hidden = (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + 1e-5)
    hidden = np.maximum(hidden * state["1.weight"] + state["1.bias"], 0)
    return unit(hidden @ state["3.weight"].T + state["3.bias"])


def test_regression_is_that_of_the_reference() -> None:
    torch.manual_seed(0)
    loss = Regression(5, hidden_dim=7)
    video, audio, labels = batch(1)
    value = loss(video, audio, labels)
    total = 0.0
    for name, known, target in (("from_video", video, audio), ("from_audio", audio, video)):
        apart = predicted(loss, name, array(known)) - array(target)
        total += (others(apart) ** 2).sum(axis=1).mean() / 2
    assert value.item() == pytest.approx(total, rel=1e-5)
    assert loss(video, audio, -torch.ones_like(labels)).item() == 0.0
    # If the predictor of the video does not depend on it, the video is only a target: no gradient.
    torch.nn.init.zeros_(loss.get_parameter("from_video.3.weight"))
    (grad,) = torch.autograd.grad(loss(video, audio, labels), video)
    assert not grad.any()


def assigned(known: Float, prototypes: Float, *, epsilon: float, iterations: int) -> Float:
    """Sinkhorn-Knopp as in SwAV, algorithm 1: clusters and clips by turns get equal mass."""
    shares = np.exp(known @ unit(prototypes).T / epsilon)
    shares /= shares.sum()
    for _ in range(iterations):
        shares /= shares.sum(axis=0, keepdims=True) * shares.shape[1]
        shares /= shares.sum(axis=1, keepdims=True) * shares.shape[0]
    return shares * len(known)


def cross_entropy(
    targets: Float, embeddings: Float, prototypes: Float, temperature: float
) -> float:
    logits = embeddings @ unit(prototypes).T / temperature
    log_shares = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(-(targets * log_shares).sum(axis=1).mean())


def test_clustering_is_that_of_the_reference_with_a_queue_that_fills() -> None:
    torch.manual_seed(0)
    loss = Clustering(5, num_clusters=4, queue_size=8, epsilon=0.1, iterations=3, temperature=0.2)
    prototypes = array(loss.prototypes)
    queues: list[Float] = [np.zeros((0, 5)), np.zeros((0, 5))]
    for step in range(4):
        video, audio, labels = batch(step)
        sides = [others(array(video)), others(array(audio))]
        targets = [
            assigned(np.concatenate([side, queue]), one, epsilon=0.1, iterations=3)[: len(side)]
            for side, queue, one in zip(sides, queues, prototypes, strict=True)
        ]
        expected = 0.5 * sum(
            cross_entropy(targets[1 - k], sides[k], prototypes[k], 0.2) for k in range(2)
        )
        loss.eval()
        assert loss(video, audio, labels).item() == pytest.approx(expected, rel=1e-4)
        loss.train()
        assert loss(video, audio, labels).item() == pytest.approx(expected, rel=1e-4)
        # Six rows per step go into the queue of eight, of which one is empty.
        queues = [side[np.any(side != 0, axis=1)] for side in array(loss.queue)]
        assert [len(queue) for queue in queues] == ([7, 7] if step else [5, 5])
        for queue, side in zip(queues, sides, strict=True):
            np.testing.assert_allclose(queue[:5], side, rtol=1e-6)
    assert loss(video, audio, -torch.ones_like(labels)).item() == 0.0


def test_the_assignment_has_no_gradient_and_clusters_of_equal_size() -> None:
    torch.manual_seed(0)
    loss = Clustering(5, num_clusters=3, queue_size=0, epsilon=0.3, iterations=50)
    values = torch.nn.functional.normalize(torch.randn(2, 12, 5), dim=2)
    targets = loss._assign(values, torch.nn.functional.normalize(loss.prototypes, dim=2),
                           torch.ones(12, dtype=torch.bool))  # fmt: skip
    assert not targets.requires_grad
    torch.testing.assert_close(targets.sum(dim=2), torch.ones(2, 12))
    torch.testing.assert_close(targets.sum(dim=1), torch.full((2, 3), 4.0), rtol=1e-3, atol=1e-3)
