"""LARS: every layer moves by a share of its own norm.

You, Gitman and Ginsburg, "Large Batch Training of Convolutional Networks", 2017
(arXiv 1708.03888), algorithm 1 and equation 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor


class Lars(torch.optim.Optimizer):
    """SGD with momentum whose learning rate is scaled a layer at a time.

    With weights w, gradient g, decay b, momentum m, trust coefficient n and learning rate r:

        l = n * |w| / (|g| + b * |w|)      (1 where |w| or |g| is 0)
        v = m * v + r * l * (g + b * w)
        w = w - v

    As in the paper the learning rate is inside the momentum, where torch's SGD has it outside.

    Args:
        params: Parameters, or groups of them. A group with `adapt` false keeps l = 1: for biases
            and norms, as every later user of LARS has it (Goyal et al. 2017; BYOL, SimCLR).
        lr: Learning rate, above 0.
        momentum: 0..1.
        weight_decay: 0 or more.
        trust_coefficient: Above 0.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 1e-3,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "weight_decay": weight_decay,
                "trust_coefficient": trust_coefficient,
                "adapt": True,
            },
        )

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)
        return loss

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        decay = group["weight_decay"]
        change = gradient.add(parameter, alpha=decay) if decay else gradient.clone()
        if group["adapt"]:
            weight_norm, gradient_norm = parameter.norm(), gradient.norm()
            trust = group["trust_coefficient"] * weight_norm / (gradient_norm + decay * weight_norm)
            # On the device: reading a norm here would wait for it, once a layer.
            usable = (weight_norm > 0) & (gradient_norm > 0)
            change.mul_(torch.where(usable, trust, torch.ones_like(trust)))
        state = self.state[parameter]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(parameter)
        velocity = state["velocity"].mul_(group["momentum"]).add_(change, alpha=group["lr"])
        parameter.sub_(velocity)
