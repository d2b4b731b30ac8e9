"""Contrast with several positives, as in supervised contrastive learning.

Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, eq. 2 (`L_out`) and eq. 3 (`L_in`).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from toomuchtv.losses.base import Moments, Roles
from toomuchtv.losses.contrast import Contrast
from toomuchtv.losses.temperature import TemperatureConfig, TemperedObjective


class SupConConfig(TemperatureConfig):
    """Settings of contrast with several positives.

    Attributes:
        mean: Where the mean over a clip's positives is taken: of the logarithms ("outside", the
            paper's `L_out` and its recommendation) or of the shares ("inside", its `L_in`).
    """

    name: Literal["sup_con"] = "sup_con"
    mean: Literal["outside", "inside"] = "outside"


def sup_con(
    video: Tensor,
    audio: Tensor,
    roles: Roles,
    temperature: Tensor | float,
    *,
    mean: Literal["outside", "inside"] = "outside",
) -> Tensor:
    """Contrast each clip's positives with every pair that is not ignored, across modalities.

    With l = video . audio / temperature, P the positives of row i and A all its pairs that are not
    ignored, a row costs

        outside: mean over p in P of -log(e^l_p / sum_A e^l)
        inside:  -log(mean over p in P of e^l_p / sum_A e^l)

    and the loss is 1/2 [mean over rows that have a positive + the same over columns]. Unlike in
    `info_nce` a row's other positives stand in the denominator, so several positives are made
    alike, and the least possible loss is log |P| for "outside". Departures: the paper's pairs are
    of one modality, and it sums over rows where we take the mean.

    Args:
        video: Unit vectors `[n, D]` of the own clips.
        audio: Unit vectors `[n, D]` of the same clips.
        roles: Of the whole batch; see `Roles`.
        temperature: Divides the similarities.
        mean: Where the mean is taken.

    Returns:
        See `Objective.forward`.
    """
    contrast = Contrast(video, audio, roles, torch.as_tensor(temperature))
    negatives, positives = contrast.log_sum_negatives(), contrast.log_sum_positives()
    per_row, per_column = contrast.counts()
    if mean == "outside":
        sum_rows = contrast.row_sum(contrast.positives.logit)
        sum_columns = contrast.column_sum(contrast.positives.logit)
        fit_rows = sum_rows / per_row.clamp(min=1.0)
        fit_columns = sum_columns / per_column.clamp(min=1.0)
    else:
        fit_rows = positives.rows - per_row.clamp(min=1.0).log()
        fit_columns = positives.columns - per_column.clamp(min=1.0).log()
    by_row = torch.logaddexp(negatives.rows, positives.rows) - fit_rows
    by_column = torch.logaddexp(negatives.columns, positives.columns) - fit_columns
    own_columns = contrast.own(by_column.where(per_column > 0, 0.0)).sum()
    rows = by_row.where(per_row > 0, 0.0).sum() / contrast.num_rows(per_row)
    return contrast.total(0.5 * (rows + own_columns / (per_column > 0).sum().clamp(min=1)))


class SupCon(TemperedObjective):
    """The objective with its temperature."""

    def __init__(self, config: SupConConfig) -> None:
        super().__init__(config)
        self.config = config

    def forward(self, video: Tensor, audio: Tensor, roles: Roles, moments: Moments) -> Tensor:
        """Loss of a batch; see `sup_con`."""
        return sup_con(video, audio, roles, self.temperature, mean=self.config.mean)
