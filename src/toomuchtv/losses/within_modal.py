"""InfoNCE with negatives of the own modality besides those of the other.

Zolfaghari et al., "CrossCLR: Cross-modal Contrastive Learning for Multi-modal Video
Representations", ICCV 2021: the loss with intra-modality negatives in the denominator, weighted.
It needs one view of each clip, where a positive inside the modality (GDT, CrissCross) needs two.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from toomuchtv._internal import distributed
from toomuchtv.losses.base import Moments, Roles
from toomuchtv.losses.chunked import log_sums
from toomuchtv.losses.contrast import Contrast
from toomuchtv.losses.info_nce import tell_apart
from toomuchtv.losses.temperature import TemperatureConfig, TemperedObjective


class WithinModalConfig(TemperatureConfig):
    """Settings of InfoNCE with within-modal negatives.

    Attributes:
        within_weight: Weight of a negative of the own modality beside one of the other.
    """

    name: Literal["within_modal"] = "within_modal"
    within_weight: float = Field(default=1.0, gt=0.0, le=1000.0)


def within_modal(
    video: Tensor,
    audio: Tensor,
    roles: Roles,
    temperature: Tensor | float,
    *,
    within_weight: float = 1.0,
) -> Tensor:
    """`info_nce` with both modalities' negatives in every denominator.

    A video asks for its audio among the audios and, with weight w, the videos of its negatives:

        -log(e^l_ij / (e^l_ij + sum_n e^(v_i a_n / t) + w sum_n e^(v_i v_n / t)))

    and an audio likewise. Where (video i, audio n) is a negative, so is (video i, video n); where
    (video m, audio j) is one, so is (audio j, audio m). A clip is never its own negative.
    Departures: no pruning of influential samples and no weights by connectivity (CrossCLR's
    sections on them): the pair roles say which pairs are left out.

    Args:
        video: Unit vectors `[n, D]` of the own clips.
        audio: Unit vectors `[n, D]` of the same clips.
        roles: Of the whole batch; see `Roles`.
        temperature: Divides the similarities.
        within_weight: w, above 0.

    Returns:
        See `Objective.forward`.
    """
    divisor = torch.as_tensor(temperature)
    contrast = Contrast(video, audio, roles, divisor)
    all_video = distributed.gather_with_gradient(video.float(), contrast.parts)

    def others(start: int, stop: int) -> Tensor:
        role = contrast.roles(start, stop).clone()
        role.diagonal(contrast.parts.start + start).fill_(-1)
        return role

    # Rows of the own videos with all videos; columns of all audios, the own audios being the rows.
    videos = log_sums(contrast.video, all_video, others).rows
    audios = log_sums(contrast.audio / divisor, contrast.all_audio, others).columns
    across = contrast.log_sum_negatives()
    weight = math.log(within_weight)
    rows = torch.logaddexp(across.rows, videos + weight)
    columns = torch.logaddexp(across.columns, distributed.log_sum_over_ranks(audios) + weight)
    return contrast.total(tell_apart(contrast, rows, columns))


class WithinModal(TemperedObjective):
    """The objective with its temperature."""

    def __init__(self, config: WithinModalConfig) -> None:
        super().__init__(config)
        self.config = config

    def forward(self, video: Tensor, audio: Tensor, roles: Roles, moments: Moments) -> Tensor:
        """Loss of a batch; see `within_modal`."""
        weight = self.config.within_weight
        return within_modal(video, audio, roles, self.temperature, within_weight=weight)
