"""A running average of the weights, which often transfers better than the last ones.

Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992, with
exponential weights as in Tarvainen and Valpola, "Mean teachers are better role models", 2017.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from toomuchtv.models import TwoTower


class AveragedModel(nn.Module):
    """The average of a model, weights and batch norm's statistics alike: `a += (1 - d) * (w - a)`.

    It begins as a copy. In checkpoints it lies beside the model, so that a resumed run averages on.

    Args:
        model: What is averaged; call `update` after each of its steps.
        decay: d; about 1 / (1 - d) steps count.
    """

    def __init__(self, model: TwoTower, decay: float) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self._decay = decay

    @torch.no_grad()
    def update(self, model: TwoTower) -> None:
        """Take in the model as it is now."""
        mine = [*self.model.parameters(), *self.model.buffers()]
        its = [*model.parameters(), *model.buffers()]
        pairs = list(zip(mine, its, strict=True))
        floats = [(own, new) for own, new in pairs if own.is_floating_point()]
        torch._foreach_lerp_(
            [own for own, _ in floats], [new for _, new in floats], 1.0 - self._decay
        )
        for own, new in pairs:
            if not own.is_floating_point():
                own.copy_(new)
