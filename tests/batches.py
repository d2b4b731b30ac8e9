"""Batches of random noise for the tests of training steps."""

from __future__ import annotations

import numpy as np
import torch

from toomuchtv._internal.random_numbers import hashed
from toomuchtv.data.clip_specs import ClipBatch, ClipSpecs
from toomuchtv.models import AudioEncoderConfig, ModelConfig, VideoEncoderConfig

#: The smallest pair of encoders that has every kind of layer.
SMALLEST = ModelConfig(
    video=VideoEncoderConfig(depth=10, width=0.0625),
    audio=AudioEncoderConfig(depth=9, width=0.0625),
    embedding_dim=8,
)


def a_batch(count: int, *, step: int = 0) -> ClipBatch:
    """Return a batch of two-frame clips, two of each title; the sixth clip is invalid."""
    generator = torch.Generator().manual_seed(step)
    title = np.arange(count) // 2
    return ClipBatch(
        specs=ClipSpecs(
            item=title,
            title=title,
            start_seconds=np.arange(count, dtype=np.float64),
            audio_track=np.zeros(count, np.int64),
            recurrence=np.full(count, -1),
            seed=hashed(1, step, np.arange(count)),
        ),
        valid=torch.arange(count) != 5,
        video=torch.randint(16, 235, (count, 2, 24, 16), dtype=torch.uint8, generator=generator),
        waveform=torch.rand(count, 4000, generator=generator) - 0.5,
        step=step,
    )
