"""The interface that every loss of this package has: unit vectors and pair labels in, a scalar out.

A pair is (video of clip i, audio of clip j). Its label is 1 for a positive, 0 for a negative and -1
for a pair that takes no part in the loss. Labels need not be symmetric.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol, Self, TypedDict, Unpack

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn


class PairLabelRows(Protocol):
    """Pair labels that are computed some rows at a time, so that no dense matrix is needed."""

    def rows(self, start: int, stop: int) -> Tensor:
        """Return the labels of videos `[start, stop)` with all N audios.

        Returns:
            int8 `[stop - start, N]`: 1 positive, 0 negative, -1 ignored.
        """
        ...


#: What losses accept as pair labels: an integer tensor `[N, N]`, an object that computes rows, or
#: None: then the video and the audio of one clip are positive, and all other pairs negative.
PairLabelsLike = Tensor | PairLabelRows | None

#: A function of (start, stop) that returns the labels `[stop - start, N]` of these rows.
LabelRows = Callable[[int, int], Tensor]


def label_rows(pair_labels: PairLabelsLike, num_clips: int, device: torch.device) -> LabelRows:
    """Return a function that gives the labels of a range of rows, whatever form they come in.

    The function raises a ValueError if the labels are not those of `num_clips` audios.
    """

    def rows(start: int, stop: int) -> Tensor:
        if pair_labels is None:
            labels = torch.zeros(stop - start, num_clips, dtype=torch.int8, device=device)
            labels.diagonal(start).fill_(1)
        elif isinstance(pair_labels, Tensor):
            labels = pair_labels[start:stop]
        else:
            labels = pair_labels.rows(start, stop)
        if labels.shape != (stop - start, num_clips):
            raise ValueError(
                f"pair labels of rows [{start}, {stop}) must have the shape "
                f"{[stop - start, num_clips]}, got {list(labels.shape)}: they span the whole "
                "batch, over all processes"
            )
        return labels

    return rows


class TemperatureConfig(BaseModel):
    """Settings that every loss has.

    Attributes:
        temperature: Divisor of the similarities. If it is learned, this is its initial value.
        learn_temperature: Whether the temperature is a parameter.
        min_temperature: Smallest value that a learned temperature takes.
        max_temperature: Largest value that a learned temperature takes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    temperature: float = Field(default=0.07, gt=0.0, le=10.0)
    learn_temperature: bool = False
    min_temperature: float = Field(default=0.01, gt=0.0, le=10.0)
    max_temperature: float = Field(default=10.0, gt=0.0, le=1000.0)

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if not self.min_temperature <= self.temperature <= self.max_temperature:
            raise ValueError(
                f"temperature must lie in [min_temperature, max_temperature], got "
                f"{self.temperature} and [{self.min_temperature}, {self.max_temperature}]"
            )
        return self


class TemperatureOptions(TypedDict, total=False):
    """Keyword arguments of every loss; see `TemperatureConfig` for their defaults."""

    temperature: float
    learn_temperature: bool
    min_temperature: float
    max_temperature: float


class PairLoss(nn.Module, ABC):
    """A contrastive loss of the embeddings of N clips.

    What a loss learns is a parameter and what it remembers is a buffer, so that a checkpoint of
    its state dict is complete. In `eval()` mode a loss changes no state.

    The logarithm of the temperature is what is learned, as in CLIP (Radford et al., ICML 2021,
    section 2.5).

    Args:
        **options: `temperature`, `learn_temperature`, `min_temperature` and `max_temperature`; see
            `TemperatureConfig`.
    """

    log_temperature: Tensor

    def __init__(self, **options: Unpack[TemperatureOptions]) -> None:
        super().__init__()
        config = TemperatureConfig(**options)
        self._log_range = math.log(config.min_temperature), math.log(config.max_temperature)
        initial = torch.tensor(math.log(config.temperature))
        if config.learn_temperature:
            self.log_temperature = nn.Parameter(initial)
        else:
            self.register_buffer("log_temperature", initial)

    @property
    def temperature(self) -> Tensor:
        """The current temperature, a float32 scalar within its range."""
        clamped: Tensor = _ClampWithInwardGradient.apply(self.log_temperature, *self._log_range)  # type: ignore[no-untyped-call]
        return clamped.exp()

    @abstractmethod
    def forward(self, video: Tensor, audio: Tensor, pair_labels: PairLabelsLike = None) -> Tensor:
        """Compute the loss of a batch.

        Args:
            video: Unit vectors `[N, D]`, float32 or lower. Similarities are always float32.
            audio: Unit vectors `[N, D]` of the same clips.
            pair_labels: Labels of the pairs (video i, audio j); see `PairLabelsLike`.

        Returns:
            A float32 scalar. It is 0 if the batch has no positive pair.
        """


class _ClampWithInwardGradient(torch.autograd.Function):
    """A clamp whose gradient is zero only where descent would lead further out of the range.

    The gradient of a plain clamp is zero everywhere outside its range, so that a parameter that an
    optimizer step has moved out of the range would stay there.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, value: Tensor, lowest: float, highest: float
    ) -> Tensor:
        ctx.save_for_backward(value)
        ctx.range = lowest, highest  # type: ignore[attr-defined]
        return value.clamp(lowest, highest)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grads: Tensor
    ) -> tuple[Tensor, None, None]:
        (value,) = ctx.saved_tensors  # type: ignore[attr-defined]
        lowest, highest = ctx.range  # type: ignore[attr-defined]
        grad = grads[0]
        outward = ((value < lowest) & (grad > 0)) | ((value > highest) & (grad < 0))
        return torch.where(outward, torch.zeros_like(grad), grad), None, None
