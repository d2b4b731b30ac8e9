"""The temperature of an objective, fixed or learned inside a clamp."""

from __future__ import annotations

import math
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from toomuchtv.losses.base import PairLoss


class TemperatureConfig(BaseModel):
    """Settings that every objective with a temperature has.

    Attributes:
        temperature: Divides the similarities; the start value where it is learned.
        learn_temperature: Whether it is a parameter.
        min_temperature: Lower end of the clamp.
        max_temperature: Upper end of the clamp.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=0.07, gt=0.0, le=10.0)
    learn_temperature: bool = False
    min_temperature: float = Field(default=0.01, gt=0.0)
    max_temperature: float = Field(default=10.0, gt=0.0)

    @model_validator(mode="after")
    def _check_clamp(self) -> Self:
        if not self.min_temperature <= self.temperature <= self.max_temperature:
            raise ValueError(
                f"temperature must lie in [min_temperature, max_temperature], got "
                f"{self.temperature} and [{self.min_temperature}, {self.max_temperature}]"
            )
        return self


class TemperedObjective(PairLoss):
    """An objective with a temperature.

    Its logarithm is what is learned, as in CLIP (Radford et al., ICML 2021, section 2.5).
    """

    log_temperature: Tensor

    def __init__(self, config: TemperatureConfig) -> None:
        super().__init__()
        self._clamp = math.log(config.min_temperature), math.log(config.max_temperature)
        start = torch.tensor(math.log(config.temperature))
        if config.learn_temperature:
            self.log_temperature = nn.Parameter(start)
        else:
            self.register_buffer("log_temperature", start)

    @property
    def temperature(self) -> Tensor:
        """The temperature now, clamped, a float32 scalar."""
        clamped: Tensor = _ClampInwards.apply(self.log_temperature, *self._clamp)  # type: ignore[no-untyped-call]
        return clamped.exp()


class _ClampInwards(torch.autograd.Function):
    """A clamp that lets through what leads back inside.

    The gradient of a plain clamp is zero outside it: an optimizer that once stepped over the edge
    would leave the temperature there for good. Here a gradient is held back only where descent
    would lead further out.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, value: Tensor, lowest: float, highest: float
    ) -> Tensor:
        ctx.save_for_backward(value)
        ctx.ends = lowest, highest  # type: ignore[attr-defined]
        return value.clamp(lowest, highest)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grads: Tensor
    ) -> tuple[Tensor, None, None]:
        (value,) = ctx.saved_tensors  # type: ignore[attr-defined]
        lowest, highest = ctx.ends  # type: ignore[attr-defined]
        grad = grads[0]
        outwards = ((value < lowest) & (grad > 0)) | ((value > highest) & (grad < 0))
        return torch.where(outwards, torch.zeros_like(grad), grad), None, None
