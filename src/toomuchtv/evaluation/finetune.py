"""Fine-tuning: the whole network of one sense and a linear classifier, by a published recipe.

Checkpoints are the training engine's, one an epoch: a run that was interrupted goes on with the
epoch it was in, and comes to the same weights. Views are functions of the clip, the epoch and the
seed, batches of the epoch and the seed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toomuchtv._internal.progress import ProgressCallback, no_progress
from toomuchtv._internal.random_numbers import permuted
from toomuchtv.evaluation.benchmark import Benchmark, Fold, ScoreArray
from toomuchtv.evaluation.encoders import AudioEncoder, Encoder, VideoEncoder
from toomuchtv.evaluation.protocols import FinetuneProtocol
from toomuchtv.evaluation.reading import read_views, resolved_views
from toomuchtv.evaluation.result import FoldPredictions
from toomuchtv.evaluation.views import clip_seed
from toomuchtv.training.checkpoint import Checkpoints
from toomuchtv.training.device import choose_device, choose_precision


def run_finetune(
    encoder: Encoder,
    benchmark: Benchmark,
    protocol: FinetuneProtocol,
    *,
    seed: int = 0,
    folder: Path | None = None,
    progress: ProgressCallback = no_progress,
) -> list[FoldPredictions]:
    """Fine-tune on each fold from the same pretrained weights, and test the last epoch's.

    Args:
        encoder: Whose network of the protocol's sense.
        benchmark: Labeled clips.
        protocol: The recipe.
        seed: Of the classifier's first weights, of views, batches and dropout.
        folder: Where checkpoints are kept; None keeps none.
        progress: Told the epochs done.

    Raises:
        MediaError: A clip cannot be read.
        ValueError: The encoder has no such network that can be trained.
    """
    side = encoder.video if protocol.modality == "video" else encoder.audio
    if side is None or side.trunk() is None:
        raise ValueError(
            f"the encoder {encoder.name} has no {protocol.modality} network that can be fine-tuned"
        )
    recipe = protocol.on(benchmark.name)
    answers = []
    for number, fold in enumerate(benchmark.folds):
        kept = folder / fold.name.replace(" ", "-") if folder is not None else None
        tuning = FineTuner(side, benchmark, fold, recipe, seed=seed, folder=kept)
        total = tuning.num_epochs * len(benchmark.folds)
        for done in tuning.epochs():
            at = number * tuning.num_epochs + done
            progress(at, total, f"{fold.name}, epoch {done} of {tuning.num_epochs}")
        answers.append(
            FoldPredictions(
                name=fold.name,
                clips=[benchmark.clips[row].key for row in fold.test],
                sources=[benchmark.clips[row].source for row in fold.test],
                scores=tuning.scores(fold.test),
                targets=benchmark.label_matrix()[list(fold.test)],
            )
        )
    return answers


class FineTuner:
    """One fold's training.

    Attributes:
        num_epochs: Those of the classifier alone and those of everything.
    """

    def __init__(
        self,
        encoder: VideoEncoder | AudioEncoder,
        benchmark: Benchmark,
        fold: Fold,
        recipe: FinetuneProtocol,
        *,
        seed: int,
        folder: Path | None,
    ) -> None:
        trunk = encoder.trunk()
        assert trunk is not None
        self._encoder, self._benchmark, self._fold = encoder, benchmark, fold
        self._recipe, self._seed = recipe, seed
        self.num_epochs = recipe.head_epochs + recipe.epochs
        self._device = choose_device("auto")
        self._precision = choose_precision("auto", self._device)
        self._views = tuple(resolved_views(views, encoder) for views in (recipe.train, recipe.test))
        self._classes = benchmark.label_matrix().argmax(axis=1)
        # Inference tensors cannot be trained: the copy is an ordinary network of its own.
        self._trunk = copy.deepcopy(trunk).to(self._device).requires_grad_(True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = nn.Linear(_num_features(trunk), len(benchmark.classes))
        self._head = nn.Sequential(nn.Dropout(recipe.dropout), head).to(self._device)
        self._optimizer = _optimizer(recipe, self._trunk, self._head)
        self._checkpoints = None if folder is None else Checkpoints(folder, keep=1)

    def epochs(self) -> Iterator[int]:
        """Train; yields the epochs done after each. Goes on from the newest checkpoint."""
        modules = {"trunk": self._trunk, "head": self._head}
        done = 0
        if self._checkpoints is not None and self._checkpoints.steps():
            done = self._checkpoints.steps()[-1]
            self._checkpoints.load(done, modules, self._optimizer)
            yield done
        while done < self.num_epochs:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(clip_seed(f"epoch {done}", self._seed))
                self._epoch(done)
            done += 1
            if self._checkpoints is not None:
                self._checkpoints.save(done, modules, self._optimizer)
            yield done

    def _epoch(self, epoch: int) -> None:
        head_only = epoch < self._recipe.head_epochs
        rates = learning_rates(self._recipe, epoch)
        for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._trunk.train(not head_only)
        self._head.train()
        for views, classes in self.batches(epoch):
            self.step(views, classes, head_only=head_only)

    def step(self, views: Tensor, classes: Tensor, *, head_only: bool = False) -> float:
        """Take a step on views as read and their classes `[N]`; gives the loss.

        Views are uint8 `[N, T, H, W, 3]` or float32 `[N, S]`.
        """
        with torch.set_grad_enabled(not head_only):
            features = self._features(views)
        loss = F.cross_entropy(self._head(features.float()), classes)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return float(loss.detach())

    def _features(self, views: Tensor) -> Tensor:
        # Preparing goes by where the encoder is, which need not be where its copy is trained.
        prepared = self._encoder.prepare(views.to(self._device)).to(self._device)
        with torch.autocast(
            self._device.type, self._precision, enabled=self._precision != torch.float32
        ):
            features: Tensor = self._trunk(prepared)
        return features

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Give the batches of an epoch: views of as many clips as a batch has samples, shuffled."""
        rows = np.array(self._fold.train)
        key = clip_seed(f"order of epoch {epoch}", self._seed)
        rows = rows[permuted(np.arange(len(rows)), len(rows), key)]
        size = self._recipe.batch_size
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            views = torch.cat([self._read(int(row), epoch) for row in part])
            classes = np.repeat(self._classes[part], len(views) // len(part))
            order = torch.from_numpy(permuted(np.arange(len(views)), len(views), key + first))
            for picked in torch.split(order, size):
                if len(picked) > 1:  # batch norm needs two
                    yield views[picked], torch.from_numpy(classes)[picked].to(self._device)

    def _read(self, row: int, epoch: int) -> Tensor:
        clip = self._benchmark.clips[row]
        name = clip.key.removeprefix(str(self._benchmark.root))
        seed = clip_seed(f"{name} in epoch {epoch}", self._seed)
        return read_views(clip, self._views[0], self._encoder, seed=seed)

    @torch.no_grad()
    def scores(self, rows: tuple[int, ...]) -> ScoreArray:
        """Mean over a clip's views of the softmax, `[n, K]`."""
        self._trunk.eval()
        self._head.eval()
        found = []
        for row in rows:
            views = read_views(self._benchmark.clips[row], self._views[1], self._encoder, seed=0)
            parts = torch.split(views, max(1, self._recipe.batch_size // 2))
            logits = torch.cat([self._head(self._features(part).float()) for part in parts])
            found.append(logits.softmax(dim=1).mean(dim=0).cpu().numpy())
        return np.stack(found).astype(np.float32)


def _num_features(trunk: nn.Module) -> int:
    num = getattr(trunk, "num_features", None)
    if not isinstance(num, int):
        raise ValueError(f"{type(trunk).__name__} does not say its num_features")
    return num


def _optimizer(
    recipe: FinetuneProtocol, trunk: nn.Module, head: nn.Module
) -> torch.optim.Optimizer:
    """The recipe's optimizer, the network's parameters first, then the classifier's."""
    groups = [{"params": list(trunk.parameters())}, {"params": list(head.parameters())}]
    if recipe.optimizer == "adam":
        # Decay as a penalty in the gradient, as torch's Adam and the release have it.
        return torch.optim.Adam(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        groups,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )


def learning_rates(recipe: FinetuneProtocol, epoch: int) -> tuple[float, float]:
    """Learning rates of the network and the classifier in an epoch, counted from 0.

    The classifier's own epochs come first; then a linear warm-up, then steps.
    """
    if epoch < recipe.head_epochs:
        return 0.0, recipe.learning_rate
    at = epoch - recipe.head_epochs
    scale = recipe.gamma ** sum(at >= milestone for milestone in recipe.milestones)
    if at < recipe.warmup_epochs:
        start = 1.0 / recipe.warmup_factor
        scale *= start + (1.0 - start) * at / recipe.warmup_epochs
    return recipe.body_learning_rate * scale, recipe.learning_rate * scale
