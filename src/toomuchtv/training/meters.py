"""What is counted between two logged steps: time and losses."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn


class IntervalClock:
    """Where the time of an interval goes."""

    def __init__(self) -> None:
        self._begun = self._mark = time.perf_counter()
        self._all_clips = 0
        self.start_interval()

    def start_interval(self) -> None:
        """Begin to count anew."""
        self._start = time.perf_counter()
        self._waited = 0.0
        self._clips = 0

    def data_is_here(self) -> None:
        """Note that the next batch has come: the time since the last step was a wait for it."""
        now = time.perf_counter()
        self._waited += now - self._mark

    def step_is_done(self, clips: int) -> None:
        """Note that a step over so many clips is done."""
        self._mark = time.perf_counter()
        self._clips += clips
        self._all_clips += clips

    @property
    def clips_per_second(self) -> float:
        """Clips a second in this interval."""
        return self._clips / max(1e-9, time.perf_counter() - self._start)

    @property
    def overall_clips_per_second(self) -> float:
        """Clips a second since the clock was made."""
        return self._all_clips / max(1e-9, time.perf_counter() - self._begun)

    @property
    def wait_share(self) -> float:
        """Share of this interval that was spent waiting for data."""
        return self._waited / max(1e-9, time.perf_counter() - self._start)


class IntervalLosses(nn.Module):
    """Losses since the last logged step; in checkpoints, so that a resumed run logs the same."""

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros((), dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def add(self, loss: float) -> None:
        """Count the loss of one step."""
        self.total += loss
        self.count += 1

    def reset(self) -> None:
        """Begin another interval."""
        self.total.zero_()
        self.count.zero_()

    @property
    def mean(self) -> float:
        """Mean loss of the interval so far; 0 before its first step."""
        return self.total.item() / max(1, int(self.count))
