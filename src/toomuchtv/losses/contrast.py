"""The own clips of a process against those of all, in both directions."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from toomuchtv._internal import distributed
from toomuchtv.losses.base import Roles
from toomuchtv.losses.chunked import NOTHING, LogSums, log_sums
from toomuchtv.losses.positives import Positives, list_positives


class Contrast:
    """Logits of the own videos (rows) with every audio (columns), and what is summed over them.

    A process makes only its own rows of the matrix. That is enough for both directions: a
    column's sum is the sum of what each process has of it. Vectors are exchanged, never a matrix.

    Every sum that spans processes is the whole one, the same everywhere. A loss is added up from
    what belongs to the own rows, the own columns and the own pairs; see `total`.

    Attributes:
        own_video: float32 `[n, D]`.
        video: The same, divided by the temperature.
        audio: float32 `[n, D]`, the own audios, not divided.
        all_audio: float32 `[N, D]`.
        parts: Which of the `N` clips are the own.
    """

    def __init__(self, video: Tensor, audio: Tensor, roles: Roles, temperature: Tensor) -> None:
        with torch.autocast(video.device.type, enabled=False):
            self.own_video = video.float()
            self.video = self.own_video / temperature
            self.audio = audio.float()
        self.parts = distributed.parts(len(video), video.device)
        self.all_audio = distributed.gather_with_gradient(self.audio, self.parts)
        self._roles = roles

    @cached_property
    def positives(self) -> Positives:
        """The positive pairs of the own rows."""
        return list_positives(self.video, self.all_audio, self.roles)

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

    def log_sum_positives(self, *, own_once: bool = False) -> LogSums:
        """Log of sum of exp of the positives of each own row `[n]` and each column `[N]`.

        Args:
            own_once: Leave the pairs (i, i) out of the columns.
        """
        found = self.positives
        in_column = found.logit
        if own_once:
            is_own = found.column == found.row + self.parts.start
            in_column = in_column.masked_fill(is_own, NOTHING)
        row_max = self._greatest(len(self.video), found.row, found.logit)
        col_max = distributed.max_over_ranks(
            self._greatest(self.parts.total, found.column, in_column)
        )
        rows = self.row_sum((found.logit - row_max[found.row]).exp())
        columns = self.column_sum((in_column - col_max[found.column]).exp())
        # Where there is any, its greatest adds 1 to the sum; where there is none, 0 becomes 1.
        return LogSums(row_max + rows.clamp(min=1.0).log(), col_max + columns.clamp(min=1.0).log())

    def _greatest(self, count: int, index: Tensor, values: Tensor) -> Tensor:
        greatest = torch.full((count,), NOTHING, dtype=values.dtype, device=values.device)
        return greatest.scatter_reduce_(0, index, values.detach(), "amax")

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
