"""A resumed run gives identical weights, whatever the loss, the encoder and the chunks are."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.prepared import tiny_config
from toomuchtv.catalog.store import open_catalog
from toomuchtv.training.metrics import read_metrics
from toomuchtv.training.pretrain import pretrain
from toomuchtv.training.run_config import Config

MEMORY = {"name": "memory_bank", "bank_size": 32, "num_negatives": 8, "learn_temperature": True}


def train(catalog_path: Path, run_path: Path, config: Config, **options: Any) -> None:
    with open_catalog(catalog_path) as catalog:
        pretrain(catalog, run_path, config, **options)


LEARNED = {"name": "within_modal", "learn_temperature": True}
VIT = {
    "video": {"name": "vit", "size": "micro", "patch_dropout": 0.5},
    "audio": {"name": "vit", "size": "micro", "patch_dropout": 0.25},
}
R3D = {"video": {"name": "r3d", "depth": 10, "width": 0.0625}}


@pytest.mark.parametrize(
    ("loss", "chunk_size", "model"),
    [
        (MEMORY, 0, {}),
        (MEMORY, 4, VIT),
        (LEARNED, 0, {**VIT, **R3D}),
    ],
    ids=["memory bank", "memory bank and vit in chunks", "learned, r3d and vit"],
)
def test_resume_gives_identical_weights_and_memory_bank(
    prepared_catalog: Path,
    tmp_path: Path,
    loss: dict[str, Any],
    chunk_size: int,
    model: dict[str, Any],
) -> None:
    config = tiny_config(
        loss=loss,
        model=model,
        training={"steps": 5, "chunk_size": chunk_size, "validate_every": 2, "validation_clips": 6},
    )
    train(prepared_catalog, tmp_path / "whole", config)

    def stop_at_2(done: float, total: float, what: str) -> None:
        if done == 2:
            signal.raise_signal(signal.SIGTERM)

    train(prepared_catalog, tmp_path / "stopped", config, progress=stop_at_2)
    train(prepared_catalog, tmp_path / "stopped", config, resume=True)
    one, two = (
        load_file(tmp_path / name / "checkpoints" / "step_00000005.safetensors")
        for name in ("whole", "stopped")
    )
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]), name
    if loss is MEMORY:
        assert (one["loss.bank.keys"][:, 1] >= 0).sum() > 6
    losses = [line["loss"] for line in read_metrics(tmp_path / "whole") if "loss" in line]
    assert len(losses) == 5
    assert len(set(losses)) == 5
