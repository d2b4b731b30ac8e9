"""Fine-tuning of a whole network with a linear classifier on top, by a published recipe.

A checkpoint is written after each epoch. An interrupted training continues with the epoch it was
in and reaches the same weights, because views depend only on the clip, the epoch and the seed, and
batches depend only on the epoch and the seed.
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
from toomuchtv.errors import CheckpointError, MediaError
from toomuchtv.evaluation.benchmark import Benchmark, Fold, LabeledClip, ScoreArray
from toomuchtv.evaluation.encoders import AudioEncoder, Encoder, VideoEncoder
from toomuchtv.evaluation.features import read_ahead
from toomuchtv.evaluation.linear_probe import fold_predictions
from toomuchtv.evaluation.protocols import FinetuneProtocol
from toomuchtv.evaluation.reading import ViewReader
from toomuchtv.evaluation.result import FoldPredictions
from toomuchtv.evaluation.views import clip_seed
from toomuchtv.training.checkpoint import Checkpoints
from toomuchtv.training.device import choose_device, choose_precision

# If the newest checkpoint is damaged, training continues from the one before it.
_NUM_CHECKPOINTS = 2


def run_finetune(
    encoder: Encoder,
    benchmark: Benchmark,
    protocol: FinetuneProtocol,
    *,
    seed: int = 0,
    folder: Path | None = None,
    progress: ProgressCallback = no_progress,
) -> list[FoldPredictions]:
    """Fine-tune on each fold from the same pretrained weights, and test after the last epoch.

    Args:
        encoder: Encoder of the protocol's modality. Its own weights are not changed.
        benchmark: Benchmark to train and test on.
        protocol: The recipe.
        seed: Seed of the classifier's initial weights, of views, batches and dropout.
        folder: Folder of checkpoints. None writes no checkpoints.
        progress: Called with the number of epochs done.

    Returns:
        The predictions of each fold.

    Raises:
        MediaError: A clip cannot be read.
        ValueError: The encoder has no network that can be trained.
    """
    side = encoder.video if protocol.modality == "video" else encoder.audio
    if side is None or side.trunk() is None:
        raise ValueError(
            f"the encoder {encoder.name} has no {protocol.modality} network that can be fine-tuned"
        )
    recipe = protocol.on(benchmark.name)
    predictions = []
    for number, fold in enumerate(benchmark.folds):
        fold_folder = folder / fold.name.replace(" ", "-") if folder is not None else None
        tuner = FineTuner(side, benchmark, fold, recipe, seed=seed, folder=fold_folder)
        total = tuner.num_epochs * len(benchmark.folds)
        for done in tuner.epochs():
            done_in_all = number * tuner.num_epochs + done
            progress(done_in_all, total, f"{fold.name}, epoch {done} of {tuner.num_epochs}")
        targets = benchmark.label_matrix()[list(fold.test)]
        scores = tuner.scores(fold.test)
        predictions.append(fold_predictions(benchmark, fold.name, fold.test, scores, targets))
    return predictions


def undecodable_clips(
    encoder: Encoder,
    benchmark: Benchmark,
    protocol: FinetuneProtocol,
    *,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> dict[int, str]:
    """Read every clip once, so that none can end a training of hours.

    Returns:
        The reason for each row whose test views, or training views of the first epoch, cannot be
        read.
    """
    side = encoder.video if protocol.modality == "video" else encoder.audio
    reasons: dict[int, str] = {}
    if side is None:
        return reasons
    recipe = protocol.on(benchmark.name)
    train, test = ViewReader(recipe.train, side), ViewReader(recipe.test, side)

    def read(clip: LabeledClip) -> Tensor:
        test.read(clip, seed=0)
        return train.read(clip, seed=_view_seed(benchmark, clip, epoch=0, seed=seed))

    for row, decoded in enumerate(read_ahead(benchmark.clips, read)):
        if isinstance(decoded, MediaError):
            reasons[row] = str(decoded)
        progress(row + 1, len(benchmark.clips), "reading clips")
    return reasons


def _view_seed(benchmark: Benchmark, clip: LabeledClip, *, epoch: int, seed: int) -> int:
    name = clip.key.removeprefix(str(benchmark.root))
    return clip_seed(f"{name} in epoch {epoch}", seed)


class FineTuner:
    """The training of one fold.

    Attributes:
        num_epochs: Number of epochs, including those that train the classifier alone.

    Args:
        encoder: Encoder with a trainable network.
        benchmark: Benchmark with one class per clip.
        fold: Fold to train on.
        recipe: The protocol with the changes for this benchmark applied.
        seed: See `run_finetune`.
        folder: Folder of checkpoints, or None.
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
        self._train_reader = ViewReader(recipe.train, encoder)
        self._test_reader = ViewReader(recipe.test, encoder)
        self._classes = benchmark.label_matrix().argmax(axis=1)
        # Inference tensors cannot be trained, so an ordinary copy is.
        self._trunk = copy.deepcopy(trunk).to(self._device).requires_grad_(True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = nn.Linear(_num_features(trunk), len(benchmark.classes))
        self._head = nn.Sequential(nn.Dropout(recipe.dropout), head).to(self._device)
        self._optimizer = _optimizer(recipe, self._trunk, self._head)
        self._checkpoints = None if folder is None else Checkpoints(folder, keep=_NUM_CHECKPOINTS)

    def epochs(self) -> Iterator[int]:
        """Train, and yield the number of finished epochs after each one.

        The training continues from the newest checkpoint that is not damaged.
        """
        modules = {"trunk": self._trunk, "head": self._head}
        done = self._newest_good_epoch()
        if done and self._checkpoints is not None:
            self._checkpoints.load(done, modules, self._optimizer)
            yield done
        while done < self.num_epochs:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(clip_seed(f"epoch {done}", self._seed))
                self._train_epoch(done)
            done += 1
            if self._checkpoints is not None:
                self._checkpoints.save(done, modules, self._optimizer)
            yield done

    def _newest_good_epoch(self) -> int:
        if self._checkpoints is None:
            return 0
        try:
            return self._checkpoints.newest_good_step()
        except CheckpointError:  # all are damaged: train from the start
            return 0

    def _train_epoch(self, epoch: int) -> None:
        head_only = epoch < self._recipe.head_epochs
        rates = learning_rates(self._recipe, epoch)
        for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._trunk.train(not head_only)
        self._head.train()
        for views, classes in self.batches(epoch):
            self.step(views, classes, head_only=head_only)

    def step(self, views: Tensor, classes: Tensor, *, head_only: bool = False) -> float:
        """Take one optimizer step and return the loss.

        Args:
            views: Decoded views, uint8 `[N, T, H, W, 3]` or float32 `[N, S]`.
            classes: Class of each view, `[N]`.
            head_only: Train the classifier only.
        """
        with torch.set_grad_enabled(not head_only):
            features = self._features(views)
        loss = F.cross_entropy(self._head(features.float()), classes)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return float(loss.detach())

    def _features(self, views: Tensor) -> Tensor:
        # The preprocessing runs on the encoder's device, which may differ from that of the copy.
        prepared = self._encoder.prepare(views.to(self._device)).to(self._device)
        with torch.autocast(
            self._device.type, self._precision, enabled=self._precision != torch.float32
        ):
            features: Tensor = self._trunk(prepared)
        return features

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the views and classes of an epoch's batches.

        The views of as many clips as a batch has samples are read at a time and shuffled.
        """
        rows = np.array(self._fold.train)
        key = clip_seed(f"order of epoch {epoch}", self._seed)
        rows = rows[permuted(np.arange(len(rows)), len(rows), key)]
        size = self._recipe.batch_size
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            views = torch.cat([self._read(int(row), epoch) for row in part])
            classes = torch.from_numpy(np.repeat(self._classes[part], len(views) // len(part)))
            order = torch.from_numpy(permuted(np.arange(len(views)), len(views), key + first))
            for picked in torch.split(order, size):
                if len(picked) > 1:  # batch norm needs at least two samples
                    yield views[picked], classes[picked].to(self._device)

    def _read(self, row: int, epoch: int) -> Tensor:
        clip = self._benchmark.clips[row]

        def read(of_epoch: int) -> Tensor:
            seed = _view_seed(self._benchmark, clip, epoch=of_epoch, seed=self._seed)
            return self._train_reader.read(clip, seed=seed)

        try:
            return read(epoch)
        except MediaError:
            # These views lie in a hole of the file. Those of the first epoch were read before.
            return read(0)

    @torch.no_grad()
    def scores(self, rows: tuple[int, ...]) -> ScoreArray:
        """Return the mean over the views of each clip of the softmax, `[n, K]`."""
        self._trunk.eval()
        self._head.eval()
        found = []
        for row in rows:
            views = self._test_reader.read(self._benchmark.clips[row], seed=0)
            parts = torch.split(views, max(1, self._recipe.batch_size // 2))
            logits = torch.cat([self._head(self._features(part).float()) for part in parts])
            found.append(logits.softmax(dim=1).mean(dim=0).cpu().numpy())
        return np.stack(found).astype(np.float32)


def _num_features(trunk: nn.Module) -> int:
    num = getattr(trunk, "num_features", None)
    if not isinstance(num, int):
        raise ValueError(f"{type(trunk).__name__} has no attribute num_features")
    return num


def _optimizer(
    recipe: FinetuneProtocol, trunk: nn.Module, head: nn.Module
) -> torch.optim.Optimizer:
    """Return the recipe's optimizer with two groups: the network, then the classifier."""
    groups = [{"params": list(trunk.parameters())}, {"params": list(head.parameters())}]
    if recipe.optimizer == "adam":
        # Weight decay is a penalty in the gradient, as in torch's Adam and in the release.
        return torch.optim.Adam(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        groups,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )


def learning_rates(recipe: FinetuneProtocol, epoch: int) -> tuple[float, float]:
    """Return the learning rates of the network and of the classifier in an epoch, from 0.

    The epochs of the classifier alone come first, then a linear warm-up, then steps.
    """
    if epoch < recipe.head_epochs:
        return 0.0, recipe.learning_rate
    epoch -= recipe.head_epochs
    scale = recipe.gamma ** sum(epoch >= milestone for milestone in recipe.milestones)
    if epoch < recipe.warmup_epochs:
        start = 1.0 / recipe.warmup_factor
        scale *= start + (1.0 - start) * epoch / recipe.warmup_epochs
    return recipe.body_learning_rate * scale, recipe.learning_rate * scale
