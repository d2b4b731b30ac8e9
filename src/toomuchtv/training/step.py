"""One training step: a batch in, gradients applied, figures out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from toomuchtv import distributed
from toomuchtv.media.to_input import ToInput
from toomuchtv.models import Embeddings, TwoTower
from toomuchtv.objectives import InfoNCE, NegativeFigures, negative_figures
from toomuchtv.sampling.batches import Batch
from toomuchtv.sampling.roles import PairRoleConfig, PairRoles


@dataclass(frozen=True, slots=True, kw_only=True)
class GatheredBatch:
    """The embeddings and the whereabouts of the whole batch, over all processes."""

    video: Tensor
    audio: Tensor
    role: Tensor
    title: Tensor
    item: Tensor


class TrainingStep:
    """What is done with a batch.

    Args:
        model: The two towers.
        objective: The loss.
        to_input: Crop, augmentation and spectrogram, on the device.
        optimizer: Over the parameters of model and objective.
        roles: Which pairs are negatives.
        precision: torch.bfloat16 for autocast, torch.float32 for none.
        clip_gradient_norm: Largest norm of the gradient.
    """

    def __init__(
        self,
        *,
        model: TwoTower,
        objective: InfoNCE,
        to_input: ToInput,
        optimizer: torch.optim.Optimizer,
        roles: PairRoleConfig,
        precision: torch.dtype,
        clip_gradient_norm: float,
    ) -> None:
        self.model = model
        self.objective = objective
        self._to_input = to_input
        self._optimizer = optimizer
        self._roles = roles
        self._precision = precision
        self._clip = clip_gradient_norm
        self._parameters = [*model.parameters(), *objective.parameters()]

    def __call__(self, batch: Batch, learning_rate: float) -> tuple[Tensor, Tensor, GatheredBatch]:
        """Take one step.

        Returns:
            Loss and gradient norm as scalars, and the embeddings of the whole batch. If one of
            the two is not finite, no step is taken.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        gathered = self._gather(batch, self.embed(batch))
        loss = self.objective(gathered.video, gathered.audio, gathered.role)
        if not torch.isfinite(loss):
            return loss.detach(), torch.full_like(loss, torch.nan), gathered
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        # Each process has its share of the model's gradient, and all of the temperature's.
        distributed.sum_gradients(self.model.parameters())
        norm = nn.utils.clip_grad_norm_(self._parameters, self._clip)
        if torch.isfinite(norm):
            self._optimizer.step()
        return loss.detach(), norm.detach(), gathered

    def embed(self, batch: Batch) -> Embeddings:
        """Embed the batch of this process."""
        device = next(self.model.parameters()).device
        video, log_mel = self._to_input(
            batch.video.to(device, non_blocking=True),
            batch.waveform.to(device, non_blocking=True),
            batch.seed,
        )
        enabled = self._precision != torch.float32
        with torch.autocast(device.type, dtype=self._precision, enabled=enabled):
            embeddings: Embeddings = self.model(video, log_mel)
        return embeddings

    def _gather(self, batch: Batch, local: Embeddings) -> GatheredBatch:
        device = local.video.device
        roles = PairRoles(
            config=self._roles,
            **{
                name: distributed.gather(getattr(batch, name).to(device))
                for name in ("title", "item", "start_seconds", "audio_track", "recurrence", "valid")
            },
        )
        return GatheredBatch(
            video=distributed.gather_with_gradient(local.video),
            audio=distributed.gather_with_gradient(local.audio),
            role=roles.dense(),
            title=roles.title,
            item=roles.item,
        )

    def negatives(self, gathered: GatheredBatch) -> NegativeFigures:
        """How hard the negatives of a batch were."""
        return negative_figures(
            gathered.video.detach(),
            gathered.audio.detach(),
            gathered.role,
            title=gathered.title,
            item=gathered.item,
            temperature=self.objective.temperature.item(),
        )
