"""What a step is said to cost, against a count over its layers by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.prepared import tiny_config
from toomuchtv.training.assembly import build_model
from toomuchtv.training.profile import flops_per_clip, noise, profile_step

CPU = torch.device("cpu")


@pytest.mark.parametrize("video", [{"name": "r2plus1d", "depth": 10}, {"name": "r3d", "depth": 18}])
def test_operations_are_those_of_its_layers(video: dict[str, Any]) -> None:
    config = tiny_config(model={"video": {**video, "width": 0.125}})
    model = build_model(config)
    counted = 0.0
    first = {model.video_encoder.stem[0], model.audio_encoder.conv1}

    def count(layer: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal counted
        assert isinstance(layer, nn.Conv3d | nn.Conv2d | nn.Linear)
        # A product and a sum for every weight that an output sees; twice more for the gradients
        # of weights and input. The gradient of noise itself nobody asks for.
        ways = 2 if layer in first else 3
        counted += ways * 2 * out.numel() * math.prod(layer.weight.shape[1:])

    for layer in model.modules():
        if isinstance(layer, nn.Conv3d | nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    model(*noise(config, CPU, 2))
    assert flops_per_clip(config) == pytest.approx(counted / 2)


def test_keeping_less_is_seen() -> None:
    plain = profile_step(tiny_config(), CPU, most_clips=4)
    saving = profile_step(
        tiny_config(training={"activation_checkpointing": True}), CPU, most_clips=4
    )
    assert 2 <= plain.num_clips <= 4
    assert plain.seconds_per_clip > 0
    assert saving.kept_bytes_per_clip < 0.6 * plain.kept_bytes_per_clip
