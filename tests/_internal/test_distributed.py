"""Several processes compute what one process computes: loss, gradients and updated weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.batches import SMALLEST, a_batch
from tests.processes import run_processes
from toomuchtv._internal import distributed
from toomuchtv.data.augmentation import AugmentationConfig
from toomuchtv.data.clip_transform import ClipTransform, TransformConfig
from toomuchtv.data.log_mel import LogMelConfig
from toomuchtv.data.pair_labels import PairLabelConfig
from toomuchtv.errors import DistributedError
from toomuchtv.losses import InfoNCE
from toomuchtv.models import (
    AudioVit,
    AudioVitConfig,
    ModelConfig,
    TwoTower,
    VideoVit,
    VideoVitConfig,
)
from toomuchtv.training.step import TrainingStep

CPU = torch.device("cpu")
CLIPS = 8


MODELS = {
    "resnet": SMALLEST,
    "resnet, gradients exchanged afterwards": SMALLEST,
    "vit": ModelConfig(
        video=VideoVitConfig(size="micro", patch_frames=1, patch_pixels=8, patch_dropout=0.5),
        audio=AudioVitConfig(size="micro", patch_dropout=0.5),
        embedding_dim=SMALLEST.embedding_dim,
    ),
}


def take_steps(folder: Path) -> None:
    """Take a step of every model on this process's part, and write one file per process."""
    with distributed.process_group(CPU):
        found: dict[str, Tensor] = {}
        for name, config in MODELS.items():
            model = TwoTower.from_config(config, seed=0)
            results = take_step(model, overlap="afterwards" not in name)
            found |= {f"{name}.{key}": value for key, value in results.items()}
        path = folder / f"{distributed.world_size()}_{distributed.rank()}.safetensors"
        save_file({key: value.clone().contiguous() for key, value in found.items()}, path)


def take_step(model: TwoTower, *, overlap: bool) -> dict[str, Tensor]:
    """Take one step on this process's part of a batch."""
    rank, world_size = distributed.rank(), distributed.world_size()
    # Batch norm would see only the clips of its own process, so it is in evaluation mode.
    model.eval()
    for encoder in (model.video_encoder, model.audio_encoder):
        encoder.train(isinstance(encoder, VideoVit | AudioVit))  # with patch dropout
    loss = InfoNCE(temperature=0.2, learn_temperature=True)
    parameters = {**dict(model.named_parameters()), **dict(loss.named_parameters())}
    step = TrainingStep(
        model=model,
        loss=loss,
        transform=ClipTransform(
            TransformConfig(size=16, log_mel=LogMelConfig()), AugmentationConfig()
        ),
        optimizer=torch.optim.SGD(parameters.values(), lr=0.1, fused=True),
        pair_labels=PairLabelConfig(),
        precision=torch.float32,
        max_gradient_norm=1e9,
        overlap=overlap,
    )
    own = slice(rank * CLIPS // world_size, (rank + 1) * CLIPS // world_size)
    result = step(a_batch(CLIPS)[own], 0.1)
    metrics = step.metrics(result)
    gradients = {f"{key}.grad": value.grad for key, value in parameters.items() if value.numel()}
    assert all(value is not None for value in gradients.values())
    return {
        "loss": torch.tensor(result.loss),
        "norm": torch.tensor(result.gradient_norm),
        "hardness": torch.tensor(metrics["effective_negatives"]),
        "video": distributed.gather(result.embeddings.video),
        "labels": result.pair_labels.dense(),
        **{key: value for key, value in gradients.items() if value is not None},
        **{key: value.detach() for key, value in parameters.items()},
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    folder = tmp_path_factory.mktemp("alone")
    take_steps(folder)
    return load_file(folder / "1_0.safetensors")


@pytest.mark.parametrize("world_size", [2, 4])
def test_many_processes_step_as_one(
    world_size: int, alone: dict[str, Tensor], tmp_path: Path
) -> None:
    run_processes(world_size, take_steps, tmp_path)
    found = [load_file(tmp_path / f"{world_size}_{rank}.safetensors") for rank in range(world_size)]
    for name in MODELS:
        assert torch.isfinite(alone[f"{name}.loss"])
        assert alone[f"{name}.log_temperature.grad"].abs() > 1e-3
    for ranks_own in found:
        assert ranks_own.keys() == alone.keys()
        for name, value in ranks_own.items():
            torch.testing.assert_close(value, alone[name], rtol=1e-4, atol=1e-6, msg=name)
            assert torch.equal(value, found[0][name]), f"{name} differs between the processes"


def check_exchange() -> None:
    with distributed.process_group(CPU):
        rank, world_size = distributed.rank(), distributed.world_size()
        assert world_size == 2
        ranks = torch.tensor([0, 0, 1, 1])
        for dtype in (torch.bool, torch.int64, torch.float64):
            local = torch.full((2,), rank).to(dtype)
            assert torch.equal(distributed.gather(local), ranks.to(dtype))
        spread = torch.arange(12.0).view(3, 4).T  # not contiguous
        assert torch.equal(distributed.gather(spread), torch.cat([spread, spread]))
        norm = nn.BatchNorm1d(2)
        assert norm.running_mean is not None
        norm.running_mean.fill_(float(rank))
        distributed.average_tensors([norm.running_mean])
        assert norm.running_mean.tolist() == [0.5, 0.5]
        assert distributed.any_rank(rank == 1, CPU)
        for values in ([], [-1, 0, 2**40]):
            assert distributed.on_first_rank(partial(list, values), CPU) == values
        with pytest.raises(ValueError if rank == 0 else DistributedError):
            distributed.on_first_rank(lambda: [int("x")], CPU)
        assert not distributed.any_rank(False, CPU)
        distributed.barrier()
    assert distributed.world_size() == 1


def test_exchange_between_processes() -> None:
    run_processes(2, check_exchange)


def test_one_process_runs_the_same_code() -> None:
    values = torch.randn(3, 2, requires_grad=True)
    with distributed.process_group(CPU):
        assert (distributed.rank(), distributed.world_size()) == (0, 1)
        assert torch.equal(distributed.gather(values), values)
        assert not distributed.gather(values).requires_grad
        assert distributed.gather_with_gradient(values) is values
        distributed.sum_gradients([nn.Parameter(torch.ones(2))])
        distributed.average_tensors([torch.ones(2)])
        distributed.barrier()
        assert distributed.any_rank(True, CPU)
        assert not distributed.any_rank(False, CPU)
