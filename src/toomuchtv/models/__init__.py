"""Encoders, heads and the two-tower model: tensors in, tensors out."""

from toomuchtv.models.audio import AudioEncoderConfig, AudioResNet
from toomuchtv.models.two_tower import Embeddings, ModelConfig, TwoTower
from toomuchtv.models.video import VideoEncoderConfig, VideoResNet, load_torchvision_weights

__all__ = [
    "AudioEncoderConfig",
    "AudioResNet",
    "Embeddings",
    "ModelConfig",
    "TwoTower",
    "VideoEncoderConfig",
    "VideoResNet",
    "load_torchvision_weights",
]
