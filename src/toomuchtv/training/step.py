"""One training step: a batch goes in, the weights are updated, and the results come out."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from toomuchtv._internal import distributed
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.data.clip_transform import ClipTransform
from toomuchtv.data.pair_labels import PairLabelConfig, PairLabels
from toomuchtv.losses import GatheredLoss, MemoryBank, PairLoss, negative_figures
from toomuchtv.models import Embeddings, TwoTower
from toomuchtv.training.gradient_cache import CachedEmbeddings
from toomuchtv.training.sync_batch_norm import CpuSyncBatchNorm


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """The result of one step over the whole batch, that of all processes.

    Attributes:
        loss: Loss of the whole batch.
        gradient_norm: Norm of the gradient of all parameters, before clipping.
        learning_rate: Learning rate of the step.
        embeddings: Embeddings `[n, D]` of the clips of this process, without gradient.
        pair_labels: Labels of the `N` x `N` pairs of the whole batch.
    """

    loss: float
    gradient_norm: float
    learning_rate: float
    embeddings: Embeddings
    pair_labels: PairLabels

    @property
    def num_clips(self) -> int:
        """Number of clips N of the whole batch."""
        return len(self.pair_labels)

    @property
    def is_finite(self) -> bool:
        """True if the loss and the gradient norm are finite. Otherwise no update was made."""
        return math.isfinite(self.loss) and math.isfinite(self.gradient_norm)


class TrainingStep:
    """A callable that takes one optimizer step on a batch.

    Args:
        model: The two towers.
        loss: The loss.
        transform: Crop, augmentation and log-mel spectrogram, on the device.
        optimizer: Optimizer of the parameters of `model` and `loss`.
        pair_labels: Rules by which pairs are positive, negative or ignored.
        precision: torch.bfloat16 for autocast, torch.float32 for none.
        max_gradient_norm: Largest norm of the gradient; larger gradients are scaled down.
        chunk_size: Number of clips whose activations are in memory at once; 0 for all clips of
            this process. See `gradient_cache`.
        ema: Moving average of the model, updated after each step.
    """

    def __init__(
        self,
        *,
        model: TwoTower,
        loss: PairLoss,
        transform: ClipTransform,
        optimizer: torch.optim.Optimizer,
        pair_labels: PairLabelConfig,
        precision: torch.dtype,
        max_gradient_norm: float,
        chunk_size: int = 0,
        ema: AveragedModel | None = None,
    ) -> None:
        self.model = model
        self.loss = loss
        self._gathered_loss = GatheredLoss(loss)
        self.optimizer = optimizer
        self.ema = ema
        self._transform = transform
        self._pair_labels = pair_labels
        self._precision = precision
        self._max_gradient_norm = max_gradient_norm
        self._chunk_size = chunk_size
        self._parameters = [*model.parameters(), *loss.parameters()]
        # Plain batch norm sees the clips of its own process, so the statistics drift apart.
        self._running_statistics = [
            buffer
            for module in model.modules()
            if isinstance(module, _BatchNorm)
            and not isinstance(module, nn.SyncBatchNorm | CpuSyncBatchNorm)
            for buffer in module.buffers()
            if buffer.is_floating_point()
        ]

    def __call__(self, batch: ClipBatch, learning_rate: float) -> StepResult:
        """Take one step on this process's part of a batch.

        If the loss or the gradient norm is not finite, the weights stay as they are and the
        gradients stay in place, so that `write_nan_dump` can report them.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        cached = CachedEmbeddings(
            self.model,
            lambda clips: self.embed(batch, clips),
            num_clips=len(batch),
            chunk_size=self._chunk_size,
        )
        specs = distributed.gather(batch.spec_tensor(cached.embeddings.video.device))
        labels = PairLabels(self._pair_labels, specs)
        loss = self._gathered_loss(*cached.embeddings, labels, **self._bank_arguments(labels))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        cached.backward()
        # The sum over processes is the gradient of the whole batch; see `GatheredLoss`.
        distributed.sum_gradients(self._parameters)
        norm = nn.utils.clip_grad_norm_(self._parameters, self._max_gradient_norm)
        # The only host synchronization of a step: both values in one transfer.
        loss_value, norm_value = torch.stack([loss.detach().to(norm.dtype), norm]).tolist()
        result = StepResult(
            loss=loss_value,
            gradient_norm=norm_value,
            learning_rate=learning_rate,
            embeddings=Embeddings(*(side.detach() for side in cached.embeddings)),
            pair_labels=labels,
        )
        if result.is_finite:
            self.optimizer.step()
            distributed.average_tensors(self._running_statistics)
            if self.ema is not None:
                self.ema.update_parameters(self.model)
        return result

    def embed(self, batch: ClipBatch, clips: slice = slice(None)) -> Embeddings:
        """Embed the clips of this process, or some of them."""
        device = next(self.model.parameters()).device
        seeds = batch.specs.seed[clips]
        video, log_mel = self._transform(
            batch.video[clips].to(device, non_blocking=True),
            batch.waveform[clips].to(device, non_blocking=True),
            seeds,
        )
        kept = self.model.draw_patches(video, log_mel, seeds)
        enabled = self._precision != torch.float32
        with torch.autocast(device.type, dtype=self._precision, enabled=enabled):
            embeddings: Embeddings = self.model(video, log_mel, kept)
        return embeddings

    def metrics(self, result: StepResult) -> dict[str, float]:
        """Return the metrics of one step, among them how hard its negatives were.

        All processes must call this together, because it gathers the embeddings.
        """
        temperature = self.loss.temperature.item()
        figures = negative_figures(
            distributed.gather(result.embeddings.video),
            distributed.gather(result.embeddings.audio),
            result.pair_labels,
            title=result.pair_labels.title,
            item=result.pair_labels.item,
            temperature=temperature,
        )
        return {
            "learning_rate": result.learning_rate,
            "gradient_norm": result.gradient_norm,
            "temperature": temperature,
            **asdict(figures),
        }

    @property
    def evaluated_model(self) -> TwoTower:
        """The model that is validated and saved: the EMA if there is one."""
        if self.ema is None:
            return self.model
        assert isinstance(self.ema.module, TwoTower)
        return self.ema.module

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The modules whose state a checkpoint holds, by name."""
        modules: dict[str, nn.Module] = {"model": self.model, "loss": self.loss}
        return modules if self.ema is None else {**modules, "ema": self.ema}

    def _bank_arguments(self, labels: PairLabels) -> dict[str, Tensor]:
        """Return what only a memory bank needs: keys by which it recognizes clips again."""
        if not isinstance(self.loss, MemoryBank):
            return {}
        keys = self.loss.clip_keys(labels.title, labels.item, labels.column("start_seconds"))
        return {"clip_keys": keys, "valid": labels.valid}
