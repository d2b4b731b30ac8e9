"""Synchronized batch norm on several processes is batch norm of the whole batch on one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.processes import run_processes
from toomuchtv._internal import distributed
from toomuchtv.training.sync_batch_norm import CpuSyncBatchNorm, convert_sync_batch_norm

CPU = torch.device("cpu")
#: Clips of the first of two processes, and of both.
FIRST, ALL = 4, 8
SHAPES = {"flat": (ALL, 5), "frames": (ALL, 5, 4, 3), "clips": (ALL, 5, 2, 3, 4)}


def whole(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return values whose mean is far from zero, and weights of a loss."""
    generator = torch.Generator().manual_seed(len(shape))
    x = torch.randn(shape, generator=generator) * 0.5 + 4.0
    return x, torch.randn(shape, generator=generator)


def norm_of(x: Tensor, norm: nn.Module, weights: Tensor) -> dict[str, Tensor]:
    """Return outputs, gradients and running statistics after two passes, by name."""
    x = x.clone().requires_grad_()
    for _ in range(2):
        norm.zero_grad()
        x.grad = None
        out = norm(x)
        (out.square() * weights).sum().backward()
    assert x.grad is not None
    distributed.sum_gradients(norm.parameters())
    gradients = {f"{name}.grad": value.grad for name, value in norm.named_parameters()}
    return {
        "out": out.detach(),
        "x.grad": x.grad,
        **{name: value for name, value in gradients.items() if value is not None},
        **{name: value.clone() for name, value in norm.named_buffers()},
    }


def fresh(norm: nn.Module) -> nn.Module:
    for value, start in zip(norm.parameters(), (0.5, -1.0), strict=True):
        nn.init.constant_(value, start)
        with torch.no_grad():
            value.add_(torch.arange(5.0) / 5)
    return norm


def take_part(folder: Path) -> None:
    with distributed.process_group(CPU):
        cut = slice(0, FIRST) if distributed.rank() == 0 else slice(FIRST, ALL)
        found: dict[str, Tensor] = {}
        for name, shape in SHAPES.items():
            x, weights = whole(shape)
            own = norm_of(x[cut], fresh(CpuSyncBatchNorm(5)), weights[cut])
            found |= {f"{name} {key}": value.contiguous() for key, value in own.items()}
        save_file(found, folder / f"{distributed.rank()}.safetensors")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("parts")
    run_processes(2, take_part, folder)
    return [load_file(folder / f"{rank}.safetensors") for rank in (0, 1)]


@pytest.mark.parametrize("name", list(SHAPES))
def test_two_processes_normalize_as_one(name: str, parts: list[dict[str, Tensor]]) -> None:
    x, weights = whole(SHAPES[name])
    kind: dict[str, type[nn.Module]] = {
        "flat": nn.BatchNorm1d, "frames": nn.BatchNorm2d, "clips": nn.BatchNorm3d,
    }  # fmt: skip
    # The reference is in float64, so that differences are those of the tested code.
    double = fresh(kind[name](5)).double()
    alone = norm_of(x.double(), double, weights.double())
    for key, value in alone.items():
        found = [part[f"{name} {key}"] for part in parts]
        joined = torch.cat(found) if key in {"out", "x.grad"} else found[0]
        torch.testing.assert_close(joined.double(), value.double(), rtol=1e-4, atol=1e-4, msg=key)
        if key not in {"out", "x.grad"}:
            assert torch.equal(found[0], found[1]), key


def test_one_process_normalizes_as_torch_to_the_bit() -> None:
    x, weights = whole(SHAPES["frames"])
    expected = norm_of(x, fresh(nn.BatchNorm2d(5)), weights)
    model = nn.Sequential(fresh(nn.BatchNorm2d(5)))
    before = model.state_dict()
    convert_sync_batch_norm(model, CPU)
    assert isinstance(model[0], CpuSyncBatchNorm)
    assert model.state_dict().keys() == before.keys()
    for name, value in norm_of(x, model[0], weights).items():
        assert torch.equal(value, expected[name]), name
