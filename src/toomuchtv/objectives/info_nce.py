"""Symmetric InfoNCE between video and audio, with pair roles.

van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018, eq. 4,
in the symmetric form of CLIP (Radford et al., ICML 2021, fig. 3).
"""

from __future__ import annotations

import math

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn


class InfoNCEConfig(BaseModel):
    """Settings of the objective.

    Attributes:
        temperature: Divides the similarities; the start value where it is learned.
        learn_temperature: Whether it is a parameter, clamped to `min_temperature` and above.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=0.07, gt=0.0, le=10.0)
    learn_temperature: bool = False
    min_temperature: float = Field(default=0.01, gt=0.0)


def info_nce(video: Tensor, audio: Tensor, role: Tensor, temperature: Tensor | float) -> Tensor:
    """Symmetric InfoNCE of a batch.

    Each positive pair is told from the negatives of its row (video asks for its audio) and of
    its column (audio asks for its video). Other positives of the same row are left out of its
    denominator. Rows without a positive give no term; a row's positives share its weight.

    Args:
        video: Unit vectors `[N, D]`.
        audio: Unit vectors `[N, D]`.
        role: int `[N, N]` of (video i, audio j): 1 positive, 0 negative, -1 ignored.
        temperature: Divides the similarities.

    Returns:
        The loss, a float32 scalar with gradient; 0 where no row has a positive.
    """
    logits = (video.float() @ audio.float().T) / temperature
    return 0.5 * (_one_way(logits, role) + _one_way(logits.T, role.T))


def _one_way(logits: Tensor, role: Tensor) -> Tensor:
    is_positive = role == 1
    negatives = logits.masked_fill(role != 0, -math.inf)
    # A row without negatives has log-sum -inf, whose gradient is NaN unless it is kept out.
    has_negative = (role == 0).any(dim=1, keepdim=True)
    log_negatives = torch.logsumexp(
        torch.where(has_negative, negatives, torch.zeros_like(negatives)), dim=1, keepdim=True
    )
    log_negatives = torch.where(has_negative, log_negatives, -math.inf)
    # -log(e^p / (e^p + sum e^n)) = softplus(log sum e^n - p)
    terms = torch.nn.functional.softplus(
        torch.where(has_negative, log_negatives - logits, torch.full_like(logits, -math.inf))
    )
    terms = torch.where(is_positive & has_negative, terms, torch.zeros_like(terms))
    num_positives = is_positive.sum(dim=1)
    rows = (num_positives > 0).sum().clamp(min=1)
    per_row: Tensor = terms.sum(dim=1) / num_positives.clamp(min=1)
    return per_row.sum() / rows


class InfoNCE(nn.Module):
    """The objective with its temperature, fixed or learned."""

    log_temperature: Tensor

    def __init__(self, config: InfoNCEConfig) -> None:
        super().__init__()
        self.config = config
        start = torch.tensor(math.log(config.temperature))
        if config.learn_temperature:
            self.log_temperature = nn.Parameter(start)
        else:
            self.register_buffer("log_temperature", start)

    @property
    def temperature(self) -> Tensor:
        """The temperature now, a scalar."""
        return self.log_temperature.exp().clamp(min=self.config.min_temperature)

    def forward(self, video: Tensor, audio: Tensor, role: Tensor) -> Tensor:
        """Loss of a batch; see `info_nce`."""
        return info_nce(video, audio, role, self.temperature)
