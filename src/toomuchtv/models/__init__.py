"""Encoders, projection heads and the two-tower model, as `nn.Module`s on plain tensors."""

from toomuchtv.models.audio import AudioEncoderConfig, AudioResNet
from toomuchtv.models.two_tower import (
    MODEL_PRESETS,
    Embeddings,
    ModelConfig,
    ProjectionHead,
    TwoTower,
)
from toomuchtv.models.video import VideoEncoderConfig, VideoResNet, load_torchvision_weights

__all__ = [
    "MODEL_PRESETS",
    "AudioEncoderConfig",
    "AudioResNet",
    "Embeddings",
    "ModelConfig",
    "ProjectionHead",
    "TwoTower",
    "VideoEncoderConfig",
    "VideoResNet",
    "load_torchvision_weights",
]
