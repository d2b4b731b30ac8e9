"""Many steps on two processes equal those on one, in float64, where rounding hides no error.

In float32 such runs drift apart: two processes add in another order, and training magnifies the
difference step by step. Higher precision reduces rounding, but it would not reduce an error.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.batches import SMALLEST, a_batch
from tests.processes import run_processes
from toomuchtv._internal import distributed
from toomuchtv.data.augmentation import AugmentationConfig, ClipAugmentation
from toomuchtv.data.clip_transform import ClipTransform, TransformConfig
from toomuchtv.data.pair_labels import PairLabelConfig, PairLabels
from toomuchtv.models import TwoTower
from toomuchtv.training.optimizer import build_optimizer
from toomuchtv.training.run_config import OptimizerConfig
from toomuchtv.training.step import TrainingStep
from toomuchtv.training.sync_batch_norm import convert_sync_batch_norm

CPU = torch.device("cpu")
CLIPS, STEPS = 8, 12
OPTIMIZERS = {
    "sgd": OptimizerConfig(name="sgd", learning_rate=1e-2),
    "adamw": OptimizerConfig(name="adamw", learning_rate=1e-3),
}


class WideInput(ClipTransform):
    """A transform that returns float64."""

    def video(self, planes: Tensor, changes: ClipAugmentation) -> Tensor:
        return super().video(planes, changes).double()

    def audio(self, waveform: Tensor, changes: ClipAugmentation) -> Tensor:
        return super().audio(waveform, changes).double()


class WideInfoNCE(nn.Module):
    """Symmetric InfoNCE in the dtype of its input, with every other clip as a negative.

    The losses of the package compute in float32; tests/losses compares them with their papers.
    """

    def forward(self, video: Tensor, audio: Tensor, pair_labels: PairLabels) -> Tensor:
        logits, own = video @ audio.T / 0.2, torch.arange(len(video))
        cross_entropy = nn.functional.cross_entropy
        return 0.5 * (cross_entropy(logits, own) + cross_entropy(logits.T, own))


def train(folder: Path) -> None:
    """Train on this process's part with every optimizer; rank 0 saves the results."""
    with distributed.process_group(CPU):
        world_size = distributed.world_size()
        found: dict[str, Tensor] = {}
        for name, config in OPTIMIZERS.items():
            values = take_steps(config, world_size, distributed.rank())
            found |= {f"{name} {key}": value for key, value in values.items()}
        if distributed.rank() == 0:
            save_file(found, folder / f"{world_size}.safetensors")


def take_steps(config: OptimizerConfig, world_size: int, rank: int) -> dict[str, Tensor]:
    """Return loss and gradient norm of every step, and the final weights and statistics."""
    size = CLIPS // world_size
    model = TwoTower.from_config(SMALLEST, seed=0).double()
    convert_sync_batch_norm(model, CPU)
    step = TrainingStep(
        model=model,
        loss=WideInfoNCE(),  # type: ignore[arg-type]
        transform=WideInput(TransformConfig(size=16), AugmentationConfig()),
        optimizer=build_optimizer([model], config),
        pair_labels=PairLabelConfig(),
        precision=torch.float32,  # no autocast
        max_gradient_norm=1.0,
    )
    found: dict[str, Tensor] = {}
    for number in range(STEPS):
        batch = a_batch(CLIPS, step=number)[rank * size : (rank + 1) * size]
        result = step(batch, config.learning_rate)
        found |= {
            f"loss {number}": torch.tensor(result.loss, dtype=torch.float64),
            f"norm {number}": torch.tensor(result.gradient_norm, dtype=torch.float64),
        }
    return found | {name: value.contiguous() for name, value in model.state_dict().items()}


def test_twelve_steps_on_two_processes_equal_those_on_one(tmp_path: Path) -> None:
    train(tmp_path)
    run_processes(2, train, tmp_path)
    one, two = (load_file(tmp_path / f"{count}.safetensors") for count in (1, 2))
    assert one.keys() == two.keys()
    for name, value in one.items():
        scale = value.abs().max().clamp(min=1e-3)
        assert (two[name] - value).abs().max() <= 1e-9 * scale, name
    for name in OPTIMIZERS:
        assert len({float(one[f"{name} loss {number}"]) for number in range(STEPS)}) == STEPS
