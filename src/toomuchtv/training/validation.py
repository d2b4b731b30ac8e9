"""The loss on held-out titles."""

from __future__ import annotations

import torch

from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.data.pair_labels import PairLabel
from toomuchtv.inference.pretrained import PretrainedEncoder
from toomuchtv.losses import PairLoss

_CLIPS_PER_PASS = 64


@torch.no_grad()
def held_out_loss(encoder: PretrainedEncoder, loss: PairLoss, batch: ClipBatch) -> float:
    """Compute the loss of a batch of this process alone, without augmentation.

    Every other clip is a negative. Running statistics and memory banks do not change.

    Args:
        encoder: The encoders as they would be saved now.
        loss: The training loss. It is in evaluation mode during this call.
        batch: Clips that do not overlap. Invalid clips take no part.
    """
    parts = [
        encoder.embed_planes(planes, waveform)
        for planes, waveform in zip(
            torch.split(batch.video, _CLIPS_PER_PASS),
            torch.split(batch.waveform, _CLIPS_PER_PASS),
            strict=True,
        )
    ]
    video, audio = (torch.cat(values) for values in zip(*parts, strict=True))
    device = video.device
    valid = batch.valid.to(device)
    labels = torch.diag(valid).to(torch.int8)
    labels[~valid] = PairLabel.IGNORE
    labels[:, ~valid] = PairLabel.IGNORE
    was_training = loss.training
    loss.eval()
    value = float(loss(video, audio, labels))
    loss.train(was_training)
    return value
