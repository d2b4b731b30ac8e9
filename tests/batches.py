"""Batches of noise for tests of the step, whole and in parts."""

from __future__ import annotations

import numpy as np
import torch

from toomuchtv._internal.random_numbers import hashed
from toomuchtv.data.batches import ClipBatch
from toomuchtv.models import AudioEncoderConfig, ModelConfig, VideoEncoderConfig

#: The smallest pair of encoders that has every kind of layer.
SMALLEST = ModelConfig(
    video=VideoEncoderConfig(depth=10, width=0.0625),
    audio=AudioEncoderConfig(depth=9, width=0.0625),
    embedding_dim=8,
)


def a_batch(count: int, *, step: int = 0) -> ClipBatch:
    """Clips of two frames, two of each title; the sixth is invalid."""
    generator = torch.Generator().manual_seed(step)
    title = torch.arange(count) // 2
    return ClipBatch(
        video=torch.randint(16, 235, (count, 2, 24, 16), dtype=torch.uint8, generator=generator),
        waveform=torch.rand(count, 4000, generator=generator) - 0.5,
        title=title,
        item=title,
        start_seconds=torch.arange(count, dtype=torch.float64),
        audio_track=torch.zeros(count, dtype=torch.int64),
        recurrence=torch.full((count,), -1),
        valid=torch.arange(count) != 5,
        seed=hashed(1, step, np.arange(count)),
        step=step,
        failures=(),
    )


def part(batch: ClipBatch, own: slice) -> ClipBatch:
    """The clips of one process."""
    return ClipBatch(
        video=batch.video[own],
        waveform=batch.waveform[own],
        title=batch.title[own],
        item=batch.item[own],
        start_seconds=batch.start_seconds[own],
        audio_track=batch.audio_track[own],
        recurrence=batch.recurrence[own],
        valid=batch.valid[own],
        seed=batch.seed[own],
        step=batch.step,
        failures=batch.failures,
    )
