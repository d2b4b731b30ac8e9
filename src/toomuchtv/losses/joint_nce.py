"""NCE whose denominator holds the negatives of both modalities, as in MIL-NCE.

Miech et al., "End-to-End Learning of Visual Representations from Uncurated Instructional Videos",
CVPR 2020, eq. 1.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from toomuchtv.losses.base import Moments, Roles
from toomuchtv.losses.contrast import Contrast
from toomuchtv.losses.temperature import TemperatureConfig, TemperedObjective


class JointNCEConfig(TemperatureConfig):
    """Settings of NCE with a joint denominator.

    The paper has no temperature, for its embeddings are not of unit length; ours are.
    """

    name: Literal["joint_nce"] = "joint_nce"


def joint_nce(video: Tensor, audio: Tensor, roles: Roles, temperature: Tensor | float) -> Tensor:
    """NCE of each clip's positives against all negatives that it takes part in.

    With the pairs of clip i being those of its video with any audio and of its audio with any
    video (its own pair counts once among the positives), l = video . audio / temperature:

        mean over clips i of -log(sum_positives e^l / (sum_positives e^l + sum_negatives e^l))

    Positives of a clip are summed, not averaged: one of them fitting well is enough, which is the
    multiple-instance part. Clips without a positive give no term. Departures: a temperature; and
    the release's code adds the positives to the denominator twice, the paper and we once.

    Args:
        video: Unit vectors `[n, D]` of the own clips.
        audio: Unit vectors `[n, D]` of the same clips.
        roles: Of the whole batch; see `Roles`.
        temperature: Divides the similarities.

    Returns:
        See `Objective.forward`.
    """
    contrast = Contrast(video, audio, roles, torch.as_tensor(temperature))
    negatives = contrast.log_sum_negatives()
    positives = contrast.log_sum_positives(own_once=True)
    log_negatives = torch.logaddexp(negatives.rows, contrast.own(negatives.columns))
    log_positives = torch.logaddexp(positives.rows, contrast.own(positives.columns))
    per_row, per_column = contrast.counts()
    has_positive = (per_row + contrast.own(per_column)) > 0
    # Where there is no positive, its log-sum says "nothing": kept out before it meets a number.
    terms = F.softplus(torch.where(has_positive, log_negatives - log_positives, -torch.inf))
    return contrast.total(terms.sum() / contrast.num_rows(has_positive))


class JointNCE(TemperedObjective):
    """The objective with its temperature."""

    def __init__(self, config: JointNCEConfig) -> None:
        super().__init__(config)
        self.config = config

    def forward(self, video: Tensor, audio: Tensor, roles: Roles, moments: Moments) -> Tensor:
        """Loss of a batch; see `joint_nce`."""
        return joint_nce(video, audio, roles, self.temperature)
