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

from toomuchtv.models.resnet import ResNet, stage_channels

_BLOCKS_BY_DEPTH = {9: (1, 1, 1, 1), 18: (2, 2, 2, 2)}


class AudioEncoderConfig(BaseModel):
    """Architecture of the audio encoder.

    Attributes:
        name: A residual network.
        depth: Number of layers.
        width: Factor of the number of channels of every stage; 1.0 means 64 to 512.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Literal["resnet"] = "resnet"
    depth: Literal[9, 18] = 18
    width: float = Field(default=1.0, gt=0.0, le=4.0)

    @property
    def label(self) -> str:
        """Name and depth, for people."""
        return f"{self.name}-{self.depth}"


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


class AudioResNet(ResNet):
    """A residual network over log-mel spectrograms, with random weights; see `ResNet`."""

    def __init__(self, config: AudioEncoderConfig) -> None:
        super().__init__()
        channels = stage_channels(config.width)
        self.conv1 = nn.Conv2d(1, channels[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self._add_stages(channels, _BLOCKS_BY_DEPTH[config.depth], ResidualBlock2d)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, log_mel: Tensor) -> Tensor:
        """Map normalized log-mel `[N, 1, bands, frames]` to features `[N, num_features]`, float."""
        return self.feature_map(log_mel).mean(dim=(2, 3))

    def feature_map(self, log_mel: Tensor) -> Tensor:
        """Map log-mel `[N, 1, bands, frames]` to the last map `[N, num_features, b, f]`."""
        return self._run_stages(self.maxpool(self.relu(self.bn1(self.conv1(log_mel)))))
