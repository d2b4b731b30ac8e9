"""Folding batch norm does not change what a model computes."""

from __future__ import annotations

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from toomuchtv.models import ModelConfig, TwoTower
from toomuchtv.models.folding import fold_batch_norm


@pytest.mark.parametrize(
    "video",
    [
        {"name": "r2plus1d", "depth": 10},
        {"name": "r3d", "depth": 18},
        {"name": "vit", "size": "micro"},
    ],
)
def test_folded_models_compute_the_same(video: dict[str, object]) -> None:
    config = ModelConfig.model_validate(
        {
            "video": video if video["name"] == "vit" else {**video, "width": 0.125},
            "audio": {"depth": 18, "width": 0.125},
            "embedding_dim": 16,
        }
    )
    model = TwoTower.from_config(config, seed=0)
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(3, 3, 4, 32, 32, generator=generator)
    sounds = torch.randn(3, 1, 64, 48, generator=generator)
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, _BatchNorm):
                assert part.weight is not None
                part.weight.uniform_(0.5, 2.0, generator=generator)
                part.bias.normal_(generator=generator)
        model(clips, sounds)  # moves the running statistics
        model.eval()
        before = model(clips, sounds)
        num_norms = sum(isinstance(part, _BatchNorm) for part in model.modules())
        num_folded = fold_batch_norm(model)
        after = model(clips, sounds)
    # Those of the projection heads stay.
    assert num_folded == num_norms - 2
    for one, other in zip(before, after, strict=True):
        assert torch.allclose(one, other, atol=2e-5)


def test_a_model_in_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="evaluation mode"):
        fold_batch_norm(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1)))
