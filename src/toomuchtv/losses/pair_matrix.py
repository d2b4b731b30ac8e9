"""The similarities of N videos with N audios, and the averages over them that losses share."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from toomuchtv.losses.base import PairLabelsLike, label_rows
from toomuchtv.losses.chunked import LOG_ZERO, LogSums, log_sums, pair_logits, positive_pairs


class PairMatrix:
    """Logits of videos (rows) with audios (columns), of which only chunks are ever in memory.

    An anchor is a row (a video that looks for its audio) or a column (an audio that looks for its
    video) with at least one positive pair. Only anchors contribute to a loss.

    Attributes:
        video: float32 `[N, D]`.
        audio: float32 `[N, D]`.
        temperature: Divisor of the similarities, a scalar.
        scaled_video: `video / temperature`: its products with `audio` are the logits.
        scaled_audio: `audio / temperature`.
        labels: Labels of a range of rows.
        row: Row of each positive pair, int64 `[P]`.
        column: Column of each positive pair, int64 `[P]`.
        positives_per_row: float64 `[N]`.
        positives_per_column: float64 `[N]`.
    """

    def __init__(
        self, video: Tensor, audio: Tensor, pair_labels: PairLabelsLike, temperature: Tensor
    ) -> None:
        if video.shape != audio.shape or video.dim() != 2:
            raise ValueError(
                "expected video and audio embeddings of one shape [N, D], "
                f"got {list(video.shape)} and {list(audio.shape)}"
            )
        self.video, self.audio = video.float(), audio.float()
        self.temperature = temperature
        self.scaled_video, self.scaled_audio = self.video / temperature, self.audio / temperature
        num, device = len(video), video.device
        self.labels = label_rows(pair_labels, num, device)
        # Counting the positives waits for a GPU, unless the labels know them.
        known: tuple[Tensor, Tensor] | None = getattr(pair_labels, "positives", None)
        self.row, self.column = known or positive_pairs(self.labels, num, num, device)
        ones = torch.ones(len(self.row), dtype=torch.float64, device=device)
        self.positives_per_row = self.row_sum(ones)
        self.positives_per_column = self.column_sum(ones)

    @cached_property
    def positive_logits(self) -> Tensor:
        """Logits of the positive pairs, float64 `[P]`."""
        return pair_logits(self.scaled_video, self.audio, self.row, self.column)

    def log_sum_negatives(self) -> LogSums:
        """Return the log-sum-exp of the negatives of each row and each column, `[N]` each."""
        return log_sums(self.scaled_video, self.audio, self.labels)

    def log_sum_positives(self, *, diagonal_in_columns: bool = True) -> LogSums:
        """Return the log-sum-exp of the positives of each row and each column, `[N]` each.

        Args:
            diagonal_in_columns: Whether the pair (i, i) counts in column i as well as in row i.
        """
        in_column = self.positive_logits
        if not diagonal_in_columns:
            in_column = in_column.masked_fill(self.row == self.column, LOG_ZERO)
        row_max = self._maximum(self.row, self.positive_logits)
        column_max = self._maximum(self.column, in_column)
        rows = self.row_sum((self.positive_logits - row_max[self.row]).exp())
        columns = self.column_sum((in_column - column_max[self.column]).exp())
        # The largest term adds exp(0) = 1 to its sum, so the clamp only affects empty sums.
        return LogSums(
            row_max + rows.clamp(min=1.0).log(), column_max + columns.clamp(min=1.0).log()
        )

    def row_sum(self, values: Tensor) -> Tensor:
        """Sum values of the positive pairs `[P]` over each row, `[N]`."""
        return values.new_zeros(len(self.video)).index_add(0, self.row, values)

    def column_sum(self, values: Tensor) -> Tensor:
        """Sum values of the positive pairs `[P]` over each column, `[N]`."""
        return values.new_zeros(len(self.audio)).index_add(0, self.column, values)

    def mean_over_pairs(self, row_terms: Tensor, column_terms: Tensor) -> Tensor:
        """Average terms of positive pairs `[P]`: over each anchor's positives, then over anchors.

        Args:
            row_terms: Terms of the pairs with their video as the anchor.
            column_terms: Terms of the pairs with their audio as the anchor.

        Returns:
            Half of the mean over rows plus half of the mean over columns.
        """
        return self.mean_over_anchors(
            self.row_sum(row_terms / self.positives_per_row[self.row]),
            self.column_sum(column_terms / self.positives_per_column[self.column]),
        )

    def mean_over_anchors(self, row_terms: Tensor, column_terms: Tensor) -> Tensor:
        """Average terms of rows `[N]` and columns `[N]` over those that have a positive pair."""
        rows = mean_where(row_terms, self.positives_per_row > 0)
        columns = mean_where(column_terms, self.positives_per_column > 0)
        return 0.5 * (rows + columns)

    def _maximum(self, index: Tensor, values: Tensor) -> Tensor:
        lowest = torch.full_like(self.positives_per_row, LOG_ZERO)
        return lowest.scatter_reduce_(0, index, values.detach(), "amax")


def mean_where(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the values `[N]` where the mask is true, and 0 if it never is."""
    return values.where(mask, 0.0).sum() / mask.sum().clamp(min=1)
