"""The own clips of a process against those of all, in both directions."""

from __future__ import annotations

import torch
from torch import Tensor

from toomuchtv import distributed
from toomuchtv.objectives.blocks import NOTHING, LogSums, log_sums
from toomuchtv.objectives.contract import Roles
from toomuchtv.objectives.positives import list_positives


class Contrast:
    """Logits of the own videos (rows) with every audio (columns), and what is summed over them.

    A process makes only its own rows of the matrix. That is enough for both directions: a
    column's sum is the sum of what each process has of it. Vectors are exchanged, never a matrix.

    Every sum that spans processes is the whole one, the same everywhere. A loss is added up from
    what belongs to the own rows, the own columns and the own pairs; see `total`.

    Attributes:
        video: float32 `[n, D]`, the own videos divided by the temperature.
        audio: float32 `[n, D]`, the own audios, not divided.
        all_audio: float32 `[N, D]`.
        parts: Which of the `N` clips are the own.
        positives: Those of the own rows.
    """

    def __init__(self, video: Tensor, audio: Tensor, roles: Roles, temperature: Tensor) -> None:
        with torch.autocast(video.device.type, enabled=False):
            self.video = video.float() / temperature
            self.audio = audio.float()
        self.parts = distributed.parts(len(video), video.device)
        self.all_audio = distributed.gather_with_gradient(self.audio, self.parts)
        self._roles = roles
        self.positives = list_positives(self.video, self.all_audio, self.roles)

    def roles(self, start: int, stop: int) -> Tensor:
        """Roles `[stop - start, N]` of own videos `[start, stop)`; checked."""
        first = self.parts.start
        role = self._roles.rows(first + start, first + stop)
        if role.shape != (stop - start, self.parts.total):
            raise ValueError(
                f"roles of rows [{first + start}, {first + stop}) must be "
                f"{[stop - start, self.parts.total]}, got {list(role.shape)}: they span the whole "
                "batch, over all processes"
            )
        return role

    def own(self, columns: Tensor) -> Tensor:
        """The own clips' entries `[n]` of values of all columns `[N]`."""
        return columns[self.parts.start : self.parts.stop]

    def log_sum_negatives(self) -> LogSums:
        """Log of sum of exp of the negatives of each own row `[n]` and each column `[N]`."""
        sums = log_sums(self.video, self.all_audio, self.roles)
        return LogSums(sums.rows, distributed.log_sum_over_ranks(sums.columns))

    def row_sum(self, values: Tensor) -> Tensor:
        """Sum of values of the positives `[P]` over each own row, `[n]`."""
        zeros = torch.zeros(len(self.video), dtype=values.dtype, device=values.device)
        return zeros.index_add(0, self.positives.row, values)

    def column_sum(self, values: Tensor) -> Tensor:
        """Sum of values of the positives `[P]` over each column and all processes, `[N]`."""
        zeros = torch.zeros(self.parts.total, dtype=values.dtype, device=values.device)
        return distributed.sum_over_ranks(zeros.index_add(0, self.positives.column, values))

    def log_sum_positives(self) -> LogSums:
        """Log of sum of exp of the positives of each own row `[n]` and each column `[N]`."""
        logit = self.positives.logit
        row_max = self._greatest(len(self.video), self.positives.row)
        col_max = distributed.max_over_ranks(
            self._greatest(self.parts.total, self.positives.column)
        )
        rows = self.row_sum((logit - row_max[self.positives.row]).exp())
        columns = self.column_sum((logit - col_max[self.positives.column]).exp())
        # Where there is any, its greatest adds 1 to the sum; where there is none, 0 becomes 1.
        return LogSums(row_max + rows.clamp(min=1.0).log(), col_max + columns.clamp(min=1.0).log())

    def _greatest(self, count: int, index: Tensor) -> Tensor:
        logit = self.positives.logit.detach()
        return torch.full(
            (count,), NOTHING, dtype=logit.dtype, device=logit.device
        ).scatter_reduce_(0, index, logit, "amax")

    def counts(self) -> tuple[Tensor, Tensor]:
        """Number of positives of each own row `[n]` and each column `[N]`, float64, no gradient."""
        ones = torch.ones_like(self.positives.logit.detach())
        return self.row_sum(ones), self.column_sum(ones)

    def total(self, share: Tensor) -> Tensor:
        """The loss from every process's share: float32, the gradient that of the own share."""
        return distributed.sum_of_shares(share).float()

    def num_rows(self, counts: Tensor) -> Tensor:
        """How many rows of all processes count: those whose value `[n]` is not 0; at least 1."""
        return distributed.all_sum((counts > 0).sum().double()).clamp(min=1.0)
