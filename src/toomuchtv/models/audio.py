"""Audio encoders: 2-D residual networks over log-mel spectrograms `[N, 1, bands, frames]`.

The network with 9 layers is the audio encoder of GDT (Patrick et al., "On Compositions of
Transformations in Contrastive Self-Supervised Learning", ICCV 2021), and the one with 18 layers
that of CrissCross (Sarkar and Etemad, AAAI 2023). Parameter names and shapes at depth 18 and width
1 are those of torchvision's `resnet18` with one input channel.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from toomuchtv.models.activation_checkpointing import run_block

_BLOCKS_BY_DEPTH = {9: (1, 1, 1, 1), 18: (2, 2, 2, 2)}


class AudioEncoderConfig(BaseModel):
    """Architecture of the audio encoder.

    Attributes:
        name: A residual network.
        depth: Number of layers.
        width: Factor of the number of channels of every stage; 1.0 means 64 to 512.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["resnet"] = "resnet"
    depth: Literal[9, 18] = 18
    width: float = Field(default=1.0, gt=0.0, le=4.0)


class ResidualBlock2d(nn.Module):
    """The basic block of He et al., "Deep Residual Learning", CVPR 2016."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, C_in, H, W]` to `[N, C, H / stride, W / stride]`."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)) + shortcut)
        return torch.as_tensor(out)


class AudioResNet(nn.Module):
    """A residual network over log-mel spectrograms.

    Attributes:
        num_features: Length of the feature vector.
        activation_checkpointing: Whether to keep only the input of every block for the backward
            pass and to compute the rest again.
    """

    activation_checkpointing = False

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        widths = [max(8, round(channels * config.width)) for channels in (64, 128, 256, 512)]
        self.conv1 = nn.Conv2d(1, widths[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        in_channels = widths[0]
        for stage, (channels, blocks) in enumerate(
            zip(widths, _BLOCKS_BY_DEPTH[config.depth], strict=True), start=1
        ):
            layers: list[nn.Module] = []
            for block in range(blocks):
                stride = 2 if stage > 1 and block == 0 else 1
                layers.append(ResidualBlock2d(in_channels, channels, stride))
                in_channels = channels
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        self.num_features = in_channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, log_mel: Tensor) -> Tensor:
        """Map normalized log-mel `[N, 1, bands, frames]` to features `[N, num_features]`, float."""
        return self.feature_map(log_mel).mean(dim=(2, 3))

    def feature_map(self, log_mel: Tensor) -> Tensor:
        """Map log-mel `[N, 1, bands, frames]` to the last map `[N, num_features, b, f]`."""
        x: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(log_mel))))
        for stage in range(1, 5):
            for block in self.get_submodule(f"layer{stage}").children():
                x = run_block(block, x, checkpointing=self.activation_checkpointing)
        return x


def build_audio_encoder(config: AudioEncoderConfig) -> AudioResNet:
    """Build an encoder with random weights from PyTorch's global generator."""
    encoder = AudioResNet(config)
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return encoder
