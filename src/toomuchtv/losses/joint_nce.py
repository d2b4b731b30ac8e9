"""NCE whose denominator holds the negatives of both modalities, as in MIL-NCE."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from toomuchtv.losses.base import PairLabelsLike, PairLoss, TemperatureConfig
from toomuchtv.losses.pair_matrix import PairMatrix, mean_where


class JointNCEConfig(TemperatureConfig):
    """Settings of NCE with a joint denominator."""

    name: Literal["joint_nce"] = "joint_nce"


class JointNCE(PairLoss):
    """NCE of each clip's positives against all negatives of its video and of its audio.

    Miech et al., "End-to-End Learning of Visual Representations from Uncurated Instructional
    Videos", CVPR 2020, eq. 1. The pairs of clip i are those of its video with any audio and those
    of its audio with any video; its own pair counts once. With l = similarity / temperature:

        mean over clips i of -log(sum_positives e^l / (sum_positives e^l + sum_negatives e^l))

    The positives of a clip are summed and not averaged: it is enough if one of them fits well,
    which is the multiple-instance part. Clips without a positive contribute nothing.

    Departures: a temperature, because our embeddings have unit length. The authors' code adds the
    positives to the denominator twice; the paper and this class add them once.
    """

    def forward(self, video: Tensor, audio: Tensor, pair_labels: PairLabelsLike = None) -> Tensor:
        """Compute the loss; see `PairLoss.forward`."""
        pairs = PairMatrix(video, audio, pair_labels, self.temperature)
        log_negatives = torch.logaddexp(*pairs.log_sum_negatives())
        log_positives = torch.logaddexp(*pairs.log_sum_positives(diagonal_in_columns=False))
        has_positive = pairs.positives_per_row + pairs.positives_per_column > 0
        # Mask before softplus: LOG_ZERO as log_positives would give terms of 1e30.
        terms = F.softplus(torch.where(has_positive, log_negatives - log_positives, -torch.inf))
        return mean_where(terms, has_positive).float()
