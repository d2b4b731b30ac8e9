"""Linear classifiers one against the rest, all classes and many samples at once.

    min over w:  1/2 |w|^2 + C * sum_i loss(y_i * w . (x_i, 1))

which is what liblinear (Fan et al., JMLR 2008) minimizes, its intercept regularized like the rest:
scikit-learn's `LinearSVC` and `LogisticRegression(solver="liblinear")`. Those take each class and
each sample in turn; protocols with 100 views a clip want matrix products. L-BFGS (Nocedal and
Wright, algorithm 7.5) with an exact line search: along a line all margins move linearly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Loss = Literal["squared_hinge", "logistic"]

_HISTORY = 12
_MAX_STEPS = 1000
_TOLERANCE = 1e-4
_LINE_STEPS = 30


class LinearScores(NamedTuple):
    """Weights `[F + 1, K]`, the intercept last."""

    weights: NDArray[np.float32]

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Signed distances `[n, K]` of features `[n, F]`."""
        found: NDArray[np.float32] = features @ self.weights[:-1] + self.weights[-1]
        return found


def fit_linear(
    features: NDArray[np.float32],
    targets: NDArray[np.bool_],
    strength: float,
    *,
    loss: Loss = "squared_hinge",
    start: LinearScores | None = None,
) -> LinearScores:
    """Fit one classifier a class.

    Args:
        features: `[n, F]`.
        targets: Which sample is of which class, `[n, K]`.
        strength: C, the weight of the samples against that of the norm.
        loss: Of the margins.
        start: Where to begin, as the solution for another C: the answer is the same, sooner.
    """
    x = torch.from_numpy(np.ascontiguousarray(features))
    y = torch.from_numpy(targets).to(x.dtype) * 2 - 1
    w = (
        torch.zeros(features.shape[1] + 1, targets.shape[1])
        if start is None
        else torch.from_numpy(start.weights.copy())
    )
    problem = _Problem(x, y, strength, *_LOSSES[loss])
    return LinearScores(problem.solve(w).numpy())


def _squared_hinge(margin: Tensor) -> Tensor:
    return (1 - margin).clamp(min=0).square()


def _squared_hinge_slope(margin: Tensor) -> Tensor:
    return -2 * (1 - margin).clamp(min=0)


def _squared_hinge_curve(margin: Tensor) -> Tensor:
    return 2.0 * (margin < 1)


def _logistic(margin: Tensor) -> Tensor:
    return torch.nn.functional.softplus(-margin)


def _logistic_slope(margin: Tensor) -> Tensor:
    return -torch.sigmoid(-margin)


def _logistic_curve(margin: Tensor) -> Tensor:
    share = torch.sigmoid(margin)
    return share * (1 - share)


_Part = Callable[[Tensor], Tensor]
_LOSSES: dict[str, tuple[_Part, _Part, _Part]] = {
    "squared_hinge": (_squared_hinge, _squared_hinge_slope, _squared_hinge_curve),
    "logistic": (_logistic, _logistic_slope, _logistic_curve),
}


class _Problem:
    """All classes side by side: every column of every tensor is a problem of its own."""

    def __init__(
        self, x: Tensor, y: Tensor, strength: float, loss: _Part, slope: _Part, curve: _Part
    ) -> None:
        self._x, self._y, self._c = x, y, strength
        self._loss, self._slope, self._curve = loss, slope, curve

    def _scores(self, w: Tensor) -> Tensor:
        # Few columns against many samples: as rows the products are much faster.
        return (w[:-1].T.contiguous() @ self._x.T).T + w[-1:]

    def _gradient(self, w: Tensor, margin: Tensor) -> Tensor:
        pull = self._c * self._y * self._slope(margin)
        product = (pull.T.contiguous() @ self._x).T
        return w + torch.cat([product, pull.sum(dim=0, keepdim=True)])

    def solve(self, w: Tensor) -> Tensor:
        margin = self._y * self._scores(w)
        gradient = self._gradient(w, margin)
        # liblinear stops relative to the gradient at zero, scaled for small classes.
        at_zero = self._gradient(torch.zeros_like(w), torch.zeros_like(margin)).norm(dim=0)
        enough = _TOLERANCE * at_zero.clamp(min=1e-12)
        steps: list[Tensor] = []
        turns: list[Tensor] = []
        for _ in range(_MAX_STEPS):
            if bool((gradient.norm(dim=0) <= enough).all()):
                break
            direction = _two_loops(gradient, steps, turns)
            along = self._y * self._scores(direction)
            length = self._line_search(w, direction, margin, along)
            step = length * direction
            w, margin = w + step, margin + length * along
            new_gradient = self._gradient(w, margin)
            steps.append(step)
            turns.append(new_gradient - gradient)
            del steps[:-_HISTORY], turns[:-_HISTORY]
            gradient = new_gradient
        return w

    def _line_search(self, w: Tensor, direction: Tensor, margin: Tensor, along: Tensor) -> Tensor:
        """How far to go in each column: Newton on a convex function of one number, bisected."""
        low = torch.zeros(w.shape[1])
        high = torch.full_like(low, torch.inf)
        length = torch.ones_like(low)
        square, product = direction.square().sum(dim=0), (w * direction).sum(dim=0)
        first = None
        for _ in range(_LINE_STEPS):
            at = margin + length * along
            slope = product + length * square + self._c * (self._slope(at) * along).sum(dim=0)
            if first is None:
                first = (product + self._c * (self._slope(margin) * along).sum(dim=0)).abs()
            if bool((slope.abs() <= 1e-3 * first + 1e-20).all()):
                break
            curve = square + self._c * (self._curve(at) * along.square()).sum(dim=0)
            low = torch.where(slope < 0, length, low)
            high = torch.where(slope > 0, length, high)
            newton = length - slope / curve.clamp(min=1e-20)
            outside = ~((newton > low) & (newton < high))
            middle = torch.where(high.isinf(), 2 * length, (low + high) / 2)
            length = torch.where(outside, middle, newton)
        return length


def _two_loops(gradient: Tensor, steps: list[Tensor], turns: list[Tensor]) -> Tensor:
    """The direction of L-BFGS, column by column."""
    direction = -gradient
    shares = []
    for step, turn in zip(reversed(steps), reversed(turns), strict=True):
        scale = 1.0 / (step * turn).sum(dim=0).clamp(min=1e-20)
        share = scale * (step * direction).sum(dim=0)
        direction = direction - share * turn
        shares.append((share, scale))
    if steps:
        step, turn = steps[-1], turns[-1]
        size = (step * turn).sum(dim=0) / turn.square().sum(dim=0).clamp(min=1e-20)
        direction = direction * torch.where(size > 0, size, torch.ones_like(size))
    for (share, scale), step, turn in zip(reversed(shares), steps, turns, strict=True):
        direction = direction + (share - scale * (turn * direction).sum(dim=0)) * step
    return direction
