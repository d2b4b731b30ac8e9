"""Every pair judged by itself: the sigmoid loss of SigLIP.

Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023, section 3.2, algorithm 1.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from toomuchtv.losses.base import Moments, Roles
from toomuchtv.losses.chunked import logistic_sums
from toomuchtv.losses.contrast import Contrast
from toomuchtv.losses.temperature import TemperatureConfig, TemperedObjective


class SigmoidConfig(TemperatureConfig):
    """Settings of the sigmoid loss; the defaults are the paper's start values.

    Attributes:
        bias: Added to every logit. At -10 nearly every pair is taken for a negative to begin
            with, as nearly every pair is one.
        learn_bias: Whether it is a parameter.
    """

    name: Literal["sigmoid"] = "sigmoid"
    temperature: float = Field(default=0.1, gt=0.0, le=10.0)
    learn_temperature: bool = True
    bias: float = Field(default=-10.0, ge=-100.0, le=100.0)
    learn_bias: bool = True


def sigmoid(
    video: Tensor,
    audio: Tensor,
    roles: Roles,
    temperature: Tensor | float,
    bias: Tensor | float,
    *,
    num_clips: Tensor | int,
) -> Tensor:
    """Sigmoid loss of the whole batch.

    With z = video . audio / temperature + bias:

        1 / num_clips * (sum over positives of -log sigmoid(z) + over negatives of -log sigmoid(-z))

    The paper learns t = 1 / temperature as exp(t'), t' = log 10 at the start: the same parameter
    with its sign turned. Departure: ignored pairs.

    Args:
        video: Unit vectors `[n, D]` of the own clips.
        audio: Unit vectors `[n, D]` of the same clips.
        roles: Of the whole batch; see `Roles`.
        temperature: Divides the similarities.
        bias: Is added to the logits.
        num_clips: Clips of the whole batch that count.

    Returns:
        See `Objective.forward`.
    """
    contrast = Contrast(video, audio, roles, torch.as_tensor(temperature))
    offset = -torch.as_tensor(bias, device=video.device).expand(len(video))
    sums = logistic_sums(contrast.video, contrast.all_audio, offset, contrast.roles)
    return contrast.total(sums.sum() / torch.as_tensor(num_clips).clamp(min=1))


class Sigmoid(TemperedObjective):
    """The objective with its temperature and its bias."""

    bias: Tensor

    def __init__(self, config: SigmoidConfig) -> None:
        super().__init__(config)
        self.config = config
        if config.learn_bias:
            self.bias = nn.Parameter(torch.tensor(config.bias))
        else:
            self.register_buffer("bias", torch.tensor(config.bias))

    def forward(self, video: Tensor, audio: Tensor, roles: Roles, moments: Moments) -> Tensor:
        """Loss of a batch; see `sigmoid`. Clips that are not valid do not count."""
        num_clips = moments.valid.sum()
        return sigmoid(video, audio, roles, self.temperature, self.bias, num_clips=num_clips)
