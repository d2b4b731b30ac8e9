"""Every objective over 1, 2 and 4 processes: the loss and the gradients of one with everything."""

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

from tests.losses.papers import unit
from tests.processes import run_processes
from toomuchtv._internal import distributed
from toomuchtv.losses import DensePairLabels, LossConfig, Moments, build_loss

CPU = torch.device("cpu")
CLIPS, STEPS = 23, 3
CONFIGS: TypeAdapter[Any] = TypeAdapter(LossConfig)

#: Where the clips of each process begin and end: unequal parts, one of them empty.
CUTS = {1: [0, 23], 2: [0, 9, 23], 4: [0, 7, 7, 20, 23]}

SETTINGS: dict[str, dict[str, object]] = {
    "info_nce": {"name": "info_nce"},
    "joint_nce": {"name": "joint_nce"},
    "sigmoid": {"name": "sigmoid", "bias": -2.0},
    "sup_con": {"name": "sup_con"},
    "sup_con_inside": {"name": "sup_con", "mean": "inside"},
    "within_modal": {"name": "within_modal", "within_weight": 0.5},
    "memory_bank": {"name": "memory_bank", "bank_size": 64, "num_negatives": 20},
}


def whole(step: int) -> tuple[Tensor, Tensor, Tensor, Moments]:
    """Embeddings, roles (not symmetric, two clips invalid) and whereabouts of all clips."""
    draws = np.random.default_rng(step)
    role = torch.tensor(draws.integers(-1, 2, size=(CLIPS, CLIPS)), dtype=torch.int8)
    role[draws.random((CLIPS, CLIPS)) < 0.7] = 0
    role.fill_diagonal_(1)
    valid = torch.ones(CLIPS, dtype=torch.bool)
    valid[[4, 21]] = False
    role[~valid] = -1
    role[:, ~valid] = -1
    item = torch.tensor(draws.integers(0, 9, size=CLIPS))
    start = torch.tensor(draws.integers(0, 5, size=CLIPS) * 2.0)
    video, audio = (torch.tensor(unit(2 * step + side, CLIPS, 32)).float() for side in (0, 1))
    moments = Moments(
        title=item // 2, item=item, start_seconds=start, audio_track=item % 2, valid=valid
    )
    return video, audio, role, moments


def take_steps(folder: Path) -> None:
    """Every objective some steps on; one file a process."""
    with distributed.process_group(CPU):
        rank, world_size = distributed.rank(), distributed.world_size()
        own = slice(CUTS[world_size][rank], CUTS[world_size][rank + 1])
        found: dict[str, Tensor] = {}
        for name, settings in SETTINGS.items():
            values = {"temperature": 0.1, "learn_temperature": True, **settings}
            objective = build_loss(CONFIGS.validate_python(values), embedding_dim=32)
            for step in range(STEPS):
                video, audio, role, where = whole(step)
                sides = [side[own].clone().requires_grad_() for side in (video, audio)]
                objective.zero_grad()
                loss = objective(sides[0], sides[1], DensePairLabels(role), where)
                loss.backward()
                distributed.sum_gradients(objective.parameters())
                found[f"{name}.{step}.loss"] = loss.detach()
                for key, value in objective.named_parameters():
                    assert value.grad is not None
                    found[f"{name}.{step}.{key}"] = value.grad.clone()
                for key, side in zip(("video", "audio"), sides, strict=True):
                    assert side.grad is not None
                    # Put side by side after the fact: each process has its own rows only.
                    found[f"{name}.{step}.{key}"] = distributed.gather(side.grad)
            for key, buffer in objective.named_buffers():
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
    """All processes together, then the first two of them; to begin costs more than to compute."""
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
def test_many_processes_lose_as_one(
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


def test_what_one_process_finds_is_something(alone: dict[str, Tensor]) -> None:
    for name, value in alone.items():
        if name.endswith(("loss", "video", "audio", "log_temperature")) and "bank" not in name:
            assert torch.isfinite(value).all(), name
            assert value.abs().max() > 1e-4, name
