"""A resumed run gives identical weights, whatever the loss, the encoder and the chunks are."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.prepared import tiny_config
from toomuchtv.catalog.store import open_catalog
from toomuchtv.losses import PairLabelsLike, PairLoss
from toomuchtv.training.metrics import read_metrics
from toomuchtv.training.pretrain import pretrain
from toomuchtv.training.run_config import Config

MEMORY = {"name": "memory_bank", "bank_size": 32, "num_negatives": 8, "learn_temperature": True}


class Drifting(PairLoss):
    """A loss that learns a matrix, from random values, and remembers the mean of the videos."""

    center: Tensor

    def __init__(
        self, embedding_dim: int, *, momentum: float, temperature: float, **_: float
    ) -> None:
        super().__init__(temperature=temperature)
        self.turn = nn.Linear(embedding_dim, embedding_dim)
        self.register_buffer("center", torch.zeros(embedding_dim))
        self._momentum = momentum

    def forward(self, video: Tensor, audio: Tensor, pair_labels: PairLabelsLike = None) -> Tensor:
        if self.training:
            self.center.lerp_(video.detach().mean(dim=0), 1 - self._momentum)
        apart: Tensor = self.turn(video - self.center) - audio
        return apart.square().sum(dim=1).mean() / self.temperature


def train(catalog_path: Path, run_path: Path, config: Config, **options: Any) -> None:
    with open_catalog(catalog_path) as catalog:
        pretrain(catalog, run_path, config, **options)


LEARNED = {"name": "within_modal", "learn_temperature": True}
VIT = {
    "video": {"name": "vit", "size": "micro", "patch_dropout": 0.5},
    "audio": {"name": "vit", "size": "micro", "patch_dropout": 0.25},
}
OWN = {"name": f"{__name__}:Drifting", "options": {"momentum": 0.5}, "temperature": 0.2}
R3D = {"video": {"name": "r3d", "depth": 10, "width": 0.0625}}


@pytest.mark.parametrize(
    ("loss", "chunk_size", "model"),
    [
        (MEMORY, 0, {}),
        (MEMORY, 4, VIT),
        (LEARNED, 0, {**VIT, **R3D}),
        (OWN, 0, {}),
    ],
    ids=["memory bank", "memory bank and vit in chunks", "learned, r3d and vit", "own"],
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
    if loss is OWN:
        assert {"loss.turn.weight", "loss.turn.bias", "loss.center"} <= one.keys()
        assert one["loss.center"].abs().sum() > 0
    losses = [line["loss"] for line in read_metrics(tmp_path / "whole") if "loss" in line]
    assert len(losses) == 5
    assert len(set(losses)) == 5
