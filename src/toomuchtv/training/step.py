"""One training step: a batch goes in, the weights are updated, and the results come out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from toomuchtv._internal import distributed
from toomuchtv.data.clip_specs import ClipBatch
from toomuchtv.data.clip_transform import ClipTransform
from toomuchtv.data.pair_labels import PairLabelConfig, PairLabels, find_positives
from toomuchtv.losses import GatheredLoss, MemoryBank, PairLoss, negative_figures
from toomuchtv.models import Embeddings, TwoTower
from toomuchtv.training.device_batch import DeviceBatch, HostValues, copy_to
from toomuchtv.training.gradient_cache import CachedEmbeddings
from toomuchtv.training.optimizer import ModelEma
from toomuchtv.training.sync_batch_norm import CpuSyncBatchNorm


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepResult:
    """The result of one step over the whole batch, that of all processes.

    On a GPU the step may still be running. `loss`, `gradient_norm` and `is_finite` wait for it.

    Attributes:
        values: Loss and gradient norm.
        learning_rate: Learning rate of the step.
        embeddings: Embeddings `[n, D]` of the clips of this process, without gradient.
        pair_labels: Labels of the `N` x `N` pairs of the whole batch.
        parameter_norms: Norm of the gradient of each parameter, before clipping, on the device.
    """

    values: HostValues
    learning_rate: float
    embeddings: Embeddings
    pair_labels: PairLabels
    parameter_norms: Mapping[nn.Parameter, Tensor]

    @property
    def loss(self) -> float:
        """Loss of the whole batch."""
        return self.values.read()[0]

    @property
    def gradient_norm(self) -> float:
        """Norm of the gradient of all parameters, before clipping."""
        return self.values.read()[1]

    @property
    def num_clips(self) -> int:
        """Number of clips N of the whole batch."""
        return len(self.pair_labels)

    @property
    def is_finite(self) -> bool:
        """True if the loss and the gradient norm are finite. Otherwise no update was made."""
        return all(map(math.isfinite, self.values.read()))


class TrainingStep:
    """A callable that takes one optimizer step on a batch.

    On a GPU a call launches the step and returns. The host never waits for the device in it.

    Args:
        model: The two towers.
        loss: The loss.
        transform: Crop, augmentation and log-mel spectrogram, on the device.
        optimizer: Optimizer of the parameters of `model` and `loss`; a fused one.
        pair_labels: Rules by which pairs are positive, negative or ignored.
        precision: torch.bfloat16 for autocast, torch.float32 for none.
        max_gradient_norm: Largest norm of the gradient; larger gradients are scaled down.
        chunk_size: Number of clips whose activations are in memory at once; 0 for all clips of
            this process. See `gradient_cache`.
        ema: Moving average of the model, updated after each step.
        overlap: Whether several processes exchange gradients while the backward pass still runs,
            instead of after it. The sums differ by rounding only.

    Raises:
        ValueError: The optimizer is not fused.
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
        ema: ModelEma | None = None,
        overlap: bool = True,
    ) -> None:
        if not getattr(optimizer, "_step_supports_amp_scaling", False):
            raise ValueError(
                "the optimizer must be able to skip a step that is not finite, without being told "
                "by the host: build it with fused=True"
            )
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
        self._device = next(model.parameters()).device
        self._overlapped: DistributedDataParallel | None = None
        if overlap and distributed.world_size() > 1:
            self._overlapped = distributed.sum_gradients_in_backward(model)
        self._run_model: Callable[..., Any] = self._overlapped or model
        self._run_video: Callable[..., Any] = transform.video
        # 1 once a step was not finite. From then on nothing is updated, so that the steps that were
        # launched before the host knew of it change nothing either.
        self._is_broken = torch.zeros((), device=self._device)
        # Plain batch norm sees the clips of its own process, so the statistics drift apart.
        self._running_statistics = [
            buffer
            for module in model.modules()
            if isinstance(module, _BatchNorm)
            and not isinstance(module, nn.SyncBatchNorm | CpuSyncBatchNorm)
            for buffer in module.buffers()
            if buffer.is_floating_point()
        ]

    def prepare(self, batch: ClipBatch) -> DeviceBatch:
        """Draw what the host draws for a batch, and copy everything to the device.

        All processes must call this together, because it gathers the specs of their clips. This
        happens on the host: it must know the positive pairs, whose number gives tensors their size.
        """
        seeds = batch.specs.seed
        shapes = self._transform.output_shapes(batch.video, batch.waveform)
        video, log_mel = (torch.empty(shape, device="meta") for shape in shapes)
        kept_video, kept_audio = self.model.draw_patches(video, log_mel, seeds)
        specs = distributed.gather(batch.spec_tensor())
        row, column = find_positives(self._pair_labels, specs)
        copy = copy_to(self._device)
        return DeviceBatch(
            host=batch,
            video=copy(batch.video),
            waveform=copy(batch.waveform),
            changes=self._transform.draw(seeds).map(copy),
            kept=(
                None if kept_video is None else copy(kept_video),
                None if kept_audio is None else copy(kept_audio),
            ),
            pair_labels=PairLabels(self._pair_labels, copy(specs), (copy(row), copy(column))),
        )

    def __call__(self, batch: DeviceBatch | ClipBatch, learning_rate: float) -> StepResult:
        """Take one step on this process's part of a batch.

        If the loss or the gradient norm is not finite, the parameters, the optimizer and the EMA
        stay as they are, in this step and in all that follow.
        """
        if isinstance(batch, ClipBatch):
            batch = self.prepare(batch)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        cached = CachedEmbeddings(
            self.model,
            partial(self._embed, batch),
            num_clips=len(batch),
            chunk_size=self._chunk_size,
            no_sync=self._overlapped.no_sync if self._overlapped else nullcontext,
        )
        labels = batch.pair_labels
        loss = self._gathered_loss(*cached.embeddings, labels, **self._bank_arguments(labels))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        with warnings.catch_warnings():
            # Two layouts of a kernel of one pixel have other strides and the same memory.
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view")
            cached.backward()
        # The sum over processes is the gradient of the whole batch; see `GatheredLoss`.
        distributed.sum_gradients(self.loss.parameters() if self._overlapped else self._parameters)
        norm, parameter_norms = self._clip_gradients()
        values = torch.stack([loss.detach().to(norm.dtype), norm])
        self._is_broken.copy_(torch.maximum(self._is_broken, (~values.isfinite()).any().float()))
        self._update()
        return StepResult(
            values=HostValues(values),
            learning_rate=learning_rate,
            embeddings=Embeddings(*(side.detach() for side in cached.embeddings)),
            pair_labels=labels,
            parameter_norms=parameter_norms,
        )

    def compile(self) -> None:
        """Compile the model and the transform of the video with `torch.compile`."""
        # The compiler does not know the complex numbers of the spectrogram.
        # Compiled with its wrapper, the model is cut where buckets of gradients are complete.
        self._run_model = torch.compile(self._overlapped or self.model)
        self._run_video = torch.compile(self._transform.video)

    def do_not_compile(self) -> None:
        """Undo `compile`."""
        self._run_model = self._overlapped or self.model
        self._run_video = self._transform.video

    def try_on(self, batch: ClipBatch) -> str | None:
        """Run forward and backward pass on a batch, and leave everything as it was.

        Returns:
            Why it failed; None if it did not. Only this process is needed, unless batch norm is
            synchronized.
        """
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        clips = slice(0, self._chunk_size or len(batch))
        try:
            with self._overlapped.no_sync() if self._overlapped else nullcontext():
                embeddings = self._embed(self.prepare(batch), clips)
                (embeddings.video * embeddings.audio).sum().backward()  # type: ignore[no-untyped-call]
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
        except (RuntimeError, OSError) as error:  # PyTorch's compiler errors are RuntimeErrors
            # The first line says that the backend failed, the second one says why.
            return " ".join(str(error).split("\n", maxsplit=2)[:2])
        finally:
            self.optimizer.zero_grad(set_to_none=True)
            for buffer, value in buffers:
                buffer.copy_(value)
        return None

    def _embed(self, batch: DeviceBatch, clips: slice) -> Embeddings:
        """Embed some clips of this process."""
        changes = batch.changes[clips]
        video = self._run_video(batch.video[clips], changes)
        log_mel = self._transform.audio(batch.waveform[clips], changes)
        kept_video, kept_audio = batch.kept
        kept = (
            None if kept_video is None else kept_video[clips],
            None if kept_audio is None else kept_audio[clips],
        )
        enabled = self._precision != torch.float32
        with torch.autocast(self._device.type, dtype=self._precision, enabled=enabled):
            embeddings: Embeddings = self._run_model(video, log_mel, kept)
        return embeddings

    def _clip_gradients(self) -> tuple[Tensor, dict[nn.Parameter, Tensor]]:
        """Clip the gradients; return their norm, and that of each parameter, before clipping.

        This is `torch.nn.utils.clip_grad_norm_`, which does not return the single norms.
        """
        with torch.no_grad():
            parameters = [value for value in self._parameters if value.grad is not None]
            norms = torch._foreach_norm([torch.as_tensor(value.grad) for value in parameters])
            norm = torch.linalg.vector_norm(torch.stack(norms))
            nn.utils.clip_grads_with_norm_(parameters, self._max_gradient_norm, norm)
        return norm, dict(zip(parameters, norms, strict=True))

    def _update(self) -> None:
        """Update the parameters, the running statistics and the EMA, if all was finite so far."""
        # With this attribute, which gradient scaling sets as well, the fused kernels of PyTorch
        # decide on the device whether to do anything.
        self.optimizer.found_inf = self._is_broken  # type: ignore[attr-defined]
        self.optimizer.step()
        distributed.average_tensors(self._running_statistics)
        if self.ema is not None:
            self.ema.update(self.model, skip=self._is_broken)

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
