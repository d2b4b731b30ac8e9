"""The loss on titles that are never trained on."""

from __future__ import annotations

import torch

from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.data.pair_labels import PairLabel
from toomuchtv.inference.pretrained import PretrainedEncoder
from toomuchtv.losses import PairLoss

_CLIPS_AT_ONCE = 64


@torch.no_grad()
def held_out_loss(pretrained: PretrainedEncoder, loss: PairLoss, batch: ClipBatch) -> float:
    """Return the loss of a batch that only this process holds, without augmentation.

    Every other clip is a negative. Nothing is remembered: neither running statistics nor banks
    move, and the loss module returns to the mode that it was in.

    Args:
        pretrained: The encoders as they would be saved now.
        loss: The loss module of the run.
        batch: Of moments that do not overlap; invalid clips are left out.
    """
    parts = [
        pretrained.embed_planes(planes, waveform)
        for planes, waveform in zip(
            torch.split(batch.video, _CLIPS_AT_ONCE),
            torch.split(batch.waveform, _CLIPS_AT_ONCE),
            strict=True,
        )
    ]
    video, audio = (torch.cat(values) for values in zip(*parts, strict=True))
    device = video.device
    valid = batch.valid.to(device)
    role = torch.diag(valid).to(torch.int8)
    role[~valid] = PairLabel.IGNORE
    role[:, ~valid] = PairLabel.IGNORE
    was_training = loss.training
    loss.eval()
    value = float(loss(video, audio, role))
    loss.train(was_training)
    return value
