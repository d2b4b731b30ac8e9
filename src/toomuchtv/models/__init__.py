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
from toomuchtv.models.vit import (
    VIT_SIZES,
    AudioVit,
    AudioVitConfig,
    VideoVit,
    VideoVitConfig,
)

__all__ = [
    "MODEL_PRESETS",
    "VIT_SIZES",
    "AudioEncoderConfig",
    "AudioResNet",
    "AudioVit",
    "AudioVitConfig",
    "Embeddings",
    "ModelConfig",
    "ProjectionHead",
    "TwoTower",
    "VideoEncoderConfig",
    "VideoResNet",
    "VideoVit",
    "VideoVitConfig",
    "load_torchvision_weights",
]
