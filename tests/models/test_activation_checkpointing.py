"""Activation checkpointing changes no bit of gradients and statistics."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from toomuchtv.models import AudioEncoderConfig, ModelConfig, TwoTower, VideoEncoderConfig


def trained(*, checkpointing: bool, precision: torch.dtype) -> tuple[TwoTower, int]:
    """Return a model after two passes with its gradients, and the bytes kept for backward."""
    torch.manual_seed(0)
    model = TwoTower(
        ModelConfig(
            video=VideoEncoderConfig(depth=10, width=0.125),
            audio=AudioEncoderConfig(depth=9, width=0.125),
            embedding_dim=8,
        )
    )
    model.video_encoder.activation_checkpointing = checkpointing
    model.audio_encoder.activation_checkpointing = checkpointing
    video, log_mel = torch.randn(3, 3, 4, 16, 16), torch.randn(3, 1, 16, 24)
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    for _ in range(2):
        kept.clear()
        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value),
            torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32),
        ):
            embeddings = model(video, log_mel)
        (embeddings.video * embeddings.audio).sum().backward()
    return model, sum(kept.values())


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
def test_gradients_and_running_statistics_are_identical(precision: torch.dtype) -> None:
    plain, plain_bytes = trained(checkpointing=False, precision=precision)
    saving, saving_bytes = trained(checkpointing=True, precision=precision)
    assert saving_bytes < 0.6 * plain_bytes
    for (name, one), two in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert one.grad is not None
        assert two.grad is not None
        assert torch.equal(one.grad, two.grad), name
    for (name, left), right in zip(plain.named_buffers(), saving.buffers(), strict=True):
        assert torch.equal(left, right), name
    tracked = plain.state_dict()["audio_encoder.bn1.num_batches_tracked"]
    assert tracked == 2
