"""NCE against a memory of both modalities, positives across them: AVID.

Morgado et al., "Audio-Visual Instance Discrimination with Cross-Modal Agreement", CVPR 2021,
section 3.2 (cross-AVID), with the binary NCE of Gutmann and Hyvarinen (AISTATS 2010) in the form of
Wu et al. ("Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR 2018,
eq. 5 to 7).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from toomuchtv._internal import distributed
from toomuchtv.losses.bank import MomentBank
from toomuchtv.losses.base import Moments, Roles
from toomuchtv.losses.chunked import NOTHING, RoleRows, log_sums, logistic_sums, row_blocks
from toomuchtv.losses.contrast import Contrast
from toomuchtv.losses.positives import pair_logits
from toomuchtv.losses.temperature import TemperatureConfig, TemperedObjective


class MemoryBankConfig(TemperatureConfig):
    """Settings of NCE with a memory bank.

    Attributes:
        num_negatives: Memories that every clip of a step is told from.
        bank_size: Slots; each holds one embedding of either modality.
        bucket_seconds: Moments of one item in one bucket of this length are the same moment.
        momentum: Share of the old memory in the new.
        exclude: A clip's negatives are memories of another moment (in whatever language), another
            item or another title.
    """

    name: Literal["memory_bank"] = "memory_bank"
    num_negatives: int = Field(default=1024, ge=1)
    bank_size: int = Field(default=32768, ge=1)
    bucket_seconds: float = Field(default=2.0, gt=0.0)
    momentum: float = Field(default=0.5, ge=0.0, lt=1.0)
    exclude: Literal["moment", "item", "title"] = "moment"


class MemoryBank(TemperedObjective):
    """The objective with its temperature and its memory.

    With l = similarity / temperature and K the number of a clip's negatives, the chance that
    NCE gives a pair of being a true one is P = e^l / (e^l + K Z), and

        1/2 [mean over videos of (mean over positives of -log P(video, audio memory)
             + sum over K audio memories of -log(1 - P)) + the same for audios and video memories]

    Z is the mean of e^l over the negatives of the first batch, fixed from then on as in the paper's
    release; a temperature that is learned moves away from it.

    Departures: a moment's place in the memory is a hash of item and time (see `MomentBank`). A
    moment that was not met before has no memory yet, and the embedding of now, without gradient,
    stands for it. All clips of a step share one draw of memories, made after this step's were
    written, and leave out those that their pair roles or `exclude` forbid (of memories of this
    batch, both directions of clip i go by the roles of video i). In `eval()` nothing is
    written, and whose a memory is plays no part: held-out clips come from another numbering.
    """

    partition: Tensor

    def __init__(self, config: MemoryBankConfig, embedding_dim: int) -> None:
        super().__init__(config)
        self.config = config
        self.bank = MomentBank(
            size=config.bank_size,
            embedding_dim=embedding_dim,
            bucket_seconds=config.bucket_seconds,
            momentum=config.momentum,
        )
        # log Z; NOTHING until the first batch.
        self.register_buffer("partition", torch.tensor(NOTHING, dtype=torch.float64))

    def forward(self, video: Tensor, audio: Tensor, roles: Roles, moments: Moments) -> Tensor:
        """Loss of a batch; see the class. In training, remembers it."""
        contrast = Contrast(video, audio, roles, self.temperature)
        own_video, own_audio, chosen, forbidden = self._memories(contrast, moments)
        queries = contrast.video, contrast.audio / self.temperature
        keys = self.bank.audio[chosen], self.bank.video[chosen]
        noise = self._noise(queries, keys, forbidden)

        found = contrast.positives
        per_row, per_column = contrast.counts()
        all_scaled = contrast.all_audio / self.temperature
        to_audio = pair_logits(contrast.video, own_audio, found.row, found.column)
        to_video = pair_logits(own_video, all_scaled, found.row, found.column)
        columns_noise = distributed.gather(noise, contrast.parts)
        by_row = F.softplus(noise[found.row] - to_audio) / per_row[found.row]
        by_column = F.softplus(columns_noise[found.column] - to_video) / per_column[found.column]
        # log(1 - P) of a negative: softplus(l - log K Z)
        rows = logistic_sums(queries[0], keys[0], noise, forbidden).where(per_row > 0, 0.0)
        own_columns = contrast.own(per_column) > 0
        columns = logistic_sums(queries[1], keys[1], noise, forbidden).where(own_columns, 0.0)
        num_columns = (per_column > 0).sum().clamp(min=1)
        return contrast.total(
            0.5 * (by_row.sum() + rows.sum()) / contrast.num_rows(per_row)
            + 0.5 * (by_column.sum() + columns.sum()) / num_columns
        )

    @torch.no_grad()
    def _memories(
        self, contrast: Contrast, moments: Moments
    ) -> tuple[Tensor, Tensor, Tensor, RoleRows]:
        """What stands for the clips, and what they are told from; remembers them, in training.

        Returns:
            What positives are compared with: `[n, D]` for the own videos, `[N, D]` for all audios;
            the slots that were drawn, `[K]`; and which of them are no negatives of which own clip.
        """
        all_video = distributed.gather(contrast.own_video, contrast.parts)
        all_audio = contrast.all_audio.detach()
        if not self.training:
            chosen = self.bank.draw(self.config.num_negatives)
            return contrast.own(all_video), all_audio, chosen, _nothing_forbidden(chosen)
        keys = self.bank.keys(moments)
        slots = self.bank.slots(keys)
        videos, audios = self.bank.recall(keys, slots, all_video, all_audio)
        self.bank.remember(keys, slots, all_video, all_audio, moments.valid)
        chosen = self.bank.draw(self.config.num_negatives)
        forbidden = self._forbidden(contrast, keys, slots, chosen, moments.valid)
        return contrast.own(videos), audios, chosen, forbidden

    def _forbidden(
        self, contrast: Contrast, keys: Tensor, slots: Tensor, chosen: Tensor, valid: Tensor
    ) -> RoleRows:
        owners, own_keys = self.bank.owner[chosen], contrast.own(keys)
        columns = {"title": [0], "item": [1], "moment": [1, 2]}[self.config.exclude]
        # Which clip of this batch each memory is of; the last where there are several, -1 if none.
        order = torch.arange(len(keys), device=keys.device)
        order = order.masked_fill(~(valid & self.bank.knows(keys, slots)), -1)
        holder = torch.full((len(self.bank.owner),), -1, device=keys.device)
        holder = holder.scatter_reduce_(0, slots, order, "amax")[chosen]

        def rows(start: int, stop: int) -> Tensor:
            own = own_keys[start:stop]
            same = (own[:, None, columns] == owners[None, :, columns]).all(dim=2)
            in_batch = contrast.roles(start, stop)[:, holder.clamp(min=0)] != 0
            return torch.where(same | (in_batch & (holder >= 0)), -1, 0).to(torch.int8)

        return rows

    @torch.no_grad()
    def _noise(
        self, queries: tuple[Tensor, Tensor], keys: tuple[Tensor, Tensor], forbidden: RoleRows
    ) -> Tensor:
        """Log K Z of each own clip, float64 `[n]`, K the number of its negatives."""
        count = torch.zeros(len(queries[0]), dtype=torch.float64, device=queries[0].device)
        for start, stop in row_blocks(len(count), len(keys[0]), count.device):
            count[start:stop] = (forbidden(start, stop) == 0).sum(dim=1)
        partition = self.partition
        if partition <= NOTHING:
            of_all = [
                log_sums(side, memories, forbidden).rows
                for side, memories in zip(queries, keys, strict=True)
            ]
            nothing = torch.full((1,), NOTHING, dtype=torch.float64, device=count.device)
            sums = torch.cat([*of_all, nothing]).logsumexp(dim=0)
            total = distributed.log_sum_over_ranks(sums)
            num_pairs = 2 * distributed.all_sum(count.sum())
            partition = torch.where(num_pairs > 0, total - num_pairs.clamp(min=1).log(), NOTHING)
            if self.training:
                self.partition.copy_(partition)
        return torch.where(count > 0, count.clamp(min=1).log() + partition, NOTHING)


def _nothing_forbidden(chosen: Tensor) -> RoleRows:
    def rows(start: int, stop: int) -> Tensor:
        return torch.zeros(stop - start, len(chosen), dtype=torch.int8, device=chosen.device)

    return rows
