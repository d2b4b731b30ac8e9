"""The two-tower model: a video encoder and an audio encoder, each with a projection head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from toomuchtv.models.audio import AudioEncoderConfig, AudioResNet
from toomuchtv.models.video import VideoEncoderConfig, VideoResNet


class ModelConfig(BaseModel):
    """Architecture of the two towers.

    Attributes:
        video: The video encoder.
        audio: The audio encoder.
        embedding_dim: Size D of the embedding space that the towers share.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    video: VideoEncoderConfig = VideoEncoderConfig()
    audio: AudioEncoderConfig = AudioEncoderConfig()
    embedding_dim: int = Field(default=256, ge=2, le=8192)


#: The models of the presets of `toomuchtv pretrain`.
MODEL_PRESETS = {
    "tiny": ModelConfig(
        video=VideoEncoderConfig(depth=10, width=0.25),
        audio=AudioEncoderConfig(depth=9, width=0.25),
    ),
    "small": ModelConfig(video=VideoEncoderConfig(width=0.5), audio=AudioEncoderConfig(width=0.5)),
    "base": ModelConfig(),
}


class Embeddings(NamedTuple):
    """Unit vectors of N clips, float32 `[N, D]`. Row i of both is of the same clip."""

    video: Tensor
    audio: Tensor


class ProjectionHead(nn.Module):
    """A two-layer MLP to the embedding space, as in SimCLR (Chen et al., ICML 2020)."""

    def __init__(self, num_features: int, embedding_dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(num_features, num_features, bias=False)
        self.norm = nn.BatchNorm1d(num_features)
        self.out = nn.Linear(num_features, embedding_dim)

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[N, F]` to unit vectors `[N, D]`, float32 or wider."""
        hidden = F.relu(self.norm(self.hidden(features)))
        out = self.out(hidden)
        # In bfloat16 the norm would be wrong by up to 0.4%, and dividing by the temperature
        # magnifies this error.
        return F.normalize(out.to(torch.promote_types(out.dtype, torch.float32)), dim=-1)


class TwoTower(nn.Module):
    """A video tower and an audio tower that are trained to embed a clip at the same point.

    Attributes:
        video_encoder: A `VideoResNet`.
        audio_encoder: An `AudioResNet`.
        video_head: Projection of the video features.
        audio_head: Projection of the audio features.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.video_encoder = VideoResNet(config.video)
        self.audio_encoder = AudioResNet(config.audio)
        self.video_head = ProjectionHead(self.video_encoder.num_features, config.embedding_dim)
        self.audio_head = ProjectionHead(self.audio_encoder.num_features, config.embedding_dim)

    @classmethod
    def from_config(
        cls, config: str | ModelConfig | Mapping[str, object], *, seed: int | None = None
    ) -> TwoTower:
        """Build a model with random weights.

        Args:
            config: A preset's name ("tiny", "small" or "base"), a `ModelConfig`, or a mapping with
                the fields of one.
            seed: Seed of the weights, which leaves PyTorch's global generator unchanged. None: use
                the global generator.

        Raises:
            ValueError: There is no such preset, or a value is not allowed.
        """
        if isinstance(config, str):
            if config not in MODEL_PRESETS:
                raise ValueError(f"unknown preset {config!r}: use one of {sorted(MODEL_PRESETS)}")
            config = MODEL_PRESETS[config]
        resolved = ModelConfig.model_validate(config)
        if seed is None:
            return cls(resolved)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(resolved)

    def forward(self, video: Tensor, log_mel: Tensor) -> Embeddings:
        """Embed a batch of clips.

        Args:
            video: Normalized RGB `[N, 3, T, H, W]`.
            log_mel: Normalized log-mel `[N, 1, bands, frames]`.
        """
        return Embeddings(
            video=self.video_head(self.video_encoder(video)),
            audio=self.audio_head(self.audio_encoder(log_mel)),
        )
