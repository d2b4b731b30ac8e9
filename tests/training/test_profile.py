"""The cost estimate of a step, against a count over its layers and against real batches."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.prepared import tiny_config
from toomuchtv.catalog.store import open_catalog
from toomuchtv.models import AudioResNet, VideoResNet
from toomuchtv.training.profile import (
    decoded_batch_bytes,
    describe_run,
    find_chunk_size,
    flops_per_clip,
    noise,
    profile_step,
    with_found_chunk_size,
)
from toomuchtv.training.run import build_model, open_run

CPU = torch.device("cpu")


@pytest.mark.parametrize("video", [{"name": "r2plus1d", "depth": 10}, {"name": "r3d", "depth": 18}])
def test_flops_are_those_of_the_layers(video: dict[str, Any]) -> None:
    config = tiny_config(model={"video": {**video, "width": 0.125}})
    model = build_model(config, CPU)
    counted = 0.0
    assert isinstance(model.video_encoder, VideoResNet)
    assert isinstance(model.audio_encoder, AudioResNet)
    first = {model.video_encoder.stem[0], model.audio_encoder.conv1}

    def count(layer: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal counted
        assert isinstance(layer, nn.Conv3d | nn.Conv2d | nn.Linear)
        # A product and a sum for every weight that an output depends on, and twice more for the
        # gradients of weights and input. The gradient of the noise itself is not computed.
        ways = 2 if layer in first else 3
        counted += ways * 2 * out.numel() * math.prod(layer.weight.shape[1:])

    for layer in model.modules():
        if isinstance(layer, nn.Conv3d | nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    model(*noise(config, CPU, 2))
    assert flops_per_clip(config) == pytest.approx(counted / 2)


def test_activation_checkpointing_keeps_less() -> None:
    plain = profile_step(tiny_config(), CPU, most_clips=4)
    saving = profile_step(
        tiny_config(training={"activation_checkpointing": True}), CPU, most_clips=4
    )
    assert 2 <= plain.num_clips <= 4
    assert plain.seconds_per_clip > 0
    assert saving.kept_bytes_per_clip < 0.6 * plain.kept_bytes_per_clip


def test_chunks_are_as_large_as_memory_allows() -> None:
    config = tiny_config(clip={"frames": 4}, transform={"size": 64})
    kept = profile_step(config, CPU, most_clips=2).kept_bytes_per_clip
    # The peak of a chunk is what the forward pass keeps and some more, but not several times that.
    found = find_chunk_size(config, CPU, local_clips=24, memory_bytes=16 * kept)
    assert found in {4, 6, 8, 12}
    with pytest.raises(ValueError, match="not even 2 clips at once fit"):
        find_chunk_size(config, CPU, local_clips=2, memory_bytes=kept)


def test_a_resumed_run_keeps_its_chunk_size(tmp_path: Path) -> None:
    config = tiny_config(training={"chunk_size": 3})
    (tmp_path / "config.toml").write_text(config.to_toml())
    assert with_found_chunk_size(tiny_config(), tmp_path) == config


def test_forecast_of_decoded_batches_is_their_size(prepared_catalog: Path, tmp_path: Path) -> None:
    config = tiny_config()
    with open_catalog(prepared_catalog) as catalog:
        forecast = decoded_batch_bytes(catalog, config, num_clips=6)
        with open_run(catalog, tmp_path, config, resume=False, device=CPU) as run:
            batch = run.batches[0]
    assert forecast == batch.video.nbytes + batch.waveform.nbytes


def test_description_of_a_run(prepared_catalog: Path) -> None:
    with open_catalog(prepared_catalog) as catalog:
        values = describe_run(catalog, tiny_config(), world_size=2)
    assert values["batch"] == "3 titles x 1 items x 2 clips, 3 per process"
    assert str(values["training data"]).startswith("3 titles, ")
    assert values["held out"] == "1 title"
    assert "2 processes" in str(values["device"])
    assert "weights, gradients and optimizer state" in str(values["memory"])
    assert "measured on " in str(values["expected time"])
