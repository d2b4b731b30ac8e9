"""The two towers: a video and an audio encoder, each with a projection head."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from toomuchtv.models.audio import AudioEncoderConfig, build_audio_encoder
from toomuchtv.models.video import VideoEncoderConfig, build_video_encoder


class ModelConfig(BaseModel):
    """The two encoders and the size of the space they meet in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    video: VideoEncoderConfig = VideoEncoderConfig()
    audio: AudioEncoderConfig = AudioEncoderConfig()
    embedding_dim: int = Field(default=256, ge=2, le=8192)


class Embeddings(NamedTuple):
    """Unit vectors `[N, D]`, float32: row i of both is of the same moment."""

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
        # The norm of a bfloat16 vector is off by up to 0.4%, which the temperature magnifies.
        out = self.out(hidden)
        return F.normalize(out.to(torch.promote_types(out.dtype, torch.float32)), dim=-1)


class TwoTower(nn.Module):
    """Video and audio encoders that embed the same moment at the same place."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.video_encoder = build_video_encoder(config.video)
        self.audio_encoder = build_audio_encoder(config.audio)
        self.video_head = ProjectionHead(self.video_encoder.num_features, config.embedding_dim)
        self.audio_head = ProjectionHead(self.audio_encoder.num_features, config.embedding_dim)

    def forward(self, video: Tensor, log_mel: Tensor) -> Embeddings:
        """Embed a batch of moments.

        Args:
            video: Normalized RGB `[N, 3, T, H, W]`.
            log_mel: Normalized log-mel `[N, 1, bands, frames]`.
        """
        return Embeddings(
            video=self.video_head(self.video_encoder(video)),
            audio=self.audio_head(self.audio_encoder(log_mel)),
        )
