"""InfoNCE with negatives of the same modality in addition to those of the other."""

from __future__ import annotations

import math
from typing import Literal, Unpack

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from toomuchtv.losses.base import PairLabelsLike, PairLoss, TemperatureConfig, TemperatureOptions
from toomuchtv.losses.chunked import log_sums
from toomuchtv.losses.pair_matrix import PairMatrix


class WithinModalConfig(TemperatureConfig):
    """Settings of InfoNCE with within-modal negatives.

    Attributes:
        within_weight: Weight of a negative of the same modality, relative to one of the other.
    """

    name: Literal["within_modal"] = "within_modal"
    within_weight: float = Field(default=1.0, gt=0.0, le=1000.0)


class WithinModal(PairLoss):
    """`InfoNCE` with the negatives of both modalities in every denominator.

    Zolfaghari et al., "CrossCLR: Cross-modal Contrastive Learning for Multi-modal Video
    Representations", ICCV 2021: the loss with weighted intra-modality negatives. With weight w,
    v for video, a for audio, t for the temperature, and n ranging over the negatives of row i:

        -log(e^l_ij / (e^l_ij + sum_n e^(v_i a_n / t) + w sum_n e^(v_i v_n / t)))

    and the same for columns. If (video i, audio n) is a negative pair, so is (video i, video n).
    If (video m, audio j) is a negative pair, so is (audio j, audio m). A clip is never its own
    negative. There are no positives within a modality, because each clip has one view.

    Departures: influential samples are neither pruned nor weighted by connectivity. Pair labels
    say which pairs take no part.

    Args:
        within_weight: w, above 0.
        **options: See `PairLoss`.
    """

    def __init__(
        self, *, within_weight: float = 1.0, **options: Unpack[TemperatureOptions]
    ) -> None:
        super().__init__(**options)
        self._log_weight = math.log(within_weight)

    def forward(self, video: Tensor, audio: Tensor, pair_labels: PairLabelsLike = None) -> Tensor:
        """Compute the loss; see `PairLoss.forward`."""
        pairs = PairMatrix(video, audio, pair_labels, self.temperature)

        def labels_of_others(start: int, stop: int) -> Tensor:
            labels = pairs.labels(start, stop).clone()
            labels.diagonal(start).fill_(-1)
            return labels

        # Labels are of (video i, audio j). Rows of video-video logits therefore belong to video
        # anchors, and columns of audio-audio logits to audio anchors.
        videos = log_sums(pairs.scaled_video, pairs.video, labels_of_others).rows
        audios = log_sums(pairs.scaled_audio, pairs.audio, labels_of_others).columns
        across, logits = pairs.log_sum_negatives(), pairs.positive_logits
        rows = torch.logaddexp(across.rows, videos + self._log_weight)
        columns = torch.logaddexp(across.columns, audios + self._log_weight)
        return pairs.mean_over_pairs(
            F.softplus(rows[pairs.row] - logits), F.softplus(columns[pairs.column] - logits)
        ).float()
