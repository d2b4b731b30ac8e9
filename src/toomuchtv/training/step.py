"""One training step: a batch in, gradients applied, figures out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from toomuchtv._internal import distributed
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.data.clip_transform import ClipTransform
from toomuchtv.data.pair_labels import PairLabelConfig, PairLabels
from toomuchtv.losses import (
    GatheredLoss,
    MemoryBank,
    NegativeFigures,
    PairLoss,
    negative_figures,
)
from toomuchtv.models import Embeddings, TwoTower
from toomuchtv.training.gradient_cache import CachedEmbeddings


@dataclass(frozen=True, slots=True, kw_only=True)
class GatheredBatch:
    """The embeddings and the pair labels of the whole batch, over all processes; no gradient."""

    video: Tensor
    audio: Tensor
    roles: PairLabels


class TrainingStep:
    """What is done with a batch.

    Args:
        model: The two towers.
        loss: The loss.
        to_input: Crop, augmentation and spectrogram, on the device.
        optimizer: Over the parameters of model and loss.
        roles: Which pairs are negatives.
        precision: torch.bfloat16 for autocast, torch.float32 for none.
        max_gradient_norm: Largest norm of the gradient.
        chunk_size: Clips whose activations are in memory at once; 0: all. See `gradient_cache`.
    """

    def __init__(
        self,
        *,
        model: TwoTower,
        loss: PairLoss,
        to_input: ClipTransform,
        optimizer: torch.optim.Optimizer,
        roles: PairLabelConfig,
        precision: torch.dtype,
        max_gradient_norm: float,
        chunk_size: int = 0,
    ) -> None:
        self.model = model
        self.loss = loss
        self._gathered_loss = GatheredLoss(loss)
        self._to_input = to_input
        self._optimizer = optimizer
        self._roles = roles
        self._precision = precision
        self._max_norm = max_gradient_norm
        self._chunk_size = chunk_size
        self._parameters = [*model.parameters(), *loss.parameters()]

    def __call__(
        self, batch: ClipBatch, learning_rate: float
    ) -> tuple[Tensor, Tensor, GatheredBatch]:
        """Take one step.

        Returns:
            Loss and gradient norm as scalars, and the embeddings of the whole batch. If one of
            the two is not finite, no step is taken, and the gradients stay for who looks why.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        cached = CachedEmbeddings(
            self.model,
            lambda clips: self.embed(batch, clips),
            num_clips=len(batch),
            chunk_size=self._chunk_size,
        )
        gathered = self._gather(batch, cached.embeddings)
        loss = self._compute_loss(cached.embeddings, gathered.roles)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        cached.backward()
        # See GatheredLoss: the sum over the processes is the gradient of the whole batch.
        distributed.sum_gradients(self._parameters)
        norm = nn.utils.clip_grad_norm_(self._parameters, self._max_norm)
        if torch.isfinite(loss) and torch.isfinite(norm):
            self._optimizer.step()
        return loss.detach(), norm.detach(), gathered

    def embed(self, batch: ClipBatch, clips: slice = slice(None)) -> Embeddings:
        """Embed the batch of this process, or some of its clips."""
        device = next(self.model.parameters()).device
        video, log_mel = self._to_input(
            batch.video[clips].to(device, non_blocking=True),
            batch.waveform[clips].to(device, non_blocking=True),
            batch.specs.seed[clips],
        )
        enabled = self._precision != torch.float32
        with torch.autocast(device.type, dtype=self._precision, enabled=enabled):
            embeddings: Embeddings = self.model(video, log_mel)
        return embeddings

    def _compute_loss(self, embeddings: Embeddings, labels: PairLabels) -> Tensor:
        extra = {}
        if isinstance(self.loss, MemoryBank):
            keys = self.loss.clip_keys(labels.title, labels.item, labels.column("start_seconds"))
            extra = {"clip_keys": keys, "valid": labels.valid}
        return torch.as_tensor(self._gathered_loss(*embeddings, labels, **extra))

    def _gather(self, batch: ClipBatch, local: Embeddings) -> GatheredBatch:
        parts = distributed.parts(len(batch), local.video.device)
        specs = distributed.gather(batch.spec_tensor(local.video.device), parts)
        roles = PairLabels(self._roles, specs)
        return GatheredBatch(
            video=distributed.gather(local.video, parts),
            audio=distributed.gather(local.audio, parts),
            roles=roles,
        )

    def negatives(self, gathered: GatheredBatch) -> NegativeFigures:
        """How hard the negatives of a batch were."""
        return negative_figures(
            gathered.video,
            gathered.audio,
            gathered.roles,
            title=gathered.roles.title,
            item=gathered.roles.item,
            temperature=self.loss.temperature.item(),
        )
