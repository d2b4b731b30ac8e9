"""Video encoders: R(2+1)D and R3D residual networks over `[N, 3, T, H, W]`.

R(2+1)D factors every 3-D convolution into a spatial and a temporal one (Tran et al., "A Closer
Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018, section 3). Parameter
names and shapes at depth 18 and width 1 are those of torchvision's `r2plus1d_18` and `r3d_18`,
without the classifier `fc`, so that published weights load.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from toomuchtv.models.convolutions import FullConv, ShortcutConv, SpatialConv, TemporalConv
from toomuchtv.models.resnet import ResNet, round_up, run_block, stage_channels

ConvFactory = Callable[[int, int, int, int], nn.Module]

_BLOCKS_BY_DEPTH = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


class VideoEncoderConfig(BaseModel):
    """Architecture of the video encoder.

    Attributes:
        name: R(2+1)D or R3D.
        depth: Number of layers.
        width: Factor of the number of channels of every stage; 1.0 means 64 to 512.
        stem_stride: Spatial stride of the first convolution.
        channel_multiple: R(2+1)D only: the number of channels between a spatial and a temporal
            convolution is rounded up to a multiple of it. Tensor cores are fastest with multiples
            of 64. Published weights have the shapes of 1.
        init: Folder of published weights from which `pretrain` starts a new run; empty for random
            weights. The model itself is built with random weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Literal["r2plus1d", "r3d"] = "r2plus1d"
    depth: Literal[10, 18, 34] = 18
    width: float = Field(default=1.0, gt=0.0, le=4.0)
    stem_stride: Literal[1, 2] = 2
    channel_multiple: Literal[1, 8, 16, 32, 64] = 1
    init: str = ""

    @property
    def label(self) -> str:
        """Name and depth, for people."""
        return f"{self.name}-{self.depth}"


def _conv3d(in_channels: int, middle: int, out_channels: int, stride: int) -> nn.Module:
    return FullConv(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


def _conv2plus1d(in_channels: int, middle: int, out_channels: int, stride: int) -> nn.Module:
    return nn.Sequential(
        SpatialConv(
            in_channels,
            middle,
            (1, 3, 3),
            stride=(1, stride, stride),
            padding=(0, 1, 1),
            bias=False,
        ),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        TemporalConv(
            middle, out_channels, (3, 1, 1), stride=(stride, 1, 1), padding=(1, 0, 0), bias=False
        ),
    )


class ResidualBlock3d(nn.Module):
    """The basic block of He et al., "Deep Residual Learning", CVPR 2016, in three dimensions."""

    def __init__(
        self,
        conv: ConvFactory,
        channel_multiple: int,
        in_channels: int,
        channels: int,
        stride: int,
    ) -> None:
        super().__init__()
        # This number of channels gives the factored pair as many parameters as one full 3x3x3
        # convolution. As in the published weights, both convolutions use that of the first.
        middle = (in_channels * channels * 27) // (in_channels * 9 + 3 * channels)
        middle = round_up(middle, channel_multiple)
        self.conv1 = nn.Sequential(
            conv(in_channels, middle, channels, stride),
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
        )
        self.conv2 = nn.Sequential(conv(channels, middle, channels, 1), nn.BatchNorm3d(channels))
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                ShortcutConv(in_channels, channels, 1, stride=stride, bias=False),
                nn.BatchNorm3d(channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map `[N, C_in, T, H, W]` to `[N, C, T / stride, H / stride, W / stride]`."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(self.conv2(self.conv1(x)) + shortcut)
        return out


class VideoResNet(ResNet):
    """A residual network over the frames of a clip, with random weights; see `ResNet`."""

    def __init__(self, config: VideoEncoderConfig) -> None:
        super().__init__()
        factored = config.name == "r2plus1d"
        conv = _conv2plus1d if factored else _conv3d
        channels = stage_channels(config.width)
        middle = round_up(max(6, round(45 * config.width)), config.channel_multiple)
        self.stem = _stem(channels[0], factored=factored, stride=config.stem_stride, middle=middle)
        block = partial(ResidualBlock3d, conv, config.channel_multiple)
        self._add_stages(channels, _BLOCKS_BY_DEPTH[config.depth], block)
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, video: Tensor) -> Tensor:
        """Map normalized RGB `[N, 3, T, H, W]` to features `[N, num_features]`, float."""
        return self.feature_map(video).mean(dim=(2, 3, 4))

    def feature_map(self, video: Tensor) -> Tensor:
        """Map normalized RGB `[N, 3, T, H, W]` to the last map `[N, num_features, t, h, w]`."""
        stem = run_block(self.stem, video, checkpointing=self.activation_checkpointing)
        return self._run_stages(stem)


def _stem(channels: int, *, factored: bool, stride: int, middle: int) -> nn.Sequential:
    if not factored:
        return nn.Sequential(
            FullConv(
                3, channels, (3, 7, 7), stride=(1, stride, stride), padding=(1, 3, 3), bias=False
            ),
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
        )
    return nn.Sequential(
        SpatialConv(
            3, middle, (1, 7, 7), stride=(1, stride, stride), padding=(0, 3, 3), bias=False
        ),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        TemporalConv(middle, channels, (3, 1, 1), padding=(1, 0, 0), bias=False),
        nn.BatchNorm3d(channels),
        nn.ReLU(inplace=True),
    )


def load_torchvision_weights(encoder: VideoResNet, state: dict[str, Tensor]) -> None:
    """Load weights saved in the layout of torchvision's video ResNets into `encoder`.

    Args:
        encoder: An encoder of the same depth, at width 1.
        state: Parameters by name; the classifier `fc.*` is dropped.

    Raises:
        ValueError: The names or shapes are not those of this encoder.
    """
    kept = {name: value for name, value in state.items() if not name.startswith("fc.")}
    try:
        encoder.load_state_dict(kept)
    except RuntimeError as error:
        raise ValueError(
            f"these weights are not of this architecture (depth and width must match): {error}"
        ) from error
