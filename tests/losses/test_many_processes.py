"""Every loss on 1, 2 and 4 processes: loss and gradients equal those of one process."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.losses.references import unit
from tests.processes import run_processes
from toomuchtv._internal import distributed
from toomuchtv.losses import GatheredLoss, LossConfig, MemoryBank, build_loss

CPU = torch.device("cpu")
CLIPS, STEPS = 24, 3
CONFIGS: TypeAdapter[Any] = TypeAdapter(LossConfig)

SETTINGS: dict[str, dict[str, object]] = {
    "info_nce": {"name": "info_nce"},
    "joint_nce": {"name": "joint_nce"},
    "within_modal": {"name": "within_modal", "within_weight": 0.5},
    "memory_bank": {"name": "memory_bank", "bank_size": 64, "num_negatives": 20},
}


def whole(step: int) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    """Return embeddings, labels (not symmetric, two clips invalid), and clips of a whole batch."""
    draws = np.random.default_rng(step)
    labels = torch.tensor(draws.integers(-1, 2, size=(CLIPS, CLIPS)), dtype=torch.int8)
    labels[draws.random((CLIPS, CLIPS)) < 0.7] = 0
    labels.fill_diagonal_(1)
    valid = torch.ones(CLIPS, dtype=torch.bool)
    valid[[4, 21]] = False
    labels[~valid] = -1
    labels[:, ~valid] = -1
    item = torch.tensor(draws.integers(0, 9, size=CLIPS))
    start = torch.tensor(draws.integers(0, 5, size=CLIPS) * 2.0)
    video, audio = (torch.tensor(unit(2 * step + side, CLIPS, 32)).float() for side in (0, 1))
    return video, audio, labels, {"item": item, "start_seconds": start, "valid": valid}


def take_steps(folder: Path) -> None:
    """Run some steps of every loss on this process's clips, and write one file per process."""
    with distributed.process_group(CPU):
        rank, world_size = distributed.rank(), distributed.world_size()
        own = slice(CLIPS * rank // world_size, CLIPS * (rank + 1) // world_size)
        found: dict[str, Tensor] = {}
        for name, settings in SETTINGS.items():
            values = {"temperature": 0.1, "learn_temperature": True, **settings}
            loss = build_loss(CONFIGS.validate_python(values), embedding_dim=32)
            gathered = GatheredLoss(loss)
            for step in range(STEPS):
                video, audio, labels, clips = whole(step)
                extra = {}
                if isinstance(loss, MemoryBank):
                    item = clips["item"]
                    keys = loss.clip_keys(item // 2, item, clips["start_seconds"])
                    extra = {"clip_keys": keys, "valid": clips["valid"]}
                sides = [side[own].clone().requires_grad_() for side in (video, audio)]
                loss.zero_grad()
                value = gathered(sides[0], sides[1], labels, **extra)
                value.backward()
                distributed.sum_gradients(loss.parameters())
                found[f"{name}.{step}.loss"] = value.detach()
                for key, parameter in loss.named_parameters():
                    assert parameter.grad is not None
                    found[f"{name}.{step}.{key}"] = parameter.grad.clone()
                for key, side in zip(("video", "audio"), sides, strict=True):
                    assert side.grad is not None
                    # Joined only to compare: each process has the gradient of its own rows.
                    found[f"{name}.{step}.{key}"] = distributed.gather(side.grad)
            for key, buffer in loss.named_buffers():
                found[f"{name}.{key}"] = buffer
        save_file(
            {key: value.clone().contiguous() for key, value in found.items()},
            folder / f"{world_size}_{rank}.safetensors",
        )


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    folder = tmp_path_factory.mktemp("alone")
    take_steps(folder)
    return load_file(folder / "1_0.safetensors")


def four_and_then_two(folder: Path, port: int) -> None:
    """Run on four processes, then on the first two, because starting processes is slow."""
    take_steps(folder)
    if int(os.environ["RANK"]) < 2:
        os.environ.update(WORLD_SIZE="2", MASTER_PORT=str(port))
        take_steps(folder)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("together")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run_processes(4, four_and_then_two, folder, port)
    return folder


@pytest.mark.parametrize("world_size", [2, 4])
def test_many_processes_compute_the_loss_and_gradients_of_one(
    world_size: int, alone: dict[str, Tensor], together: Path
) -> None:
    ranks = [load_file(together / f"{world_size}_{rank}.safetensors") for rank in range(world_size)]
    for name, wanted in alone.items():
        for found in ranks:
            assert torch.equal(found[name], ranks[0][name]), f"{name} differs between processes"
        if not wanted.is_floating_point():
            assert torch.equal(ranks[0][name], wanted), name
            continue
        worst = (ranks[0][name].double() - wanted.double()).abs().max()
        assert worst <= 1e-6 * wanted.double().abs().max(), f"{name}: {worst}"


def test_compared_losses_and_gradients_are_not_trivial(alone: dict[str, Tensor]) -> None:
    for name, value in alone.items():
        if name.endswith(("loss", "video", "audio", "log_temperature")) and "bank" not in name:
            assert torch.isfinite(value).all(), name
            assert value.abs().max() > 1e-4, name
