"""Symmetric InfoNCE between video and audio."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from toomuchtv.losses.base import PairLabelsLike, PairLoss, TemperatureConfig
from toomuchtv.losses.pair_matrix import PairMatrix


class InfoNCEConfig(TemperatureConfig):
    """Settings of symmetric InfoNCE."""

    name: Literal["info_nce"] = "info_nce"


class InfoNCE(PairLoss):
    """Symmetric InfoNCE with pair labels.

    van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018, eq. 4,
    in the symmetric form of CLIP (Radford et al., ICML 2021, fig. 3). With the logits
    `l_ij = video_i . audio_j / temperature` and n ranging over the negatives of row i:

        1/2 [mean over rows i of mean over positives j of -log(e^l_ij / (e^l_ij + sum_n e^l_in))
             + the same over columns]

    Departure: a row may have several positives. They share the weight of the row, and none of them
    is in the denominator of another. Rows without a positive contribute nothing.
    """

    def forward(self, video: Tensor, audio: Tensor, pair_labels: PairLabelsLike = None) -> Tensor:
        """Compute the loss; see `PairLoss.forward`."""
        pairs = PairMatrix(video, audio, pair_labels, self.temperature)
        negatives, logits = pairs.log_sum_negatives(), pairs.positive_logits
        # -log(e^p / (e^p + sum e^n)) = softplus(log sum e^n - p)
        return pairs.mean_over_pairs(
            F.softplus(negatives.rows[pairs.row] - logits),
            F.softplus(negatives.columns[pairs.column] - logits),
        ).float()
