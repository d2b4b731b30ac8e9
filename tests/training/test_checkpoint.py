"""Checkpoints: whole or not there, the newest kept, and never believed when damaged."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from toomuchtv.errors import CheckpointError
from toomuchtv.training import checkpoint
from toomuchtv.training.checkpoint import Checkpoints
from toomuchtv.training.config import OptimizerConfig
from toomuchtv.training.optimizer import build_optimizer

State = tuple[dict[str, nn.Module], torch.optim.AdamW]


def state(seed: int = 0, width: int = 4) -> State:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    modules: dict[str, nn.Module] = {"model": model, "objective": nn.Linear(2, 1)}
    return modules, build_optimizer(list(modules.values()), OptimizerConfig())


def train(modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, steps: int) -> None:
    generator = torch.Generator().manual_seed(9)
    for _ in range(steps):
        optimizer.zero_grad()
        x = torch.randn(4, 3, 8, 8, generator=generator)
        loss = modules["model"](x.contiguous(memory_format=torch.channels_last)).square().mean()
        (loss + modules["objective"](torch.ones(2)).sum()).backward()
        optimizer.step()


def weights(modules: dict[str, nn.Module]) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": value.clone()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }


def test_training_goes_on_to_the_bit(tmp_path: Path) -> None:
    modules, optimizer = state()
    train(modules, optimizer, 3)
    Checkpoints(tmp_path, keep=1).save(3, modules, optimizer)
    other, other_optimizer = state(seed=1)
    Checkpoints(tmp_path, keep=1).load(3, other, other_optimizer)
    for _ in range(2):
        train(modules, optimizer, 3)
        train(other, other_optimizer, 3)
    for name, value in weights(modules).items():
        assert torch.equal(value, weights(other)[name]), name


def test_moments_lie_as_their_parameters_do(tmp_path: Path) -> None:
    modules, optimizer = state()
    train(modules, optimizer, 1)
    Checkpoints(tmp_path, keep=1).save(1, modules, optimizer)
    other, other_optimizer = state(seed=1)
    Checkpoints(tmp_path, keep=1).load(1, other, other_optimizer)
    for parameter in other["model"].parameters():
        for key in ("exp_avg", "exp_avg_sq"):
            assert other_optimizer.state[parameter][key].stride() == parameter.stride()


def test_the_newest_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "new" / "folder", keep=2)
    assert checkpoints.steps() == []
    modules, optimizer = state()
    for step in (5, 10, 15, 100_000):
        assert checkpoints.save(step, modules, optimizer) == checkpoints.path(step)
    assert checkpoints.steps() == [15, 100_000]
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 2


def test_a_write_that_fails_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    modules, optimizer = state()
    checkpoints.save(1, modules, optimizer)
    before = checkpoints.path(1).read_bytes()

    def half(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(before[:100])
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", half)
    with pytest.raises(CheckpointError, match=r"cannot write .*No space left.*before it stay"):
        checkpoints.save(2, modules, optimizer)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001.safetensors"]
    assert checkpoints.path(1).read_bytes() == before


def test_leftovers_of_a_kill_are_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "step_00000007.partial").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    assert Checkpoints(tmp_path, keep=1).steps() == []


@pytest.mark.parametrize("size", [0, 5, 200, -1])
def test_a_damaged_file_is_refused(tmp_path: Path, size: int) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    modules, optimizer = state()
    path = checkpoints.save(1, modules, optimizer)
    path.write_bytes(path.read_bytes()[:size])
    before = copy.deepcopy(weights(modules))
    with pytest.raises(CheckpointError, match=r"cannot read the checkpoint .*step_00000001"):
        checkpoints.load(1, modules, optimizer)
    for name, value in weights(modules).items():
        assert torch.equal(value, before[name])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot read the checkpoint"):
        Checkpoints(tmp_path, keep=1).load(4, *state())


def test_another_model_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, *state())
    with pytest.raises(CheckpointError, match="of another model than the config says"):
        checkpoints.load(1, *state(width=8))
