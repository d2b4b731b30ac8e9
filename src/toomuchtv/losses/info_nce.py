"""Symmetric InfoNCE between video and audio, with pair roles.

van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018, eq. 4,
in the symmetric form of CLIP (Radford et al., ICML 2021, fig. 3).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from toomuchtv.losses.base import Moments, Roles
from toomuchtv.losses.contrast import Contrast
from toomuchtv.losses.temperature import TemperatureConfig, TemperedObjective


class InfoNCEConfig(TemperatureConfig):
    """Settings of symmetric InfoNCE."""

    name: Literal["info_nce"] = "info_nce"


def info_nce(video: Tensor, audio: Tensor, roles: Roles, temperature: Tensor | float) -> Tensor:
    """Symmetric InfoNCE of the whole batch.

    Each positive pair is told from the negatives of its row (video asks for its audio) and of
    its column (audio asks for its video). Other positives of the same row are left out of its
    denominator. Rows without a positive give no term; a row's positives share its weight:

        1/2 [mean over rows i of mean over positives j of -log(e^l_ij / (e^l_ij + sum_n e^l_in))
             + the same over columns], l = video . audio / temperature

    Args:
        video: Unit vectors `[n, D]` of the own clips.
        audio: Unit vectors `[n, D]` of the same clips.
        roles: Of the whole batch; see `Roles`.
        temperature: Divides the similarities.

    Returns:
        See `Objective.forward`.
    """
    contrast = Contrast(video, audio, roles, torch.as_tensor(temperature))
    return contrast.total(tell_apart(contrast, *contrast.log_sum_negatives()))


def tell_apart(contrast: Contrast, rows: Tensor, columns: Tensor) -> Tensor:
    """This process's share of the mean cost of telling positives from negatives, both ways.

    Args:
        contrast: The pairs.
        rows: log of the sum over the negatives of each own row, `[n]`.
        columns: The same of each column, `[N]`.
    """
    found = contrast.positives
    per_row, per_column = contrast.counts()
    # -log(e^p / (e^p + sum e^n)) = softplus(log sum e^n - p)
    by_row = F.softplus(rows[found.row] - found.logit) / per_row[found.row]
    by_column = F.softplus(columns[found.column] - found.logit) / per_column[found.column]
    num_columns = (per_column > 0).sum().clamp(min=1)
    return 0.5 * (by_row.sum() / contrast.num_rows(per_row) + by_column.sum() / num_columns)


class InfoNCE(TemperedObjective):
    """The objective with its temperature."""

    def __init__(self, config: InfoNCEConfig) -> None:
        super().__init__(config)
        self.config = config

    def forward(self, video: Tensor, audio: Tensor, roles: Roles, moments: Moments) -> Tensor:
        """Loss of a batch; see `info_nce`."""
        return info_nce(video, audio, roles, self.temperature)
