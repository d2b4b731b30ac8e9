"""The audio encoders have the parameter names and shapes of torchvision's `resnet18`."""

from __future__ import annotations

import pytest
import torch

from toomuchtv.models import AudioEncoderConfig, AudioResNet


def resnet18_layout() -> dict[str, list[int]]:
    """Return names and shapes of torchvision's `resnet18` with one input channel, without `fc`."""
    layout = {"conv1.weight": [64, 1, 7, 7], "bn1.weight": [64], "bn1.bias": [64]}
    for stage, before, channels in ((1, 64, 64), (2, 64, 128), (3, 128, 256), (4, 256, 512)):
        for block in (0, 1):
            name = f"layer{stage}.{block}"
            inputs = before if block == 0 else channels
            for number, in_channels in ((1, inputs), (2, channels)):
                layout[f"{name}.conv{number}.weight"] = [channels, in_channels, 3, 3]
                layout[f"{name}.bn{number}.weight"] = [channels]
                layout[f"{name}.bn{number}.bias"] = [channels]
            if inputs != channels:
                layout[f"{name}.downsample.0.weight"] = [channels, inputs, 1, 1]
                layout[f"{name}.downsample.1.weight"] = [channels]
                layout[f"{name}.downsample.1.bias"] = [channels]
    return layout


def test_depth_18_has_the_layout_of_torchvision() -> None:
    encoder = AudioResNet(AudioEncoderConfig())
    shapes = {name: list(value.shape) for name, value in encoder.named_parameters()}
    assert shapes == resnet18_layout()
    # Published: 11,689,512 with three channels and a classifier of 1,000 classes.
    count = sum(value.numel() for value in encoder.parameters())
    assert count + 2 * 64 * 49 + 512 * 1000 + 1000 == 11_689_512


def test_depth_9_has_one_block_per_stage() -> None:
    encoder = AudioResNet(AudioEncoderConfig(depth=9))
    convolutions = [name for name, value in encoder.named_parameters() if value.dim() == 4]
    assert len([name for name in convolutions if "downsample" not in name]) == 9


@pytest.mark.parametrize(("bands", "frames"), [(80, 201), (64, 50), (40, 1)])
def test_features_have_their_shape(bands: int, frames: int) -> None:
    encoder = AudioResNet(AudioEncoderConfig(depth=9, width=0.125))
    assert encoder.num_features == 64
    assert encoder(torch.randn(3, 1, bands, frames)).shape == (3, 64)
