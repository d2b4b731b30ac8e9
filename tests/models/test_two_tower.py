"""The two towers give unit vectors that depend on one clip each, and repeatable gradients."""

from __future__ import annotations

import pytest
import torch

from toomuchtv.models import (
    MODEL_PRESETS,
    AudioEncoderConfig,
    ModelConfig,
    TwoTower,
    VideoEncoderConfig,
)
from toomuchtv.training.run_config import PRESETS, load_config

TINY = ModelConfig(
    video=VideoEncoderConfig(depth=10, width=0.125),
    audio=AudioEncoderConfig(depth=9, width=0.125),
    embedding_dim=12,
)


@pytest.fixture
def model() -> TwoTower:
    torch.manual_seed(0)
    return TwoTower(TINY)


def inputs(clips: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(clips, 3, 4, 32, 32), torch.randn(clips, 1, 40, 50)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
def test_embeddings_are_unit_vectors(model: TwoTower, dtype: torch.dtype, training: bool) -> None:
    model.train(training)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        embeddings = model(*inputs())
    for vectors in embeddings:
        assert vectors.shape == (4, 12)
        assert vectors.dtype == torch.float32
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4), rtol=1e-6, atol=1e-6)


def test_in_eval_mode_an_embedding_does_not_depend_on_the_batch(model: TwoTower) -> None:
    model.eval()
    video, log_mel = inputs()
    together = model(video, log_mel)
    alone = model(video[2:3], log_mel[2:3])
    torch.testing.assert_close(together.video[2:3], alone.video, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.audio[2:3], alone.audio, rtol=1e-4, atol=1e-5)


def test_bfloat16_is_close_to_float32(model: TwoTower) -> None:
    model.eval()
    video, log_mel = inputs()
    exact = model(video, log_mel)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model(video, log_mel)
    for one, two in zip(exact, rounded, strict=True):
        assert ((one * two).sum(dim=1) > 0.995).all()


def test_bfloat16_gradients_of_both_towers_are_repeatable(model: TwoTower) -> None:
    video, log_mel = inputs(6)
    seen = []
    for _ in range(6):
        model.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            embeddings = model(video, log_mel)
        (embeddings.video[:, 0] + embeddings.audio[:, 1]).sum().backward()
        seen.append([value.grad for value in model.parameters() if value.grad is not None])
    assert len(seen[0]) == len(list(model.parameters()))
    for again in seen[1:]:
        assert all(torch.equal(one, two) for one, two in zip(seen[0], again, strict=True))


@pytest.mark.parametrize("preset", sorted(MODEL_PRESETS))
def test_a_model_preset_is_that_of_the_training_preset(preset: str) -> None:
    assert set(MODEL_PRESETS) == set(PRESETS)
    assert load_config(preset=preset).model == MODEL_PRESETS[preset]


def test_a_model_is_built_from_a_preset_a_config_or_a_mapping() -> None:
    assert TwoTower.from_config("tiny").config == MODEL_PRESETS["tiny"]
    state = torch.random.get_rng_state()
    models = [
        TwoTower.from_config(config, seed=seed)
        for config, seed in ((TINY, 3), (TINY.model_dump(), 3), (TINY, 4))
    ]
    assert torch.equal(torch.random.get_rng_state(), state)
    first, same, other = (model.video_head.out.weight for model in models)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    with pytest.raises(ValueError, match=r"unknown preset 'huge': use one of \['base'"):
        TwoTower.from_config("huge")
    with pytest.raises(ValueError, match="depth"):
        TwoTower.from_config({"video": {"depth": 11}})
