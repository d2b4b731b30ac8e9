"""What every objective is given, and what it gives back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn


class Roles(Protocol):
    """The pair roles of the whole batch, over all processes in order of rank.

    Roles need not be symmetric: that of (i, j) is of video i and audio j.
    """

    def rows(self, start: int, stop: int) -> Tensor:
        """Roles of videos `[start, stop)` with every audio.

        Returns:
            int8 `[stop - start, N]`: 1 positive, 0 negative, -1 ignored.
        """
        ...


@dataclass(frozen=True, slots=True)
class DensePairLabels:
    """Roles that lie in memory as a whole, int `[N, N]`."""

    role: Tensor

    def rows(self, start: int, stop: int) -> Tensor:
        """See `Roles.rows`."""
        return self.role[start:stop]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Whereabouts of the clips of the whole batch, over all processes in order of rank.

    Attributes:
        title: int64 `[N]`.
        item: int64 `[N]`.
        start_seconds: float64 `[N]`.
        audio_track: int64 `[N]`, which of the item's sounds.
        valid: bool `[N]`; false where a clip could not be decoded.
    """

    title: Tensor
    item: Tensor
    start_seconds: Tensor
    audio_track: Tensor
    valid: Tensor


class PairLoss(nn.Module, ABC):
    """A loss of two towers' embeddings.

    What it learns (a temperature, say) is a parameter, what it remembers (a bank) a buffer, so
    that checkpoints hold both. In `eval()` nothing is remembered.
    """

    @property
    @abstractmethod
    def temperature(self) -> Tensor:
        """What similarities are divided by now, a scalar."""

    @abstractmethod
    def forward(self, video: Tensor, audio: Tensor, roles: Roles, moments: Moments) -> Tensor:
        """Loss of the whole batch, over all processes.

        A collective call: every process makes it, each with its own clips.

        Args:
            video: Unit vectors `[n, D]` of this process's clips; float32 or lower. Similarities
                are float32 in any case.
            audio: Unit vectors `[n, D]` of the same clips.
            roles: Of all `N` pairs of the whole batch; see `Roles`.
            moments: Of all `N` clips.

        Returns:
            A float32 scalar, the same on every process: the loss of one process that held the
            whole batch. Its gradient reaches all of the own clips' embeddings, and, for the
            objective's parameters, is this process's share: `distributed.sum_gradients` adds them
            up. Without positives the loss is 0.
        """
